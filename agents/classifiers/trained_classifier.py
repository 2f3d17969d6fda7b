"""A trained classifier on disk, and in use beside a robot.

params.safetensors   the members' parameters and the statistics
classifier.json      its settings, what it sees, temperature and threshold, the data it was trained on and what was measured
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
from safetensors.numpy import load, save

from ...data.errors import WarmloopError
from ...data.files.sealed_json import seal, unseal
from ...data.files.whole_files import replacing
from ...data.settings.typed_values import decoded
from ...data.transition import PyTree, Spec, example
from .classifier import Classifier, ClassifierConfig, ClassifierParams

PARAMS, DESCRIPTION, FORMAT = "params.safetensors", "classifier.json", "warmloop-classifier-1"


@dataclasses.dataclass(frozen=True)
class TrainedClassifier:
    """A classifier that can judge.

    Attributes:
        temperature, threshold: an observation shows success where p, at that temperature, reaches the threshold.
        origin: the folder that it was read from.
        sha256: of the two files; which classifier this is.
    """

    classifier: Classifier
    params: ClassifierParams
    temperature: float
    threshold: float
    origin: str = ""
    sha256: str = ""

    @cached_property
    def _on_host(self) -> tuple[Any, ClassifierParams]:
        """The CPU: beside a robot a single frame is judged faster there than sent away."""
        host = jax.local_devices(backend="cpu")[0]
        return host, jax.device_put(self.params, host)

    def __call__(self, observation: PyTree) -> float:
        """p in [0, 1] of one observation, without a leading axis."""
        host, params = self._on_host
        batch = jax.tree.map(lambda leaf: np.asarray(leaf)[None], self.classifier.look(observation))
        return float(_probability(self.classifier, params, jax.device_put(batch, host), self.temperature))

    def check(self, spec: Spec, name: str) -> None:
        """Raises WarmloopError where observations of `spec`, which `name` gives, lack what it sees."""
        there = {leaf.name: leaf for leaf in spec.observation}
        for leaf in self.classifier.seen.observation:
            if there.get(leaf.name) != leaf:
                has = ", ".join(f"{own.name or 'an array'} {own.shape} {own.dtype}" for own in spec.observation)
                raise WarmloopError(
                    f"The classifier {self.origin} sees {leaf.name or 'an array'} {leaf.shape} {leaf.dtype}, and {name} gives {has}; train "
                    "one on frames of this environment, with the same wrappers."
                )


@functools.partial(jax.jit, static_argnums=0)
def _probability(classifier: Classifier, params: ClassifierParams, batch: PyTree, temperature: float) -> jax.Array:
    return classifier.probability(classifier.logits(params, batch), temperature)[0]


def write(folder: Path, trained: TrainedClassifier, about: Mapping[str, Any]) -> str:
    """Writes the two files, with `about` (JSON) in the description; returns the sha256. Raises WarmloopError where the disk refuses or
    parameters are not finite."""
    classifier = trained.classifier
    arrays = {name: np.asarray(value) for name, value in _flat(trained.params).items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise WarmloopError(f"The classifier has diverged (not finite), and nothing is written to {folder}; lower its learning rate.")
    weights = save(arrays)
    description = {
        "format": FORMAT,
        "config": dataclasses.asdict(classifier.config),
        "spec": dataclasses.asdict(classifier.spec),
        "temperature": trained.temperature,
        "threshold": trained.threshold,
        PARAMS: hashlib.sha256(weights).hexdigest(),
        **about,
    }
    text = seal(description).encode()
    try:
        for name, content in ((PARAMS, weights), (DESCRIPTION, text)):
            with replacing(folder / name) as file:
                file.write(content)
    except OSError as error:
        raise WarmloopError(f"The classifier {folder} could not be written: {error.strerror or error}.") from error
    return _sha256(weights, text)


def read(folder: str | Path) -> TrainedClassifier:
    """The classifier of a folder. Raises WarmloopError where there is none, or its files are damaged or do not belong together."""
    folder = Path(folder).expanduser()
    weights, text = _contents(folder)
    try:
        said = unseal(text.decode(), str(folder / DESCRIPTION), "train it again", must=False)
        if said.get("format") != FORMAT:
            raise WarmloopError(f"{folder / DESCRIPTION} is of format {said.get('format')!r:.40}; this version reads {FORMAT}.")
        if said.get(PARAMS, found := hashlib.sha256(weights).hexdigest()) != found:
            raise WarmloopError(f"{folder / PARAMS} was changed or damaged since it was written: its sha256 differs; train it again.")
        place = f"{folder / DESCRIPTION}: "
        config, spec = decoded(ClassifierConfig, said["config"], f"{place}config"), decoded(Spec, said["spec"], f"{place}spec")
        classifier = Classifier(config, spec)
        temperature, threshold = float(said["temperature"]), float(said["threshold"])
        arrays = load(weights)
    except (ValueError, TypeError, KeyError, AttributeError, safetensors.SafetensorError) as error:
        raise WarmloopError(f"The classifier {folder} cannot be read ({type(error).__name__}: {error}); train it again.") from error
    params = _params(classifier, arrays, folder)
    return TrainedClassifier(classifier, params, temperature, threshold, str(folder), _sha256(weights, text))


def sha256(folder: Path) -> str:
    """Which classifier is in a folder, without reading it further. Raises WarmloopError where there is none."""
    return _sha256(*_contents(folder))


def _contents(folder: Path) -> tuple[bytes, bytes]:
    try:
        return (folder / PARAMS).read_bytes(), (folder / DESCRIPTION).read_bytes()
    except OSError as error:
        raise WarmloopError(f"There is no classifier in {folder} ({error.strerror}); warmloop-classifier --out trains one.") from error


def _params(classifier: Classifier, given: Mapping[str, np.ndarray], folder: Path) -> ClassifierParams:
    blank = example(classifier.spec, 2).observation

    def fresh(key: jax.Array) -> ClassifierParams:
        members = [classifier.init(key).params] * classifier.config.members
        return classifier.assembled(members, classifier.normaliser(blank))

    shapes = jax.eval_shape(fresh, jax.random.key(0))
    wanted = _flat(shapes)
    wrong = [name for name in wanted.keys() | given.keys() if np.shape(given.get(name, 0)) != getattr(wanted.get(name), "shape", None)]
    if wrong:
        raise WarmloopError(f"{folder / PARAMS} does not fit {DESCRIPTION} beside it: {min(wrong)} is missing or of another shape.")
    return jax.tree.unflatten(jax.tree.structure(shapes), [given[name] for name in wanted])


def _flat(params: ClassifierParams) -> dict[str, Any]:
    """Arrays by their path, in the order of the leaves."""
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}


def _sha256(*contents: bytes) -> str:
    return hashlib.sha256(b"".join(contents)).hexdigest()

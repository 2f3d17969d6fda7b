"""Success by trained classifiers: `environment.success=classifier:DIR[+DIR…][,NAME=VALUE…]`.

Several are the stages of a task: each one is asked once those before it were reached, and the last one's word is the success. Options are
the fields of `StagesConfig`, as in `classifier:runs/grasped+runs/lifted,consecutive=3`.
"""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

from ...agents.classifiers import trained_classifier
from ...agents.classifiers.trained_classifier import TrainedClassifier
from ...data.errors import WarmloopError
from ...data.settings.near_names import did_you_mean
from ...data.settings.typed_values import of_text
from ...data.transition import PyTree, Spec, example

KIND = "classifier:"
SHOWN = 16  # hexadecimal digits of a hash


@dataclasses.dataclass(frozen=True)
class StagesConfig:
    """Settings of the rule.

    Attributes:
        consecutive: frames in a row that must show success.
        threshold: that p must reach; 0 for each classifier's own.
        stage_reward: added to the environment's own reward at the step in which a stage, the last one too, is first reached.
        sha256: the first digits of each classifier's, joined by "+"; another one is then an error. A run's saved configuration has them.
    """

    consecutive: int = 1
    threshold: float = 0.0
    stage_reward: float = 0.0
    sha256: str = ""

    def __post_init__(self):
        if self.consecutive < 1 or not 0 <= self.threshold <= 1:
            raise WarmloopError(
                f"environment.success: consecutive must be at least 1 and threshold in [0, 1], not {self.consecutive} and {self.threshold}."
            )


class Stages:
    """Classifiers in order, through one episode after another."""

    def __init__(self, folders: tuple[str, ...], config: StagesConfig):
        self.folders, self.config, self._classifiers = folders, config, list[TrainedClassifier]()
        self.begin()

    @classmethod
    def parse(cls, text: str) -> Stages:
        """The stages that a rule's text names. Raises WarmloopError for an unknown option, or a value that it does not take."""
        named, *options = text.removeprefix(KIND).split(",")
        folders, types, values = tuple(named.split("+")), typing.get_type_hints(StagesConfig), dict[str, Any]()
        if not all(folders):
            raise WarmloopError(f'environment.success is "{text}"; name the classifier\'s folder, as in classifier:classifiers/cube.')
        for option in options:
            name, _, value = option.partition("=")
            if name not in types:
                raise WarmloopError(f'environment.success={text}: there is no option "{name}"{did_you_mean(name, types)}')
            try:
                values[name] = of_text(types[name], value)
            except ValueError:
                raise WarmloopError(f'environment.success={text}: {name} must be a number, not "{value}".') from None
        return cls(folders, StagesConfig(**values))

    def prepare(self, spec: Spec, name: str) -> None:
        """Reads the classifiers and compiles them, so that no step waits for that."""
        self._classifiers = list(map(trained_classifier.read, self.folders))
        pins = self.config.sha256.split("+") if self.config.sha256 else [""] * len(self.folders)
        if len(pins) != len(self.folders):
            raise WarmloopError(f"environment.success has {len(pins)} sha256 of {len(self.folders)} classifiers; give all, or none.")
        for classifier, pin in zip(self._classifiers, pins, strict=True):
            if not classifier.sha256.startswith(pin):
                raise WarmloopError(
                    f"The classifier {classifier.origin} is not the one that was used before: its sha256 begins with "
                    f"{classifier.sha256[:SHOWN]}, not {pin}. Put that one back, or leave sha256 out of environment.success."
                )
            classifier.check(spec, f'environment "{name}"')
            blank = example(spec).observation
            classifier({leaf: rows[0] for leaf, rows in blank.items()} if isinstance(blank, dict) else blank[0])

    def begin(self) -> None:
        """An episode begins: nothing is reached."""
        self._stage, self._count, self._done = 0, 0, False

    def __call__(self, observation: PyTree) -> tuple[bool, float]:
        """Whether the last stage is reached and seen at this step, and the reward for a stage that is newly reached."""
        classifier, config = self._classifiers[self._stage], self.config
        positive = classifier(observation) >= (config.threshold or classifier.threshold)
        self._count = self._count + 1 if positive else 0
        seen, last = self._count >= config.consecutive, self._stage == len(self._classifiers) - 1
        paid = config.stage_reward if seen and not self._done else 0.0
        if seen and not last:
            self._stage, self._count = self._stage + 1, 0
        self._done |= seen and last
        return seen and last, paid


def pinned(rule: str) -> str:
    """A success rule with the hashes of its classifiers, so that what is saved with a run says which they were; others as they are.

    Raises:
        WarmloopError: a classifier cannot be read.
    """
    if not rule.startswith(KIND) or Stages.parse(rule).config.sha256:
        return rule
    hashes = (trained_classifier.sha256(Path(folder).expanduser())[:SHOWN] for folder in Stages.parse(rule).folders)
    return f"{rule},sha256={'+'.join(hashes)}"

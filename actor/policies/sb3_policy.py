"""Policies that Stable-Baselines3 saved with `model.save(PATH)`, without its algorithm and without unpickling anything.

The zip's `data` says in plain JSON which of the package's policies it is and how it was made, next to pickles of the same, which are
not read; the weights are loaded by PyTorch's `weights_only`. So a policy, features extractor or activation of one's own is refused:
such a one is played by `MODULE:NAME`. A policy trained under `VecNormalize` needs that wrapper's statistics, which the zip does
not hold and does not mention: play it by `MODULE:NAME` too.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from ...data.action_limits import ActionLimits
from ...data.errors import WarmloopError
from ...data.transition import PyTree
from ..environment.environment import Environment
from .outside import seed_generators

MODULES = re.compile(r"(stable_baselines3|sb3_contrib)\.[\w.]*policies")
CLASS = re.compile(r"<class '([\w.]+)'>")
PARTS = ("torch.nn", "stable_baselines3.common.torch_layers")  # that a policy may be put together from
BOX = re.compile(r"'([^']+)'[:,] Box\(.*?, (\([\d, ]*\)), \w+\)", re.DOTALL)
log = logging.getLogger(__name__)

OF_TRAINING = ("optimizer_class", "optimizer_kwargs", "ortho_init")


class SB3Policy:
    """A network of Stable-Baselines3; sampled actions depend on the episode's seed.

    Args:
        network: a `BasePolicy` on the CPU.
        limits: of the environment's actions.
        deterministic: act by the mode of the distribution.
        prepare: what the network's observations are of the environment's.
    """

    def __init__(
        self,
        network: Any,
        limits: ActionLimits,
        deterministic: bool = False,
        prepare: Callable[[PyTree], PyTree] = lambda observation: observation,
    ):
        self._network, self._limits, self._deterministic = network, limits, deterministic
        self._prepare = prepare
        self._explores_by_state = any(getattr(part, "use_sde", False) for part in (network, getattr(network, "actor", None)))
        self._state: Any = None

    def begin(self, seed: int) -> None:
        seed_generators(seed)
        self._state = None
        if self._explores_by_state:  # its noise is one function of the state, drawn anew for every episode
            self._network.reset_noise()

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        action, self._state = self._network.predict(self._prepare(observation), self._state, deterministic=self._deterministic)
        return np.clip(self._limits.scale(np.asarray(action)), -1.0, 1.0).astype(np.float32)


def sb3_policy(path: str | Path, environment: Environment, deterministic: bool = False) -> SB3Policy:
    """The policy saved in the zip `path`.

    Raises:
        WarmloopError: Stable-Baselines3 is not installed, the file is none of its zips or is damaged, holds a policy of one's own, or was
            trained with other spaces than the environment's.
    """
    torch = _package()
    path = Path(path).expanduser()
    data, weights = _contents(path, torch)
    space = _observation_space(environment)
    actions: Any = environment.env.action_space
    if difference := _difference(data, space, actions):
        raise WarmloopError(f"{path} does not fit {environment.config.id}: {difference}.")
    try:
        network = _policy_class(path, data)(space, actions, lambda _: 0.0, **_arguments(path, data))
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, ValueError) as error:
        raise WarmloopError(f"{path}: its weights do not fit the policy that it describes ({_said(error)}).") from error
    if beside := statistics_beside(path):
        log.warning(
            "%s is beside %s: if it is of this policy's training, VecNormalize gave the policy other observations than it gets here, and "
            "it acts worse than it did. Statistics in a pickle are not read; play such a policy by --policy=MODULE:CALLABLE.",
            *(beside, path),
        )
    torch.set_num_threads(1)  # a second one does not pay for one observation, and may round otherwise
    return SB3Policy(network, ActionLimits(actions.low, actions.high), deterministic)


def sb3_model(model: Any, environment: Environment, deterministic: bool = False) -> SB3Policy:
    """A model, or the policy of one, that Stable-Baselines3 holds in memory; observations are normalised as its `VecNormalize` does.

    Raises:
        WarmloopError: its actions are not the environment's.
    """
    actions: Any = environment.env.action_space
    own: Any = model.action_space
    if type(own) is not type(actions) or own.shape != actions.shape or not np.allclose([own.low, own.high], [actions.low, actions.high]):
        raise WarmloopError(f"The model does not fit {environment.config.id}: its actions are {own}, and the environment's {actions}.")
    normalised = getattr(model, "get_vec_normalize_env", lambda: None)()
    prepare = {"prepare": normalised.normalize_obs} if normalised else {}
    return SB3Policy(getattr(model, "policy", model), ActionLimits(actions.low, actions.high), deterministic, **prepare)


def statistics_beside(path: Path) -> Path | None:
    """A file that by its name holds the statistics of `VecNormalize`, beside the zip or, as in RL Zoo, in a folder of the zip's name."""
    there = (file for folder in (path.parent, path.with_suffix("")) if folder.is_dir() for file in sorted(folder.iterdir()))
    return next((file for file in there if re.search("vec_?norm", file.name, re.IGNORECASE) and file.suffix in (".pkl", ".pickle")), None)


def _package() -> Any:
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # where the old gym is installed, its farewell
            importlib.import_module("stable_baselines3")
            return importlib.import_module("torch")
    except ImportError as error:
        raise WarmloopError(f"--policy=sb3:PATH needs Stable-Baselines3 ({error}); run `pip install 'warmloop[sb3]'`.") from error


def _contents(path: Path, torch: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The zip's description and its policy's weights."""
    if not path.is_file():
        raise WarmloopError(f"{path} does not exist; give the zip that `model.save` wrote.")
    try:
        with zipfile.ZipFile(path) as archive:
            data = json.loads(archive.read("data"))
            weights = torch.load(io.BytesIO(archive.read("policy.pth")), map_location="cpu", weights_only=True)
            if not (data["policy_class"]["__module__"] and data["action_space"][":type:"] and data["observation_space"][":type:"]):
                raise ValueError("its data describe no policy")
    except Exception as error:  # zipfile, json and torch raise a dozen kinds for other and for damaged files
        raise WarmloopError(f"{path} is no policy that Stable-Baselines3 saved, or is damaged ({_said(error)}).") from error
    return data, weights


def _observation_space(environment: Environment) -> gym.Space:
    """The environment's, as Stable-Baselines3 trains on it: images with their channels first."""
    from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.vec_env import VecTransposeImage  # pyright: ignore[reportMissingImports]

    def turned(space: Any) -> gym.Space:
        if is_image_space(space) and not is_image_space_channels_first(space):
            return VecTransposeImage.transpose_space(space)
        return space

    space = environment.space
    return gym.spaces.Dict({name: turned(part) for name, part in space.items()}) if isinstance(space, gym.spaces.Dict) else turned(space)


def _difference(data: dict[str, Any], observations: gym.Space, actions: Any) -> str:
    """What the spaces in the file and the environment's disagree on; "" for nothing."""
    saved = data["action_space"]
    if "low" not in saved:
        return f"it was trained with actions of {_class_name(saved)}, and the environment's are {actions}"
    try:
        bounds = [np.array(str(saved[end]).strip("[]").split(), np.float64) for end in ("low", "high")]
    except ValueError:
        return f"it was trained with actions in {saved['low']} to {saved['high']}, and the environment's are {actions}"
    if bounds[0].shape != actions.shape:
        return f"it has {bounds[0].size} action dimensions and the environment {actions.shape[0]}"
    if not all(np.allclose(bound, own, rtol=1e-5, atol=1e-7) for bound, own in zip(bounds, (actions.low, actions.high), strict=True)):
        limits = f"{saved['low']} to {saved['high']}, and the environment's are in {actions.low} to {actions.high}"
        return f"it was trained with actions in {limits}"
    saved = data["observation_space"]
    theirs = BOX.findall(str(saved["spaces"])) if "spaces" in saved else saved.get("_shape")
    is_dict = isinstance(observations, gym.spaces.Dict)
    ours = BOX.findall(f"{dict(observations.items())}") if is_dict else list(observations.shape or ())
    return "" if theirs == ours else f"it was trained with observations of {_told(theirs)}, and the environment's are {_told(ours)}"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def _told(leaves: Any) -> str:
    if leaves and isinstance(leaves[0], tuple):
        return ", ".join(f"{name} {shape}" for name, shape in leaves)
    return f"shape {tuple(leaves)}" if leaves else "another kind"


def _class_name(description: dict[str, Any]) -> str:
    found = CLASS.fullmatch(str(description[":type:"]))
    return found[1].rpartition(".")[2] if found else "an unknown kind"


def _policy_class(path: Path, data: dict[str, Any]) -> Any:
    """The class of Stable-Baselines3 (or its contrib package) that the description names."""
    from stable_baselines3.common.policies import BasePolicy  # pyright: ignore[reportMissingImports]

    module, made = str(data["policy_class"]["__module__"]), str(data["policy_class"].get("__init__", ""))
    name = made.removeprefix("<function ").partition(".")[0]
    if not MODULES.fullmatch(module):
        raise WarmloopError(f"{path}: its policy is a class of {module}, not of Stable-Baselines3; play it by --policy=MODULE:NAME.")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise WarmloopError(f"{path} needs {module.partition('.')[0]}, which is not installed ({error}).") from error
    if not (isinstance(found, type) and issubclass(found, BasePolicy)):
        raise WarmloopError(f"{path}: {module} has no policy {name}; it was saved by another version of Stable-Baselines3.")
    return found


def _arguments(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    """What the policy was made with, as far as it matters to acting."""
    recorded = data.get("policy_kwargs") or {}
    given = {name: value for name, value in recorded.items() if not name.startswith(":") and name not in OF_TRAINING}
    if data.get("use_sde"):
        given["use_sde"] = True
    return {name: _part(path, name, value) if isinstance(value, str) else value for name, value in given.items()}


def _part(path: Path, name: str, text: str) -> Any:
    """The class that `<class '...'>` stands for, if it is one of PyTorch's or Stable-Baselines3's own."""
    found = CLASS.fullmatch(text)
    home = next((module for module in PARTS if found and found[1].startswith(f"{module}.")), None)
    part = getattr(importlib.import_module(home), found[1].rpartition(".")[2], None) if found and home else None
    if part is None:
        raise WarmloopError(f"{path}: its {name} is {text[:80]}, which only its own code can make; play it by --policy=MODULE:NAME.")
    return part

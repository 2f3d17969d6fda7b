"""Observations laid out as HIL-SERL records them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from ...data.errors import WarmloopError
from .leaves import Part, at, leaf_named, leaves


class SerlObservation(gym.ObservationWrapper):
    """Lays parts of the state along one axis as `state`, in the order of their names, and has the cameras beside it under their own names.

    This is what HIL-SERL's SERLObsWrapper gives, and so what its demonstrations hold. Name it last.

    Args:
        env: the environment.
        keys: the parts, joined by +, such as tcp_pose+gripper_pose (HIL-SERL's proprio_keys); "" for all that are numbers.
    """

    def __init__(self, env: gym.Env, keys: str = ""):
        super().__init__(env)
        boxes: dict[str, Any] = leaves(env.observation_space)
        self._cameras = {name: name.rpartition(".")[2] for name, box in boxes.items() if box.dtype == np.uint8 and len(box.shape) > 1}
        numbers = [name for name in boxes if name not in self._cameras]
        named = [leaf_named(env.observation_space, key, "serl_observation") for key in keys.split("+")] if keys else numbers
        if not named or len(set(named)) < len(named) or set(named) & set(self._cameras):
            raise WarmloopError(f'The wrapper serl_observation takes parts that are numbers, each once, and "{keys}" are not.')
        if len(set(self._cameras.values()) | {"state"}) <= len(self._cameras):
            raise WarmloopError(f"The wrapper serl_observation needs cameras of different names, and none called state: {self._cameras}.")
        self._parts = [Part(name, env.observation_space) for name in sorted(named, key=lambda name: name.rpartition(".")[2])]
        low, high = (np.concatenate([getattr(boxes[part.name or ""], end) for part in self._parts]) for end in ("low", "high"))
        spaces: dict[str, gym.Space] = {"state": gym.spaces.Box(low, high, dtype=np.float32)}
        self.observation_space = gym.spaces.Dict(spaces | {short: boxes[name] for name, short in self._cameras.items()})

    def observation(self, observation: Any) -> dict[str, np.ndarray]:
        state = np.concatenate([part.of(observation) for part in self._parts]).astype(np.float32)
        return {"state": state} | {short: _leaf(observation, name) for name, short in self._cameras.items()}


def _leaf(observation: Any, name: str) -> Any:
    """One leaf of a nested observation."""
    found: list[Any] = []
    at(observation, name, lambda leaf: found.append(leaf) or leaf)
    return found[0]

"""An environment as the wrappers of this folder know it: pictures uint8 with their channels last, actions along one axis."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from ...data.errors import WarmloopError
from ...data.running.said import say_once
from ..bridge.actions import Actions
from ..bridge.info import ACTIONS
from ..bridge.leaf_rules import Picture, UnfitError, rule_for
from ..bridge.observations import called
from .leaves import at, leaves


class Prepared(gym.Wrapper):
    """Turns what is certain, by the rules of `actor/bridge/leaf_rules.py` and `actor/bridge/actions.py`, and leaves the rest as it is.

    Args:
        env: the environment.
        name: of it, for what is said.
    """

    def __init__(self, env: gym.Env, name: str):
        super().__init__(env)
        self._name, self._pictures = name, dict[str, Picture]()
        space: Any = env.observation_space
        for leaf, part in leaves(space).items():
            try:
                rule = rule_for(part, leaf, lambda said: say_once(f'Environment "{name}": {said}.'))
            except UnfitError:
                continue
            if isinstance(rule, Picture):
                self._pictures[leaf] = rule
                space = at(space, leaf, lambda _, box=rule.box: box)
        self.observation_space = space
        try:
            self._actions = Actions(env.action_space, name)
            self.action_space = self._actions.space
        except WarmloopError:  # which a wrapper further out may mend
            self._actions = None

    @property
    def changes(self) -> bool:
        """Whether anything in the environment is not yet as the wrappers know it, or may come otherwise than declared."""
        return bool(self._pictures) or (self._actions is not None and self._actions.space is not self.env.action_space)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return self._turned(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action if self._actions is None else self._actions(action))
        if self._actions is not None and any(info.get(key) is not None for key in ACTIONS):
            info = {**info, **{key: self._actions.flatten(info[key]) for key in ACTIONS if info.get(key) is not None}}
        return self._turned(observation), reward, terminated, truncated, info

    def _turned(self, observation: Any) -> Any:
        for leaf, rule in self._pictures.items():
            try:
                observation = at(observation, leaf, rule)
            except UnfitError as error:
                said = str(error)
                raise UnfitError(said if said.startswith("an observation") else f"{called(leaf)} that {said}") from None
        return observation

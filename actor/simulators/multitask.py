"""Several tasks behind one Gymnasium environment; the seed of an episode decides its task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from ...data.errors import WarmloopError
from ...data.transition import Spec
from ..seeds import HASHES, task_of_seed


class MultiTask(gym.Env):
    """One environment per task, all of the same observations and actions; `info["task"]` of a reset names the episode's.

    They are all made at once, since each is needed within a few episodes, so that a mistake in any of them is found at the start.
    The observation space is the first one's; the others may have other bounds.

    Args:
        names: of the tasks.
        make: the environment of a task, by its name.
        spec_of: the shapes of an environment's observations and actions.

    Raises:
        WarmloopError: a task's observations or actions are not those of the first.
    """

    def __init__(self, names: Sequence[str], make: Callable[[str], gym.Env], spec_of: Callable[[gym.Env], Spec]):
        self.names, self._tasks = tuple(names), []
        try:
            for name in self.names:
                self._tasks.append(make(name))
                self._check(name, spec_of)
        except BaseException:
            self.close()
            raise
        self._current = first = self._tasks[0]
        self.observation_space, self.action_space = first.observation_space, first.action_space
        self.metadata, self.render_mode, self.spec = first.metadata, first.render_mode, first.spec

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(HASHES))
        number = task_of_seed(seed, len(self.names))
        self._current = self._tasks[number]
        observation, info = self._current.reset(seed=seed, options=options)
        return observation, {**info, "task": self.names[number]}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        return self._current.step(action)

    def render(self) -> Any:
        return self._current.render()

    def close(self) -> None:
        for task in self._tasks:
            task.close()

    def has_wrapper_attr(self, name: str) -> bool:
        return self._current.has_wrapper_attr(name) or super().has_wrapper_attr(name)

    def get_wrapper_attr(self, name: str) -> Any:
        found = self._current if self._current.has_wrapper_attr(name) else super()
        return found.get_wrapper_attr(name)

    def _check(self, name: str, spec_of: Callable[[gym.Env], Spec]) -> None:
        first, task = self._tasks[0], self._tasks[-1]
        mine, theirs = f'the task "{self.names[0]}"', f'"{name}"'
        if difference := spec_of(first).difference(spec_of(task), mine, theirs):
            raise WarmloopError(f"The tasks do not go together: {difference}.")
        box, other = first.action_space, task.action_space
        assert isinstance(box, gym.spaces.Box) and isinstance(other, gym.spaces.Box)
        if not (np.array_equal(box.low, other.low) and np.array_equal(box.high, other.high)):
            raise WarmloopError(f"The tasks do not go together: {mine} has actions in {box} and {theirs} in {other}.")

"""The one place where an environment's own terms meet the project's: its spaces, what its calls return, and what goes wrong in them.

What is wrong before an environment has taken a first step is a mistake in it or in the configuration, and a WarmloopError. Once a step has
been sound, it is an EnvironmentFault: a sensor, a bus or a server failed, and the next episode may be sound again.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from ...data.doors.borrowed import is_theirs, lent, wants_out
from ...data.doors.imports import told
from ...data.errors import EnvironmentFault, EnvironmentGaveOut, WarmloopError
from ...data.transition import PyTree
from .actions import Actions
from .info import ACTIONS, as_array, plain, says_yes_or_no
from .interface import modern, refuse_running_statistics
from .leaf_rules import UnfitError
from .observations import Observations

NOTHING_LEARNT = "nothing can be learnt from this episode; check the sensor or the simulator behind it"


class Bridge(gym.Wrapper):
    """An environment whose observations are arrays as agents take them, and whose actions are one flat Box.

    Args:
        env: any Gymnasium environment.
        name: of it, for errors.
        unseen: parts of its observations that no agent gets.

    Attributes:
        left_out: those of them that are no arrays, such as texts, and are in no observation.

    Raises:
        WarmloopError: spaces that no agent takes.
    """

    def __init__(self, env: gym.Env, name: str, unseen: Collection[str] = ()):
        super().__init__(modern(env, name))
        refuse_running_statistics(env, name)
        self._name, self._step, self._proven = name, 0, False
        observations, actions = _declared(env, "observation_space"), _declared(env, "action_space")
        self._observations, self._actions = Observations(observations, name, unseen), Actions(actions, name)
        self.observation_space, self.action_space = self._observations.space, self._actions.space
        self.left_out = tuple(self._observations.left_out)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[PyTree, dict[str, Any]]:
        """The first observation, new arrays in the stored dtypes, and the info.

        Raises:
            WarmloopError: the environment's `reset` failed, or gave what its space does not have.
        """
        self._step = 0
        with self._calling("reset", 0):
            observation, info = self.env.reset(seed=seed, options=options)
        return self._observed(observation), self._info(info)

    def step(self, action: np.ndarray) -> tuple[PyTree, float, bool, bool, dict[str, Any]]:
        """What a flat action `[A]` led to: as `reset`, with the reward, whether it terminated and whether it was cut.

        Raises:
            WarmloopError: the environment's `step` failed, or returned what is no observation, reward, flag or info.
        """
        with self._calling(f"step {self._step}", self._step + 1):
            observation, reward, terminated, truncated, info = self.env.step(self._actions(action))
        self._step += 1
        sound = (
            self._observed(observation),
            self._reward(reward),
            self._flag("terminated", terminated),
            self._flag("truncated", truncated),
            self._info(info),
        )
        self._proven = True
        return sound

    @contextlib.contextmanager
    def _calling(self, what: str, step: int) -> Iterator[None]:
        """Around a call of the environment: what it raises becomes a sentence, and what it changes of the process is put back."""
        try:
            with lent(f'Environment "{self._name}"'):
                yield
        except WarmloopError:
            raise
        except UnfitError as error:  # of a wrapper
            raise self._error(f"gave at step {step} {error}") from None
        except BaseException as error:
            if not is_theirs(error):
                raise
            if self._proven and wants_out(error):
                raise EnvironmentGaveOut(
                    f'Environment "{self._name}" ended its process in its {what}: {told(error)}. The run ends; any other '
                    "exception would cost its episode alone."
                ) from error
            raise self._error(f"failed in its {what}: {told(error)}") from error

    def _error(self, said: str, observation: Any = None) -> WarmloopError:
        said = " ".join(f'Environment "{self._name}" {said}.'.split())  # an array says itself over several lines
        return EnvironmentFault(said, observation) if self._proven else WarmloopError(said)

    def _observed(self, observation: Any) -> PyTree:
        try:
            return self._observations(observation)
        except UnfitError as error:
            advice = f"; {NOTHING_LEARNT}" if "not finite" in str(error) else ""
            raise self._error(f"gave at step {self._step} {error}{advice}", observation) from None

    def _reward(self, reward: Any) -> float:
        if type(reward) is not float:
            array = as_array(reward)
            if array.size != 1 or array.dtype.kind not in "biuf":
                advice = "return a number, 0.0 where success alone is what counts"
                raise self._error(f"gave at step {self._step} {reward!r:.60} as the reward; {advice}")
            reward = float(array.item())
        if not math.isfinite(reward):
            raise self._error(f"gave at step {self._step} a reward that is not finite (NaN or infinite); {NOTHING_LEARNT}")
        return reward

    def _flag(self, name: str, value: Any) -> bool:
        if type(value) is bool:
            return value
        array = as_array(value)
        if array.size != 1 or not says_yes_or_no(array):
            raise self._error(f"gave at step {self._step} {value!r:.60} as `{name}`; return True or False")
        return bool(array.item())

    def _info(self, info: Any) -> dict[str, Any]:
        """The info with plain keys, and a person's action in it flat."""
        if not isinstance(info, Mapping):
            raise self._error(f"gave at step {self._step} {info!r:.60} as the info; return a dict")
        said = plain(info)
        for key in ACTIONS:
            if said.get(key) is not None:
                try:
                    said[key] = self._actions.flatten(said[key])
                except ValueError as error:
                    raise self._error(f'gave at step {self._step} as info["{key}"] what is no action of it: {error}') from None
        return said


def _declared(env: gym.Env, name: str) -> Any:
    """A space of the environment; None where it sets none."""
    try:
        return getattr(env, name, None)
    except AttributeError:
        return None

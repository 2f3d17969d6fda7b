"""The environment as the actor sees it: actions in [-1, 1], float32 observations, and both rewards of every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from ..data.action_limits import ActionLimits
from ..data.errors import NonFiniteActionError, WarmloopError
from ..data.reward import RewardConfig
from ..data.tasks import SINGLE, TaskConfig
from ..data.transition import PyTree, Spec, without
from .info import plain
from .multitask import MultiTask
from .simulators import build
from .spaces import flat, flat_space, limits_of, seen_space, spec_of
from .success import Outcome, success_rule
from .wrappers import wrap, wrapper


@dataclasses.dataclass(frozen=True)
class EnvironmentConfig:
    """Which environment, and how its episodes end.

    Attributes:
        id: a Gymnasium id, `module:Id`, or `Meta-World/NAME-v3`. For several tasks, `{task}` in it stands for each one's name; one
            environment of several tasks names an episode's in the info of its reset, as "task".
        kwargs: arguments of the environment's constructor; a dict is stored as sorted pairs, so that the config is hashable.
        horizon: steps until truncation; 0 for the environment's own limit.
        action_low, action_high: what the policy's actions -1 and 1 are, one value per dimension, within the action space; () for its
            own bounds.
        wrappers: what the environment is wrapped in, the innermost first, as `actor/wrappers` names them.
        success: the success signal, a rule of `actor/success.py`: auto, info:KEY, terminated, operator, reward>=X,
            return>=X or classifier:DIR.
        unseen: parts of the observation that the success rule sees and the agent does not, such as a classifier's camera.
    """

    id: str = ""
    kwargs: tuple[tuple[str, Any], ...] | Mapping[str, Any] = ()
    horizon: int = 0
    success: str = "auto"
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()
    wrappers: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.id:
            raise WarmloopError("environment.id is empty; name a Gymnasium id such as AdroitHandDoor-v1, or Meta-World/NAME-v3.")
        if self.horizon < 0:
            raise WarmloopError(f"environment.horizon is {self.horizon}; it must be 0 (the environment's own limit) or more.")
        success_rule(self.success)
        object.__setattr__(self, "kwargs", tuple(sorted(dict(self.kwargs).items())))
        for text in self.wrappers:
            wrapper(text)
        try:
            _ = self.limits
        except WarmloopError as error:
            raise WarmloopError(f"environment.action_low and action_high do not fit: {error}") from error

    @property
    def limits(self) -> ActionLimits | None:
        """What -1 and 1 are, where the action space does not say."""
        return ActionLimits(self.action_low, self.action_high) if self.action_low or self.action_high else None


class StepResult(NamedTuple):
    """What one step gave.

    Attributes:
        next_observation: as the environment's `spec` says.
        raw_reward: the environment's own reward.
        success: the success signal; False where the environment has none.
        terminated: the episode is over for the learner (mask 0): it terminated, or succeeded under `terminate_on_success`.
        truncated: cut by a time limit without being over (mask 1).
        learner_reward: the reward by `RewardConfig`.
        raw_terminated: the environment itself terminated.
        info: the environment's info, keys that are members of an enum as their values.
    """

    next_observation: PyTree
    raw_reward: float
    success: bool
    terminated: bool
    truncated: bool
    learner_reward: float
    raw_terminated: bool
    info: Mapping[str, Any]


class Environment:
    """A Gymnasium environment in the project's terms; `reset(seed)` decides the whole episode, given the actions.

    A robot's environment, or any wrapper of it, should have a method `safe_stop()` that brings it to rest and returns quickly. It is
    called once when an actor's run ends in any other way than by the learner's wish: the learner is gone, refuses, or gave this
    actor's name to another process, the weights are too stale, an exception, or a signal within an episode.

    Attributes:
        config, reward, tasks: what it was made from.
        space: the environment's own observations but for `unseen` ones, nested parts side by side.
        raw_spec: their shapes, and that of actions.
        spec: the same with observations conditioned on the task, as they are given out.
        limits: what the actions -1 and 1 are in the action space.
        own_limits: the action space's own, where it has them.
        task: the name of this episode's task; "" where there is a single, nameless one.
        whole: the newest observation as it came, with its unseen parts and without the task's code.
        step_count: steps taken in this episode.
        signalled: whether this episode has carried a success signal so far.
    """

    def __init__(self, env: gym.Env, config: EnvironmentConfig, reward: RewardConfig, tasks: TaskConfig = SINGLE):
        self.env, self.config, self.reward, self.tasks = env, config, reward, tasks
        whole = spec_of(env)
        self.space = seen_space(flat_space(env.observation_space), config.unseen, config.id)
        self.raw_spec = Spec.from_spaces(self.space, env.action_space).for_agents(config.id)
        self.spec = tasks.condition_spec(self.raw_spec)
        self.own_limits, self.limits = limits_of(env.action_space, config.limits, config.id)
        self.task, self._task = "", 0
        self.whole: PyTree = {}
        self._success = success_rule(config.success)
        self._success.prepare(whole, config.id)
        self._needs_success = reward.signal == "success" or reward.terminate_on_success
        self._dtypes = {leaf.name: leaf.dtype for leaf in whole.observation}
        self.step_count, self.signalled, self._return, self._over = 0, False, 0.0, True

    def reset(self, seed: int) -> PyTree:
        """The first observation of the episode that `seed` decides.

        Raises:
            WarmloopError: the observation is not finite, or not of the declared shape, or the episode's task is not known.
        """
        self.step_count, self.signalled, self._return, self._over = 0, False, 0.0, False
        self._success.begin()
        given, info = self.env.reset(seed=seed)
        if self.tasks.names:
            remedy = 'let the info of its reset say it under "task", or put {task} into environment.id'
            self._task = self.tasks.number(str(info.get("task", "")), f'Environment "{self.config.id}"', remedy)
            self.task = self.tasks.names[self._task]
        self.whole = self._observation(given)
        observation = self.tasks.condition(without(self.whole, self.config.unseen), self._task)
        for leaf in self.spec.observation:
            shape = np.shape(observation[leaf.name] if leaf.name else observation)
            if shape != leaf.shape:
                name = f'observation "{leaf.name}"' if leaf.name else "an observation"
                raise WarmloopError(f'Environment "{self.config.id}" gave {name} of shape {shape}; its space says {leaf.shape}.')
        return observation

    def step(self, action: np.ndarray) -> StepResult:
        """One step by `action` `[A]`, which is clipped to [-1, 1] and scaled to its limits.

        Where an episode terminates just as its time runs out, it counts as terminated.

        Raises:
            NonFiniteActionError: the action is not finite.
            WarmloopError: the observation or the reward is not finite; the episode is over already; or it ended without any success
                signal and the reward needs one.
        """
        if self._over:
            raise WarmloopError(f'Environment "{self.config.id}": the episode is over; call reset(seed) before the next step.')
        observation, reward, raw_terminated, truncated, said = self.env.step(self._scaled(action))
        info, self.step_count = plain(said), self.step_count + 1
        self.whole, reward = self._observation(observation), self._finite(reward)
        self._return += reward
        signal, paid = self._success(Outcome(self.whole, info, bool(raw_terminated), reward, self._return))
        next_observation, reward = self.tasks.condition(without(self.whole, self.config.unseen), self._task), reward + paid
        self.signalled |= signal is not None
        success = bool(signal)
        terminated = bool(raw_terminated) or (success and self.reward.terminate_on_success)
        self._over = terminated or bool(truncated)
        if self._over and self._needs_success and not self.signalled:
            raise self._no_signal(info)
        learner_reward = float(self.reward(reward, success))
        cut = bool(truncated) and not terminated
        return StepResult(next_observation, reward, success, terminated, cut, learner_reward, bool(raw_terminated), info)

    @property
    def over(self) -> bool:
        """Whether the episode is over, as far as the environment goes."""
        return self._over

    def go_on(self) -> None:
        """Lets an episode that the environment terminated be stepped on, which simulators allow."""
        self._over = False

    def render(self) -> np.ndarray:
        """The current frame, `[H, W, 3]` uint8; the environment must be made with `render=True`."""
        return np.asarray(self.env.render(), np.uint8)

    @property
    def frames_per_second(self) -> int:
        """Rate at which its frames show real time; 30 where it does not say."""
        return int((self.env.metadata or {}).get("render_fps") or 30)

    def safe_stop(self) -> bool:
        """Calls `safe_stop()` of the outermost wrapper that has one; whether any has."""
        found = self.env.has_wrapper_attr("safe_stop")
        if found:
            self.env.get_wrapper_attr("safe_stop")()
        return found

    def close(self) -> None:
        self.env.close()

    def _scaled(self, action: np.ndarray) -> np.ndarray:
        action = np.asarray(action, np.float32)
        if action.shape != (self.spec.action_dim,):
            raise WarmloopError(f'Environment "{self.config.id}" takes actions of shape ({self.spec.action_dim},), and got {action.shape}.')
        if not np.isfinite(action).all():
            raise NonFiniteActionError(f'Environment "{self.config.id}": the action at step {self.step_count} is not finite: {action}.')
        return self.limits.unscale(np.clip(action, -1.0, 1.0)).astype(self.env.action_space.dtype)

    def _observation(self, observation: Any) -> PyTree:
        """A copy in the stored dtypes (an environment may reuse its buffers), without the task's code."""
        parts = flat(observation) if isinstance(observation, Mapping) else {"": observation}
        arrays = {name: np.array(parts[name], dtype) for name, dtype in self._dtypes.items()}
        for name, array in arrays.items():
            if array.dtype != np.uint8 and not np.isfinite(array).all():
                raise self._not_finite(f'observation "{name}"' if name else "observation")
        return arrays.get("", arrays)

    def _finite(self, reward: Any) -> float:
        reward = float(np.asarray(reward).item())
        if not np.isfinite(reward):
            raise self._not_finite("reward")
        return reward

    def _not_finite(self, what: str) -> WarmloopError:
        return WarmloopError(
            f'Environment "{self.config.id}" gave a {what} that is not finite (NaN or infinite) at step {self.step_count}; '
            "nothing can be learnt from this episode. Check the simulator or the sensor behind it."
        )

    def _no_signal(self, info: Mapping[str, Any]) -> WarmloopError:
        return WarmloopError(
            f'Environment "{self.config.id}" gave no success signal by the rule "{self.config.success}" and the reward needs one. '
            f"Its info has {', '.join(map(str, info)) or 'no keys'}: set --config.environment.success to info:KEY, terminated, "
            "reward>=X, return>=X or, where a person says it, operator; or set --config.reward.signal=environment "
            "--config.reward.terminate_on_success=False."
        )


def make_environment(
    config: EnvironmentConfig, reward: RewardConfig | None = None, render: bool = False, tasks: TaskConfig = SINGLE
) -> Environment:
    """The environment of a config; without `reward`, steps carry the environment's own and success ends nothing.

    Raises:
        WarmloopError: no such environment, a missing package, spaces that no agent takes or that differ between the tasks, or
            unbounded actions.
    """
    reward = reward or RewardConfig(signal="environment", terminate_on_success=False)
    return Environment(build_tasks(config, tasks, render), config, reward, tasks)


def build_tasks(config: EnvironmentConfig, tasks: TaskConfig = SINGLE, render: bool = False) -> gym.Env:
    """The Gymnasium environment of a config, of all its tasks. Raises as `make_environment`, but for what only an Environment needs."""

    def make(task: str) -> gym.Env:
        return wrap(build(config.id.replace("{task}", task), config.horizon, render, dict(config.kwargs)), config.wrappers)

    if "{task}" not in config.id:
        return make("")
    if not tasks.names:
        raise WarmloopError(f'Environment "{config.id}" stands for several tasks; set --config.tasks.names, or use a preset of several.')
    return MultiTask(tasks.names, make, spec_of)

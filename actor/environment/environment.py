"""The environment as the actor sees it: actions in [-1, 1], both rewards of every step, and how its episodes end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym
import numpy as np

from ...data.errors import NonFiniteActionError, WarmloopError
from ...data.pictures.picture_rule import Layout, as_bytes, layout_of, white_of
from ...data.reward import RewardConfig
from ...data.running.precision import check_precision
from ...data.tasks import SINGLE, TaskConfig
from ...data.transition import PyTree, Spec, beside, without
from ..bridge.bridge import Bridge
from ..bridge.info import as_array, key_of_persons_action
from ..bridge.spaces import limits_of, seen_space, space_beside, spec_of
from ..endings.success import Outcome, success_rule
from ..endings.time_limits import TimeLimits
from ..simulators.making import build
from ..simulators.multitask import MultiTask
from ..wrappers import wrap
from .base_actions import BaseActions
from .closing import closed
from .environment_config import EnvironmentConfig as EnvironmentConfig
from .seeded import Seeded

if TYPE_CHECKING:
    from ..config import ActorConfig
    from .guard import Guard


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
    called at every end of a run that leaves the process alive, and after a fault (`actor/environment/guard.py`): from any thread, also
    while a step or a reset blocks in another one.

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
        base: what the base policy proposes, a part of each observation; None where there is none.
        guard: who looks after it while it is used.
        use: the timeouts and the budget of faults that a guard goes by; None for the usual ones.
    """

    def __init__(self, env: gym.Env, config: EnvironmentConfig, reward: RewardConfig, tasks: TaskConfig = SINGLE):
        self.env = env = env if isinstance(env, Bridge | MultiTask) else Bridge(env, config.id, config.unseen)
        self.config, self.reward, self.tasks = config, reward, tasks
        whole = spec_of(env)
        self._unseen = tuple(leaf.name for leaf in whole.observation if leaf.name in config.unseen)
        self.space = seen_space(env.observation_space, self._unseen)
        self.base = self._base_actions() if config.base else None
        if self.base is not None:
            self.space = space_beside(self.space, config.base_proposals, env.action_space)
        self.raw_spec = Spec.from_spaces(self.space, env.action_space)
        self.spec = tasks.condition_spec(self.raw_spec)
        self.own_limits, self.limits = limits_of(env.action_space, config.limits, config.id)
        self.time_limit = config.horizon or (env.spec.max_episode_steps if env.spec else None)
        self.task, self._task = "", 0
        self.whole: PyTree = {}
        self.guard: Guard | None = None
        self.use: ActorConfig | None = None
        self._seeded = Seeded(config.id)
        self._success = success_rule(config.success)
        self._success.prepare(whole, config.id)
        self._needs_success = reward.signal == "success" or reward.terminate_on_success
        self._time_limits = TimeLimits(config.id, self.time_limit, config.time_limit_is_truncation)
        self.step_count, self.signalled, self._return, self._over = 0, False, 0.0, True

    def reset(self, seed: int) -> PyTree:
        """The first observation of the episode that `seed` decides.

        Raises:
            WarmloopError: as `Bridge.reset`, or the episode's task is not known.
        """
        self.step_count, self.signalled, self._return, self._over = 0, False, 0.0, False
        self._success.begin()
        self.whole, info = self.env.reset(seed=seed)
        check_precision(f'The environment "{self.config.id}"')
        if self.tasks.names:
            remedy = 'let the info of its reset say it under "task", or put {task} into environment.id'
            self._task = self.tasks.number(str(info.get("task", "")), f'Environment "{self.config.id}"', remedy)
            self.task = self.tasks.names[self._task]
        if self._simulated:
            self._seeded.began(seed, self.whole)
        if self.base is not None:
            self.base.begin(seed)
        return self._given_out()

    def step(self, action: np.ndarray) -> StepResult:
        """One step by `action` `[A]`, which is clipped to [-1, 1] and scaled to its limits.

        Where an episode terminates just as its time runs out, it counts as terminated, unless `time_limit_is_truncation` says otherwise.

        Raises:
            NonFiniteActionError: the action is not finite.
            EnvironmentFault, WarmloopError: as `Bridge.step`.
            WarmloopError: the episode is over already; or it ended without any success signal and the reward needs one.
        """
        if self._over:
            raise WarmloopError(f'Environment "{self.config.id}": the episode is over; call reset(seed) before the next step.')
        self.whole, reward, raw_terminated, truncated, info = self.env.step(self._scaled(action))
        self.step_count += 1
        self._return += reward
        ended_by_time = raw_terminated and self._time_limits.cuts(self.step_count)
        signal, paid = self._success(Outcome(self.whole, info, raw_terminated and not ended_by_time, reward, self._return))
        if self.base is not None and (key := key_of_persons_action(info)) is not None:
            self.base.drop_plan(self._by_hand(as_array(info[key]), action))
        next_observation, reward = self._given_out(), reward + paid
        self.signalled |= signal is not None
        success = bool(signal)
        if ended_by_time and not (success and self.reward.terminate_on_success):
            raw_terminated, truncated = False, True
        terminated = raw_terminated or (success and self.reward.terminate_on_success)
        self._over = terminated or truncated
        if self._over and self._needs_success and not self.signalled:
            raise self._no_signal(info)
        if self._over:
            self._time_limits.ended(self.step_count, raw_terminated, success)
        learner_reward = float(self.reward(reward, success))
        cut = truncated and not terminated
        return StepResult(next_observation, reward, success, terminated, cut, learner_reward, raw_terminated, info)

    def _by_hand(self, given: np.ndarray, action: np.ndarray) -> np.ndarray:
        """A person's action `[A]` in [-1, 1]; where it is none, which the intervention refuses, the policy's."""
        if given.shape != action.shape or given.dtype.kind not in "biuf":
            return action
        return np.clip(self.limits.scale(given.astype(np.float32)), -1.0, 1.0)

    def drop_plan(self, done: np.ndarray) -> None:
        """The next step, `done` `[A]`, is not by a policy: what the base policy had planned does not come next."""
        if self.base is not None:
            self.base.drop_plan(done)

    def _given_out(self) -> PyTree:
        """The newest observation as agents get it; its base's proposals come to the whole one, too."""
        if self.base is not None:
            seen = self.tasks.condition(without(self.whole, self._unseen), self._task)
            self.whole = beside(self.whole, self.base(seen, self.step_count))
        return self.tasks.condition(without(self.whole, self._unseen), self._task)

    def _base_actions(self) -> BaseActions:
        known = Environment(self.env, dataclasses.replace(self.config, base=""), self.reward, self.tasks)
        return BaseActions(known, self.config.base, self.config.base_proposals)

    @property
    def _simulated(self) -> bool:
        config = self.use if self.guard is None else self.guard.config
        return config is None or config.simulator

    @property
    def over(self) -> bool:
        """Whether the episode is over, as far as the environment goes."""
        return self._over

    def go_on(self) -> None:
        """Lets an episode that the environment terminated be stepped on, which simulators allow."""
        self._over = False

    def render(self) -> np.ndarray:
        """The current frame, `[H, W, 3]` uint8; the environment must be made with `render=True`.

        Raises:
            WarmloopError: its `render` gives no such picture.
        """
        frame = np.asarray(self.env.render())
        if layout_of(frame.shape, frame.dtype) is not Layout.LAST or frame.shape[2:] != (3,):
            what = "nothing" if frame.dtype == object else f"an array of shape {frame.shape} and dtype {frame.dtype}"
            raise WarmloopError(
                f'Environment "{self.config.id}": its render gave {what}; return a picture [H, W, 3], uint8 or floats from 0 to 1, where '
                'it is made with render_mode="rgb_array".'
            )
        try:
            return as_bytes(frame, white_of(frame))
        except ValueError as error:
            raise WarmloopError(f'Environment "{self.config.id}": the picture that its render gave {error}.') from None

    @property
    def control_hz(self) -> float:
        """Steps per second, as its metadata's `render_fps` says, which Gymnasium wants to be those of real time; 0 where it does not."""
        return float((self.env.metadata or {}).get("render_fps") or 0.0)

    @property
    def frames_per_second(self) -> int:
        """Rate at which its frames show real time; 30 where it does not say."""
        return int((self.env.metadata or {}).get("render_fps") or 30)

    @property
    def can_rest(self) -> bool:
        """Whether it, or a wrapper of it, has a `safe_stop`: then it is a robot, or like one."""
        return self.env.has_wrapper_attr("safe_stop")

    def safe_stop(self) -> bool:
        """Calls `safe_stop()` of the outermost wrapper that has one; whether any has."""
        found = self.can_rest
        if found:
            self.env.get_wrapper_attr("safe_stop")()
        return found

    def close(self) -> None:
        """Closes the environment, as `closed` does, and lets its base policy go."""
        if self.base is not None:
            self.base.close()
        closed(self.env, self.config.id)

    def _scaled(self, action: np.ndarray) -> np.ndarray:
        action = np.asarray(action, np.float32)
        if action.shape != (self.spec.action_dim,):
            raise WarmloopError(f'Environment "{self.config.id}" takes actions of shape ({self.spec.action_dim},), and got {action.shape}.')
        if not np.isfinite(action).all():
            raise NonFiniteActionError(f'Environment "{self.config.id}": the action at step {self.step_count} is not finite: {action}.')
        return self.limits.unscale(np.clip(action, -1.0, 1.0)).astype(self.env.action_space.dtype)

    def _no_signal(self, info: Mapping[str, Any]) -> WarmloopError:
        return WarmloopError(
            f'Environment "{self.config.id}" gave no success signal by the rule "{self.config.success}" and the reward needs one. '
            f"Its info has {', '.join(map(str, info)) or 'no keys'}: set --config.environment.success to info:KEY, info:KEY>=X, "
            "terminated, reward>=X, return>=X or, where a person says it, operator; or set --config.reward.signal=environment "
            "--config.reward.terminate_on_success=False."
        )


def make_environment(
    config: EnvironmentConfig,
    reward: RewardConfig | None = None,
    render: bool = False,
    tasks: TaskConfig = SINGLE,
    use: ActorConfig | None = None,
) -> Environment:
    """The environment of a config; without `reward`, steps carry the environment's own and success ends nothing. `use` is its attribute.

    Raises:
        WarmloopError: no such environment, a missing package, spaces that no agent takes or that differ between the tasks, or
            actions without bounds, or its module made JAX compute in 64 bits.
    """
    reward = reward or RewardConfig(signal="environment", terminate_on_success=False)
    environment = Environment(build_tasks(config, tasks, render), config, reward, tasks)
    environment.use = use
    check_precision(f'The environment "{config.id}"')
    return environment


def build_tasks(config: EnvironmentConfig, tasks: TaskConfig = SINGLE, render: bool = False) -> gym.Env:
    """The Gymnasium environment of a config, of all its tasks. Raises as `make_environment`, but for what only an Environment needs."""

    def make(task: str) -> gym.Env:
        built = build(config.id.replace("{task}", task), config.horizon, render, dict(config.kwargs))
        return Bridge(wrap(built, config.wrappers, config.id), config.id, config.unseen)

    if "{task}" not in config.id:
        return make("")
    if not tasks.names:
        raise WarmloopError(f'Environment "{config.id}" stands for several tasks; set --config.tasks.names, or use a preset of several.')
    return MultiTask(tasks.names, make, spec_of)

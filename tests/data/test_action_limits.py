"""Scaling actions to [-1, 1] and back: what is recorded is what the environment executes."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.data.action_limits import ActionLimits
from warmloop.data.errors import WarmloopError

NUMBERS = st.floats(-1e3, 1e3, width=32)


class Executed(gym.ActionWrapper):
    """Keeps the action that the environment was given."""

    def action(self, action):
        self.last = action
        return action


@st.composite
def limits_and_actions(draw):
    """Limits of one to four dimensions, and float32 actions within them."""
    pairs = [sorted(draw(st.tuples(NUMBERS, NUMBERS))) for _ in range(draw(st.integers(1, 4)))]
    shares = [draw(st.floats(0, 1)) for _ in pairs]
    actions = [np.clip(np.float32(low + share * (high - low)), low, high) for (low, high), share in zip(pairs, shares, strict=True)]
    return ActionLimits(*zip(*pairs, strict=True)), np.asarray(actions, np.float32)


@given(limits_and_actions())
def test_a_scaled_action_is_executed_as_it_was_recorded_but_for_the_rounding_of_float32(drawn):
    limits, raw = drawn
    scaled = limits.scale(raw).astype(np.float32)
    executed = limits.unscale(scaled).astype(np.float32)
    span = np.asarray(limits.high) - np.asarray(limits.low)
    assert (np.abs(scaled) <= 1).all()
    assert (np.abs(executed.astype(np.float64) - raw) <= span * 2.0**-25 + np.spacing(np.abs(raw))).all()


@given(limits_and_actions())
def test_limits_are_minus_one_and_one_to_the_bit_and_where_they_are_equal_the_action_is_held(drawn):
    limits, _ = drawn
    low, high = np.asarray(limits.low), np.asarray(limits.high)
    assert np.array_equal(limits.unscale(np.full(len(low), -1.0)), low) and np.array_equal(limits.unscale(np.ones(len(low))), high)
    equal = low == high
    assert np.array_equal(limits.scale(low), np.where(equal, 0.0, -1.0)) and np.array_equal(limits.scale(high), np.where(equal, 0.0, 1.0))
    assert np.array_equal(limits.unscale(np.zeros(len(low)))[equal], low[equal])


def test_pendulum_executes_exactly_the_torque_that_was_recorded():
    environment = make_environment(EnvironmentConfig("Pendulum-v1"))
    environment.env = executed = Executed(environment.env)
    torques = np.random.default_rng(0).uniform(-2, 2, 200).astype(np.float32)
    environment.reset(0)
    for torque in torques[:199]:
        environment.step(environment.limits.scale(np.array([torque])).astype(np.float32))
        assert executed.last.tobytes() == np.array([torque]).tobytes()
    environment.close()


def test_an_environment_acts_by_the_limits_that_are_set_and_knows_its_own():
    environment = make_environment(EnvironmentConfig("Pendulum-v1", action_low=(-0.5,), action_high=(1.5,)))
    environment.env = executed = Executed(environment.env)
    environment.reset(0)
    for action, torque in ((-1.0, -0.5), (1.0, 1.5), (0.0, 0.5)):
        environment.step(np.array([action], np.float32))
        assert executed.last == np.float32(torque)
    assert (environment.limits, environment.own_limits) == (ActionLimits([-0.5], [1.5]), ActionLimits([-2.0], [2.0]))
    environment.close()


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        ((-3.0,), (1.0,), r"\[-3\] to \[1\], reach beyond the action space of \"Pendulum-v1\""),
        ((-1.0, -1.0), (1.0, 1.0), 'environment.action_low has 2 values, and actions of "Pendulum-v1" have 1 dimensions'),
        ((-1.0,), (), "action_low and action_high do not fit: .* as many low values as high"),
        ((1.0,), (-1.0,), "low at most high"),
        ((float("nan"),), (1.0,), "finite"),
    ],
)
def test_limits_that_cannot_be_acted_by_are_refused(low, high, says):
    with pytest.raises(WarmloopError, match=says):
        make_environment(EnvironmentConfig("Pendulum-v1", action_low=low, action_high=high))


def test_limits_give_an_unbounded_action_space_bounds():
    class Unbounded(gym.Env):
        observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        action_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)

        def reset(self, *, seed=None, options=None):
            return np.zeros(2, np.float32), {}

        def step(self, action):
            self.acted = action
            return np.zeros(2, np.float32), 0.0, False, False, {}

    gym.register("Unbounded-v0", Unbounded, max_episode_steps=10)
    try:
        with pytest.raises(WarmloopError, match=r"unbounded actions .*environment\.action_low"):
            make_environment(EnvironmentConfig("Unbounded-v0"))
        environment = make_environment(EnvironmentConfig("Unbounded-v0", action_low=(-5.0, 0.0), action_high=(5.0, 1.0)))
        environment.reset(0)
        environment.step(np.ones(2, np.float32))
        assert environment.env.unwrapped.acted.tolist() == [5.0, 1.0]
    finally:
        del gym.registry["Unbounded-v0"]

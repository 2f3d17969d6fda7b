"""The environment side: one seed decides one episode, and every mistake is a sentence."""

import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmloop.actor.config import ActorConfig
from warmloop.actor.endings.success import Outcome, success_rule
from warmloop.actor.environment.environment import Environment, EnvironmentConfig, make_environment
from warmloop.actor.environment.guard import guarded
from warmloop.actor.seeds import COLLECTION_STREAM, EVALUATION_STREAM, VIDEO_STREAM, episode_seed
from warmloop.data.errors import WarmloopError
from warmloop.data.reward import RewardConfig
from warmloop.data.running import said


class Playback(gym.Env):
    """Plays back a script: `steps` are (reward, terminated, info); observations are whatever `observation` says."""

    observation_space = gym.spaces.Dict(
        {
            "state": gym.spaces.Box(-1, 1, (2,), np.float64),
            "pixels": gym.spaces.Dict({"wrist": gym.spaces.Box(0, 255, (4, 4, 3), np.uint8)}),
        }
    )

    def __init__(self, low=-1.0, high=1.0, steps=((0.0, False, {}),) * 9, state=0.5, render_mode=None):
        self.action_space = gym.spaces.Box(np.full(2, low, np.float32), np.full(2, high, np.float32))
        self.script, self.count, self.state = steps, 0, np.full(2, state)
        self.received: list[np.ndarray] = []

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return {"state": self.state, "pixels": {"wrist": np.full((4, 4, 3), 7, np.uint8)}}, {}

    def step(self, action):
        self.received.append(action)
        reward, terminated, info = self.script[self.count]
        self.count += 1
        return {"state": self.state, "pixels": {"wrist": np.zeros((4, 4, 3), np.uint8)}}, reward, terminated, False, info


class WrongShape(gym.Env):
    """Declares two numbers and gives three."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float64)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros(3), {}


gym.register("WarmloopTest/Probe-v0", lambda **kwargs: Playback(**kwargs), max_episode_steps=3)
gym.register("WarmloopTest/Endless-v0", lambda **kwargs: Playback(**kwargs))
gym.register("WarmloopTest/WrongShape-v0", lambda **kwargs: WrongShape(**kwargs), max_episode_steps=3)

RAW = RewardConfig(signal="environment", terminate_on_success=False)


def probe(reward: RewardConfig = RAW, horizon: int = 0, success: str = "auto", **kwargs: Any) -> Environment:
    return make_environment(EnvironmentConfig("WarmloopTest/Probe-v0", kwargs, horizon, success), reward)


def trajectory(environment: Environment, seed: int, steps: int = 40) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    records = [environment.reset(seed)]
    for _ in range(steps):
        result = environment.step(rng.uniform(-1, 1, environment.spec.action_dim))
        records.append(np.append(result.next_observation, [result.raw_reward, result.success]))
    return records


@pytest.mark.parametrize("environment_id", ["Meta-World/peg-insert-side-v3", "Meta-World/door-open-v3", "AdroitHandDoor-v1", "Pendulum-v1"])
def test_a_seed_decides_the_episode_bit_for_bit_in_fresh_and_in_used_environments(environment_id: str):
    config = EnvironmentConfig(environment_id)
    fresh, used = make_environment(config), make_environment(config)
    expected = trajectory(fresh, 7)
    other = trajectory(used, 3)
    again = trajectory(used, 7)
    assert all(np.array_equal(x, y) for x, y in zip(expected, again, strict=True))
    assert not np.array_equal(expected[0], other[0])


def test_the_global_random_state_does_not_decide_a_meta_world_reset():
    environment = make_environment(EnvironmentConfig("Meta-World/drawer-open-v3"))
    np.random.seed(0)
    first = environment.reset(5)
    np.random.seed(1)
    assert np.array_equal(first, environment.reset(5))


def test_the_meta_world_goal_is_observed_and_differs_between_seeds():
    environment = make_environment(EnvironmentConfig("Meta-World/peg-insert-side-v3"))
    goals = []
    for seed in range(3):
        first = environment.reset(seed)
        second = environment.step(np.zeros(4, np.float32)).next_observation
        target = environment.env.unwrapped._target_pos  # type: ignore[attr-defined]
        np.testing.assert_allclose(first[36:], target, atol=1e-6)
        np.testing.assert_allclose(second[36:], target, atol=1e-6)
        np.testing.assert_array_equal(second[18:36], first[:18])
        goals.append(first[36:])
    assert len({tuple(goal) for goal in goals}) == 3


@pytest.mark.parametrize("environment_id", ["Meta-World/reach-v3", "AdroitHandPen-v1", "Pendulum-v1"])
def test_the_horizon_truncates_and_the_mask_stays_one(environment_id: str):
    environment = make_environment(EnvironmentConfig(environment_id, horizon=5), RAW)
    environment.reset(0)
    results = [environment.step(np.zeros(environment.spec.action_dim)) for _ in range(5)]
    assert [result.truncated for result in results] == [False] * 4 + [True]
    assert not any(result.terminated for result in results)


def test_actions_are_scaled_to_the_bounds_and_clipped():
    environment = probe(low=-2.0, high=6.0)
    environment.reset(0)
    for action in ([-1, 1], [0, 0.5], [-9, 9]):
        environment.step(np.array(action, np.float32))
    received: Any = environment.env.unwrapped
    np.testing.assert_allclose(received.received, [[-2, 6], [2, 4], [-2, 6]])
    assert received.received[0].dtype == np.float32


@given(st.floats(-1, 1, width=32))
def test_unit_bounds_leave_actions_as_they_are(value: float):
    environment = probe()
    environment.reset(0)
    environment.step(np.array([value, -value], np.float32))
    received: Any = environment.env.unwrapped
    np.testing.assert_allclose(received.received[0], np.array([value, -value], np.float32), atol=1e-7)


def test_nested_observations_become_flat_float32_and_images_stay_uint8():
    environment = probe()
    observation = environment.reset(0)
    assert {name: (x.shape, str(x.dtype)) for name, x in observation.items()} == {
        "state": ((2,), "float32"),
        "pixels.wrist": ((4, 4, 3), "uint8"),
    }
    assert [leaf.name for leaf in environment.spec.observation] == ["pixels.wrist", "state"]


def test_observations_do_not_share_the_environments_buffers():
    environment = probe()
    observation = environment.reset(0)
    simulator: Any = environment.env.unwrapped
    simulator.state[:] = 9.0
    assert observation["state"].max() == 0.5


def test_termination_wins_over_a_time_limit_in_the_same_step():
    environment = probe(steps=((0.0, False, {}), (0.0, False, {}), (1.0, True, {})))
    environment.reset(0)
    *_, last = [environment.step(np.zeros(2)) for _ in range(3)]
    assert last.terminated and not last.truncated


def test_success_ends_the_episode_for_the_learner_only_where_the_reward_says_so():
    steps = ((0.3, False, {"success": 0.0}), (0.7, False, {"success": 1.0}), (0.1, False, {"success": 1.0}))
    ending = probe(RewardConfig(scale=2.0, bias=-1.0), steps=steps)
    ending.reset(0)
    first, second = ending.step(np.zeros(2)), ending.step(np.zeros(2))
    assert (first.terminated, first.learner_reward, first.raw_reward) == (False, -1.0, 0.3)
    assert (second.terminated, second.raw_terminated, second.truncated, second.learner_reward) == (True, False, False, 1.0)
    lasting = probe(RewardConfig(terminate_on_success=False), steps=steps)
    lasting.reset(0)
    assert [lasting.step(np.zeros(2)).terminated for _ in range(3)] == [False] * 3


@pytest.mark.parametrize(
    ("rule", "info", "terminated", "reward", "total", "success"),
    [
        ("auto", {"is_success": np.True_}, False, 0.0, 0.0, True),
        ("auto", {"other": 1}, True, 9.0, 9.0, None),
        ("info:other", {"other": np.array([1.0])}, False, 0.0, 0.0, True),
        ("info:other", {"other": 0}, False, 0.0, 0.0, False),
        ("info:lifted>=0.9", {"lifted": np.float32(0.95)}, False, 0.0, 0.0, True),
        ("info:lifted>=0.9", {"lifted": 0.5}, False, 0.0, 0.0, False),
        ("info:lifted>=0.9", {"other": 1.0}, False, 0.0, 0.0, None),
        ("terminated", {}, True, 0.0, 0.0, True),
        ("reward>=1.5", {}, False, 1.5, 0.0, True),
        ("return>=10", {}, False, 5.0, 9.9, False),
    ],
)
def test_success_rules(rule: str, info: dict, terminated: bool, reward: float, total: float, success: bool | None):
    found, paid = success_rule(rule)(Outcome(None, info, terminated, reward, total))
    assert found is success and paid == 0


@pytest.mark.parametrize("rule", ["info:lifted>=", "info:lifted>=much", "info:>=1", "info:lifted>=nan", "lifted>=1"])
def test_a_rule_that_compares_with_no_number_is_refused(rule: str):
    with pytest.raises(WarmloopError, match=f'environment.success is "{rule}"; it must be auto'):
        success_rule(rule)


@pytest.mark.parametrize("value", ["high", np.nan, [0.5, 0.7]])
def test_what_is_compared_must_be_a_number(value):
    with pytest.raises(WarmloopError, match=r'has as "lifted" .*, and environment.success compares it with 0.9'):
        success_rule("info:lifted>=0.9")(Outcome(None, {"lifted": value}, False, 0.0, 0.0))


def run_to_the_end(environment: Environment) -> None:
    environment.reset(0)
    for _ in range(3):
        environment.step(np.zeros(2))


def test_a_missing_success_signal_is_told_when_the_reward_needs_it():
    with pytest.raises(WarmloopError, match=r"no success signal by the rule \"auto\".*Its info has distance.*environment.success"):
        run_to_the_end(probe(RewardConfig(), steps=((0.0, False, {"distance": 1.0}),) * 3))
    run_to_the_end(probe(RAW))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"state": np.nan}, 'observation "state" that is not finite'),
        ({"steps": ((np.inf, False, {}),) * 3}, "at step 1 a reward that is not finite"),
    ],
)
def test_values_that_are_not_finite_are_refused(kwargs: dict, message: str):
    with pytest.raises(WarmloopError, match=message):
        run_to_the_end(probe(**kwargs))


@pytest.mark.parametrize(
    ("action", "message"), [(np.array([0.0, np.nan]), "step 0 is not finite"), (np.zeros(3), r"shape \(2,\), and got \(3,\)")]
)
def test_a_wrong_action_is_refused(action: np.ndarray, message: str):
    environment = probe()
    environment.reset(0)
    with pytest.raises(WarmloopError, match=message):
        environment.step(action)


def test_no_step_goes_beyond_the_end_of_an_episode():
    environment = probe()
    run_to_the_end(environment)
    with pytest.raises(WarmloopError, match="the episode is over; call reset"):
        environment.step(np.zeros(2))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"id": "Meta-World/peg-insert-sid-v3"}, 'no task "peg-insert-sid-v3"; did you mean peg-insert-side-v3'),
        ({"id": "Pendulum-v9"}, r'no environment "Pendulum-v9"; did you mean Pendulum-v1'),
        ({"id": "AdroitHandDor-v1"}, r"did you mean AdroitHandDoor"),
        ({"id": "no_such_module:Env-v0"}, 'there is no module "no_such_module"'),
        ({"id": "Pendulum-v1", "kwargs": {"gravty": 3}}, r"cannot be made from the arguments \{'gravty': 3\}"),
        ({"id": "WarmloopTest/Endless-v0"}, "no time limit of its own; register it with max_episode_steps, or set"),
        ({"id": "WarmloopTest/Probe-v0", "kwargs": {"high": np.inf}}, "unbounded actions"),
        ({"id": "CartPole-v1"}, r"has discrete actions, Discrete\(2\).*none for discrete actions is available"),
        ({"id": ""}, "environment.id is empty"),
        ({"id": "Pendulum-v1", "success": "return>ten"}, 'environment.success is "return>ten"; it must be'),
        ({"id": "Pendulum-v1", "horizon": -1}, "environment.horizon is -1"),
    ],
)
def test_an_environment_that_cannot_be_made_is_a_sentence(config: dict, message: str):
    with pytest.raises(WarmloopError, match=message):
        make_environment(EnvironmentConfig(**config))


def test_an_observation_of_another_shape_than_declared_is_refused():
    with pytest.raises(WarmloopError, match=r"gave at step 0 an observation that has shape \(3,\), and its space says \(2,\)"):
        make_environment(EnvironmentConfig("WarmloopTest/WrongShape-v0")).reset(0)


def test_a_missing_extra_names_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gym_hil", None)
    with pytest.raises(WarmloopError, match=r"needs gym_hil .*pip install 'warmloop\[robotics\]'"):
        make_environment(EnvironmentConfig("gym_hil/Unheard-v0"))
    monkeypatch.setitem(sys.modules, "metaworld", None)
    with pytest.raises(WarmloopError, match=r"Meta-World is not installed .*pip install 'warmloop\[robotics\]'"):
        make_environment(EnvironmentConfig("Meta-World/reach-v3"))


def test_configs_with_the_same_arguments_in_another_order_are_equal_and_hashable():
    one, two = (EnvironmentConfig("Pendulum-v1", kwargs) for kwargs in ({"a": 1, "b": 2}, (("b", 2), ("a", 1))))
    assert one == two and hash(one) == hash(two)


@given(st.integers(0, 2**40), st.integers(0, 5_000), st.integers(0, 2**40), st.integers(0, 5_000), st.integers(0, 50))
def test_streams_never_share_a_seed(seed: int, episode: int, other_seed: int, other_episode: int, actor: int):
    kinds = (actor, EVALUATION_STREAM, COLLECTION_STREAM, VIDEO_STREAM)
    mine = [episode_seed(seed, stream, episode) for stream in kinds]
    theirs = [episode_seed(other_seed, stream, other_episode) for stream in kinds]
    assert all(0 <= number < 2**31 for number in mine)
    assert all(mine[i] != theirs[j] for i in range(4) for j in range(4) if i != j)


def test_episode_seeds_are_the_same_in_every_release():
    seeds = [episode_seed(*which) for which in ((0, 0, 0), (0, 1, 0), (0, 0, 1), (7, EVALUATION_STREAM, 3))]
    assert seeds == [284457150, 206828612, 73105346, 718357490]


class LosesTheSeed(gym.Wrapper):
    """A user's wrapper whose reset does not pass the seed on."""

    def reset(self, *, seed=None, options=None):
        return self.env.reset()


@pytest.mark.parametrize(("wrapped", "simulator", "told"), [(True, True, 1), (True, False, 0), (False, True, 0)])
def test_a_seed_that_a_wrapper_loses_is_told_where_it_comes_again_and_of_no_robot(wrapped, simulator, told, caplog):
    said._said.clear()
    env = gym.make("Pendulum-v1")
    environment = Environment(LosesTheSeed(env) if wrapped else env, EnvironmentConfig("Pendulum-v1"), RAW)
    environment.use = ActorConfig(simulator=simulator)
    with guarded(environment):
        for seed in (1, 2, 1, 1, 2):
            environment.reset(seed)
    messages = [record.message for record in caplog.records if "began differently" in record.message]
    assert len(messages) == told

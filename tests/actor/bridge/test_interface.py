"""Environments with the calls of older Gym: bridged, and said once."""

import logging
from typing import Any

import gymnasium as gym
import lab_environment
import numpy as np
import pytest
from scripted import ARM, STATE

from warmloop.actor.bridge.interface import Interface, modern
from warmloop.actor.environment.environment import Environment, EnvironmentConfig, make_environment
from warmloop.data.errors import WarmloopError
from warmloop.data.reward import RewardConfig
from warmloop.data.running import said

RAW = RewardConfig(signal="environment", terminate_on_success=False)


@pytest.fixture(autouse=True)
def nothing_said_yet():
    said._said.clear()


class Calls(gym.Env):
    """Records how its reset was called."""

    observation_space, action_space = STATE, ARM
    called: Any = None

    def step(self, action):
        return np.zeros(3), 0.0, False, False, {}

    def given(self, **how):
        self.called = how
        return np.zeros(3), {}


class WithoutSeed(Calls):
    def reset(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.given()


class SeededByMethod(WithoutSeed):
    seeded = None

    def seed(self, seed=None):
        self.seeded = seed


class SeedOnly(Calls):
    def reset(self, seed=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.given(seed=seed)


class AnyKeyword(Calls):
    def reset(self, **kwargs):
        return self.given(**kwargs)


class InfoOfNone(Calls):
    def reset(self, *, seed=None, options=None) -> Any:
        return np.zeros(3), None


def made(env: Any) -> Environment:
    return Environment(env, EnvironmentConfig("lab"), RAW)


@pytest.mark.parametrize(("kind", "how"), [(WithoutSeed, {}), (SeedOnly, {"seed": 7}), (AnyKeyword, {"seed": 7}), (SeededByMethod, {})])
@pytest.mark.parametrize("limited", [lambda env: env, lambda env: gym.wrappers.TimeLimit(gym.wrappers.OrderEnforcing(env), 5)])
def test_reset_is_called_as_it_is_written(kind, how, limited):
    env = kind()
    made(limited(env)).reset(7)
    assert env.called == how
    if kind is SeededByMethod:
        assert env.seeded == 7


def test_an_environment_that_cannot_be_seeded_is_said_once(caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            made(WithoutSeed()).reset(0)
    assert [record.message for record in caplog.records] == [
        'Environment "lab": its reset takes no seed, so a seed does not decide its episodes.'
    ]


def test_an_info_of_none_is_an_empty_one():
    environment = made(InfoOfNone())
    assert np.isfinite(environment.reset(0)).all()


def test_a_wrapper_of_gymnasium_around_an_old_environment_hands_it_no_seed():
    class Own(gym.Wrapper):
        """A user's wrapper that leaves reset to its parent, which passes the seed on."""

    env = WithoutSeed()
    made(gym.wrappers.TimeLimit(Own(env), 5)).reset(0)
    assert env.called == {}


def test_the_interface_lies_below_what_gymnasium_put_around():
    env = gym.wrappers.TimeLimit(gym.wrappers.OrderEnforcing(WithoutSeed()), 5)
    outer: Any = modern(env, "lab")
    assert outer is env and isinstance(outer.env.env, Interface) and modern(env, "lab") is env
    assert outer.env.env.env is env.unwrapped


@pytest.mark.parametrize(
    ("quirk", "says"),
    [("old_reset", "its reset returns the observation alone"), ("old_step", "its step returns four values, as before Gymnasium 0.26")],
)
def test_old_returns_are_taken_as_they_were_meant_and_said_once(quirk: str, says: str, caplog):
    config = EnvironmentConfig("lab_environment:Lab/Reach-v0", {"quirk": quirk}, horizon=40)
    with caplog.at_level(logging.WARNING):
        environment = make_environment(config, RAW)
        for seed in range(2):
            observation = environment.reset(seed)
            np.testing.assert_array_equal(observation, lab_environment.Reach().reset(seed=seed)[0])
            results = [environment.step(np.zeros(2)) for _ in range(30)]
            assert (results[-1].terminated, results[-1].truncated) == ((True, False) if quirk == "old_step" else (False, True))
    assert sum(says in record.message for record in caplog.records) == 1


def test_the_time_limit_of_an_old_wrapper_is_a_truncation():
    class Old(Calls):
        def reset(self):  # pyright: ignore[reportIncompatibleMethodOverride]
            return np.zeros(3)

        def step(self, action):  # pyright: ignore[reportIncompatibleMethodOverride]
            return np.zeros(3), 0.0, True, {"TimeLimit.truncated": True}

    environment = made(Old())
    environment.reset(0)
    result = environment.step(np.zeros(2))
    assert (result.terminated, result.truncated) == (False, True)


def test_an_id_without_a_seed_works_under_gymnasiums_own_wrappers():
    environment = make_environment(EnvironmentConfig("lab_environment:Lab/ReachWithoutSeed-v0", horizon=5), RAW)
    environment.reset(0)
    assert [environment.step(np.zeros(2)).truncated for _ in range(5)] == [False] * 4 + [True]


class NotOurs:
    def reset(self):
        return 0


class Refusing(gym.Env):
    def __init__(self):
        raise ConnectionRefusedError("no robot at 10.0.0.5")


gym.register("WarmloopTest/NotOurs-v0", lambda: NotOurs(), max_episode_steps=3)  # pyright: ignore[reportArgumentType]
gym.register("WarmloopTest/Refusing-v0", lambda: Refusing(), max_episode_steps=3)
gym.register("WarmloopTest/NoPictures-v0", lambda: Calls(), max_episode_steps=3)


@pytest.mark.parametrize(
    ("id", "render", "says"),
    [
        ("WarmloopTest/NotOurs-v0", False, "not one of Gymnasium's, but of the old gym.*shimmy"),
        ("WarmloopTest/Refusing-v0", False, r"cannot be made: ConnectionRefusedError: no robot at 10.0.0.5 \(test_interface.py, line"),
        ("WarmloopTest/NoPictures-v0", True, "makes no pictures: its constructor takes no render_mode"),
        ("not an id", False, "cannot be made: .*Malformed environment ID"),
    ],
)
def test_what_cannot_be_made_is_a_sentence(id: str, render: bool, says: str):
    with pytest.raises(WarmloopError, match=says):
        make_environment(EnvironmentConfig(id), render=render)


class ResetsItself(Calls):
    """As Gymnasium's autoreset of old, whose info at an end is the next episode's."""

    def __init__(self, key: str, old: bool):
        self.key, self.old = key, old

    def reset(self, *, seed=None, options=None):
        return np.zeros(3), {}

    def step(self, action) -> Any:
        info = {"success": False, self.key: np.full(3, 7.0), "final_info": {"success": True}}
        return (np.zeros(3), 1.0, True, info) if self.old else (np.zeros(3), 1.0, True, False, info)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("key", ["final_observation", "final_obs", "terminal_observation"])
def test_the_last_observation_of_an_environment_that_resets_itself_is_of_its_own_episode(key: str, old: bool, caplog):
    environment = made(ResetsItself(key, old))
    with caplog.at_level(logging.WARNING):
        for seed in range(2):
            environment.reset(seed)
            result = environment.step(np.zeros(2))
            assert result.next_observation.tolist() == [7.0] * 3 and result.success and result.terminated
    assert sum("it resets itself where an episode ends" in record.message for record in caplog.records) == 1


class Four(gym.Wrapper):
    """As of before Gymnasium 0.26."""

    def reset(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.env.reset()[0]

    def step(self, action) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated or truncated, info


class Again(gym.Wrapper):
    """Resets itself."""

    def step(self, action) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            return self.env.reset()[0], reward, terminated, truncated, {"final_observation": observation, "final_info": info}
        return observation, reward, terminated, truncated, info


@pytest.mark.parametrize("kind", [Four, Again])
@pytest.mark.parametrize("name", ["Lab/Reach-v0", "Lab/ReachWithoutSeed-v0"])
def test_a_wrapper_of_ones_own_may_have_the_calls_of_older_gym_and_may_reset_itself(kind: type[gym.Wrapper], name: str):
    text = f"{__name__}:{kind.__name__}"
    config = EnvironmentConfig(f"lab_environment:{name}", {"limit": 5}, horizon=5, wrappers=(text, text) if kind is Again else (text,))
    environment = make_environment(config, RAW)
    first = environment.reset(0)
    results = [environment.step(np.zeros(2)) for _ in range(5)]
    np.testing.assert_array_equal(results[-1].next_observation, first, "of its own episode, in which nothing moved")
    assert (results[-1].terminated, results[-1].truncated) == ((True, False) if kind is Four else (False, True))
    assert "success" in results[-1].info


@pytest.mark.parametrize(("kind", "instead"), [("NormalizeObservation", "normalise_observations"), ("NormalizeReward", "reward.scale")])
def test_statistics_that_go_on_changing_are_refused_and_fixed_ones_are_not(kind: str, instead: str):
    wrapped = getattr(gym.wrappers, kind)(AnyKeyword())
    with pytest.raises(WarmloopError, match=f'Environment "lab" is in the wrapper {kind}, whose statistics change .*{instead}'):
        made(gym.wrappers.TimeLimit(wrapped, 5))
    wrapped.update_running_mean = False
    made(gym.wrappers.TimeLimit(wrapped, 5)).reset(0)


def test_a_last_observation_in_the_info_of_a_step_that_ends_nothing_is_not_taken():
    class Goes(ResetsItself):
        def step(self, action) -> Any:
            return np.ones(3), 1.0, False, np.False_, {"final_observation": np.full(3, 7.0), "final_info": {"success": True}}

    environment = made(Goes("", False))
    environment.reset(0)
    result = environment.step(np.zeros(2))
    assert result.next_observation.tolist() == [1.0] * 3 and not result.success

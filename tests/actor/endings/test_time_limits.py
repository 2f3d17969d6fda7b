"""Time limits that are returned as terminations: recognised, said once, and repaired by a setting or a wrapper."""

import logging

import gymnasium as gym
import numpy as np
import pytest
from scripted import Scripted

from warmloop.actor.endings.time_limits import TimeLimits
from warmloop.actor.environment.environment import Environment, EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import run_episode
from warmloop.actor.wrappers import wrap
from warmloop.data.errors import WarmloopError
from warmloop.data.reward import RewardConfig
from warmloop.data.running import said

LAB = EnvironmentConfig("lab_environment:Lab/Reach-v0", {"quirk": "time_limit_is_done"}, horizon=30)
SETTING = "--config.environment.time_limit_is_truncation=True"


@pytest.fixture(autouse=True)
def nothing_said_yet():
    said._said.clear()


class Seeking:
    """Goes to the goal in every other episode, and stands still in the others."""

    def begin(self, seed: int) -> None:
        self.gain = 10.0 * (seed % 2)

    def __call__(self, observation, step: int) -> np.ndarray:
        return np.clip(self.gain * (observation[2:] - observation[:2]), -1, 1)


def played(config: EnvironmentConfig, episodes: int = 6) -> list[tuple[int, bool, bool]]:
    """Of each episode its length, whether it succeeded, and whether it terminated."""
    environment = make_environment(config, RewardConfig())
    found = [run_episode(environment, Seeking(), seed) for seed in range(episodes)]
    return [(len(episode), episode.succeeded, bool(episode.steps.mask[-1] == 0)) for episode in found]


def test_failing_by_the_clock_counts_as_cut_where_the_setting_says_so_and_success_still_ends(caplog):
    with caplog.at_level(logging.WARNING):
        as_it_comes = played(LAB)
        assert sum(SETTING in record.message for record in caplog.records) == 1
        caplog.clear()
        said._said.clear()
        repaired = played(EnvironmentConfig(LAB.id, LAB.kwargs, 30, time_limit_is_truncation=True))
        assert not caplog.records
    assert [(steps, won) for steps, won, _ in repaired] == [(steps, won) for steps, won, _ in as_it_comes]
    assert all(terminated for _, _, terminated in as_it_comes)
    assert [terminated for _, _, terminated in repaired] == [won for _, won, _ in as_it_comes]
    assert {won for _, won, _ in as_it_comes} == {True, False}


def test_a_success_told_by_termination_is_not_told_by_the_clock():
    for repaired in (False, True):
        config = EnvironmentConfig(LAB.id, LAB.kwargs, 30, success="terminated", time_limit_is_truncation=repaired)
        environment = make_environment(config, RewardConfig())
        environment.reset(1)
        last = [environment.step(np.zeros(2)) for _ in range(30)][-1]
        assert (last.success, last.terminated, last.truncated) == ((False, False, True) if repaired else (True, True, False))


def test_the_limit_inside_an_environment_is_recognised_below_the_horizon(caplog):
    with caplog.at_level(logging.WARNING):
        played(EnvironmentConfig(LAB.id, {**dict(LAB.kwargs), "limit": 20}, horizon=50), 8)
    (record,) = [record for record in caplog.records if SETTING in record.message]
    assert "after 20 steps" in record.message and "--config.environment.horizon=20" in record.message


def told(limit: int | None, ends: list[tuple[int, bool, bool]], caplog) -> int:
    limits = TimeLimits("lab", limit, repairs=False)
    with caplog.at_level(logging.WARNING):
        for steps, terminated, success in ends:
            limits.ended(steps, terminated, success)
    return len(caplog.records)


@pytest.mark.parametrize(
    ("limit", "ends", "times"),
    [
        (50, [(50, True, False)] * 3, 1),
        (50, [(50, True, True)] * 9, 0),
        (50, [(50, False, False)] * 9, 0),
        (50, [(7, True, False), (12, True, False), (9, True, False), (12, True, False), (31, True, False)], 0),
        (None, [(20, True, False)] * 3, 1),
        (None, [(20, True, False)] * 2, 0),
        (None, [(20, True, False), (21, False, False), (20, True, False), (20, True, False)], 0),
        (None, [(5, True, False), (20, True, False), (5, True, False), (20, True, False), (5, True, True), (20, True, False)], 1),
        (None, [(1, True, False)] * 9, 0),
        (None, [(steps, True, False) for steps in (14, 19, 16, 15, 17, 19, 18, 15, 19)], 0),  # falls, as a humanoid's
    ],
)
def test_failures_of_one_length_that_none_outlasts_look_like_a_time_limit(limit, ends, times, caplog):
    assert told(limit, ends, caplog) == times


class Late(Scripted):
    """Terminates after five steps, with what it is told in the info."""

    def __init__(self, info: dict):
        super().__init__()
        self.info = info

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return super().reset()

    def step(self, action):
        self.steps += 1
        observation, *_ = super().step(action)
        return observation, 0.0, self.steps >= 5, False, self.info


@pytest.mark.parametrize(("info", "ends"), [({}, (False, True)), ({"succeed": True}, (True, False)), ({"succeed": False}, (False, True))])
def test_the_wrapper_cuts_at_its_own_limit(info: dict, ends: tuple):
    env = wrap(Late(info), ["time_limit_is_truncation:5"])
    for _ in range(2):
        env.reset()
        *_, last = [env.step(np.zeros(2)) for _ in range(5)]
        assert last[2:4] == ends
    assert wrap(gym.wrappers.TimeLimit(Late({}), 9), ["time_limit_is_truncation:steps=7"]) is not None


@pytest.mark.parametrize("ends", [True, False])
def test_where_a_success_ends_nothing_the_clock_cuts_those_that_had_one_too(ends):
    config = EnvironmentConfig("lab", horizon=5, time_limit_is_truncation=True)
    reward = RewardConfig(signal="success" if ends else "environment", terminate_on_success=ends)
    environment = Environment(Late({"success": True}), config, reward)
    environment.reset(0)
    steps = [environment.step(np.zeros(2)) for _ in range(1 if ends else 5)]
    assert (steps[-1].success, steps[-1].terminated, steps[-1].truncated) == ((True, True, False) if ends else (True, False, True))


def test_without_a_limit_there_is_nothing_to_repair_by():
    with pytest.raises(WarmloopError, match=r"does not say its time limit; set it by --config.environment.horizon"):
        Environment(Late({}), EnvironmentConfig("lab", time_limit_is_truncation=True), RewardConfig())
    with pytest.raises(WarmloopError, match="needs the steps of the limit"):
        wrap(Late({}), ["time_limit_is_truncation"])

"""A source slightly beyond its limits is refused with the setting that clips it, and that says how much it clipped."""

import logging

import numpy as np
import pytest

from warmloop.data.action_limits import ActionLimits
from warmloop.data.errors import WarmloopError
from warmloop.data.inspection import inspect
from warmloop.data.sources.sources import DataConfig, SourceConfig, Target, load
from warmloop.data.transition import Leaf, Spec

TARGET = Target("Lab-v0", Spec((Leaf("", (3,), "float32"),), 2), ActionLimits((-2.0, 0.0), (2.0, 10.0)))


def saved(path, actions, length=0):
    """A file of actions `[N, 2]`, in episodes of `length` steps; 0 for one of all."""
    rows = len(actions)
    path.parent.mkdir(exist_ok=True)
    observed = np.random.default_rng(0).normal(size=(rows + 1, 3))
    ends = np.arange(1, rows + 1) % (length or rows) == 0
    np.savez(path, observations=observed[:-1], next_observations=observed[1:], actions=actions, rewards=np.zeros(rows), timeouts=ends)
    return str(path)


@pytest.fixture
def glove(tmp_path):
    """30 steps of two actions, of which three numbers in two steps pass 1 by up to 0.03."""
    actions = np.linspace(-0.9, 0.9, 60).reshape(30, 2)
    actions[4], actions[9, 1] = (1.03, -1.02), 1.01
    return saved(tmp_path / "glove.npz", actions)


def test_actions_slightly_beyond_are_refused_with_the_setting_that_clips_them(glove):
    said = r"glove\.npz, episode 0: `actions` run from -1\.02 to 1\.03; .*--config\.data\.clip_actions=0\.04"
    with pytest.raises(WarmloopError, match=said):
        load(DataConfig((SourceConfig(glove),)), None, None)
    advice = next(finding.advice for finding in inspect(glove).findings if finding.check == "actions out of range")
    assert "--config.data.clip_actions=0.04" in advice


def test_another_unit_is_not_advised_to_be_clipped(tmp_path):
    path = saved(tmp_path / "degrees.npz", np.linspace(-90, 90, 60).reshape(30, 2))
    with pytest.raises(WarmloopError) as caught:
        load(DataConfig((SourceConfig(path),)), None, None)
    assert "clip_actions" not in str(caught.value)


@pytest.mark.parametrize("where", ["source", "all"])
def test_what_is_clipped_is_counted_and_told(glove, caplog, where):
    caplog.set_level(logging.INFO, "warmloop")
    source = SourceConfig(glove, clip_actions=0.05 if where == "source" else 0.0)
    (episode,) = load(DataConfig((source,), clip_actions=0.05 if where == "all" else 0.0), None, None).episodes
    np.testing.assert_array_equal(episode.steps.action[4], [1, -1])
    assert np.abs(episode.steps.action).max() == 1 and episode.steps.action[5, 0] == np.float32(np.linspace(-0.9, 0.9, 60)[10])
    assert f"{glove}: actions are clipped to their limits: 3 numbers, in 2 of 30 steps, by up to 0.03 of half the range" in caplog.text


def test_one_source_is_clipped_and_another_is_not(glove, tmp_path, caplog):
    caplog.set_level(logging.INFO, "warmloop")
    inside = saved(tmp_path / "inside.npz", np.linspace(-1, 1, 40).reshape(20, 2))
    other = saved(tmp_path / "more" / "glove.npz", np.full((5, 2), 1.03))
    config = DataConfig((SourceConfig(glove, clip_actions=0.03), SourceConfig(inside, clip_actions=0.03)))
    assert len(load(config, None, None).episodes) == 2
    assert caplog.text.count("are clipped") == 1
    with pytest.raises(WarmloopError, match=r"more/glove\.npz"):
        load(DataConfig((*config.sources, SourceConfig(other))), None, None)


def test_what_lies_further_beyond_is_refused_still(glove):
    with pytest.raises(WarmloopError, match=r"run from -1\.02 to 1\.03"):
        load(DataConfig((SourceConfig(glove),), clip_actions=0.02), None, None)


def test_in_the_environment_s_units_the_share_is_of_half_the_range(tmp_path, caplog):
    caplog.set_level(logging.INFO, "warmloop")
    actions = np.stack([np.linspace(-2, 2.06, 30), np.linspace(0, 10, 30)], axis=1)
    path = saved(tmp_path / "raw.npz", actions)
    refused = DataConfig((SourceConfig(path),), action_scaling="limits")
    with pytest.raises(WarmloopError, match=r"action 0 runs from -2 to 2\.06, .*--config\.data\.clip_actions=0\.04"):
        load(refused, None, TARGET)
    taken = load(DataConfig((SourceConfig(path, clip_actions=0.03),), action_scaling="limits"), None, TARGET)
    assert taken.episodes[0].steps.action[-1].tolist() == [1, 1]
    assert "1 numbers, in 1 of 30 steps, by up to 0.03" in caplog.text


@pytest.mark.parametrize("allowed", [-0.1, np.nan, np.inf, 1.5, 180])
def test_a_share_that_is_none_is_refused(allowed):
    for make in (lambda: DataConfig(clip_actions=allowed), lambda: SourceConfig("a.npz", clip_actions=allowed)):
        with pytest.raises(WarmloopError, match="clip_actions"):
            make()


@pytest.mark.parametrize("units", ["scaled", "environment"])
def test_an_episode_beyond_what_is_clipped_is_left_out_alone(tmp_path, units, caplog):
    """Of three episodes one passes 1 by what is clipped, and one by more."""
    caplog.set_level(logging.INFO, "warmloop")
    actions = np.full((30, 2), 0.5)
    actions[3, 0], actions[14, 1] = 1.03, 1.5
    if units == "environment":
        actions = np.array([0.0, 5.0]) + actions * [2.0, 5.0]
    source = SourceConfig(saved(tmp_path / "glove.npz", actions, 10), action_units=units)
    loaded = load(DataConfig((source,), clip_actions=0.05, skip_bad_episodes=True), None, TARGET)
    assert [e.number for e in loaded.episodes] == [0, 2] and loaded.episodes[0].steps.action[3, 0] == 1
    assert [one.number for one in loaded.bad] == [1] and "episode 1, is left out: " in caplog.text
    assert "1 numbers, in 1 of" in caplog.text
    with pytest.raises(WarmloopError, match="episode 1: "):
        load(DataConfig((source,), clip_actions=0.05), None, TARGET)
    source = SourceConfig(saved(tmp_path / "wild.npz", actions[10:20]), action_units=units)
    with pytest.raises(WarmloopError, match="all of its episodes are bad"):
        load(DataConfig((source,), skip_bad_episodes=True), None, TARGET)


def test_limits_of_the_data_are_not_narrower_than_what_the_environment_s_let_pass(tmp_path):
    """Numbers that keep to a small part of the range, and pass its end by rounding."""
    actions = np.column_stack([np.linspace(1.9, 2.001, 30), np.linspace(2.0, 8.0, 30)])
    loaded = load(DataConfig((SourceConfig(saved(tmp_path / "a.npz", actions)),), action_scaling="data"), None, TARGET)
    assert loaded.limits is not None and loaded.limits.high == (2.0, 8.0)
    assert loaded.episodes[0].steps.action.max(axis=0).tolist() == [1, 1]

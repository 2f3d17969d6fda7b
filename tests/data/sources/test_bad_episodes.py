"""One bad episode refuses a data set, or is left out by a setting and named; a set of which all are bad is refused always."""

import logging

import h5py
import numpy as np
import pytest
from broken import LAYOUTS
from layouts import write_robomimic
from recorded import episode

from warmloop.data import inspect
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import iterate_episodes, load_episodes
from warmloop.data.formats.recordings.options import ReadOptions
from warmloop.data.inspection import Severity, repair
from warmloop.data.sources.merge import merge
from warmloop.data.sources.sources import DataConfig, SourceConfig, load

WHOLE = {"npz", "dict", "d4rl", "hilserl", "sb3", "lerobot"}  # whose arrays run over all episodes, or are read many episodes at once
ONE_BY_ONE = [name for name in LAYOUTS if name not in WHOLE]


def spoil(name, folder, change):
    path = LAYOUTS[name].make(folder)
    LAYOUTS[name].edit(path, *change)
    return path


def leaving_out(path):
    bad = []
    return load_episodes(path, options=ReadOptions(on_bad=bad.append)), bad


def not_a_number(name):
    def poisoned(old):
        old = old.astype(np.float32)
        old[LAYOUTS[name].row, ..., 0] = np.nan
        return old

    return "observations", poisoned


@pytest.mark.parametrize("name", ONE_BY_ONE)
@pytest.mark.parametrize("defect", ["missing", "ragged", "text"])
def test_an_episode_that_cannot_be_read_is_left_out_and_named(tmp_path, name, defect):
    change = {"missing": lambda old: None, "ragged": lambda old: old[:-1], "text": lambda old: np.full(old.shape, "much")}[defect]
    whole = len(load_episodes(LAYOUTS[name].make(tmp_path)))
    (tmp_path / "spoilt").mkdir()
    path = spoil(name, tmp_path / "spoilt", ("rewards", change))
    with pytest.raises(WarmloopError) as caught:
        load_episodes(path)
    kept, bad = leaving_out(path)
    assert len(kept) == whole - 1 and all(1 not in (e.number,) for e in kept)
    ((one),) = bad
    assert one.reason == str(caught.value) and one.number == 1 and str(path) in one.file


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_episode_with_a_number_that_is_not_finite_is_left_out_and_named(tmp_path, name):
    whole = load_episodes(LAYOUTS[name].make(tmp_path))
    (tmp_path / "spoilt").mkdir()
    kept, bad = leaving_out(spoil(name, tmp_path / "spoilt", not_a_number(name)))
    assert len(bad) == (2 if name == "sb3" else 1), "a row of the ring is of two environments"
    assert all("holds nan" in one.reason for one in bad)
    assert sorted([*(e.number for e in kept), *(one.number for one in bad)]) == [e.number for e in whole]


def test_the_shape_that_most_episodes_have_decides_which_one_is_bad(tmp_path):
    path = write_robomimic(tmp_path / "demos.hdf5", [episode(4, n) for n in range(5)])
    with h5py.File(path, "a") as file:
        del file["data/demo_0/actions"]
        file["data/demo_0/actions"] = np.zeros((4, 9))
    kept, (bad,) = leaving_out(path)
    assert [e.number for e in kept] == [1, 2, 3, 4] and bad.number == 0 and "a row of `actions` is (9,)" in bad.reason


def all_bad(path):
    with h5py.File(path, "a") as file:
        for name in file.require_group("data"):
            file[f"data/{name}/rewards"][...] = np.nan


def test_a_set_of_which_all_episodes_are_bad_is_refused(tmp_path):
    path = write_robomimic(tmp_path / "demos.hdf5", [episode(4, n) for n in range(3)])
    all_bad(path)
    with pytest.raises(WarmloopError, match=r"all of its episodes are bad; of the first: .*episode 0, step 0: `rewards` holds nan"):
        leaving_out(path)
    with h5py.File(path, "a") as file:
        for name in file.require_group("data"):
            del file[f"data/{name}/rewards"]
    with pytest.raises(WarmloopError, match=r"all of its episodes are bad; of the first: .*demo_0 has no `rewards`"):
        leaving_out(path)


def test_an_episode_beyond_the_action_range_is_left_out_of_training_s_data_and_the_log_says_so(tmp_path, caplog):
    path = write_robomimic(tmp_path / "demos.hdf5", [episode(4, n) for n in range(3)])
    with h5py.File(path, "a") as file:
        file["data/demo_1/actions"][0, 0] = 3
    sources = (SourceConfig(str(path)),)
    with pytest.raises(WarmloopError, match="run from"):
        load(DataConfig(sources), None, None)
    with caplog.at_level(logging.WARNING, "warmloop"):
        loaded = load(DataConfig(sources, skip_bad_episodes=True), None, None)
    assert len(loaded.episodes) == 2 and [bad.number for bad in loaded.bad] == [1]
    assert f"{path}, episode 1, is left out: " in caplog.text and "run from" in caplog.text


def test_a_file_that_is_read_twice_names_its_bad_episode_once(tmp_path):
    """Rewards of 0 alone at first are looked at to the end before anything is read."""
    path = write_robomimic(tmp_path / "demos.hdf5", [episode(4, n, rewards=[0.0] * 4) for n in range(3)])
    with h5py.File(path, "a") as file:
        del file["data/demo_1/rewards"]
    bad = []
    assert len(list(iterate_episodes(path, options=ReadOptions(on_bad=bad.append)))) == 2 and len(bad) == 1


@pytest.fixture
def one_bad(tmp_path):
    path = write_robomimic(tmp_path / "demos.hdf5", [episode(8, n, rewards=[0.0] * 7 + [1.0]) for n in range(4)])
    with h5py.File(path, "a") as file:
        del file["data/demo_2/actions"]
    return path


def test_the_inspector_shows_the_bad_episode_and_all_others(one_bad):
    report = inspect(one_bad)
    (found,) = [finding for finding in report.findings if finding.check == "unreadable episode"]
    assert report.summary.episodes == 3 and report.breaks_training
    assert (found.severity, found.episode, found.file) == (Severity.BREAKS, 2, str(one_bad))
    assert "demo_2 has no `actions`" in found.what and "--skip_bad_episodes" in found.advice


def test_the_inspector_with_bad_episodes_left_out_shows_what_training_learns_from(one_bad):
    with h5py.File(one_bad, "a") as file:
        file["data/demo_0/rewards"][0] = np.nan
    report = inspect(one_bad, skip_bad_episodes=True)
    found = [(finding.severity, finding.episode) for finding in report.findings if finding.check == "unreadable episode"]
    assert sorted(found) == [(Severity.NOTE, 0), (Severity.NOTE, 2)]
    assert report.summary.episodes == 2 and "non-finite values" not in [finding.check for finding in report.findings]


def test_a_repair_leaves_the_bad_episode_out_where_it_may(one_bad):
    with pytest.raises(WarmloopError, match="demo_2 has no `actions`"):
        repair([str(one_bad)])
    episodes, changes = repair([str(one_bad)], skip_bad_episodes=True)
    assert len(episodes) == 3
    assert [(change.episode, change.what[:9]) for change in changes] == [(2, "left out:")]


def test_a_set_takes_in_the_sound_episodes_and_says_which_it_left(one_bad, tmp_path):
    with pytest.raises(WarmloopError, match="demo_2 has no `actions`"):
        merge(tmp_path / "set", [str(one_bad)])
    (taken,) = merge(tmp_path / "set", [str(one_bad)], options=ReadOptions(on_bad=lambda _: None))
    assert (taken.new, [bad.number for bad in taken.bad]) == (3, [2])
    assert len(load_episodes(tmp_path / "set")) == 3


def test_what_is_not_read_is_in_the_inspector_s_report(tmp_path):
    arrays = {"observations": np.zeros((10, 2)), "actions": np.zeros((10, 1)), "rewards": np.arange(10.0), "qpos": np.zeros((10, 3))}
    np.savez(tmp_path / "a.npz", **arrays)
    report = inspect(tmp_path / "a.npz")
    assert report.summary.unread == {str(tmp_path / "a.npz"): ("qpos",)}
    assert "not read       `qpos`" in str(report) and report.as_json()["summary"]["unread"] == {str(tmp_path / "a.npz"): ["qpos"]}


def test_robomimic_s_machine_generated_sets_whose_reward_and_done_stay_on_are_read_without_alarm(tmp_path):
    """`dataset_states_to_obs.py --done_mode 0`: done is 1 wherever the state is a success, and rollouts go on to their horizon."""
    rng = np.random.default_rng(0)
    episodes = []
    for number in range(8):
        e = episode(40, number, rewards=(np.arange(40) >= 25 + number).astype(np.float32) * (number % 2 == 0))
        path = np.cumsum(rng.normal(size=(41, e.steps.observation.shape[1])), axis=0).astype(np.float32)
        terminal = e.steps.reward == 1
        action = np.cumsum(rng.normal(size=e.steps.action.shape) * 0.1, axis=0).clip(-0.9, 0.9).astype(np.float32)
        steps = e.steps.replace(observation=path[:-1], next_observation=path[1:], mask=1.0 - terminal, action=action)
        episodes.append(type(e)(steps, None, "made", number))
    written = write_robomimic(tmp_path / "mg.hdf5", episodes)
    read = load_episodes(written)
    assert [len(e) for e in read] == [40] * 8 and [e.succeeded for e in read] == [True, False] * 4
    report = inspect(written)
    assert not [str(finding) for finding in report.findings if finding.severity > Severity.NOTE]
    assert report.summary.steps_after_success == sum(40 - 26 - number for number in (0, 2, 4, 6))

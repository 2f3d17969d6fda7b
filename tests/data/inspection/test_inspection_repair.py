"""--fix never bootstraps from what was not recorded, and does what it announces."""

import h5py
import numpy as np
import pytest
from data_cases import main as make_cases
from planted import clean_arrays, rows_of

from warmloop.data import inspect
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.data.inspection import repair
from warmloop.data.plausible import PlausibleConfig, believed_episodes
from warmloop.data.reward import RewardConfig
from warmloop.data.sources.ends import as_truncation


def saved(folder, arrays):
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def repaired(path):
    """The episodes of a repaired copy as it is read again, and what was changed."""
    episodes, changes = repair([str(path)])
    out = path.with_name("repaired.npz")
    write_episodes(out, episodes)
    return load_episodes(out), changes


def false_bootstraps(episodes):
    """Last steps whose target would use the observation before them."""
    return [e.number for e in episodes if e.steps.mask[-1] == 1 and np.array_equal(e.steps.observation[-1], e.steps.next_observation[-1])]


@pytest.fixture(scope="module")
def without_next(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    make_cases(folder)
    return folder / "robomimic_without_next.hdf5"


def test_a_demonstration_without_next_observations_never_bootstraps_from_itself(without_next):
    def observed(e):
        return e.steps.replace(observation=e.steps.observation["state"], next_observation=e.steps.next_observation["state"])

    for episodes in (load_episodes(without_next), repair([str(without_next)])[0]):
        assert len(episodes) == 4
        for steps in map(observed, episodes):
            same = (steps.observation == steps.next_observation).all(axis=1)
            assert not (same & (steps.mask == 1)).any()


@pytest.mark.parametrize("flags", ["terminal", "both"])
def test_a_terminal_that_stood_for_the_time_limit_goes_with_its_step_where_nothing_was_recorded_after_it(tmp_path, flags):
    arrays = {name: column for name, column in clean_arrays().items() if name not in ("next_observations", "success")}
    last = np.diff(arrays["episode_ids"], append=-1) != 0
    arrays |= {"terminals": last, "timeouts": last if flags == "both" else np.zeros(len(last), bool)}
    path = saved(tmp_path, arrays)
    assert [len(e) for e in load_episodes(path)] == [60] * 12 and not false_bootstraps(load_episodes(path))
    episodes, changes = repaired(path)
    assert [len(e) for e in episodes] == [59] * 12 and len(changes) == 12
    assert not false_bootstraps(episodes) and all(e.steps.truncated[-1] and e.steps.mask.all() for e in episodes)
    assert "step 59 is dropped, since no observation after it was recorded" in changes[0].what


def test_with_next_observations_a_false_terminal_keeps_its_step(tmp_path):
    arrays = clean_arrays()
    arrays["terminals"] = np.diff(arrays["episode_ids"], append=-1) != 0
    del arrays["success"]
    episodes, _ = repaired(saved(tmp_path, arrays))
    assert [len(e) for e in episodes] == [60] * 12 and all(e.steps.mask.all() for e in episodes)


@pytest.mark.parametrize("terminal", [True, False])
def test_what_follows_a_terminal_step_is_unused_and_costs_no_success(tmp_path, terminal):
    arrays, last = {name: array[:60] for name, array in clean_arrays().items()}, 59
    arrays["next_observations"][last] = np.nan
    arrays["terminals"][last], arrays["timeouts"][last] = terminal, not terminal
    (episode,), (change,) = repaired(saved(tmp_path, arrays))
    said = f"step {last}: its next" if terminal else f"cut before step {last}, whose next"
    assert len(episode) == last + terminal and episode.succeeded and change.what.startswith(said)
    assert np.isfinite(episode.steps.next_observation).all() and episode.steps.mask[-1] == (not terminal)


@pytest.mark.parametrize("step", [30, 59])
def test_an_absurd_reward_is_gone_after_a_repair_with_what_it_makes_of_the_return(tmp_path, step):
    arrays = {name: column for name, column in clean_arrays().items() if name != "next_observations"}
    arrays["rewards"][rows_of(arrays, 2)[step]] = 1e20
    episodes, _ = repaired(saved(tmp_path, arrays))
    assert len(episodes[2]) == step and max(e.outcome.reward.max() for e in episodes) < 1e3
    believed_episodes(episodes, PlausibleConfig(), RewardConfig())


@pytest.mark.parametrize("reward", ["sparse", "dense"])
def test_terminal_and_timeout_at_once_are_one_end_afterwards(tmp_path, reward):
    arrays = clean_arrays()
    if reward == "dense":  # positive everywhere, which is no success
        del arrays["success"]
        arrays["rewards"] = np.abs(arrays["rewards"]) + 0.5
    for episode in (1, 2):
        arrays["terminals"][rows_of(arrays, episode)[-1]] = True
    path = saved(tmp_path, arrays)
    assert [f.episode for f in inspect(path).findings if f.check == "terminal and timeout"] == [1, 2]
    episodes, changes = repaired(path)
    assert [change.episode for change in changes] == [1, 2]
    ends = [(e.steps.mask[-1] == 0, bool(e.steps.truncated[-1])) for e in episodes[1:3]]
    assert ends == [(False, True), (True, False) if reward == "sparse" else (False, True)], "a success that is flagged stays terminal"
    assert "terminal and timeout" not in [f.check for f in inspect(path.with_name("repaired.npz")).findings]


def test_a_terminal_last_step_stays_where_next_observations_are_taken_from_the_following_step(tmp_path):
    arrays = clean_arrays()
    arrays["next_observations"] = arrays["observations"].copy()
    last = rows_of(arrays, 2)[-1]
    arrays["terminals"][last], arrays["timeouts"][last] = True, False
    episodes, changes = repaired(saved(tmp_path, arrays))
    assert [len(e) for e in episodes] == [60 if e.number == 2 else 59 for e in episodes]
    assert "the last step, 59, stays, since it is terminal" in changes[2].what and not false_bootstraps(episodes)


def test_an_episode_of_one_step_without_what_followed_is_left_out(tmp_path):
    with h5py.File(tmp_path / "one.hdf5", "w") as file:
        for name, array in {"observations": np.ones((1, 2)), "actions": np.zeros((1, 1)), "rewards": [-2.0]}.items():
            file[name] = array
        file["terminals"], file["timeouts"] = [True], [True]
    (e,) = load_episodes(tmp_path / "one.hdf5")
    assert as_truncation(e) is None and repair([str(tmp_path / "one.hdf5")])[0] == []

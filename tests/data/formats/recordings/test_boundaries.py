"""A terminal flag that stays on while the trajectory goes on is no end of it, whatever the layout; any other terminal is."""

import pickle

import h5py
import numpy as np
import pytest

from warmloop.data.formats import load_episodes
from warmloop.data.formats.recordings.boundaries import trajectory_ends
from warmloop.data.inspection import inspect
from warmloop.data.reward import RewardConfig, apply_reward

LENGTHS = (20, 20, 15, 20)
GOAL = (12, None, 9, 17)  # of each trajectory, the step from which on the goal's flag is set


def walks(goals=GOAL, lengths=LENGTHS, leave=None):
    """Rows of trajectories end to end: a robot that walks from the origin, the flag of its goal, and where each is cut."""
    rng = np.random.default_rng(0)
    paths = [np.cumsum(rng.normal(size=(length + 1, 3)) * 0.1, axis=0).astype(np.float32) for length in lengths]
    flags = [np.zeros(length, bool) if goal is None else np.arange(length) >= goal for goal, length in zip(goals, lengths, strict=True)]
    if leave is not None:
        flags[0][leave] = False
    return {
        "observations": np.concatenate([path[:-1] for path in paths]),
        "next_observations": np.concatenate([path[1:] for path in paths]),
        "actions": rng.uniform(-1, 1, (sum(lengths), 2)).astype(np.float32),
        "rewards": np.concatenate(flags).astype(np.float32),
        "reached": np.concatenate(flags),
        "cut": np.concatenate([np.arange(length) == length - 1 for length in lengths]),
    }


def flat(rows, names):
    """Arrays under the names that a project gives them."""
    made = {name: rows[name] for name in ("observations", "next_observations", "actions", "rewards")}
    made |= {name: 1.0 - rows[of] if name == "masks" else rows[of] for name, of in names.items()}
    return made


def archived(path, arrays):
    np.savez(path.with_suffix(".npz"), **arrays)
    return path.with_suffix(".npz")


def in_hdf5(path, arrays):
    with h5py.File(path.with_suffix(".hdf5"), "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path.with_suffix(".hdf5")


MARKS = {
    "D4RL": {"terminals": "reached", "timeouts": "cut"},
    "Gymnasium": {"terminations": "reached", "truncations": "cut"},
    "RLPD": {"masks": "reached", "dones_float": "cut"},
    "OGBench": {"masks": "reached", "terminals": "cut"},
}


@pytest.mark.parametrize("save", [archived, in_hdf5])
@pytest.mark.parametrize("recorded", [True, False], ids=["with next observations", "without"])
@pytest.mark.parametrize("names", MARKS.values(), ids=MARKS)
def test_a_goal_s_flag_that_stays_on_ends_no_trajectory(tmp_path, names, recorded, save):
    arrays = flat(walks(), names)
    if not recorded:
        del arrays["next_observations"]
    path = save(tmp_path / "maze", arrays)
    episodes = load_episodes(path)
    assert len(episodes) == 4 and [e.succeeded for e in episodes] == [True, False, True, True]
    learnt = [apply_reward(e, RewardConfig()) for e in episodes]
    assert [len(e) for e in learnt if e.succeeded] == [13, 10, 18] and all(e.steps.mask[-1] == 0 for e in learnt if e.succeeded)
    assert not inspect(path).breaks_training


def test_a_robot_that_leaves_its_goal_again_goes_on_with_its_trajectory(tmp_path):
    path = archived(tmp_path / "maze", flat(walks(leave=15), MARKS["D4RL"]))
    first, *_ = episodes = load_episodes(path)
    assert [len(e) for e in episodes] == list(LENGTHS)
    assert first.steps.mask[12:17].tolist() == [0, 0, 0, 1, 0]


def test_transitions_whose_masks_stay_0_are_one_episode_until_they_are_done(tmp_path):
    rows = walks()
    keys = ("observations", "next_observations", "actions", "rewards")
    ends = [{"masks": 1.0 - reached, "dones": bool(cut)} for reached, cut in zip(rows["reached"], rows["cut"], strict=True)]
    transitions = [{key: rows[key][n] for key in keys} | end for n, end in enumerate(ends)]
    (tmp_path / "demos.pkl").write_bytes(pickle.dumps(transitions))
    assert [len(e) for e in load_episodes(tmp_path / "demos.pkl")] == list(LENGTHS)


def test_without_timeouts_an_episode_ends_with_its_flag_s_last_step():
    rows = walks()
    table = {name: rows[name] for name in ("observations", "next_observations", "actions")}
    assert np.flatnonzero(trajectory_ends("maze", table, rows["reached"], None)).tolist() == [19, 39, 54, 74]


def test_terminals_of_trajectories_that_do_not_go_on_end_them(tmp_path):
    """Single steps in a row that are each terminal, and a terminal before a reset."""
    rows = walks(goals=(19, 0, 0, 0, 2), lengths=(20, 1, 1, 1, 3))
    for recorded in (True, False):
        arrays = flat(rows, MARKS["D4RL"])
        if not recorded:
            del arrays["next_observations"]
            arrays["observations"][::20] += 50  # resets far away
        assert [len(e) for e in load_episodes(archived(tmp_path / "walks", arrays))] == [20, 1, 1, 1, 3]


def test_steps_of_which_each_is_an_episode_are_not_joined_though_nothing_moves():
    still = {"observations": np.zeros((9, 2), np.float32), "next_observations": np.zeros((9, 2), np.float32), "actions": np.zeros((9, 1))}
    assert trajectory_ends("bandit", still, np.ones(9, bool), None).all()
    moving = still | {"observations": np.arange(18.0).reshape(9, 2), "next_observations": np.arange(2, 20.0).reshape(9, 2)}
    assert trajectory_ends("bandit", moving, np.ones(9, bool), None).all(), "no step leads to the flag"

"""Flat arrays as our peers name them: the same six episodes, whatever their names, and one question where a file leaves two answers."""

import logging
import pickle

import h5py
import numpy as np
import pytest
from data_cases import EPISODES, STEPS, trajectories

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.data.formats.recordings.options import ReadOptions
from warmloop.data.sources.sources import DataConfig, SourceConfig, load

OBSERVED, ACTIONS, REWARDS, FOLLOWING, MASKS, ENDS = trajectories(np.random.default_rng(0))
OVER, CUT = MASKS == 0, (MASKS == 1) & (ENDS == 1)
FLAT = {"observations": OBSERVED, "actions": ACTIONS, "rewards": REWARDS}
SHORT = {"obs": OBSERVED, "act": ACTIONS, "rew": REWARDS}
IDS = np.repeat(np.arange(EPISODES), STEPS)
PEERS = {
    "RLPD": FLAT | {"next_observations": FOLLOWING, "masks": MASKS, "dones": ENDS.astype(bool)},
    "IQL and JAXRL": FLAT | {"next_observations": FOLLOWING, "masks": MASKS, "dones_float": ENDS},
    "OGBench, a single task": FLAT | {"next_observations": FOLLOWING, "masks": MASKS, "terminals": ENDS},
    "OGBench, compact": FLAT | {"masks": MASKS, "terminals": ENDS, "qpos": OBSERVED},
    "Gymnasium": FLAT | {"next_observations": FOLLOWING, "terminations": OVER, "truncations": CUT},
    "Gymnasium, one step's names": {
        "obs": OBSERVED,
        "action": ACTIONS,
        "reward": REWARDS,
        "next_obs": FOLLOWING,
        "terminated": OVER,
        "truncated": CUT,
    },
    "RLlib": SHORT | {"next_obs": FOLLOWING, "terminateds": OVER, "truncateds": CUT},
    "Stable-Baselines3": FLAT | {"next_observations": FOLLOWING, "dones": ENDS, "timeouts": CUT.astype(np.float32)},
    "Tianshou": SHORT | {"obs_next": FOLLOWING, "terminated": OVER, "truncated": CUT, "done": ENDS.astype(bool)},
    "D4RL": FLAT | {"terminals": OVER, "timeouts": CUT},
    "CORL": FLAT | {"next_observations": FOLLOWING, "terminals": OVER},
    "d3rlpy 1": FLAT | {"terminals": OVER, "episode_terminals": ENDS},
    "d3rlpy 2": FLAT | {"terminals": OVER.astype(np.float32), "timeouts": CUT.astype(np.float32)},
    "DPPO": {"states": OBSERVED, "actions": ACTIONS, "rewards": REWARDS, "terminals": OVER, "traj_lengths": np.full(EPISODES, STEPS)},
    "Diffusion Policy": {
        "state": OBSERVED,
        "action": ACTIONS,
        "reward": REWARDS,
        "terminated": OVER,
        "episode_ends": np.arange(1, 7) * STEPS,
    },
    "discounts": FLAT | {"discount": 0.99 * MASKS, "truncation": CUT},
    "flags of first rows": FLAT | {"terminals": OVER, "timeouts": CUT, "episode_starts": np.arange(len(REWARDS)) % STEPS == 0},
    "ids": FLAT | {"terminals": OVER, "episode_index": IDS},
}


def archived(folder, arrays):
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def archived_small(folder, arrays):
    np.savez_compressed(folder / "a.npz", **arrays)
    return folder / "a.npz"


def in_hdf5(folder, arrays):
    with h5py.File(folder / "a.hdf5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return folder / "a.hdf5"


def pickled(folder, arrays):
    (folder / "a.pkl").write_bytes(pickle.dumps(arrays))
    return folder / "a.pkl"


@pytest.mark.parametrize("save", [archived, archived_small, in_hdf5, pickled])
@pytest.mark.parametrize("name", PEERS)
def test_the_same_episodes_are_read_under_every_peer_s_names(tmp_path, name, save):
    episodes = load_episodes(save(tmp_path, PEERS[name]))
    assert len(episodes) == EPISODES
    assert [e.steps.mask[-1] for e in episodes] == [0, 1] * 3
    assert [bool(e.steps.truncated[-1]) for e in episodes] == [False, True] * 3
    recorded = any(key in PEERS[name] for key in ("next_observations", "next_obs", "obs_next"))
    assert [len(e) for e in episodes] == ([STEPS] * 6 if recorded else [STEPS, STEPS - 1] * 3)
    for index, e in enumerate(episodes):
        first = index * STEPS
        assert np.array_equal(e.steps.observation, OBSERVED[first : first + len(e)])
        kept = len(e) if recorded else STEPS - 1
        assert np.array_equal(e.steps.next_observation[:kept], FOLLOWING[first : first + kept])


@pytest.mark.parametrize("save", [archived, in_hdf5, pickled])
@pytest.mark.parametrize("name", ["timestamps", "time"])
def test_times_of_rows_are_kept_and_what_else_is_called_so_is_told_as_not_read(tmp_path, name, save, caplog):
    times = np.arange(len(REWARDS)) / 10
    (first, *_) = load_episodes(save(tmp_path, PEERS["D4RL"] | {name: times}))
    assert np.array_equal(first.extras["timestamps"], times[: len(first)])
    (tmp_path / "others").mkdir()
    for other in (12.5, "monday"):
        with caplog.at_level(logging.INFO, "warmloop"):
            (first, *_) = load_episodes(save(tmp_path / "others", PEERS["D4RL"] | {name: other}))
        assert not first.extras and f"not read: `{name}`" in caplog.text


@pytest.mark.parametrize("terminated", [False, True])
def test_an_action_beside_the_observation_that_it_led_to_is_moved_to_the_one_that_it_was_taken_on(tmp_path, terminated):
    """TD-MPC2's rows: `obs` 0 to T, and the first `action` and `reward` NaN."""
    whole = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    actions, rewards = np.full((2, 5, 1), np.nan, np.float32), np.full((2, 5), np.nan, np.float32)
    actions[:, 1:, 0], rewards[:, 1:] = np.linspace(-1, 1, 4), np.arange(4)
    arrays = {"obs": whole.reshape(10, 3), "action": actions.reshape(10, 1), "reward": rewards.ravel(), "episode": np.repeat([0, 1], 5)}
    if terminated:
        arrays["terminated"] = np.where(np.isnan(arrays["reward"]), np.nan, 0.0)
    for index, e in enumerate(load_episodes(archived(tmp_path, arrays))):
        assert np.array_equal(e.steps.observation, whole[index, :4]) and np.array_equal(e.steps.next_observation, whole[index, 1:])
        assert e.steps.reward.tolist() == [0, 1, 2, 3]
        assert np.allclose(e.steps.action[:, 0], np.linspace(-1, 1, 4)) and e.steps.truncated.tolist() == [False, False, False, True]


@pytest.mark.parametrize("value", [np.nan, 0.3])
@pytest.mark.parametrize("name", ["success", "terminated", "timeouts"])
def test_a_flag_that_is_neither_0_nor_1_is_refused_and_not_taken_for_one(tmp_path, name, value):
    flags = (OVER if name == "terminated" else CUT if name == "timeouts" else ENDS).astype(np.float64)
    flags[3] = value
    arrays = FLAT | {"terminated": OVER, "timeouts": CUT} | {name: flags}
    with pytest.raises(WarmloopError, match=rf"holds {value:g} in row 3, and a flag is 0 or 1"):
        load_episodes(archived(tmp_path, arrays))


def test_lengths_of_which_one_is_0_are_refused_with_its_number(tmp_path):
    lengths = np.array([STEPS, 0, *[STEPS] * (EPISODES - 1)])
    with pytest.raises(WarmloopError, match="by `episode_lengths` its episode 1 has no rows"):
        load_episodes(archived(tmp_path, FLAT | {"terminals": OVER, "episode_lengths": lengths}))


AMBIGUOUS = {name: FLAT | more for name, more in {
    "dones": {"dones": ENDS.astype(bool)},
    "dones_float": {"dones_float": ENDS},
    "done beside next observations": {"next_observations": FOLLOWING, "done": ENDS},
}.items()}  # fmt: skip


@pytest.mark.parametrize("save", [archived, in_hdf5, pickled])
@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ends_that_could_be_time_limits_are_asked_about_and_a_setting_answers(tmp_path, name, save):
    path = save(tmp_path, AMBIGUOUS[name])
    with pytest.raises(WarmloopError, match=r"`dones` mark where its episodes end.*dones=terminal or dones=time_limit"):
        load_episodes(path)
    over, cut = (load_episodes(path, options=ReadOptions(dones)) for dones in ("terminal", "time_limit"))
    assert [len(over), len(cut)] == [6, 6]
    assert all(e.steps.mask[-1] == 0 for e in over) and all(e.steps.mask.all() and e.steps.truncated[-1] for e in cut)
    loaded = load(DataConfig((SourceConfig(str(path), dones="time_limit"),), dones="terminal"), None, None)
    assert all(e.steps.mask.all() for e in loaded.episodes), "the source's own answer comes before that for all"


@pytest.mark.parametrize("marks", [{"terminals": OVER}, {"masks": MASKS}])
def test_terminals_alone_end_episodes_where_it_is_said_that_no_time_limit_cut_any(tmp_path, marks):
    episodes = load_episodes(archived(tmp_path, FLAT | marks), options=ReadOptions("terminal"))
    assert [len(e) for e in episodes] == [50, 100, 100, 49]  # the goal is reached in every other episode; the last row has no next one
    assert [float(e.steps.mask[-1]) for e in episodes] == [0, 0, 0, 1]


def test_dones_that_are_never_set_ask_nothing(tmp_path):
    (e,) = load_episodes(archived(tmp_path, FLAT | {"dones": np.zeros(len(REWARDS), bool)}))
    assert len(e) == len(REWARDS) - 1


@pytest.mark.parametrize("save", [archived, in_hdf5, pickled])
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"obs": OBSERVED}, "has both `observations` and `obs`"),
        ({"reward": REWARDS}, "has both `rewards` and `reward`"),
        ({"dones": ENDS, "dones_float": 1 - ENDS, "masks": MASKS}, "has both `dones` and `dones_float`, and they differ"),
        ({"masks": MASKS, "terminations": 1 - OVER}, "`masks` and `terminations` disagree on row 0"),
        ({"masks": MASKS - 2}, "`masks` runs from -2 to -1"),
        ({"terminals": OVER}, "neither `timeouts` nor `next_observations`"),
        ({"masks": MASKS}, "neither `timeouts` nor `next_observations`"),
        ({"episode_ids": IDS, "episode_ends": np.array([100, 300])}, "`episode_ids` and `episode_ends` disagree"),
        ({"traj_lengths": np.full(6, 49)}, "its episodes end at row 294, and it has 300"),
    ],
)
def test_what_contradicts_itself_is_refused_with_both_names(tmp_path, save, more, said):
    with pytest.raises(WarmloopError) as caught:
        load_episodes(save(tmp_path, FLAT | more))
    assert said in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_simulator_s_states_beside_observations_are_not_observations(tmp_path):
    arrays = FLAT | {"terminals": OVER, "timeouts": CUT, "states": np.zeros((300, 9)), "next_states": np.zeros((300, 9))}
    assert load_episodes(archived(tmp_path, arrays))[0].steps.observation.shape == (STEPS, 3)


@pytest.mark.parametrize("save", [archived, in_hdf5, pickled])
def test_arrays_that_are_not_read_are_told_by_name(tmp_path, save, caplog):
    arrays = FLAT | {"terminals": OVER, "timeouts": CUT, "qpos": OBSERVED, "valids": ENDS}
    with caplog.at_level(logging.INFO, "warmloop"):
        load_episodes(save(tmp_path, arrays))
    (said,) = [record.getMessage() for record in caplog.records if "not read" in record.getMessage()]
    assert said.endswith("not read: `qpos`, `valids`") and str(tmp_path) in said


@pytest.mark.parametrize("save", [archived, in_hdf5, pickled])
def test_the_axis_of_one_environment_is_taken_off_and_several_are_refused(tmp_path, save):
    """A replay buffer's fields (Stable-Baselines3) and a rollout's (CleanRL), `[steps, environments, ...]`."""
    arrays = {name: array[:, None] for name, array in PEERS["Stable-Baselines3"].items()}
    for one, other in zip(load_episodes(save(tmp_path, arrays)), load_episodes(save(tmp_path, PEERS["Stable-Baselines3"])), strict=True):
        assert np.array_equal(one.steps.observation, other.steps.observation) and np.array_equal(one.steps.mask, other.steps.mask)
    with pytest.raises(WarmloopError, match="steps of 2 environments side by side; save one environment after the other"):
        load_episodes(save(tmp_path, {name: np.repeat(array, 2, axis=1) for name, array in arrays.items()}))

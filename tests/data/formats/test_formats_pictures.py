"""Pictures of recorded data: the same uint8, channels last, whichever layout, dtype and format they come in."""

import pickle

import h5py
import numpy as np
import pytest

from warmloop.data.action_limits import ActionLimits
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.data.formats.recordings import flat
from warmloop.data.sources.ends import TimeLimit
from warmloop.data.sources.sources import DataConfig, SourceConfig, Target, load
from warmloop.data.transition import Leaf, Spec

ROWS = 24
BYTES = np.random.default_rng(0).integers(0, 256, (ROWS + 1, 16, 12, 3), np.uint8)
ACTIONS = np.random.default_rng(1).uniform(-1, 1, (ROWS, 2)).astype(np.float32)
STATE = np.cumsum(np.ones((ROWS + 1, 3), np.float32), axis=0)
ENDS = np.arange(ROWS) % 8 == 7
WAYS = {
    "uint8": lambda p: p,
    "channels first": lambda p: p.transpose(0, 3, 1, 2),
    "floats to 1": lambda p: p.astype(np.float32) / 255,
    "doubles to 1, channels first": lambda p: p.transpose(0, 3, 1, 2) / 255.0,
    "floats to 255": lambda p: p.astype(np.float32),
    "int64": lambda p: p.astype(np.int64),
}


def as_npz(path, pictures):
    both = {"observations/wrist": pictures[:-1], "next_observations/wrist": pictures[1:]}
    both |= {"observations/state": STATE[:-1], "next_observations/state": STATE[1:]}
    np.savez(path, actions=ACTIONS, rewards=np.zeros(ROWS), terminals=np.zeros(ROWS, bool), timeouts=ENDS, **both)


def as_pickle(path, pictures):
    rows = [
        {
            "observations": {"wrist": pictures[t], "state": STATE[t]},
            "next_observations": {"wrist": pictures[t + 1], "state": STATE[t + 1]},
            **{"actions": ACTIONS[t], "rewards": 0.0, "masks": 1.0, "dones": bool(ENDS[t])},
        }
        for t in range(ROWS)
    ]
    path.write_bytes(pickle.dumps(rows))


def as_robomimic(path, pictures):
    with h5py.File(path, "w") as file:
        for number, rows in enumerate(np.split(np.arange(ROWS), 3)):
            demo = file.create_group(f"data/demo_{number}")
            for group, shift in (("obs", 0), ("next_obs", 1)):
                demo[f"{group}/wrist"], demo[f"{group}/state"] = pictures[rows + shift], STATE[rows + shift]
            demo["actions"], demo["rewards"], demo["dones"] = ACTIONS[rows], np.zeros(8), np.zeros(8)
            demo.attrs["num_samples"] = 8


FORMATS = {"a.npz": as_npz, "a.pkl": as_pickle, "a.hdf5": as_robomimic}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FORMATS)
def test_pictures_are_the_same_whichever_way_they_are_stored(tmp_path, monkeypatch, name: str, way: str):
    monkeypatch.setattr(flat, "PIECE_BYTES", 3000)  # a piece for each episode, the first of which is black
    pictures = BYTES.copy()
    pictures[:9] = 0
    FORMATS[name](tmp_path / name, WAYS[way](pictures))
    episodes = load_episodes(tmp_path / name)
    assert len(episodes) == 3
    for key, shift in (("observation", 0), ("next_observation", 1)):
        read = np.concatenate([getattr(episode.steps, key)["wrist"] for episode in episodes])
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, pictures[shift : ROWS + shift])


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (lambda p: p.astype(np.int64) - 100, r"in the shape of pictures, \(16, 12, 3\), that run from -100 to 155; save them as uint8"),
        (lambda p: p.astype(np.float32) / 127.5 - 1, "run from -1 to 1"),
        (lambda p: p.astype(np.uint16)[..., :1] * 257, r"\(16, 12, 1\), that run from 0 to 65535"),
        (lambda p: p.astype(np.float32)[..., 0], r"of shape \(16, 12\), and numbers must lie along one axis"),
        (
            lambda p: np.tile(p.transpose(0, 3, 1, 2), (1, 3, 1, 1)),
            r"of shape \(9, 16, 12\), and which axis holds the channels is not certain",
        ),
    ],
)
def test_what_is_no_picture_is_refused_where_it_would_be_learnt_from_and_may_be_left_out(tmp_path, odd, says):
    as_npz(tmp_path / "a.npz", odd(BYTES))
    source = SourceConfig(str(tmp_path / "a.npz"))
    with pytest.raises(WarmloopError, match=f'a.npz has observations "wrist" .*{says}.*environment.unseen'):
        load(DataConfig((source,)), None, None)
    (first, *_) = load(DataConfig((source,), observation={"": "state"}), None, None).episodes
    assert first.steps.observation.shape == (8, 3)
    spec, limits = Spec((Leaf("state", (3,), "float32"),), 2), ActionLimits([-1, -1], [1, 1])
    (first, *_) = load(DataConfig((source,)), None, Target("lab", spec, limits, ("wrist",))).episodes
    assert list(first.steps.observation) == ["state"]


def test_later_rows_that_are_no_pictures_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(flat, "PIECE_BYTES", 3000)
    pictures = BYTES.astype(np.float32) / 255
    pictures[20] = -1
    as_npz(tmp_path / "a.npz", pictures)
    with pytest.raises(WarmloopError, match=r"a.npz: `observations/wrist` runs from -1 to 1, and a picture's values from 0 to 1, unlike"):
        load_episodes(tmp_path / "a.npz")


def test_the_environment_says_where_the_channels_of_stacked_frames_are(tmp_path):
    nine = np.tile(BYTES, (1, 1, 1, 3))
    as_npz(tmp_path / "a.npz", nine.transpose(0, 3, 1, 2))
    spec = Spec((Leaf("state", (3,), "float32"), Leaf("wrist", (16, 12, 9), "uint8")), 2)
    target = Target("lab", spec, ActionLimits([-1, -1], [1, 1]))
    (first, *_) = load(DataConfig((SourceConfig(str(tmp_path / "a.npz")),)), None, target).episodes
    np.testing.assert_array_equal(first.steps.observation["wrist"], nine[:8])


def test_the_environment_says_that_a_history_of_one_step_is_none(tmp_path):
    as_npz(tmp_path / "a.npz", BYTES[:, None].astype(np.float32) / 255)
    spec = Spec((Leaf("state", (3,), "float32"), Leaf("wrist", (16, 12, 3), "uint8")), 2)
    source = DataConfig((SourceConfig(str(tmp_path / "a.npz")),))
    (first, *_) = load(source, None, Target("lab", spec, ActionLimits([-1, -1], [1, 1]))).episodes
    np.testing.assert_array_equal(first.steps.observation["wrist"], BYTES[:8])


def marked(path, lengths, terminal, won):
    """Episodes of these lengths, their last steps marked as terminal, or not, and as won."""
    ends = np.cumsum(lengths)
    rows = ends[-1]
    observation = np.arange(rows + len(lengths), dtype=np.float32)[:, None]
    here = np.concatenate([np.arange(end - length, end) + number for number, (length, end) in enumerate(zip(lengths, ends, strict=True))])
    flags = {name: np.zeros(rows, bool) for name in ("terminals", "timeouts", "success")}
    flags["terminals"][ends - 1], flags["success"][ends - 1] = terminal, won
    flags["timeouts"][ends - 1] = ~np.array(terminal)
    arrays = {"observations": observation[here], "next_observations": observation[here + 1], "actions": np.zeros((rows, 1))}
    np.savez(path, **arrays, rewards=flags["success"].astype(float), **flags)


@pytest.mark.parametrize("known", [20, None])
def test_recorded_failures_at_the_time_limit_are_told_and_are_cut_by_the_setting(tmp_path, caplog, known):
    marked(tmp_path / "a.npz", [20, 7, 20, 12, 20, 9], [True] * 6, [False, True, False, False, True, True])
    sources = DataConfig((SourceConfig(str(tmp_path / "a.npz")),))
    told = load(sources, None, None, TimeLimit(known)).episodes
    assert [episode.steps.mask[-1] for episode in told] == [0] * 6
    assert "2 of 6 episodes are marked as terminal after 20 steps, and not by success" in caplog.text
    assert "--config.environment.time_limit_is_truncation=True" in caplog.text
    mended = load(sources, None, None, TimeLimit(known, is_truncation=True)).episodes
    assert [episode.steps.mask[-1] for episode in mended] == [1, 0, 1, 0, 0, 0]
    assert [bool(episode.steps.truncated[-1]) for episode in mended] == [True, False, True, False, False, False]
    assert [len(episode) for episode in mended] == [20, 7, 20, 12, 20, 9]
    going_on = load(sources, None, None, TimeLimit(known, is_truncation=True, success_ends=False)).episodes
    assert [episode.steps.mask[-1] for episode in going_on] == [1, 0, 1, 0, 1, 0]  # the fifth succeeded, which ends nothing there


def test_ends_that_are_right_are_not_told(tmp_path, caplog):
    marked(tmp_path / "a.npz", [20, 7, 20, 12, 20, 9], [False, True] * 3, [False, True] * 3)
    marked(tmp_path / "b.npz", [19, 7, 15, 12, 20, 9], [True] * 6, [False] * 6)
    for name in ("a.npz", "b.npz"):
        episodes = load(DataConfig((SourceConfig(str(tmp_path / name)),)), None, None, TimeLimit(25, is_truncation=True)).episodes
        assert sum(episode.steps.mask[-1] == 0 for episode in episodes) == (3 if name == "a.npz" else 6)
    assert "time_limit" not in caplog.text


def test_numbers_that_float32_rounds_are_told_once_with_their_file(tmp_path, caplog):
    stamps = np.arange(ROWS) + 1_700_000_001
    for name, column in (("int.npz", stamps[:, None]), ("double.npz", stamps[:, None] + 0.25), ("small.npz", stamps[:, None] % 1000)):
        np.savez(tmp_path / name, observations=column, actions=ACTIONS, rewards=np.zeros(ROWS), timeouts=ENDS)
        load_episodes(tmp_path / name)
    told = [record.getMessage() for record in caplog.records if "seven digits" in record.getMessage()]
    assert [text.partition(": ")[0].rpartition("/")[2] for text in told] == ["int.npz", "double.npz"]

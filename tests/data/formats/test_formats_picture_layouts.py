"""Pictures whose channels come first, or that are floats, in the files of other projects: read as the same bytes, channels last."""

import json
import shutil

import buffers
import gymnasium as gym
import h5py
import minari
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tfrecords
from buffers import FIXTURES

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.data.sources.sources import DataConfig, SourceConfig, load

pytestmark = pytest.mark.filterwarnings("ignore:.*set to None", "ignore:env_spec is None")  # Minari's, of a set that nobody publishes
LENGTHS = (5, 4, 3)
ENDS = np.cumsum(LENGTHS)
PICTURES = [np.random.default_rng(number).integers(0, 256, (length + 1, 16, 12, 3), np.uint8) for number, length in enumerate(LENGTHS)]
ACTIONS = [np.random.default_rng(number).uniform(-1, 1, (length, 2)).astype(np.float32) for number, length in enumerate(LENGTHS)]
WAYS = {
    "uint8": lambda p: p,
    "channels first": lambda p: np.moveaxis(p, -1, -3),
    "floats to 1": lambda p: p.astype(np.float32) / 255,
    "floats to 1, channels first": lambda p: np.moveaxis(p, -1, -3).astype(np.float32) / 255,
    "floats to 255": lambda p: p.astype(np.float32),
    "int64, channels first": lambda p: np.moveaxis(p, -1, -3).astype(np.int64),
}
ODD = {"floats from -1": lambda p: p.astype(np.float32) / 127.5 - 1, "uint16": lambda p: p.astype(np.int32) * 257}


def as_d3rlpy(folder, stored):
    with h5py.File(folder / "a.h5", "w") as file:
        file["columns"] = ["observations", "actions", "rewards", "terminated"]
        file["num_episodes"], file["version"] = len(stored), "2.1"
        for number, pictures in enumerate(stored):
            file[f"observations_{number}"], file[f"actions_{number}"] = pictures[:-1], ACTIONS[number]
            file[f"rewards_{number}"], file[f"terminated_{number}"] = np.zeros((len(pictures) - 1, 1)), False
    return folder / "a.h5"


def as_sb3(folder, stored):
    """One environment's ring, filled; SB3 itself stores pictures with their channels first (VecTransposeImage)."""

    def change(state):
        state["observations"] = np.concatenate([pictures[:-1] for pictures in stored])[:, None]
        state["next_observations"] = np.concatenate([pictures[1:] for pictures in stored])[:, None]
        state["actions"] = np.concatenate(ACTIONS)[:, None]
        over = np.isin(np.arange(ENDS[-1]), ENDS - 1).astype(np.float32)[:, None]
        state |= {"rewards": np.zeros_like(over), "dones": over, "timeouts": over}
        state |= {"pos": 0, "full": True, "n_envs": 1, "buffer_size": int(ENDS[-1])}

    return buffers.rewritten(folder, "sb3-ring.pkl", change)


def as_isaac(folder, stored):
    with h5py.File(folder / "a.hdf5", "w") as file:
        file.create_group("data").attrs["env_args"] = json.dumps({"env_name": "Isaac-Lift-v0", "type": 2})
        for number, pictures in enumerate(stored):
            demo = file.create_group(f"data/demo_{number}")
            demo.attrs["num_samples"], demo.attrs["success"] = len(pictures) - 1, True
            demo["actions"], demo["obs/wrist"] = ACTIONS[number], pictures[:-1]
            demo["states/articulation/robot/joint_position"] = np.zeros((len(pictures) - 1, 7), np.float32)
    return folder / "a.hdf5"


def as_aloha(folder, stored):
    for number, pictures in enumerate(stored):
        with h5py.File(folder / f"episode_{number}.hdf5", "w") as file:
            file["action"], file["observations/images/wrist"] = ACTIONS[number], pictures[:-1]
            file["observations/qpos"] = np.zeros((len(pictures) - 1, 2), np.float32)
    return folder


def as_minari(folder, stored, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    shape, dtype = stored[0].shape[1:], stored[0].dtype
    low, high = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    made = [
        minari.data_collector.EpisodeBuffer(
            id=number,
            observations=pictures,
            actions=ACTIONS[number],
            rewards=[0.0] * (len(pictures) - 1),
            terminations=[False] * (len(pictures) - 1),
            truncations=[*[False] * (len(pictures) - 2), True],
        )
        for number, pictures in enumerate(stored)
    ]
    spaces = {"observation_space": gym.spaces.Box(low, high, shape, dtype), "action_space": gym.spaces.Box(-1, 1, (2,), np.float32)}
    minari.create_dataset_from_buffers("lab/wrist-v0", made, **spaces, description="pictures")
    return folder / "lab" / "wrist-v0"


def as_lerobot(folder, stored):
    """Numbers in the shape of pictures, which is all that LeRobot has for pictures that are not PNG or video."""
    path = folder / "lerobot-v3"
    shutil.copytree(FIXTURES / "lerobot-v3", path)
    info, frames = json.loads((path / "meta/info.json").read_text()), path / "data/chunk-000/file-000.parquet"
    kind = {"f": "float32", "u": "uint8", "i": "int64"}[stored[0].dtype.kind]
    info["features"] = {name: value for name, value in info["features"].items() if not name.startswith("observation.")}
    info["features"]["observation.wrist"] = {"dtype": kind, "shape": list(stored[0].shape[1:]), "names": None}
    (path / "meta/info.json").write_text(json.dumps(info))
    table = pq.read_table(frames)
    rows = np.concatenate([pictures[:-1] for pictures in stored])
    nested = pa.list_(pa.list_(pa.list_(pa.from_numpy_dtype(kind))))
    table = table.append_column("observation.wrist", pa.array(rows.astype(kind).tolist(), nested))
    assert table["episode_index"].to_pylist() == [number for number, length in enumerate(LENGTHS) for _ in range(length)]
    pq.write_table(table, frames)
    return path


def as_rlds(folder, stored):
    path = folder / "1.0.0"
    tfrecords.copy(path)
    kind = stored[0].dtype.name

    def tensor(dtype, *shape):
        described = {"dtype": dtype, "encoding": "none", "shape": {"dimensions": [str(size) for size in shape]} if shape else {}}
        return {"pythonClassName": "tensorflow_datasets.core.features.tensor_feature.Tensor", "tensor": described}

    described = json.loads((path / "features.json").read_text())
    features = {"action": tensor("float32", 2), "observation": tensor(kind, *stored[0].shape[1:]), "reward": tensor("float32")}
    features |= {name: tensor("bool") for name in ("is_first", "is_last", "is_terminal")}
    tfrecords.step_features(described).clear()
    tfrecords.step_features(described).update(features)
    (path / "features.json").write_text(json.dumps(described))
    examples = []
    for number, pictures in enumerate(stored):
        example, index = tfrecords.EXAMPLE(), np.arange(len(pictures))
        tfrecords.replace(example, "steps/observation", "float_list" if kind == "float32" else "int64_list", pictures.ravel().tolist())
        tfrecords.replace(example, "steps/action", "float_list", np.pad(ACTIONS[number], ((0, 1), (0, 0))).ravel().tolist())
        tfrecords.replace(example, "steps/reward", "float_list", [0.0] * len(pictures))
        for name, column in {"is_first": index == 0, "is_last": index == len(index) - 1, "is_terminal": index < 0}.items():
            tfrecords.replace(example, f"steps/{name}", "int64_list", column.astype(int).tolist())
        examples.append(example)
    tfrecords.redescribe(
        path, "dataset_info.json", lambda info: info.update(splits=[info["splits"][0] | {"shardLengths": [str(len(stored))]}])
    )
    tfrecords.save(path / tfrecords.TRAIN, examples)
    return path


FORMATS = {f.__name__.removeprefix("as_"): f for f in (as_d3rlpy, as_sb3, as_isaac, as_aloha, as_minari, as_lerobot, as_rlds)}


def stored_as(name, way, folder, monkeypatch):
    more = (monkeypatch,) if name == "minari" else ()
    return FORMATS[name](folder, [way(pictures) for pictures in PICTURES], *more)


def pictures_of(observation):
    """The only pictures that there are."""
    leaves = list(observation.values()) if isinstance(observation, dict) else [observation]
    (found,) = [leaf for leaf in leaves if leaf.ndim > 2]
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FORMATS)
def test_pictures_are_the_same_bytes_whichever_way_another_project_stored_them(tmp_path, monkeypatch, name, way):
    episodes = load_episodes(stored_as(name, WAYS[way], tmp_path, monkeypatch))
    assert len(episodes) == len(LENGTHS)
    for episode, pictures in zip(episodes, PICTURES, strict=True):
        for key, shift in (("observation", 0), ("next_observation", 1)):
            read = pictures_of(getattr(episode.steps, key))
            assert read.dtype == np.uint8 and len(read) >= len(pictures) - 2
            led = slice(None) if not shift else np.flatnonzero(episode.steps.mask)  # a terminal row may lead to nothing that is recorded
            np.testing.assert_array_equal(read[led], pictures[shift : shift + len(read)][led])


@pytest.mark.parametrize("way", ODD)
@pytest.mark.parametrize("name", FORMATS)
def test_what_has_the_shape_of_a_picture_and_is_none_is_refused_where_it_would_be_learnt_from(tmp_path, monkeypatch, name, way):
    path = stored_as(name, ODD[way], tmp_path, monkeypatch)
    with pytest.raises(WarmloopError, match=r"in the shape of pictures, \(16, 12, 3\), that run from .*save them as uint8"):
        load(DataConfig((SourceConfig(str(path)),)), None, None)


@pytest.mark.parametrize("shape", [[3, 16, 16], [16, 16, 3]])
def test_a_png_of_lerobot_s_is_a_picture_whatever_order_its_shape_is_declared_in(tmp_path, shape):
    shutil.copytree(FIXTURES / "lerobot-v3", tmp_path / "a")
    info = tmp_path / "a" / "meta/info.json"
    described = json.loads(info.read_text())
    described["features"]["observation.images.front"]["shape"] = shape
    info.write_text(json.dumps(described))
    ours, theirs = load_episodes(tmp_path / "a"), load_episodes(FIXTURES / "lerobot-v3")
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.steps.observation["images.front"], other.steps.observation["images.front"])

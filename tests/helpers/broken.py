"""A good file of every format, and the ways to break one."""

import dataclasses
import gzip
import itertools
import json
import lzma
import os
import pickle
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
import tfrecords
from buffers import FIXTURES, rewritten
from robot_files import write_aloha, write_isaac

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.data.formats.recordings import budget

Change = Callable[[np.ndarray], Any]  # of an array; None for one that is to be removed
REWARDS = ("rewards", "episode_1/rewards", "data/demo_1/rewards", "rewards_1", "data/demo_1/actions", "action")
FILTERS = {name: number.to_bytes(2, "little") for name, number in (("lzf", 32000), ("unknown", 32199))}


@dataclasses.dataclass(frozen=True)
class Layout:
    """How to make and to break a file of one format.

    Attributes:
        make: a good file (or directory) of three episodes in a folder.
        edit: changes `rewards` or `observations` at a path: of the second episode where episodes are stored one by one.
        episode: how a sentence names that episode, "" where arrays run over all of them.
        reward: how a sentence names the rewards.
        row: of an array that `edit` changes, the one that is the second step of the second episode.
        main: the file, below the path, that is cut short, emptied or compressed.
    """

    make: Callable[[Path], Path]
    edit: Callable[[Path, str, Change | None], None]
    episode: str = ""
    reward: str = "`rewards`"
    main: str = ""
    row: int = 1


class Call:
    """Runs a function of the system when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def fixture(name):
    def make(folder):
        copied = folder / Path(name).name
        (shutil.copytree if (FIXTURES / name).is_dir() else shutil.copyfile)(FIXTURES / name, copied)
        return copied

    return make


def hdf5(rewards, observations, main=""):
    """Edits of HDF5 files by the paths of two arrays; an array of objects is stored as texts, which is what h5py makes of them."""

    def edit(path, what, change):
        key = {"rewards": rewards, "observations": observations}[what]
        with h5py.File(path / main if main else path, "a") as file:
            array = change(np.asarray(file.pop(key)))
            if array is not None:
                file[key] = (
                    array.astype("S") if array.dtype.kind == "U" else array.astype(str).astype(object) if array.dtype == object else array
                )

    return edit


def make_npz(folder):
    with h5py.File(FIXTURES / "d4rl-next.hdf5") as file:
        names = ("observations", "next_observations", "actions", "rewards", "terminals", "timeouts")
        np.savez(folder / "demos.npz", **{name: np.asarray(file[name]) for name in names})
    return folder / "demos.npz"


def edit_npz(path, what, change):
    with np.load(path) as file:
        arrays = dict(file)
    changed = change(arrays.pop(what))
    np.savez(path, **arrays, **({} if changed is None else {what: changed}))


def make_hilserl(folder):
    rows = []
    with h5py.File(FIXTURES / "d4rl-next.hdf5") as file:
        columns = {name: np.asarray(file[name]) for name in ("observations", "next_observations", "actions", "rewards")}
        dones = np.asarray(file["terminals"]) | np.asarray(file["timeouts"])
    for n, done in enumerate(dones):
        rows.append({name: column[n] for name, column in columns.items()} | {"masks": 1.0 - done, "dones": bool(done)})
    return save(folder / "demos.pkl", rows)


def edit_hilserl(path, what, change):
    """Where there is no longer one entry for each transition, the last one's becomes an array of two."""
    rows = pickle.loads(path.read_bytes())
    changed = change(np.stack([row.pop(what) for row in rows]))
    if changed is not None:
        values = [changed[n : n + 1] if changed.dtype == object else changed[n] for n in range(len(changed))]
        for row, value in zip(rows, [*values, np.zeros(2)], strict=False):
            row[what] = value
    save(path, rows)


def make_dict(folder):
    arrays = np.load(make_npz(folder))
    return save(folder / "arrays.pkl", dict(arrays))


def edit_dict(path, what, change):
    arrays = pickle.loads(path.read_bytes())
    changed = change(arrays.pop(what))
    save(path, arrays if changed is None else arrays | {what: changed})


def edit_dapg(path, what, change):
    paths = pickle.loads(path.read_bytes())
    changed = change(paths[1].pop(what))
    save(path, paths if changed is None else [paths[0], paths[1] | {what: changed}, paths[2]])


def edit_sb3(path, what, change):
    def alter(state):
        changed = change(state.pop(what))
        state.update({} if changed is None else {what: changed})

    shutil.move(rewritten(path.parent, path.name, alter), path)


def edit_arrow(path, what, change):
    """Rewards of the file of episode 1, or the states of its observations."""
    file = path / "data" / "1" / "part-0.arrow"
    with pa.ipc.open_file(file) as reader:
        table = reader.read_all()
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    if what == "rewards":
        changed = change(columns.pop("rewards").to_numpy())
        columns |= {} if changed is None else {"rewards": pa.array(list(changed) + [None] * (table.num_rows - len(changed)))}
    else:
        state = columns["observations"].field("robot").field("state")
        changed = change(state.flatten().to_numpy().reshape(-1, 3))
        robot = pa.StructArray.from_arrays([pa.FixedSizeListArray.from_arrays(changed.reshape(-1), 3)], ["state"])
        columns["observations"] = pa.StructArray.from_arrays([columns["observations"].field("camera"), robot], ["camera", "robot"])
    made = pa.table(columns)
    with pa.ipc.new_file(file, made.schema) as writer:
        writer.write_table(made)


def edit_rlds(path, what, change):
    file = path / tfrecords.TRAIN
    parsed = tfrecords.examples(file)
    key = {"rewards": "steps/reward", "observations": "steps/observation/robot/state"}[what]
    changed = change(np.array(tfrecords.feature(parsed[1], key), np.float32).reshape(5, -1).squeeze())
    if changed is None:
        tfrecords.remove(parsed[1], key)
    elif changed.dtype.kind == "f":
        tfrecords.replace(parsed[1], key, "float_list", changed.ravel())
    else:
        tfrecords.replace(parsed[1], key, "bytes_list", [str(value).encode() for value in changed])
    tfrecords.save(file, parsed)


def edit_lerobot(path, what, change):
    """Actions in the place of rewards, without which a data set may be."""
    file = path / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(file)
    key = {"rewards": "action", "observations": "observation.state"}[what]
    changed = change(np.array(table[key].to_pylist(), np.float32))
    table = table.drop_columns([key])
    if changed is not None:
        rows = changed.tolist() + [[0.0]] * (table.num_rows - len(changed))
        table = table.append_column(key, pa.array(rows, pa.list_(pa.float32())) if changed.dtype == np.float32 else pa.array(rows))
    pq.write_table(table, file)


def save(path, value):
    path.write_bytes(pickle.dumps(value))
    return path


LAYOUTS = {
    "npz": Layout(make_npz, edit_npz, row=6),
    "hilserl": Layout(make_hilserl, edit_hilserl, row=6),
    "minari": Layout(
        fixture("minari-hdf5"),
        hdf5("episode_1/rewards", "episode_1/observations/robot/state", "data/main_data.hdf5"),
        "episode 1",
        main="data/main_data.hdf5",
    ),
    "minari (arrow)": Layout(fixture("minari-arrow"), edit_arrow, "episode 1", main="data/1/part-0.arrow"),
    "lerobot": Layout(fixture("lerobot-v3"), edit_lerobot, reward="`action`", main="data/chunk-000/file-000.parquet", row=6),
    "d4rl": Layout(fixture("d4rl-next.hdf5"), hdf5("rewards", "observations"), row=6),
    "robomimic": Layout(fixture("robomimic.hdf5"), hdf5("data/demo_1/rewards", "data/demo_1/obs/state"), "demo_1"),
    "isaac": Layout(
        lambda folder: write_isaac(folder / "demos.hdf5"), hdf5("data/demo_1/actions", "data/demo_1/obs/eef_pos"), "demo_1", "`actions`"
    ),
    "aloha": Layout(
        lambda folder: write_aloha(folder / "aloha"),
        hdf5("action", "observations/qpos", "episode_1.hdf5"),
        "episode_1",
        "`action",
        "episode_1.hdf5",
    ),
    "d3rlpy": Layout(fixture("d3rlpy.h5"), hdf5("rewards_1", "observations_1"), "episode 1", "rewards"),
    "dict": Layout(make_dict, edit_dict, row=6),
    "dapg": Layout(fixture("dapg.pickle"), edit_dapg, "episode 1"),
    "sb3": Layout(fixture("sb3-ring.pkl"), edit_sb3),
    "rlds": Layout(fixture("rlds-counting/1.0.0"), edit_rlds, "episode 1", "`steps/reward`", tfrecords.TRAIN),
}


def refused(path):
    """The one sentence by which a file is refused, soon."""
    begun = time.perf_counter()
    with pytest.raises(WarmloopError) as caught:
        load_episodes(path)
    said = str(caught.value)
    assert str(path) in said and said.endswith(".") and "\n" not in said
    assert time.perf_counter() - begun < 20
    return said


def asks_for_memory(said):
    """The sentence, which says what the file would take and how to allow it."""
    assert "of memory" in said and f"set {budget.SETTING}=" in said
    return said


def unknown_filter(path):
    """Stores an HDF5 file's rewards by a filter that is not installed."""
    path = next(itertools.chain(path.rglob("main_data.hdf5"), path.rglob("episode_1.hdf5"))) if path.is_dir() else path
    with h5py.File(path, "a") as file:
        key = next(key for key in REWARDS if key in file)
        array = np.zeros((12, *file[key].shape[1:]), file[key].dtype)
        del file[key]
        file.create_dataset(key, data=array, compression="lzf", chunks=array.shape)
    content = path.read_bytes()
    known, unknown = (FILTERS[name] + b"\x08\x00\x01\x00" for name in ("lzf", "unknown"))
    assert content.count(known) == 1
    path.write_bytes(content.replace(known, unknown))


def unknown_zip_method(path):
    """Marks the members of a zip archive as compressed by a method that there is not."""
    with zipfile.ZipFile(path) as archive:
        starts = [member.header_offset for member in archive.infolist()]
    content = bytearray(path.read_bytes())
    directory = content.find(b"PK\x01\x02")
    for start in starts:
        content[start + 8] = 77
    while directory >= 0:
        content[directory + 10] = 77
        directory = content.find(b"PK\x01\x02", directory + 4)
    path.write_bytes(content)


def gzipped(file):
    """Compresses a file as a whole."""
    file.write_bytes(gzip.compress(file.read_bytes()))


def xz(file):
    """Compresses a file as a whole, as no reader here unpacks."""
    file.write_bytes(lzma.compress(file.read_bytes()))


def no_episodes(path):
    """A Minari dataset of none."""
    described = path / "data" / "metadata.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"total_episodes": 0}))

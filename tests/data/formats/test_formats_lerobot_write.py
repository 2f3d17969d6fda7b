"""LeRobot data sets written here: nothing is lost on the way back, and LeRobot itself loads them."""

import dataclasses
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from recorded import assert_identical, episode

pytest.importorskip("pyarrow")

import pyarrow.parquet as pq

from warmloop.data.episode import Episode, make_steps
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.data.formats.lerobot.warmloop_table import STEP_FIELDS
from warmloop.data.transition import Source

CHECK = Path(__file__).resolve().parents[2] / "helpers" / "lerobot_check.py"
FINITE = st.floats(-1e6, 1e6, width=32)
NAMES = st.sampled_from(["state", "images.front", "wrist", "robot.joints", "environment_state", "image", "a/b", "ärm"])
SHAPES = st.sampled_from([(), (1,), (3,), (2, 4), (2, 1, 3), (5, 4, 1), (6, 5, 3), (4, 3, 4), (1, 2, 1, 2)])


def leaf(draw, shape, dtype, rows):
    elements = FINITE if dtype == np.float32 else None
    return draw(hnp.arrays(dtype, (rows, *shape), elements=elements))


@st.composite
def episode_lists(draw):
    """One to three episodes of a random observation space, with random values in every field that an episode has."""
    shapes = {name: draw(SHAPES) for name in draw(st.sets(NAMES, min_size=1, max_size=3))}
    dtypes = {name: draw(st.sampled_from([np.float32, np.uint8] if len(shape) > 1 else [np.float32])) for name, shape in shapes.items()}
    space = {name: (shape, dtypes[name]) for name, shape in shapes.items()}
    bare = len(space) == 1 and draw(st.booleans())
    extras = draw(st.dictionaries(st.sampled_from(["grasp_penalty", "force"]), st.sampled_from([(), (1,), (3,)])))
    actions = draw(st.integers(1, 3))
    return [
        one_episode(draw, number, space, bare, extras, actions) for number in draw(st.lists(st.integers(0, 99), min_size=1, max_size=3))
    ]


def one_episode(draw, number, space, bare, extras, actions):
    rows = draw(st.integers(1, 5))
    flags = hnp.arrays(bool, rows)
    whole = {name: leaf(draw, shape, dtype, rows + 1) for name, (shape, dtype) in space.items()}
    source = draw(st.sampled_from(list(Source)))

    def part(low, high):
        return next(iter(whole.values()))[low:high] if bare else {name: column[low:high] for name, column in whole.items()}

    steps = make_steps(
        part(0, rows),
        draw(hnp.arrays(np.float32, (rows, actions), elements=st.floats(-1, 1, width=32))),
        draw(hnp.arrays(np.float32, rows, elements=FINITE)),
        part(1, rows + 1),
        draw(flags),
        source=source,
        episode=number,
        intervened=draw(flags),
    ).replace(
        truncated=draw(flags),
        mc_return=draw(hnp.arrays(np.float32, rows, elements=st.one_of(FINITE, st.just(-np.inf)))),
        quality=draw(hnp.arrays(np.float32, rows, elements=st.floats(0, 1, width=32))),
        source=draw(hnp.arrays(np.int32, rows, elements=st.sampled_from([int(kind) for kind in Source]))),
        policy_version=draw(hnp.arrays(np.int32, rows, elements=st.integers(-1, 2**31 - 1))),
        step=draw(hnp.arrays(np.int32, rows, elements=st.integers(0, 2**31 - 1))),
    )
    recorded = {name: leaf(draw, shape, np.float32, rows) for name, shape in extras.items()}
    task = draw(st.sampled_from(["", "lift", "füge ein"]))
    return Episode(steps, draw(st.one_of(st.none(), flags)), "memory", number, source, task, recorded)


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(episode_lists())
def test_what_is_written_is_read_bit_for_bit(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("lerobot") / "set.lerobot"
    write_episodes(path, written)
    read = load_episodes(path)
    assert len(read) == len(written)
    for a, b in zip(written, read, strict=True):
        assert_identical(a.steps, b.steps)
        assert (a.number, a.source, a.task, a.success is None) == (b.number, b.source, b.task, b.success is None)
        assert_identical({} if a.success is None else {"success": a.success}, {} if b.success is None else {"success": b.success})
        assert_identical(dict(a.extras), dict(b.extras))


def pictured(lengths=(5, 2, 120)):
    """Episodes with what LeRobot's recorder takes: a state, a matrix, a camera, and two extras."""
    made = []
    for number, length in enumerate(lengths):
        rng = np.random.default_rng(number)
        whole = {
            "state": rng.normal(size=(length + 1, 3)).astype(np.float32),
            "images.front": rng.integers(0, 256, (length + 1, 12, 10, 3), np.uint8),
            "matrix": rng.normal(size=(length + 1, 2, 4)).astype(np.float32),
        }
        e = episode(length, number, terminated=number == 0, success=[False] * (length - 1) + [number == 0])
        steps = e.steps.replace(
            **{
                name: jax.tree.map(lambda x, rows=rows: x[rows], whole)
                for name, rows in (("observation", slice(None, -1)), ("next_observation", slice(1, None)))
            }
        )
        extras = {"grasp_penalty": rng.normal(size=length).astype(np.float32), "force": rng.normal(size=(length, 3)).astype(np.float32)}
        made.append(dataclasses.replace(e, steps=steps, task="lift" if number else "", extras=extras))
    return made


def lerobot_s_python():
    """An interpreter that has lerobot: WARMLOOP_LEROBOT_PYTHON, or this one."""
    if os.environ.get("WARMLOOP_LEROBOT_PYTHON"):
        return os.environ["WARMLOOP_LEROBOT_PYTHON"]
    if find_spec("lerobot"):
        return sys.executable
    pytest.skip("lerobot is not installed; WARMLOOP_LEROBOT_PYTHON may name an interpreter that has it")


@pytest.mark.slow  # since lerobot's environment takes 8 GB
def test_lerobot_itself_loads_what_is_written_and_records_into_it(tmp_path):
    python, path = lerobot_s_python(), tmp_path / "set.lerobot"
    written = pictured()
    write_episodes(path, written, {"fps": 20})
    steps = [e.steps for e in written]
    frames = {
        "observation.state": np.concatenate([s.observation["state"] for s in steps]),
        "observation.matrix": np.concatenate([s.observation["matrix"] for s in steps]),
        "observation.images.front": np.concatenate([s.observation["images.front"] for s in steps]).transpose(0, 3, 1, 2) / np.float32(255),
        "action": np.concatenate([s.action for s in steps]),
        "next.reward": np.concatenate([s.reward for s in steps]),
        "next.done": np.concatenate([s.mask == 0 for s in steps]),
        "next.truncated": np.concatenate([s.truncated for s in steps]),
        "next.success": np.concatenate([np.asarray(e.success) for e in written]),
        "complementary_info.grasp_penalty": np.concatenate([e.extras["grasp_penalty"] for e in written]),
        "complementary_info.force": np.concatenate([e.extras["force"] for e in written]),
        "timestamp": np.concatenate([np.arange(len(e), dtype=np.float32) / 20 for e in written]),
        "index": np.arange(sum(map(len, written))),
        "task": np.concatenate([np.full(len(e), e.task) for e in written]),
    }
    np.savez(tmp_path / "frames.npz", **frames)
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    checked = subprocess.run([python, CHECK, path, tmp_path / "frames.npz"], env=offline, capture_output=True, text=True, timeout=280)
    assert checked.returncode == 0, checked.stderr[-3000:]
    assert "checked 127 frames" in checked.stdout
    with pytest.raises(WarmloopError, match="the data set was changed since it was written; remove that file"):
        load_episodes(path)
    (path / "meta/warmloop.parquet").unlink()
    assert [(e.task, len(e)) for e in load_episodes(path)] == [("", 5), ("lift", 1), ("lift", 119), ("one more 0", 2)]


def test_many_episodes_share_files_and_a_full_file_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr("warmloop.data.formats.lerobot.writer.MEGABYTES", 0.01)
    monkeypatch.setattr("warmloop.data.formats.lerobot.writer.ROW_GROUP", 3000)
    monkeypatch.setattr("warmloop.data.formats.lerobot.writer.FILES_PER_CHUNK", 2)
    written = [episode(40, number) for number in range(20)]
    write_episodes(tmp_path / "set.lerobot", written)
    files = sorted(str(path.relative_to(tmp_path / "set.lerobot/data")) for path in (tmp_path / "set.lerobot/data").glob("*/*"))
    assert len(files) > 3
    assert files[:3] == ["chunk-000/file-000.parquet", "chunk-000/file-001.parquet", "chunk-001/file-000.parquet"]
    for a, b in zip(written, load_episodes(tmp_path / "set.lerobot"), strict=True):
        assert_identical(a.steps, b.steps)


def test_the_metadata_say_the_rate_and_the_robot_and_are_kept(tmp_path):
    metadata = {"fps": 25, "robot_type": "panda", "note": [1, 2]}
    write_episodes(tmp_path / "set.lerobot", [episode(3)], metadata)
    info = json.loads((tmp_path / "set.lerobot/meta/info.json").read_text())
    assert (info["fps"], info["robot_type"], info["total_frames"], info["splits"]) == (25, "panda", 3, {"train": "0:1"})
    kept = json.loads(pq.read_schema(tmp_path / "set.lerobot/meta/warmloop.parquet").metadata[b"warmloop"])
    assert kept["metadata"] == metadata


def test_without_what_only_warmloop_records_the_rest_is_still_read(tmp_path):
    written = [episode(4, 0, terminated=True), episode(4, 1)]
    write_episodes(tmp_path / "set.lerobot", written)
    (tmp_path / "set.lerobot/meta/warmloop.parquet").unlink()
    first, second = load_episodes(tmp_path / "set.lerobot")
    assert (len(first), len(second)) == (4, 3)
    assert_identical(first.steps.observation, written[0].steps.observation)
    assert (first.steps.mask[-1], second.steps.mask[-1]) == (0, 1)


def test_a_terminal_step_that_is_cut_as_well_stays_terminal(tmp_path):
    e = episode(3, terminated=True)
    e = dataclasses.replace(e, steps=e.steps.replace(truncated=np.array([False, False, True])))
    write_episodes(tmp_path / "set.lerobot", [e])
    assert_identical(load_episodes(tmp_path / "set.lerobot")[0].steps, e.steps)


def refusal(path, episodes, metadata=None):
    with pytest.raises(WarmloopError) as caught:
        write_episodes(path, episodes, metadata)
    assert [entry.name for entry in path.parent.iterdir() if entry.name != path.name] == []
    return str(caught.value)


def test_what_lerobot_cannot_hold_is_refused_and_nothing_is_left(tmp_path):
    path = tmp_path / "set.lerobot"
    e = episode(4)
    jumping = dataclasses.replace(e, steps=e.steps.replace(next_observation=e.steps.next_observation + 1))
    assert "which LeRobot cannot hold; write .npz" in refusal(path, [e, jumping])
    clash = dataclasses.replace(e, extras={"is_intervention": np.zeros(4, np.float32)})
    assert "gets no LeRobot key of its own (complementary_info.is_intervention)" in refusal(path, [clash])
    texts = dataclasses.replace(e, extras={"note": np.array(["a"] * 4)})
    assert "`note`" in refusal(path, [texts])
    assert "fps is 'fast'" in refusal(path, [e], {"fps": "fast"})
    assert not path.exists()


def test_an_existing_directory_is_not_written_over(tmp_path):
    (tmp_path / "set.lerobot").mkdir()
    assert "exists; choose another name" in refusal(tmp_path / "set.lerobot", [episode(3)])
    assert list((tmp_path / "set.lerobot").iterdir()) == []


def test_a_disk_that_refuses_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert "could not be written: No space left on device" in refusal(tmp_path / "set.lerobot", [episode(3)])
    assert not (tmp_path / "set.lerobot").exists()


@pytest.mark.parametrize("damage", ["row", "length", "kind", "format", "leaf", "cut"])
def test_a_record_of_ours_that_does_not_fit_is_refused(tmp_path, damage):
    root = tmp_path / "set.lerobot"
    write_episodes(root, [episode(4), episode(3, 1)])
    own = root / "meta/warmloop.parquet"
    table = pq.read_table(own)
    rows, about = table.to_pylist(), json.loads(table.schema.metadata[b"warmloop"])
    if damage == "row":
        rows.pop()
    elif damage == "length":
        rows[1] |= {f"steps/{name}": rows[0][f"steps/{name}"] for name in STEP_FIELDS}
    elif damage == "kind":
        rows[0]["source"] = 9
    elif damage == "format":
        about["format"] = "warmloop-lerobot-9"
    elif damage == "leaf":
        about["leaves"] = {"observation.other": ["", [3]]}
    pq.write_table(type(table).from_pylist(rows, table.schema.with_metadata({"warmloop": json.dumps(about)})), own)
    if damage == "cut":
        own.write_bytes(own.read_bytes()[:-20])
    with pytest.raises(WarmloopError, match=r"meta/warmloop\.parquet"):
        load_episodes(root)

"""HDF5 in three layouts: the same episodes whatever the layout, and one sentence for each kind of broken file."""

import dataclasses
import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import joined, write_d3rlpy, write_d4rl, write_npz, write_robomimic
from recorded import assert_same_experience, episode, episode_lists

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
FILES = ["d4rl.hdf5", "d4rl-next.hdf5", "robomimic.hdf5", "d3rlpy.h5", "d3rlpy-tuple.h5"]


def outcome(path):
    """The episodes, or None where nothing of them has a next observation."""
    try:
        return load_episodes(path)
    except WarmloopError as error:
        assert "whose next observation is known" in str(error)
        return None


@settings(max_examples=25, deadline=None)
@given(episode_lists(success=("none",)), st.booleans())
def test_the_same_episodes_in_every_layout_are_read_as_the_same(written, following):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = outcome(write_npz(folder / "a.npz", written, following))
        files = [write_d4rl(folder / "a.hdf5", written, following), write_robomimic(folder / "b.hdf5", written, following)]
        if not following and not isinstance(written[0].steps.observation, dict):
            files.append(write_d3rlpy(folder / "c.h5", written))
        for path in files:
            read = outcome(path)
            assert (read is None) == (expected is None)
            if expected and read:
                assert_same_experience(expected, read)
        if following and expected:
            unmarked = [e.steps.replace(intervened=np.zeros(len(e), bool)) for e in written]
            assert_same_experience([dataclasses.replace(e, steps=s) for e, s in zip(written, unmarked, strict=True)], expected)


def test_nested_observations_are_named_level_by_level_with_dots_between(tmp_path):
    e = episode(4)
    leaves = {"robot/joints": e.steps.observation, "wrist": np.zeros((4, 8, 8, 3), np.uint8)}
    e = dataclasses.replace(e, steps=e.steps.replace(observation=leaves, next_observation=leaves))
    for path in (write_d4rl(tmp_path / "a.hdf5", [e]), write_robomimic(tmp_path / "b.hdf5", [e])):
        read = load_episodes(path)[0].steps.observation
        assert {name: (leaf.dtype.name, leaf.shape) for name, leaf in read.items()} == {
            "robot.joints": ("float32", (4, 3)),
            "wrist": ("uint8", (4, 8, 8, 3)),
        }


@pytest.mark.parametrize("flag", ["success", "is_success", "succeed", "goal_achieved"])
def test_success_of_d4rl_is_the_flag_in_its_infos(tmp_path, flag):
    path = write_d4rl(tmp_path / "a.hdf5", [episode(3), episode(2, 1)])
    with h5py.File(path, "a") as file:
        file[f"infos/{flag}"] = [0.0, 0, 1, 0, 0]
    assert [np.asarray(e.success).tolist() for e in load_episodes(path)] == [[False, False, True], [False, False]]


@pytest.mark.parametrize(
    ("rewards", "success"),
    [([0.0, 1, 1], [False, True, True]), ([0.0, 0, 0], None), ([0.0, 0.5, 1], None)],
    ids=["sparse", "none", "dense"],
)
def test_success_of_robomimic_is_a_sparse_reward(tmp_path, rewards, success):
    (e,) = load_episodes(write_robomimic(tmp_path / "a.hdf5", [episode(3, rewards=rewards)]))
    assert (None if e.success is None else e.success.tolist()) == success


def test_a_robomimic_demonstration_that_goes_on_after_a_done_stays_one_episode(tmp_path):
    path = write_robomimic(tmp_path / "a.hdf5", [episode(4)])
    with h5py.File(path, "a") as file:
        file["data/demo_0/dones"][...] = [False, True, True, False]
    (e,) = load_episodes(path)
    assert e.steps.mask.tolist() == [1, 0, 0, 1] and e.steps.truncated.tolist() == [False, False, False, True]


def test_demonstrations_are_in_the_order_of_their_numbers(tmp_path):
    path = write_robomimic(tmp_path / "a.hdf5", [episode(2, n) for n in range(12)])
    with h5py.File(path, "a") as file:
        file["mask/late"] = np.array([b"demo_11", b"demo_9"])
    assert [e.number for e in load_episodes(path)] == list(range(12))
    assert [e.number for e in load_episodes(f"{path}::late")] == [9, 11]


def test_a_dump_of_d3rlpy_1_is_cut_at_its_episode_terminals(tmp_path):
    path = write_d4rl(tmp_path / "a.hdf5", [episode(3), episode(4, 1, terminated=True)], following=False)
    with h5py.File(path, "a") as file:
        file["episode_terminals"] = np.asarray(file["terminals"]) | np.asarray(file["timeouts"])
        del file["timeouts"]
    assert [len(e) for e in load_episodes(path)] == [2, 4]


def refusal(origin):
    with pytest.raises(WarmloopError) as caught:
        load_episodes(origin)
    sentence = str(caught.value)
    assert str(origin).partition("::")[0] in sentence
    assert sentence.endswith((".", "?")) and "\n" not in sentence
    return sentence


def replace(key, value):
    """A change to a file: another array under `key`; None removes it; a function of the old one makes the new one."""

    def change(file):
        old = file[key][()] if isinstance(file.get(key), h5py.Dataset) else None
        file.pop(key, None)
        if value is not None:
            file[key] = value(old) if callable(value) else value

    return change


def spoil(old):
    old = old.astype(float)
    old.flat[-1] = np.nan
    return old


def external(key):
    def change(file):
        file.pop(key, None)
        file[key] = h5py.ExternalLink("/etc/other.hdf5", "/x")

    return change


def unwritten(key):
    def change(file):
        shape, dtype = file[key].shape, file[key].dtype
        del file[key]
        file.create_dataset(key, (10**12, *shape[1:]), dtype, chunks=(8, *shape[1:]))

    return change


def barely_written(key):
    """Of which one chunk in 10^11 is there: a length that was damaged, and over which HDF5 would be hours."""

    def change(file):
        unwritten(key)(file)
        file[key][:8] = 0

    return change


def virtual(file):
    layout = h5py.VirtualLayout(file["actions"].shape, "f4")
    layout[...] = h5py.VirtualSource("/etc/other.hdf5", "x", layout.shape)
    del file["actions"]
    file.create_virtual_dataset("actions", layout)


def raw(file):
    del file["actions"]
    file.create_dataset("actions", (12, 2), "u1", external="/etc/passwd")


def emptied(key):
    def change(file):
        del file[key]
        file.create_group(key)

    return change


BROKEN = [
    ("d4rl.hdf5", lambda file: [file.pop("actions"), file.update({"actions/all": [0.0]})], "`actions` is a group of arrays, and one"),
    ("d4rl.hdf5", emptied("observations"), "there is no array `observations`"),
    ("robomimic.hdf5", emptied("data/demo_1/next_obs"), "demo_1: there is no array `next_obs`"),
    ("d3rlpy.h5", emptied("rewards_1"), "episode 1: there is no array `rewards_1`"),
    ("d4rl.hdf5", virtual, "the values of `actions` lie in other files"),
    ("d4rl.hdf5", raw, "the values of `actions` lie in other files"),
    ("d4rl.hdf5", replace("rewards", None), "the file has no `rewards`; its keys are"),
    ("d4rl.hdf5", replace("timeouts", None), "neither `timeouts` nor `next_observations`"),
    ("d4rl.hdf5", replace("rewards", np.zeros(9)), "`rewards` has 9 rows and `actions` has 12"),
    ("d4rl.hdf5", replace("rewards", np.array(["a"] * 12, object)), "`rewards` holds Python objects or texts"),
    ("d4rl.hdf5", replace("actions", np.zeros((12, 2), "S3")), "`actions` holds |S3 values"),
    ("d4rl.hdf5", replace("actions", np.zeros((12, 2), [("a", "f4")])), "`actions` holds [('a', '<f4')] values"),
    ("d4rl.hdf5", replace("actions", lambda old: 3 * old), "rescale them to [-1, 1]"),
    ("d4rl.hdf5", replace("observations", spoil), "`next_observations` holds nan"),
    ("d4rl-next.hdf5", replace("observations", spoil), "episode 2, step 2: `observations` holds nan"),
    ("d4rl-next.hdf5", replace("next_observations", np.zeros((12, 4))), "`next_observations` has shape (12, 4)"),
    ("d4rl.hdf5", external("actions"), "`actions` is a link to /etc/other.hdf5, which is not followed"),
    ("d4rl.hdf5", lambda file: [file.pop("actions"), file.update({"actions/all": [0.0]})], "`actions` is a group of arrays, and one"),
    ("d4rl.hdf5", unwritten("observations"), "none of which was ever written"),
    ("d4rl.hdf5", barely_written("observations"), "most of which were never written"),
    ("robomimic.hdf5", barely_written("data/demo_1/actions"), "demo_1: `actions` has room for"),
    ("d4rl.hdf5", lambda file: [file.pop(name) for name in list(file)], "neither D4RL's (`observations`, `actions`, ...), robomimic's"),
    ("robomimic.hdf5", replace("data/demo_1/rewards", None), "demo_1 has no `rewards`"),
    ("robomimic.hdf5", replace("data/demo_1/obs", None), "demo_1: there is no `obs`, only the simulator's `states`"),
    ("robomimic.hdf5", replace("data/demo_1/obs/state", None), "demo_1, lacks `observations/state`, unlike demo_0"),
    ("robomimic.hdf5", replace("data/demo_1/rewards", np.zeros(3)), "demo_1: `rewards` has 3 rows and `actions` has 4"),
    ("robomimic.hdf5", replace("data/demo_1/actions", np.zeros((4, 5))), "demo_1: a row of `actions` is (5,) float64, and in demo_0 (2,)"),
    ("robomimic.hdf5", replace("data/demo_1/actions", np.zeros((3, 2))), "demo_1: `num_samples` is 4, and `actions` has 3 rows"),
    ("robomimic.hdf5", replace("data/demo_2/obs/state", spoil), "episode 2, step 2: `observations/state` holds nan"),
    ("robomimic.hdf5", replace("data/demo_1/dones", np.array([b"x"] * 4, object)), "demo_1: `dones` holds Python objects or texts"),
    ("robomimic.hdf5", replace("data/demo_1/obs/agentview_image", lambda x: x / 255), "(8, 8, 3) float64, and in demo_0 (8, 8, 3) uint8"),
    ("robomimic.hdf5", external("data/demo_1/actions"), "demo_1: `actions` is a link to"),
    ("robomimic.hdf5", replace("data/demo_1", np.zeros(3)), "`demo_1` in /data is no group of arrays"),
    ("robomimic.hdf5", replace("data", None), "neither D4RL's"),
    ("robomimic.hdf5", lambda file: [file["data"].pop(name) for name in list(file["data"])], "holds no demonstrations in `data`"),
    ("robomimic.hdf5::test", lambda file: None, "no filter key `mask/test`; its filter keys are train, valid."),
    ("robomimic.hdf5::trian", lambda file: None, 'did you mean "train"?'),
    ("robomimic.hdf5::train", replace("data/demo_2", None), "`mask/train` lists demo_2, and `data` has no such demonstration"),
    ("robomimic.hdf5::train", replace("mask/train", np.zeros(0, "S6")), "holds no demonstrations in `mask/train`"),
    ("d3rlpy.h5", replace("rewards_1", None), "episode 1: there is no `rewards_1`"),
    ("d3rlpy.h5", replace("observations_2", None), "episode 2: there is no `observations_2`"),
    ("d3rlpy.h5", replace("num_episodes", 0), "holds no episodes"),
    ("d3rlpy.h5", replace("num_episodes", 10**15), "episode 3: there is no `actions_3`"),
    ("d3rlpy.h5", replace("num_episodes", 1.5), "`num_episodes` is float64"),
    ("d3rlpy.h5", replace("actions_1", np.zeros((4, 1), np.int32)), "episode 1: `actions_1` are int32: discrete actions"),
    ("d3rlpy.h5", replace("terminated_1", np.zeros(4)), "episode 1: `terminated_1` has shape (4,)"),
    ("d3rlpy.h5", replace("rewards_1", np.zeros((3, 1))), "episode 1: `rewards` has 3 rows and `actions` has 4"),
    ("d3rlpy.h5", replace("actions_1", np.zeros((0, 2))), "episode 1: `actions` has no rows"),
    ("d3rlpy.h5", replace("actions_1", 0.5), "episode 1: `actions` has no rows"),
    ("d3rlpy.h5", replace("rewards_1", spoil), "episode 1, step 3: `rewards` holds nan"),
    ("d3rlpy-tuple.h5", replace("observations_1_1", None), "episode 1, lacks `observations/1`, unlike episode 0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "said"), BROKEN, ids=[f"{name}-{said[:40]}" for name, _, said in BROKEN])
def test_a_file_that_contradicts_itself_is_refused(tmp_path, name, change, said):
    file, _, mask = name.partition("::")
    shutil.copy(FIXTURES / file, tmp_path / file)
    with h5py.File(tmp_path / file, "a") as opened:
        change(opened)
    assert said in refusal(f"{tmp_path / file}::{mask}" if mask else tmp_path / file)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0.02, 0.1, 0.5, 0.99])
def test_a_file_cut_short_is_refused(tmp_path, name, keep):
    content = (FIXTURES / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(keep * len(content))])
    assert "may have been cut short" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", FILES)
def test_an_empty_file_and_one_that_is_no_hdf5_are_refused(tmp_path, name):
    (tmp_path / name).touch()
    assert "is an empty file" in refusal(tmp_path / name)
    (tmp_path / name).write_bytes(b"not what its name says")
    assert "is in no supported format" in refusal(tmp_path / name)


def test_a_filter_that_is_not_installed_is_named_with_the_array(tmp_path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        for name, array in (joined([episode(200)], following=True) | {"observations": np.zeros((200, 3))}).items():
            file.create_dataset(name, data=array, compression="lzf" if name == "observations" else None, chunks=True)
    lzf, unknown = (32000).to_bytes(2, "little") + b"\x08\x00\x01\x00", (32199).to_bytes(2, "little") + b"\x08\x00\x01\x00"
    assert path.read_bytes().count(lzf) == 1
    path.write_bytes(path.read_bytes().replace(lzf, unknown))
    assert "`observations` cannot be read" in refusal(path) and "store it with gzip" in refusal(path)


def test_a_damaged_text_over_which_hdf5_loops_for_ever_is_not_read(tmp_path):
    content = bytearray((FIXTURES / "d3rlpy.h5").read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 81] = 1  # of the length of a text in `columns`
    (tmp_path / "d3rlpy.h5").write_bytes(content)
    assert [len(e) for e in load_episodes(tmp_path / "d3rlpy.h5")] == [4, 4, 2]


@pytest.mark.parametrize("size", [0x140, 2**64 - 16])
def test_a_damaged_filter_key_over_which_hdf5_loops_for_ever_is_refused(tmp_path, size):
    path = tmp_path / "a.hdf5"
    shutil.copy(FIXTURES / "robomimic.hdf5", path)
    with h5py.File(path, "a") as file:
        file["mask/texts"] = ["demo_0", "demo_2"]
    assert [e.number for e in load_episodes(f"{path}::texts")] == [0, 2]
    content = bytearray(path.read_bytes())
    heap = content.rindex(b"GCOL")
    content[heap + 24 : heap + 32] = size.to_bytes(8, "little")  # of the first text: what follows it is nothing, or itself
    path.write_bytes(content)
    assert "its values of variable length are damaged" in refusal(f"{path}::texts")


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(FILES), st.data())
def test_damage_anywhere_gives_episodes_or_one_sentence(name, data):
    content = bytearray((FIXTURES / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            load_episodes(path)
        except WarmloopError as error:
            assert str(path) in str(error)

"""A flag is 0 or 1 in every format, whatever it is stored as; what else Python takes for true is refused."""

import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from buffers import rewritten
from robot_files import write_isaac

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
ODD = {"255": (np.uint8, 255), "-1": (np.int8, -1), "2": (np.int64, 2), "a half": (np.float64, 0.5)}
STEPS = 5
ENDS = np.tile(np.arange(STEPS) == STEPS - 1, 3)


def flat(**others):
    rng = np.random.default_rng(0)
    whole = [np.cumsum(rng.normal(size=(STEPS + 1, 3)), axis=0) for _ in range(3)]
    arrays = {"observations": np.concatenate([w[:-1] for w in whole]), "next_observations": np.concatenate([w[1:] for w in whole])}
    return arrays | {"actions": rng.uniform(-1, 1, (len(ENDS), 2)), "rewards": ENDS.astype(np.float32)} | others


def refusal(path):
    with pytest.raises(WarmloopError) as caught:
        load_episodes(path)
    return str(caught.value)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", ["terminals", "terminations", "dones", "timeouts", "success"])
def test_an_array_of_flags_is_of_0_and_1_in_a_flat_file(tmp_path, name, odd):
    dtype, value = ODD[odd]
    arrays = flat(**({"terminals": ENDS} | {name: np.where(ENDS, value, 0).astype(dtype)}))
    np.savez(tmp_path / "a.npz", **arrays)
    assert "in row 4, and a flag is 0 or 1" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize(("name", "place"), [("robomimic.hdf5", "data/demo_0/dones"), ("minari-hdf5", "episode_0/terminations")])
def test_an_array_of_flags_is_of_0_and_1_in_each_episode(tmp_path, name, place):
    path = tmp_path / name
    (shutil.copytree if (FIXTURES / name).is_dir() else shutil.copy)(FIXTURES / name, path)
    with h5py.File(path / "data/main_data.hdf5" if path.is_dir() else path, "a") as file:
        shape = file[place].shape
        del file[place]
        file[place] = np.full(shape, 2)
    assert "`terminals` holds 2 in row 0, and a flag is 0 or 1" in refusal(path)


@pytest.mark.parametrize("name", ["dones", "timeouts"])
def test_an_array_of_flags_is_of_0_and_1_in_a_replay_buffer(tmp_path, name):
    path = rewritten(tmp_path, "sb3-ring.pkl", lambda state: state.update({name: state[name] * 0 + 2}))
    assert f"`{name}` holds 2 in row 0, and a flag is 0 or 1" in refusal(path)


@pytest.mark.parametrize(("said", "shown"), [("False", "'False'"), (np.nan, "nan"), (2, "2"), (-1, "-1")])
def test_the_flag_of_a_whole_episode_is_0_or_1(tmp_path, said, shown):
    write_isaac(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        file["data/demo_1"].attrs["success"] = said
    assert f"demo_1: `success` is {shown}, and a flag is 0 or 1" in refusal(tmp_path / "a.hdf5")
    paths = [{name: column[:STEPS] for name, column in flat().items()} | {"terminated": said}]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(paths))
    assert f"episode 0: `terminated` is {shown}, and a flag is 0 or 1" in refusal(tmp_path / "a.pkl")
    if not isinstance(said, str):
        shutil.copy(FIXTURES / "d3rlpy.h5", tmp_path / "a.h5")
        with h5py.File(tmp_path / "a.h5", "a") as file:
            del file["terminated_0"]
            file["terminated_0"] = float(said)
        assert "episode 0: `terminated_0` is" in refusal(tmp_path / "a.h5")


@pytest.mark.parametrize("masks", [[1.0, -1.0], [255, 0], [1.0, np.nan]])
def test_masks_lie_between_0_and_1_in_transitions_as_in_flat_files(tmp_path, masks):
    arrays = flat()
    keys = ("observations", "next_observations", "actions", "rewards")
    rows = [{key: arrays[key][t] for key in keys} | {"masks": masks[int(end)], "dones": bool(end)} for t, end in enumerate(ENDS)]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(rows))
    np.savez(tmp_path / "a.npz", **arrays, masks=np.array([masks[int(end)] for end in ENDS]))
    for path in (tmp_path / "a.pkl", tmp_path / "a.npz"):
        assert "`masks` runs from" in refusal(path)

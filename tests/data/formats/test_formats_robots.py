"""Isaac Lab's and ALOHA's recordings: which row is terminal, what is read, and what is told as not read."""

import json
import logging
import shutil

import h5py
import numpy as np
import pytest
from robot_files import LENGTHS, write_aloha, write_isaac

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import format_of, load_episodes, recorded_environment
from warmloop.data.formats.recordings.options import ReadOptions
from warmloop.data.reward import RewardConfig, apply_reward


def test_a_demonstration_that_isaac_lab_calls_successful_ends_in_a_paid_terminal_success(tmp_path):
    path = write_isaac(tmp_path / "demos.hdf5")
    first, second, third = load_episodes(path)
    assert [len(e) for e in (first, second, third)] == [4, 4, 3], "the last row of the one that was cut leads to nothing known"
    assert first.steps.mask.tolist() == [1, 1, 1, 0] and first.steps.reward.tolist() == [0, 0, 0, 1]
    assert np.asarray(first.success).tolist() == [False, False, False, True]
    assert second.steps.mask.all() and second.steps.truncated[-1] and second.success is not None and not second.success.any()
    assert not second.steps.reward.any() and third.succeeded
    assert recorded_environment(path) == "Isaac-Stack-Cube-Franka-IK-Rel-v0"


def test_isaac_lab_s_observations_are_read_without_what_mimic_knows_of_the_scene(tmp_path, caplog):
    path = write_isaac(tmp_path / "demos.hdf5")
    with caplog.at_level(logging.INFO, "warmloop"):
        observation = load_episodes(path)[0].steps.observation
    assert {name: leaf.dtype.name for name, leaf in observation.items()} == {"eef_pos": "float32", "table_cam": "uint8"}
    assert "not read: `initial_state`, `processed_actions`, `states`, `obs/datagen_info`" in caplog.text
    with h5py.File(path) as file:
        assert np.array_equal(observation["eef_pos"], file["data/demo_0/obs/eef_pos"])


def test_flat_observations_and_no_word_of_success_are_read_as_such(tmp_path):
    episodes = load_episodes(write_isaac(tmp_path / "demos.hdf5", success=(None, None, None), flat=True))
    assert [e.steps.observation.shape for e in episodes] == [(length - 1, 7) for length in LENGTHS]
    assert all(e.success is None and e.steps.mask.all() for e in episodes)


def test_a_filter_key_reads_some_demonstrations_of_isaac_lab_s(tmp_path):
    path = write_isaac(tmp_path / "demos.hdf5")
    with h5py.File(path, "a") as file:
        file["mask/train"] = np.array([b"demo_2", b"demo_0"])
    assert [e.number for e in load_episodes(f"{path}::train")] == [0, 2]


@pytest.mark.parametrize("key", ["rewards", "dones"])
def test_a_demonstration_with_rewards_or_dones_is_robomimic_s(tmp_path, key):
    path = write_isaac(tmp_path / "demos.hdf5")
    with h5py.File(path, "a") as file:
        for number, length in enumerate(LENGTHS):
            file[f"data/demo_{number}/{key}"] = np.zeros(length)
    assert format_of(path).described.startswith("robomimic")


@pytest.mark.parametrize("compressed", [False, True])
def test_an_aloha_episode_is_its_joints_and_its_pictures_also_as_padded_jpeg(tmp_path, compressed, caplog):
    folder = write_aloha(tmp_path / "aloha", compressed)
    with caplog.at_level(logging.INFO, "warmloop"):
        episodes = load_episodes(folder)
    assert [(e.number, len(e)) for e in episodes] == [(0, 3), (1, 4), (2, 2)]
    observation = episodes[1].steps.observation
    assert {name: leaf.shape[1:] for name, leaf in observation.items()} == {
        "qpos": (14,),
        "qvel": (14,),
        "effort": (14,),
        "images.cam_high": (16, 24, 3),
    }
    colours = observation["images.cam_high"].reshape(4, -1, 3).mean(axis=1)
    assert np.abs(colours - (np.arange(4)[:, None] * 10 + [90, 60, 30])).max() < (3 if compressed else 1e-9)
    assert all(e.success is None and e.steps.mask.all() and not e.steps.reward.any() for e in episodes)
    assert "`base_action`" in caplog.text
    assert np.array_equal(load_episodes(folder / "episode_1.hdf5")[0].steps.observation["qpos"], observation["qpos"])


def test_an_aloha_episode_that_succeeded_at_its_end_is_paid_where_it_is_learnt_from(tmp_path):
    for e in load_episodes(write_aloha(tmp_path / "aloha"), success="end"):
        learnt = apply_reward(e, RewardConfig())
        assert learnt.steps.reward.sum() == learnt.steps.reward[-1] == 1 and learnt.steps.mask[-1] == 0


def test_a_folder_of_aloha_s_is_in_the_order_of_its_numbers(tmp_path):
    folder = write_aloha(tmp_path / "aloha", lengths=(3,) * 11)
    (folder / "notes.txt").write_text("monday")
    assert [e.number for e in load_episodes(folder)] == list(range(11))


def test_a_damaged_episode_of_aloha_s_can_be_left_out(tmp_path):
    folder, bad = write_aloha(tmp_path / "aloha"), []
    whole = (folder / "episode_1.hdf5").read_bytes()
    (folder / "episode_1.hdf5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WarmloopError, match=r"episode_1.hdf5 is not a readable HDF5 file"):
        load_episodes(folder)
    assert [e.number for e in load_episodes(folder, options=ReadOptions(on_bad=bad.append))] == [0, 2]
    assert [one.episode for one in bad] == ["episode_1.hdf5"] and "cut short" in bad[0].reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda demo: demo.pop("obs"), "demo_1: there is no `obs`; record the observations too"),
        (lambda demo: demo.attrs.update(num_samples=9), "demo_1: `num_samples` is 9, and `actions` has 5 rows"),
        (lambda demo: demo.attrs.update(success=[True, False]), "its attribute `success` is bool (2,)"),
        (lambda demo: demo.pop("actions"), "demo_1 has no `actions`"),
    ],
)
def test_an_isaac_lab_demonstration_that_contradicts_itself_is_refused(tmp_path, change, said):
    path = write_isaac(tmp_path / "demos.hdf5")
    with h5py.File(path, "a") as file:
        change(file["data/demo_1"])
    with pytest.raises(WarmloopError) as caught:
        load_episodes(path)
    assert said in str(caught.value)


def test_an_environment_that_is_not_told_is_none(tmp_path):
    path = write_isaac(tmp_path / "demos.hdf5")
    for said in (None, "no JSON", json.dumps({"type": 2}), json.dumps([1])):
        copied = tmp_path / "other.hdf5"
        shutil.copy(path, copied)
        with h5py.File(copied, "a") as file:
            del file["data"].attrs["env_args"]
            if said is not None:
                file["data"].attrs["env_args"] = said
        assert recorded_environment(copied) is None

"""Minari datasets, made by this project and by Minari itself."""

import dataclasses
import json
import logging
import shutil
from pathlib import Path

import gymnasium as gym
import h5py
import minari
import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest
from hypothesis import HealthCheck, given, settings
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from recorded import assert_lossless, assert_same_experience, enriched, episode, episode_lists, returns_by_loop

from warmloop.data import inspect
from warmloop.data.action_limits import ActionLimits
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.data.reward import RewardConfig, apply_reward, estimated_returns
from warmloop.data.sources.sources import DataConfig, SourceConfig, Target, load
from warmloop.data.transition import Leaf, Spec

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of Minari, on metadata that it would like to have


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def refusal(origin, episodes=None):
    with pytest.raises(WarmloopError) as caught:
        load_episodes(origin) if episodes is None else write_episodes(origin, episodes)
    return str(caught.value)


def theirs(dataset_id="lab/reach-v0", infos=None, **spaces):
    """A dataset by Minari's own means: three steps cut short, then two that terminate."""
    rng = np.random.default_rng(0)
    buffers = [
        EpisodeBuffer(
            observations=rng.normal(size=(count + 1, 3)),
            actions=rng.uniform(-1, 1, (count, 2)),
            rewards=rng.normal(size=count).tolist(),
            terminations=[False] * (count - 1) + [terminated],
            truncations=[False] * (count - 1) + [not terminated],
            infos=None if infos is None else {name: flags[: count + 1] for name, flags in infos.items()},
        )
        for count, terminated in ((3, False), (2, True))
    ]
    spaces = {"observation_space": gym.spaces.Box(-np.inf, np.inf, (3,)), "action_space": gym.spaces.Box(-1, 1, (2,))} | spaces
    minari.create_dataset_from_buffers(dataset_id, buffers, **spaces)
    return buffers


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(episode_lists())
def test_what_is_written_is_read_bit_for_bit(tmp_path_factory, written):
    folder = tmp_path_factory.mktemp("minari")
    for name, episodes in (("plain-v0", written), ("rich-v0", enriched(written))):
        write_episodes(folder / name, episodes)
        assert_lossless(episodes, load_episodes(folder / name))


def test_minari_itself_reads_every_field_that_is_written(root):
    (e,) = written = enriched([episode(4, terminated=True, observation="images")])
    write_episodes("minari:lab/door-v1", written)
    dataset = minari.load_dataset("lab/door-v1")
    recorded = dataset[0]
    assert np.array_equal(recorded.observations["wrist"][:-1], e.steps.observation["wrist"])
    assert np.array_equal(recorded.infos["extras"]["force"][1:], e.extras["force"])
    for name in ("quality", "source", "mc_return", "policy_version", "step"):
        assert np.array_equal(recorded.infos["warmloop"][name][1:], getattr(e.steps, name))
    assert "success" not in recorded.infos, "it is not known"
    (described,) = dataset.storage.get_episode_metadata([0])
    assert described["warmloop"]["number"] == 40 and described["warmloop"]["task"].decode() == "tür 0"


def test_an_episode_that_others_added_to_a_dataset_of_ours_is_refused_for_what_it_lacks(root):
    write_episodes("minari:lab/door-v1", enriched([episode(4)]))
    added = EpisodeBuffer(id=1, observations=np.zeros((3, 3), np.float32), actions=np.zeros((2, 2), np.float32), rewards=[0.0, 0],
                          terminations=[False, False], truncations=[False, True])  # fmt: skip
    minari.load_dataset("lab/door-v1").storage.update_episodes([added])
    assert "episode 1, lacks `extras/force`, unlike episode 0" in refusal("minari:lab/door-v1")


def test_large_images_are_kept_exactly():
    e = episode(3)
    frames = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    e = dataclasses.replace(e, steps=e.steps.replace(observation={"wrist": frames[:-1]}, next_observation={"wrist": frames[1:]}))
    write_episodes("minari:lab/images-v0", [e])
    assert_same_experience([e], load_episodes("minari:lab/images-v0"))


def test_minari_itself_reads_what_is_written(root):
    e = episode(4, terminated=True, success=[0, 0, 0, 1])
    write_episodes("minari:lab/door-v1", [e], {"robot": "left"})
    assert list(minari.list_local_datasets()) == ["lab/door-v1"]
    dataset = minari.load_dataset("lab/door-v1")
    assert (dataset.total_episodes, dataset.total_steps) == (1, 4)
    assert dataset[0].terminations.tolist() == [False, False, False, True]
    assert dataset[0].infos["success"].tolist() == [False, False, False, False, True]
    assert np.array_equal(dataset[0].observations[:-1], e.steps.observation)
    assert dataset.storage.metadata["description"] == '{"robot": "left"}'


def test_a_dataset_is_found_by_its_id_and_by_its_directory(root):
    theirs()
    by_id = load_episodes("minari:lab/reach-v0")
    assert_same_experience(by_id, load_episodes(root / "lab" / "reach-v0"))
    assert_same_experience(by_id, load_episodes(root / "lab" / "reach-v0" / "data"))


def test_minari_s_episodes_keep_their_ends_and_returns():
    buffers = theirs()
    first, second = load_episodes("minari:lab/reach-v0")
    assert first.steps.truncated.tolist() == [False, False, True] and first.steps.mask.all()
    assert second.steps.mask.tolist() == [1, 0] and not second.steps.truncated.any()
    config = RewardConfig(signal="environment", terminate_on_success=False, discount=0.9)
    for e, buffer in zip((first, second), buffers, strict=True):
        expected = returns_by_loop(buffer.rewards, buffer.terminations, 0.9)
        assert np.allclose(estimated_returns(apply_reward(e, config), config), expected, atol=1e-6)
        assert np.allclose(e.steps.next_observation, np.asarray(buffer.observations)[1:], atol=1e-6)
        assert e.success is None


@pytest.mark.parametrize("flag", ["success", "is_success", "succeed", "goal_achieved"])
def test_success_is_the_flag_after_each_step_with_or_without_one_for_the_reset(root, flag):
    theirs("padded-v0", {flag: np.array([True, False, False, True])})
    assert [np.asarray(e.success).tolist() for e in load_episodes("minari:padded-v0")] == [[False, False, True], [False, False]]


def test_a_dataset_that_is_not_here_is_not_downloaded_but_its_command_is_named():
    theirs()
    sentence = refusal("minari:lab/reach-v1")
    assert "`minari download lab/reach-v1`" in sentence
    assert 'did you mean "lab/reach-v0"' in sentence


def test_a_directory_without_a_dataset_is_refused(root):
    assert "is a directory without a data set: no Minari's data/metadata.json" in refusal(root)


def test_a_damaged_dataset_is_refused(root):
    theirs()
    main = root / "lab" / "reach-v0" / "data" / "main_data.hdf5"
    main.write_bytes(main.read_bytes()[:1000])
    assert "main_data.hdf5 is not a readable HDF5 file" in refusal("minari:lab/reach-v0")


def test_spaces_that_no_agent_takes_are_refused():
    theirs("bad-v0", action_space=gym.spaces.MultiDiscrete([3, 3]))
    assert refusal("minari:bad-v0").startswith("minari:bad-v0: Actions must be a one-dimensional Box")


def test_an_existing_dataset_is_not_overwritten():
    theirs()
    assert "exists; choose another" in refusal("minari:lab/reach-v0", [episode(3)])


@pytest.mark.parametrize("name", ["minari:door", "minari:a b-v0"])
def test_a_name_that_is_no_minari_id_is_refused(name):
    assert "is no Minari ID" in refusal(name, [episode(3)])


def test_an_episode_that_jumps_cannot_be_written(root):
    e = episode(3)
    following = e.steps.next_observation.copy()
    following[0] += 1
    e = dataclasses.replace(e, steps=e.steps.replace(next_observation=following))
    assert "Minari cannot hold; write .npz" in refusal("minari:lab/jump-v0", [e])
    assert not (root / "lab" / "jump-v0").exists()


def test_no_environment_is_made_because_a_dataset_names_one(root):
    theirs()
    described = root / "lab" / "reach-v0" / "data" / "metadata.json"
    held = json.loads(described.read_text())
    canary = root / "canary"
    (root / "evil.py").write_text(f"open({str(canary)!r}, 'w')")
    spec = gym.envs.registration.EnvSpec("Evil-v0", entry_point="evil:Evil")
    del held["observation_space"]
    described.write_text(json.dumps(held | {"env_spec": spec.to_json()}))
    assert "does not say its spaces" in refusal("minari:lab/reach-v0")
    assert not canary.exists()


def test_links_into_other_files_are_not_followed(root):
    theirs()
    theirs("reach-v1")
    with h5py.File(root / "lab" / "reach-v0" / "data" / "main_data.hdf5", "a") as file:
        del file["episode_1"]
        file["episode_1"] = h5py.ExternalLink(str(root / "reach-v1" / "data" / "main_data.hdf5"), "episode_1")
    assert "`episode_1` is a link to " in refusal("minari:lab/reach-v0")


def test_pictures_of_any_length_are_read_as_minari_does_and_not_where_hdf5_would_loop_for_ever(root):
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 40, 3), np.uint8)
    frames[:2] //= 64
    recorded = EpisodeBuffer(
        observations={"wrist": frames},
        actions=np.zeros((3, 2), np.float32),
        rewards=[0.0] * 3,
        terminations=[False] * 3,
        truncations=[False] * 3,
    )
    space = gym.spaces.Dict({"wrist": gym.spaces.Box(0, 255, frames.shape[1:], np.uint8)})
    minari.create_dataset_from_buffers("lab/jpeg-v0", [recorded], observation_space=space, action_space=gym.spaces.Box(-1, 1, (2,)))
    as_minari_does = minari.load_dataset("lab/jpeg-v0")[0].observations["wrist"]
    assert np.array_equal(load_episodes("minari:lab/jpeg-v0")[0].steps.observation["wrist"], as_minari_does[:-1])
    main = root / "lab" / "jpeg-v0" / "data" / "main_data.hdf5"
    content = bytearray(main.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 32] = bytes(16)  # an object that is free, and takes no room
    main.write_bytes(content)
    assert "its values of variable length are damaged" in refusal("minari:lab/jpeg-v0")


def test_an_episode_of_arrow_in_several_batches_is_read_whole(root):
    shutil.copytree(FIXTURES / "minari-arrow", root / "set")
    file = root / "set" / "data" / "0" / "part-0.arrow"
    with pa.ipc.open_file(file) as reader:
        table = reader.read_all()
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    assert_same_experience(load_episodes(FIXTURES / "minari-arrow"), load_episodes(root / "set"))


def with_choices(folder, episodes=3, length=4):
    """A dataset whose observations have a text and choices beside numbers, as Minari's own storage writes it."""
    spaces = {"state": gym.spaces.Box(-1, 1, (2,), np.float32), "mission": gym.spaces.Text(20)}
    spaces |= {"direction": gym.spaces.Discrete(4), "lamps": gym.spaces.MultiBinary(2)}
    (folder / "data").mkdir(parents=True)
    storage = MinariStorage.new(folder / "data", gym.spaces.Dict(spaces), gym.spaces.Box(-1, 1, (1,), np.float32))
    storage.update_metadata({"dataset_id": "lab/choices-v0", "minari_version": minari.__version__})
    for index in range(episodes):
        rows = np.arange(length + 1)
        observations = {"state": np.stack([rows / 10, -rows / 10], 1).astype(np.float32), "mission": ["reach"] * (length + 1)}
        observations |= {"direction": rows % 4, "lamps": np.stack([rows % 2, rows % 2], 1).astype(np.int8)}
        ends = {"terminations": rows[1:] == length, "truncations": np.zeros(length, bool)}
        steps = {"actions": np.zeros((length, 1), np.float32), "rewards": np.zeros(length, np.float32)}
        storage.update_episodes([EpisodeBuffer(id=index, observations=observations, **steps, **ends, infos={})])
    return folder


def target(**leaves):
    spec = Spec(tuple(Leaf(name, shape, "float32") for name, shape in sorted(leaves.items())), 1)
    return Target("Lab/Choices-v0", spec, ActionLimits((-1,), (1,)))


def test_texts_and_choices_that_nobody_names_are_left_out_and_told(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "warmloop"):
        episodes = load_episodes(with_choices(tmp_path / "choices-v0"))
    assert [set(e.steps.observation) for e in episodes] == [{"state"}] * 3
    assert "not read: `observations/mission`, `direction`, `lamps`" in caplog.text
    assert inspect(tmp_path / "choices-v0").summary.episodes == 3


def test_a_choice_that_a_mapping_names_is_its_number(tmp_path):
    path = str(with_choices(tmp_path / "choices-v0"))
    source = SourceConfig(path, observation={"": ("state", "direction", "lamps[0]")})
    (e, *_) = load(DataConfig((source,)), None, None).episodes
    assert e.steps.observation[:, 2].tolist() == [0, 1, 2, 3] and e.steps.next_observation[:, 2].tolist() == [1, 2, 3, 0]
    assert e.steps.observation[:, 3].tolist() == [0, 1, 0, 1]


def test_a_choice_that_the_environment_shows_is_as_it_shows_it(tmp_path):
    path = SourceConfig(str(with_choices(tmp_path / "choices-v0")))
    (e, *_) = load(DataConfig((path,)), None, target(state=(2,), direction=(4,), lamps=(2,))).episodes
    assert np.array_equal(e.steps.observation["direction"], np.eye(4)) and e.steps.observation["lamps"].shape == (4, 2)
    with pytest.raises(WarmloopError, match="runs from 0 to 3, and has 3 choices"):
        load(DataConfig((path,)), None, target(state=(2,), direction=(3,)))

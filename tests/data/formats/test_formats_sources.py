"""Which reader a path gets, and what several sources need to have in common."""

import zipfile

import numpy as np
import pytest
from recorded import assert_same_experience, episode

from warmloop.data import inspect
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import FORMATS, load_episodes, load_sources, parse_source_argument, write_episodes
from warmloop.data.transition import Source


def refusal(function, *arguments):
    with pytest.raises(WarmloopError) as caught:
        function(*arguments)
    return str(caught.value)


def test_every_format_has_one_entry():
    assert set(FORMATS) == {
        "set",
        "npz",
        "hilserl",
        "minari",
        "lerobot",
        "rlds",
        "d4rl",
        "robomimic",
        "isaac",
        "aloha",
        "d3rlpy",
        "dict",
        "dapg",
        "sb3",
        "own",
    }
    claims = {
        path: [name for name, f in FORMATS.items() if f.matches(path)]
        for path in ("a.npz", "a.pkl", "a.pickle", "minari:a-v0", "b/a-v0", "my_lab.log:read:a.npz", "a.hdf5::train")
    }
    assert list(claims.values()) == [["npz"], ["hilserl"], ["hilserl"], ["minari"], ["minari"], ["own", "npz"], []]


@pytest.mark.parametrize("name", ["demos.npz", "demos.pkl", "demos.pickle", "demos-v0", "demos.lerobot"])
def test_a_path_says_its_format(tmp_path, name):
    written = [episode(4, 0, success=[0, 0, 1, 1]), episode(2, 1, terminated=True, success=[0, 1])]
    write_episodes(tmp_path / name, written)
    assert_same_experience(written, load_episodes(str(tmp_path / name)))


@pytest.mark.parametrize(("written", "name"), [("a.npz", "demos.hdf5"), ("a.npz", "demos"), ("a.npz", "demos.pkl"), ("a.pkl", "demos.npz")])
def test_a_file_is_told_by_what_it_holds_whatever_its_name(tmp_path, written, name):
    episodes = [episode(4, 0, success=[0, 0, 1, 1]), episode(2, 1, terminated=True, success=[0, 1])]
    write_episodes(tmp_path / written, episodes)
    path = str((tmp_path / written).rename(tmp_path / name))
    assert [key for key, candidate in FORMATS.items() if candidate.matches(path)] == [{"a.npz": "npz", "a.pkl": "hilserl"}[written]]
    assert_same_experience(episodes, load_episodes(path))


@pytest.mark.parametrize("name", ["policy.zip", "policy.npz"])
def test_an_archive_without_arrays_is_no_data_set(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("data", "{}")
        archive.writestr("policy.pth", "weights")
    said = refusal(load_episodes, tmp_path / name)
    assert "is in no supported format" in said if name == "policy.zip" else "the file has no `observations`" in said


@pytest.mark.parametrize("name", ["demos.hdf5", "demos"])
def test_another_suffix_is_refused_with_what_is_supported(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    assert ".npz arrays, .pkl as HIL-SERL records it, a Minari dataset" in refusal(load_episodes, tmp_path / name)


@pytest.mark.parametrize("name", ["demo.npz", "demos.pkl", "demos.hdf5"])
def test_a_missing_file_is_named_with_its_neighbour(tmp_path, name):
    (tmp_path / "demos.npz").touch()
    assert refusal(load_episodes, tmp_path / name) == f'{tmp_path / name} does not exist; did you mean "demos.npz"?'


def test_a_data_set_that_lerobot_keeps_elsewhere_is_named_with_its_folder(tmp_path, monkeypatch):
    kept = tmp_path / "ME" / "TASK"
    (kept / "meta").mkdir(parents=True)
    monkeypatch.setenv("HF_LEROBOT_HOME", str(tmp_path))
    assert refusal(load_episodes, "ME/TASK") == "ME/TASK does not exist."
    (kept / "meta" / "info.json").touch()
    sentence = f"ME/TASK does not exist; LeRobot keeps a data set of that name in {kept}: give this folder."
    assert [refusal(load_episodes, "ME/TASK"), refusal(inspect, "ME/TASK")] == [sentence, sentence]


@pytest.mark.parametrize("name", ["demos.npz", "demos.pkl"])
def test_an_empty_file_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    assert "is an empty file" in refusal(load_episodes, tmp_path / name)


def test_a_format_that_is_only_read_is_not_written(tmp_path):
    sentence = refusal(write_episodes, tmp_path / "a.hdf5", [episode(2)])
    assert "a.hdf5 names no format that is written; written are .npz arrays, .pkl as HIL-SERL" in sentence and "D4RL" not in sentence
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_for_no_episodes_or_unequal_ones(tmp_path):
    assert "no episodes to write" in refusal(write_episodes, tmp_path / "a.npz", [])
    assert "The data sets differ" in refusal(write_episodes, tmp_path / "a.npz", [episode(2), episode(2, observation="images")])
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_reported_in_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    assert "could not be written" in refusal(write_episodes, tmp_path / "file" / "a.npz", [episode(2)])


@pytest.mark.parametrize(
    ("argument", "parsed"),
    [
        ("demos=a.npz", (Source.DEMOS, "a.npz")),
        ("suboptimal=a=b.pkl", (Source.SUBOPTIMAL, "a=b.pkl")),
        ("random=minari:door-v0", (Source.RANDOM, "minari:door-v0")),
        ("a.npz", (None, "a.npz")),
        ("minari:D4RL/door/human-v2", (None, "minari:D4RL/door/human-v2")),
    ],
)
def test_an_argument_is_a_kind_and_a_path_or_a_path(argument, parsed):
    assert parse_source_argument(argument) == parsed


def test_a_path_with_an_equals_sign_is_a_path_if_it_exists(tmp_path):
    path = tmp_path / "lr=3.npz"
    path.touch()
    assert parse_source_argument(str(path)) == (None, str(path))


def test_an_unknown_kind_is_refused_with_the_near_one():
    sentence = refusal(parse_source_argument, "demo=a.npz")
    assert "demos, suboptimal, random" in sentence and 'did you mean "demos"' in sentence
    assert "write demos=PATH" in refusal(parse_source_argument, "demos=")


def test_sources_are_joined_in_order_each_episode_with_its_own_number(tmp_path):
    write_episodes(tmp_path / "a.npz", [episode(2, 0), episode(3, 4)])
    write_episodes(tmp_path / "b.pkl", [episode(4, 0), episode(5, 1)])
    episodes = load_sources([f"{tmp_path}/a.npz", f"random={tmp_path}/b.pkl"])
    assert [e.number for e in episodes] == [0, 4, 5, 6]
    assert [e.source for e in episodes] == [Source.DEMOS] * 2 + [Source.RANDOM] * 2
    for e in episodes:
        assert (e.steps.episode == e.number).all()
        assert (e.steps.source == e.source).all()


def test_files_of_different_shapes_are_refused(tmp_path):
    write_episodes(tmp_path / "a.npz", [episode(2)])
    write_episodes(tmp_path / "b.npz", [episode(2, observation="images")])
    sentence = refusal(load_sources, [f"{tmp_path}/a.npz", f"{tmp_path}/b.npz"])
    assert "a.npz, episode 0, has observations of array (3,) float32 and" in sentence
    assert "state (3,) float32, wrist (4, 5, 3) uint8" in sentence


def test_no_arguments_give_no_episodes():
    assert load_sources([]) == []


def test_episodes_of_one_file_share_its_memory(tmp_path):
    write_episodes(tmp_path / "a.npz", [episode(2, 0), episode(3, 1)])
    first, second = load_episodes(tmp_path / "a.npz")
    assert first.steps.observation.base is second.steps.observation.base
    assert np.shares_memory(first.steps.observation.base, first.steps.observation)

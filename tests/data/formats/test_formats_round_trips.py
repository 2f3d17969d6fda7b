"""What is written is what is read: every writer and its reader, over random spaces, and the same door demonstrations through them all."""

import dataclasses
import importlib.util
import tempfile
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import write_d3rlpy, write_d4rl, write_dapg, write_npz, write_rlds, write_robomimic, write_sb3
from recorded import assert_identical, assert_same_experience

from warmloop.data.episode import Episode, make_steps
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.data.sources.merge import merge
from warmloop.data.transition import Source

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
WRITTEN = {"npz": "a.npz", "hilserl": "a.pkl", "minari": "a-v0", "lerobot": "a.lerobot"}
NEEDS = {"lerobot": "pyarrow"}
NAMES = st.sampled_from(["state", "wrist", "images.front", "robot.joints", "a b"])


def to_path(name, folder):
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    return Path(folder) / WRITTEN[name]


@st.composite
def spaces(draw):
    """Shapes and dtypes of an observation by name, "" for a bare array, and the number of actions."""
    vector = st.tuples(st.tuples(st.integers(1, 4)), st.just(np.float32))
    image = st.tuples(st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3])), st.just(np.uint8))
    bare = st.fixed_dictionaries({"": vector})
    named = st.dictionaries(NAMES, st.one_of(vector, image), min_size=1, max_size=3)
    return draw(st.one_of(bare, named)), draw(st.integers(1, 4))


@st.composite
def data_sets(draw):
    """Episodes of one space that differ in everything else that an episode has."""
    leaves, actions = draw(spaces())
    extras = draw(st.sets(st.sampled_from(["grasp_penalty", "timestamps"])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    episodes = []
    for number in sorted(draw(st.sets(st.integers(0, 50), min_size=1, max_size=3))):
        length = draw(st.integers(1, 6))
        whole = {
            name: rng.integers(0, 256, (length + 1, *shape), np.uint8)
            if dtype == np.uint8
            else rng.standard_normal((length + 1, *shape), dtype=np.float32)
            for name, (shape, dtype) in leaves.items()
        }
        observation = whole[""] if set(whole) == {""} else whole
        source = draw(st.sampled_from(list(Source)))
        steps = make_steps(
            jax.tree.map(lambda leaf: leaf[:-1], observation),
            rng.uniform(-1, 1, (length, actions)),
            rng.standard_normal(length),
            jax.tree.map(lambda leaf: leaf[1:], observation),
            np.arange(length) == (length - 1 if draw(st.booleans()) else -1),
            source=source,
            episode=number,
            intervened=rng.random(length) < 0.5,
        ).replace(
            quality=rng.random(length, dtype=np.float32),
            mc_return=np.where(rng.random(length) < 0.5, -np.inf, rng.standard_normal(length)).astype(np.float32),
            policy_version=rng.integers(-1, 9, length, np.int32),
            step=(np.arange(length) + draw(st.integers(0, 3))).astype(np.int32),
        )
        success = rng.random(length) < 0.5 if draw(st.booleans()) else None
        also = {name: rng.standard_normal(length) for name in sorted(extras)}
        episodes.append(Episode(steps, success, "made", number, source, draw(st.sampled_from(["", "lift", "öffne die Tür"])), also))
    return episodes


def assert_same(written, read):
    """Every field of every episode is the same, bit for bit."""
    assert len(written) == len(read)
    for a, b in zip(written, read, strict=True):
        assert_identical(a.steps, b.steps)
        assert_identical(a.success, b.success)
        assert (a.number, a.source, a.task) == (b.number, b.source, b.task)
        assert_identical(dict(a.extras), dict(b.extras))


@pytest.mark.parametrize("name", WRITTEN)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(episodes=data_sets())
def test_a_round_trip_loses_nothing(name, episodes):
    with tempfile.TemporaryDirectory() as folder:
        path = to_path(name, folder)
        write_episodes(path, episodes)
        assert_same(episodes, load_episodes(path))


@pytest.mark.parametrize("name", WRITTEN)
def test_extras_that_only_some_episodes_have_are_not_numbers_in_the_others(tmp_path, name):
    path = to_path(name, tmp_path)
    both = load_door()[:2] if SHARED.exists() else [plain(0), plain(1)]
    with_times = dataclasses.replace(both[0], extras={"timestamps": np.arange(len(both[0])) / 10})
    write_episodes(path, [with_times, both[1]])
    first, second = load_episodes(path)
    np.testing.assert_array_equal(first.extras["timestamps"], with_times.extras["timestamps"])
    assert "timestamps" not in second.extras or np.isnan(second.extras["timestamps"]).all()


def plain(number):
    rng = np.random.default_rng(number)
    whole = rng.standard_normal((6, 2), dtype=np.float32)
    steps = make_steps(whole[:-1], rng.uniform(-1, 1, (5, 2)), np.ones(5), whole[1:], np.zeros(5, bool), episode=number)
    return Episode(steps, None, "made", number)


def load_door():
    return load_episodes(SHARED / "door-human.npz")


@pytest.fixture(scope="module")
def door():
    if not SHARED.exists():
        pytest.skip("the demonstrations are not here: no folder shared/data beside the repository")
    episodes = load_door()
    assert len(episodes) == 25
    return episodes


@pytest.mark.parametrize("name", [*WRITTEN, "set"])
def test_the_door_demonstrations_are_the_same_through_every_writer(door, tmp_path, name):
    if name == "set":
        path = tmp_path / "set"
        merge(path, [str(SHARED / "door-human.npz")])
    else:
        path = to_path(name, tmp_path)
        write_episodes(path, door)
    assert_same(door, load_episodes(path))


READ = {"a.hdf5": write_d4rl, "b.hdf5": write_robomimic, "c.npz": write_npz, "d": write_sb3, "e": write_rlds}


@pytest.mark.parametrize(("name", "write"), READ.items())
def test_the_door_demonstrations_are_the_same_through_every_reader(door, tmp_path, name, write):
    assert_same_experience([dataclasses.replace(e, success=None) for e in door], load_episodes(write(tmp_path / name, door)))


def test_the_door_demonstrations_are_the_same_but_for_their_last_step_where_no_next_observation_is_stored(door, tmp_path):
    cut = [dataclasses.replace(e.part(slice(0, len(e) - 1)), success=None) for e in door]
    paths = write_d3rlpy(tmp_path / "a.h5", door), write_d4rl(tmp_path / "b.hdf5", door, following=False), write_dapg(tmp_path / "c", door)
    for path in paths:
        assert_same_experience(cut, load_episodes(path))


def test_a_converted_set_is_compressed_or_not_the_same(door, tmp_path):
    write_d4rl(tmp_path / "a.hdf5", door)
    with h5py.File(tmp_path / "a.hdf5") as plain_file, h5py.File(tmp_path / "b.hdf5", "w") as packed:
        for key in plain_file:
            packed.create_dataset(key, data=plain_file[key][()], compression="gzip", chunks=True, shuffle=True)
    assert_same_experience(load_episodes(tmp_path / "a.hdf5"), load_episodes(tmp_path / "b.hdf5"))

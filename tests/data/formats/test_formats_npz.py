"""The .npz format: exact for what warmloop writes, and tolerant of what others leave out."""

import dataclasses
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from recorded import assert_identical, assert_same_experience, episode, episode_lists, returns_by_loop

from warmloop.data.errors import WarmloopError
from warmloop.data.files.whole_files import replacing
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.data.reward import RewardConfig, apply_reward, estimated_returns
from warmloop.data.transition import Source

TABLE = {  # of shared/data/README.md: transitions, episodes, success at any step, success at the last
    "door-human": (6704, 25, 0.28, 0.24),
    "door-human-replay": (6729, 25, 0.32, 0.24),
    "door-expert": (20000, 100, 1.00, 1.00),
    "door-suboptimal": (20000, 100, 0.31, 0.25),
    "door-random": (4000, 20, 0, 0),
    "hammer-expert": (20000, 100, 0.99, 0.99),
    "hammer-suboptimal": (20000, 100, 0.43, 0.41),
    "hammer-random": (4000, 20, 0, 0),
}


def arrays(count=10, **changed):
    """A file's arrays as others write them: two episodes, the second one terminal; None leaves a key out."""
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(count + 1, 3)).astype(np.float32)
    whole = {
        "observations": observations[:-1],
        "actions": rng.uniform(-1, 1, (count, 2)).astype(np.float32),
        "rewards": rng.normal(size=count).astype(np.float32),
        "terminals": np.arange(count) == count - 1,
        "timeouts": np.arange(count) == 3,
    }
    return {name: value for name, value in (whole | changed).items() if value is not None}


def save(path, **changed):
    np.savez(path, **arrays(**changed))
    return path


def refusal(path):
    with pytest.raises(WarmloopError) as caught:
        load_episodes(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith((".", "?"))
    return str(caught.value)


@settings(max_examples=40, deadline=None)
@given(episode_lists())
def test_what_is_written_is_read_bit_for_bit(written):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "episodes.npz"
        written = [
            dataclasses.replace(e, steps=e.steps.replace(quality=e.steps.reward, mc_return=e.steps.reward, policy_version=e.steps.step))
            for e in written
        ]
        write_episodes(path, written)
        read = load_episodes(path)
        assert list(Path(folder).iterdir()) == [path]
    assert len(read) == len(written)
    for a, b in zip(written, read, strict=True):
        assert_identical(a.steps, b.steps)
        assert (a.number, a.source) == (b.number, b.source)
        assert (a.success is None) == (b.success is None)
        assert a.success is None or np.array_equal(a.success, b.success)


@pytest.mark.parametrize("name", TABLE)
def test_shared_files_have_the_counts_of_their_table(shared_data, name):
    episodes = load_episodes(shared_data / f"{name}.npz")
    transitions, count, anywhere, at_the_last = TABLE[name]
    assert (sum(map(len, episodes)), len(episodes)) == (transitions, count)
    assert np.mean([e.succeeded for e in episodes]) == pytest.approx(anywhere, abs=0.005)
    assert np.mean([e.success is not None and e.success[-1] for e in episodes]) == pytest.approx(at_the_last, abs=0.005)
    for e in episodes:
        assert e.steps.truncated.sum() == 1 and e.steps.truncated[-1]
        assert e.steps.mask.all()
        assert np.array_equal(e.steps.observation[1:], e.steps.next_observation[:-1])


def test_the_project_s_file_reads_by_the_shared_layout(tmp_path):
    written = [episode(5, 0), episode(4, 1, terminated=True, success=[0, 0, 0, 1])]
    write_episodes(tmp_path / "ours.npz", written, {"env_id": "Door-v1"})
    with np.load(tmp_path / "ours.npz", allow_pickle=False) as file:
        assert np.array_equal(file["episode_starts"], [0, 5])
        assert np.array_equal(file["episode_ids"], [0] * 5 + [1] * 4)
        assert np.array_equal(np.flatnonzero(file["terminals"]), [8])
        assert np.array_equal(np.flatnonzero(file["timeouts"]), [4])
        assert json.loads(str(file["metadata"])) == {"env_id": "Door-v1", "format": "warmloop-episodes-1"}
        plain = {name: file[name] for name in ("observations", "next_observations", "actions", "rewards", "terminals", "timeouts")}
    np.savez(tmp_path / "plain.npz", **plain)
    assert_same_experience([dataclasses.replace(e, success=None) for e in written], load_episodes(tmp_path / "plain.npz"))


def test_a_written_file_s_own_sources_and_numbers_stand_unless_a_kind_is_given(tmp_path):
    path = tmp_path / "mixed.npz"
    write_episodes(path, [episode(3, 7, source=Source.RANDOM), episode(3, 7, source=Source.DEMOS)])
    as_written, forced = load_episodes(path, number_from=10), load_episodes(path, Source.SUBOPTIMAL)
    assert [e.source for e in as_written] == [Source.RANDOM, Source.DEMOS]
    assert [e.number for e in as_written] == [17, 17]
    assert all(e.source == Source.SUBOPTIMAL and (e.steps.source == Source.SUBOPTIMAL).all() for e in forced)


def test_without_next_observations_they_are_the_following_row_s(tmp_path):
    first, second = load_episodes(save(tmp_path / "d4rl.npz"))
    recorded = arrays()["observations"]
    assert len(first) == 3, "the truncated episode's last row has no next observation and is dropped"
    assert np.array_equal(first.steps.next_observation, recorded[1:4])
    assert first.steps.truncated.tolist() == [False, False, True] and first.steps.mask.all()
    assert len(second) == 6, "a terminal row needs no next observation and stays"
    assert np.array_equal(second.steps.next_observation, recorded[[5, 6, 7, 8, 9, 9]])
    assert second.steps.mask.tolist() == [1, 1, 1, 1, 1, 0] and not second.steps.truncated.any()


def test_an_episode_of_which_nothing_is_left_vanishes(tmp_path):
    timeouts = np.isin(np.arange(10), [3, 4])
    assert [len(e) for e in load_episodes(save(tmp_path / "d4rl.npz", timeouts=timeouts))] == [3, 5]


def test_returns_of_a_d4rl_file_match_a_plain_loop(tmp_path):
    config = RewardConfig(signal="environment", terminate_on_success=False, discount=0.9)
    for e, rows in zip(load_episodes(save(tmp_path / "d4rl.npz")), (slice(0, 4), slice(4, 10)), strict=True):
        recorded = arrays()  # of which row 3 is dropped, but not what it was paid
        expected = returns_by_loop(recorded["rewards"][rows], recorded["terminals"][rows], 0.9)[: len(e)]
        assert np.allclose(estimated_returns(apply_reward(e, config), config), expected, atol=1e-6)


@pytest.mark.parametrize(
    "boundaries",
    [{"episode_starts": np.array([0, 4])}, {"episode_ids": np.repeat([5, 2], [4, 6])}, {"timeouts": np.arange(10) == 3}],
    ids=["starts", "ids", "timeouts"],
)
def test_episode_boundaries_come_from_starts_or_ids_or_timeouts(tmp_path, boundaries):
    changed = {"timeouts": None, "terminals": None, "next_observations": np.zeros((10, 3), np.float32)} | boundaries
    assert [len(e) for e in load_episodes(save(tmp_path / "file.npz", **changed))] == [4, 6]


def test_without_any_boundary_the_recording_is_cut_where_observations_jump(tmp_path):
    observations = np.arange(33, dtype=np.float32).reshape(11, 3)
    following = observations[1:].copy()
    following[6] += 1
    path = save(tmp_path / "file.npz", observations=observations[:-1], next_observations=following, timeouts=None, terminals=None)
    assert [len(e) for e in load_episodes(path)] == [7, 3]


def test_images_stay_bytes_and_other_numbers_become_float32(tmp_path):
    changed = {
        "observations": None,
        "observations/wrist": np.zeros((10, 8, 8, 3), np.uint8),
        "observations/state": np.zeros((10, 3), np.int64),
        "rewards": np.zeros((10, 1)),
    }
    observation = load_episodes(save(tmp_path / "file.npz", **changed))[0].steps.observation
    assert {name: x.dtype.name for name, x in observation.items()} == {"wrist": "uint8", "state": "float32"}


def test_actions_a_hair_outside_are_clipped_and_further_ones_refused(tmp_path):
    actions = np.full((10, 2), 1.0005)
    assert load_episodes(save(tmp_path / "near.npz", actions=actions))[0].steps.action.max() == 1
    actions[2, 1] = -3.5
    assert "run from -3.5 to 1; rescale" in refusal(save(tmp_path / "far.npz", actions=actions))


@pytest.mark.parametrize(("row", "place"), [(2, "episode 0, step 2"), (4, "episode 1, step 0"), (6, "episode 1, step 2")])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_value_that_is_not_finite_is_named_with_its_place(tmp_path, value, row, place):
    observations = np.zeros((10, 3))
    observations[row, 1] = value
    path = save(tmp_path / "file.npz", observations=observations, next_observations=np.zeros((10, 3)))
    assert f"{place}: `observations` holds" in refusal(path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"observations": None, "observatons": np.zeros((10, 3))}, 'no `observations`; its keys are `actions`, `observatons`, `rewards`, '
         '`terminals`, `timeouts`; did you mean "observatons"'),
        ({"actions": None}, "no `actions`; its keys are `observations`, `rewards`, `terminals`, `timeouts`."),
        ({"rewards": np.zeros(9)}, "`rewards` has 9 rows and `actions` has 10"),
        ({"rewards": np.zeros((10, 2))}, "`rewards` has shape (10, 2)"),
        ({"actions": None, "actions/arm": np.zeros((10, 2))}, "`actions` is not one array"),
        ({"actions": np.zeros(10)}, "`actions` has shape (10,)"),
        ({"actions": np.float32(0)}, "`actions` is a single number"),
        ({"next_observations": np.zeros((10, 4))}, "`next_observations` has shape (10, 4) and `observations` has (10, 3)"),
        ({"next_observations/state": np.zeros((10, 3))}, "must be both in the observations and in the next"),
        ({"observations": np.array(["a"] * 10)}, "`observations` holds <U1 values"),
        ({"episode_starts": np.array([0, 4, 3])}, "`episode_starts` must rise"),
        ({"episode_starts": np.array([0, 10])}, "`episode_starts` must rise"),
        ({"episode_starts": np.array([0, 4]), "episode_ids": np.arange(10)}, "disagree"),
        ({"episode_ids": np.arange(9)}, "`episode_ids` has 9 rows"),
    ],
)  # fmt: skip
def test_a_file_that_contradicts_itself_is_refused(tmp_path, changed, said):
    assert said in refusal(save(tmp_path / "file.npz", **changed))


def test_a_file_without_rows_is_refused(tmp_path):
    assert "holds no transitions" in refusal(save(tmp_path / "file.npz", count=0))


class Canary:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_object_arrays_are_refused_without_being_unpickled(tmp_path):
    path, canary = tmp_path / "file.npz", tmp_path / "canary"
    np.savez(path, **arrays(), success=np.array([Canary(canary)] * 10, object))
    assert "`success` is an array of Python objects" in refusal(path)
    assert not canary.exists()


def test_an_object_array_that_is_not_needed_is_never_opened(tmp_path):
    path, canary = tmp_path / "file.npz", tmp_path / "canary"
    np.savez(path, **arrays(), notes=np.array([Canary(canary)], object))
    assert len(load_episodes(path)) == 2
    assert not canary.exists()


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_file_cut_short_is_refused(tmp_path, keep):
    path = save(tmp_path / "file.npz")
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    assert "again" in refusal(path)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "file.npz"
    write_episodes(path, [episode(200)])
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    assert "is damaged: its bytes are not those that were written" in refusal(path)


def test_a_failed_write_leaves_the_old_file_as_it_was(tmp_path):
    path = tmp_path / "file.npz"
    write_episodes(path, [episode(5)])
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_episodes(path, [episode(5)], {"not JSON": object()})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.npz"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.bench
def test_a_million_rows_load_in_seconds(tmp_path):
    path = tmp_path / "large.npz"
    rows, dim = 1_000_000, 12
    zeros = np.zeros((rows, dim), np.float32)
    ids = np.arange(rows) // 200
    actions = np.zeros((rows, 4), np.float32)
    np.savez(path, observations=zeros, next_observations=zeros, actions=actions, rewards=zeros[:, 0], episode_ids=ids)
    begun = time.process_time()  # of a busy machine's, this process's own
    assert len(load_episodes(path)) == 5000
    assert time.process_time() - begun < 10

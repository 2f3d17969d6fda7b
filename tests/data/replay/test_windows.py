"""Windows are the rows of one episode that follow each other, whatever lies between them in the pool."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmloop.data.errors import WarmloopError
from warmloop.data.replay import ReplayConfig, replay, windows
from warmloop.data.replay.windows import Window
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (1,), "float32"),), 2)
CAPACITY, LENGTH, DISCOUNT = 16, 4, 0.9
CONFIG = ReplayConfig(capacity=CAPACITY)
chased = jax.jit(windows.chase, static_argnums=2)
taken = jax.jit(windows.take, static_argnums=2)

# A history: which of three streams gives a row, how that goes on, and whether a row was lost before it.
goes_on = st.sampled_from(["on", "on", "on", "over", "cut"])
histories = st.lists(st.tuples(st.integers(0, 2), goes_on, st.booleans()), min_size=1, max_size=40)


class Listed:
    """The plain list: all rows ever, and which row follows which."""

    def __init__(self, history):
        self.rows, self.following, newest = [], {}, {}
        episodes, steps = [0, 0, 0], [0, 0, 0]
        for stream, goes_on, lost in history:
            if lost and steps[stream]:
                steps[stream] += 1
                newest.pop(stream, None)
            serial = len(self.rows)
            if stream in newest:
                self.following[newest[stream]] = serial
            mask, truncated = float(goes_on != "over"), goes_on == "cut"
            self.rows.append((stream, episodes[stream], steps[stream], mask, truncated))
            newest[stream], steps[stream] = serial, steps[stream] + 1
            if goes_on != "on":
                newest.pop(stream)
                episodes[stream], steps[stream] = episodes[stream] + 1, 0

    def window(self, serial, oldest, gone):
        """The serials of the window from a row, of those that are there."""
        found = [serial]
        while len(found) < LENGTH and (after := self.following.get(found[-1])) is not None and after >= oldest and after not in gone:
            found.append(after)
        return found


def pool_of(listed, gone=()):
    """A linked pool into which the rows came one after the other, each linked when it arrived."""
    state = replay.create(SPEC, CONFIG, linked=True)
    before = {after: serial for serial, after in listed.following.items()}
    for serial, (_, episode, step, mask, truncated) in enumerate(listed.rows):
        state = replay.insert(state, row(serial, episode, step, mask, truncated), 1, CONFIG)
        if serial in before:
            state = replay.link(state, np.array([before[serial]], np.int32), np.array([serial], np.int32))
    return replay.retire(state, np.array(sorted(gone), np.int32)) if gone else state


def row(serial, episode, step, mask, truncated):
    number = np.full((1, 1), serial, np.float32)
    return example(SPEC, 1).replace(
        observation=number,
        next_observation=number + 0.5,
        action=np.array([[serial / 100, -serial / 100]], np.float32),
        reward=np.array([serial + 1.0], np.float32),
        mask=np.array([mask], np.float32),
        truncated=np.array([truncated]),
        episode=np.array([episode], np.int32),
        step=np.array([step], np.int32),
    )


@settings(max_examples=60)
@given(histories, st.data())
def test_windows_are_the_plain_lists_through_interleaved_streams_gaps_ends_the_rings_wrap_and_rows_that_are_gone(history, data):
    listed = Listed(history)
    count = len(listed.rows)
    oldest = max(count - CAPACITY, 0)
    gone = data.draw(st.sets(st.integers(oldest, count - 1), max_size=2))
    state = pool_of(listed, gone)
    serials = np.resize(np.array([serial for serial in range(oldest, count) if serial not in gone] or [count - 1]), CAPACITY)
    slots, valid = chased(state, jnp.asarray(serials % CAPACITY), LENGTH)
    expected = [listed.window(serial, oldest, gone) for serial in serials]
    found = np.asarray(replay.serial_of(state, slots))
    for one, there, wanted in zip(found, np.asarray(valid), expected, strict=True):
        assert one[there].tolist() == wanted and (one[~there] == wanted[-1]).all()
    rows = taken(state, jnp.asarray(serials % CAPACITY), Window(LENGTH, "return", DISCOUNT))
    for place, wanted in enumerate(expected):
        last = listed.rows[wanted[-1]]
        reward = sum(DISCOUNT**i * (serial + 1.0) for i, serial in enumerate(wanted))
        assert rows.reward[place] == pytest.approx(reward, rel=1e-5)
        assert rows.mask[place] == pytest.approx(DISCOUNT ** (len(wanted) - 1) * last[3], rel=1e-5)
        assert float(rows.observation[place, 0]) == wanted[0] and float(rows.next_observation[place, 0]) == wanted[-1] + 0.5
        assert bool(rows.truncated[place]) == last[4]


def test_a_chunk_has_the_actions_that_were_done_and_behind_the_end_the_last_one_again():
    state = pool_of(Listed([(0, "on", False), (1, "on", False), (0, "on", False), (0, "over", False), (1, "on", False)]))
    rows = taken(state, jnp.arange(5), Window(3, "chunk", DISCOUNT))
    np.testing.assert_allclose(rows.action[:, :, 0] * 100, [[0, 2, 3], [1, 4, 4], [2, 3, 3], [3, 3, 3], [4, 4, 4]], rtol=1e-5)
    np.testing.assert_array_equal(rows.valid, [[1, 1, 1], [1, 1, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(rows.mask, [0, DISCOUNT, 0, 0, 1])


def test_a_sequence_has_all_rows_as_they_are():
    state = pool_of(Listed([(0, "on", False), (1, "on", False), (0, "over", False)]))
    rows = taken(state, jnp.array([0, 1]), Window(2, "sequence"))
    np.testing.assert_array_equal(rows.observation[..., 0], [[0, 2], [1, 1]])
    np.testing.assert_array_equal(rows.reward, [[1, 3], [2, 2]])
    np.testing.assert_array_equal(rows.mask, [[1, 0], [1, 1]])
    np.testing.assert_array_equal(rows.valid, [[1, 1], [1, 0]])


def test_recorded_rows_are_linked_within_their_episodes_alone():
    rows = example(SPEC, 7).replace(
        episode=np.array([0, 0, 0, 1, 1, 1, 1], np.int32),
        step=np.array([0, 1, 2, 3, 4, 6, 7], np.int32),  # the second is a piece with a gap
        mask=np.array([1, 1, 0, 1, 1, 1, 1], np.float32),
        truncated=np.array([0, 0, 0, 0, 0, 0, 1], bool),
    )
    np.testing.assert_array_equal(windows.links_of(rows), [1, 2, -1, 4, -1, 6, -1])
    assert windows.links_of(example(SPEC, 0)).shape == (0,)


def test_a_window_of_nothing_or_of_an_unknown_kind_is_refused():
    for wrong in ({"length": 0}, {"gives": "rows"}):
        with pytest.raises(WarmloopError, match="gives one of return, chunk, sequence"):
            Window(**wrong)

"""Camera frames stored once: against a plain list of frames, and shifted as NumPy shifts them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmloop.data.errors import WarmloopError
from warmloop.data.replay import frames
from warmloop.data.replay.frame_index import FrameIndex
from warmloop.data.replay.frames import SLOTS, FramesConfig, stored_spec
from warmloop.data.transition import Leaf, Spec, example, take

MARGIN, ROWS, COUNT = 2, 12, 32
CONFIG = FramesConfig(random_shift=MARGIN)
look_up = jax.jit(frames.look_up)


def spec_of(stack):
    shape = (stack, 6, 5, 3) if stack > 1 else (6, 5, 3)
    return Spec((Leaf("front", shape, "uint8"), Leaf("pose", (2,), "float32"), Leaf("wrist", (*shape[:-1], 1), "uint8")), 2)


SPECS = {1: spec_of(1), 3: spec_of(3)}


def picture(number):
    """What both cameras saw at moment `number`."""
    rng = np.random.default_rng(number)
    return {"front": rng.integers(0, 256, (6, 5, 3), np.uint8), "wrist": rng.integers(0, 256, (6, 5, 1), np.uint8)}


def rows_of(moments, stack):
    """Rows of one episode that saw these moments, one more than rows, with what it saw stacked as a wrapper does."""
    seen = [picture(moment) for moment in moments]

    def leaf(name, at):
        window = [seen[max(0, at - back)][name] for back in reversed(range(stack))]
        return np.stack(window) if stack > 1 else window[0]

    def observations(places):
        places = list(places)
        pose = np.repeat(np.asarray([moments[at] for at in places], np.float32), 2).reshape(-1, 2)
        return {"pose": pose} | {name: np.stack([leaf(name, at) for at in places]) for name in ("front", "wrist")}

    count = len(moments) - 1
    rows = example(SPECS[stack], count)
    return rows.replace(observation=observations(range(count)), next_observation=observations(range(1, count + 1)))


# An episode is a stretch of moments; some come in pieces, which is where a stream was interrupted or another one came between.
PIECES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 4), st.booleans(), st.booleans()),  # stream, rows, goes on, stands still
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("stack", [1, 3])
@settings(max_examples=25, deadline=None)
@given(pieces=PIECES)
def test_every_row_sees_the_frames_it_came_with_while_any_pool_of_rows_and_ring_of_frames_wraps(stack, pieces):
    index = FrameIndex(SPECS[stack], 3, COUNT, ROWS)
    store = frames.create(SPECS[stack], 3 + COUNT, CONFIG)
    known, gone, moment, serial = {}, set(), 0, 0
    open_ends: dict[int, list[int]] = {}
    for stream, count, goes_on, still in pieces:
        moments = open_ends.get(stream, []) if goes_on else []
        begin = max(len(moments) - 1, 0)
        moments = moments + [moment + (0 if still else step) for step in range(count + (not moments))]
        moment += count + 2
        whole = rows_of(moments, stack)
        rows = take(whole, slice(begin, None))
        placed = index.place(str(stream), rows, serial)
        store = frames.put(store, placed.slots, placed.images)
        assert len(set(placed.slots.tolist())) == len(placed.slots)
        for row in range(len(rows.reward)):
            gone.discard(serial + row)
            known[serial + row] = (take(rows, row), take(placed.rows, row))
        serial += len(rows.reward)
        gone |= set(placed.retired.tolist())
        open_ends[stream] = moments
    alive = [number for number in range(max(0, serial - ROWS), serial) if number not in gone]
    assert serial - 1 in alive
    for number in alive:
        came, stored = known[number]
        for part in ("observation", "next_observation"):
            wanted, slots = getattr(came, part), getattr(stored, part)
            found = look_up(store, jnp.asarray(slots[SLOTS])[None])
            for name in ("front", "wrist"):
                np.testing.assert_array_equal(found[name][0], wanted[name])
            np.testing.assert_array_equal(slots["pose"], wanted["pose"])


@pytest.mark.parametrize("stack", [1, 3])
def test_an_episode_of_t_steps_takes_t_plus_one_frames(stack):
    index = FrameIndex(SPECS[stack], 0, 1000, 500)
    for number in range(4):
        rows = rows_of(list(range(30 * number, 30 * number + 21)), stack)
        for low in (0, 7, 14):
            index.place("arm", take(rows, slice(low, min(low + 7, 20))), 20 * number + low)
    assert index.stored == 4 * 21
    padded = np.prod((6, 5 + 2 * MARGIN, 3)) + np.prod((6, 5 + 2 * MARGIN, 1))
    assert frames.create(SPECS[stack], 0, CONFIG).frame_bytes == padded


def test_rows_are_retired_exactly_when_one_of_their_frames_is_overwritten():
    index = FrameIndex(SPECS[1], 0, 16, 64)
    retired = [index.place("arm", rows_of([10 * n, 10 * n + 1], 1), n).retired.tolist() for n in range(20)]  # two frames a row
    assert retired == [[]] * 8 + [[n] for n in range(12)]


def numpy_shift(image, shift):
    """DrQ's shift of one image: padded by its edge, then cropped."""
    padded = np.pad(image, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge")
    return padded[shift[0] : shift[0] + image.shape[0], shift[1] : shift[1] + image.shape[1]]


@pytest.mark.parametrize("stack", [1, 3])
def test_shifts_are_those_of_numpy_for_every_offset_each_cameras_its_own_and_a_stacks_alike(stack):
    offsets = [(down, right) for down in range(2 * MARGIN + 1) for right in range(2 * MARGIN + 1)]
    store = frames.put(
        frames.create(SPECS[stack], 40, CONFIG),
        np.arange(40, dtype=np.int32),
        {name: np.stack([picture(n)[name] for n in range(40)]) for name in ("front", "wrist")},
    )
    slots = np.random.default_rng(0).integers(0, 40, (len(offsets), stack))
    shifts = np.stack([np.array(offsets), np.array(offsets[::-1])], axis=1)  # [n, cameras, 2]
    found = look_up(store, jnp.asarray(slots, jnp.int32), jnp.asarray(shifts, jnp.int32))
    for row, of_row in enumerate(slots):
        for camera, name in enumerate(("front", "wrist")):
            wanted = [numpy_shift(picture(slot)[name], shifts[row, camera]) for slot in of_row]
            np.testing.assert_array_equal(found[name][row], np.stack(wanted) if stack > 1 else wanted[0])


def test_observation_and_next_observation_are_shifted_by_draws_of_their_own():
    store = frames.put(frames.create(SPECS[1], 1, CONFIG), np.zeros(1, np.int32), {n: x[None] for n, x in picture(0).items()})
    zeros = example(stored_spec(SPECS[1]), 400)
    block = jax.tree.map(lambda x: x.reshape(2, 200, *x.shape[1:]), zeros)
    taken = frames.take_pair(store, block.observation[SLOTS], block.next_observation[SLOTS], jax.random.key(0))
    seen = frames.with_images(store, block, taken)
    assert seen.observation["front"].shape == (2, 200, 6, 5, 3) and set(seen.observation) == {"front", "pose", "wrist"}
    here, after = (np.asarray(x["front"]).reshape(400, -1) for x in (seen.observation, seen.next_observation))
    assert len(np.unique(here, axis=0)) == len(np.unique(after, axis=0)) == (2 * MARGIN + 1) ** 2
    assert 0.01 < (here == after).all(axis=1).mean() < 0.1, "one in twenty-five agrees by chance"


def test_cameras_with_stacks_of_other_lengths_and_negative_settings_are_refused():
    mixed = Spec((Leaf("front", (3, 4, 4, 3), "uint8"), Leaf("wrist", (4, 4, 3), "uint8")), 2)
    with pytest.raises(WarmloopError, match="stacks of the same length"):
        stored_spec(mixed)
    with pytest.raises(WarmloopError, match="random_shift is -1"):
        FramesConfig(random_shift=-1)


def test_an_observation_that_is_one_image_comes_back_as_one():
    spec = Spec((Leaf("", (4, 4, 3), "uint8"),), 2)
    store = frames.create(spec, 2, FramesConfig(random_shift=0))
    rows = jax.tree.map(lambda x: x[None], example(stored_spec(spec), 3))
    slots = rows.observation[SLOTS], rows.next_observation[SLOTS]
    seen = frames.with_images(store, rows, frames.take_pair(store, *slots, jax.random.key(0)))
    assert seen.observation.shape == (1, 3, 4, 4, 3) and seen.observation.dtype == np.uint8


def test_streams_that_are_never_heard_of_again_leave_no_frames_behind():
    index = FrameIndex(SPECS[1], 0, 4000, 2000)
    for number in range(300):
        index.place(f"stream-{number}", rows_of([number, number + 1], 1), number)
    assert len(index._recent) == 64
    before = index.stored
    index.place("stream-299", rows_of([300, 301], 1), 300)
    assert index.stored == before + 1, "a stream in use goes on with the frame that it ended with"

"""Pictures with their colour at half the resolution: against YCoCg in floating point, and shifted as NumPy shifts what comes back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.data.errors import WarmloopError
from warmloop.data.replay import frames
from warmloop.data.replay.frames import FramesConfig
from warmloop.data.transition import Leaf, Spec

HEIGHT, WIDTH, MARGIN = 6, 10, 4
TO_YCOCG = np.array([[0.25, 0.5, 0.25], [0.5, 0.0, -0.5], [-0.25, 0.5, -0.25]])
look_up = jax.jit(frames.look_up)


def spec_of(stack=1, channels=3):
    shape = (stack, HEIGHT, WIDTH, channels) if stack > 1 else (HEIGHT, WIDTH, channels)
    return Spec((Leaf("front", shape, "uint8"),), 2)


def stored(pictures, margin=MARGIN, spec=None):
    """A store of these pictures, in the order of its slots."""
    config = FramesConfig(random_shift=margin, chroma_subsampling=True)
    store = frames.create(spec or spec_of(), len(pictures), config)
    return frames.put(store, np.arange(len(pictures), dtype=np.int32), {"front": pictures})


def seen(store, slots, shifts=None):
    slots = jnp.asarray(slots, jnp.int32)
    return np.asarray(look_up(store, slots, shifts)["front"])


def random_pictures(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)


def in_floating_point(pictures):
    """Pictures `[m, H, W, 3]` with the mean colour of every 2 × 2 pixels and the brightness of each."""
    planes = pictures @ TO_YCOCG.T
    squares = planes.reshape(len(pictures), HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean(axis=(2, 4))
    planes[..., 1:] = squares.repeat(2, axis=1).repeat(2, axis=2)[..., 1:]
    return np.clip(planes @ np.linalg.inv(TO_YCOCG).T, 0, 255)


@pytest.mark.parametrize("margin", [0, 4])
def test_pictures_come_back_as_ycocg_in_floating_point_makes_them_but_for_rounding(margin):
    pictures = random_pictures(64)
    found = seen(stored(pictures, margin), np.arange(64)[:, None])
    assert np.abs(found - in_floating_point(pictures)).max() <= 1.5, "three roundings of half a level"


def test_the_ends_of_the_range_and_even_colours_come_back_within_the_rounding():
    corners = np.array([[r, g, b] for r in (0, 1, 254, 255) for g in (0, 127, 255) for b in (0, 3, 255)], np.uint8)
    pictures = np.broadcast_to(corners[:, None, None], (len(corners), HEIGHT, WIDTH, 3)).copy()
    found = seen(stored(pictures), np.arange(len(corners))[:, None])
    assert np.abs(found.astype(int) - pictures).max() <= 2, "rounded, and the largest difference of two channels by one more"


def test_gray_of_three_channels_comes_back_as_it_was():
    pictures = random_pictures(8)[..., :1].repeat(3, axis=-1)
    np.testing.assert_array_equal(seen(stored(pictures), np.arange(8)[:, None]), pictures)


@pytest.mark.parametrize("margin", [1, 3, 4])
@pytest.mark.parametrize("stack", [1, 3])
def test_shifts_are_those_of_numpy_by_pairs_of_pixels_horizontally(stack, margin):
    store = stored(random_pictures(20), margin, spec_of(stack))
    offsets = np.array([(down, right) for down in range(2 * margin + 1) for right in range(2 * margin + 1)])
    slots = np.random.default_rng(1).integers(0, 20, (len(offsets), stack))
    still = seen(stored(random_pictures(20), margin), np.arange(20)[:, None])
    found = seen(store, slots, jnp.asarray(offsets[:, None], jnp.int32)).reshape(len(offsets), stack, HEIGHT, WIDTH, 3)
    for pictures, (down, right), of_row in zip(found, offsets, slots, strict=True):
        move = right - margin
        column = margin + move - move % 2 * (1 if move > 0 else -1)
        for picture, slot in zip(pictures, of_row, strict=True):
            padded = np.pad(still[slot], ((margin, margin), (margin, margin), (0, 0)), mode="edge")
            np.testing.assert_array_equal(picture, padded[down : down + HEIGHT, column : column + WIDTH])


def test_colour_cameras_take_half_and_gray_ones_are_kept_as_they_are():
    config = FramesConfig(random_shift=0, chroma_subsampling=True)
    assert frames.create(spec_of(), 1, config).frame_bytes == HEIGHT * WIDTH * 3 // 2
    gray = random_pictures(5)[..., :1]
    store = frames.put(frames.create(spec_of(channels=1), 5, config), np.arange(5, dtype=np.int32), {"front": gray})
    assert store.frame_bytes == HEIGHT * WIDTH
    assert store.summary() == "room for 5 camera frames of 0.1 kB: 0.00 GB of the device's memory"
    np.testing.assert_array_equal(seen(store, np.arange(5)[:, None]), gray)


@pytest.mark.parametrize("size", [(5, 8), (6, 7)])
def test_odd_sizes_are_refused_by_the_cameras_name(size):
    spec = Spec((Leaf("wrist", (*size, 3), "uint8"),), 2)
    with pytest.raises(WarmloopError, match=rf'"wrist" is {size[0]} × {size[1]}; resize it, or set chroma_subsampling to False'):
        frames.create(spec, 4, FramesConfig(chroma_subsampling=True))

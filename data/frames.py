"""Camera frames, each stored once: a pool's rows hold slots of one store in place of pixels.

A frame is what all cameras of one environment saw at one moment. A row holds the slots of its observation's stack, oldest first, and
of its next observation's, found by content when it came in (`frame_index`), so that a truncation, an intervention, a gap or the
ring's wrap cannot give it a frame that it never had.

Pixels lie in rows of `(W + 2·margin)·C` bytes, their edges repeated: a crop shifted by up to `margin` pixels is then one run of memory
for each of its rows, and drawing with the random shift of DrQ (Kostrikov et al. 2021) costs no more than drawing without.
"""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from .errors import WarmloopError
from .transition import Array, Leaf, PyTree, Spec, Transition

SLOTS = "frames"  # the leaf of a stored observation that holds the slots of its stack
PairOfImages = tuple[dict[str, jax.Array], dict[str, jax.Array]]  # of observations and of next observations, by camera
NOWHERE = 1 << 30  # a slot past the end of every store, so that a scatter drops the write


@dataclasses.dataclass(frozen=True)
class FramesConfig:
    """How camera images are kept and drawn; without cameras nothing of it is used.

    Attributes:
        random_shift: pixels by which images are shifted at random when they are drawn, at most; 0 draws them as they are.
        budget_mebibytes: the device's memory for frames; a store that needs more lies in the host's, and batches are copied while the
            device updates.
        spare_share: frames kept beside one for every online row, as a share of the rows: an episode of T steps has T + 1 frames, and
            where they run out the oldest rows go first. A run that is resumed keeps the room that it began with.
    """

    random_shift: int = 4
    budget_mebibytes: int = 4096
    spare_share: float = 0.0625

    def __post_init__(self):
        for name in ("random_shift", "budget_mebibytes", "spare_share"):
            if getattr(self, name) < 0:
                raise WarmloopError(f"frames.{name} is {getattr(self, name)}; it must be 0 or more.")


class Frames(struct.PyTreeNode):
    """A store of frames.

    Attributes:
        pixels: by camera, `[F, H·(W + 2·margin)·C]` uint8.
        cameras: the cameras' leaves, by name.
        margin: pixels by which a crop may be shifted.
        on_host: it is more than the device's budget, and lies in the host's memory.
    """

    pixels: dict[str, Array]
    cameras: tuple[Leaf, ...] = struct.field(pytree_node=False)
    margin: int = struct.field(pytree_node=False)
    on_host: bool = struct.field(pytree_node=False, default=False)

    @property
    def count(self) -> int:
        """Frames that fit."""
        return next(iter(self.pixels.values())).shape[0] if self.pixels else 0


def stack_of(spec: Spec) -> int:
    """Frames in an observation's stack; 0 without cameras. Raises WarmloopError where the cameras' stacks differ."""
    depths = {leaf.name: leaf.shape[0] if len(leaf.shape) == 4 else 1 for leaf in spec.cameras}
    if len(set(depths.values())) > 1:
        raise WarmloopError(f"Cameras must have stacks of the same length, and here are {depths}; stack them all alike.")
    return next(iter(depths.values()), 0)


def image_shape(leaf: Leaf) -> tuple[int, int, int]:
    """Height, width and channels of a camera's images."""
    height, width, channels = leaf.shape[-3:] if len(leaf.shape) > 2 else (*leaf.shape, 1)
    return height, width, channels


@lru_cache(maxsize=32)
def stored_spec(spec: Spec) -> Spec:
    """The spec of a pool's rows: the observation without its images, and the slots of its stack."""
    if not spec.cameras:
        return spec
    leaves = [leaf for leaf in spec.observation if leaf.dtype != "uint8"]
    return Spec(tuple(sorted([*leaves, Leaf(SLOTS, (stack_of(spec),), "int32")], key=lambda leaf: leaf.name)), spec.action_dim)


def frame_bytes(spec: Spec, margin: int) -> int:
    """Bytes of one frame in the store, all cameras together."""
    return sum(int(np.prod(_stored_shape(leaf, margin))) for leaf in spec.cameras)


def margin_of(leaf: Leaf, size: int) -> int:
    """The margin of a camera's frames that take `size` bytes each."""
    height, width, channels = image_shape(leaf)
    return (size // (height * channels) - width) // 2


def online_frames(spec: Spec, rows: int, config: FramesConfig, at_once: int) -> int:
    """Frames to keep for a pool of `rows` rows, of which up to `at_once` come in together; 0 without cameras."""
    return max(math.ceil(rows * (1 + config.spare_share)), 4 * stack_of(spec) * at_once) if spec.cameras and rows else 0


def create(spec: Spec, count: int, margin: int) -> Frames:
    """A store of `count` black frames; empty without cameras."""
    pixels = {leaf.name: np.zeros((count, int(np.prod(_stored_shape(leaf, margin)))), np.uint8) for leaf in spec.cameras}
    return Frames(pixels, spec.cameras, margin)


def settle(frames: Frames, config: FramesConfig) -> Frames:
    """The store in the memory where it belongs: the device's within the budget, else the host's."""
    on_host = sum(pixels.nbytes for pixels in frames.pixels.values()) > config.budget_mebibytes << 20
    place = partial(jax.device_put, device=jax.devices("cpu")[0]) if on_host else jnp.asarray
    return frames.replace(pixels={name: place(pixels) for name, pixels in frames.pixels.items()}, on_host=on_host)


@partial(jax.jit, donate_argnums=0)
def write(frames: Frames, slots: Array, images: dict[str, Array]) -> Frames:
    """The store with images `[m, H, W, C]` by camera in slots `[m]`; slot NOWHERE is dropped."""
    shapes = {leaf.name: leaf for leaf in frames.cameras}

    def put(name: str, pixels: jax.Array) -> jax.Array:
        whole = images[name].reshape(-1, *image_shape(shapes[name]))
        padded = jnp.pad(whole, ((0, 0), (0, 0), (frames.margin, frames.margin), (0, 0)), mode="edge")
        return pixels.at[slots].set(padded.reshape(padded.shape[0], -1), mode="drop")

    return frames.replace(pixels={name: put(name, pixels) for name, pixels in frames.pixels.items()})


def put(frames: Frames, slots: np.ndarray, images: dict[str, np.ndarray]) -> Frames:
    """As `write`, for any number of frames `[m]` on the host: padded to a power of two, so that a few programs serve all."""
    if not len(slots):
        return frames
    missing = max(8, 1 << (len(slots) - 1).bit_length()) - len(slots)
    padded = {name: np.concatenate([x, np.zeros((missing, *x.shape[1:]), np.uint8)]) for name, x in images.items()}
    return write(frames, np.concatenate([slots, np.full(missing, NOWHERE, np.int32)]), padded)


def look_up(frames: Frames, slots: jax.Array, shifts: jax.Array | None = None) -> dict[str, jax.Array]:
    """The images in slots `[n, k]`, by camera `[n, H, W, C]`, or `[n, k, H, W, C]` where the observation has stacks.

    `shifts` `[n, cameras, 2]` int32 in [0, 2·margin] moves each row's images, down and right by `margin − shift` pixels, all of a
    stack alike; what comes in is the edge, repeated. None leaves them where they are.
    """
    found = {}
    for place, leaf in enumerate(frames.cameras):
        height, width, channels = image_shape(leaf)
        shift = jnp.full((slots.shape[0], 2), frames.margin, jnp.int32) if shifts is None else shifts[:, place]
        line = jnp.clip(jnp.arange(height)[None] + shift[:, :1] - frames.margin, 0, height - 1)  # [n, H]
        start = line * ((width + 2 * frames.margin) * channels) + shift[:, 1:] * channels
        where = jnp.broadcast_arrays(slots[:, :, None], start[:, None])  # [n, k, H] each
        lines = jax.lax.gather(
            frames.pixels[leaf.name],
            jnp.stack(where, axis=-1),
            jax.lax.GatherDimensionNumbers(offset_dims=(3,), collapsed_slice_dims=(0,), start_index_map=(0, 1)),
            slice_sizes=(1, width * channels),
            mode="promise_in_bounds",
        )  # [n, k, H, W·C]
        found[leaf.name] = lines.reshape(-1, *leaf.shape)
    return found


def random_shifts(frames: Frames, key: jax.Array, shape: tuple[int, ...]) -> jax.Array | None:
    """Shifts `[*shape, cameras, 2]` for `look_up`, each camera's its own; None where the store has no margin."""
    if frames.margin == 0:
        return None
    return jax.random.randint(key, (*shape, len(frames.cameras), 2), 0, 2 * frames.margin + 1)


def with_images(frames: Frames, batch: Transition, key: jax.Array) -> Transition:
    """A block `[K, B]` of stored rows with images in place of slots, as the agents see them.

    Observation and next observation are shifted by draws of their own, as in DrQ.
    """
    if not frames.cameras:
        return batch
    here, after = pair_of_images(frames, batch.observation[SLOTS], batch.next_observation[SLOTS], key)
    return batch.replace(observation=joined(batch.observation, here), next_observation=joined(batch.next_observation, after))


def as_seen(frames: Frames, rows: Transition) -> Transition:
    """Stored rows `[n]` as they came: with their images, not shifted, on the host."""
    if not frames.cameras:
        return rows

    def seen(stored: PyTree) -> PyTree:
        return joined(stored, {name: np.asarray(x) for name, x in look_up(frames, jnp.asarray(stored[SLOTS])).items()})

    return rows.replace(observation=seen(rows.observation), next_observation=seen(rows.next_observation))


def pair_of_images(frames: Frames, here: jax.Array, after: jax.Array, key: jax.Array) -> PairOfImages:
    """Images by camera of observations and of next observations, from slots `[K, B, k]` each, shifted by draws of their own."""

    def images(slots: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
        rows = slots.reshape(-1, slots.shape[-1])
        found = look_up(frames, rows, random_shifts(frames, key, rows.shape[:1]))
        return {name: x.reshape(*slots.shape[:-1], *x.shape[1:]) for name, x in found.items()}

    here_key, after_key = jax.random.split(key)
    return images(here, here_key), images(after, after_key)


@partial(jax.jit, donate_argnames="room", keep_unused=True)
def pair_in_place_of(room: PairOfImages, frames: Frames, here: jax.Array, after: jax.Array, key: jax.Array) -> PairOfImages:
    """As `pair_of_images`, in the memory of another pair, which is given away: on a host, fresh pages cost more than the look-up."""
    return pair_of_images(frames, here, after, key)


def joined(stored: PyTree, images: dict[str, Any]) -> PyTree:
    """A stored observation with images in place of its slots."""
    return images[""] if "" in images else {name: leaf for name, leaf in stored.items() if name != SLOTS} | images


def _stored_shape(leaf: Leaf, margin: int) -> tuple[int, int, int]:
    height, width, channels = image_shape(leaf)
    return height, width + 2 * margin, channels

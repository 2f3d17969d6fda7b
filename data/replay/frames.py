"""Camera frames, each stored once: a pool's rows hold slots of one store in place of pixels.

A frame is what all cameras of one environment saw at one moment. A row holds the slots of its observation's stack, oldest first, and
of its next observation's, found by content when it came in (`frame_index`), so that a truncation, an intervention, a gap or the
ring's wrap cannot give it a frame that it never had.

How a picture's bytes lie in the store, and how the random shift of DrQ (Kostrikov et al. 2021) is drawn from there: `frame_layout`.
"""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache, partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from ..errors import WarmloopError
from ..transition import Array, Leaf, PyTree, Spec, Transition
from .frame_layout import Exact, Layout, Subsampled, Taken

SLOTS = "frames"  # the leaf of a stored observation that holds the slots of its stack
PairTaken = tuple[dict[str, Taken], dict[str, Taken]]  # of observations and of next observations, by camera
Rows = TypeVar("Rows", bound=Transition)
NOWHERE = 1 << 30  # a slot past the end of every store, so that a scatter drops the write


@dataclasses.dataclass(frozen=True)
class FramesConfig:
    """How camera images are kept and drawn; without cameras nothing of it is used.

    Attributes:
        random_shift: pixels by which images are shifted at random when they are drawn, at most; 0 draws them as they are.
        chroma_subsampling: keep the colour of cameras of three channels at half the resolution (4:2:0), which halves their memory.
        budget_mebibytes: the device's memory for frames; a store that needs more lies in the host's, and batches are copied while the
            device updates.
        spare_share: frames kept beside one for every online row, as a share of the rows: an episode of T steps has T + 1 frames, and
            where they run out the oldest rows go first. A run that is resumed keeps the room that it began with.
    """

    random_shift: int = 4
    chroma_subsampling: bool = False
    budget_mebibytes: int = 4096
    spare_share: float = 0.0625

    def __post_init__(self):
        for name in ("random_shift", "budget_mebibytes", "spare_share"):
            if getattr(self, name) < 0:
                raise WarmloopError(f"frames.{name} is {getattr(self, name)}; it must be 0 or more.")


class Frames(struct.PyTreeNode):
    """A store of frames.

    Attributes:
        pixels: by camera, `[F, bytes of a picture]` uint8.
        cameras: the cameras' leaves, by name.
        layouts: how each camera's pictures lie in its pixels.
        on_host: it is more than the device's budget, and lies in the host's memory.
    """

    pixels: dict[str, Array]
    cameras: tuple[Leaf, ...] = struct.field(pytree_node=False)
    layouts: tuple[Layout, ...] = struct.field(pytree_node=False)
    on_host: bool = struct.field(pytree_node=False, default=False)

    @property
    def count(self) -> int:
        """Frames that fit."""
        return next(iter(self.pixels.values())).shape[0] if self.pixels else 0

    @property
    def margin(self) -> int:
        """Pixels by which pictures may be shifted."""
        return self.layouts[0].margin if self.layouts else 0

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame, all cameras together."""
        return sum(layout.size for layout in self.layouts)

    def summary(self) -> str:
        """A line for a person: how many frames there is room for, and what they take where."""
        where = "the host's memory, beyond frames.budget_mebibytes" if self.on_host else "the device's memory"
        kilobytes, gigabytes = self.frame_bytes / 1e3, self.count * self.frame_bytes / 1e9
        return f"room for {self.count:,} camera frames of {kilobytes:.1f} kB: {gigabytes:.2f} GB of {where}"


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


def layout_of(leaf: Leaf, config: FramesConfig) -> Layout:
    """How a camera's pictures are kept. Raises WarmloopError where its colour cannot be subsampled for its size."""
    height, width, channels = image_shape(leaf)
    if not config.chroma_subsampling or channels != 3:
        return Exact(height, width, channels, config.random_shift)
    if height % 2 or width % 2:
        raise WarmloopError(
            f'frames.chroma_subsampling takes cameras of even height and width, and "{leaf.name}" is {height} × {width}; resize it, or set '
            "chroma_subsampling to False."
        )
    return Subsampled(height, width, config.random_shift)


def online_frames(spec: Spec, rows: int, config: FramesConfig, at_once: int) -> int:
    """Frames to keep for a pool of `rows` rows, of which up to `at_once` come in together; 0 without cameras."""
    return max(math.ceil(rows * (1 + config.spare_share)), 4 * stack_of(spec) * at_once) if spec.cameras and rows else 0


def create(spec: Spec, count: int, config: FramesConfig) -> Frames:
    """A store of `count` frames of nothing yet; empty without cameras."""
    layouts = tuple(layout_of(leaf, config) for leaf in spec.cameras)
    pixels = {leaf.name: np.zeros((count, layout.size), np.uint8) for leaf, layout in zip(spec.cameras, layouts, strict=True)}
    return Frames(pixels, spec.cameras, layouts)


def settle(frames: Frames, config: FramesConfig) -> Frames:
    """The store in the memory where it belongs: the device's within the budget, else the host's."""
    on_host = sum(pixels.nbytes for pixels in frames.pixels.values()) > config.budget_mebibytes << 20
    place = partial(jax.device_put, device=jax.devices("cpu")[0]) if on_host else jnp.asarray
    return frames.replace(pixels={name: place(pixels) for name, pixels in frames.pixels.items()}, on_host=on_host)


@partial(jax.jit, donate_argnums=0)
def write(frames: Frames, slots: Array, images: dict[str, Array]) -> Frames:
    """The store with images `[m, H, W, C]` by camera in slots `[m]`; slot NOWHERE is dropped."""
    pixels = {}
    for leaf, layout in zip(frames.cameras, frames.layouts, strict=True):
        encoded = layout.encode(images[leaf.name].reshape(-1, *image_shape(leaf)))
        pixels[leaf.name] = frames.pixels[leaf.name].at[slots].set(encoded, mode="drop")
    return frames.replace(pixels=pixels)


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
    return _decoded(frames, _taken(frames, slots, shifts), slots.shape[:1])


def random_shifts(frames: Frames, key: jax.Array, shape: tuple[int, ...]) -> jax.Array | None:
    """Shifts `[*shape, cameras, 2]` for `look_up`, each camera's its own; None where the store has no margin."""
    if frames.margin == 0:
        return None
    return jax.random.randint(key, (*shape, len(frames.cameras), 2), 0, 2 * frames.margin + 1)


def take_pair(frames: Frames, here: jax.Array, after: jax.Array, key: jax.Array) -> PairTaken:
    """Of observations and of next observations, from slots `[K, B, k]` each, what `with_images` makes images of.

    They are shifted by draws of their own, as in DrQ.
    """

    def taken(slots: jax.Array, key: jax.Array) -> dict[str, Taken]:
        rows = slots.reshape(-1, slots.shape[-1])
        return _taken(frames, rows, random_shifts(frames, key, rows.shape[:1]))

    here_key, after_key = jax.random.split(key)
    return taken(here, here_key), taken(after, after_key)


@partial(jax.jit, donate_argnames="room", keep_unused=True)
def take_in_place_of(room: PairTaken, frames: Frames, here: jax.Array, after: jax.Array, key: jax.Array) -> PairTaken:
    """As `take_pair`, in the memory of another pair, which is given away: on a host, fresh pages cost more than the look-up."""
    return take_pair(frames, here, after, key)


def with_images(frames: Frames, batch: Rows, taken: PairTaken) -> Rows:
    """A block `[K, B]` of stored rows with images in place of slots, as the agents see them. Of `frames` it needs no pixels."""
    here, after = (_decoded(frames, each, batch.reward.shape) for each in taken)
    return batch.replace(observation=_joined(batch.observation, here), next_observation=_joined(batch.next_observation, after))


def as_seen(frames: Frames, rows: Transition) -> Transition:
    """Stored rows `[n]` as they came, but for colour that was subsampled: with their images, not shifted, on the host."""
    if not frames.cameras:
        return rows

    def seen(stored: PyTree) -> PyTree:
        return _joined(stored, {name: np.asarray(x) for name, x in look_up(frames, jnp.asarray(stored[SLOTS])).items()})

    return rows.replace(observation=seen(rows.observation), next_observation=seen(rows.next_observation))


def _joined(stored: PyTree, images: dict[str, Any]) -> PyTree:
    """A stored observation with images in place of its slots."""
    return images[""] if "" in images else {name: leaf for name, leaf in stored.items() if name != SLOTS} | images


def _taken(frames: Frames, slots: jax.Array, shifts: jax.Array | None) -> dict[str, Taken]:
    still = jnp.full((slots.shape[0], 2), frames.margin, jnp.int32)
    return {
        leaf.name: layout.take(frames.pixels[leaf.name], slots, still if shifts is None else shifts[:, place])
        for place, (leaf, layout) in enumerate(zip(frames.cameras, frames.layouts, strict=True))
    }


def _decoded(frames: Frames, taken: dict[str, Taken], lead: tuple[int, ...]) -> dict[str, jax.Array]:
    """Images by camera, `[*lead, …]`."""
    layouts = zip(frames.cameras, frames.layouts, strict=True)
    return {leaf.name: layout.decode(taken[leaf.name]).reshape(*lead, *leaf.shape) for leaf, layout in layouts}

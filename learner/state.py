"""What the learner knows, as one PyTree: this is what a checkpoint holds."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer

from ..agents.base import Agent, window_of
from ..data.mixing import MixingConfig
from ..data.replay import frames as camera_frames
from ..data.replay import replay
from ..data.replay.frame_index import FrameIndex
from ..data.replay.frames import Frames, FramesConfig, stack_of, stored_spec
from ..data.replay.replay import ReplayConfig, ReplayState
from ..data.replay.windows import Window, links_of
from ..data.transition import PyTree, Spec, Transition, concatenate, example, length, take
from .devices import Devices

ROWS_AT_ONCE = 1 << 18  # inserted into a pool: bounds what is packed beside it
IMAGES_AT_ONCE = 256  # rows whose images are copied together


class LearnerState(struct.PyTreeNode):
    """The whole of the learning.

    Attributes:
        agent: the agent's state.
        offline, online: the two pools.
        frames: the camera images of both: first the offline rows', then those of interventions, then the online pool's ring.
        key: for drawing batches.
        updates: `[]` int32, updates (UTD blocks) since the warm-up began: drives the offline share and β.
        ahead: the next update's rows, where they are drawn ahead (see `step`); else ().
    """

    agent: PyTree
    offline: ReplayState
    online: ReplayState
    frames: Frames
    key: jax.Array
    updates: jax.Array
    ahead: PyTree = ()


@dataclasses.dataclass(frozen=True)
class LearnerParts:
    """The frozen description of a learner's step; hashable, so that one compiled program serves it. `precision` is that of products of
    float32 matrices and of convolutions, as `learner.precision` has it."""

    agent: Agent
    replay: ReplayConfig
    mixing: MixingConfig
    frames: FramesConfig = FramesConfig()
    devices: Devices = Devices()
    precision: str = "float32"

    @property
    def window(self) -> Window:
        """What the agent learns from."""
        return window_of(self.agent)


def create(
    parts: LearnerParts,
    seed: int,
    offline_rows: Transition | None,
    offline_capacity: int | None = None,
    online_capacity: int | None = None,
) -> LearnerState:
    """A fresh learner over offline rows `[N]` (None for none); the pools are N rows and the config's capacity, unless given.

    What the offline pool holds beyond N is room for interventions. An online pool of a single row has no camera frames.
    """
    spec = parts.agent.spec
    agent_key, key = jax.random.split(jax.random.key(seed))
    rows = example(spec, 0) if offline_rows is None else offline_rows
    count = length(rows)
    capacity, online_capacity = offline_capacity or max(count, 1), online_capacity or parts.replay.capacity
    stored, slots, images = _with_slots(spec, rows)
    spare = spare_frames(parts, capacity - count, online_capacity)
    only_shapes = isinstance(key, Tracer)  # a checkpoint's frames come with it
    frames = camera_frames.create(spec, 0 if only_shapes else len(slots) + sum(spare), parts.frames)
    frames = camera_frames.settle(frames, parts.frames)
    for low in range(0, len(slots), IMAGES_AT_ONCE):
        part = slice(low, low + IMAGES_AT_ONCE)
        frames = camera_frames.put(frames, slots[part], {name: np.stack(found[part]) for name, found in images.items()})
    linked = not parts.window.is_row
    offline = replay.create(stored_spec(spec), parts.replay, capacity, linked)
    for low in range(0, count, ROWS_AT_ONCE):  # each as long as the first, so that one program inserts them all
        chunk = np.minimum(np.arange(low, low + min(count, ROWS_AT_ONCE)), count - 1)
        offline = replay.insert(offline, take(stored, chunk), min(count - low, ROWS_AT_ONCE), parts.replay)
    if linked and not only_shapes:
        offline = offline.replace(following=offline.following.at[:count].set(links_of(rows)))
    agent = parts.agent.init(agent_key, example(spec) if offline_rows is None else offline_rows)
    online = replay.create(stored_spec(spec), parts.replay, online_capacity, linked)
    return LearnerState(agent, offline, online, frames, key, jnp.zeros((), jnp.int32))


def spare_frames(parts: LearnerParts, interventions: int, online: int) -> tuple[int, int]:
    """Camera frames kept for so many rows of interventions, and for an online pool of so many rows."""
    kept = (camera_frames.online_frames(parts.agent.spec, rows, parts.frames, IMAGES_AT_ONCE) for rows in (interventions, online))
    return next(kept), next(kept) if online > 1 else 0


def _with_slots(spec: Spec, rows: Transition) -> tuple[Transition, np.ndarray, dict[str, list[np.ndarray]]]:
    """Rows `[N]` with slots in place of images, and the frames: slots `[m]` and, by camera, images."""
    images: dict[str, list[np.ndarray]] = {leaf.name: [] for leaf in spec.cameras}
    if not spec.cameras:
        return rows, np.zeros(0, np.int32), images
    index = FrameIndex(spec, 0, 4 * max(stack_of(spec) * length(rows), 1), max(length(rows), 1))
    parts = []
    for low in range(0, length(rows), IMAGES_AT_ONCE):
        placed = index.place("", take(rows, slice(low, low + IMAGES_AT_ONCE)), low)
        parts.append(placed.rows)
        for name, found in placed.images.items():
            images[name].extend(found)
    stored = concatenate(parts) if parts else example(stored_spec(spec), 0)
    return stored, np.arange(index.stored, dtype=np.int32), images

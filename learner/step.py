"""The learner's step: draw, K critic steps, actor and temperature, priorities back; one donated XLA program.

Where camera frames are more than the device's budget, they lie in the host's memory, and a step is three programs: the draw, the
look-up of its images on the host, and the updates. The next batch is drawn before these updates begin, so by priorities that are one
update old, and looked up while the device is busy with them; it is part of the state. Two batches' memory on the host serves all look-ups
in turns: fresh pages cost more than the pixels.
"""

from __future__ import annotations

from collections import deque
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from ..agents.base import Metrics
from ..data.errors import WarmloopError
from ..data.mixing import Annealed, BlockShape, Drawn, draw_mixed, offline_rows, write_priorities
from ..data.replay.frames import SLOTS, Frames, PairTaken, take_in_place_of, take_pair, with_images
from ..data.replay.replay import beta_at
from ..data.transition import Batch
from .state import LearnerParts, LearnerState


class Block(struct.PyTreeNode):
    """The rows of one update `[K, B]`, and how they were drawn."""

    batch: Batch
    drawn: Drawn
    shift_key: jax.Array
    ratio: jax.Array
    beta: jax.Array


def step(state: LearnerState, parts: LearnerParts) -> tuple[LearnerState, Metrics]:
    """One update. The metrics are device scalars; reading them is the caller's choice."""
    state, block = draw(state, parts)
    return learn(state, block, take_pair(state.frames, *_slots_of(block)) if state.frames.cameras else None, parts)


def draw(state: LearnerState, parts: LearnerParts) -> tuple[LearnerState, Block]:
    """The rows of an update, images still as slots, and the state with its key used."""
    key, draw_key = jax.random.split(state.key)
    draw_key, shift_key = jax.random.split(draw_key) if state.frames.cameras else (draw_key, draw_key)
    config = parts.agent.config
    ratio, beta = parts.mixing.ratio(state.updates, state.offline.size, state.online.size), beta_at(parts.replay, state.updates)
    shape, annealed = BlockShape(config.utd, config.batch_size, parts.window), Annealed(ratio, beta)
    batch, drawn = draw_mixed(state.offline, state.online, draw_key, shape, annealed, parts.replay)
    return state.replace(key=key), Block(batch, drawn, shift_key, ratio, beta)


def learn(state: LearnerState, block: Block, taken: PairTaken | None, parts: LearnerParts) -> tuple[LearnerState, Metrics]:
    """The updates on drawn rows, and their priorities; with cameras, on what was taken of their frames."""
    config = parts.agent.config
    batch = block.batch if taken is None else with_images(state.frames, block.batch, taken)
    with jax.default_matmul_precision(parts.precision):
        agent, metrics, td_error = parts.agent.update(state.agent, parts.devices.divided(batch))
    if jnp.shape(td_error) != batch.weight.shape:
        name, shape, rows = type(parts.agent).__name__, list(jnp.shape(td_error)), list(batch.weight.shape)
        raise WarmloopError(f"{name}.update gave TD errors of shape {shape}; it must give one for each row, [K, B] = {rows}.")
    offline, online = write_priorities(state.offline, state.online, block.drawn, td_error, parts.replay)
    count = offline_rows(block.ratio, config.batch_size, state.offline.size, state.online.size)
    metrics |= {
        "normaliser/clipped_share": parts.agent.actor_params(state.agent).normaliser.clipped_share(batch.observation),
        "learner/offline_ratio": block.ratio,
        "learner/effective_offline_ratio": count / config.batch_size,
        "replay/beta": block.beta,
        "replay/online_size": state.online.size,
    }
    pools, agent = parts.devices.hold((offline, online), agent)
    return state.replace(agent=agent, offline=pools[0], online=pools[1], updates=state.updates + 1), metrics


def placed(state: LearnerState, parts: LearnerParts) -> LearnerState:
    """The state on the devices of `parts`; camera frames in the host's memory stay there. `state` is given away."""
    devices, apart = parts.devices, {"agent": (), "frames": state.frames.replace(pixels={})}
    pixels = state.frames.pixels if state.frames.on_host else devices.everywhere(state.frames.pixels)
    rest = devices.everywhere(state.replace(**apart))
    return rest.replace(agent=devices.place(state.agent), frames=rest.frames.replace(pixels=pixels))


def run_steps(state: LearnerState, parts: LearnerParts, count: int = 1) -> tuple[LearnerState, Metrics]:
    """`count` updates in one call; `state` is given away, the metrics are the last one's."""
    return run_one(state, parts) if count == 1 else run_many(state, parts, count)


@partial(jax.jit, static_argnames="parts", donate_argnames="state")
def run_one(state: LearnerState, parts: LearnerParts) -> tuple[LearnerState, Metrics]:
    """One update, without a loop, whose carried state XLA would copy."""
    return step(state, parts)


@partial(jax.jit, static_argnames="parts", donate_argnames="state")
def run_many(state: LearnerState, parts: LearnerParts, count: jax.Array | int) -> tuple[LearnerState, Metrics]:
    """`count` updates, a number that the program is given: so the updates are the same to the bit in calls of any length."""
    return looped(state, parts, count)


def looped(state: LearnerState, parts: LearnerParts, count: jax.Array | int) -> tuple[LearnerState, Metrics]:
    """`count` updates, one after the other, and the metrics of the last."""
    shapes = jax.eval_shape(lambda state: step(state, parts)[1], state)
    before = (state, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes))
    return jax.lax.fori_loop(0, count, lambda _, carry: step(carry[0], parts), before)


class Stepper:
    """Runs a learner's updates, wherever its camera frames are. It keeps what was looked up for the batch that was drawn ahead.

    No more than one update is under way when a call returns: a process that has handed over fifty slow ones answers no signal meanwhile.

    Args:
        loop: whether every call is to be the loop's program, for updates that are the same to the bit in calls of any length.
    """

    def __init__(self, parts: LearnerParts, loop: bool = False):
        self.parts, self._run = parts, run_many if loop else run_steps
        self._before: Metrics = {}
        self._placed = not parts.devices.are_several
        self._ahead: tuple[Block, PairTaken] | None = None
        self._looked_up: deque[tuple[PairTaken, PairTaken]] = deque()  # on the host and on the device, the older first

    def __call__(self, state: LearnerState, count: int = 1) -> tuple[LearnerState, Metrics]:
        """`count` updates; `state` is given away. The metrics are the last one's."""
        metrics: Metrics = {}
        if not self._placed:
            state, self._placed = placed(state, self.parts), True
        if not state.frames.cameras:
            state, metrics = self._run(state, self.parts, count)
        else:
            for _ in range(count):  # not within a program, where a CPU's convolutions would be many times slower
                state, metrics = self._apart(state) if state.frames.on_host or state.ahead else run_one(state, self.parts)
        jax.block_until_ready(self._before)
        self._before = metrics
        return state, metrics

    def _apart(self, state: LearnerState) -> tuple[LearnerState, Metrics]:
        """One update on the batch drawn ahead, or on a new one, and the draw of the next; nothing here waits for the update."""
        frames, block, following = state.frames, state.ahead, ()
        state = state.replace(frames=frames.replace(pixels={}), ahead=())
        state, block = (state, block) if block else self._draw(state)
        if frames.on_host:  # before the update, which is given the pools' memory
            state, following = self._draw(state)
        taken = self._ahead[1] if self._ahead is not None and self._ahead[0] is block else self._look_up(frames, block)
        state, metrics = _learn(state, block, taken, self.parts)
        self._ahead = (following, self._look_up(frames, following)) if following else None
        return state.replace(frames=frames, ahead=following), metrics

    def _draw(self, state: LearnerState) -> tuple[LearnerState, Block]:
        key, block = _draw(state, self.parts)
        return state.replace(key=key), block

    def _look_up(self, frames: Frames, block: Block) -> PairTaken:
        """What a block's images are made of, on the device; nothing here waits for it."""
        slots = jax.device_put(_slots_of(block), *next(iter(frames.pixels.values())).devices())
        taken = _take_pair(frames, *slots) if len(self._looked_up) < 2 else take_in_place_of(self._room(), frames, *slots)
        copied = self.parts.devices.everywhere(taken) if self.parts.devices.are_several else jax.device_put(taken, jax.devices()[0])
        self._looked_up.append((taken, copied))
        return copied

    def _room(self) -> PairTaken:
        """The memory of the batch before last, once the device has its copy."""
        taken, copied = self._looked_up.popleft()
        jax.block_until_ready(copied)
        return taken


def _slots_of(block: Block) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of observations and next observations, and the key of their shifts."""
    return block.batch.observation[SLOTS], block.batch.next_observation[SLOTS], block.shift_key


@partial(jax.jit, static_argnames="parts")
def _draw(state: LearnerState, parts: LearnerParts) -> tuple[jax.Array, Block]:
    state, block = draw(state, parts)
    return state.key, block


_take_pair = jax.jit(take_pair)
_learn = jax.jit(learn, static_argnames="parts", donate_argnums=0)

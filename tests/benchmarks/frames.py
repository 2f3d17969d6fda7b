"""Drawing batches of camera images: samples a second and bytes a transition, beside HIL-SERL's layout and LeRobot's replay, in one run.

    BENCH_LEROBOT=path/of/a/python/with/lerobot python tests/benchmarks/frames.py

A sample is an observation and a next observation of two cameras, 128 × 128 × 3 each, shifted at random by up to 4 pixels, drawn from
a pool of --rows transitions in batches of 256. HIL-SERL's layout is measured by arrays of its shapes: every transition's frames once in
a NumPy ring, sampled with their successors, copied to the device and shifted in a compiled program (`packed`: the pair as one array).
LeRobot's is its own ReplayBuffer, in its own environment, with optimize_memory and its own augmentation.
"""

import argparse
import json
import os
import subprocess
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from warmloop.data.mixing import Annealed, BlockShape, draw_mixed
from warmloop.data.replay import ReplayConfig, frames, replay
from warmloop.data.replay.frame_index import FrameIndex
from warmloop.data.transition import Leaf, Spec, example

SIDE, CAMERAS, BATCH, MARGIN, EPISODE = 128, ("front", "wrist"), 256, 4, 100
SPEC = Spec((*(Leaf(name, (SIDE, SIDE, 3), "uint8") for name in CAMERAS), Leaf("pose", (18,), "float32")), 4)
LEROBOT = """
import json, sys, time, torch
from lerobot.rl.buffer import ReplayBuffer
rows, side, batch, calls, rounds = map(int, sys.argv[1:])
buffer = ReplayBuffer(rows, device="cpu", state_keys=["observation.images.front", "observation.images.wrist"], optimize_memory=True)
one = {name: torch.randint(0, 256, (1, 3, side, side), dtype=torch.float32) for name in buffer.state_keys}
for row in range(rows):
    buffer.add(one, torch.zeros(1, 4), 0.0, one, row % 100 == 99, False)
buffer.sample(batch)
rates = []
for _ in range(rounds):
    began = time.perf_counter()
    for _ in range(calls):
        buffer.sample(batch)
    rates.append(calls * batch / (time.perf_counter() - began))
print(json.dumps({"rates": rates, "bytes": sum(x.nbytes for x in buffer.states.values()) / rows}))
"""


def ours(rows: int, fresh: bool = False, subsampled: bool = False):
    """A draw of one mixed batch from a filled pool, images and shifts included; and bytes a transition.

    As a learner draws whose frames are on the host, in the memory of an earlier batch; with `fresh`, into memory of its own. `subsampled`
    keeps colour at half the resolution.
    """
    config, kept = ReplayConfig(capacity=rows), frames.FramesConfig(random_shift=MARGIN, chroma_subsampling=subsampled)
    count = frames.online_frames(SPEC, rows, kept, 256)
    store, index = frames.settle(frames.create(SPEC, count, kept), kept), FrameIndex(SPEC, 0, count, rows)
    pool = replay.create(frames.stored_spec(SPEC), config)
    rng = np.random.default_rng(0)
    for first in range(0, rows, EPISODE):
        seen = {name: rng.integers(0, 256, (EPISODE + 1, SIDE, SIDE, 3), np.uint8) for name in CAMERAS}
        seen["pose"] = rng.normal(size=(EPISODE + 1, 18)).astype(np.float32)
        here, after = ({name: x[part] for name, x in seen.items()} for part in (slice(0, -1), slice(1, None)))
        placed = index.place("arm", example(SPEC, EPISODE).replace(observation=here, next_observation=after), first)
        store = frames.put(store, placed.slots, placed.images)
        pool = replay.insert(pool, placed.rows, EPISODE, config)
    empty = replay.create(frames.stored_spec(SPEC), config, 1)

    @jax.jit
    def draw_slots(pool, key):
        batch, _ = draw_mixed(empty, pool, key, BlockShape(1, BATCH), Annealed(jnp.zeros(()), jnp.ones(())), config)
        return batch.observation[frames.SLOTS], batch.next_observation[frames.SLOTS]

    @partial(jax.jit, donate_argnums=0, keep_unused=True)
    def decode(room, taken):
        return [layout.decode(part[name]) for part in taken for name, layout in zip(CAMERAS, store.layouts, strict=True)]

    look_up, earlier = jax.jit(frames.take_pair), []

    def draw(number):
        draw_key, shift_key = jax.random.split(jax.random.key(number))
        slots = draw_slots(pool, draw_key)
        room, images = earlier if earlier and not fresh else (None, None)
        taken = frames.take_in_place_of(room, store, *slots, shift_key) if room else look_up(store, *slots, shift_key)
        images = decode(images, taken) if subsampled else taken
        earlier[:] = taken, images
        return images

    stored = index.stored * store.frame_bytes + pool.words.nbytes + sum(x.nbytes for x in pool.tree.levels)
    return draw, stored / rows


def hil_serl(rows: int, packed: bool):
    """The same from a ring of frames on the host, each row's successor being its next frame."""
    rng = np.random.default_rng(0)
    ring = {name: rng.integers(0, 256, (rows, SIDE, SIDE, 3), np.uint8) for name in CAMERAS}

    def crop(key, image):
        start = jnp.concatenate([jax.random.randint(key, (2,), 0, 2 * MARGIN + 1), jnp.zeros(1, jnp.int32)])
        padded = jnp.pad(image, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge")
        return jax.lax.dynamic_slice(padded, start, image.shape)

    @jax.jit
    def shift(key, images):
        if packed:
            images = [x[:, part] for part in (0, 1) for x in images]
        keys = jax.random.split(key, (len(images), BATCH))
        return [jax.vmap(crop)(key, x) for key, x in zip(keys, images, strict=True)]

    def draw(number):
        index = rng.integers(0, rows - 1, BATCH)
        if packed:
            images = [np.stack([x[index], x[index + 1]], axis=1) for x in ring.values()]
        else:
            images = [x[index + part] for part in (0, 1) for x in ring.values()]
        return shift(jax.random.key(number), jax.device_put(images))

    return draw, sum(x.nbytes for x in ring.values()) / rows


def rate(draw, calls: int) -> float:
    """Samples a second."""
    jax.block_until_ready(draw(0))
    began = time.perf_counter()
    for number in range(calls):
        jax.block_until_ready(draw(number))
    return calls * BATCH / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--calls", type=int, default=20, help="batches of a round")
    parser.add_argument("--rounds", type=int, default=5, help="the median is shown; all are in turns")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    candidates = {"warmloop": ours(given.rows), "warmloop, fresh memory": ours(given.rows, fresh=True)}
    candidates["warmloop, colour at half resolution"] = ours(given.rows, subsampled=True)
    candidates["HIL-SERL's layout"] = hil_serl(given.rows, False)
    candidates["HIL-SERL's layout, packed"] = hil_serl(given.rows, True)
    rates: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(given.rounds):
        for name, (draw, _) in candidates.items():
            rates[name].append(rate(draw, given.calls))
    stored = {name: size for name, (_, size) in candidates.items()}
    if python := os.environ.get("BENCH_LEROBOT"):
        numbers = map(str, (given.rows, SIDE, BATCH, 2, given.rounds))
        done = subprocess.run([python, "-c", LEROBOT, *numbers], stdout=subprocess.PIPE, text=True, check=True)
        shown = json.loads(done.stdout.splitlines()[-1])
        rates["LeRobot's ReplayBuffer"], stored["LeRobot's ReplayBuffer"] = shown["rates"], shown["bytes"]
    found = {name: {"samples_per_second": float(np.median(each)), "bytes": stored[name]} for name, each in rates.items()}
    print(f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, pool of {given.rows} transitions")
    for name, one in found.items():
        print(f"{name:<36}{one['samples_per_second']:>10.0f} samples/s{one['bytes'] / 1000:>10.1f} kB a transition")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

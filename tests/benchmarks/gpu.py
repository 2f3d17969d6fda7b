"""What an accelerator does for a learner: speed, precision, memory and transfers, in ten minutes and one table.

    make bench-gpu                                            # writes runs/bench_gpu.md and runs/bench_gpu.json
    BENCH_PEERS=PEERS/bin/python make bench-gpu               # with the peers of peers.py, on the same card; BENCH_LEROBOT likewise
    python tests/benchmarks/gpu.py --small                    # every line in a small size, also on a CPU: what its test runs

Rates are the best of some rounds that end with the results on the device. A check that fails is a line of the table, and exit code 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rlpd_step import Rlpd
from run import PEERS, best_rate, interpreters, peers_of

from warmloop.actor.policies.policy import AgentPolicy
from warmloop.agents import SAC, SACConfig
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.replay.frames import FramesConfig
from warmloop.data.transition import Leaf, Source, Spec, Transition, example
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import Stepper

STATES = Spec((Leaf("", (39,), "float32"),), 28)
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
PARITY = {"float32": 1e-3, "tensorfloat32": 0.05, "bfloat16": 0.2}  # of the losses beside float32 on the CPU, as shares
PEER_CASES = ("sac", "sac_utd2", "sac_utd20", "td3bc", "iql")  # sbx, Stable-Baselines3, LeRobot's learner and d3rlpy


@dataclasses.dataclass(frozen=True)
class Size:
    """What is measured: seconds of a rate, rows of a pool, batch sizes, width and height of pictures, updates of a check."""

    seconds: float = 8.0
    rows: int = 100_000
    batches: tuple[int, ...] = (256, 1024, 4096, 16_384)
    picture: int = 128
    picture_rows: int = 4_000
    checked: int = 20
    hidden: tuple[int, ...] = (256, 256)


SMALL = Size(0.2, 400, (16, 64), 32, 300, 3, (32,))


class Line(NamedTuple):
    """One line of the table; `good` is None where there is nothing to pass."""

    what: str
    value: float | str
    unit: str = ""
    good: bool | None = None


def cameras(size: Size) -> Spec:
    """Two cameras beside a state."""
    picture = Leaf("", (size.picture, size.picture, 3), "uint8")
    front, wrist = (dataclasses.replace(picture, name=name) for name in ("front", "wrist"))
    return Spec((front, Leaf("state", (39,), "float32"), wrist), 7)


def noise(spec: Spec, rows: int) -> Transition:
    """Rows of chance."""
    rng = np.random.default_rng(0)

    def leaf(values: Any) -> np.ndarray:
        pixels = values.dtype == np.uint8
        return rng.integers(0, 256, values.shape, np.uint8) if pixels else rng.standard_normal(values.shape).astype(np.float32)

    made = example(spec, rows)
    observed = {name: jax.tree.map(leaf, getattr(made, name)) for name in ("observation", "next_observation")}
    step = (np.arange(rows) % 100).astype(np.int32)
    return made.replace(
        **observed, action=np.tanh(leaf(made.action)), reward=leaf(made.reward), step=step,
        episode=(np.arange(rows) // 100).astype(np.int32), source=np.full(rows, Source.DEMOS, np.int32),
    )  # fmt: skip


def learner(spec: Spec, rows: int, precision: str = "float32", frames: FramesConfig | None = None, **agent: Any) -> Callable[[], Any]:
    """One update of a learner at each call; the call returns its metrics."""
    parts = LearnerParts(
        SAC(SACConfig(**agent), spec), ReplayConfig(capacity=rows), MixingConfig(decay=0.0), frames or FramesConfig(), precision=precision
    )
    state, run = create(parts, 0, noise(spec, rows), online_capacity=1), Stepper(parts)

    def call() -> Any:
        nonlocal state
        state, metrics = run(state)
        return metrics

    return call


def compiled(make: Callable[[], Callable[[], Any]]) -> tuple[Callable[[], Any], float]:
    """What `make` makes, after its first call, and the seconds that this took."""
    call = make()
    began = time.perf_counter()
    jax.block_until_ready(call())
    return call, time.perf_counter() - began


# The lines.


def machine(size: Size) -> Iterator[Line]:
    device = jax.devices()[0]
    memory = (device.memory_stats() or {}).get("bytes_limit", 0) / 2**30
    yield Line("device", f"{len(jax.devices())} × {device.device_kind}")
    yield Line("JAX", jax.__version__)
    yield Line("memory that JAX may take", round(memory, 1) if memory else "not told", "GiB")
    yield Line("XLA_PYTHON_CLIENT_PREALLOCATE", os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "not set"))


def states(size: Size) -> Iterator[Line]:
    """RLPD's size and a small one, at several batch sizes and precisions."""
    for precision in PRECISIONS:
        for batch in size.batches:
            make = partial(learner, STATES, size.rows, precision, ensemble=10, utd=20, batch_size=batch, hidden=size.hidden)
            call, seconds = compiled(make)
            rate = best_rate(call, size.seconds)
            yield Line(f"10 critics, 20 steps of {batch} rows, {precision}", rate, "updates/s")
            if batch == size.batches[0]:
                yield Line(f"its first update, compiled, {precision}", seconds, "s")
    for utd in (1, 2):
        small, _ = compiled(partial(learner, STATES, size.rows, ensemble=2, utd=utd, batch_size=size.batches[0], hidden=size.hidden))
        yield Line(f"2 critics, UTD {utd}, {size.batches[0]} rows", best_rate(small, size.seconds), "updates/s")


def rlpds(size: Size) -> Iterator[Line]:
    peer = Rlpd(39, 28, size.rows)
    yield Line("RLPD's update from its published settings, rows from the host", best_rate(peer.call, size.seconds), "updates/s")


def pictures(size: Size) -> Iterator[Line]:
    """Two cameras: frames on the device, and in the host's memory."""
    for where, budget in (("the device", 1 << 20), ("the host", 0)):
        for precision in PRECISIONS:
            make = partial(
                learner, cameras(size), size.picture_rows, precision, FramesConfig(budget_mebibytes=budget), ensemble=2, utd=1,
                batch_size=size.batches[0], hidden=size.hidden,
            )  # fmt: skip
            call, _ = compiled(make)
            yield Line(f"two cameras of {size.picture}², frames on {where}, {precision}", best_rate(call, size.seconds), "updates/s")


def transfers(size: Size) -> Iterator[Line]:
    """An update of states moves nothing between host and device."""
    call, _ = compiled(partial(learner, STATES, size.rows, ensemble=2, utd=2, batch_size=size.batches[0], hidden=size.hidden))
    said, metrics = "", None
    try:
        with jax.transfer_guard("disallow"):
            for _ in range(size.checked):
                metrics = call()
        jax.block_until_ready(metrics)
    except Exception as error:
        said = str(error)[:200]
    yield Line("an update moves nothing between host and device", said or "nothing was moved", good=not said)


def dispatch(size: Size) -> Iterator[Line]:
    """A call returns before its update is done, so that the host goes on meanwhile."""
    call, _ = compiled(partial(learner, STATES, size.rows, ensemble=10, utd=20, batch_size=size.batches[-1], hidden=size.hidden))
    jax.block_until_ready(call())
    began = time.perf_counter()
    metrics = call()
    returned = time.perf_counter() - began
    jax.block_until_ready(metrics)
    done = time.perf_counter() - began
    good = None if jax.default_backend() == "cpu" else returned < 0.5 * done
    yield Line(f"an update of {size.batches[-1]} rows: returned / done", f"{1e3 * returned:.2f} / {1e3 * done:.2f}", "ms", good)


def parity(size: Size) -> Iterator[Line]:
    """The losses of the first updates beside those of float32 on the CPU, by precision."""

    def losses(precision: str) -> np.ndarray:
        call = learner(STATES, size.rows, precision, ensemble=2, utd=2, batch_size=size.batches[0], hidden=size.hidden)
        return np.array([float(call()["critic/loss"]) for _ in range(size.checked)])

    with jax.default_device(jax.devices("cpu")[0]):
        expected = losses("float32")
    for precision in PRECISIONS:
        error = float(np.abs(losses(precision) / expected - 1.0).max())
        yield Line(f"{precision}: critics' loss beside float32 on the CPU", error, "share, at most", error <= PARITY[precision])


def actors(size: Size) -> Iterator[Line]:
    """A policy acts on the CPU, whatever the learner computes on."""
    agent = SAC(SACConfig(hidden=size.hidden), STATES)
    policy = AgentPolicy(agent, jax.device_get(agent.actor_params(agent.init(jax.random.key(0), example(STATES)))))
    policy.begin(0)
    seen = np.zeros(39, np.float32)
    policy(seen, 0)
    platforms = {device.platform for leaf in jax.tree.leaves(policy._actor) for device in leaf.devices()}
    rate = best_rate(lambda: policy(seen, 1), size.seconds / 4)
    yield Line("an action on the CPU beside the learner", 1e3 / rate, "ms", platforms == {"cpu"})


def memory(size: Size) -> Iterator[Line]:
    stats = jax.devices()[0].memory_stats() or {}
    yield Line("most memory in use", round(stats["peak_bytes_in_use"] / 2**30, 2) if "peak_bytes_in_use" in stats else "not told", "GiB")


def peers(size: Size) -> Iterator[Line]:
    """The peers of run.py on the same device, where a variable names their Python."""
    known = [case for case in PEER_CASES if interpreters(case)]
    if not known:
        yield Line("peers", f"none of {', '.join(PEERS)} is set")
    for case in known:
        try:
            for peer, value in peers_of(case, size.seconds, device="any"):
                yield Line(f"{peer}, case {case}", value, "updates/s")
        except subprocess.CalledProcessError as error:
            yield Line(f"peers, case {case}", f"exit code {error.returncode}", good=False)


PARTS = (machine, transfers, dispatch, parity, actors, states, rlpds, pictures, memory, peers)


def table(lines: list[Line]) -> str:
    """Markdown."""
    shown = ["| | | |", "|---|---|---|"]
    for line in lines:
        value = f"{line.value:.4g}" if isinstance(line.value, float) else str(line.value)
        verdict = "" if line.good is None else ", as it should be" if line.good else ", **which is wrong**"
        shown.append(f"| {line.what} | {value} | {line.unit}{verdict} |")
    return "\n".join(shown) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a small size, which a CPU does in a minute")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_gpu"), help="of the table, .md and .json")
    given = parser.parse_args()
    if not given.small and jax.default_backend() == "cpu":
        sys.exit("error: JAX finds no accelerator here; install warmloop[cuda] or [tpu], or try the small size by --small.")
    size, lines = SMALL if given.small else Size(), list[Line]()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        for line in part(size):
            lines.append(line)
            print(*line[:3], "" if line.good is None else "ok" if line.good else "WRONG", flush=True)
            given.out.with_suffix(".md").write_text(table(lines))
            given.out.with_suffix(".json").write_text(json.dumps([line._asdict() for line in lines], indent=1) + "\n")
    if any(line.good is False for line in lines):
        sys.exit(1)


if __name__ == "__main__":
    main()

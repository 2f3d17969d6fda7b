"""The learner's step by batch size on one device and on eight: its messages between devices, its work, and how long it takes.

    python tests/benchmarks/step_devices.py                   # writes runs/bench_step_devices.json
    python tests/benchmarks/step_devices.py --batches 256 --seconds=1

The eight are host devices: they share this machine's cores, so the seconds of a step say nothing of eight cards. What one compiled
program holds is exact: how many collectives it has, how often an update runs them, how many bytes go through them, and by XLA's own count
the operations and the bytes that each device works through. SAC with ten critics of two layers of 256, 20 critic steps an update.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}

import jax
import numpy as np
from hlo_collectives import collectives

from warmloop.agents import SAC, SACConfig
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.transition import Leaf, Spec, example
from warmloop.learner.devices import Devices
from warmloop.learner.state import LearnerParts, LearnerState, create
from warmloop.learner.step import placed, run_one

DEVICES = 8
SPEC = Spec((Leaf("", (39,), "float32"),), 28)
ROWS = 20_000
ENSEMBLE, UTD = 10, 20
BATCHES = (256, 1024, 4096, 16_384)
LAYOUTS = {"1": Devices(), "8, rows": Devices(DEVICES, "rows")}


def rows_of_chance(count: int) -> Any:
    rng = np.random.default_rng(0)
    rows = example(SPEC, count)
    observed = {name: rng.standard_normal((count, SPEC.observation_dim), np.float32) for name in ("observation", "next_observation")}
    action = rng.uniform(-1, 1, (count, SPEC.action_dim)).astype(np.float32)
    return rows.replace(**observed, action=action, reward=rng.standard_normal(count, np.float32))


def step_of(batch: int, devices: Devices, rows: Any) -> tuple[Any, LearnerState, LearnerParts]:
    """The compiled update, the state that it takes, and its parts."""
    agent = SAC(SACConfig(ensemble=ENSEMBLE, target_subset=2, utd=UTD, batch_size=batch), SPEC)
    parts = LearnerParts(agent, ReplayConfig(capacity=ROWS), MixingConfig(decay=0.0), devices=devices)
    state = placed(create(parts, 0, rows, online_capacity=1), parts)
    return run_one.lower(state, parts).compile(), state, parts


def seconds_of(compiled: Any, state: LearnerState, seconds: float) -> float:
    """The quickest of some updates, after a first one. At least two are measured."""
    state, _ = jax.block_until_ready(compiled(state))
    best, measured, until = np.inf, 0, time.perf_counter() + seconds
    while measured < 2 or time.perf_counter() < until:
        began = time.perf_counter()
        state, _ = jax.block_until_ready(compiled(state))
        best, measured = min(best, time.perf_counter() - began), measured + 1
    return float(best)


def measured(batch: int, devices: Devices, seconds: float, rows: Any) -> dict[str, Any]:
    """Counts of one update, each device's share of the work, and with `seconds` above 0 the time of an update."""
    compiled, state, _ = step_of(batch, devices, rows)
    cost = compiled.cost_analysis()
    found = {"devices": devices.count, "batch": batch, **collectives(compiled.as_text() or "")}
    # XLA counts a loop's body once, so this is the work of one critic step and of what is done once an update.
    found |= {"flops": cost["flops"], "bytes accessed": cost["bytes accessed"]}
    return found | {"seconds": seconds_of(compiled, state, seconds) if seconds > 0 else None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="rows of a gradient step")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement of the time; 0 for the counts alone")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_step_devices.json"))
    given = parser.parse_args()
    found, rows = dict[str, list[Any]](), rows_of_chance(ROWS)
    for name, devices in LAYOUTS.items():
        found[name] = []
        for batch in given.batches:
            found[name].append(measured(batch, devices, given.seconds, rows))
            print(name, found[name][-1], flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

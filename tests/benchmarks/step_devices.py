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
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}

import jax
import numpy as np

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
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
WIDTHS = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
COLLECTIVE = re.compile(rf" = (.*?) ({'|'.join(COLLECTIVES)})(?:-start)?\(")
LOOP = re.compile(r"\bwhile\(.*body=%?([\w.\-]+)")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
CALL = re.compile(r"\b(?:to_apply|calls|true_computation|false_computation)=%?([\w.\-]+)")


def message_bytes(shape: str) -> int:
    """Bytes of a result as HLO writes it, such as `(f32[10,256]{1,0}, f32[])`."""
    found = re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", shape)
    return sum(WIDTHS[kind] * int(np.prod([int(size) for size in sizes.split(",") if size])) for kind, sizes in found if kind in WIDTHS)


def computations(text: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation of an HLO module by its name, and the name of the one that begins."""
    found, name, entry = dict[str, list[str]](), "", ""
    for line in text.splitlines():
        if begun := COMPUTATION.match(line):
            name = begun[1]
            found[name] = []
            entry = name if line.startswith("ENTRY") else entry
        elif name:
            found[name].append(line)
    return found, entry


def collectives(text: str) -> dict[str, Any]:
    """Of an HLO module: collectives in its text, how often they run in one execution, by kind, and the bytes of their results.

    A loop's body counts as often as XLA knows that it runs. Raises ValueError where a loop with a collective has no such number.
    """
    lines, entry = computations(text)
    written, runs, moved = Counter[str](), Counter[str](), 0

    def walk(name: str, times: int | None) -> None:
        nonlocal moved
        for line in lines.get(name, ()):
            if found := COLLECTIVE.search(line):
                if times is None:
                    raise ValueError(f"How often the loop around this collective runs is not known: {line.strip()[:200]}")
                written[found[2]] += 1
                runs[found[2]] += times
                moved += times * message_bytes(found[1])
            elif loop := LOOP.search(line):
                trips = TRIPS.search(line)
                walk(loop[1], times * int(trips[1]) if trips and times is not None else None)
            else:
                for called in CALL.findall(line):
                    walk(called, times)

    walk(entry, 1)
    return {"written": dict(written), "run": dict(runs), "bytes": moved}


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

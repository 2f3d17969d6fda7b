"""Measures warmloop's speed beside its peers', in one run, and writes runs/bench.json.

    make bench                                       # warmloop alone
    BENCH_PEERS=PEERS/bin/python make bench          # and the peers installed in that environment (see peers.py)
    BENCH_LEROBOT=LEROBOT/bin/python make bench      # and LeRobot's learner (see lerobot_peers.py)

Each entry is {"value", "unit", "gemm_share", "peers"}: a rate, the share of the machine's own batched matrix-product rate
(10 × 256³, float32, measured around the same case) that the update's matrix products reach, and the peers' rates. Machines are
noisy, so the figures to compare are those of one run.
"""

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
from typing import Any

import formats
import jax
import jax.numpy as jnp
import link
import link_pictures
import numpy as np
from control_loop import control_loop
from flops import bc_update, cql_update, iql_update, sac_update, td3bc_update

from warmloop.agents import BC, CQL, IQL, SAC, TD3BC, BCConfig, CQLConfig, IQLConfig, SACConfig, TD3BCConfig
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig, replay
from warmloop.data.replay.windows import ROW, Window
from warmloop.data.transition import Leaf, Source, Spec, Transition, example
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import run_steps

SPEC = Spec((Leaf("", (39,), "float32"),), 28)
LOCOMOTION = Spec((Leaf("", (17,), "float32"),), 6)
ROWS, DRAW = 1_000_000, 5_120
# The variables that name peers' interpreters, their scripts, and the cases that these know.
PEERS = {
    "BENCH_PEERS": ("peers.py", ("sac", "sac_utd2", "sac_utd20", "cql", "td3bc", "bc", "iql", "replay")),
    "BENCH_LEROBOT": ("lerobot_peers.py", ("sac_utd2",)),
}
PLAIN = SACConfig(ensemble=2, target_subset=2, critic_layer_norm=False, backup_entropy=True)
AGENTS: dict[str, tuple[Any, Callable[..., float]]] = {
    "sac": (SAC(dataclasses.replace(PLAIN, utd=1), SPEC), sac_update),
    "sac_utd2": (SAC(dataclasses.replace(PLAIN, utd=2), SPEC), sac_update),
    "sac_utd20": (SAC(SACConfig(ensemble=10, target_subset=2, utd=20), SPEC), sac_update),
    "cql": (CQL(CQLConfig(ensemble=2, target_subset=2, utd=1, critic_layer_norm=False), SPEC), cql_update),
    "td3bc": (TD3BC(TD3BCConfig(), SPEC), td3bc_update),
    "bc": (BC(BCConfig(deterministic=True), SPEC), bc_update),
    "iql": (IQL(IQLConfig(), LOCOMOTION), iql_update),
}


def random_rows(count: int, seed: int = 0, spec: Spec = SPEC) -> Transition:
    rng = np.random.default_rng(seed)
    return example(spec, count).replace(
        observation=rng.standard_normal((count, spec.observation_dim), dtype=np.float32),
        next_observation=rng.standard_normal((count, spec.observation_dim), dtype=np.float32),
        action=rng.uniform(-1, 1, (count, spec.action_dim)).astype(np.float32),
        reward=rng.standard_normal(count, dtype=np.float32),
        source=np.full(count, Source.DEMOS, np.int32),
    )


def best_rate(call: Callable[[], object], seconds: float, rounds: int = 4) -> float:
    """Calls a second: the best of some rounds, each ended by waiting for the results."""
    result = jax.block_until_ready(call())
    rates = []
    for _ in range(rounds):
        calls, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds / rounds:
            result = call()
            calls += 1
        jax.block_until_ready(result)
        rates.append(calls / (time.perf_counter() - start))
    return max(rates)


def gemm_rate() -> float:
    """Operations a second of a batched product, 10 × 256³."""
    stack = jax.random.normal(jax.random.key(0), (10, 256, 256))
    product = jax.jit(lambda x: x @ x)
    return best_rate(lambda: product(stack), 1.0, rounds=8) * 10 * 2 * 256.0**3


def agent_case(name: str, seconds: float) -> dict[str, Any]:
    """Updates a second of the learner's whole step: draw, K critic steps, actor, temperature, priorities back."""
    agent, operations = AGENTS[name]
    parts = LearnerParts(agent, ReplayConfig(capacity=100_000), MixingConfig(decay=0.0, min_ratio=0.5))
    state = create(parts, 0, random_rows(100_000, spec=agent.spec))
    state = state.replace(online=replay.insert(state.online, random_rows(100_000, 1, agent.spec), 100_000, parts.replay))

    def call() -> object:
        nonlocal state
        state, metrics = run_steps(state, parts)
        return metrics

    before, rate, after = gemm_rate(), best_rate(call, seconds), gemm_rate()
    share = rate * operations(agent.config, agent.spec) / max(before, after)
    return {"value": rate, "unit": "updates/s", "gemm_share": share, "gemm_gflops": max(before, after) / 1e9}


def replay_case(seconds: float, window: Window = ROW, draw: int = DRAW) -> dict[str, Any]:
    """Rows or windows a second of drawing some of 1,000,000 rows, whole, and writing the priorities back."""
    config = ReplayConfig(capacity=ROWS)
    pool = replay.create(SPEC, config, linked=not window.is_row)
    for seed in range(10):
        pool = replay.insert(pool, random_rows(ROWS // 10, seed), ROWS // 10, config)
    if not window.is_row:  # episodes of 200 steps
        following = np.arange(1, ROWS + 1, dtype=np.int32)
        following[199::200] = -1
        pool = pool.replace(following=jnp.asarray(following))

    @partial(jax.jit, donate_argnums=0)
    def draw_and_update(pool: Any, key: jax.Array, td_error: jax.Array) -> Any:
        key, draw_key = jax.random.split(key)
        rows, serials, weights = replay.draw_at(pool, jax.random.uniform(draw_key, (draw,)), jnp.float32(0.4), draw, window)
        return replay.update_priorities(pool, serials, td_error, config), key, (rows, weights)

    key, td_error = jax.random.key(0), jax.random.uniform(jax.random.key(1), (draw,))

    def call() -> object:
        nonlocal pool, key
        pool, key, drawn = draw_and_update(pool, key, td_error)
        return drawn

    return {"value": best_rate(call, seconds) * draw, "unit": "rows/s" if window.is_row else "windows/s", "gemm_share": None}


def interpreters(case: str) -> list[tuple[str, str]]:
    """The interpreters and scripts of the peers that know a case; none where no variable names an interpreter."""
    return [(os.environ[name], script) for name, (script, cases) in PEERS.items() if os.environ.get(name) and case in cases]


def peers_of(case: str, seconds: float, device: str = "cpu") -> Iterator[tuple[str, float]]:
    """Rates of the peers."""
    for interpreter, script in interpreters(case):
        command = [interpreter, str(Path(__file__).with_name(script)), "--case", case, "--seconds", str(seconds), f"--device={device}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        for line in done.stdout.splitlines():
            shown = json.loads(line)
            yield shown["peer"], shown["value"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cases: dict[str, Callable[[float], dict[str, Any]]] = {name: partial(agent_case, name) for name in AGENTS}
    windows = {
        "replay_n_step5": partial(replay_case, window=Window(5)),
        "replay_chunk5": partial(replay_case, window=Window(5, "chunk")),
        "replay_sequence64": partial(replay_case, window=Window(64, "sequence"), draw=DRAW // 10),
    }
    cases |= windows | {"replay": replay_case, "control_loop": control_loop, **link.CASES, **link_pictures.CASES, **formats.CASES}
    parser.add_argument("--case", choices=list(cases), action="append", help="only this case (repeatable)")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each measurement")
    parser.add_argument("--out", type=Path, default=Path("runs/bench.json"))
    given = parser.parse_args()
    device = jax.devices()[0]
    results: dict[str, Any] = {}
    for name in given.case or cases:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        result = cases[name](given.seconds)
        peers = result.pop("peers", {})
        if interpreters(name):
            # The machine's speed changes within minutes: both are measured twice, in turn, and the better of each is compared.
            first, again, second = dict(peers_of(name, given.seconds)), cases[name](given.seconds), dict(peers_of(name, given.seconds))
            result = max(result, again, key=lambda measured: measured["value"])
            peers = {peer: max(rate, second[peer]) for peer, rate in first.items()}
        result["peers"] = peers
        results[name] = result | {"device": device.device_kind}
        ratios = ", ".join(f"{result['value'] / value:.2f} x {peer} ({value:.4g})" for peer, value in result["peers"].items())
        share = f", {result['gemm_share']:.0%} of the matrix-product rate" if result["gemm_share"] else ""
        tail = f", p99 {result['p99']:.4g} ms" if "p99" in result else ""
        tail += f", {result['megabytes']:.4g} MB/s" if "megabytes" in result else ""
        print(f"{name:<20}{result['value']:>12.4g} {result['unit']}{tail}{share}{'; ' if ratios else ''}{ratios}", flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"written to {given.out}")


if __name__ == "__main__":
    main()

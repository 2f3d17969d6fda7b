"""What each algorithm costs: milliseconds of processor for an update and for an action, on one thread.

    python tests/benchmarks/agents_cost.py                       # every preset of a laptop's size
    python tests/benchmarks/agents_cost.py --presets mpc dreamer # as published

The task has 39 numbers and 4 actions, as Meta-World's. Rows are random, so learning is not measured. The figure is the least of `--repeats`
calls; other work on the machine makes the others longer. Programs are compiled before. An actor's action is the policy's call alone.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import numpy as np

from warmloop.actor.policies.policy import AgentPolicy
from warmloop.configs import load
from warmloop.configs.schema import build_agent
from warmloop.data.replay.replay import ReplayConfig
from warmloop.data.transition import Leaf, Spec, example, spec_beside
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import Stepper

SPEC = Spec((Leaf("", (39,), "float32"),), 4)
TASK = "configs/metaworld.py:peg-insert-side"
SMALL = tuple(
    f"{name},small"
    for name in (
        *("sac", "cql", "iql", "flow_bc", "qc", "qc_fql", "dsrl", "edit"),
        *("combo", "pets", "mpc", "dreamer", "trajectory_transformer"),
    )
)
ROWS, LENGTH = 2_000, 100


def rows_of(spec: Spec):
    """Episodes of noise."""
    rng, rows = np.random.default_rng(0), example(spec, ROWS)

    def noise(leaf):
        return rng.normal(size=leaf.shape).astype(np.float32)

    number = np.arange(ROWS)
    observed = {name: jax.tree.map(noise, getattr(rows, name)) for name in ("observation", "next_observation")}
    ends = {"episode": (number // LENGTH).astype(rows.episode.dtype), "step": (number % LENGTH).astype(rows.step.dtype)}
    reward = (rng.random(ROWS) < 0.1).astype(np.float32)
    return rows.replace(**observed, **ends, action=np.tanh(noise(rows.action)), reward=reward, mc_return=reward)


def least(call, repeats: int) -> float:
    """Milliseconds of this process's processor."""
    found = []
    for _ in range(repeats):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return 1e3 * min(found)


def cost(preset: str, repeats: int) -> tuple[int, float, float]:
    """Rows of an update, and milliseconds of an update and of an action."""
    config = load(f"{TASK},{preset}")
    spec = spec_beside(SPEC, 1) if config.agent.name == "edit" else SPEC
    agent = build_agent(config.agent, config.reward, spec)
    parts = LearnerParts(agent, ReplayConfig(capacity=ROWS, alpha=0.0), config.mixing)
    rows = rows_of(spec)
    state, run = create(parts, 0, rows, online_capacity=1), Stepper(parts)

    def update() -> None:
        nonlocal state
        state, metrics = run(state)
        jax.block_until_ready((state, metrics))

    update()
    of_update = least(update, repeats)
    policy = AgentPolicy(agent, jax.device_get(agent.actor_params(state.agent)))
    policy.begin(0)
    seen = jax.tree.map(lambda leaf: leaf[0], rows.observation)
    steps = iter(range(10**9))
    for _ in range(3):
        policy(seen, next(steps))
    # An agent that acts in chunks plans at some calls alone: the mean over ten of them.
    of_action = least(lambda: [policy(seen, next(steps)) for _ in range(10)], max(repeats // 2, 2)) / 10
    settings = config.agent.settings
    return settings.utd * settings.batch_size * getattr(agent, "window", parts.window).length, of_update, of_action


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=list(SMALL), help="presets on top of the task (every one of a laptop's size)")
    parser.add_argument("--repeats", type=int, default=15, help="updates that are timed (%(default)s)")
    given = parser.parse_args()
    print("| preset | rows of an update | update, ms | action, ms |\n|---|---|---|---|")
    for preset in given.presets:
        rows, update, action = cost(preset, given.repeats)
        print(f"| `{preset}` | {rows:,} | {update:.1f} | {action:.2f} |", flush=True)


if __name__ == "__main__":
    main()

"""Steps a second in 1, 4 and 16 simulators at once, with one policy, beside Gymnasium's vector environments.

    python tests/benchmarks/simulators.py                     # writes runs/bench_simulators.json
    python tests/benchmarks/simulators.py --seconds=2 --only=Pendulum-v1

Episodes are recorded as `collect` records them, by a policy of two layers of 256 that samples its actions. The conditions of a task take
turns, and the best of some rounds counts. "processor" is by the seconds of processor that this process used, which other work on the
machine leaves alone; Gymnasium's own processes (async) do not count there, so it has none.
"""

import argparse
import contextlib
import itertools
import json
import os
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

os.environ |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", "JAX_PLATFORMS": "cpu"}

import gymnasium as gym
import jax
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from warmloop.actor.environment.environment import Environment, EnvironmentConfig, make_environment
from warmloop.actor.environment.guard import guarded
from warmloop.actor.episodes.abreast import Abreast
from warmloop.actor.episodes.rollout import recording
from warmloop.actor.policies.policy import AgentPolicy
from warmloop.actor.policies.shared_policy import Ask, SharedPolicy
from warmloop.agents import SAC, SACConfig
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import example

TASKS = {
    "Pendulum-v1": EnvironmentConfig("Pendulum-v1"),
    "AdroitHandDoor-v1": EnvironmentConfig("AdroitHandDoor-v1", horizon=200),
    "Meta-World/door-open-v3": EnvironmentConfig("Meta-World/door-open-v3", horizon=200),
}
COUNTS = (1, 4, 16)
PROCESSES = 4  # of AsyncVectorEnv, each of which imports all that the environment needs
ROUNDS = 3
Steps = Iterator[int]  # steps that were taken since the last one


def policy_in(environment: Environment) -> AgentPolicy:
    agent = SAC(SACConfig(hidden=(256, 256)), environment.spec)
    return AgentPolicy(agent, agent.actor_params(agent.init(jax.random.key(0), example(environment.spec))))


@contextlib.contextmanager
def ours(config: EnvironmentConfig, count: int) -> Iterator[Steps]:
    """Our own loop: whole episodes, recorded."""
    with contextlib.ExitStack() as stack:
        environments = [make_environment(config) for _ in range(count)]
        for environment in environments:
            stack.enter_context(contextlib.closing(environment))
            stack.enter_context(guarded(environment))
        yield counted(Abreast.of(environments, policy_in))


def counted(abreast: Abreast) -> Steps:
    """Plays episodes without end; yields the steps of all since the last one that ended."""
    taken = [0]

    def step(*_: object) -> None:
        taken[0] += 1

    def episode(place: int, number: int) -> Generator[Ask, None, object]:
        return recording(abreast.environments[place], abreast.policies[place], number, on_step=step)

    for _ in abreast.play(itertools.count(), episode):
        yield taken[0]
        taken[0] = 0


@contextlib.contextmanager
def gymnasiums(config: EnvironmentConfig, count: int, kind: Callable[..., gym.vector.VectorEnv]) -> Iterator[Steps]:
    """A vector environment of Gymnasium with the same policy, nothing recorded."""
    makers = [lambda: gym.wrappers.FlattenObservation(make_environment(config).env)] * count
    environment = make_environment(config)
    policy = policy_in(environment).shared(count)
    vector = kind(makers, autoreset_mode=AutoresetMode.NEXT_STEP)
    yield vectored(vector, policy, environment, count)
    vector.close()
    environment.close()


def vectored(vector: gym.vector.VectorEnv, policy: SharedPolicy, environment: Environment, count: int) -> Steps:
    seen, _ = vector.reset(seed=0)
    number = 0
    while True:
        for _ in range(50):
            policy.look({place: Ask(seen[place].astype(np.float32), number) for place in range(count)})
            actions = np.stack([environment.limits.unscale(seat(None, number)) for seat in policy.seats])
            seen, *_ = vector.step(actions.astype(environment.env.action_space.dtype))
            number += 1
        yield 50 * count


def spawned(makers: list, **settings: object) -> AsyncVectorEnv:
    """Simulators in processes of their own, which do not copy JAX's threads."""
    return AsyncVectorEnv(makers, context="spawn", **settings)  # pyright: ignore[reportArgumentType]


def measured(steps: Steps, seconds: float) -> tuple[float, float]:
    """Steps a second, and steps by second of this process's processor."""
    next(steps)
    taken, began, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        taken += next(steps)
    return taken / (time.perf_counter() - began), taken / (time.process_time() - used)


def of_task(config: EnvironmentConfig, seconds: float, processes: bool) -> dict[str, dict[str, float]]:
    """Every condition's best round."""
    with contextlib.ExitStack() as stack:
        running = {f"ours_{count}": stack.enter_context(ours(config, count)) for count in COUNTS}
        running |= {f"sync_{count}": stack.enter_context(gymnasiums(config, count, SyncVectorEnv)) for count in COUNTS[1:]}
        if processes:
            running[f"async_{PROCESSES}"] = stack.enter_context(gymnasiums(config, PROCESSES, spawned))
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in running}
        for _ in range(ROUNDS):
            for name, steps in running.items():
                found[name].append(measured(steps, seconds))
        best = {name: {"wall": max(wall for wall, _ in rounds)} for name, rounds in found.items()}
        for name, rounds in found.items():
            if not name.startswith("async"):
                best[name]["processor"] = max(processor for _, processor in rounds)
        return best


def absent(config: EnvironmentConfig) -> str:
    """Why the task cannot be made here, such as a package that is not installed; empty where it can."""
    try:
        make_environment(config).close()
    except WarmloopError as error:
        return str(error)
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each round of each condition")
    parser.add_argument("--only", choices=TASKS, help="one task")
    parser.add_argument("--processes", action="store_true", help="Gymnasium's AsyncVectorEnv of four processes, too")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_simulators.json"))
    given = parser.parse_args()
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # as actors do
    found = {}
    for name in [given.only] if given.only else TASKS:
        if why := absent(TASKS[name]):
            print(f"{name} is left out: {why}", flush=True)
            continue
        found[name] = of_task(TASKS[name], given.seconds, given.processes)
        for condition, rates in found[name].items():
            print(name, condition, *(f"{kind} {rate:.0f}" for kind, rate in rates.items()), flush=True)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

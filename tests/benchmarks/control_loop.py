"""Environment steps a second of the actor's control loop, beside the bare environment's.

The loop acts with a policy of two layers of 256, records every step and sends it over a real socket to a learner's service in
another process, which takes the rows in.
"""

import multiprocessing
import time
from typing import Any

import jax
import numpy as np

from warmloop.actor.config import ActorConfig
from warmloop.actor.control_loop import ActorLoop
from warmloop.actor.delivery.client import Client, Introduction
from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.agents import SAC, SACConfig
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Spec, example
from warmloop.data.wire.row_schema import Schema

ENVIRONMENT = EnvironmentConfig("AdroitHandDoor-v1", horizon=200)


def control_loop(seconds: float) -> dict[str, Any]:
    """The best of alternating rounds of both, in a process of its own, as an actor is."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    actor = context.Process(target=_act, args=(seconds, results))
    actor.start()
    bare, loop = results.get(timeout=120 + 4 * seconds)
    actor.join(60)
    return {"value": loop, "unit": "steps/s", "gemm_share": None, "bare": bare, "share_of_bare": loop / bare}


def _act(seconds: float, results: Any) -> None:
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # as train_rlpd --actor does
    environment = make_environment(ENVIRONMENT, RewardConfig())
    agent = SAC(SACConfig(), environment.spec)
    context = multiprocessing.get_context("spawn")
    ports, done = context.Queue(), context.Event()
    learner = context.Process(target=_serve, args=(environment.spec, ports, done))
    learner.start()
    introduction = Introduction(Schema.of(environment.spec, ENVIRONMENT.id), agent, "actor-0")
    client = Client.connect(f"127.0.0.1:{ports.get(timeout=120)}", introduction)
    steps = ActorLoop(environment, agent, client, ActorConfig()).steps()
    for _ in range(300):
        next(steps)
    bare, loop = 0.0, 0.0
    for _ in range(4):
        bare = max(bare, _bare_rate(seconds / 8))
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds / 8:
            next(steps)
            count += 1
        loop = max(loop, count / (time.perf_counter() - start))
    client.close()
    done.set()
    learner.join(30)
    results.put((bare, loop))


def _bare_rate(seconds: float) -> float:
    """Steps a second of the Gymnasium environment itself, resets included, with actions that cost nothing."""
    environment = make_environment(ENVIRONMENT, RewardConfig()).env
    action, count = np.zeros(environment.action_space.shape, np.float32), 0
    environment.reset(seed=0)
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        _, _, terminated, truncated, _ = environment.step(action)
        count += 1
        if terminated or truncated:
            environment.reset(seed=count)
    return count / (time.perf_counter() - start)


def _serve(spec: Spec, ports: Any, done: Any) -> None:
    from warmloop.learner.receiving.intake import Intake
    from warmloop.learner.receiving.service import serve

    agent = SAC(SACConfig(), spec)
    intake = Intake(Schema.of(spec, ENVIRONMENT.id))
    intake.publish(0, agent.actor_params(agent.init(jax.random.key(0), example(spec))))
    server = serve("127.0.0.1", 0, intake)
    ports.put(server.port)
    while not done.is_set():
        intake.wait(0.1)
        intake.take(1024)
        intake.mark_durable(intake.state())
    server.stop(1.0)

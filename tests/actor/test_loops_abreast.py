"""An actor with several simulators, and a learner's service at a real port: each simulator has a stream of its own."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest
from walk import CONFIG

from warmloop.actor.config import ActorConfig
from warmloop.actor.control_loop import ActorLoop, EpisodeStream
from warmloop.actor.delivery.channel import open_channel
from warmloop.actor.delivery.client import Among, Client
from warmloop.actor.delivery.sender import Introduction
from warmloop.actor.environment.environment import make_environment
from warmloop.actor.loops_abreast import LoopsAbreast
from warmloop.agents import SAC, SACConfig
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Transition, concatenate, example
from warmloop.data.wire.row_schema import Schema
from warmloop.data.wire.warmloop_pb2_grpc import LearnerStub
from warmloop.learner.receiving.intake import Intake
from warmloop.learner.receiving.service import serve

PLAIN = RewardConfig(signal="environment", terminate_on_success=False)


class Bench:
    """A learner's end, and an actor's loops with `envs` simulators."""

    def __init__(self, envs: int, stack: contextlib.ExitStack, **config: Any):
        self.environments = [make_environment(CONFIG, PLAIN) for _ in range(envs)]
        self.agent = SAC(SACConfig(hidden=(16,)), self.environments[0].spec)
        schema = Schema.of(self.environments[0].spec, CONFIG.id)
        self.intake = Intake(schema)
        self.publish(0)
        server = serve("127.0.0.1", 0, self.intake)
        stack.callback(server.close)
        channel, self.clients = open_channel(f"127.0.0.1:{server.port}"), list[Client]()
        self.config = ActorConfig(**config)
        for place in range(envs):
            stub = LearnerStub(channel) if place else channel
            among = Among(envs, self.clients[0] if place else None)
            introduction = Introduction(schema, self.agent, f"arm.{place}" if place else "arm")
            self.clients.append(Client(stub, introduction, self.config, among=among))
            stack.callback(self.clients[-1].close)
        self.rows: dict[str, list[Transition]] = {}
        self.seen: list[dict[str, float]] = []

    def publish(self, version: int) -> None:
        params = self.agent.actor_params(self.agent.init(jax.random.key(version), example(self.agent.spec)))
        self.intake.publish(version, params)

    def loops(self, seed: int = 7) -> LoopsAbreast:
        return LoopsAbreast(self.environments, self.agent, self.clients, self.config, EpisodeStream(seed))

    def take(self) -> int:
        """Takes in what came; returns how many rows there are by now."""
        for chunk in self.intake.take(10_000):
            self.rows.setdefault(chunk.stream, []).append(chunk.rows)
        self.seen += [dict(report.scalars) for report in self.intake.reports()]
        self.intake.mark_durable(self.intake.state())
        return sum(len(rows.reward) for parts in self.rows.values() for rows in parts)

    def act(self, rounds: Iterator[None], rows: int) -> None:
        """Acts until that many rows have come, and to the end of the episodes that run then."""
        for _ in rounds:
            if self.take() >= rows:
                self.intake.stop()
        for client in self.clients:
            client.flush()
        self.take()

    def episodes(self) -> dict[int, Transition]:
        """The episodes that came, by number; each is the whole of a stretch of one stream."""
        found: dict[int, Transition] = {}
        for parts in self.rows.values():
            rows = concatenate(parts)
            ends = np.flatnonzero(np.diff(rows.episode, append=-1)) + 1
            for start, end in zip([0, *ends[:-1]], ends, strict=True):
                number = int(rows.episode[start])
                assert number not in found, "an episode is in one stream, in one piece"
                found[number] = jax.tree.map(lambda leaf, start=start, end=end: leaf[start:end], rows)
        return found


@contextlib.contextmanager
def bench(envs: int, **config: Any) -> Iterator[Bench]:
    with contextlib.ExitStack() as stack:
        yield Bench(envs, stack, **config)


def test_the_rows_of_a_simulator_are_a_stream_of_whole_episodes():
    with bench(4) as made:
        loops = made.loops()
        made.act(loops.rounds(), 150)
        episodes = made.episodes()
    assert len(made.rows) == 4 and len(episodes) > 10
    missing = set(range(max(episodes))) - episodes.keys()
    assert missing <= {loop.episode for loop in loops.loops}, "but for those that came next where the learner said stop"
    for rows in episodes.values():
        assert rows.step.tolist() == list(range(len(rows.step)))
        assert len({*rows.observation[:, 0], *rows.next_observation[:, 0]}) == 1, "one seed's walk"
        assert rows.mask.tolist() == [1.0] * (len(rows.step) - 1) + [0.0] and not rows.truncated.any()
        np.testing.assert_array_equal(rows.observation[1:], rows.next_observation[:-1])
    assert sum("actor/episode_return" in report for report in made.seen) == len(episodes)


def test_the_episodes_are_those_of_one_simulator():
    with bench(1, deterministic=True) as made:
        loop = ActorLoop(made.environments[0], made.agent, made.clients[0], made.config, EpisodeStream(7))
        made.act(loop.steps(), 100)
        expected = made.episodes()
    with bench(3, deterministic=True) as made:
        made.act(made.loops().rounds(), 100)
        found = made.episodes()
    both = expected.keys() & found.keys()
    assert len(both) > 10
    for number in both:
        jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-4), expected[number], found[number])


@pytest.mark.parametrize("swap", ["episode", "step"])
def test_new_weights_take_over_as_they_do_in_one(swap: str):
    with bench(3, swap=swap) as made:
        rounds, version = made.loops().rounds(), 0
        for _ in rounds:
            rows = made.take()
            if rows > 40 * (version + 1):
                made.publish(version := version + 1)
            if rows >= 300:
                made.intake.stop()
        for client in made.clients:
            client.flush()
        made.take()
        versions = [np.unique(rows.policy_version) for rows in made.episodes().values()]
    assert len(np.unique(np.concatenate(versions))) > 2
    assert swap == "step" or all(len(one) == 1 for one in versions)


def test_evaluations_wait_for_the_running_episodes_and_are_those_of_one_simulator():
    shown = []
    for envs in (1, 3):
        with bench(envs, evaluate_every=60, evaluation_episodes=5) as made:
            one = ActorLoop(made.environments[0], made.agent, made.clients[0], made.config, EpisodeStream(7))
            made.act(one.steps() if envs == 1 else made.loops().rounds(), 100)
            made.episodes()
            shown.append([report for report in made.seen if "evaluation/episodes" in report])
    assert all(len(reports) >= 2 for reports in shown)
    for name in ("evaluation/episode_return", "evaluation/episode_length"):
        np.testing.assert_allclose(shown[0][0][name], shown[1][0][name], atol=1e-4)


def test_a_random_start_is_random_in_all_of_them():
    with bench(3, random_steps=60) as made:
        made.act(made.loops().rounds(), 50)
        actions = np.concatenate([rows.action for rows in made.episodes().values() if (rows.policy_version <= 0).all()])
    assert (np.abs(actions) > 0.9).any() and len(np.unique(actions)) > 40


def test_the_environment_must_be_a_simulator():
    with bench(2) as made:
        made.environments[0].use = dataclasses.replace(made.config, simulator=False)
        with pytest.raises(Exception, match="is a robot, or like one"):
            made.loops()

"""Looks at a fine-tuning while it runs, for `warm_diagnosis.py`: figures of its learner, and of fresh episodes of its policy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from warmloop.actor.environment.environment import make_environment
from warmloop.actor.episodes.rollout import evaluate
from warmloop.actor.policies.policy import AgentPolicy
from warmloop.agents.base import Actor
from warmloop.agents.sac import SAC
from warmloop.configs.schema import RunConfig
from warmloop.data.episode import Episode
from warmloop.data.reward import return_bounds
from warmloop.data.statistics import wilson
from warmloop.learner.diagnosis import diagnosis, diagnosis_batches
from warmloop.learner.diagnosis.diagnosis import Figures, Seen
from warmloop.learner.judging.selection import finite
from warmloop.learner.loop import Learner
from warmloop.learner.rows.experience import experience
from warmloop.learner.rows.offline_rows import prepare

ROWS, STARTS = 2048, 12_345  # rows by which is measured; the seed of the episodes
ENDS = 64


class Looks:
    """Called with the learner after every step; looks at it when `points` of environment steps are there.

    Args:
        episodes: of the policy, by its mean and by samples, from the same starts at every look.
        write: given each look.

    Attributes:
        seconds: that looking took.
    """

    def __init__(self, config: RunConfig, seed: int, points: list[int], episodes: int, write: Callable[[dict[str, Any]], None]):
        self._config, self._seed, self._left, self._episodes, self._write = config, seed, sorted(points), episodes, write
        self._environment = make_environment(config.environment, config.reward, tasks=config.tasks)
        self._least = return_bounds(config.reward)[0]
        self._warm: Actor | None = None
        self._trained, self.seconds = 0, 0.0

    def __call__(self, learner: Learner) -> None:
        if self._left and learner.environment_steps >= self._left[0]:
            began, point = time.perf_counter(), self._left.pop(0)
            figures = self._look(learner)
            self.seconds += time.perf_counter() - began
            self._write(finite({"steps": point, "updates": learner.updates - learner.warm_updates, **figures}))

    def close(self) -> None:
        self._environment.close()

    def _look(self, learner: Learner) -> Figures:
        agent, state, key = diagnosis.check_diagnosed(learner.parts), learner.state, jax.random.key(self._seed)
        actor = agent.actor_params(state.agent)
        if self._warm is None:
            self._warm = jax.tree.map(np.array, actor)  # copies: the next update gives the learner's away
        by_mean, sampled = (self._judge(agent, actor, deterministic) for deterministic in (True, False))
        own, own_by_mean, data = self._seen(sampled), self._seen(by_mean), diagnosis.seen_in(state.offline, self._least)
        drawn = diagnosis_batches.drawn_blocks(state, learner.parts, key)
        seen = {name: diagnosis.evenly(part, ROWS) for name, part in {"data": data, "own": own, "own_by_mean": own_by_mean}.items()}
        parts = {
            "starts": own.of(own.first),
            "starts_by_mean": own_by_mean.of(own_by_mean.first),
            "ends_of_data_failures": data.of(data.last & ~data.paid),
            "ends_of_own_failures": own.of(own.last & ~own.paid),
        }
        compared = seen | {name: diagnosis.evenly(part, ENDS) for name, part in parts.items() if len(part.returns)}
        states = {name: seen[name] for name in ("data", "own")}
        return {
            "success": {"mean": _rate(by_mean), "sampled": _rate(sampled)} | _interval(by_mean) | self._training(learner),
            "critic": {name: diagnosis.critic_against_returns(agent, state.agent, part) for name, part in compared.items()},
            "actions": {name: diagnosis.values_of_actions(agent, state.agent, self._warm, part, key) for name, part in states.items()},
            "gradient": diagnosis_batches.actor_gradient(drawn),
            "step": {name: diagnosis_batches.steps_by_term(agent, state.agent, drawn, part.observation) for name, part in states.items()},
            "movement": {name: diagnosis.movement(agent, state.agent, self._warm, part, key) for name, part in states.items()},
            "entropy": diagnosis_batches.entropy(agent, state, drawn),
            "drawn": diagnosis_batches.rows_drawn(state, drawn, self._least),
            "targets": diagnosis_batches.targets(agent, drawn, self._least),
            "observations": {name: diagnosis.observed(agent, state.agent, part) for name, part in states.items()},
        }

    def _judge(self, agent: SAC, actor: Actor, deterministic: bool) -> list[Episode]:
        episodes: list[Episode] = []
        evaluate(self._environment, AgentPolicy(agent, actor, deterministic), STARTS, self._episodes, episodes.append)
        return episodes

    def _seen(self, episodes: list[Episode]) -> Seen:
        return diagnosis.seen_of(prepare(episodes, self._config.reward, self._config.quality, self._config.tasks), self._least)

    def _training(self, learner: Learner) -> Figures:
        """Success of the training episodes since the last look, and how many there were."""
        every = experience(learner.state, self._config.reward, self._config.environment.id)
        new, self._trained = every[self._trained :], len(every)
        return {"training": _rate(new), "training_episodes": len(new)}


def _interval(episodes: list[Episode]) -> Figures:
    """The 95 % Wilson interval of their success."""
    return dict(zip(("mean_low", "mean_high"), wilson(sum(episode.succeeded for episode in episodes), len(episodes)), strict=True))


def _rate(episodes: list[Episode]) -> float:
    return float(np.mean([episode.succeeded for episode in episodes])) if episodes else float("nan")

"""What it costs to take recorded returns for bounds on the value where outcomes are random: `python tests/benchmarks/luck.py`.

A walk of five steps from one start, whatever the actions; at its end it is paid 1 with the probability of the table's first column, by
luck. The value of the first state is that probability times γ⁴. Printed is what SAC's critics think of it after 2,000 updates on 200
episodes, with the target as it is and held to the recorded returns, and what share of the random actions self-imitation clones; means
over three seeds.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np

from warmloop.agents import SACConfig
from warmloop.agents.base import Problem
from warmloop.agents.shared.cloning import worth_cloning
from warmloop.configs.schema import AgentChoice, build_agent
from warmloop.data.episode import Episode, make_steps
from warmloop.data.luck import mixed_outcomes
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.reward import RewardConfig, apply_reward
from warmloop.data.transition import Batch, Source, Spec, Transition, concatenate
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import run_steps

LENGTH, EPISODES, UPDATES, SEEDS = 5, 200, 2_000, 3
PROBABILITIES = (1.0, 0.9, 0.5, 0.17)
REWARD = RewardConfig(discount=0.99)
SETTINGS = SACConfig(hidden=(64, 64), ensemble=2, target_subset=2, utd=1, batch_size=128, critic_lr=1e-3, tau=0.02)


def episodes(probability: float, seed: int) -> list[Episode]:
    """Walks along five states, one-hot, that end in success by luck."""
    rng, eye = np.random.default_rng(seed), np.eye(LENGTH + 1, dtype=np.float32)
    found, last = [], np.arange(LENGTH) == LENGTH - 1
    for number in range(EPISODES):
        won = last & bool(rng.random() < probability)
        action = rng.uniform(-1, 1, (LENGTH, 2))
        steps = make_steps(eye[:-1], action, won, eye[1:], last, source=Source.SUBOPTIMAL, episode=number)
        found.append(Episode(steps, won, "luck", number))
    return found


def value(rows: Transition, seed: int, held: bool) -> float:
    """What the critics think of the first state and a recorded action, on average."""
    agent = build_agent(AgentChoice("sac", dataclasses.replace(SETTINGS, monte_carlo_target=held)), REWARD, Spec.of(rows))
    parts = LearnerParts(agent, ReplayConfig(capacity=10, alpha=0.0), MixingConfig())
    state, _ = run_steps(create(parts, seed, rows, online_capacity=1), parts, UPDATES)
    first = rows.step == 0
    q = agent.q_values(state.agent, jnp.asarray(rows.observation[first]), jnp.asarray(rows.action[first]))  # pyright: ignore[reportAttributeAccessIssue]
    return float(q.mean())


def cloned(rows: Transition, expected: np.ndarray) -> float:
    """The share of online rows, of random actions all, that self-imitation clones by the true values of their states."""
    one = np.ones(len(rows.reward), np.float32)
    fields = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
    batch = Batch(**fields, weight=one, actor_weight=one, offline=np.zeros(len(one), bool))
    config = dataclasses.replace(SETTINGS, self_imitation=True)
    return float(np.asarray(worth_cloning(config, Problem(), batch, jnp.asarray(expected[rows.step]))).mean())


def main() -> None:
    print("probability   value   critics   held to returns   random actions cloned   warned")
    for probability in PROBABILITIES:
        expected = probability * REWARD.discount ** np.arange(LENGTH - 1, -1, -1)
        free, held, share = [], [], []
        for seed in range(SEEDS):
            learnt = concatenate([apply_reward(episode, REWARD).steps for episode in episodes(probability, seed)])
            free.append(value(learnt, seed, held=False))
            held.append(value(learnt, seed, held=True))
            share.append(cloned(learnt, expected))
        recorded = episodes(probability, 0)
        rows = concatenate([episode.steps for episode in recorded])
        starts = np.stack([episode.steps.observation[0] for episode in recorded])
        warned = mixed_outcomes(starts, rows.observation.std(axis=0), np.array([episode.succeeded for episode in recorded]))
        means = [float(np.mean(part)) for part in (free, held, share)]
        said = "yes" if warned else "no"
        print(f"{probability:11.2f} {expected[0]:7.2f} {means[0]:9.2f} {means[1]:17.2f} {means[2]:23.2f}   {said:>6}", flush=True)


if __name__ == "__main__":
    main()

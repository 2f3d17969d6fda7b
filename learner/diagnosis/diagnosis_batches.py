"""What a learner draws and is pulled by, in figures: its actor's gradient by terms, which rows it draws, what its targets are made of.

Blocks are drawn as the learner's step draws them, from the state as it is, and nothing of it changes.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from ...agents.base import Metrics, Params
from ...agents.networks.bounds import factor
from ...agents.networks.networks import apply
from ...agents.sac import SAC, SACState
from ...agents.shared.cloning import worth_cloning
from ...data.replay.replay import ReplayState
from ...data.transition import Batch, PyTree, Source
from ..state import LearnerParts, LearnerState
from ..step import draw
from .diagnosis import Figures, check_diagnosed, mean_of

BLOCKS = 16
KINDS = ("offline successes", "offline failures", "random", "own successes", "own failures", "own, open")


class Drawn(NamedTuple):
    """The last minibatches of `BLOCKS` blocks, which the policy's step sees.

    Attributes:
        batch: `[n, B]`.
        gradients: of each of the policy's terms, with respect to its parameters, `[n, P]`.
        metrics: `[n]` what the policy's step logs.
        q: `[n, B]` the ensemble's mean of the drawn actions.
        backup, raised, target: `[n, B]` the targets before any bound, not below recorded returns, and as they are learnt.
        cloned: `[n, B]` bool, rows that the cloning term counts.
    """

    batch: Batch
    gradients: Metrics
    metrics: Metrics
    q: jax.Array
    backup: jax.Array
    raised: jax.Array
    target: jax.Array
    cloned: jax.Array


def drawn_blocks(state: LearnerState, parts: LearnerParts, key: jax.Array) -> Drawn:
    """What the learner would draw next, `BLOCKS` times."""
    check_diagnosed(parts)
    return _blocks(state, parts, jax.random.split(key, BLOCKS))


def actor_gradient(drawn: Drawn) -> Figures:
    """Of each term of the policy's loss: its gradient's norm; `signal`, the norm of what all blocks have in common, without noise; and the
    cosines between terms."""
    terms = {name: np.asarray(value, np.float64) for name, value in drawn.gradients.items()}
    norms = {name: float(np.linalg.norm(value, axis=1).mean()) for name, value in terms.items()}
    cosines = {f"{a}·{b}": float(_cosine(terms[a], terms[b]).mean()) for a, b in combinations(terms, 2)}
    whole = sum(norms.values())
    return {
        "norm": norms,
        "share": {name: norm / max(whole, 1e-12) for name, norm in norms.items()},
        "signal": {name: _signal(value) for name, value in terms.items()},
        "cosine": cosines,
        "logged": {name: mean_of(np.asarray(value)) for name, value in drawn.metrics.items()},
    }


def steps_by_term(agent: SAC, state: SACState, drawn: Drawn, observation: PyTree) -> Figures:
    """What a step of the policy's optimizer changes in the states of `observation` where its gradient, and so its momentum, is one term's:
    `moved`, |Δa| of the mean action; `widened`, the mean Δ of the log standard deviation. `all` is of the terms' sum."""
    found = jax.tree.map(
        np.asarray, _steps(agent, state, {name: value.mean(axis=0) for name, value in drawn.gradients.items()}, observation)
    )
    return {name: {"moved": mean_of(np.abs(mode)), "widened": mean_of(log_std)} for name, (mode, log_std) in found.items()}


def entropy(agent: SAC, state: LearnerState, drawn: Drawn) -> Figures:
    """The trained policy's entropy on drawn rows, what is asked of it, and the temperature."""
    return {
        "entropy": mean_of(np.asarray(drawn.metrics["actor/entropy"])),
        "target": agent.config.target_entropy_per_dim * agent.spec.action_dim,
        "temperature": float(factor(state.agent.log_temperature)),
    }


def rows_drawn(state: LearnerState, drawn: Drawn, least: float) -> Figures:
    """Of each kind of rows the share of what is drawn, of the critics' weight and of what is cloned; how even weights and priorities are:
    the effective sample size (Kish 1965) in shares of the rows."""
    batch, kinds = jax.tree.map(np.asarray, drawn.batch), _kinds(drawn.batch, least)
    weight, cloned, offline = batch.weight, np.asarray(drawn.cloned), batch.offline
    every = weight.sum()

    def shares(values: np.ndarray) -> dict[str, float]:
        return {name: float(values[kinds == number].sum() / max(values.sum(), 1e-12)) for number, name in enumerate(KINDS)}

    return {
        "offline": float(offline.mean()),
        "share": shares(np.ones_like(weight)),
        "weight": shares(weight) if every else {},
        "cloned": shares(cloned.astype(float)),
        "cloned_share": float(cloned.mean()),
        "weight_evenness": {"offline": _evenness(weight[offline]), "online": _evenness(weight[~offline])},
        "weight_largest": float(weight.max()),
        "priority_evenness": {name: _evenness(_priorities(getattr(state, name))) for name in ("offline", "online")},
        "quality": {"offline": mean_of(batch.quality[offline]), "online": mean_of(batch.quality[~offline])},
        "stored": {"offline": int(state.offline.size), "online": int(state.online.size)},
    }


def targets(agent: SAC, drawn: Drawn, least: float) -> Figures:
    """What the critics' targets are made of. `returns_bind` and `clip_binds` are the shares of rows that the recorded return raises and
    that the return's bounds cut; where the configuration leaves these out, they say what would be so."""
    backup, raised, target, q = (np.asarray(value) for value in (drawn.backup, drawn.raised, drawn.target, drawn.q))
    batch, kinds = drawn.batch, _kinds(drawn.batch, least)
    reward, unclipped = np.asarray(batch.reward), raised if agent.config.monte_carlo_target else backup
    low, high = agent.problem.return_low, agent.problem.return_high
    by_kind = {}
    for number, name in enumerate(KINDS):
        rows = kinds == number
        returns = np.asarray(batch.mc_return)[rows]
        values = {"q": q, "target": target, "backup": backup}
        by_kind[name] = {key: mean_of(value[rows]) for key, value in values.items()} | {"returns": mean_of(returns[np.isfinite(returns)])}
    return {
        "target": mean_of(target),
        "reward": mean_of(reward),
        "bootstrap": mean_of(backup - reward),
        "raised_by": mean_of(raised - backup),
        "returns_bind": float((raised > backup).mean()),
        "clip_binds": float(((unclipped < low) | (unclipped > high)).mean()),
        "cut_by": mean_of(np.clip(unclipped, low, high) - unclipped),
        "by_kind": by_kind,
    }


@partial(jax.jit, static_argnames="agent")
def _steps(agent: SAC, state: SACState, gradients: Metrics, observation: PyTree) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Changes `[N, A]` of the mean action and of the log standard deviation, by each of the gradients `[P]` and by their sum."""
    seen = agent.vision(state.encoder, state.normaliser, observation)
    optimizer, (_, unravel) = agent.actor_optimizer, ravel_pytree(state.actor)

    def outputs(params: Params) -> tuple[jax.Array, jax.Array]:
        mean, log_std = apply(agent.policy, params, seen)
        return jnp.tanh(mean), log_std

    def change(gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        each = unravel(gradient)
        step, _ = optimizer.update(each, optax.tree_utils.tree_set(state.actor_optimizer, mu=each), state.actor)
        return jax.tree.map(jnp.subtract, outputs(optax.apply_updates(state.actor, step)), outputs(state.actor))

    every = gradients | {"all": sum(gradients.values(), jnp.zeros(()))}
    return {name: change(gradient) for name, gradient in every.items()}


@partial(jax.jit, static_argnames="parts")
def _blocks(state: LearnerState, parts: LearnerParts, keys: jax.Array) -> Drawn:
    """Leaves `[n, ...]` for `keys` `[n]`."""
    agent = check_diagnosed(parts)
    raising = dataclasses.replace(agent, config=dataclasses.replace(agent.config, monte_carlo_target=True, clip_target=False))

    def one(key: jax.Array) -> Drawn:
        draw_key, actor_key, target_key = jax.random.split(key, 3)
        _, block = draw(state.replace(key=draw_key), parts)
        learnt = agent.as_learnt(state.agent, block.batch)
        rows, batch = agent.actor_rows(learnt), jax.tree.map(lambda leaf: leaf[-1], learnt)
        terms = partial(agent.actor_terms, state=state.agent, batch=rows, key=actor_key)
        gradients, metrics = jax.jacrev(terms, has_aux=True)(state.agent.actor)
        trained = agent.actor_params(state.agent).replace(params=state.agent.actor)
        action, _ = agent.act(trained, batch.observation, actor_key, ())
        value = agent.q_values(state.agent, batch.observation, action).mean(axis=0)
        q = agent.q_values(state.agent, batch.observation, batch.action).mean(axis=0)
        backup = agent.backup(state.agent, batch, target_key)
        raised, target = raising.bound(backup, batch), agent.bound(backup, batch)
        flat = {name: ravel_pytree(gradient)[0] for name, gradient in gradients.items()}
        return Drawn(batch, flat, metrics, q, backup, raised, target, worth_cloning(agent.config, agent.problem, batch, value))

    return jax.lax.map(one, keys)


def _kinds(batch: Batch, least: float) -> np.ndarray:
    """Which of `KINDS` each row is of."""
    offline, paid, known = np.asarray(batch.offline), np.asarray(batch.mc_return) > least + 1e-6, np.isfinite(batch.mc_return)
    kinds = np.where(offline, np.where(paid, 0, 1), np.where(paid, 3, np.where(known, 4, 5)))
    return np.where(offline & (np.asarray(batch.source) == Source.RANDOM), 2, kinds)


def _priorities(pool: ReplayState) -> np.ndarray:
    return np.asarray(pool.tree.leaves[: int(pool.size)])


def _evenness(weights: np.ndarray) -> float:
    """(Σw)² / (n Σw²): 1 where all are alike, 1/n where one has everything; NaN of none."""
    weights = np.asarray(weights, np.float64)
    return float(weights.sum() ** 2 / max(len(weights) * np.square(weights).sum(), 1e-300)) if weights.size else float("nan")


def _signal(vectors: np.ndarray) -> float:
    """The norm of the expectation of vectors `[n, P]`: what their mean's has of the noise is taken off, |ḡ|² − s²/n."""
    count, square = len(vectors), np.square(vectors).sum(axis=1).mean()
    return float(np.sqrt(max((count * np.square(vectors.mean(axis=0)).sum() - square) / (count - 1), 0.0)))


def _cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of `[n, P]` each: `[n]`."""
    return (first * second).sum(axis=1) / np.maximum(np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1), 1e-30)

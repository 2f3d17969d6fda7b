"""Planning by the cross-entropy method, in a model or in anything else that values sequences of actions.

    z ~ N(0, 1) within ±2, white, or of a power spectrum 1 / f^β;   a_n = μ + σ' z_n,  σ' = min(σ, (μ + 1) / 2, (1 − μ) / 2)
    μ ← m μ + (1 − m) mean of the elites,   σ² ← m σ² + (1 − m) variance of the elites        I times

A sequence whose value is not finite is the worst of all, and never among the elites; where none is finite the plan stays. Of iCEM there
are the coloured noise and the elites that stay from one iteration to the next. Its population does not shrink: sizes are fixed in a
program. Sources: CEM as in PETS (Chua et al. 2018), iCEM (Pinneri et al. 2020), coloured noise (Timmer and König 1995).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from ....data.errors import WarmloopError
from ...shared.agent_settings import Settings, setting

WIDEST = 2.0  # deviations, of a sample from the mean
INITIAL_DEVIATION = 0.5  # a quarter of the range of actions, −1 to 1


@dataclasses.dataclass(frozen=True)
class PlanSettings(Settings):
    """Settings of planning."""

    plan_horizon: int = setting(15, "H, actions of a plan", least=1)
    plan_samples: int = setting(150, "sequences of actions that an iteration values", least=2)
    plan_elites: int = setting(15, "of these the best, which the next iteration follows", least=2)
    plan_iterations: int = setting(4, "I, iterations for each action", least=1)
    plan_momentum: float = setting(0.1, "m, how much of the old mean and variance an iteration keeps", least=0, below=1)
    plan_colour: float = setting(0.0, "β of the noise's spectrum 1 / f^β: 0 is white (CEM), 2 to 3 are smooth sequences (iCEM)", least=0)
    plan_kept: float = setting(0.0, "share of the elites that stay among the next iteration's samples; iCEM has 0.3", least=0, most=1)

    def __post_init__(self):
        super().__post_init__()
        if self.plan_elites > self.plan_samples:
            raise WarmloopError(f"agent.plan_elites is {self.plan_elites}; it must be at most agent.plan_samples ({self.plan_samples}).")


class Plan(struct.PyTreeNode):
    """The mean of the last plan, moved on by the action that was done, `[H, A]`: the carry of an agent that plans anew at every step."""

    mean: jax.Array


def begun(carry: Any, horizon: int, action_dim: int) -> jax.Array:
    """The mean `[H, A]` from which planning begins: the carry's, or zeros where there is none."""
    return carry.mean if isinstance(carry, Plan) else jnp.zeros((horizon, action_dim))


def moved_on(mean: jax.Array) -> Plan:
    """What is left of a plan `[H, A]` once its first action is done; its end is 0."""
    return Plan(jnp.concatenate([mean[1:], jnp.zeros_like(mean[:1])]))


def search(
    value: Callable[[jax.Array, jax.Array], jax.Array], mean: jax.Array, key: jax.Array, config: PlanSettings
) -> tuple[jax.Array, jax.Array]:
    """The mean and the variance `[H, A]` after the iterations.

    Args:
        value: of sequences `[N, H, A]`, by a key, `[N]`; the more the better.
        mean: `[H, A]`, where it begins.
    """
    colours = jnp.asarray(colouring(mean.shape[0], config.plan_colour))
    count = math.floor(config.plan_kept * config.plan_elites)

    def iterate(carry: tuple[jax.Array, jax.Array, jax.Array], key: jax.Array) -> tuple[tuple[jax.Array, jax.Array, jax.Array], None]:
        mean, variance, kept = carry
        noise_key, value_key = jax.random.split(key)
        noise = jax.random.truncated_normal(noise_key, -WIDEST, WIDEST, (config.plan_samples, *mean.shape))
        noise = jnp.clip(jnp.einsum("hk,nka->nha", colours, noise), -WIDEST, WIDEST)
        room = jnp.minimum(mean + 1.0, 1.0 - mean) / WIDEST
        samples = mean[None] + jnp.minimum(jnp.sqrt(variance), room)[None] * noise
        samples = samples.at[:count].set(kept)
        values = value(samples, value_key)
        values = jnp.where(jnp.isfinite(values), values, -jnp.inf)
        best, place = jax.lax.top_k(values, config.plan_elites)
        elites, finite = samples[place], jnp.isfinite(best)
        share = (finite / jnp.maximum(finite.sum(), 1))[:, None, None]
        centre = (share * elites).sum(axis=0)
        spread = (share * jnp.square(elites - centre[None])).sum(axis=0)
        old = jnp.where(finite.any(), config.plan_momentum, 1.0)
        return (old * mean + (1 - old) * centre, old * variance + (1 - old) * spread, elites[:count]), None

    begin = mean, jnp.full_like(mean, INITIAL_DEVIATION**2), jnp.broadcast_to(mean, (count, *mean.shape))
    (mean, variance, _), _ = jax.lax.scan(iterate, begin, jax.random.split(key, config.plan_iterations))
    return mean, variance


def colouring(length: int, exponent: float) -> np.ndarray:
    """The matrix `[H, H]` that makes white noise along H steps one of spectrum 1 / f^exponent, each step of variance 1."""
    steps = np.arange(length)
    frequency = np.maximum(np.minimum(steps, length - steps), 1) / length
    power = frequency**-exponent
    power *= length / power.sum()
    turns = np.cos(2 * np.pi * np.outer(steps, steps) / length)
    row = (np.sqrt(power)[:, None] * turns).sum(axis=0) / length
    return row[(steps[:, None] - steps[None]) % length].astype(np.float32)

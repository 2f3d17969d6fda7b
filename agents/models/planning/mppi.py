"""Model-predictive path integral: a plan by repeated sampling about a mean, weighted by value.

    a^n  = clip(μ + σ ε^n),  or one of the policy's own proposals            n ≤ N sequences of H actions
    w^n  = exp(τ (V(a^n) − max V)) / Σ,  over the best `elites` of them
    μ    = Σ w^n a^n,   σ = clip(sqrt(Σ w^n (a^n − μ)²))                     repeated

A sequence whose value is not finite has no weight: a model that diverged must not look like a good one. Source: Williams et al. 2015; with
a policy's proposals as TD-MPC has it (Hansen et al. 2022).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from ....data.errors import WarmloopError
from ...shared.agent_settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class MPPISettings(Settings):
    """Settings of the planner."""

    horizon: int = setting(3, "H, steps that the model is learnt and planned over", least=1)
    iterations: int = setting(6, "rounds of sampling a plan; 2 more where actions have 20 dimensions or more", least=1)
    population: int = setting(512, "N, sequences of actions that are compared in a round, the policy's among them", least=1)
    proposals: int = setting(24, "sequences of the population that the policy proposes", least=0)
    elites: int = setting(64, "the best of the population, of which the next mean and deviation are", least=1)
    plan_std_min: float = setting(0.05, "least deviation of sampled actions", above=0)
    plan_std_max: float = setting(2.0, "greatest deviation of sampled actions, and the one that sampling begins with", above=0)
    plan_temperature: float = setting(0.5, "τ, by which elites of more value weigh more", least=0)

    def __post_init__(self):
        super().__post_init__()
        for name in ("proposals", "elites"):
            if getattr(self, name) > self.population:
                raise WarmloopError(f"agent.{name} is {getattr(self, name)}; it must be at most agent.population ({self.population}).")
        if self.plan_std_min > self.plan_std_max:
            raise WarmloopError(f"agent.plan_std_min is {self.plan_std_min}; it must be at most agent.plan_std_max ({self.plan_std_max}).")

    def rounds(self, action_dim: int) -> int:
        """Rounds of sampling for actions of so many dimensions."""
        return self.iterations + 2 * (action_dim >= 20)


class Sampled(struct.PyTreeNode):
    """What the last round of a plan leaves: `mean` and `std` `[H, A]`, and its sequences `[N, H, A]` with their weights `[N]`, which sum
    to 1."""

    mean: jax.Array
    std: jax.Array
    actions: jax.Array
    weight: jax.Array


def shifted(mean: jax.Array) -> jax.Array:
    """The plan `[H, A]` one step later: its last action is 0."""
    return jnp.concatenate([mean[1:], jnp.zeros_like(mean[:1])])


def draws(key: jax.Array, config: MPPISettings, action_dim: int) -> jax.Array:
    """The noise of a plan, `[rounds, N − proposals, H, A]`."""
    return jax.random.normal(key, (config.rounds(action_dim), config.population - config.proposals, config.horizon, action_dim))


def plan(value: Callable[[jax.Array], jax.Array], proposals: jax.Array, mean: jax.Array, noise: jax.Array, config: MPPISettings) -> Sampled:
    """The plan after as many rounds as `noise` has.

    Args:
        value: V `[N]` of sequences of actions `[N, H, A]`.
        proposals: `[P, H, A]`, compared in every round.
        mean: `[H, A]`, about which the first round samples.
        noise: `[rounds, N − P, H, A]`, standard normal (`draws`).
    """

    def improved(before: Sampled, noise: jax.Array) -> tuple[Sampled, None]:
        drawn = jnp.clip(before.mean[None] + before.std[None] * noise, -1.0, 1.0)
        actions = jnp.concatenate([proposals, drawn])
        weight = elite_weights(value(actions), config.elites, config.plan_temperature)
        mean = jnp.tensordot(weight, actions, 1)
        variance = jnp.tensordot(weight, jnp.square(actions - mean[None]), 1)
        return Sampled(mean, jnp.clip(jnp.sqrt(variance), config.plan_std_min, config.plan_std_max), actions, weight), None

    count = proposals.shape[0] + noise.shape[1]
    start = Sampled(mean, jnp.full_like(mean, config.plan_std_max), jnp.zeros((count, *mean.shape)), jnp.zeros(count))
    return jax.lax.scan(improved, start, noise)[0]


def elite_weights(value: jax.Array, elites: int, temperature: float) -> jax.Array:
    """Weights `[N]` that sum to 1, of values `[N]`: 0 but for the best `elites`, and for all that tie with the last of them; the same for
    all where no value is finite."""
    value = jnp.where(jnp.isfinite(value), value, -jnp.inf)
    least = jax.lax.top_k(value, elites)[0][-1]
    best = value.max()
    known = jnp.isfinite(value) & (value >= least)
    raw = jnp.where(known, jnp.exp(temperature * (value - jnp.where(jnp.isfinite(best), best, 0.0))), 0.0)
    total = raw.sum()
    return jnp.where(total > 0, raw / jnp.maximum(total, 1.0), 1.0 / value.shape[0])


def sampled_action(sampled: Sampled, key: jax.Array) -> jax.Array:
    """The first action `[A]` of a sequence drawn by its weight, with the plan's own noise."""
    which_key, noise_key = jax.random.split(key)
    chosen = sampled.actions[jax.random.categorical(which_key, jnp.log(sampled.weight)), 0]
    return jnp.clip(chosen + sampled.std[0] * jax.random.normal(noise_key, chosen.shape), -1.0, 1.0)

"""Planning in a latent model: what a sequence of actions is worth, and what the policy proposes.

    V(a) = Σ_{t<H} γ^t alive_t (R(z_t, a_t) − λ std_i Q_i(z_t, a_t)) + γ^H alive_H mean_i Q_i(z_H, π(z_H)),  z_{t+1} = d(z_t, a_t)

alive is 1 until the model predicts that the episode is over. π(z_H) is the policy's mode, and the mean is over all critics, so that one
sequence has one value. Sources: TD-MPC2 (Hansen et al. 2024); λ as FOWM (Feng et al. 2023).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ....data.transition import PyTree
from ...base import Params
from ..planning import mppi
from .latent import LatentModel


@dataclasses.dataclass(frozen=True)
class LatentPlanner:
    """A planner with the settings of `MPPISettings`, and λ. `params` are a `LatentModel`'s; `policy` are the policy's."""

    config: Any
    model: LatentModel
    discount: float
    uncertainty_weight: float

    def __call__(self, params: dict[str, Params], policy: Params, z: jax.Array, key: jax.Array, carry: PyTree) -> mppi.Sampled:
        """The plan from the latent state `[Z]`: about the mean `[H, A]` of the plan before it, `carry`, one step later; about 0 where that
        is ()."""
        c, size = self.config, self.model.action_dim
        noise_key, proposal_key = jax.random.split(key)
        mean = jnp.zeros((c.horizon, size)) if isinstance(carry, tuple) else mppi.shifted(carry)
        proposals = self.proposals(params, policy, z, jax.random.normal(proposal_key, (c.horizon, c.proposals, size)))
        return mppi.plan(lambda actions: self.value(params, policy, z, actions), proposals, mean, mppi.draws(noise_key, c, size), c)

    def proposals(self, params: dict[str, Params], policy: Params, z: jax.Array, noise: jax.Array) -> jax.Array:
        """What the policy does in the model from z `[Z]` by noise `[H, P, A]`: `[P, H, A]`."""

        def move(z: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
            mean, log_std = self.model.policy(policy, z)
            action = jnp.tanh(mean + jnp.exp(log_std) * noise)
            return self.model.step(params, z, action), action

        start = jnp.broadcast_to(z, (noise.shape[1], *z.shape))
        return jax.lax.scan(move, start, noise)[1].swapaxes(0, 1)

    def value(self, params: dict[str, Params], policy: Params, z: jax.Array, actions: jax.Array) -> jax.Array:
        """V `[N]` of sequences `[N, H, A]` from z `[Z]`."""
        net, count = self.model, actions.shape[0]

        def move(carry: tuple[jax.Array, ...], action: jax.Array) -> tuple[tuple[jax.Array, ...], None]:
            z, total, factor = carry  # factor: γ^t alive_t
            gain = net.code.decode(net.reward(params, z, action))
            if self.uncertainty_weight:
                gain -= self.uncertainty_weight * net.values(params["critic"], z, action).std(axis=0)
            z, total = net.step(params, z, action), total + factor * gain
            factor = self.discount * factor
            return (z, total, jnp.where(net.end(params, z) > 0, 0.0, factor) if "end" in params else factor), None

        start = jnp.broadcast_to(z, (count, *z.shape)), jnp.zeros(count), jnp.ones(count)
        (z, total, factor), _ = jax.lax.scan(move, start, actions.swapaxes(0, 1))
        return total + factor * net.values(params["critic"], z, jnp.tanh(net.policy(policy, z)[0])).mean(axis=0)

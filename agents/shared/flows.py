"""A flow of actions, learnt by flow matching: from noise z to what was done, through a field of velocities.

    x_τ  = (1 − τ) z + τ a,  τ ~ U[0, 1],  z ~ N(0, I)
    L    = mean w_π mean valid (v(s, x_τ, τ) − (a − z))²
    φ(z) = clip(x after F Euler steps of v from z, ±1)

It keeps several ways of doing a thing apart, where a Gaussian's mean lies between them. It has no mode: acting without chance means the
same noise at every call. Source: Lipman et al. 2023; as FQL and Q-chunking have it (Park et al. 2025, Li et al. 2025).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ...data.errors import WarmloopError
from ..base import Params
from ..networks.networks import MLP, apply, initialise
from .agent_settings import AgentSettings, setting


@dataclasses.dataclass(frozen=True)
class FlowSettings(AgentSettings):
    """Settings of a flow of action chunks."""

    activation: str = "jax.nn:gelu"
    horizon: int = setting(5, "h, actions of a chunk; 1 is a single action", least=1)
    execute: int = setting(0, "of a chunk's actions those that are done before the next one is planned; 0 is all of them", least=0)
    flow_steps: int = setting(10, "F, Euler steps from noise to an action", least=1)

    def __post_init__(self):
        super().__post_init__()
        if self.execute > self.horizon:
            raise WarmloopError(f"agent.execute is {self.execute}; it must be at most agent.horizon ({self.horizon}); 0 is all of them.")
        if self.actor_network:
            raise WarmloopError("agent.actor_network replaces the hidden layers of a policy, and a flow has its own; leave it out.")

    @property
    def executed(self) -> int:
        """Actions that are done of a chunk."""
        return self.execute or self.horizon


@dataclasses.dataclass(frozen=True)
class Flow:
    """The flow of chunks of `size` numbers that the settings want."""

    config: FlowSettings
    size: int

    @property
    def module(self) -> MLP:
        """`[s, x, τ]` to a velocity."""
        c = self.config
        return MLP(self.size, c.actor_widths, c.actor_layer_norm, c.activation, c.actor_dropout)

    def init(self, key: jax.Array, seen: int) -> Params:
        return initialise(self.module, key, jnp.zeros((1, seen + self.size + 1)))

    def velocity(self, params: Params, seen: jax.Array, x: jax.Array, time: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
        """v `[..., S]` at x `[..., S]` and τ `[..., 1]`, for what is seen, `[..., D]`."""
        return apply(self.module, params, jnp.concatenate([seen, x, time], axis=-1), dropout=dropout)

    def distance(self, params: Params, seen: jax.Array, action: jax.Array, key: jax.Array) -> jax.Array:
        """(v − (a − z))² `[B, S]` of recorded chunks `[B, S]`."""
        noise_key, time_key, dropout_key = jax.random.split(key, 3)
        noise = jax.random.normal(noise_key, action.shape)
        time = jax.random.uniform(time_key, (*action.shape[:-1], 1))
        found = self.velocity(params, seen, (1.0 - time) * noise + time * action, time, dropout_key)
        return jnp.square(found - (action - noise))

    def sample(self, params: Params, seen: jax.Array, noise: jax.Array) -> jax.Array:
        """φ `[..., S]` of noise `[..., S]`."""
        steps = self.config.flow_steps

        def move(x: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
            time = jnp.broadcast_to(number / steps, (*x.shape[:-1], 1))
            return x + self.velocity(params, seen, x, time) / steps, None

        return jnp.clip(jax.lax.scan(move, noise, jnp.arange(steps, dtype=jnp.float32))[0], -1.0, 1.0)

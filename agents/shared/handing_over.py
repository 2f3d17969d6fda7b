"""What one algorithm hands over to another: a policy of the form that SAC has, with the same mode, and critics with their optimizer."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from ...data.errors import WarmloopError
from ..base import Params, WarmStart
from ..networks.bounds import bounded
from .agent_settings import ScaledRewardSettings


def warm_start(config: ScaledRewardSettings, state: Any, policy: Params) -> WarmStart:
    """What an algorithm with critics hands over: `policy`, the parameters of a `networks.Policy`, and the critics of its state.

    Raises:
        WarmloopError: the critics value scaled rewards, which another algorithm would not see.
    """
    if config.normalise_rewards or config.return_span:
        raise WarmloopError(
            "The critics were warmed up on normalised rewards and do not fit another algorithm's: "
            "warm up with warmup_agent.normalise_rewards=False and warmup_agent.return_span=0.0, or go on with the same algorithm."
        )
    moments = (state.critic_optimizer[0], optax.EmptyState())  # plain Adam's, with which SAC's critics go on
    return WarmStart(policy, state.critic, state.target_critic, moments, state.normaliser, state.key, state.updates)


def gaussian_of_deterministic(policy: Params, deviation: float | jax.Array) -> Params:
    """Parameters of a `networks.Policy` from a `DeterministicPolicy`'s: its action, and a constant deviation before the tanh."""
    layers = dict(policy["params"])
    head = layers.pop("mean")
    kernel = jnp.concatenate([head["kernel"], jnp.zeros_like(head["kernel"])], axis=-1)
    bias = jnp.concatenate([head["bias"], jnp.full_like(head["bias"], jnp.log(deviation))])
    return {"params": layers | {"gaussian": {"kernel": kernel, "bias": bias}}}


def squashed(actor: Any, log_std_min: float, log_std_max: float) -> Any:
    """Parameters of the `networks.Policy` whose mode is the mean of a `gaussian.GaussianPolicy`, exactly, in every state.

    Its deviation is that one's before the tanh: the same to first order where the mean is 0, narrower towards ±1.
    """
    layers = dict(actor["params"])
    deviation = jnp.exp(bounded(layers.pop("log_std"), log_std_min, log_std_max))
    return gaussian_of_deterministic({"params": layers}, deviation)

"""The networks: a tanh-squashed Gaussian policy, a deterministic one, and an ensemble of critics laid out as batched matrix products.

The ensemble's kernels are `[E, in, out]` and its input is broadcast, so that ten critics are one batched product per
layer and XLA keeps both cores (or the tensor units) busy.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from ...data.doors.door import Door
from ...data.errors import WarmloopError
from .bins import Bins
from .bounds import bounded


def mish(x: jax.Array) -> jax.Array:
    """x tanh(softplus(x)), with one exponential where `jax.nn.mish` takes three such functions: a third of the time."""
    e = jnp.exp(jnp.minimum(x, 20.0))  # beyond it the factor is 1
    n = e * (e + 2.0)
    return x * (n / (n + 2.0))


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "tanh": nn.tanh,
    "swish": nn.swish,
    "elu": nn.elu,
    "mish": mish,
}
ACTIVATION = Door("a function", "a function of an array", tuple(ACTIVATIONS))
NETWORK = Door("a network", "a flax.linen.Module class that is made without arguments")
LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
HIDDEN_INIT = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=-2, out_axis=-1, batch_axis=())
ENSEMBLE_INIT = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=-2, out_axis=-1, batch_axis=(0,))
# Values start near zero, so that an untrained critic thinks little of what it has not seen.
VALUE_INIT = nn.initializers.variance_scaling(1e-4, "fan_avg", "uniform", in_axis=-2, out_axis=-1, batch_axis=(0,))
VALUES_INIT = nn.initializers.variance_scaling(1e-4, "fan_avg", "uniform")  # the same without an ensemble
HEAD_INIT = nn.initializers.variance_scaling(1e-2, "fan_avg", "uniform")
# Recorded actions are held within it: at ±1 no u has tanh(u) = a, and close to it a few clipped actions outweigh all others.
EDGE = 1.0 - 1e-3


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
    """The activation function called `name`, one of ACTIVATIONS or MODULE:NAME, such as jax.nn:gelu."""
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]
    ACTIVATION.check(name, "agent.activation")
    found: Callable[[jax.Array], jax.Array] = ACTIVATION.open(name, "agent.activation")
    if inspect.isclass(found) or not callable(found):
        raise ACTIVATION.refused(name, "agent.activation", found)
    return found


def own_network(door: Door, text: str, where: str, x: jax.Array, name: str) -> jax.Array:
    """What a user's network MODULE:NAME makes of `x` `[..., X]`: `[..., F]`; called while another module is applied, whose part `name`
    it is. Raises WarmloopError where it is no network, fails, or gives other rows."""
    found = door.open(text, where)
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise door.refused(text, where, found)
    made = door.call(text, where, f"called with an array {list(x.shape)}", lambda: found(name=name)(x))
    shape = getattr(made, "shape", None)
    if shape is None or len(shape) < 2 or shape[0] != x.shape[0]:
        given = type(made).__name__ if shape is None else list(shape)
        raise WarmloopError(f"{where}={text} gave {given} for an array {list(x.shape)}; it must keep the rows, and give [rows, …].")
    return made


class Critic(nn.Module):
    """An ensemble of Q functions; Dense → LayerNorm → activation on every hidden layer.

    `observation [B, D]` with `action [B, A]` gives `[E, B]`. With `action [B, N, A]`, `[E, B, N]`: the observation's part of
    the first layer is then computed once for all N actions. Dropout, after each activation, only where `apply` gives a key for it.
    With `bins` it gives the logits of their n bins, `[E, B, n]` or `[E, B, N, n]`.
    """

    ensemble: int
    hidden: tuple[int, ...] = (256, 256)
    layer_norm: bool = True
    activation: str = "relu"
    dropout: float = 0.0
    bins: Bins | None = None

    @nn.compact
    def __call__(self, observation: jax.Array, action: jax.Array) -> jax.Array:
        act, size = activation(self.activation), observation.shape[-1]
        x = jnp.concatenate([observation, action], -1) if action.ndim == observation.ndim else None
        rows = action.shape[:-1]
        h = jnp.zeros(())
        for i, width in enumerate(self.hidden):
            inputs = h.shape[-1] if i else size + action.shape[-1]
            kernel = self.param(f"kernel_{i}", ENSEMBLE_INIT, (self.ensemble, inputs, width))
            bias = self.param(f"bias_{i}", nn.initializers.zeros, (self.ensemble, width))[:, None]
            if i:
                h = h @ kernel + bias  # [E, rows, width]
            elif x is not None:
                h = _broadcast(x, self.ensemble) @ kernel + bias  # [E, B, width]
            else:
                once = _broadcast(observation, self.ensemble) @ kernel[:, :size] + bias  # [E, B, width]
                each = _broadcast(action.reshape(-1, action.shape[-1]), self.ensemble) @ kernel[:, size:]
                h = (each.reshape(self.ensemble, *rows, width) + once[:, :, None]).reshape(self.ensemble, -1, width)
            h = act(self._norm(h, i) if self.layer_norm else h)
            h = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(h)
        if self.bins is not None:
            return self._histogram(h, self.bins).reshape(self.ensemble, *rows, -1)
        kernel = self.param("kernel_value", VALUE_INIT, (self.ensemble, self.hidden[-1], 1))
        bias = self.param("bias_value", nn.initializers.zeros, (self.ensemble, 1))
        return ((h @ kernel)[..., 0] + bias).reshape(self.ensemble, *rows)

    def _histogram(self, h: jax.Array, bins: Bins) -> jax.Array:
        """Logits `[E, rows, n]`."""
        kernel = self.param("kernel_bins", VALUE_INIT, (self.ensemble, h.shape[-1], len(bins.centres)))
        bias = self.param("bias_bins", lambda _, shape: jnp.broadcast_to(bins.untrained(), shape), (self.ensemble, len(bins.centres)))
        return h @ kernel + bias[:, None]

    def _norm(self, h: jax.Array, layer: int) -> jax.Array:
        shape = (self.ensemble, h.shape[-1])
        scale = self.param(f"norm_scale_{layer}", nn.initializers.ones, shape)[:, None]
        bias = self.param(f"norm_bias_{layer}", nn.initializers.zeros, shape)[:, None]
        centred = h - h.mean(axis=-1, keepdims=True)
        variance = jnp.square(centred).mean(axis=-1, keepdims=True)
        return centred * jax.lax.rsqrt(variance + 1e-6) * scale + bias


class Policy(nn.Module):
    """A Gaussian before the tanh: `observation [..., D]` gives mean and log standard deviation, `[..., A]` each."""

    action_dim: int
    hidden: tuple[int, ...] = (256, 256)
    layer_norm: bool = False
    activation: str = "relu"
    dropout: float = 0.0
    log_std_min: float = LOG_STD_MIN
    log_std_max: float = LOG_STD_MAX
    initial_log_std: float = 0.0
    network: str = ""

    @nn.compact
    def __call__(self, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = hidden_layers(self, observation)
        bias = nn.initializers.constant(np.repeat([0.0, self.initial_log_std], self.action_dim))
        # One head of both: two thin matrix products cost nearly twice as much.
        head = nn.Dense(2 * self.action_dim, kernel_init=HEAD_INIT, bias_init=bias, name="gaussian")
        mean, log_std = jnp.split(head(h), 2, axis=-1)
        return mean, bounded(log_std, self.log_std_min, self.log_std_max)


class DeterministicPolicy(nn.Module):
    """`observation [..., D]` gives the action `[..., A]`, in (-1, 1) by a tanh. Its layers are `Policy`'s but for the head."""

    action_dim: int
    hidden: tuple[int, ...] = (256, 256)
    layer_norm: bool = False
    activation: str = "relu"
    dropout: float = 0.0
    network: str = ""

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        return jnp.tanh(nn.Dense(self.action_dim, kernel_init=HEAD_INIT, name="mean")(hidden_layers(self, observation)))


class MLP(nn.Module):
    """Hidden layers and a linear one: `[..., X]` gives `[..., outputs]`."""

    outputs: int
    hidden: tuple[int, ...] = (256, 256)
    layer_norm: bool = False
    activation: str = "relu"
    dropout: float = 0.0
    output_init: Callable[..., Any] = HIDDEN_INIT

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(self.outputs, kernel_init=self.output_init, name="output")(hidden_layers(self, x))


def hidden_layers(policy: Any, x: jax.Array) -> jax.Array:
    """The hidden layers of a policy's module, called while it is applied: Dense → LayerNorm → activation → dropout; or the user's network
    in their place."""
    if getattr(policy, "network", ""):
        flat = x.reshape(-1, x.shape[-1])
        made = own_network(NETWORK, policy.network, "agent.actor_network", flat, "network")
        return made.reshape(*x.shape[:-1], made.shape[-1])
    act = activation(policy.activation)
    for i, width in enumerate(policy.hidden):
        x = nn.Dense(width, kernel_init=HIDDEN_INIT, name=f"hidden_{i}")(x)
        x = act(nn.LayerNorm(name=f"norm_{i}")(x) if policy.layer_norm else x)
        x = nn.Dropout(policy.dropout, deterministic=not policy.has_rng("dropout"))(x)
    return x


@partial(jax.jit, static_argnums=0)
def initialise(module: nn.Module, key: jax.Array, *inputs: Any) -> Any:
    """`module.init` as one program: as a call for each layer's shapes, start-up took seconds."""
    return module.init(key, *inputs)


def apply(module: nn.Module, params: Any, *inputs: jax.Array, dropout: jax.Array | None = None) -> Any:
    """`module.apply` without mutable collections: its outputs alone. With a key in `dropout`, units are dropped."""
    return module.apply(params, *inputs, rngs=None if dropout is None else {"dropout": dropout})


def sample_action(key: jax.Array, mean: jax.Array, log_std: jax.Array, count: int | None = None) -> tuple[jax.Array, jax.Array]:
    """Reparameterised actions and their log density: `[..., A]` and `[...]`, or `[..., count, A]` and `[..., count]`.

    The log-determinant of tanh is `Σ 2 (log 2 − u − softplus(−2u))`, stable for large |u| (SAC, Haarnoja et al. 2018, app. C).
    """
    if count is not None:
        mean, log_std = mean[..., None, :], log_std[..., None, :]
    shape = mean.shape if count is None else (*mean.shape[:-2], count, mean.shape[-1])
    noise = jax.random.normal(key, shape)
    u = mean + jnp.exp(log_std) * noise
    return jnp.tanh(u), _squashed(u, noise, log_std)


def log_density(action: jax.Array, mean: jax.Array, log_std: jax.Array) -> jax.Array:
    """log density `[...]` of recorded actions `[..., A]` under the squashed Gaussian; beyond ±0.999 they count as ±0.999."""
    u = jnp.arctanh(jnp.clip(action, -EDGE, EDGE))
    return _squashed(u, (u - mean) * jnp.exp(-log_std), log_std)


def _squashed(u: jax.Array, noise: jax.Array, log_std: jax.Array) -> jax.Array:
    gaussian = -0.5 * jnp.square(noise) - log_std - 0.5 * jnp.log(2 * jnp.pi)
    log_det = 2.0 * (jnp.log(2.0) - u - nn.softplus(-2.0 * u))
    return (gaussian - log_det).sum(axis=-1)


def _broadcast(x: jax.Array, ensemble: int) -> jax.Array:
    return jnp.broadcast_to(x, (ensemble, *x.shape))

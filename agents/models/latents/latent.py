"""A latent model: encoder, dynamics, reward, ends, critics and a policy, all of latent states that lie in simplices.

    z  = h(o)    z' = d(z, a)    R(z, a), Q_i(z, a): logits of two-hot bins    T(z): logit that the episode is over    π(·|z)

Hidden layers are Dense → LayerNorm → activation. h and d end in SimNorm: each group of `simplex` numbers is a softmax, which keeps a long
roll-out bounded. The last layers of R and Q begin at 0. Source: TD-MPC2 (Hansen et al. 2024), at nicklashansen/tdmpc2 e9f5932.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from ....data.errors import WarmloopError
from ....data.transition import PyTree
from ...base import Params
from ...networks.networks import activation, apply, initialise
from ...networks.normaliser import Normaliser
from ...networks.vision import Vision
from ...shared.agent_settings import Settings, setting
from .two_hot import TwoHot

INIT = nn.initializers.normal(0.02)
ZERO = nn.initializers.zeros


@dataclasses.dataclass(frozen=True)
class LatentSettings(Settings):
    """Settings of the model's networks; their defaults have five million parameters."""

    hidden: tuple[int, ...] = setting((512, 512), "widths of the hidden layers of dynamics, rewards, critics and policy", least=1)
    activation: str = setting("mish", "of the hidden layers: relu, tanh, swish, elu, mish or MODULE:NAME, such as jax.nn:gelu")
    encoder_hidden: tuple[int, ...] = setting((256,), "widths of the encoder's hidden layers", least=1)
    latent_dim: int = setting(512, "numbers of a latent state", least=2)
    simplex: int = setting(8, "numbers of a group of them, whose sum is 1", least=2)
    ensemble: int = setting(5, "E, number of critics", least=1)
    critic_dropout: float = setting(0.01, "share of the units of the critics' first layer that are dropped in their loss", least=0, below=1)
    bins: int = setting(101, "bins of rewards and values, over symmetric logarithms", least=3)
    bin_limit: float = setting(10.0, "symmetric logarithm of the greatest reward or value", above=0)
    predict_end: bool = setting(True, "a head that tells where an episode is over, for plans; turn it off where none ever is")
    log_std_min: float = setting(-10.0, "least log standard deviation of the policy before the tanh")
    log_std_max: float = setting(2.0, "greatest log standard deviation of the policy before the tanh")

    def __post_init__(self):
        super().__post_init__()
        if self.latent_dim % self.simplex:
            raise WarmloopError(f"agent.latent_dim is {self.latent_dim}; it must be a multiple of agent.simplex ({self.simplex}).")
        if not self.log_std_min < self.log_std_max:
            raise WarmloopError(f"agent.log_std_min is {self.log_std_min}; it must be below agent.log_std_max ({self.log_std_max}).")


def sim_norm(x: jax.Array, group: int) -> jax.Array:
    """Softmax within each group of numbers of the last axis."""
    return jax.nn.softmax(x.reshape(*x.shape[:-1], x.shape[-1] // group, group), axis=-1).reshape(x.shape)


class NormedMLP(nn.Module):
    """`[..., X]` to `[..., outputs]`; with `simplex` above 0 the outputs are normalised to simplices of so many numbers."""

    outputs: int
    hidden: tuple[int, ...]
    activation: str
    simplex: int = 0
    dropout: float = 0.0
    output_init: Callable[..., Any] = INIT

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        act = activation(self.activation)
        for i, width in enumerate(self.hidden):
            x = nn.Dense(width, kernel_init=INIT, name=f"hidden_{i}")(x)
            if i == 0:
                x = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(x)
            x = act(nn.LayerNorm(epsilon=1e-5, name=f"norm_{i}")(x))
        x = nn.Dense(self.outputs, kernel_init=self.output_init, name="output")(x)
        return sim_norm(nn.LayerNorm(epsilon=1e-5, name="output_norm")(x), self.simplex) if self.simplex else x


@dataclasses.dataclass(frozen=True)
class LatentModel:
    """The model's functions. `params` is a dict of `vision` (empty without cameras), `encoder`, `dynamics`, `reward`, `critic` with leaves
    `[E, ...]` and, with `predict_end`, `end`; the policy's are apart."""

    config: LatentSettings
    vision: Vision
    action_dim: int

    @property
    def code(self) -> TwoHot:
        """How rewards and values are coded."""
        return TwoHot(self.config.bins, self.config.bin_limit)

    def module(self, name: str) -> NormedMLP:
        """The module of a part of `params`, or of the `policy`; of `critic` a single one."""
        c = self.config
        act, states = c.activation, c.simplex
        modules: dict[str, NormedMLP] = {
            "encoder": NormedMLP(c.latent_dim, c.encoder_hidden, act, states),
            "dynamics": NormedMLP(c.latent_dim, c.hidden, act, states),
            "reward": NormedMLP(c.bins, c.hidden, act, output_init=ZERO),
            "critic": NormedMLP(c.bins, c.hidden, act, dropout=c.critic_dropout, output_init=ZERO),
            "end": NormedMLP(1, c.hidden, act),
            "policy": NormedMLP(2 * self.action_dim, c.hidden, act),
        }
        return modules[name]

    def init(self, key: jax.Array) -> tuple[dict[str, Params], Params]:
        """Fresh parameters of the model and of the policy."""
        names = ("encoder", "dynamics", "reward", "end", "policy", "critic")
        keys: dict[str, jax.Array] = dict(zip(names, jax.random.split(key, len(names)), strict=True))
        state, both = jnp.zeros((1, self.config.latent_dim)), jnp.zeros((1, self.config.latent_dim + self.action_dim))
        inputs = {"encoder": jnp.zeros((1, self.vision.dim)), "dynamics": both, "reward": both, "end": state, "policy": state}
        made = {name: initialise(self.module(name), keys[name], x) for name, x in inputs.items()}
        members = jax.random.split(keys["critic"], self.config.ensemble)
        made["critic"] = jax.vmap(lambda key: initialise(self.module("critic"), key, both))(members)
        made["vision"] = self.vision.init(jax.random.fold_in(key, 1))
        policy = made.pop("policy")
        if not self.config.predict_end:
            made.pop("end")
        return made, policy

    def encode(self, params: dict[str, Params], normaliser: Normaliser, observation: PyTree) -> jax.Array:
        """h: the latent states `[..., Z]` of observations."""
        return apply(self.module("encoder"), params["encoder"], self.vision(params["vision"], normaliser, observation))

    def step(self, params: dict[str, Params], z: jax.Array, action: jax.Array) -> jax.Array:
        """d: the latent states `[..., Z]` after actions `[..., A]`."""
        return apply(self.module("dynamics"), params["dynamics"], jnp.concatenate([z, action], axis=-1))

    def roll_out(self, params: dict[str, Params], z: jax.Array, action: jax.Array) -> jax.Array:
        """The latent states `[B, H, Z]` after each of the actions `[B, H, A]` from z `[B, Z]`."""

        def move(z: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
            z = self.step(params, z, action)
            return z, z

        return jax.lax.scan(move, z, action.swapaxes(0, 1))[1].swapaxes(0, 1)

    def reward(self, params: dict[str, Params], z: jax.Array, action: jax.Array) -> jax.Array:
        """R: logits `[..., n]`."""
        return apply(self.module("reward"), params["reward"], jnp.concatenate([z, action], axis=-1))

    def critics(self, critic: Params, z: jax.Array, action: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
        """Q_i: logits `[E, ..., n]` of the members in `critic`; `dropout` is a key."""
        x, module = jnp.concatenate([z, action], axis=-1), self.module("critic")
        if dropout is None:
            return jax.vmap(lambda member: apply(module, member, x))(critic)
        keys = jax.random.split(dropout, jax.tree.leaves(critic)[0].shape[0])
        return jax.vmap(lambda member, key: apply(module, member, x, dropout=key))(critic, keys)

    def values(self, critic: Params, z: jax.Array, action: jax.Array) -> jax.Array:
        """Q_i `[E, ...]` as numbers."""
        return self.code.decode(self.critics(critic, z, action))

    def end(self, params: dict[str, Params], z: jax.Array) -> jax.Array:
        """T: logits `[...]` that the episode is over in z."""
        return apply(self.module("end"), params["end"], z)[..., 0]

    def policy(self, policy: Params, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and log deviation `[..., A]` of π before the tanh."""
        mean, raw = jnp.split(apply(self.module("policy"), policy, z), 2, axis=-1)
        low, high = self.config.log_std_min, self.config.log_std_max
        return mean, low + 0.5 * (high - low) * (jnp.tanh(raw) + 1.0)

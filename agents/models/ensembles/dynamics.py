"""A probabilistic network of the dynamics, and what it says of the next state, the reward and the end of the episode.

    z          = ((s, a) − mean) / deviation,    y = ((s' − s, r) − mean) / deviation          by the statistics of the offline rows
    μ, log σ²  = f(z),  log σ² held softly between a floor and a ceiling that are learnt with it
    L          = mean w Σ_d-mean [(μ − y)² / σ² + log σ²] + BCE(terminated) + BCE(success) + 0.01 Σ (ceiling − floor) + ½ decay Σ W²

Source: PETS (Chua et al. 2018, eq. 1 and app. A.1). Ours: targets are in units of their own deviation, so that nothing depends on the
unit of an observation; the end of an episode is learnt, and so is success where the rewards of the data have two values.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct

from ....data.errors import WarmloopError
from ....data.transition import Batch, Spec, Transition, flatten_observation
from ...base import Params
from ...networks.networks import activation, apply
from ...networks.normaliser import Normaliser
from ...shared.agent_settings import Settings, setting

KERNEL_INIT = nn.initializers.variance_scaling(0.25, "fan_in", "truncated_normal", in_axis=-2, out_axis=-1, batch_axis=(0,))
CEILING, FLOOR = 0.5, -10.0  # of the log variance, before training
SPREAD_WEIGHT = 0.01  # of the loss that draws ceiling and floor together
FAR = 1e9  # a state's bound where no data give one


@dataclasses.dataclass(frozen=True)
class ModelSettings(Settings):
    """Settings of the ensemble of dynamics."""

    model_members: int = setting(7, "networks of the ensemble, each learnt from its own bootstrap of the rows", least=2)
    model_elites: int = setting(5, "networks with the least held-out loss, by which it predicts", least=1)
    model_activation: str = setting("swish", "of their hidden layers, as `activation`")
    model_lr: float = setting(1e-3, "Adam step size of the networks", least=0)
    model_decay: float = setting(5e-5, "weight of their kernels' squares in the loss", least=0)
    model_held_out: int = setting(10, "of so many stretches of 50 steps of an episode one is held out from learning", least=2)
    model_check: int = setting(250, "gradient steps between two looks at the held-out loss", least=1)
    model_patience: int = setting(5, "looks without an improvement of any network that end the learning offline", least=1)

    def __post_init__(self):
        super().__post_init__()
        if self.model_elites > self.model_members:
            raise WarmloopError(
                f"agent.model_elites is {self.model_elites}; it must be at most agent.model_members ({self.model_members})."
            )


class Network(nn.Module):
    """Members side by side: `[M, B, X]`, or `[B, X]` for all, gives mean and log variance `[M, B, O]`, and two logits `[M, B, 2]`."""

    members: int
    outputs: int
    hidden: tuple[int, ...]
    activation: str

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        act = activation(self.activation)
        h = jnp.broadcast_to(x, (self.members, *x.shape)) if x.ndim == 2 else x
        for i, width in enumerate((*self.hidden, 2 * self.outputs + 2)):
            kernel = self.param(f"kernel_{i}", KERNEL_INIT, (self.members, h.shape[-1], width))
            h = h @ kernel + self.param(f"bias_{i}", nn.initializers.zeros, (self.members, width))[:, None]
            h = act(h) if i < len(self.hidden) else h
        ceiling, floor = (
            self.param(name, nn.initializers.constant(value), (self.members, self.outputs))[:, None]
            for name, value in (("ceiling", CEILING), ("floor", FLOOR))
        )
        mean, log_variance, logits = jnp.split(h, [self.outputs, 2 * self.outputs], axis=-1)
        log_variance = ceiling - nn.softplus(ceiling - log_variance)
        return mean, floor + nn.softplus(log_variance - floor), logits


class Scales(struct.PyTreeNode):
    """What the offline rows say of the units.

    Attributes:
        inputs, targets: statistics of (s, a) `[D + A]` and of (s' − s, r) `[D + 1]`.
        low, high: `[D]`, within which predicted states are held: the data's range, widened by itself on both sides.
        levels: `[2]`, the two values of the rewards, where `two_valued` `[]`.
    """

    inputs: Normaliser
    targets: Normaliser
    low: jax.Array
    high: jax.Array
    levels: jax.Array
    two_valued: jax.Array

    @classmethod
    def of(cls, rows: Transition, bound: float) -> Scales:
        """The statistics of rows `[N]` on the host; none where N is 1: then numbers are taken as they come."""
        with jax.ensure_compile_time_eval():
            here, after = (flatten_observation(each) for each in (rows.observation, rows.next_observation))
        dims = here.shape[-1]
        if here.shape[0] < 2:
            far, sizes = jnp.full(dims, FAR), (dims + rows.action.shape[-1], dims + 1)
            inputs, targets = (Normaliser(jnp.zeros(size), jnp.ones(size), bound) for size in sizes)
            return cls(inputs, targets, -far, far, jnp.zeros(2), jnp.asarray(False))
        here, after, action = (np.asarray(each, np.float32) for each in (here, after, rows.action))
        reward = np.asarray(rows.reward, np.float32)
        inputs, targets = (
            Normaliser.of(rows.replace(observation=np.concatenate(parts, axis=-1)), True, bound)
            for parts in ((here, action), (after - here, reward[:, None]))
        )
        low, high = np.minimum(here.min(axis=0), after.min(axis=0)), np.maximum(here.max(axis=0), after.max(axis=0))
        values = np.unique(reward)
        return cls(
            inputs,
            targets,
            jnp.asarray(2 * low - high),
            jnp.asarray(2 * high - low),
            jnp.asarray(values[[0, -1]]),
            jnp.asarray(len(values) == 2),
        )


class Prediction(NamedTuple):
    """What members say of rows, in the units of the rows: mean next state `[M, B, D]` and reward `[M, B]`, their deviations `[M, B, D + 1]`
    (the reward's last), and the chances of an end and of success, `[M, B]`."""

    state: jax.Array
    reward: jax.Array
    deviation: jax.Array
    ends: jax.Array
    succeeds: jax.Array


@dataclasses.dataclass(frozen=True)
class Dynamics:
    """The networks that the settings want, their loss, and what they predict. States are here flat, `[..., D]`."""

    config: ModelSettings
    spec: Spec
    hidden: tuple[int, ...]

    def module(self, members: int) -> Network:
        return Network(members, self.spec.observation_dim + 1, self.hidden, self.config.model_activation)

    def heads(self, params: Params, scales: Scales, state: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Mean and log variance of y, and logits, of the members in `params`, for `[B, D]`, or each its own `[M, B, D]`."""
        members = jax.tree.leaves(params)[0].shape[0]
        return apply(self.module(members), params, scales.inputs(jnp.concatenate([state, action], axis=-1)))

    def target(self, scales: Scales, batch: Batch) -> jax.Array:
        """y `[B, D + 1]` of flat rows."""
        change = jnp.concatenate([batch.next_observation - batch.observation, batch.reward[:, None]], axis=-1)
        return scales.targets.scaled(change)

    def errors(self, params: Params, scales: Scales, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """Of each member and row, `[M, B]`: the loss without its constants, and the squared error of the mean."""
        mean, log_variance, logits = self.heads(params, scales, batch.observation, batch.action)
        squared = jnp.square(mean - self.target(scales, batch)[None])
        likelihood = (squared * jnp.exp(-log_variance) + log_variance).mean(axis=-1)
        ended = 1.0 - jnp.minimum(batch.mask, 1.0)
        succeeded = jnp.where(scales.two_valued, batch.reward > scales.levels.mean(), 0.0)
        chances = optax.sigmoid_binary_cross_entropy(logits, jnp.stack([ended, succeeded], axis=-1)[None])
        return likelihood + chances.sum(axis=-1), squared.mean(axis=-1)

    def loss(self, params: Params, scales: Scales, batch: Batch, weight: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """The sum of the members' losses on rows of their own weights `[M, B]`; and their `errors`."""
        loss, squared = self.errors(params, scales, batch)
        layers = params["params"]
        spread = SPREAD_WEIGHT * (layers["ceiling"] - layers["floor"]).sum()
        kernels = sum(jnp.square(leaf).sum() for name, leaf in layers.items() if name.startswith("kernel"))
        return (weight * loss).mean(axis=-1).sum() + spread + 0.5 * self.config.model_decay * kernels, (loss, squared)

    def predict(self, params: Params, scales: Scales, state: jax.Array, action: jax.Array) -> Prediction:
        """What the members in `params` say of `[B, D]`, or each of its own `[M, B, D]`."""
        mean, log_variance, logits = self.heads(params, scales, state, action)
        units = 1.0 / _along(scales.targets.scale, mean)
        change = mean * units + _along(scales.targets.mean, mean)
        chances = jax.nn.sigmoid(logits)
        low, high = (_along(each, mean) for each in (scales.low, scales.high))
        following = jnp.clip((state if state.ndim == 3 else state[None]) + change[..., :-1], low, high)
        succeeds = chances[..., 1]
        level = jnp.where(succeeds > 0.5, scales.levels[1], scales.levels[0])
        reward = jnp.where(scales.two_valued, level, change[..., -1])
        return Prediction(following, reward, jnp.exp(0.5 * log_variance) * units, chances[..., 0], succeeds)

    def sample(self, prediction: Prediction, scales: Scales, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A next state `[M, B, D]` and a reward `[M, B]` of each member. A reward of two values is the more likely one."""
        noise = prediction.deviation * jax.random.normal(key, prediction.deviation.shape)
        low, high = (_along(each, noise) for each in (scales.low, scales.high))
        reward = prediction.reward + jnp.where(scales.two_valued, 0.0, noise[..., -1])
        return jnp.clip(prediction.state + noise[..., :-1], low, high), reward


def flat_rows(batch: Any) -> Any:
    """Rows whose observations are flat, `[..., D]`."""
    return batch.replace(observation=flatten_observation(batch.observation), next_observation=flatten_observation(batch.next_observation))


def _along(each: jax.Array, values: jax.Array) -> jax.Array:
    """`[X]` beside `[..., X]`."""
    return each.reshape((1,) * (values.ndim - 1) + each.shape)

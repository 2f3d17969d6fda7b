"""The networks of DreamerV3 together: following what was seen, imagining what comes, and choosing actions.

Parameters are a dict by the networks' names: encoder, rssm, decoder, reward, going, policy, critic. The width of the first hidden layer
decides all sizes: h has 8 times as many numbers, z a sixteenth as many classes, and the convolutions multiples of a sixteenth of it.
By this rule widths of 64, 256 and 1,024 are the published sizes of 1, 12 and 200 million parameters.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ....data.transition import PyTree, Spec, example
from ...base import Params
from ...networks.networks import apply, initialise
from ...networks.normaliser import Normaliser
from ...shared.agent_settings import InputSettings, setting
from .normed_layers import NormedHead
from .observation_coders import ObservationDecoder, ObservationEncoder, picture_shape, pictures_of
from .rssm import RSSM, Latent, mode, sample
from .symexp_two_hot import BINS

DEVIATION_LOW, DEVIATION_HIGH = 0.1, 1.0  # of the policy
ACTING = ("encoder", "rssm", "policy")  # the networks by which an actor acts


@dataclasses.dataclass(frozen=True)
class DreamerSizes(InputSettings):
    """Settings of the networks, and of what they see."""

    hidden: tuple[int, ...] = setting(
        (64, 64, 64), "widths of the layers of encoder, decoder, policy and critic; the first one decides the model's sizes", least=1
    )
    groups: int = setting(32, "G, categorical variables of z", least=1)

    @property
    def units(self) -> int:
        """The width that decides the others."""
        return self.hidden[0]

    @property
    def deter(self) -> int:
        """Numbers of h."""
        return 8 * self.units

    @property
    def classes(self) -> int:
        """Classes of each variable of z."""
        return max(2, self.units // 16)

    @property
    def depth(self) -> int:
        """What the channels of the convolutions are multiples of."""
        return 2 * max(1, self.units // 32)


@dataclasses.dataclass(frozen=True)
class DreamerNetworks:
    """The networks that the settings want for observations and actions of a spec."""

    config: DreamerSizes
    spec: Spec

    @property
    def encoder(self) -> ObservationEncoder:
        return ObservationEncoder(self.config.hidden, self.config.depth)

    @property
    def rssm(self) -> RSSM:
        c = self.config
        return RSSM(c.deter, c.units, c.groups, c.classes)

    @property
    def decoder(self) -> ObservationDecoder:
        return ObservationDecoder(self.config.hidden, self.config.depth, self.spec.observation_dim, picture_shape(self.spec))

    @property
    def heads(self) -> dict[str, NormedHead]:
        """Those that see the features of a latent state, by name."""
        c = self.config
        return {
            "reward": NormedHead((c.units,), BINS, 0.0),
            "going": NormedHead((c.units,), 1),
            "policy": NormedHead(c.hidden, 2 * self.spec.action_dim, 0.01),
            "critic": NormedHead(c.hidden, BINS, 0.0),
        }

    def init(self, key: jax.Array) -> dict[str, Params]:
        """Fresh parameters. Raises WarmloopError for cameras whose pictures do not suit."""
        picture_shape(self.spec)
        keys = dict(zip(("encoder", "rssm", "decoder", *self.heads), jax.random.split(key, 7), strict=True))
        rows = example(self.spec)
        seen: tuple[Any, Any] = self.inputs(Normaliser.of(rows, False), rows.observation)
        encoder = initialise(self.encoder, keys["encoder"], *seen)
        latent, tokens = self.rssm.start(1), apply(self.encoder, encoder, *seen)
        return {
            "encoder": encoder,
            "rssm": initialise(self.rssm, keys["rssm"], latent, jnp.zeros((1, self.spec.action_dim)), tokens),
            "decoder": initialise(self.decoder, keys["decoder"], latent),
            **{name: initialise(head, keys[name], latent.features) for name, head in self.heads.items()},
        }

    def inputs(self, normaliser: Normaliser, observation: PyTree) -> tuple[jax.Array | None, jax.Array | None]:
        """Numbers `[..., D]` and pictures `[..., H, W, C]` of observations, None for what is not there."""
        numbers = normaliser(observation) if self.spec.observation_dim else None
        return numbers, pictures_of(self.spec, observation)

    def head(self, name: str, params: dict[str, Params], features: jax.Array) -> jax.Array:
        """What a head says of features `[..., F]`."""
        return apply(self.heads[name], params[name], features)

    def follow(
        self, params: dict[str, Params], seen: tuple[Any, Any], action: jax.Array, key: jax.Array
    ) -> tuple[Latent, jax.Array, jax.Array]:
        """States `[B, T]` of episodes that begin with the first one, from what is seen and the actions before it `[B, T, A]`; and their log
        probabilities by posterior and prior, `[B, T, G, C]`."""
        tokens = apply(self.encoder, params["encoder"], *seen)  # [B, T, E]
        batch, length = action.shape[:2]

        def step(latent: Latent, inputs: tuple[jax.Array, ...]) -> tuple[Latent, tuple[Latent, jax.Array]]:
            action, tokens, number = inputs
            first = jnp.broadcast_to(number == 0, (batch,))
            deter, posterior = self._rssm("observe", params, latent, action, tokens, first)
            latent = Latent(deter, sample(jax.random.fold_in(key, number), posterior))
            return latent, (latent, posterior)

        inputs = (jnp.swapaxes(action, 0, 1), jnp.swapaxes(tokens, 0, 1), jnp.arange(length))
        _, found = jax.lax.scan(step, self.rssm.start(batch), inputs)
        latent, posterior = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), found)
        return latent, posterior, self._rssm("prior", params, latent.deter)

    def dream(self, params: dict[str, Params], start: Latent, length: int, key: jax.Array) -> tuple[Latent, jax.Array]:
        """States `[length + 1, N]` that follow each other from `start` `[N]` by the prior, and the policy's actions `[length, N, A]`."""

        def step(latent: Latent, number: jax.Array) -> tuple[Latent, tuple[Latent, jax.Array]]:
            act_key, latent_key = jax.random.split(jax.random.fold_in(key, number))
            mean, deviation = self.action(params, latent.features)
            action = mean + deviation * jax.random.normal(act_key, mean.shape)
            deter, prior = self._rssm("imagine", params, latent, action)
            return Latent(deter, sample(latent_key, prior)), (latent, action)

        last, (latents, actions) = jax.lax.scan(step, start, jnp.arange(length))
        return jax.tree.map(lambda each, end: jnp.concatenate([each, end[None]]), latents, last), actions

    def observed(self, params: dict[str, Params], before: tuple[Latent, jax.Array], seen: tuple[Any, Any], key: jax.Array | None) -> Latent:
        """The state after one more observation, from the one before and the action since; the most probable one without a key."""
        tokens = apply(self.encoder, params["encoder"], *seen)
        deter, posterior = self._rssm("observe", params, *before, tokens, jnp.zeros(tokens.shape[:-1], bool))
        return Latent(deter, mode(posterior) if key is None else sample(key, posterior))

    def action(self, params: dict[str, Params], features: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean, within ±1, and standard deviation of the policy's actions, `[..., A]` each."""
        mean, deviation = jnp.split(self.head("policy", params, features), 2, axis=-1)
        return jnp.tanh(mean), DEVIATION_LOW + (DEVIATION_HIGH - DEVIATION_LOW) * jax.nn.sigmoid(deviation + 2.0)

    def _rssm(self, method: str, params: dict[str, Params], *inputs: Any) -> Any:
        return self.rssm.apply(params["rssm"], *inputs, method=method)

"""DreamerV3: a model of the environment that imagines, and a policy and a critic that learn in its imagination.

    h_t = f(h_{t−1}, z_{t−1}, a_{t−1}),  z_t ~ q(z | h_t, o_t),  ẑ_t ~ p(z | h_t)                          (models/dreaming/rssm.py)
    L_model  = ‖symlog o_t − ô_t‖² + CE(r̂_t, r_t) + BCE(ĉ_t, γ m_t) + max(1, KL(sg q ‖ p)) + 0.1 max(1, KL(q ‖ sg p))
    R_t      = r̂_{t+1} + ĉ_{t+1} ((1−λ) V(s_{t+1}) + λ R_{t+1}),  R_H = V(s_H),  w_t = Π_{i≤t} ĉ_i         imagined from every s_t
    L_π      = −w_t [log π(a_t|s_t) sg((R_t − V(s_t)) / S) + η H(π)],  S = max(1, EMA(P₉₅ − P₅ of R))
    L_V      = w_t [CE(V, sg R_t) + CE(V, sg V̄)] + 0.3 the same for the recorded rewards, with the imagined R_t as values

V and r̂ are distributions over symexp bins (models/dreaming/symexp_two_hot.py). V̄ is the critic's moving average. One step of LaProp
moves all. L_V of recorded rewards also trains the model; imagined states pass no gradient. Only the model learns from recorded actions:
nothing holds the policy near them, offline or online. A window begins with h, z and a of zeros, and its first state is not predicted
unless the episode begins there; the authors' code begins with a stored state. Source: Hafner et al. 2023 (DreamerV3), as the authors' code
of 2025 has it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ..data.mixing import StretchBatch
from ..data.replay.windows import Window
from ..data.transition import PyTree, Spec, Transition
from .base import Metrics, Params, Problem, run_block
from .models.dreaming.dreamer_networks import ACTING, DreamerNetworks, DreamerSizes
from .models.dreaming.laprop import laprop
from .models.dreaming.rssm import Latent, balanced
from .models.dreaming.symexp_two_hot import mean_of, two_hot_loss
from .models.symlog import symlog
from .networks.normaliser import Normaliser, blurred
from .shared.agent_settings import setting
from .shared.arriving_states import ArrivingStates, arriving
from .shared.gaussian import log_density
from .shared.gradients import descend
from .shared.lambda_returns import lambda_return, spread

ENTROPY_OF_UNIT = 0.5 * (1.0 + math.log(2.0 * math.pi))  # of a Gaussian whose deviation is 1


@dataclasses.dataclass(frozen=True)
class DreamerConfig(DreamerSizes):
    """Settings of DreamerV3."""

    length: int = setting(64, "T, rows of the windows that are learnt from", least=1)
    batch_size: int = setting(16, "B, windows per gradient step", least=1)
    utd: int = setting(1, "K, gradient steps per update", least=1)
    learning_rate: float = setting(4e-5, "LaProp's step size, of everything", least=0)
    learning_rate_warmup: int = setting(1_000, "gradient steps over which it grows from 0", least=0)
    gradient_ratio: float = setting(0.3, "greatest norm of an array's gradient, as a share of its own", above=0)
    imagined_steps: int = setting(15, "H, steps imagined from every state", least=1)
    trace_decay: float = setting(0.95, "λ of the returns", least=0, most=1)
    entropy_weight: float = setting(3e-4, "η, of the policy's entropy", least=0)
    free_nats: float = setting(1.0, "divergence of posterior and prior below which neither is moved", least=0)
    representation_weight: float = setting(0.1, "of the posterior's loss", least=0)
    replay_value_weight: float = setting(0.3, "of the critic's loss on recorded rewards", least=0)
    slow_rate: float = setting(0.02, "rate of the critic's moving average", above=0, most=1)
    spread_rate: float = setting(0.01, "rate of the moving average of the returns' percentiles", above=0, most=1)


class DreamerState(struct.PyTreeNode):
    """Everything that Dreamer learns. `trained` is a dict of the networks; `low`, `high` are percentiles of returns; `updates` counts
    gradient steps."""

    trained: dict[str, Params]
    slow_critic: Params
    optimizer: optax.OptState
    low: jax.Array
    high: jax.Array
    normaliser: Normaliser
    key: jax.Array
    updates: jax.Array


class DreamerActor(struct.PyTreeNode):
    """What acting needs: encoder, recurrent model and policy."""

    networks: dict[str, Params]
    normaliser: Normaliser


class Memory(struct.PyTreeNode):
    """What an actor remembers of an episode: the state of the model, and the action `[A]` that was done in it."""

    latent: Latent
    action: jax.Array


@dataclasses.dataclass(frozen=True)
class Dreamer:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: DreamerConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "dreamer"
    sees_cameras: ClassVar[bool] = True
    not_exported: ClassVar[str] = (
        "dreamer cannot be exported: it remembers what it saw before, and an exported program takes one observation; act by the "
        "checkpoint, as warmloop-collect --policy=checkpoint:DIR does"
    )

    @property
    def window(self) -> Window:
        """What it learns from."""
        return Window(self.config.length, "sequence", self.problem.discount)

    @property
    def networks(self) -> DreamerNetworks:
        return DreamerNetworks(self.config, self.spec)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return laprop(self.config.learning_rate, self.config.learning_rate_warmup, self.config.gradient_ratio)

    def init(self, key: jax.Array, example: Transition) -> DreamerState:
        self.config.check_images(self.spec)
        network_key, key = jax.random.split(key)
        trained = self.networks.init(network_key)
        return DreamerState(
            trained=trained,
            slow_critic=jax.tree.map(jnp.copy, trained["critic"]),
            optimizer=self.optimizer.init(trained),
            low=jnp.zeros(()),
            high=jnp.zeros(()),
            normaliser=Normaliser.asked(example, self.config),
            key=key,
            updates=jnp.zeros((), jnp.int32),
        )

    # Losses.

    def loss(self, trained: dict[str, Params], state: DreamerState, batch: StretchBatch, key: jax.Array) -> tuple[jax.Array, tuple]:
        """The sum of all losses, and (metrics, |TD error| `[B]`, the percentiles)."""
        follow_key, dream_key = jax.random.split(key)
        states = arriving(batch)
        latent, model, metrics = self.model_loss(trained, state, states, follow_key)
        behaviour, returns, percentiles, told = self.behaviour_loss(trained, state, latent, states.there, dream_key)
        replay, td_error = self.replay_loss(trained, state, states, latent, returns)
        weight, actor_weight = batch.weight[:, None], batch.actor_weight[:, None]
        weighed = weight * (model + behaviour["critic"] + self.config.replay_value_weight * replay) + actor_weight * behaviour["actor"]
        loss = jnp.sum(weighed) / states.there.sum()
        return loss, (metrics | told | {"model/total_loss": loss}, td_error, percentiles)

    def model_loss(
        self, trained: dict[str, Params], state: DreamerState, states: ArrivingStates, key: jax.Array
    ) -> tuple[Latent, jax.Array, Metrics]:
        """The states of the model `[B, T + 1]`, and L_model of each."""
        seen = self.networks.inputs(state.normaliser, states.observation)
        latent, posterior, prior = self.networks.follow(trained, seen, states.action, key)
        dynamics, representation = balanced(posterior, prior, self.config.free_nats)
        reward = two_hot_loss(self.networks.head("reward", trained, latent.features), states.reward)
        going = self.networks.head("going", trained, latent.features)[..., 0]
        arrival = {
            "reward": reward,
            "going": optax.sigmoid_binary_cross_entropy(going, self.problem.discount * states.mask),
            "dynamics": dynamics,
            "representation": self.config.representation_weight * representation,
        }
        terms = {name: states.known * term for name, term in arrival.items()}
        terms["reconstruction"] = states.there * self.reconstruction_loss(trained, latent, seen)
        metrics = {f"model/{name}_loss": term.sum() / states.there.sum() for name, term in terms.items()}
        return latent, sum(terms.values(), jnp.zeros(())), metrics

    def reconstruction_loss(self, trained: dict[str, Params], latent: Latent, seen: tuple) -> jax.Array:
        """Squared error `[B, T + 1]` of what is decoded, summed over numbers, in symlog, and over pixels, in [0, 1]."""
        numbers, pictures = seen
        decoded_numbers, decoded_pictures = self.networks.decoder.apply(trained["decoder"], latent)
        loss = jnp.zeros(latent.deter.shape[:-1])
        if numbers is not None:
            loss += jnp.square(decoded_numbers - symlog(numbers)).sum(axis=-1)
        if pictures is not None:
            loss += jnp.square(decoded_pictures - pictures).sum(axis=(-3, -2, -1))
        return loss

    def behaviour_loss(
        self, trained: dict[str, Params], state: DreamerState, latent: Latent, there: jax.Array, key: jax.Array
    ) -> tuple[dict[str, jax.Array], jax.Array, tuple[jax.Array, jax.Array], Metrics]:
        """L_π and L_V of what is imagined from each state, R of the states, `[B, T + 1]` each, and the returns' percentiles."""
        config, networks, still = self.config, self.networks, jax.lax.stop_gradient(trained)
        start = jax.tree.map(lambda x: jax.lax.stop_gradient(x).reshape(-1, *x.shape[2:]), latent)
        dreamt, action = networks.dream(still, start, config.imagined_steps, key)
        features = dreamt.features  # [H + 1, N, F]
        going = jax.nn.sigmoid(networks.head("going", still, features)[..., 0])
        reward = mean_of(networks.head("reward", still, features[1:]))
        logits = networks.head("critic", trained, features)
        value = mean_of(logits)
        returns = jax.lax.stop_gradient(lambda_return(reward, going[1:], value[1:], config.trace_decay))  # [H, N]
        weight = jnp.cumprod(going, axis=0)[:-1]
        scale, percentiles = spread(returns, there.reshape(-1), (state.low, state.high), config.spread_rate)
        advantage = jax.lax.stop_gradient(returns - value[:-1]) / scale
        mean, deviation = networks.action(trained, features[:-1])
        entropy = jnp.sum(ENTROPY_OF_UNIT + jnp.log(deviation), axis=-1)
        actor = -weight * (log_density(action, mean, jnp.log(deviation)) * advantage + config.entropy_weight * entropy)
        critic = weight * self.critic_loss(state, logits[:-1], features[:-1], returns)
        losses = {name: there * each.mean(axis=0).reshape(there.shape) for name, each in {"actor": actor, "critic": critic}.items()}
        of_starts = {"actor/entropy": entropy[0], "critic/value_mean": value[0], "critic/target_mean": returns[0]}
        told = {name: jnp.sum(there * each.reshape(there.shape)) / there.sum() for name, each in of_starts.items()}
        told |= {f"{name}/loss": loss.sum() / there.sum() for name, loss in losses.items()}
        return losses, returns[0].reshape(there.shape), percentiles, told | {"critic/return_spread": scale}

    def critic_loss(self, state: DreamerState, logits: jax.Array, features: jax.Array, returns: jax.Array) -> jax.Array:
        """CE(V, R) + CE(V, V̄) `[...]`."""
        slow = mean_of(self.networks.head("critic", {"critic": state.slow_critic}, features))
        return two_hot_loss(logits, returns) + two_hot_loss(logits, slow)

    def replay_loss(
        self, trained: dict[str, Params], state: DreamerState, states: ArrivingStates, latent: Latent, imagined: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """L_V `[B, T + 1]` of the recorded rewards, from the imagined returns `[B, T + 1]`; and |R − V| `[B]`, the mean over a window."""
        logits = self.networks.head("critic", trained, latent.features)
        going, trace = self.problem.discount * states.mask, self.config.trace_decay * states.followed
        returns = lambda_return(*(x[:, 1:].T for x in (states.reward, going, imagined, trace))).T  # [B, T]
        returns = jnp.pad(returns, ((0, 0), (0, 1)))
        loss = states.followed * self.critic_loss(state, logits, jax.lax.stop_gradient(latent.features), returns)
        error = states.followed * jnp.abs(returns - mean_of(logits))
        return loss, jax.lax.stop_gradient(error.sum(axis=1) / states.followed.sum(axis=1))

    # Updates.

    def update(self, state: DreamerState, batch: StretchBatch) -> tuple[DreamerState, Metrics, jax.Array]:
        key, noise_key, *keys = jax.random.split(state.key, 2 + batch.weight.shape[0])
        batch = blurred(batch, state.normaliser, self.config.observation_noise, noise_key)
        state, (metrics, td_error) = run_block(self.step, state.replace(key=key), batch, jnp.stack(keys))
        return state, jax.tree.map(jnp.mean, metrics), td_error

    def step(self, state: DreamerState, inputs: tuple[StretchBatch, jax.Array]) -> tuple[DreamerState, tuple[Metrics, jax.Array]]:
        """One gradient step of all networks on one minibatch, and the step of the slow critic."""
        trained, moments, (metrics, td_error, (low, high)) = descend(
            lambda trained: self.loss(trained, state, *inputs), state.trained, self.optimizer, state.optimizer
        )
        slow = optax.incremental_update(trained["critic"], state.slow_critic, self.config.slow_rate)
        state = state.replace(trained=trained, slow_critic=slow, optimizer=moments, low=low, high=high, updates=state.updates + 1)
        return state, (metrics, td_error)

    # Acting.

    def actor_params(self, state: DreamerState) -> DreamerActor:
        return DreamerActor({name: state.trained[name] for name in ACTING}, state.normaliser)

    def act(
        self, actor: DreamerActor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, Memory]:
        """The mode of z and the mean action where `deterministic`, else samples of both."""
        latent_key, act_key = jax.random.split(key)
        memory = carry if isinstance(carry, Memory) else Memory(self.networks.rssm.start(), jnp.zeros(self.spec.action_dim))
        seen = self.networks.inputs(actor.normaliser, observation)
        latent = self.networks.observed(actor.networks, (memory.latent, memory.action), seen, None if deterministic else latent_key)
        action, deviation = self.networks.action(actor.networks, latent.features)
        if not deterministic:
            action = jnp.clip(action + deviation * jax.random.normal(act_key, action.shape), -1.0, 1.0)
        return action, Memory(latent, action)

    def remember(self, carry: Memory, action: jax.Array) -> Memory:
        """What is remembered where `action` was done in place of its own."""
        return carry.replace(action=action)

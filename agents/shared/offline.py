"""What the offline algorithms share: settings, options against over-fitting the demonstrations, and the way to SAC's policy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from ...data.errors import WarmloopError
from ...data.transition import PyTree, Spec
from ..base import Params
from ..networks.networks import NETWORK
from ..networks.normaliser import BOUND

SHARES = ("tau", "actor_tau", "discount")


@dataclasses.dataclass(frozen=True)
class OfflineConfig:
    """Settings of every offline algorithm.

    Attributes:
        hidden: widths of the hidden layers.
        actor_hidden: widths of the policy's hidden layers; () for those of `hidden`.
        activation: of the hidden layers: relu, tanh, swish, elu or MODULE:NAME, such as jax.nn:gelu.
        actor_network: a Flax module of one's own, MODULE:NAME, in place of the policy's hidden layers; "" for these.
        utd: K, gradient steps per update.
        batch_size: B, rows per gradient step.
        actor_lr: Adam step size of the policy.
        actor_layer_norm: LayerNorm on the policy's hidden layers.
        normalise_observations: centre and scale observations by the offline data's statistics.
        observation_bound: of normalised observations, in deviations, towards which they are bent from half of it on. 0 is none.
        observation_floor: least deviation that a number is divided by, as a share of the median number's; 0 is each number's own.
        actor_dropout: share of the policy's hidden units that are dropped in its loss.
        weight_decay: AdamW's decay of all trained kernels; 0 is Adam.
        observation_noise: standard deviation of the noise on observations in the losses, in normalised units.
    """

    hidden: tuple[int, ...] = (256, 256)
    actor_hidden: tuple[int, ...] = ()
    activation: str = "relu"
    actor_network: str = ""
    utd: int = 1
    batch_size: int = 256
    actor_lr: float = 3e-4
    actor_layer_norm: bool = False
    normalise_observations: bool = True
    observation_bound: float = BOUND
    observation_floor: float = 0.0
    actor_dropout: float = 0.0
    weight_decay: float = 0.0
    observation_noise: float = 0.0

    def __post_init__(self):
        check_shared(self)
        check_network(self)
        check(self, ("actor_dropout",), 0, below=1)
        check(self, ("weight_decay", "observation_noise", "observation_bound", "observation_floor"), 0)


@dataclasses.dataclass(frozen=True)
class ActorCriticConfig(OfflineConfig):
    """Settings of the offline algorithms that learn values.

    Attributes:
        discount: γ (set from the reward's configuration).
        tau: Polyak rate of the targets.
        ensemble: E, number of critics.
        critic_lr: Adam step size of the critics.
        critic_layer_norm: LayerNorm on the critics' hidden layers.
        critic_dropout: share of the critics' hidden units that are dropped in their loss.
        normalise_rewards: divide rewards by their standard deviation in the offline data.
        return_span: scale rewards so that the offline episodes' returns lie this far apart, the best from the worst; 0 leaves them.
    """

    discount: float = 0.99
    tau: float = 0.005
    ensemble: int = 2
    critic_lr: float = 3e-4
    critic_layer_norm: bool = False
    critic_dropout: float = 0.0
    normalise_rewards: bool = False
    return_span: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check(self, ("ensemble",), 1)
        check(self, ("critic_dropout",), 0, below=1)
        check(self, ("return_span",), 0)
        if self.normalise_rewards and self.return_span:
            raise WarmloopError("agent.normalise_rewards and agent.return_span both scale rewards; set one of them.")


def check(config: Any, names: tuple[str, ...], least: float, below: float = math.inf) -> None:
    """Raises WarmloopError, by name, where one of the settings is not in [least, below)."""
    for name in names:
        value = getattr(config, name)
        if not least <= value < below:
            raise WarmloopError(f"agent.{name} is {value}; it must be at least {least}{f' and below {below}' if below < math.inf else ''}.")


def check_choice(config: Any, name: str, allowed: tuple[str, ...]) -> None:
    """Raises WarmloopError, by name, where a setting is none of its possible values."""
    if (value := getattr(config, name)) not in allowed:
        possible = '" or "'.join(allowed)
        raise WarmloopError(f'agent.{name} is "{value}"; it must be "{possible}".')


def check_shared(config: Any) -> None:
    """Raises WarmloopError, by name, where one of the settings that most algorithms have is out of range: the block's size, step sizes
    (at 0 what they are of stays as it is), Polyak rates, the discount, and widths of layers."""
    check(config, ("utd", "batch_size"), 1)
    names = [field.name for field in dataclasses.fields(config)]
    check(config, tuple(name for name in names if name.endswith("_lr")), 0)
    for name in [name for name in names if name in SHARES]:
        if not 0 < getattr(config, name) <= 1:
            raise WarmloopError(f"agent.{name} is {getattr(config, name)}; it must lie in (0, 1].")
    for name in [name for name in names if name.endswith("hidden")]:
        if min(getattr(config, name), default=1) < 1:
            raise WarmloopError(f"agent.{name} is {getattr(config, name)}; each width must be at least 1.")


def check_network(config: Any) -> None:
    """Raises WarmloopError where the policy's network is none of a user's own, or has settings beside it that would change nothing."""
    if config.actor_network:
        NETWORK.check(config.actor_network, "agent.actor_network")
        for name in ("actor_hidden", "actor_layer_norm", "actor_dropout"):
            if getattr(config, name):
                raise WarmloopError(f"agent.{name} is of the policy's own layers, and agent.actor_network replaces them; leave one out.")


def actor_widths(config: Any) -> tuple[int, ...]:
    """Widths of the policy's hidden layers."""
    return config.actor_hidden or config.hidden


def refuse_noise_on_images(config: Any, spec: Spec) -> None:
    """Raises WarmloopError where observations have images, and noise on them is asked for."""
    if spec.cameras and config.observation_noise > 0:
        raise WarmloopError("agent.observation_noise is for states; images are shifted by frames.random_shift. Set it to 0.")


def optimizer(
    learning_rate: float | jax.Array | optax.Schedule, weight_decay: float, frozen: Collection[str] = ()
) -> optax.GradientTransformation:
    """Adam or, with a decay, AdamW on the kernels (Loshchilov and Hutter 2019); biases and norms do not decay, and no module of a name
    in `frozen` does.

    Its state is plain Adam's either way, so that an algorithm with a decay hands over to one without.
    """
    adam = optax.adam(learning_rate)
    if weight_decay == 0:
        return adam
    mask, without = partial(_decaying, frozen=frozen), optax.MaskedState(optax.EmptyState())
    adamw = optax.adamw(learning_rate, weight_decay=weight_decay, mask=mask)

    def update(updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None) -> tuple[optax.Updates, optax.OptState]:
        moments, steps = cast(tuple[Any, Any], state)
        change, found = adamw.update(updates, (moments, without, steps), params)
        moments, _, steps = cast(tuple[Any, Any, Any], found)
        return change, (moments, steps)

    return optax.GradientTransformation(adam.init, update)


def explore(key: jax.Array, action: jax.Array, deviation: float) -> jax.Array:
    """Actions `[..., A]` with Gaussian noise, within ±1."""
    return jnp.clip(action + deviation * jax.random.normal(key, action.shape), -1.0, 1.0)


def adam_moments(state: optax.OptState) -> optax.OptState:
    """What plain Adam keeps of an `optimizer` state; SAC's critics go on with it."""
    return (state[0], optax.EmptyState())  # type: ignore[index]


def gaussian_policy(deterministic: Params, deviation: float | jax.Array) -> Params:
    """Parameters of a `networks.Policy` from a `DeterministicPolicy`'s: its action, and a constant deviation before the tanh."""
    layers = dict(deterministic["params"])
    head = layers.pop("mean")
    kernel = jnp.concatenate([head["kernel"], jnp.zeros_like(head["kernel"])], axis=-1)
    bias = jnp.concatenate([head["bias"], jnp.full_like(head["bias"], jnp.log(deviation))])
    return {"params": layers | {"gaussian": {"kernel": kernel, "bias": bias}}}


def _decaying(params: PyTree, frozen: Collection[str]) -> PyTree:
    def decays(path: tuple[Any, ...], _: jax.Array) -> bool:
        return "kernel" in jax.tree_util.keystr(path[-1:]) and not any(getattr(part, "key", None) in frozen for part in path)

    return jax.tree_util.tree_map_with_path(decays, params)

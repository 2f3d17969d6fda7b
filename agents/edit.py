"""Editing the actions of a base policy: the best by Q of what it proposes, and of the same with a learnt edit.

    ã_i  = clip(a_i + β tanh u_i),  u_i ~ N(μ, σ)(s, a_i),  a_i the base's proposals for s, i = 1 … N
    π(s) = argmax over {a_1, …, a_N, ã_1, …, ã_N} of agg_k Q_k(s, ·)
    y    = clip(r + γ m min_{k∈M} Q̄_k(s', π(s')))                       the proposals for s' are those that came with s'
    L_Q  = mean_{E×B} w (Q_k(s, a) − y)²                                  a is what was done, also by a person
    L_π  = mean w_π mean_i [α log π(e_i|s, a_i) − agg_k Q_k(s, ã_i)],     e_i = tanh u_i;   α by SAC

The base is outside: any policy, which is asked on the actor (`environment.base`) and never trained. The critics learn alone at first, since
the first steps of an edit by critics that know nothing would wreck the base. With β = 0 it is best-of-N; with N = 1 and
`candidates="edited"` residual RL; with `edits_base=False` and β = 1 the candidates are those of IBRL, the base's action and a policy's own.
Sources: EXPO (Dong et al. 2025, arXiv 2507.07986), ResFiT (Ankile et al. 2025, arXiv 2509.19301), IBRL (Hu et al. 2023).
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ..data.errors import WarmloopError
from ..data.transition import BASE, Batch, PyTree, Spec, Transition, without
from .base import Metrics, Params, Problem, run_block
from .networks.bounds import bounded, factor
from .networks.networks import Policy, apply, initialise, sample_action
from .networks.normaliser import Normaliser
from .networks.vision import Vision, VisionConfig
from .shared.agent_settings import CriticSettings, setting
from .shared.critics import Critics, subset
from .shared.gradients import adam, descend
from .shared.temperature import temperature_step


@dataclasses.dataclass(frozen=True)
class EditConfig(CriticSettings):
    """Settings of editing a base policy."""

    utd: int = setting(20, "K, critic steps for each step of the edit", least=1)
    ensemble: int = 10
    critic_layer_norm: bool = True
    # The edit.
    edit_scale: float = setting(0.2, "β, the most that an edit changes of each number of an action, whose range is 2", least=0, most=2)
    initial_log_std: float = setting(-1.0, "log standard deviation of u before training", least=-5, most=2)
    edits_base: bool = setting(True, "the learnt action is an edit of the base's; False: it is a policy's own, β tanh u")
    candidates: str = setting("both", "among which the critics choose, in acting and in targets", among=("both", "edited"))
    critic_only: int = setting(2_000, "critic steps at first, those of a warm-up included, in which the edit does not learn", least=0)
    q_agg: str = setting("mean", "over the critics, in the choice and in the edit's loss", among=("mean", "min"))
    # The target.
    target_subset: int = setting(2, "|M|, critics whose minimum the target is of", least=1)
    clip_target: bool = setting(False, "whether y is clipped to the bounds of the return")
    # The temperature.
    initial_temperature: float = setting(0.1, "α before training", least=1e-6)  # its logarithm is learnt
    temperature_lr: float = setting(3e-4, "Adam step size of α", least=0)
    target_entropy_per_dim: float = setting(-0.5, "H̄ / A, of tanh u")
    vision: VisionConfig = setting(VisionConfig(), "the encoder of camera images, trained by the critics")

    def __post_init__(self):
        super().__post_init__()
        if self.target_subset > self.ensemble:
            raise WarmloopError(f"agent.target_subset is {self.target_subset}; it must lie between 1 and agent.ensemble ({self.ensemble}).")
        if self.observation_noise:
            raise WarmloopError("agent.observation_noise would disturb the base's actions too, which are in the observation; set it to 0.")


class EditState(struct.PyTreeNode):
    """Everything that is learnt beside the base. Critic leaves are `[E, ...]`; `encoder` is empty without cameras; `updates` counts critic
    steps."""

    actor: Params
    critic: Params
    target_critic: Params
    log_temperature: jax.Array
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    temperature_optimizer: optax.OptState
    normaliser: Normaliser
    key: jax.Array
    updates: jax.Array
    encoder: Params = ()
    encoder_optimizer: optax.OptState = ()


class EditActor(struct.PyTreeNode):
    """What acting needs: the edit, and the critics that choose."""

    params: Params
    critic: Params
    normaliser: Normaliser
    encoder: Params


@dataclasses.dataclass(frozen=True)
class Edit:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: EditConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "edit"

    def __post_init__(self):
        leaf = next((leaf for leaf in self.spec.observation if leaf.name == BASE), None)
        if leaf is None or len(leaf.shape) != 1 or leaf.shape[0] % self.spec.action_dim:
            raise WarmloopError(
                f'The agent edit improves a base policy, and no observation has its actions ("{BASE}"): name the base, as in '
                "--config.environment.base=checkpoint:runs/bc/warmup."
            )

    @property
    def proposals(self) -> int:
        """N."""
        return next(leaf.shape[0] for leaf in self.spec.observation if leaf.name == BASE) // self.spec.action_dim

    @property
    def state_spec(self) -> Spec:
        """The shapes without the base's proposals."""
        return dataclasses.replace(self.spec, observation=tuple(leaf for leaf in self.spec.observation if leaf.name != BASE))

    @property
    def vision(self) -> Vision:
        """What the networks see of the state."""
        return Vision(self.config.vision, self.state_spec)

    @property
    def critics(self) -> Critics:
        return Critics(self.config, self.problem, self.vision)

    @property
    def policy(self) -> Policy:
        """The edit's module, of the state and a proposal side by side."""
        c = self.config
        layers = (c.actor_widths, c.actor_layer_norm, c.activation, c.actor_dropout)
        return Policy(self.spec.action_dim, *layers, initial_log_std=c.initial_log_std, network=c.actor_network)

    @property
    def actor_optimizer(self) -> optax.GradientTransformation:
        return adam(self.config.actor_lr, self.config.weight_decay)

    def init(self, key: jax.Array, example: Transition) -> EditState:
        self.config.check_images(self.spec)
        actor_key, critic_key, encoder_key, key = jax.random.split(key, 4)
        actor = initialise(self.policy, actor_key, jnp.zeros((1, self.vision.dim + self.spec.action_dim)))
        encoder = self.vision.init(encoder_key)
        log_temperature = jnp.log(jnp.asarray(self.config.initial_temperature, jnp.float32))
        return EditState(
            actor=actor,
            **self.critics.init(critic_key, self.vision.dim, self.spec.action_dim),
            log_temperature=log_temperature,
            actor_optimizer=self.actor_optimizer.init(actor),
            temperature_optimizer=adam(self.config.temperature_lr).init(log_temperature),
            normaliser=Normaliser.asked(example.replace(observation=without(example.observation, (BASE,))), self.config),
            key=key,
            updates=jnp.zeros((), jnp.int32),
            encoder=encoder,
            encoder_optimizer=optax.adam(self.config.critic_lr).init(encoder) if self.spec.cameras else (),
        )

    def seen(self, encoder: Params, normaliser: Normaliser, observation: PyTree) -> jax.Array:
        """What the networks see of the states, `[..., D]`."""
        return self.vision(encoder, normaliser, without(observation, (BASE,)))

    def proposed(self, observation: PyTree) -> jax.Array:
        """The base's actions `[..., N, A]`."""
        flat = jnp.clip(observation[BASE], -1.0, 1.0)
        return flat.reshape(*flat.shape[:-1], self.proposals, self.spec.action_dim)

    def edited(self, actor: Params, seen: jax.Array, proposals: jax.Array, key: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """ã `[..., N, A]` and log π(e|s, a) `[..., N]`; without a key of the edit's mode, whose log density is not asked for, 0."""
        each = jnp.broadcast_to(seen[..., None, :], (*proposals.shape[:-1], seen.shape[-1]))
        mean, log_std = apply(self.policy, actor, jnp.concatenate([each, proposals], axis=-1))
        edit, log_prob = (jnp.tanh(mean), jnp.zeros(mean.shape[:-1])) if key is None else sample_action(key, mean, log_std)
        return bounded((proposals if self.config.edits_base else 0.0) + self.config.edit_scale * edit, -1.0, 1.0), log_prob

    def value(self, critic: Params, seen: jax.Array, actions: jax.Array) -> jax.Array:
        """agg_k Q_k `[B, M]` of actions `[B, M, A]`."""
        q = self.critics(critic, seen, actions)
        return q.mean(axis=0) if self.config.q_agg == "mean" else q.min(axis=0)

    def best(self, actor: Params, critic: Params, seen: jax.Array, proposals: jax.Array, key: jax.Array | None) -> jax.Array:
        """π `[B, A]` for what is seen, `[B, D]`, and proposed, `[B, N, A]`. Where two are equally good it is the base's."""
        edited, _ = self.edited(actor, seen, proposals, key)
        actions = jnp.concatenate([proposals, edited], axis=1) if self.config.candidates == "both" else edited  # [B, M, A]
        chosen = self.value(critic, seen, actions).argmax(axis=1)
        is_it = jnp.arange(actions.shape[1])[None] == chosen[:, None]  # [B, M]; a gather for each row has no NumPy form in an export
        return jnp.sum(jnp.where(is_it[..., None], actions, 0.0), axis=1)

    # Losses: scalar and what the caller logs.

    def td_target(self, state: EditState, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`, without gradient: chosen by the critics among what was proposed for s', and valued by their targets."""
        subset_key, edit_key = jax.random.split(key)
        seen = self.seen(state.encoder, state.normaliser, batch.next_observation)
        action = self.best(state.actor, state.critic, seen, self.proposed(batch.next_observation), edit_key)
        value = self.critics(subset(state.target_critic, subset_key, self.config.target_subset), seen, action).min(axis=0)
        target = batch.reward + self.problem.discount * batch.mask * value
        return jnp.clip(target, self.problem.return_low, self.problem.return_high) if self.config.clip_target else target

    def actor_loss(self, actor: Params, state: EditState, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Entropy-regularised value of the edited actions. Gradient to the edit only."""
        seen, proposals = self.seen(state.encoder, state.normaliser, batch.observation), self.proposed(batch.observation)
        edited, log_prob = self.edited(actor, seen, proposals, key)
        value, worth = self.value(state.critic, seen, edited), batch.actor_weight[:, None]
        loss = jnp.mean(worth * (factor(state.log_temperature) * log_prob - value))
        gain = jax.lax.stop_gradient(value - self.value(state.critic, seen, proposals))
        metrics = {"actor/loss": loss, "actor/entropy": -log_prob.mean(), "actor/q_mean": value.mean()}
        return loss, metrics | {"actor/edit_gain": gain.mean(), "actor/edit_size": jnp.abs(edited - proposals).mean()}

    # Updates.

    def update(self, state: EditState, batch: Batch) -> tuple[EditState, Metrics, jax.Array]:
        key, edit_key, *keys = jax.random.split(state.key, 2 + batch.reward.shape[0])
        state, (metrics, td_error) = run_block(self.critic_step, state.replace(key=key), batch, jnp.stack(keys))
        moved, edit_metrics = self.edit_step(state, jax.tree.map(lambda leaf: leaf[-1], batch), edit_key)
        learns = state.updates > self.config.critic_only
        state = jax.tree.map(lambda new, old: jnp.where(learns, new, old), moved, state)
        return state, jax.tree.map(jnp.mean, metrics) | edit_metrics, td_error

    def critic_step(self, state: EditState, inputs: tuple[Batch, jax.Array]) -> tuple[EditState, tuple[Metrics, jax.Array]]:
        """One gradient step of the critics on one minibatch, and the targets after it."""
        batch, key = inputs
        rows = batch.replace(observation=without(batch.observation, (BASE,)))
        return self.critics.regress(state, rows, self.td_target(state, batch, key), jax.random.fold_in(key, 1))

    def edit_step(self, state: EditState, batch: Batch, key: jax.Array) -> tuple[EditState, Metrics]:
        """One gradient step of the edit and one of the temperature."""
        loss = partial(self.actor_loss, state=state, batch=batch, key=key)
        actor, moments, metrics = descend(loss, state.actor, self.actor_optimizer, state.actor_optimizer)
        excess = metrics["actor/entropy"] - self.config.target_entropy_per_dim * self.spec.action_dim
        state, told = temperature_step(state.replace(actor=actor, actor_optimizer=moments), excess, self.config.temperature_lr)
        return state, metrics | told

    # Acting.

    def actor_params(self, state: EditState) -> EditActor:
        return EditActor(state.actor, state.critic, self._beside_base(state.normaliser), state.encoder)

    def act(
        self, actor: EditActor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        proposals = self.proposed(observation)
        seen = self.seen(actor.encoder, self._of_state(actor.normaliser), observation)
        rows = seen.reshape(-1, seen.shape[-1]), proposals.reshape(-1, *proposals.shape[-2:])
        chosen = self.best(actor.params, actor.critic, *rows, None if deterministic else key)
        return chosen.reshape(*proposals.shape[:-2], -1), carry

    def q_values(self, state: EditState, observation: PyTree, action: jax.Array) -> jax.Array:
        return self.critics(state.critic, self.seen(state.encoder, state.normaliser, observation), action)

    def td_error(self, state: EditState, batch: Batch, key: jax.Array) -> jax.Array:
        return jnp.abs(self.q_values(state, batch.observation, batch.action) - self.td_target(state, batch, key)[None]).mean(axis=0)

    @property
    def _place(self) -> slice:
        """The columns of the base's actions among an observation's numbers."""
        sizes = [(leaf.name, math.prod(leaf.shape)) for leaf in self.spec.observation if leaf.dtype != "uint8"]
        begin = sum(size for name, size in sizes if name < BASE)
        return slice(begin, begin + self.proposals * self.spec.action_dim)

    def _beside_base(self, normaliser: Normaliser) -> Normaliser:
        """The state's statistics with those of the base's actions, which are passed on as they came."""
        begin, count = self._place.start, self._place.stop - self._place.start
        mean, scale = (
            jnp.concatenate([each[:begin], jnp.full(count, fill), each[begin:]])
            for each, fill in ((normaliser.mean, 0.0), (normaliser.scale, 1.0))
        )
        return normaliser.replace(mean=mean, scale=scale)

    def _of_state(self, normaliser: Normaliser) -> Normaliser:
        """What `_beside_base` was made of."""
        begin, end = self._place.start, self._place.stop
        mean, scale = (jnp.concatenate([each[:begin], each[end:]]) for each in (normaliser.mean, normaliser.scale))
        return normaliser.replace(mean=mean, scale=scale)

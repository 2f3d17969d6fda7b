"""TD-MPC2 with demonstrations: a latent model that is learnt for planning, and a planner that begins with the policy's own proposals.

    z_0  = h(o_0),  z_{t+1} = d(z_t, a_t),  t < H                                                           (models/latents/latent.py)
    y_t  = r_t + γ m_t min_{2 of E} Q̄_i(h(o_{t+1}), a'),  a' ~ π
    L_M  = mean w Σ_{t<H} ρ^t/H valid_t (c_z |z_{t+1} − sg h(o_{t+1})|² + c_r CE(R(z_t, a_t), r_t) + c_q mean_E CE(Q_i(z_t, a_t), y_t)
                                        + c_m BCE(T(z_{t+1}), 1 − m_t))
    L_π  = −mean w_π Σ_{t≤H} ρ^t/(H+1) alive_t (mean_{2 of E} Q_i(sg z_t, a)/S + c_h A H(π(z_t)))  [+ bc_weight · |a − a_demo|²]

S is the running 5 to 95 % spread of Q, at least 1. alive is 0 behind the end of an episode. H(π) is the entropy. A window has H rows, whose
next observations make H + 1 states. It acts by the first action of a plan of H actions (models/latents/latent_planner.py), which begins at
the mean of the last plan, the carry. The first `clone_share` of the warm-up trains h and π alone, by cloning demonstrations. Sources:
TD-MPC2 (Hansen et al. 2024); demonstrations as in MoDem and DEMO3 (Hansen et al. 2023; Escoriza et al. 2025).
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ..data.mixing import StretchBatch
from ..data.replay.windows import Window
from ..data.transition import Batch, PyTree, Spec, Transition
from .base import Metrics, Params, Problem, critic_metrics, run_block
from .models.latents.latent import LatentModel, LatentSettings
from .models.latents.latent_planner import LatentPlanner
from .models.planning import mppi
from .models.planning.mppi import MPPISettings
from .networks.networks import sample_action
from .networks.normaliser import Normaliser, blurred
from .networks.vision import Vision, VisionConfig
from .shared.action_chunks import FIXED, first_rows
from .shared.agent_settings import CloningSettings, InputSettings, StepSettings, setting
from .shared.cloning import cloning_weight, distance, mean_over, worth_cloning
from .shared.critics import subset
from .shared.gradients import adam, begun_anew, descend


@dataclasses.dataclass(frozen=True)
class MPCConfig(CloningSettings, MPPISettings, LatentSettings, StepSettings, InputSettings):
    """Settings of TD-MPC2, of its size of five million parameters."""

    model_lr: float = setting(3e-4, "Adam step size of the model and its critics", least=0)
    encoder_lr_share: float = setting(0.3, "of `model_lr`, for the encoder", least=0, most=1)
    gradient_clip: float = setting(20.0, "greatest norm of a gradient, of the model's and of the policy's", above=0)
    tau: float = setting(0.01, "rate of the target critics, and of the spread S", above=0, most=1)
    rho: float = setting(0.5, "ρ, by which a later step of a stretch counts less", above=0, most=1)
    consistency_weight: float = setting(20.0, "c_z, of latent states against encoded ones", least=0)
    reward_weight: float = setting(0.1, "c_r, of rewards", least=0)
    value_weight: float = setting(0.1, "c_q, of the critics", least=0)
    end_weight: float = setting(1.0, "c_m, of predicted ends of episodes", least=0)
    entropy_weight: float = setting(1e-4, "c_h, of the policy's entropy", least=0)
    clone_share: float = setting(0.2, "of the warm-up's updates, those at first that clone demonstrations alone", least=0, most=1)
    uncertainty_weight: float = setting(0.0, "λ, by which a plan avoids actions on which the critics disagree", least=0)
    act_by: str = setting("plan", "what acts: the planner, or the policy alone, at a small part of the cost", among=("plan", "policy"))
    vision: VisionConfig = setting(VisionConfig(), "the encoder of camera images, trained by the model's loss")


class MPCState(struct.PyTreeNode):
    """Everything that TD-MPC2 learns: `model` is a `LatentModel`'s parameters; `scale` is S; `updates` counts minibatches."""

    model: dict[str, Params]
    target_critic: Params
    policy: Params
    model_optimizer: optax.OptState
    policy_optimizer: optax.OptState
    scale: jax.Array
    normaliser: Normaliser
    key: jax.Array
    updates: jax.Array


class MPCActor(struct.PyTreeNode):
    """What acting needs: the model, or its encoder where the policy acts alone, and the policy."""

    model: dict[str, Params]
    policy: Params
    normaliser: Normaliser


class Latents(struct.PyTreeNode):
    """Of a minibatch: the latent states `[B, H+1, Z]` of the roll-out, and where the episode still went on, `[B, H+1]`."""

    z: jax.Array
    alive: jax.Array


@dataclasses.dataclass(frozen=True)
class MPC:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: MPCConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "mpc"

    @property
    def window(self) -> Window:
        """What it learns from."""
        return Window(self.config.horizon, "sequence", self.problem.discount)

    @property
    def model(self) -> LatentModel:
        return LatentModel(self.config, Vision(self.config.vision, self.spec), self.spec.action_dim)

    @property
    def planner(self) -> LatentPlanner:
        return LatentPlanner(self.config, self.model, self.problem.discount, self.config.uncertainty_weight)

    @property
    def judged(self) -> MPC:
        """Its policy alone, by which recorded rows judge it: a plan at each of them would take hours."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, act_by="policy"))

    @property
    def clone_updates(self) -> int:
        """Minibatches of the warm-up that clone; 0 online."""
        return round(self.config.clone_share * self.problem.warmup_updates)

    @property
    def model_optimizer(self) -> optax.GradientTransformation:
        c, slow = self.config, ("vision", "encoder")

        def slowed(change: Any, _: Any) -> Any:
            return change | {name: jax.tree.map(lambda x: c.encoder_lr_share * x, change[name]) for name in slow}

        steps = adam(c.model_lr, c.weight_decay, c.vision.frozen_modules)
        return optax.chain(optax.clip_by_global_norm(c.gradient_clip), steps, optax.stateless(slowed))

    @property
    def policy_optimizer(self) -> optax.GradientTransformation:
        c = self.config
        return optax.chain(optax.clip_by_global_norm(c.gradient_clip), adam(c.actor_lr, c.weight_decay, eps=1e-5))

    def init(self, key: jax.Array, example: Transition) -> MPCState:
        self.config.check_images(self.spec)
        model_key, key = jax.random.split(key)
        model, policy = self.model.init(model_key)
        return MPCState(
            model=model,
            target_critic=jax.tree.map(jnp.copy, model["critic"]),  # a buffer of its own: the state is donated
            policy=policy,
            model_optimizer=self.model_optimizer.init(model),
            policy_optimizer=self.policy_optimizer.init(policy),
            scale=jnp.ones(()),
            normaliser=Normaliser.asked(example, self.config),
            key=key,
            updates=jnp.zeros((), jnp.int32),
        )

    def two(self, critic: Params, key: jax.Array) -> Params:
        """Two of the critics, or all where there are no more."""
        return subset(critic, key, 2) if self.config.ensemble > 2 else critic

    # Losses: scalar and what the caller logs.

    def td_target(self, state: MPCState, after: jax.Array, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[...]` of rows whose next latent states are `after` `[..., Z]`; without gradient."""
        subset_key, action_key = jax.random.split(key)
        action, _ = sample_action(action_key, *self.model.policy(state.policy, after))
        value = self.model.values(self.two(state.target_critic, subset_key), after, action).min(axis=0)
        return batch.reward + self.problem.discount * batch.mask * value

    def model_loss(
        self, model: dict[str, Params], state: MPCState, batch: StretchBatch, aims: tuple[jax.Array, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, tuple[Latents, jax.Array, Metrics]]:
        """L_M towards next latent states `[B, H, Z]` and y `[B, H]`; the roll-out, and |Q − y| `[B]` of the first step."""
        c, net, (encoded, target) = self.config, self.model, aims
        first = net.encode(model, state.normaliser, jax.tree.map(lambda x: x[:, 0], batch.observation))
        after = net.roll_out(model, first, batch.action)  # [B, H, Z]
        z = jnp.concatenate([first[:, None], after], axis=1)
        q = net.critics(model["critic"], z[:, :-1], batch.action, key)  # [E, B, H, n]
        terms = {
            "model/consistency": c.consistency_weight * jnp.square(after - encoded).mean(axis=-1),
            "model/reward": c.reward_weight * net.code.cross_entropy(net.reward(model, z[:, :-1], batch.action), batch.reward),
            "model/value": c.value_weight * net.code.cross_entropy(q, jnp.broadcast_to(target, q.shape[:-1])).mean(axis=0),
        }
        if c.predict_end:
            terms["model/end"] = c.end_weight * optax.sigmoid_binary_cross_entropy(net.end(model, after), 1.0 - batch.mask)
        share = self.shares(c.horizon)[None] * batch.valid * batch.weight[:, None]  # [B, H]
        losses = {name: jnp.mean(jnp.sum(share * term, axis=1)) for name, term in terms.items()}
        loss = sum(losses.values(), jnp.zeros(()))
        value, goes_on = net.code.decode(q)[:, :, 0].mean(axis=0), batch.valid * batch.mask
        latents = Latents(z, jnp.concatenate([jnp.ones_like(goes_on[:, :1]), goes_on], axis=1))
        logged = critic_metrics(losses["model/value"], value, target[:, 0]) | {"model/loss": loss}
        return loss, (latents, jnp.abs(value - target[:, 0]), losses | logged)

    def policy_loss(
        self, policy: Params, state: MPCState, batch: StretchBatch, latents: Latents, key: jax.Array
    ) -> tuple[jax.Array, tuple[jax.Array, Metrics]]:
        """L_π, gradient to the policy only; and S after it."""
        c, (subset_key, action_key) = self.config, jax.random.split(key)
        action, log_prob = sample_action(action_key, *self.model.policy(policy, latents.z))
        q = self.model.values(self.two(state.model["critic"], subset_key), latents.z, action).mean(axis=0)  # [B, H+1]
        low, high = jnp.percentile(jax.lax.stop_gradient(q[:, 0]), jnp.array([5.0, 95.0]))
        scale = state.scale + c.tau * (jnp.maximum(high - low, 1.0) - state.scale)
        soft = q / scale - c.entropy_weight * self.spec.action_dim * log_prob
        share = self.shares(c.horizon + 1)[None] * latents.alive * batch.actor_weight[:, None]
        loss = -jnp.mean(jnp.sum(share * soft, axis=1))
        metrics = {"actor/entropy": -log_prob[:, 0].mean(), "actor/q_mean": q[:, 0].mean()}
        if c.bc_weight:
            cloning = self.cloning_loss(action[:, 0], batch, jax.lax.stop_gradient(q[:, 0]))
            loss += cloning_weight(c, state.updates) * cloning
            metrics["actor/cloning_loss"] = cloning
        return loss, (scale, metrics | {"actor/loss": loss, "actor/scale": scale})

    def cloning_loss(self, action: jax.Array, batch: StretchBatch, value: jax.Array) -> jax.Array:
        """Squared distance of actions `[B, A]` to the recorded first ones over the rows worth it, by the policy's value `[B]`."""
        rows = first_rows(batch)
        return mean_over(worth_cloning(self.config, self.problem, rows, value), distance(self.config, action, rows.action), rows)

    def shares(self, steps: int) -> jax.Array:
        """ρ^t / steps, `[steps]`."""
        return self.config.rho ** jnp.arange(steps, dtype=jnp.float32) / steps

    # Updates.

    def update(self, state: MPCState, batch: StretchBatch) -> tuple[MPCState, Metrics, jax.Array]:
        key, noise_key, *keys = jax.random.split(state.key, 2 + batch.weight.shape[0])
        batch = blurred(batch, state.normaliser, self.config.observation_noise, noise_key)
        state, (metrics, td_error) = run_block(self.step, state.replace(key=key), batch, jnp.stack(keys))
        return state, jax.tree.map(jnp.mean, metrics), td_error

    def step(self, state: MPCState, inputs: tuple[StretchBatch, jax.Array]) -> tuple[MPCState, tuple[Metrics, jax.Array]]:
        """One minibatch: cloning at first, then the model, the policy and the target critics."""
        if not self.clone_updates:
            state, logged = self.learn(state, inputs)
        else:
            cloning = state.updates < self.clone_updates
            state, logged = jax.lax.cond(cloning, self.clone, self.learn, state, inputs)
        return state.replace(updates=state.updates + 1), logged

    def learn(self, state: MPCState, inputs: tuple[StretchBatch, jax.Array]) -> tuple[MPCState, tuple[Metrics, jax.Array]]:
        """One gradient step each of the model and the policy, and the target critics after them."""
        batch, key = inputs
        target_key, model_key, policy_key = jax.random.split(key, 3)
        encoded = self.model.encode(state.model, state.normaliser, batch.next_observation)  # [B, H, Z]
        aims = encoded, self.td_target(state, encoded, batch, target_key)
        model, moments, (latents, td_error, metrics) = descend(
            lambda model: self.model_loss(model, state, batch, aims, model_key), state.model, self.model_optimizer, state.model_optimizer
        )
        target = optax.incremental_update(model["critic"], state.target_critic, self.config.tau)
        state = state.replace(model=model, model_optimizer=moments, target_critic=target)
        loss = partial(self.policy_loss, state=state, batch=batch, latents=latents, key=policy_key)
        policy, moments, (scale, policy_metrics) = descend(loss, state.policy, self.policy_optimizer, state.policy_optimizer)
        return state.replace(policy=policy, policy_optimizer=moments, scale=scale), ({**metrics, **policy_metrics}, td_error)

    def clone(self, state: MPCState, inputs: tuple[StretchBatch, jax.Array]) -> tuple[MPCState, tuple[Metrics, jax.Array]]:
        """One gradient step of the encoder and the policy towards demonstrations; what else `learn` logs is 0."""
        batch, key = inputs

        def loss(model: dict[str, Params], policy: Params) -> jax.Array:
            z = self.model.encode(model, state.normaliser, first_rows(batch).observation)
            action, _ = sample_action(key, *self.model.policy(policy, z))
            return self.cloning_loss(action, batch, jnp.full(z.shape[:1], self.problem.return_low))

        cloning, gradients = jax.value_and_grad(loss, argnums=(0, 1))(state.model, state.policy)
        change, model_moments = self.model_optimizer.update(gradients[0], state.model_optimizer, state.model)
        policy_change, moments = self.policy_optimizer.update(gradients[1], state.policy_optimizer, state.policy)
        shapes = jax.eval_shape(self.learn, state, inputs)[1]
        metrics, td_error = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        metrics |= {name: cloning for name in ("actor/loss", "actor/cloning_loss") if name in metrics}
        new = state.replace(
            model=optax.apply_updates(state.model, change),
            policy=optax.apply_updates(state.policy, policy_change),
            model_optimizer=begun_anew(state.updates + 1 == self.clone_updates, self.model_optimizer, state.model, model_moments),
            policy_optimizer=moments,
        )
        return new, (metrics, td_error + 1.0)

    # Acting.

    def actor_params(self, state: MPCState) -> MPCActor:
        needed = state.model if self.config.act_by == "plan" else {name: state.model[name] for name in ("vision", "encoder")}
        return MPCActor(needed, state.policy, state.normaliser)

    def act(
        self, actor: MPCActor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        z = self.model.encode(actor.model, actor.normaliser, observation)
        if self.config.act_by == "policy":
            mean, log_std = self.model.policy(actor.policy, z)
            return (jnp.tanh(mean) if deterministic else sample_action(key, mean, log_std)[0]), carry
        plan_key, action_key = jax.random.split(jax.random.key(FIXED) if deterministic else key)
        sampled = self.planner(actor.model, actor.policy, z, plan_key, carry)
        return (sampled.mean[0] if deterministic else mppi.sampled_action(sampled, action_key)), sampled.mean

    def q_values(self, state: MPCState, observation: PyTree, action: jax.Array) -> jax.Array:
        return self.model.values(state.model["critic"], self.model.encode(state.model, state.normaliser, observation), action)

    def td_error(self, state: MPCState, batch: Batch, key: jax.Array) -> jax.Array:
        after = self.model.encode(state.model, state.normaliser, batch.next_observation)
        target = self.td_target(state, after, batch, key)
        return jnp.abs(self.q_values(state, batch.observation, batch.action) - target[None]).mean(axis=0)

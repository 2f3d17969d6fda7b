"""SAC for the arm and double Q-learning for its grippers, each of which has three commands: open (−1), hold (0), close (+1).

    a      = [a_arm, c],  c ∈ {−1, 0, 1}^G                            G grippers, so 3^G joint commands
    L_Q, L_π, L_α        as `sac`, with a_arm in the place of a       what it values is the arm's action alone
    y_c    = bound(r + γ m Q̄_c(s', argmax_c' Q_c(s', c'))) − p·turns(s, c)
    L_c    = mean w (Q_c(s, c) − y_c)² + bc_weight · decay^t · mean_demo w_π [max_c' (Q_c(s, c') + l·1[c' ≠ c]) − Q_c(s, c)]

The online critic chooses the next command and its target copy values it (double DQN, van Hasselt et al. 2016); the command is the best
one, or with probability ε any. `bound` is SAC's, without the penalty: what an episode reached bounds the return, and not what its
grippers cost later. The penalty is for commands that turn a gripper: closing an open one, or opening a closed one. The last term, DQfD's
large margin (Hester et al. 2018), clones commands as SAC's cloning term clones motions, on the same rows. Both critics' losses train
the encoder of camera images.

Recorded grippers that move continuously count as the nearest command. Source: HIL-SERL (Luo et al. 2024), which has the two critics, the
9 joint commands of two arms and the penalty, added to the reward that the grasp critic alone sees; ε, margin and bound are this file's.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from ..data.errors import WarmloopError
from ..data.transition import Batch, PyTree, Spec, Transition, flatten_observation
from .base import Actor, Metrics, Params, Problem, WarmStart, critic_metrics, run_block
from .networks.networks import MLP, VALUES_INIT, apply, initialise
from .sac import SAC, SACConfig, SACState
from .shared.agent_settings import setting
from .shared.cloning import cloning_weight, mean_over, worth_cloning

COMMANDS = (-1.0, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class GraspSACConfig(SACConfig):
    """Settings of the grippers beside SAC's, which are the arm's and, where it makes sense, the grasp critic's too."""

    grippers: tuple[int, ...] = setting((-1,), "which numbers of an action are grippers: (-1,) is the last, (6, 13) those of two arms of 7")
    # At 0 commands that it would not choose had no likelihood.
    grasp_epsilon: float = setting(0.02, "ε, share of steps whose commands are random, where it acts at random", least=1e-3, below=1)
    grasp_margin: float = setting(
        0.1, "l, in units of the return, by which a demonstrated command is to be above the others; with `bc_weight` only", least=0
    )
    grasp_penalty: float = setting(
        0.0, "p, what each gripper that a command turns costs, in units of the reward; needs `gripper_states`", least=0
    )
    gripper_states: tuple[int, ...] = setting(
        (), "for each gripper, which of the observation's numbers (flat, in name order, without images) tells its state"
    )
    gripper_open: float = setting(0.0, "what that number is when open")
    gripper_closed: float = setting(1.0, "what it is when closed; in between, the nearer one counts")

    def __post_init__(self):
        super().__post_init__()
        if (self.grasp_penalty or self.gripper_states) and len(self.gripper_states) != len(self.grippers):
            raise WarmloopError(
                f"agent.gripper_states names {len(self.gripper_states)} of the observation's numbers for {len(self.grippers)} grippers; "
                "agent.grasp_penalty needs one for each, which tells whether it is closed."
            )


class GraspState(struct.PyTreeNode):
    """SAC's state for the arm, and the grasp critic with its target copy."""

    sac: SACState
    grasp: Params
    target_grasp: Params
    grasp_optimizer: optax.OptState


@dataclasses.dataclass(frozen=True)
class GraspSAC:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: GraspSACConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "sac_grasp"

    def __post_init__(self):
        grippers, dims = self.config.grippers, self.spec.action_dim
        if not all(-dims <= place < dims for place in grippers) or not 0 < len(set(self.grippers)) == len(grippers) < dims:
            raise WarmloopError(
                f"agent.grippers is {grippers} and actions have {dims} numbers: name each gripper's own, and leave one for the arm."
            )
        if not all(0 <= place < self.spec.observation_dim for place in self.config.gripper_states):
            numbers = self.spec.observation_dim
            raise WarmloopError(f"agent.gripper_states is {self.config.gripper_states}; observations have the numbers 0 to {numbers - 1}.")

    @property
    def grippers(self) -> tuple[int, ...]:
        """The grippers' places in an action, `[G]`."""
        return tuple(place % self.spec.action_dim for place in self.config.grippers)

    @property
    def arm(self) -> tuple[int, ...]:
        """The places of all else, `[A − G]`."""
        return tuple(place for place in range(self.spec.action_dim) if place not in self.grippers)

    @property
    def commands(self) -> np.ndarray:
        """All joint commands, `[3^G, G]`."""
        return np.array(list(itertools.product(COMMANDS, repeat=len(self.grippers))), np.float32)

    @property
    def sac(self) -> SAC:
        """The SAC that moves the arm."""
        return SAC(self.config, dataclasses.replace(self.spec, action_dim=len(self.arm)), self.problem)

    @property
    def grasp_critic(self) -> MLP:
        """The module of Q_c: what the networks see `[..., D]` gives the value of every joint command, `[..., 3^G]`."""
        config = self.config
        settings = (config.hidden, config.critic_layer_norm, config.activation, config.critic_dropout)
        return MLP(len(self.commands), *settings, output_init=VALUES_INIT)

    def init(self, key: jax.Array, example: Transition) -> GraspState:
        return self._with_grasp(self.sac.init(key, example))

    # What an action is made of.

    def command(self, action: jax.Array) -> jax.Array:
        """Which of the joint `commands`, `[...]`, is nearest to what the grippers do in actions `[..., A]`."""
        digits = jnp.round(jnp.clip(action[..., np.array(self.grippers)], -1.0, 1.0)).astype(jnp.int32) + 1  # [..., G]
        return jnp.ravel_multi_index(tuple(jnp.moveaxis(digits, -1, 0)), (len(COMMANDS),) * len(self.grippers), mode="clip")

    def arm_only(self, batch: Batch) -> Batch:
        """The batch as the arm's SAC sees it."""
        return batch.replace(action=batch.action[..., np.array(self.arm)])

    def penalty(self, batch: Batch) -> jax.Array:
        """`[B]`, p for each gripper that the recorded command turns."""
        config = self.config
        if not config.grasp_penalty:
            return jnp.zeros_like(batch.reward)
        state = flatten_observation(batch.observation)[..., np.array(config.gripper_states)]  # [B, G]
        closed = jnp.abs(state - config.gripper_closed) < jnp.abs(state - config.gripper_open)
        command = jnp.asarray(self.commands)[self.command(batch.action)]  # [B, G]
        return config.grasp_penalty * jnp.where(closed, command < 0, command > 0).sum(axis=-1)

    # Losses: scalar and what the caller logs.

    def grasp_target(self, state: GraspState, batch: Batch) -> jax.Array:
        """y_c `[B]`, without gradient."""
        observation = self.sac.seen(state.sac, batch.next_observation)
        best = apply(self.grasp_critic, state.grasp, observation).argmax(axis=-1)  # [B]
        value = _at(apply(self.grasp_critic, state.target_grasp, observation), best)
        return self.sac.bound(batch.reward + self.problem.discount * batch.mask * value, batch) - self.penalty(batch)

    def grasp_loss(
        self, grasp: Params, observation: jax.Array, batch: Batch, target: jax.Array, weight: jax.Array, dropout: jax.Array | None = None
    ) -> tuple[jax.Array, tuple[Metrics, jax.Array]]:
        """Weighted squared TD error, and the margin times `weight`. Returns the loss and (metrics, |TD error| `[B]`)."""
        q, command = apply(self.grasp_critic, grasp, observation, dropout=dropout), self.command(batch.action)  # [B, 3^G], [B]
        error = _at(q, command) - target
        loss = td_loss = jnp.mean(batch.weight * jnp.square(error))
        metrics = {"grasp/q_mean": (error + target).mean(), "grasp/target_mean": target.mean()}
        if self.config.bc_weight > 0:
            cloning, agreement = self.cloning_loss(q, command, batch)
            loss = td_loss + weight * cloning
            metrics |= {"grasp/td_loss": td_loss, "grasp/cloning_loss": cloning, "grasp/agreement": agreement}
        return loss, (metrics | {"grasp/loss": loss}, jnp.abs(error))

    def cloning_loss(self, q: jax.Array, command: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """The margin by which recorded commands are not above all others, and the share that is best; over the rows worth cloning."""
        shown = worth_cloning(self.config, self.problem, batch, jax.lax.stop_gradient(q.max(axis=-1)))
        other = jnp.arange(q.shape[-1])[None] != command[:, None]  # [B, 3^G]
        short = (q + self.config.grasp_margin * other).max(axis=-1) - _at(q, command)
        return mean_over(shown, short, batch), jnp.sum(shown * (q.argmax(axis=-1) == command)) / jnp.maximum(shown.sum(), 1)

    # Updates.

    def update(self, state: GraspState, batch: Batch) -> tuple[GraspState, Metrics, jax.Array]:
        key, *keys = jax.random.split(state.sac.key, 2 + batch.reward.shape[0])
        batch = self.sac.as_learnt(state.sac, batch)
        state = state.replace(sac=state.sac.replace(key=key))
        state, (metrics, td_error) = run_block(self.critic_step, state, batch, jnp.stack(keys[1:]))
        sac, actor_metrics = self.sac.actor_step(state.sac, self.arm_only(self.sac.actor_rows(batch)), keys[0])
        return state.replace(sac=sac), jax.tree.map(jnp.mean, metrics) | actor_metrics, td_error

    def critic_step(self, state: GraspState, inputs: tuple[Batch, jax.Array]) -> tuple[GraspState, tuple[Metrics, jax.Array]]:
        """One gradient step of both critics on one minibatch, and their targets after it."""
        batch, key = inputs
        arm, sac = self.arm_only(batch), state.sac
        target, grasp_target = self.sac.td_target(sac, arm, key), self.grasp_target(state, batch)
        weight, dropout = cloning_weight(self.config, sac.updates), jax.random.fold_in(key, 1)

        def loss_of(critic: Params, encoder: Params, grasp: Params) -> tuple[jax.Array, tuple]:
            observation = self.sac.vision(encoder, sac.normaliser, batch.observation)
            arm_loss, of_arm = self.sac.critics.loss(critic, observation, arm, target, dropout)
            grasp_loss, of_grasp = self.grasp_loss(grasp, observation, batch, grasp_target, weight, dropout)
            return arm_loss + grasp_loss, (arm_loss, *of_arm, *of_grasp)

        differentiate = jax.grad(loss_of, argnums=(0, 1, 2), has_aux=True)
        (*of_arm, of_grasp), (loss, q, td_error, metrics, grasp_error) = differentiate(sac.critic, sac.encoder, state.grasp)
        state = self.apply_grasp(state.replace(sac=self.sac.critics.move(sac, *of_arm)), of_grasp)
        return state, (critic_metrics(loss, q, target) | metrics, 0.5 * (td_error + grasp_error))

    def apply_grasp(self, state: GraspState, gradient: Params) -> GraspState:
        """Adam on the grasp critic, with its decay, then the Polyak step of its target."""
        change, optimizer = self.sac.critics.optimizer.update(gradient, state.grasp_optimizer, state.grasp)
        grasp = optax.apply_updates(state.grasp, change)
        target = optax.incremental_update(grasp, state.target_grasp, self.config.tau)
        return state.replace(grasp=grasp, target_grasp=target, grasp_optimizer=optimizer)

    # Acting, and passing the state on.

    def actor_params(self, state: GraspState) -> Actor:
        """`params` has the arm's policy, and the grasp critic, which is the grippers' policy."""
        actor = self.sac.actor_params(state.sac)
        return actor.replace(params={"arm": actor.params, "grasp": state.grasp})

    def act(
        self, actor: Actor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        arm_key, explore_key, command_key = jax.random.split(key, 3)
        arm, carry = self.sac.act(_arm(actor), observation, arm_key, carry, deterministic)
        command = self._greedy(actor, observation)
        if not deterministic:
            explore = jax.random.bernoulli(explore_key, self.config.grasp_epsilon, command.shape)
            command = jnp.where(explore, jax.random.randint(command_key, command.shape, 0, len(self.commands)), command)
        parts = jnp.concatenate([arm, jnp.asarray(self.commands)[command]], axis=-1)
        # Slices, not one gather, which an exported policy has no NumPy form for.
        order = np.argsort([*self.arm, *self.grippers]).tolist()
        return jnp.concatenate([parts[..., place : place + 1] for place in order], axis=-1), carry

    def log_prob(self, actor: Actor, observation: PyTree, action: jax.Array) -> jax.Array:
        """The density of the arm's action times the probability of the grippers' command, ε-greedy."""
        chosen, epsilon = self.command(action) == self._greedy(actor, observation), self.config.grasp_epsilon
        command = jnp.log((1.0 - epsilon) * chosen + epsilon / len(self.commands))
        return self.sac.log_prob(_arm(actor), observation, action[..., np.array(self.arm)]) + command

    def q_values(self, state: GraspState, observation: PyTree, action: jax.Array) -> jax.Array:
        """The arm's critics; the grasp critic's values are `grasp_critic`'s."""
        return self.sac.q_values(state.sac, observation, action[..., np.array(self.arm)])

    def td_error(self, state: GraspState, batch: Batch, key: jax.Array) -> jax.Array:
        """The mean of both critics', as for priorities: a row is worth drawing by what either has to learn from it."""
        observation = self.sac.seen(state.sac, batch.observation)
        q = _at(apply(self.grasp_critic, state.grasp, observation), self.command(batch.action))
        return 0.5 * (self.sac.td_error(state.sac, self.arm_only(batch), key) + jnp.abs(q - self.grasp_target(state, batch)))

    def take_over(self, state: SACState | WarmStart) -> GraspState:
        """Goes on with the arm's part of a policy and with its encoder; all critics, and so the grippers, begin fresh."""
        layers, columns = state.actor["params"], [*self.arm, *(self.spec.action_dim + place for place in self.arm)]  # of mean and log_std
        head = {name: leaf[..., np.array(columns)] for name, leaf in layers["gaussian"].items()}
        actor = {"params": layers | {"gaussian": head}}
        warm = WarmStart(actor, None, None, None, state.normaliser, state.key, state.updates, state.encoder)
        return self._with_grasp(self.sac.take_over(warm))

    def _with_grasp(self, sac: SACState) -> GraspState:
        key, grasp_key = jax.random.split(sac.key)
        grasp = initialise(self.grasp_critic, grasp_key, jnp.zeros((1, self.sac.vision.dim)))
        moments = self.sac.critics.optimizer.init(grasp)
        return GraspState(sac.replace(key=key), grasp, jax.tree.map(jnp.copy, grasp), moments)

    def _greedy(self, actor: Actor, observation: PyTree) -> jax.Array:
        """The best joint command `[...]`."""
        seen = self.sac.seen(actor, observation)
        return apply(self.grasp_critic, actor.params["grasp"], seen).argmax(axis=-1)


def _at(q: jax.Array, command: jax.Array) -> jax.Array:
    """Q `[B]` of commands `[B]`, from those of all, `[B, 3^G]`."""
    return jnp.take_along_axis(q, command[:, None], axis=-1)[:, 0]


def _arm(actor: Actor) -> Actor:
    return actor.replace(params=actor.params["arm"])

"""Fitted Q evaluation: what a policy would earn, from recorded data alone (Le et al. 2019).

    Q_i(s, a) ← r + γ m Q̄_i(s', π(s')),        estimate_i = mean over initial states of Q_i(s₀, π(s₀))

on unscaled rewards; a time limit keeps m = 1, and no target exceeds what the rewards allow for a return. Each of M members i learns
from its own bootstrap of whole episodes and judges by the same one, so that the members' spread is the estimate's standard error
(bootstrapped FQE, Hao et al. 2021). All policies see the same minibatches, bootstraps and initial weights: what is compared, member by
member, is paired. Estimates rank policies; their size is not to be trusted, the less the further a policy is from the data.

The first fifth of the steps regresses on the recorded returns, so that only the policy's difference from the recorded behaviour has
to spread through the targets. Inside, returns are divided by their root mean square.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from ..agents.base import Agent
from ..agents.networks import Critic, apply, initialise
from ..agents.normaliser import Normaliser
from ..data.episode import Episode
from ..data.errors import WarmloopError
from ..data.transition import PyTree, Transition, concatenate

STEPS_PER_CALL = 250
GROUP_BYTES = 1 << 30


@dataclasses.dataclass(frozen=True)
class FQEConfig:
    """Settings of fitted Q evaluation.

    Attributes:
        steps: gradient steps of every critic, rounded up to whole programs of at most 250.
        members: M, critics per policy, each on its own bootstrap of the episodes.
        hidden: widths of their hidden layers.
        batch_size: rows per step.
        learning_rate: of Adam at the start; it falls to 0 by a cosine.
        tau: Polyak rate of the targets.
        samples: actions drawn per state where the policy that is judged samples them.
    """

    steps: int = 3_000
    members: int = 4
    hidden: tuple[int, ...] = (64, 64)
    batch_size: int = 128
    learning_rate: float = 1e-3
    tau: float = 0.05
    samples: int = 8

    def __post_init__(self):
        for name, least in (("steps", 1), ("members", 2), ("batch_size", 1), ("samples", 1)):
            if getattr(self, name) < least:
                raise WarmloopError(f"fqe.{name} is {getattr(self, name)}; it must be at least {least}.")
        if not 0 < self.tau <= 1:
            raise WarmloopError(f"fqe.tau is {self.tau}; it must lie in (0, 1].")
        if not 0 < self.learning_rate < math.inf:
            raise WarmloopError(f"fqe.learning_rate is {self.learning_rate}; it must be above 0.")
        if min(self.hidden, default=1) < 1:
            raise WarmloopError(f"fqe.hidden is {self.hidden}; each width must be at least 1.")


class Data(struct.PyTreeNode):
    """Recorded steps `[N]` and initial states `[I]` as the evaluation sees them.

    Attributes:
        observation, next_observation, start: `[N, D]`, `[N, D]`, `[I, D]`, centred and scaled.
        reward, mc_return: `[N]`, divided by `scale`.
        weight, start_weight: `[M, N]`, `[M, I]`, how often each member has the row's episode in its bootstrap; the latter sum to 1.
        scale: `[]`, the root mean square of the returns.
        low, high: `[]`, what is possible for a return to go, divided by `scale`.
    """

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    mask: jax.Array
    next_observation: jax.Array
    mc_return: jax.Array
    start: jax.Array
    weight: jax.Array
    start_weight: jax.Array
    scale: jax.Array
    low: jax.Array
    high: jax.Array


def estimates(
    agents: Sequence[tuple[Agent, PyTree]],
    episodes: Sequence[Episode],
    config: FQEConfig,
    discount: float,
    seed: int,
    stochastic: bool = False,
    on_steps: Callable[[int], Any] = lambda steps: None,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> np.ndarray:
    """`[C, M]`: what each member thinks of each policy, an agent and its actor parameters, per episode, discounted.

    Args:
        episodes: at least one, with unscaled rewards, returns to go, and observations as the policies see them.
        stochastic: judge the policies with sampled actions instead of their deterministic ones.
        on_steps: called with the number of steps (of all policies in all) since the last call.
        bounds: the least and the greatest return to go that the rewards allow (`data.reward.return_bounds`).

    Raises:
        WarmloopError: a policy looks at camera images, which FQE's critics do not.
    """
    if cameras := [leaf.name or "the whole observation" for agent, _ in agents for leaf in agent.spec.cameras]:
        raise WarmloopError(
            f"FQE judges by states alone, and these policies look at images ({', '.join(dict.fromkeys(cameras))}): compare them in the "
            "environment, by `warmloop-evaluate --checkpoint=DIR --step=N`."
        )
    rows = concatenate([episode.steps for episode in episodes])
    lengths = [len(episode) for episode in episodes]
    data = prepare(rows, lengths, config.members, seed, bounds)
    action_key, fit_key = jax.random.split(jax.random.key(seed))
    starts = jax.tree.map(lambda x: x[_firsts(lengths)], rows.observation)
    samples = config.samples if stochastic else 1
    here = partial(policy_actions, key=action_key, samples=samples, stochastic=stochastic)
    group = max(1, GROUP_BYTES // (4 * samples * data.action.size + 24 * config.members * config.batch_size * sum(config.hidden)))
    found = []
    for at in range(0, len(agents), group):
        chosen = agents[at : at + group]
        after = jnp.stack([here(agent, actor, rows.next_observation) for agent, actor in chosen])  # [C, N, S, A]
        first = jnp.stack([here(agent, actor, starts) for agent, actor in chosen])  # [C, I, S, A]
        found.append(fit(data, after, first, config, discount, fit_key, on_steps))
    return np.concatenate(found)


def total_steps(config: FQEConfig) -> int:
    """Gradient steps per policy, whole programs."""
    per_call = min(STEPS_PER_CALL, config.steps)
    return -(-config.steps // per_call) * per_call


def prepare(rows: Transition, lengths: Sequence[int], members: int, seed: int, bounds: tuple[float, float] = (-np.inf, np.inf)) -> Data:
    """The data of episodes of these lengths, one after the other, and the members' bootstraps."""
    normaliser = Normaliser.of(rows, True)
    scale = max(float(np.sqrt(np.mean(np.square(rows.mc_return, dtype=np.float64)))), 1e-6)
    count = len(lengths)
    drawn = np.random.default_rng([seed, count]).multinomial(count, np.full(count, 1 / count), size=members)  # [M, I]
    observation = normaliser(jax.tree.map(jnp.asarray, rows.observation))
    return Data(
        observation=observation,
        action=jnp.asarray(rows.action),
        reward=jnp.asarray(rows.reward / scale, jnp.float32),
        mask=jnp.asarray(rows.mask),
        next_observation=normaliser(jax.tree.map(jnp.asarray, rows.next_observation)),
        mc_return=jnp.asarray(rows.mc_return / scale, jnp.float32),
        start=observation[_firsts(lengths)],
        weight=jnp.asarray(np.repeat(drawn, lengths, axis=1), jnp.float32),
        start_weight=jnp.asarray(drawn / count, jnp.float32),
        scale=jnp.asarray(scale, jnp.float32),
        low=jnp.asarray(bounds[0] / scale, jnp.float32),
        high=jnp.asarray(bounds[1] / scale, jnp.float32),
    )


@partial(jax.jit, static_argnames=("agent", "samples", "stochastic"))
def policy_actions(agent: Agent, actor: PyTree, observation: PyTree, key: jax.Array, samples: int, stochastic: bool) -> jax.Array:
    """Actions `[N, S, A]` of a policy without memory for observations `[N, ...]`."""
    count = jax.tree.leaves(observation)[0].shape[0]

    def act(inputs: tuple[PyTree, jax.Array]) -> jax.Array:
        observation, key = inputs
        keys = jax.random.split(key, samples)
        return jax.vmap(lambda key: agent.act(actor, observation, key, (), not stochastic)[0])(keys)

    actions = jax.lax.map(act, (jax.tree.map(jnp.asarray, observation), jax.random.split(key, count)), batch_size=1024)
    return jnp.clip(actions, -1.0, 1.0)


def fit(
    data: Data,
    after: jax.Array,
    first: jax.Array,
    config: FQEConfig,
    discount: float,
    key: jax.Array,
    on_steps: Callable[[int], Any] = lambda steps: None,
) -> np.ndarray:
    """Estimates `[C, M]`, unscaled, of policies that choose `after` `[C, N, S, A]` at the next states and `first` `[C, I, S, A]` at the
    initial ones."""
    init_key, step_key = jax.random.split(key)
    steps, per_call = total_steps(config), min(STEPS_PER_CALL, config.steps)
    params = initialise(_critic(config), init_key, data.observation[:1], data.action[:1])
    start = (params, params, _optimizer(config).init(params))
    carry = jax.tree.map(lambda x: jnp.broadcast_to(x, (after.shape[0], *x.shape)), start)
    for begin in range(0, steps, per_call):
        carry = _run(carry, data, after, begin + jnp.arange(per_call), step_key, config, discount)
        jax.block_until_ready(carry)
        on_steps(per_call * after.shape[0])
    return np.asarray(_values(carry[1], data, first, config))


@partial(jax.jit, static_argnames=("config", "discount"), donate_argnums=0)
def _run(carry: PyTree, data: Data, after: jax.Array, numbers: jax.Array, key: jax.Array, config: FQEConfig, discount: float) -> PyTree:
    """Gradient steps `numbers` of all members of all policies; the draws are the same for all."""
    critic, optimizer, regression = _critic(config), _optimizer(config), total_steps(config) // 5

    def step(carry: PyTree, number: jax.Array, after: jax.Array) -> PyTree:
        params, target, state = carry
        row_key, sample_key = jax.random.split(jax.random.fold_in(key, number))
        row = jax.random.randint(row_key, (config.batch_size,), 0, data.reward.shape[0])
        sample = jax.random.randint(sample_key, row.shape, 0, after.shape[1])
        following = apply(critic, target, data.next_observation[row], after[row, sample])  # [M, B]
        bellman = data.reward[row][None] + discount * data.mask[row][None] * following
        aim = jnp.where(number < regression, data.mc_return[row][None], jnp.clip(bellman, data.low, data.high))

        def loss(params: PyTree) -> jax.Array:
            error = apply(critic, params, data.observation[row], data.action[row]) - aim
            return jnp.mean(data.weight[:, row] * jnp.square(error), axis=1).sum()

        change, state = optimizer.update(jax.grad(loss)(params), state)
        params = optax.apply_updates(params, change)
        return params, optax.incremental_update(params, target, config.tau), state

    def of_all(carry: PyTree, number: jax.Array) -> tuple[PyTree, None]:
        return jax.vmap(lambda carry, after: step(carry, number, after))(carry, after), None

    return jax.lax.scan(of_all, carry, numbers)[0]


@partial(jax.jit, static_argnames="config")
def _values(params: PyTree, data: Data, first: jax.Array, config: FQEConfig) -> jax.Array:
    """`[C, M]`: every member's mean over its own initial states."""
    q = jax.vmap(lambda params, action: apply(_critic(config), params, data.start, action))(params, first)  # [C, M, I, S]
    return jnp.einsum("cmis,mi->cm", q, data.start_weight) / first.shape[2] * data.scale


def _critic(config: FQEConfig) -> Critic:
    return Critic(config.members, config.hidden)


def _optimizer(config: FQEConfig) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(config.learning_rate, total_steps(config)))


def _firsts(lengths: Sequence[int]) -> np.ndarray:
    return np.cumsum([0, *lengths[:-1]])

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

from ...agents.base import Agent, Remembers
from ...agents.networks.networks import Critic, apply, initialise
from ...agents.networks.normaliser import Normaliser
from ...data.episode import Episode
from ...data.errors import WarmloopError
from ...data.reward import RewardConfig, estimated_returns
from ...data.transition import PyTree, Transition, concatenate
from ..chunks import Chunks

ROWS_PER_CALL = 8192  # whose actions are computed together: of an agent that proposes a hundred, some seconds'
GROUP_BYTES = 1 << 30


@dataclasses.dataclass(frozen=True)
class FQEConfig:
    """Settings of fitted Q evaluation.

    Attributes:
        steps: gradient steps of every critic; 0 is in proportion to the data and to the warm-up (`proportion.fqe_steps`).
        members: M, critics per policy, each on its own bootstrap of the episodes.
        hidden: widths of their hidden layers.
        batch_size: rows per step.
        learning_rate: of Adam at the start; it falls to 0 by a cosine.
        tau: Polyak rate of the targets.
        samples: actions drawn per state where the policy that is judged samples them.
    """

    steps: int = 0
    members: int = 4
    hidden: tuple[int, ...] = (64, 64)
    batch_size: int = 128
    learning_rate: float = 1e-3
    tau: float = 0.05
    samples: int = 8

    def __post_init__(self):
        for name, least in (("steps", 0), ("members", 2), ("batch_size", 1), ("samples", 1)):
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
        reward, mc_return: `[N]`, divided by `scale`; the latter -inf where it is not known.
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
        WarmloopError: a policy looks at camera images, or remembers, which FQE's critics do not.
    """
    if reason := next((reason for agent, _ in agents if (reason := why_not(agent))), ""):
        raise WarmloopError(
            f"FQE judges by single states alone, and these policies {reason}: compare them in the environment, by `warmloop-evaluate "
            "--checkpoint=DIR --step=N`."
        )
    plain = RewardConfig(signal="environment", discount=discount)
    returns = np.concatenate([estimated_returns(episode, plain) for episode in episodes])
    rows = concatenate([episode.steps for episode in episodes]).replace(mc_return=returns)
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


def why_not(agent: Agent) -> str:
    """What an agent's policy does that FQE cannot judge; "" where it can."""
    if cameras := [leaf.name or "the whole observation" for leaf in agent.spec.cameras]:
        return f"look at images ({', '.join(cameras)})"
    return "remember what they saw before" if isinstance(agent, Remembers) else ""


def prepare(rows: Transition, lengths: Sequence[int], members: int, seed: int, bounds: tuple[float, float] = (-np.inf, np.inf)) -> Data:
    """The data of episodes of these lengths, one after the other, and the members' bootstraps."""
    normaliser = Normaliser.of(rows, True)
    known = rows.mc_return[np.isfinite(rows.mc_return)]
    scale = max(float(np.sqrt(np.mean(np.square(known, dtype=np.float64)))), 1e-6) if len(known) else 1.0
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


def policy_actions(agent: Agent, actor: PyTree, observation: PyTree, key: jax.Array, samples: int, stochastic: bool) -> jax.Array:
    """Actions `[N, S, A]` of a policy without memory for observations `[N, ...]`."""
    count = jax.tree.leaves(observation)[0].shape[0]
    keys, parts, size = jax.random.split(key, count), [], min(count, ROWS_PER_CALL)
    for low in range(0, count, size):
        rows = np.minimum(np.arange(low, low + size), count - 1)  # the last part is filled up with its last row
        part = jax.tree.map(lambda leaf, rows=rows: leaf[rows], observation)
        parts.append(jax.block_until_ready(_actions(agent, actor, part, keys[rows], samples, stochastic)))
    return jnp.concatenate(parts)[:count]


@partial(jax.jit, static_argnames=("agent", "samples", "stochastic"))
def _actions(agent: Agent, actor: PyTree, observation: PyTree, keys: jax.Array, samples: int, stochastic: bool) -> jax.Array:
    """The actions of these rows, by a key for each `[n]`."""

    def act(inputs: tuple[PyTree, jax.Array]) -> jax.Array:
        observation, key = inputs
        keys = jax.random.split(key, samples)
        return jax.vmap(lambda key: agent.act(actor, observation, key, (), not stochastic)[0])(keys)

    actions = jax.lax.map(act, (jax.tree.map(jnp.asarray, observation), keys), batch_size=1024)
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
    if not config.steps:
        raise WarmloopError("fqe.steps is 0, which the commands that compare checkpoints replace in proportion to the data; set it.")
    init_key, step_key = jax.random.split(key)
    params = initialise(_critic(config), init_key, data.observation[:1], data.action[:1])
    start = (params, params, _optimizer(config).init(params))
    carry = jax.tree.map(lambda x: jnp.broadcast_to(x, (after.shape[0], *x.shape)), start)
    done, chunks = 0, Chunks()
    while done < config.steps:
        count = chunks.begin(config.steps - done)
        carry = jax.block_until_ready(_run(carry, data, after, (done, done + count), step_key, config, discount))
        chunks.end(count)
        done += count
        on_steps(count * after.shape[0])
    return np.asarray(_values(carry[1], data, first, config))


@partial(jax.jit, static_argnames=("config", "discount"), donate_argnums=0)
def _run(carry: PyTree, data: Data, after: jax.Array, span: tuple[Any, Any], key: jax.Array, config: FQEConfig, discount: float) -> PyTree:
    """Gradient steps of the numbers `span`, from the first to before the second, of all members of all policies; the draws are the same
    for all."""
    critic, optimizer, regression = _critic(config), _optimizer(config), config.steps // 5

    def step(carry: PyTree, number: jax.Array, after: jax.Array) -> PyTree:
        params, target, state = carry
        row_key, sample_key = jax.random.split(jax.random.fold_in(key, number))
        row = jax.random.randint(row_key, (config.batch_size,), 0, data.reward.shape[0])
        sample = jax.random.randint(sample_key, row.shape, 0, after.shape[1])
        following = apply(critic, target, data.next_observation[row], after[row, sample])  # [M, B]
        bellman = data.reward[row][None] + discount * data.mask[row][None] * following
        returns = data.mc_return[row][None]
        aim = jnp.where((number < regression) & jnp.isfinite(returns), returns, jnp.clip(bellman, data.low, data.high))

        def loss(params: PyTree) -> jax.Array:
            error = apply(critic, params, data.observation[row], data.action[row]) - aim
            return jnp.mean(data.weight[:, row] * jnp.square(error), axis=1).sum()

        change, state = optimizer.update(jax.grad(loss)(params), state)
        params = optax.apply_updates(params, change)
        return params, optax.incremental_update(params, target, config.tau), state

    def of_all(number: jax.Array, carry: PyTree) -> PyTree:
        return jax.vmap(lambda carry, after: step(carry, number, after))(carry, after)

    return jax.lax.fori_loop(*span, of_all, carry)


@partial(jax.jit, static_argnames="config")
def _values(params: PyTree, data: Data, first: jax.Array, config: FQEConfig) -> jax.Array:
    """`[C, M]`: every member's mean over its own initial states."""
    q = jax.vmap(lambda params, action: apply(_critic(config), params, data.start, action))(params, first)  # [C, M, I, S]
    return jnp.einsum("cmis,mi->cm", q, data.start_weight) / first.shape[2] * data.scale


def _critic(config: FQEConfig) -> Critic:
    return Critic(config.members, config.hidden)


def _optimizer(config: FQEConfig) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps))


def _firsts(lengths: Sequence[int]) -> np.ndarray:
    return np.cumsum([0, *lengths[:-1]])

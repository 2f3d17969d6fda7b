"""Floating-point operations of an update's matrix products: 2 · rows · inputs · outputs for each, nothing else counted."""

from itertools import pairwise

from warmloop.agents import BCConfig, CQLConfig, IQLConfig, SACConfig, TD3BCConfig
from warmloop.data.transition import Spec


def sac_update(config: SACConfig, spec: Spec) -> float:
    """One UTD block of SAC."""
    return config.utd * sac_critic_step(config, spec) + actor_step(config, spec)


def cql_update(config: CQLConfig, spec: Spec) -> float:
    """One UTD block of CQL without the max-backup."""
    batch, n, ensemble = config.batch_size, config.cql_actions, config.ensemble
    first, rest = spec.observation_dim, chain((*config.hidden, 1))
    each = batch * 3 * n * (2 * spec.action_dim * config.hidden[0] + rest)
    once = batch * 2 * first * config.hidden[0]
    # Values of the proposals: forward and weights' gradient alike, and the gradient to the hidden layers.
    conservative = ensemble * (2 * (each + once) + batch * 3 * n * rest)
    proposals = 2 * policy_forward(config, spec)
    return config.utd * (sac_critic_step(config, spec) + proposals + conservative) + actor_step(config, spec)


def td3bc_update(config: TD3BCConfig, spec: Spec) -> float:
    """K critic steps with E target critics, and a policy step through one critic every `actor_delay` of them."""
    rows, inputs, deterministic = config.batch_size, spec.observation_dim + spec.action_dim, (*config.hidden, spec.action_dim)
    forward, behind = rows * chain((inputs, *config.hidden, 1)), rows * chain((*config.hidden, 1))
    policy = rows * chain((spec.observation_dim, *deterministic))
    critics = policy + config.ensemble * (3 * forward + behind)
    actor = 2 * policy + rows * chain(deterministic) + forward + behind + rows * 2 * config.hidden[0] * spec.action_dim
    return config.utd * (critics + actor / config.actor_delay)


def iql_update(config: IQLConfig, spec: Spec) -> float:
    """K times: the gradients of V, of the policy and of E critics, values of E target critics, and the new V at s and s'."""
    rows, policy, tail = config.batch_size, (*config.hidden, spec.action_dim), (*config.hidden, 1)
    critic, value = (rows * chain((inputs, *tail)) for inputs in (spec.observation_dim + spec.action_dim, spec.observation_dim))
    actor = rows * (2 * chain((spec.observation_dim, *policy)) + chain(policy))
    critics = config.ensemble * (3 * critic + rows * chain(tail))
    return config.utd * (4 * value + rows * chain(tail) + actor + critics)


def bc_update(config: BCConfig, spec: Spec) -> float:
    """K gradient steps of the policy."""
    heads = (*config.hidden, spec.action_dim if config.deterministic else 2 * spec.action_dim)
    return config.utd * config.batch_size * (2 * chain((spec.observation_dim, *heads)) + chain(heads))


def sac_critic_step(config: SACConfig, spec: Spec) -> float:
    """Target (policy and |M| critics at s') and the gradient of E critics."""
    rows, inputs = config.batch_size, spec.observation_dim + spec.action_dim
    forward = rows * chain((inputs, *config.hidden, 1))
    gradient = 2 * forward + rows * chain((*config.hidden, 1))
    return policy_forward(config, spec) + config.target_subset * forward + config.ensemble * gradient


def actor_step(config: SACConfig, spec: Spec) -> float:
    """The policy's gradient through E critics."""
    rows, inputs = config.batch_size, spec.observation_dim + spec.action_dim
    heads = (*config.hidden, 2 * spec.action_dim)
    critics = rows * (chain((inputs, *config.hidden, 1)) + chain((*config.hidden, 1)) + 2 * config.hidden[0] * spec.action_dim)
    policy = 2 * policy_forward(config, spec) + rows * chain(heads)
    return policy + config.ensemble * critics


def policy_forward(config: SACConfig, spec: Spec) -> float:
    return config.batch_size * chain((spec.observation_dim, *config.hidden, 2 * spec.action_dim))


def chain(widths: tuple[int, ...]) -> float:
    """Operations of one row through layers of these widths."""
    return sum(2.0 * a * b for a, b in pairwise(widths))

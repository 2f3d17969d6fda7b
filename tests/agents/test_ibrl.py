"""IBRL against its equations, and that a warm policy acts wherever the critics do not all prefer another action."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blocks import KEY, SMALL, SPEC, assert_same, block_of, rows_of

from warmloop.agents import IBRL, SAC, IBRLConfig, SACConfig
from warmloop.agents.base import go_on
from warmloop.agents.networks.networks import apply
from warmloop.data.errors import WarmloopError

AGENT = IBRL(IBRLConfig(**SMALL, ensemble=3, target_subset=3), SPEC)
WARM = SAC(SACConfig(**SMALL, ensemble=3, target_subset=3), SPEC)


@pytest.fixture(scope="module")
def warm():
    """A SAC's state after a few updates, so that its policy and its critics are not what they began with."""
    update, state = jax.jit(WARM.update), WARM.init(jax.random.key(1), rows_of(40))
    for _ in range(20):
        state, *_ = update(state, block_of(2, 8))
    return state


@pytest.fixture(scope="module")
def begun(warm):
    return go_on(AGENT, WARM, warm)


@pytest.fixture(scope="module")
def learnt(begun):
    update, state = jax.jit(AGENT.update), begun
    for _ in range(40):
        state, *_ = update(state, block_of(2, 8))
    return state


def values(state, row, action):
    """Q_i of one action, `[E]`."""
    seen = AGENT.seen(state.sac, row)
    return apply(AGENT.sac.critics.module(3), state.sac.critic, seen[None], action[None])[:, 0]


def rows(count=60):
    observation = rows_of(count, seed=7).observation
    return [jax.tree.map(lambda leaf, number=number: leaf[number], observation) for number in range(count)]


@pytest.mark.long
def test_it_begins_as_the_warm_policy_to_the_bit(warm, begun):
    own, mode = AGENT.actor_params(begun), WARM.actor_params(warm)
    for row in rows(5):
        assert_same(AGENT.act(own, row, KEY, (), True)[0], WARM.act(mode, row, KEY, (), True)[0])


def test_as_long_as_it_is_the_warm_policy_it_acts_without_noise(warm, begun, learnt):
    own, mode = AGENT.actor_params(begun), WARM.actor_params(warm)
    for row in rows(5):
        assert_same(AGENT.act(own, row, KEY, (), False)[0], WARM.act(mode, row, KEY, (), True)[0])
    fresh = AGENT.actor_params(AGENT.init(KEY, rows_of(40)))
    assert float(own.noise) == 0 and float(AGENT.actor_params(learnt).noise) == float(fresh.noise) == pytest.approx(AGENT.config.noise)


def test_what_acts_is_the_trained_policy_where_every_critic_prefers_it_and_else_the_warm_one(learnt):
    act, actor, chosen = jax.jit(AGENT.act, static_argnames="deterministic"), AGENT.actor_params(learnt), []
    for row in rows():
        seen = AGENT.seen(learnt.sac, row)
        warm, own = AGENT.mode(learnt.warm, seen), AGENT.mode(learnt.sac.acting, seen)
        preferred = bool((values(learnt, row, own) > values(learnt, row, warm)).all())
        np.testing.assert_allclose(act(actor, row, KEY, (), deterministic=True)[0], own if preferred else warm, atol=1e-6)
        chosen.append(preferred)
    assert 0 < sum(chosen) < len(chosen)


@pytest.mark.long
def test_the_mean_of_the_critics_suffices_where_it_is_asked_for(learnt):
    agent = dataclasses.replace(AGENT, config=dataclasses.replace(AGENT.config, consent="mean"))
    differing = 0
    for row in rows():
        seen = AGENT.seen(learnt.sac, row)
        warm, own = AGENT.mode(learnt.warm, seen), AGENT.mode(learnt.sac.acting, seen)
        gain = values(learnt, row, own) - values(learnt, row, warm)
        acted = agent.act(agent.actor_params(learnt), row, KEY, (), True)[0]
        np.testing.assert_allclose(acted, own if gain.mean() > 0 else warm, atol=1e-6)
        differing += bool((gain.mean() > 0) != (gain > 0).all())
    assert differing


def test_a_critic_that_thinks_nothing_of_change_leaves_the_warm_policy_alone(learnt):
    flat = learnt.replace(sac=learnt.sac.replace(critic=jax.tree.map(jnp.zeros_like, learnt.sac.critic)))
    actor = AGENT.actor_params(flat)
    for row in rows(5):
        for deterministic in (True, False):
            warm = AGENT.mode(flat.warm, AGENT.seen(flat.sac, row))
            np.testing.assert_allclose(AGENT.act(actor, row, KEY, (), deterministic)[0], warm, atol=1e-6)


def test_the_target_is_of_the_better_of_both_actions_by_the_least_of_the_targets(learnt):
    batch = jax.tree.map(lambda leaf: leaf[0], block_of(1, 8))
    y = AGENT.td_target(learnt, batch, KEY)
    seen = AGENT.seen(learnt.sac, batch.next_observation)
    own = jnp.clip(AGENT.noisy(jax.random.split(KEY)[1], AGENT.mode(learnt.sac.actor, seen)), -1, 1)
    of = [
        apply(AGENT.sac.critics.module(3), learnt.sac.target_critic, seen, action).min(0) for action in (AGENT.mode(learnt.warm, seen), own)
    ]
    np.testing.assert_allclose(y, batch.reward + 0.99 * batch.mask * np.maximum(*of), rtol=1e-5)
    alone = AGENT.td_target(learnt.replace(warmed=jnp.asarray(False)), batch, KEY)
    np.testing.assert_allclose(alone, batch.reward + 0.99 * batch.mask * of[1], rtol=1e-5)


def test_the_warm_policy_never_changes_and_the_trained_one_does(begun, learnt):
    assert_same(begun.warm, learnt.warm)
    assert not np.allclose(*(jax.tree.leaves(state.sac.actor)[0] for state in (begun, learnt)))


def test_rows_are_cloned_that_did_better_than_the_policy_and_those_of_a_person():
    state = AGENT.init(jax.random.key(0), rows_of(40)).sac
    batch = jax.tree.map(lambda leaf: leaf[0], block_of(1, 8)).replace(actor_weight=jnp.ones(8))
    failures, half = batch.replace(mc_return=jnp.full(8, -9.0)), batch.replace(mc_return=jnp.where(jnp.arange(8) < 4, 9.0, -jnp.inf))
    shares = [AGENT.actor_loss(state.actor, state, rows, KEY)[1]["actor/cloned_share"] for rows in (failures, half)]
    by_hand = AGENT.actor_loss(state.actor, state, failures.replace(intervened=jnp.arange(8) < 2), KEY)[1]["actor/cloned_share"]
    assert [float(share) for share in (*shares, by_hand)] == [0.0, 0.5, 0.25]


def test_a_warm_up_by_the_same_algorithm_is_the_warm_policy_too(learnt):
    again = go_on(AGENT, AGENT, learnt)
    assert bool(again.warmed)
    assert_same(again.warm, learnt.sac.acting)


def test_without_a_warm_up_it_acts_alone():
    state = AGENT.init(jax.random.key(0), rows_of(40))
    state = state.replace(warm=jax.tree.map(lambda leaf: leaf + 1.0, state.warm))
    row = rows(1)[0]
    np.testing.assert_allclose(
        AGENT.act(AGENT.actor_params(state), row, KEY, (), True)[0], AGENT.mode(state.sac.acting, AGENT.seen(state.sac, row)), atol=1e-6
    )


@pytest.mark.parametrize("wrong", [{"consent": "some"}, {"noise": 0.0}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(WarmloopError, match=f"agent.{next(iter(wrong))}"):
        IBRLConfig(**wrong)

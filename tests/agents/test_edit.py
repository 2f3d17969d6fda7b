"""Edits of a base policy's actions: what is chosen, what targets are of, and what the edit learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blocks import KEY, PROPOSED, SMALL, SPEC, assert_same, block_of, rows_of

from warmloop.agents import Edit, EditConfig
from warmloop.agents.base import Problem
from warmloop.agents.networks.networks import apply, sample_action
from warmloop.agents.networks.vision import VisionConfig
from warmloop.data.errors import WarmloopError
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.transition import BASE, Leaf, Spec, example, spec_beside
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import run_many

CONFIG = EditConfig(**SMALL, ensemble=3, target_subset=3, edit_scale=0.3, critic_only=0)
AGENT = Edit(CONFIG, PROPOSED)


def changed(agent=AGENT, **settings):
    return dataclasses.replace(agent, config=dataclasses.replace(agent.config, **settings))


@pytest.fixture(scope="module")
def learnt():
    """A state whose edit and critics are not what they began with."""
    update, state = jax.jit(AGENT.update), AGENT.init(jax.random.key(1), rows_of(40, spec=PROPOSED))
    for _ in range(30):
        state, *_ = update(state, block_of(2, 8, spec=PROPOSED))
    return state


@pytest.fixture(scope="module")
def batch():
    return jax.tree.map(lambda leaf: leaf[0], block_of(1, 8, spec=PROPOSED))


def values(agent, state, observation, actions):
    """The mean over the critics `[B, M]`, one action at a time."""
    q = [agent.q_values(state, observation, actions[:, place]).mean(axis=0) for place in range(actions.shape[1])]
    return np.stack(q, axis=1)


@pytest.mark.long
@pytest.mark.parametrize("deterministic", [True, False])
def test_an_edit_of_size_0_is_best_of_n_to_the_bit(learnt, batch, deterministic):
    agent = changed(edit_scale=0.0)
    proposals = np.asarray(agent.proposed(batch.observation))
    q = agent.critics(learnt.critic, agent.seen(learnt.encoder, learnt.normaliser, batch.observation), proposals).mean(axis=0)
    best = proposals[np.arange(8), np.asarray(q).argmax(axis=1)]
    act = jax.vmap(lambda row: agent.act(agent.actor_params(learnt), row, KEY, (), deterministic)[0])
    assert_same(np.asarray(act(batch.observation)), best)
    assert 0 < (best == proposals[:, 1]).all(axis=1).sum() < 8, "now the one, now the other"


def test_with_one_proposal_and_an_edit_that_knows_nothing_what_is_done_is_the_base_s_action_to_the_bit():
    spec = spec_beside(SPEC, 1)
    agent = Edit(dataclasses.replace(CONFIG, candidates="edited"), spec)
    row = jax.tree.map(lambda leaf: leaf[0], rows_of(4, spec=PROPOSED).observation)
    row = row | {BASE: row[BASE][:3]}
    state = agent.init(KEY, example(spec))
    nothing = state.replace(actor=jax.tree.map(jnp.zeros_like, state.actor))
    assert_same(np.asarray(agent.act(agent.actor_params(nothing), row, KEY, (), True)[0]), row[BASE])


def test_what_is_chosen_is_never_worse_by_the_critics_than_any_candidate(learnt, batch):
    seen, proposals = AGENT.seen(learnt.encoder, learnt.normaliser, batch.observation), AGENT.proposed(batch.observation)
    chosen = AGENT.best(learnt.actor, learnt.critic, seen, proposals, KEY)
    edited, _ = AGENT.edited(learnt.actor, seen, proposals, KEY)
    candidates = jnp.concatenate([proposals, edited], axis=1)
    q = values(AGENT, learnt, batch.observation, candidates)
    np.testing.assert_allclose(values(AGENT, learnt, batch.observation, chosen[:, None])[:, 0], q.max(axis=1), rtol=1e-5)
    assert (q.argmax(axis=1) >= 2).sum() > 0, "the edit is chosen, too"
    assert float(jnp.abs(edited - proposals).max()) <= CONFIG.edit_scale + 1e-6 and float(jnp.abs(edited).max()) <= 1


def test_the_target_is_by_its_equation_of_the_next_state_s_proposals(learnt, batch):
    _, edit_key = jax.random.split(KEY)
    seen, proposals = AGENT.seen(learnt.encoder, learnt.normaliser, batch.next_observation), AGENT.proposed(batch.next_observation)
    each = jnp.concatenate([jnp.broadcast_to(seen[:, None], (8, 2, 5)), proposals], axis=-1)
    edit, _ = sample_action(edit_key, *apply(AGENT.policy, learnt.actor, each))
    candidates = jnp.concatenate([proposals, jnp.clip(proposals + 0.3 * edit, -1, 1)], axis=1)
    chosen = candidates[jnp.arange(8), values(AGENT, learnt, batch.next_observation, candidates).argmax(axis=1)]
    targets = AGENT.critics(learnt.target_critic, seen, chosen).min(axis=0)
    y = AGENT.td_target(learnt, batch, KEY)
    np.testing.assert_allclose(y, batch.reward + 0.99 * batch.mask * targets, rtol=1e-4, atol=1e-5)
    here = batch.replace(observation=batch.observation | {BASE: -batch.observation[BASE]})
    assert_same(AGENT.td_target(learnt, here, KEY), y)
    after = batch.replace(next_observation=batch.next_observation | {BASE: -batch.next_observation[BASE]})
    assert not np.allclose(AGENT.td_target(learnt, after, KEY), y)


def test_an_intervention_teaches_the_critics_the_person_s_action_and_leaves_the_base_s_in_place(learnt, batch):
    """The loss is of the action that was done; the base's own is what the edit starts from."""
    by_hand = batch.replace(action=jnp.full_like(batch.action, 0.5), intervened=jnp.ones(8, bool))
    _, (_, td_error) = AGENT.critic_step(learnt, (by_hand, KEY))
    expected = jnp.abs(AGENT.q_values(learnt, batch.observation, by_hand.action) - AGENT.td_target(learnt, by_hand, KEY)[None]).mean(axis=0)
    np.testing.assert_allclose(td_error, expected, rtol=1e-4)
    assert_same(AGENT.actor_loss(learnt.actor, learnt, by_hand, KEY)[0], AGENT.actor_loss(learnt.actor, learnt, batch, KEY)[0])


def test_the_critics_learn_alone_at_first():
    agent = changed(critic_only=4)
    update, state, moved = jax.jit(agent.update), agent.init(jax.random.key(0), rows_of(40, spec=PROPOSED)), []
    for _ in range(4):  # of two critic steps each
        new, *_ = update(state, block_of(2, 8, spec=PROPOSED))
        pairs = [jax.tree.leaves((one.actor, one.log_temperature, one.actor_optimizer)) for one in (state, new)]
        moved.append(any(not np.array_equal(*pair) for pair in zip(*pairs, strict=True)))
        assert any(not np.array_equal(*pair) for pair in zip(*map(jax.tree.leaves, (state.critic, new.critic)), strict=True))
        state = new
    assert moved == [False, False, True, True]


def test_with_an_action_of_its_own_the_candidates_are_those_of_ibrl(learnt, batch):
    agent = changed(edits_base=False, edit_scale=1.0)
    seen, proposals = agent.seen(learnt.encoder, learnt.normaliser, batch.observation), agent.proposed(batch.observation)
    own, _ = agent.edited(learnt.actor, seen, proposals, None)
    each = jnp.concatenate([jnp.broadcast_to(seen[:, None], (8, 2, 5)), proposals], axis=-1)
    np.testing.assert_allclose(own, jnp.tanh(apply(agent.policy, learnt.actor, each)[0]), rtol=1e-5)


def test_the_critics_value_states_and_actions_and_not_what_the_base_proposes(learnt, batch):
    other = batch.observation | {BASE: -batch.observation[BASE]}
    assert_same(AGENT.q_values(learnt, batch.observation, batch.action), AGENT.q_values(learnt, other, batch.action))


@pytest.mark.long
def test_the_edit_finds_what_is_better_than_the_base_and_no_further_than_it_may():
    """A bandit that pays most for what is 0.2 above the base's action; the base's own is all that the data have, with noise."""
    spec, rng = spec_beside(Spec((Leaf("", (1,), "float32"),), 1), 1), np.random.default_rng(0)
    base = rng.uniform(-0.5, 0.5, (600, 1)).astype(np.float32)
    action = np.clip(base + rng.uniform(-0.4, 0.4, base.shape), -1, 1).astype(np.float32)
    seen = {"state": base, BASE: base}
    rows = example(spec, 600).replace(observation=seen, next_observation=seen, action=action, mask=np.zeros(600, np.float32))
    rows = rows.replace(reward=-np.square(action - base - 0.2)[:, 0] * 10)
    settings = {"hidden": (32, 32), "batch_size": 64, "utd": 2, "ensemble": 2, "actor_lr": 3e-3, "critic_lr": 3e-3, "critic_only": 200}
    for scale, expected in ((0.5, 0.2), (0.1, 0.1)):
        agent = Edit(EditConfig(**settings, edit_scale=scale, initial_temperature=1e-3, target_entropy_per_dim=-3.0), spec, Problem(0.9))
        state, _ = run_many(create(parts := LearnerParts(agent, ReplayConfig(capacity=1, alpha=0.0), MixingConfig()), 0, rows), parts, 600)
        done = jax.vmap(lambda row, agent=agent, state=state: agent.act(agent.actor_params(state.agent), row, KEY, (), True)[0])(seen)
        np.testing.assert_allclose((done - base).mean(), expected, atol=0.04)


@pytest.mark.long
def test_pictures_are_seen_beside_the_base_s_actions():
    spec = spec_beside(Spec((Leaf("front", (12, 12, 3), "uint8"), Leaf("pose", (3,), "float32")), 3), 2)
    agent = Edit(EditConfig(**SMALL, vision=VisionConfig(features=4, channels=(4, 4))), spec)
    state = agent.init(KEY, example(spec, 4))
    row = jax.tree.map(lambda leaf: leaf[0], example(spec).observation)
    assert agent.act(agent.actor_params(state), row, KEY, ())[0].shape == (3,)
    assert agent.actor_params(state).normaliser.mean.shape == (spec.observation_dim,)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Edit(CONFIG, SPEC), r"--config.environment.base="),
        (lambda: EditConfig(observation_noise=0.1), r"would disturb the base's actions"),
        (lambda: EditConfig(ensemble=2, target_subset=3), r"between 1 and agent.ensemble \(2\)"),
        (lambda: EditConfig(edit_scale=3.0), r"agent.edit_scale is 3.0; it must lie in \[0, 2\]"),
    ],
)
def test_what_cannot_be_is_refused(make, says):
    with pytest.raises(WarmloopError, match=says):
        make()

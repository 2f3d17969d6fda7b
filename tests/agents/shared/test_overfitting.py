"""The options of SAC and what is built on it against over-fitting the demonstrations; the offline algorithms' are in test_normaliser.py."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents import BC, CQL, SAC, BCConfig, CQLConfig, GraspSAC, GraspSACConfig, SACConfig
from warmloop.agents.base import go_on
from warmloop.agents.networks.vision import VisionConfig
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
SMALL = {"hidden": (16, 16), "ensemble": 2, "target_subset": 2, "utd": 2, "batch_size": 8}
AGENTS = {
    "sac": SAC(SACConfig(**SMALL), SPEC),
    "cql": CQL(CQLConfig(**SMALL, cql_actions=2), SPEC),
    "sac_grasp": GraspSAC(GraspSACConfig(**SMALL), SPEC),
}
OPTIONS = {"critic_dropout": 0.5, "actor_dropout": 0.5, "weight_decay": 10.0, "observation_noise": 0.5}
# Of each option: what a block's update changes that without it would be otherwise.
CHANGED = {
    "critic_dropout": {"critic"},
    "actor_dropout": {"actor"},
    "weight_decay": {"critic", "actor"},
    "observation_noise": {"critic", "actor"},
}


def changed(agent, **settings):
    return dataclasses.replace(agent, config=dataclasses.replace(agent.config, **settings))


def learnt(agent, state, block):
    new = jax.jit(agent.update)(state, block)[0]
    return getattr(new, "sac", new)


def differ(first, second, name):
    """Whether parameters or Adam's moments of two states differ, beyond what rounding in two programs makes."""
    pairs = zip(*(jax.tree.leaves((getattr(one, name), getattr(one, f"{name}_optimizer"))) for one in (first, second)), strict=True)
    return any(not np.allclose(*pair, rtol=1e-3, atol=1e-6) for pair in pairs)


@pytest.fixture(scope="module")
def block(make_batch):
    return make_batch(2, 8)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_changes_what_it_says_and_nothing_else(option, block):
    agent = AGENTS["sac"]
    state = agent.init(jax.random.key(0), example(SPEC))
    plain, new = (learnt(one, state, block) for one in (agent, changed(agent, **{option: OPTIONS[option]})))
    # The policy's gradient goes through the critics, which the block has changed before it.
    follows = {"actor", "critic"} if "critic" in CHANGED[option] else CHANGED[option]
    assert {name for name in ("critic", "actor") if differ(plain, new, name)} == follows
    np.testing.assert_array_equal(jax.random.key_data(plain.key), jax.random.key_data(new.key))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cql", "sac_grasp"])
def test_what_is_built_on_sac_has_them_too(name, block):
    for option, value in OPTIONS.items():
        agent = changed(AGENTS[name], **{option: value})
        state = agent.init(jax.random.key(0), example(SPEC))
        plain, new = learnt(AGENTS[name], state, block), learnt(agent, state, block)
        for part in CHANGED[option]:
            pairs = zip(jax.tree.leaves(getattr(plain, part)), jax.tree.leaves(getattr(new, part)), strict=True)
            assert not all(np.array_equal(*pair) for pair in pairs)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((new.actor, new.critic)))


def test_decay_shrinks_the_kernels_of_the_critics_and_the_policy_alone(block):
    agent = AGENTS["sac"]
    still = {"critic_lr": 1e-12, "actor_lr": 1e-12}  # so that Adam's own step is nothing beside the decay's
    agent = changed(agent, **still, weight_decay=1e11)
    state = agent.init(jax.random.key(0), example(SPEC))
    state = state.replace(critic=jax.tree.map(jnp.ones_like, state.critic), actor=jax.tree.map(jnp.ones_like, state.actor))
    new = learnt(agent, state, block)
    for name, left in (("critic", 0.81), ("actor", 0.9)):  # two steps of the critics, one of the policy
        for path, leaf in jax.tree_util.tree_leaves_with_path(getattr(new, name)):
            np.testing.assert_allclose(leaf, left if "kernel" in jax.tree_util.keystr(path[-1:]) else 1.0, rtol=1e-4)


def test_acting_and_measuring_know_nothing_of_them(block):
    plain, agent = AGENTS["sac"], changed(AGENTS["sac"], critic_dropout=0.5, actor_dropout=0.5, observation_noise=0.5)
    state, batch = plain.init(jax.random.key(0), example(SPEC)), jax.tree.map(lambda leaf: leaf[0], block)

    def seen(one):
        actor = one.actor_params(state)
        return (
            one.act(actor, batch.observation, jax.random.key(1), ())[0],
            one.q_values(state, batch.observation, batch.action),
            one.td_error(state, batch, jax.random.key(2)),
            one.log_prob(actor, batch.observation, batch.action),
        )

    jax.tree.map(np.testing.assert_array_equal, seen(plain), seen(agent))


@pytest.mark.long
def test_what_was_learnt_with_a_decay_goes_on_without_one(block):
    cql, sac = changed(AGENTS["cql"], weight_decay=0.1), AGENTS["sac"]
    state, _, _ = jax.jit(cql.update)(cql.init(jax.random.key(0), example(SPEC)), block)
    taken = go_on(sac, cql, state)
    assert jax.tree.structure(taken) == jax.tree.structure(sac.init(jax.random.key(0), example(SPEC)))
    assert int(learnt(sac, taken, block).critic_optimizer[0].count) == 4


def test_noise_on_images_is_refused_as_elsewhere():
    spec = Spec((Leaf("front", (8, 8, 3), "uint8"), Leaf("pose", (3,), "float32")), 3)
    agent = SAC(SACConfig(**SMALL, observation_noise=0.1, vision=VisionConfig("cnn")), spec)
    with pytest.raises(WarmloopError, match="observation_noise is for states"):
        agent.init(jax.random.key(0), example(spec))


@pytest.mark.parametrize(
    "wrong", [{"critic_dropout": 1.0}, {"actor_dropout": -0.1}, {"weight_decay": -1.0}, {"observation_noise": float("nan")}]
)
def test_a_wrong_setting_is_refused_by_name(wrong):
    with pytest.raises(WarmloopError, match=rf"agent\.{next(iter(wrong))} is"):
        SACConfig(**wrong)


def test_the_floor_of_the_deviation_goes_over_to_sac_with_bcs_policy():
    bc = BC(BCConfig(hidden=(16, 16)), SPEC)
    state = bc.init(jax.random.key(0), example(SPEC))
    head = state.actor["params"]["gaussian"]
    head["bias"] = head["bias"].at[3:].set(-9.0)  # what rows that fit exactly end in
    sac = changed(AGENTS["sac"], log_std_min=bc.config.log_std_min)
    _, log_std = sac.policy.apply(go_on(sac, bc, state).actor, jnp.zeros((1, 5)))
    np.testing.assert_array_equal(log_std, np.full((1, 3), -5.0))

"""TD-MPC2: what its losses are of, what they leave alone, and how it acts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blocks import assert_same

from warmloop.agents import MPC, MPCConfig
from warmloop.agents.base import Problem
from warmloop.agents.models.latents.latent import sim_norm
from warmloop.agents.shared.action_chunks import first_rows
from warmloop.data.errors import WarmloopError
from warmloop.data.mixing import MixingConfig, StretchBatch
from warmloop.data.replay import ReplayConfig
from warmloop.data.transition import Leaf, Spec, example
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import draw, run_many

KEY = jax.random.key(3)
SPEC = Spec((Leaf("", (3,), "float32"),), 2)
LITTLE = {
    "hidden": (16, 16), "encoder_hidden": (16,), "latent_dim": 16, "ensemble": 3, "batch_size": 16, "normalise_observations": False,
    "population": 12, "proposals": 4, "elites": 4, "iterations": 2, "model_lr": 3e-3, "actor_lr": 3e-3, "critic_dropout": 0.0,
}  # fmt: skip


def agent_of(problem=None, **settings):
    return MPC(MPCConfig(**LITTLE | settings), SPEC, problem or Problem(0.9))


def batch_of(count=8, horizon=3, seed=0):
    """Stretches, the last half of which are cut short after one row: a quarter by an end, a quarter by a time limit."""
    rng = np.random.default_rng(seed)
    rows = jax.tree.map(lambda x: jnp.asarray(x).reshape(count, horizon, *x.shape[1:]), example(SPEC, count * horizon))
    fields = {name: getattr(rows, name) for name in rows.__dataclass_fields__} | {
        name: jnp.asarray(rng.normal(size=(count, horizon, 3)), jnp.float32) for name in ("observation", "next_observation")
    }
    fields["action"] = jnp.asarray(rng.uniform(-0.9, 0.9, (count, horizon, 2)), jnp.float32)
    fields["reward"] = jnp.asarray(rng.normal(size=(count, horizon)), jnp.float32)
    short, ended = np.arange(count) >= count // 2, np.arange(count) >= 3 * count // 4
    fields["mask"] = jnp.where(ended[:, None], 0.0, 1.0) * jnp.ones((count, horizon))
    fields["truncated"] = jnp.asarray(np.broadcast_to((short & ~ended)[:, None], (count, horizon)))
    valid = (np.arange(horizon)[None] == 0) | ~short[:, None]
    one = jnp.ones(count)
    return StretchBatch(**fields, weight=one, actor_weight=one, offline=one.astype(bool), valid=jnp.asarray(valid))


class Learner:
    """An agent with a compiled update of one minibatch."""

    def __init__(self, agent):
        self.agent, self.start, self.batch = agent, agent.init(KEY, example(SPEC)), batch_of()
        self._update = jax.jit(agent.update)

    def update(self, state, batch):
        state, metrics, td_error = self._update(state, jax.tree.map(lambda x: x[None], batch))
        return state, metrics, td_error[0]


@pytest.fixture(scope="module")
def learner():
    return Learner(agent_of(bc_weight=0.5))


@pytest.fixture(scope="module")
def learnt(learner):
    """Its state, the metrics by update and the last TD errors after many updates on one batch."""
    state, history, td_error = learner.start, [], None
    for _ in range(400):
        state, metrics, td_error = learner.update(state, learner.batch)
        history.append(metrics)
    return state, history, td_error


@pytest.mark.long
def test_latent_states_are_simplices(learner):
    x = jax.random.normal(KEY, (5, 24)) * 9
    np.testing.assert_allclose(sim_norm(x, 8).reshape(5, 3, 8).sum(-1), 1.0, rtol=1e-5)
    net = learner.agent.model

    @jax.jit
    def states(state, batch):
        z = net.encode(state.model, state.normaliser, batch.observation)
        return z, net.step(state.model, z, batch.action)

    for each in states(learner.start, learner.batch):
        np.testing.assert_allclose(each.reshape(-1, 2, 8).sum(-1), 1.0, rtol=1e-5)


def test_a_fresh_model_expects_nothing(learner):
    net = learner.agent.model

    @jax.jit
    def expected(state, rows):
        z = net.encode(state.model, state.normaliser, rows.observation)
        return net.code.decode(net.reward(state.model, z, rows.action)), learner.agent.q_values(state, rows.observation, rows.action)

    for each in expected(learner.start, first_rows(learner.batch)):
        assert not np.any(each)


@pytest.mark.long
def test_a_target_is_the_reward_where_the_episode_was_over_and_bootstraps_where_it_was_cut(learner, learnt):
    state, batch, agent = learnt[0], learner.batch, learner.agent

    @jax.jit
    def target(state, batch):
        return agent.td_target(state, agent.model.encode(state.model, state.normaliser, batch.next_observation), batch, KEY)

    y = np.asarray(target(state, batch))
    np.testing.assert_array_equal(y[6:], np.asarray(batch.reward)[6:])
    cut = np.asarray(batch.truncated)
    assert cut.any() and (np.abs(y - np.asarray(batch.reward))[cut] > 1e-3).all()


def test_on_one_batch_it_learns_rewards_ends_and_its_own_targets(learner, learnt):
    (state, history, td_error), batch, net = learnt, learner.batch, learner.agent.model
    first, last = history[0], history[-1]
    for name, most in (("model/consistency", 0.5), ("model/end", 0.1), ("model/loss", 0.7)):
        assert last[name] < most * first[name], name

    @jax.jit
    def expected(state, rows):
        z = net.encode(state.model, state.normaliser, rows.observation)
        return net.code.decode(net.reward(state.model, z, rows.action)), net.end(state.model, net.step(state.model, z, rows.action))

    reward, over = expected(state, first_rows(batch))
    np.testing.assert_allclose(reward, batch.reward[:, 0], atol=0.15)
    assert td_error.shape == (8,) and float(td_error[6:].max()) < 0.15, "whose targets are rewards"
    np.testing.assert_array_equal(over > 0, batch.mask[:, 0] == 0)


def test_rows_behind_the_end_of_an_episode_change_nothing(learner):
    batch = learner.batch

    def other(x):
        there = batch.valid.reshape(*batch.valid.shape, *(1,) * (x.ndim - 2))
        return jnp.where(there, x, jnp.asarray(7, x.dtype))

    names = ("observation", "next_observation", "action", "reward", "mask")
    changed = batch.replace(**{name: other(getattr(batch, name)) for name in names})
    assert not np.array_equal(changed.reward, batch.reward)
    assert_same(learner.update(learner.start, batch), learner.update(learner.start, changed))


def test_the_target_of_the_consistency_loss_trains_no_encoder(learner):
    """What the next observations alone have in them moves no kernel of the encoder; what the first ones have does."""
    batch = learner.batch
    here, after = jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 1.0, 0.0])
    batch = batch.replace(
        observation=batch.observation * here.reshape(1, 1, 3), next_observation=batch.next_observation * after.reshape(1, 1, 3)
    )
    new, _, _ = learner.update(learner.start, batch)
    kernels = [state.model["encoder"]["params"]["hidden_0"]["kernel"] for state in (new, learner.start)]
    moved = np.abs(kernels[0] - kernels[1]).max(1)
    assert moved[0] > 0 and moved[1] == 0


def test_the_policys_loss_moves_no_model_and_the_models_no_policy(learner):
    agent, state, batch = learner.agent, learner.start, learner.batch
    aims = jnp.full((8, 3, 16), 0.125), batch.reward

    @jax.jit
    def gradients(state):
        _, (latents, _, _) = agent.model_loss(state.model, state, batch, aims, KEY)
        of_model = jax.grad(lambda model: agent.policy_loss(state.policy, state.replace(model=model), batch, latents, KEY)[0])
        of_policy = jax.grad(lambda policy: agent.model_loss(state.model, state.replace(policy=policy), batch, aims, KEY)[0])
        return of_model(state.model), of_policy(state.policy)

    of_model, of_policy = gradients(state)
    assert all(not np.any(leaf) for name in ("encoder", "dynamics", "reward") for leaf in jax.tree.leaves(of_model[name]))
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(of_policy))


def test_a_row_of_weight_zero_teaches_the_model_nothing(learner):
    aims = jnp.full((8, 3, 16), 0.125), learner.batch.reward
    weight = jnp.ones(8).at[0].set(0.0)
    agent, state = learner.agent, learner.start
    loss = jax.jit(lambda state, batch: agent.model_loss(state.model, state, batch, aims, KEY)[0])
    losses = [
        loss(state, learner.batch.replace(weight=weight, reward=reward))
        for reward in (learner.batch.reward, learner.batch.reward.at[0].add(5.0))
    ]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_the_first_share_of_a_warm_up_clones_and_leaves_the_rest_of_the_model_alone():
    cloner = Learner(agent_of(Problem(0.9, warmup_updates=300), clone_share=0.5, bc_weight=0.5))
    batch = cloner.batch
    state, metrics, _ = cloner.update(cloner.start, batch)
    for _ in range(149):
        state, metrics, _ = cloner.update(state, batch)
    for name in ("dynamics", "reward", "critic", "end"):
        assert_same(state.model[name], cloner.start.model[name])
    assert metrics["actor/cloning_loss"] < 0.05 and metrics["model/loss"] == 0
    alone = agent_of(act_by="policy")
    act = jax.jit(jax.vmap(lambda actor, observation: alone.act(actor, observation, KEY, (), True)[0], (None, 0)))
    np.testing.assert_allclose(act(alone.actor_params(state), batch.observation[:, 0]), batch.action[:, 0], atol=0.3)
    state, metrics, _ = cloner.update(state, batch)
    assert metrics["model/loss"] > 0
    assert agent_of(Problem(0.9)).clone_updates == 0, "online none"


@pytest.mark.slow
def test_after_cloning_the_model_begins_with_steps_of_the_step_size(learner):
    """Adam's first step moves a number by the step size. One that has counted 30 steps of nothing moves it by 0.57 of that, and one that
    has counted thousands three times as far, and then more."""
    agent, batch = agent_of(Problem(0.9, warmup_updates=60), clone_share=0.5, bc_weight=0.5, model_lr=1e-3), learner.batch
    step = jax.jit(agent.step)
    state = agent.init(KEY, example(SPEC))
    for number in range(30):
        assert int(state.model_optimizer[1][0].count) == number
        state, _ = step(state, (batch, KEY))
    new, _ = step(state, (batch, KEY))
    moved = [np.abs(a - b).max() for a, b in zip(*(jax.tree.leaves(each.model) for each in (new, state)), strict=True)]
    assert 0.9e-3 < max(moved) < 1.01e-3


def test_of_proposals_alone_the_plan_is_the_policy(learner, learnt):
    agent = agent_of(population=1, proposals=1, elites=1)
    state = learnt[0]
    actor, observation = agent.actor_params(state), jnp.array([0.2, -0.1, 0.4])
    action, mean = jax.jit(lambda actor: agent.act(actor, observation, KEY, (), deterministic=True))(actor)
    _, proposal_key = jax.random.split(jax.random.split(jax.random.key(0))[0])

    @jax.jit
    def expected(state):
        z, done = agent.model.encode(state.model, state.normaliser, observation), []
        for noise in jax.random.normal(proposal_key, (3, 1, 2)):
            mu, log_std = agent.model.policy(state.policy, z)
            done.append(jnp.tanh(mu + jnp.exp(log_std) * noise[0]))
            z = agent.model.step(state.model, z, done[-1])
        return jnp.stack(done)

    np.testing.assert_allclose(mean, expected(state), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(action, mean[0])


def unrolled(agent, state, z, actions):
    """V of one sequence, by a loop."""
    net, total, factor = agent.model, 0.0, 1.0
    for action in actions:
        total += factor * net.code.decode(net.reward(state.model, z, action))
        total -= factor * agent.config.uncertainty_weight * net.values(state.model["critic"], z, action).std()
        z, factor = net.step(state.model, z, action), 0.9 * factor
        factor *= net.end(state.model, z) <= 0
    return total + factor * net.values(state.model["critic"], z, jnp.tanh(net.policy(state.policy, z)[0])).mean()


@pytest.mark.parametrize("uncertainty", [0.0, 2.0])
def test_the_value_of_a_plan_is_of_rewards_doubts_and_what_comes_after(learnt, uncertainty):
    agent, state = agent_of(uncertainty_weight=uncertainty), learnt[0]
    actions = jax.random.uniform(KEY, (4, 3, 2), minval=-1.0, maxval=1.0)

    @jax.jit
    def values(state):
        z = agent.model.encode(state.model, state.normaliser, jnp.array([0.2, -0.1, 0.4]))
        expected = jax.vmap(lambda each: unrolled(agent, state, z, each))(actions)
        return agent.planner.value(state.model, state.policy, z, actions), expected

    found, expected = values(state)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_nothing_counts_behind_a_predicted_end(learnt):
    agent, state = agent_of(), learnt[0]
    head = state.model["end"]["params"]["output"] | {"bias": jnp.array([50.0])}
    model = state.model | {"end": {"params": state.model["end"]["params"] | {"output": head}}}
    actions = jax.random.uniform(KEY, (4, 3, 2), minval=-1.0, maxval=1.0)

    @jax.jit
    def values(model):
        z = agent.model.encode(model, state.normaliser, jnp.array([0.2, -0.1, 0.4]))
        first = agent.model.code.decode(agent.model.reward(model, jnp.broadcast_to(z, (4, 16)), actions[:, 0]))
        return agent.planner.value(model, state.policy, z, actions), first

    np.testing.assert_allclose(*values(model), rtol=1e-5)


def test_a_plan_goes_on_from_the_last_one_and_a_dropped_one_does_not(learner, learnt):
    agent, actor = agent_of(proposals=0), learner.agent.actor_params(learnt[0])
    program = jax.jit(agent.act, static_argnames="deterministic")

    def act(observation, carry):
        return program(actor, observation, KEY, carry, deterministic=True)

    observation = jnp.array([0.2, -0.1, 0.4])
    action, carry = act(observation, ())
    assert carry.shape == (3, 2)
    np.testing.assert_allclose(action, carry[0])
    assert not np.array_equal(act(observation, carry)[0], action)
    np.testing.assert_array_equal(act(observation, ())[0], action)


def test_a_model_that_diverged_still_gives_an_action_in_range(learner):
    broken = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), learner.start.model["dynamics"])
    actor = learner.agent.actor_params(learner.start.replace(model=learner.start.model | {"dynamics": broken}))
    action, _ = jax.jit(learner.agent.act)(actor, jnp.zeros(3), KEY, ())
    assert np.isfinite(action).all() and float(jnp.abs(action).max()) <= 1


def test_where_the_policy_acts_alone_the_model_stays_at_home(learner):
    agent = agent_of(act_by="policy")
    actor = agent.actor_params(learner.start)
    assert set(actor.model) == {"vision", "encoder"}
    action, carry = jax.jit(agent.act)(actor, jnp.zeros(3), KEY, ())
    assert action.shape == (2,) and carry == ()


def walks(lengths=(5, 1, 2, 9)):
    """Episodes of these lengths, one after the other."""
    count = sum(lengths)
    ends = np.zeros(count, bool)
    ends[np.cumsum(lengths) - 1] = True
    return example(SPEC, count).replace(
        step=np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
        episode=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
        mask=1 - ends.astype(np.float32),
    )


def test_what_is_drawn_for_it_never_crosses_into_another_episode():
    agent = agent_of(batch_size=64)
    parts = LearnerParts(agent, ReplayConfig(capacity=1, alpha=0.0), MixingConfig())
    _, block = jax.jit(draw, static_argnums=1)(create(parts, 0, walks()), parts)
    batch = jax.tree.map(lambda x: np.asarray(x[0]), block.batch)
    assert batch.valid.shape == (64, 3)
    first = batch.step[:, :1]
    assert (batch.episode == batch.episode[:, :1]).all()
    assert (batch.step == first + np.arange(3))[batch.valid].all()
    lengths = np.array([5, 1, 2, 9])[batch.episode[:, 0]]
    np.testing.assert_array_equal(batch.valid.sum(1), np.minimum(3, lengths - first[:, 0]))


LENGTH, DISCOUNT = 6, 0.8


@pytest.mark.slow
def test_the_values_on_a_chain_are_the_analytic_ones():
    place = np.tile(np.eye(LENGTH, 3, dtype=np.float32) + np.arange(LENGTH, dtype=np.float32)[:, None] / LENGTH, (30, 1))
    rows = walks((LENGTH,) * 30)
    action = np.sin(np.outer(np.arange(len(place)), [9, 5])).astype(np.float32)
    rows = rows.replace(observation=place, next_observation=np.roll(place, -1, 0), action=action, reward=1 - rows.mask)
    agent = agent_of(Problem(DISCOUNT), **{"hidden": (32, 32), "utd": 4, "batch_size": 64, "tau": 0.1, "ensemble": 2})
    parts = LearnerParts(agent, ReplayConfig(capacity=1, alpha=0.0), MixingConfig())
    state, _ = run_many(create(parts, 0, rows), parts, 400)
    q = agent.q_values(state.agent, rows.observation[:LENGTH], rows.action[:LENGTH]).mean(0)
    np.testing.assert_allclose(q, DISCOUNT ** np.arange(LENGTH - 1, -1, -1), atol=0.08)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"latent_dim": 20}, "multiple of agent.simplex"), ({"log_std_min": 3.0}, "below"), ({"act_by": "luck"}, 'be "plan" or')],
)
def test_settings_that_do_not_go_together_are_refused(wrong, says):
    with pytest.raises(WarmloopError, match=says):
        MPCConfig(**wrong)

"""COMBO is CQL where all rows are the data's, and presses the model's rows down by all of the proposals; MOPO and MOBILE are penalties."""

import dataclasses

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from warmloop.agents import COMBO, CQL, SAC, COMBOConfig, CQLConfig, SACConfig
from warmloop.agents.base import go_on
from warmloop.agents.combo import evenly
from warmloop.agents.cql import Aims
from warmloop.agents.models.ensembles.rollouts import Imagined
from warmloop.data.errors import WarmloopError
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.transition import Leaf, Source, Spec, example
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import run_many

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
SHARED = {"hidden": (16, 16), "ensemble": 2, "target_subset": 2, "utd": 2, "batch_size": 8, "cql_actions": 10, "cql_weight": 2.0}
MODEL = {"model_members": 3, "model_elites": 2, "model_hidden": (8,), "rollout_length": 2, "rollout_after": 0, "model_rows": 64}
CONFIG = COMBOConfig(**SHARED, **MODEL)
KEY = jax.random.key(2)


def agent_of(**settings):
    return COMBO(dataclasses.replace(CONFIG, **settings), SPEC)


@pytest.fixture(scope="module")
def agent():
    return agent_of()


@pytest.fixture(scope="module")
def state(agent, make_batch, shaken):
    """A state with model rows, whose critics are shaken."""
    fresh, block = agent.init(jax.random.key(0), example(SPEC)), make_batch(2, 8)
    update = jax.jit(agent.update)
    for _ in range(3):
        fresh, _, _ = update(fresh, block)
    sac = fresh.cql.sac
    critics = {name: shaken(getattr(sac, name), number) for number, name in enumerate(("critic", "target_critic"))}
    return fresh.replace(cql=fresh.cql.replace(sac=sac.replace(**critics)))


def assert_close(one, other, tolerance=1e-6):
    def check(x, y):
        if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(x, y, atol=tolerance, rtol=tolerance)

    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(check, one, other)


@pytest.mark.long
@pytest.mark.parametrize("pressed_on", ["mixed", "model"])
def test_with_real_rows_alone_it_is_cql(make_batch, state, pressed_on):
    combo, cql = agent_of(real_share=1.0, pressed_on=pressed_on), CQL(CQLConfig(**SHARED), SPEC)
    block = make_batch(2, 8)
    new, told, td_error = jax.jit(combo.update)(state, block)
    wanted, logged, wanted_error = jax.jit(cql.update)(state.cql, block)
    assert_close(new.cql, wanted)
    np.testing.assert_allclose(td_error, wanted_error, rtol=1e-6)
    for name in ("critic/loss", "critic/cql_gap", "actor/loss"):
        np.testing.assert_allclose(told[name], logged[name], rtol=1e-6)


def test_before_the_first_rollout_it_is_cql(agent, make_batch):
    fresh, block = agent.init(jax.random.key(0), example(SPEC)), make_batch(2, 8)
    new, _, _ = jax.jit(agent.update)(fresh, block)
    wanted, _, _ = jax.jit(CQL(CQLConfig(**SHARED), SPEC).update)(fresh.cql, block)
    assert_close(new.cql, wanted)
    assert int(new.ring.written) > 0, "and the first rollout is at its end"


@pytest.mark.long
def test_with_real_rows_alone_and_no_conservative_term_it_is_sac(make_batch, state):
    combo = agent_of(real_share=1.0, cql_weight=0.0)
    names = {field.name for field in dataclasses.fields(SACConfig)}
    sac = SAC(SACConfig(**{name: value for name, value in vars(combo.config).items() if name in names}), SPEC)
    block = make_batch(2, 8)
    new, wanted = jax.jit(combo.update)(state, block)[0].cql.sac, jax.jit(sac.update)(state.cql.sac, block)[0]
    assert_close(new, wanted)


@pytest.mark.parametrize("pressed_on", ["mixed", "model"])
def test_the_conservative_term_is_one_soft_maximum_over_all_proposals_and_lifts_recorded_actions_alone(make_batch, state, pressed_on):
    """Against NumPy, one number at a time. Both public codes fail here."""
    combo = agent_of(pressed_on=pressed_on, real_share=0.5)
    mixed = jax.tree.map(lambda leaf: leaf[0], combo.mix(make_batch(1, 8), state.ring, KEY))
    model = np.asarray(mixed.from_model)
    assert model.sum() == 4
    sac, target = state.cql.sac, np.linspace(-1, 1, 8).astype(np.float32)
    actions, density = jax.jit(combo.cql.proposals)(sac, mixed, KEY)
    assert actions.shape == (8, 30, 3)
    loss, _ = jax.jit(combo.cql.critic_loss)(sac.critic, jnp.float32(2.0), mixed.observation, mixed, Aims(target, actions, density))
    weight, total = np.asarray(mixed.weight, np.float64), 0.0
    np.testing.assert_array_equal(weight[model], 1)
    for member in range(2):
        data = oracle.critic(sac.critic, member, mixed.observation, mixed.action)
        each = np.stack([oracle.critic(sac.critic, member, mixed.observation, actions[:, k]) for k in range(30)], -1)
        soft = oracle.logsumexp(each - np.asarray(density, np.float64))
        pressed = soft[model].mean() if pressed_on == "model" else (weight * soft).mean()
        total += np.mean(weight * (data - target) ** 2) + 2.0 * (pressed - (weight * data)[~model].mean())
    np.testing.assert_allclose(loss, total / 2, rtol=1e-3)


def test_the_gradient_presses_the_models_own_actions_down(make_batch, state):
    combo = agent_of()
    mixed = jax.tree.map(lambda leaf: leaf[0], combo.mix(make_batch(1, 8), state.ring, KEY))
    q_data, gaps = jnp.zeros((2, 8)), jnp.zeros((2, 8, 30))

    def term(q):
        gap = combo.cql.conservative_gap(q, jnp.zeros((8, 30)), q_data, mixed.mc_return)
        return (mixed.pressed * (gap + q_data).mean(axis=0)).mean()

    slope = jax.grad(term)(gaps)
    assert (np.asarray(slope)[:, np.asarray(mixed.from_model)] > 0).all(), "a descent step lowers every proposal of a model row"


def test_model_rows_take_evenly_spread_places_and_are_cloned_by_nobody(make_batch, state):
    combo = agent_of(real_share=0.25)
    real = make_batch(3, 8)
    mixed = combo.mix(real, state.ring, KEY)
    np.testing.assert_array_equal(mixed.from_model, np.broadcast_to(evenly(6, 8), (3, 8)))
    kept = ~np.asarray(mixed.from_model)
    for name in ("observation", "reward", "weight", "offline"):
        np.testing.assert_array_equal(getattr(mixed, name)[kept], getattr(real, name)[kept])
    assert not np.asarray(mixed.offline)[~kept].any() and np.isneginf(np.asarray(mixed.mc_return)[~kept]).all()
    assert (np.asarray(mixed.source)[~kept] == Source.ONLINE).all()
    held = np.asarray(state.ring.rows.reward)[: int(state.ring.written)]
    assert np.isin(np.asarray(mixed.reward)[~kept], held).all()
    np.testing.assert_allclose((mixed.lifted[0] * kept[0]).sum() / 8, np.asarray(real.weight)[0][kept[0]].mean(), rtol=1e-6)


@pytest.mark.parametrize(("count", "size"), [(0, 5), (5, 5), (3, 8), (243, 256)])
def test_places_are_as_many_as_asked_for_and_spread_over_every_part(count, size):
    places = evenly(count, size)
    assert places.sum() == count and places.shape == (size,)
    for part in np.array_split(places, 2):
        assert abs(part.sum() - count * len(part) / size) <= 1


def test_mopo_lowers_the_rewards_of_model_rows_by_their_uncertainty(make_batch, state):
    plain, mopo = agent_of(), agent_of(penalty="mopo", penalty_weight=3.0)
    ring = state.ring.replace(rows=dataclasses.replace(state.ring.rows, uncertainty=jnp.full(64, 0.5)))
    one, other = (each.mix(make_batch(1, 8), ring, KEY) for each in (plain, mopo))
    np.testing.assert_allclose(one.reward - other.reward, 1.5 * np.asarray(one.from_model), rtol=1e-5, atol=1e-6)


def test_mobile_lowers_them_by_the_spread_of_the_members_values(make_batch, state):
    mobile = agent_of(penalty="mobile", penalty_weight=2.0, cql_weight=0.0)
    mixed = jax.tree.map(lambda leaf: leaf[0], mobile.mix(make_batch(1, 8), state.ring, KEY))
    lowered = mobile.penalised(state.cql.sac, state.ensemble, mixed, KEY)
    spread = np.asarray(mobile.values_spread(state.cql.sac, state.ensemble, mixed, KEY))
    assert (spread > 0).all()
    np.testing.assert_allclose(mixed.reward - lowered.reward, np.where(mixed.from_model, 2 * spread, 0), rtol=1e-4, atol=1e-5)
    alike = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), state.ensemble.best)
    alike = {
        "params": {name: jnp.full_like(leaf, -40.0) if name in ("ceiling", "floor") else leaf for name, leaf in alike["params"].items()}
    }
    still = agent_of(penalty="mobile", penalty_samples=1)
    quiet = state.cql.sac.replace(actor=jax.tree.map(lambda leaf: 0 * leaf - 30, state.cql.sac.actor))
    same = still.values_spread(quiet, state.ensemble.replace(best=alike), mixed, KEY)
    assert float(jnp.max(same)) < 0.2 * spread.min(), "members that say the same have no spread"


@pytest.mark.long
def test_the_td_errors_are_of_the_rows_that_were_drawn(make_batch, state):
    combo = agent_of(real_share=0.25, critic_lr=0.0, cql_weight=0.0, tau=1e-6)
    block = make_batch(2, 8, mask=np.zeros((2, 8)))
    _, _, td_error = jax.jit(combo.update)(state, block)
    q = combo.q_values(state, block.observation.reshape(16, 5), block.action.reshape(16, 3))
    np.testing.assert_allclose(td_error.ravel(), np.abs(q - block.reward.reshape(1, 16)).mean(axis=0), rtol=1e-4, atol=1e-5)


def test_sac_and_combo_go_on_from_each_other(agent, state):
    sac = SAC(SACConfig(hidden=(16, 16), ensemble=2, target_subset=2), SPEC)
    taken = go_on(sac, agent, state)
    assert_close(taken, state.cql.sac)
    back = go_on(agent, sac, taken)
    assert_close(back.cql.sac, state.cql.sac)
    assert jax.tree.structure(back) == jax.tree.structure(state) and int(back.ring.written) == 0


@pytest.mark.parametrize(
    ("wrong", "says"), [({"n_step": 3}, "agent.n_step is 3"), ({"model_rows": 7}, "agent.model_rows is 7; it must hold")]
)
def test_settings_that_do_not_go_together_are_refused(wrong, says):
    with pytest.raises(WarmloopError, match=says):
        dataclasses.replace(CONFIG, **wrong)


def test_pictures_are_refused_by_name():
    spec = Spec((Leaf("front", (8, 8, 3), "uint8"), Leaf("pose", (3,), "float32")), 3)
    with pytest.raises(WarmloopError, match=r'"combo" learns a model of states, .* \(front\)'):
        COMBO(CONFIG, spec).init(KEY, example(spec))


PENDULUM = Spec((Leaf("", (3,), "float32"),), 1)


def pendulum(count=4_000):
    """Rows of Pendulum under random actions that last for some steps."""
    env, rng, rows = gym.make("Pendulum-v1"), np.random.default_rng(0), []
    for episode in range(count // 200):
        here, _ = env.reset(seed=episode)
        for step in range(200):
            action = rng.uniform(-1, 1, 1).astype(np.float32) if step % 5 == 0 else rows[-1][1]
            after, reward, *_ = env.step(2 * action)
            rows.append((here, action, np.float32(0.1 * float(reward)), after, episode, step))
            here = after
    columns = [np.array(each) for each in zip(*rows, strict=True)]
    names = ("observation", "action", "reward", "next_observation", "episode", "step")
    fields = dict(zip(names, columns, strict=True))
    numbers = {name: fields[name].astype(np.int32) for name in ("episode", "step")}
    return example(PENDULUM, len(rows)).replace(**fields | numbers)


@pytest.fixture(scope="module")
def trained():
    """COMBO after 1,000 updates on Pendulum, and its rows."""
    settings = dict(hidden=(64, 64), ensemble=2, target_subset=2, utd=1, batch_size=64, critic_lr=1e-3, cql_actions=4, cql_weight=1.0)
    model = dict(model_members=4, model_elites=3, model_hidden=(64, 64), model_check=100, rollout_after=500, model_rows=5_000)
    agent, rows = COMBO(COMBOConfig(**settings, **model), PENDULUM), pendulum()
    parts = LearnerParts(agent, ReplayConfig(capacity=1, alpha=0.0), MixingConfig())
    state, metrics = run_many(create(parts, 0, rows), parts, 1_000)
    return agent, state.agent, rows, metrics


@pytest.mark.slow
def test_the_policy_is_worth_less_in_the_models_states_than_the_data_are(trained):
    agent, state, rows, metrics = trained
    held = int(metrics["model/rows"])
    assert held > 1_000
    seen = state.ring.rows.observation[:held]
    action, _ = agent.act(agent.actor_params(state), seen, KEY, ())
    of_policy = agent.q_values(state, seen, action).mean()
    of_data = agent.q_values(state, rows.observation, rows.action).mean()
    assert float(of_policy) < float(of_data), (of_policy, of_data)


@pytest.mark.long
def test_five_steps_in_the_model_earn_what_the_simulator_pays(trained):
    agent, state, rows, _ = trained
    env = gym.make("Pendulum-v1").unwrapped
    start = rows.observation[::100]
    actor, act = agent.actor_params(state), jax.jit(lambda actor, seen: agent.act(actor, seen, KEY, (), True)[0])
    elites, scales = agent.ensemble.elite(state.ensemble), state.ensemble.scales
    seen, imagined = jnp.asarray(start), np.zeros(len(start))
    for _ in range(5):
        found = agent.dynamics.predict(elites, scales, seen, act(actor, seen))
        seen, imagined = found.state.mean(axis=0), imagined + np.asarray(found.reward.mean(axis=0))
    paid = np.zeros(len(start))
    for number, here in enumerate(start):
        env.state = np.array([np.arctan2(here[1], here[0]), here[2]])
        for _ in range(5):
            here, reward, *_ = env.step(2 * np.asarray(act(actor, jnp.asarray(here))))
            paid[number] += 0.1 * float(reward)
    np.testing.assert_allclose(imagined.mean(), paid.mean(), rtol=0.2)
    assert np.corrcoef(imagined, paid)[0, 1] > 0.9


@pytest.mark.long
def test_rows_of_the_model_that_are_not_finite_are_not_kept(agent, state, make_batch):
    spoiled = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), state.ensemble.best)
    ring, _ = agent.imagine(state.replace(ensemble=state.ensemble.replace(best=spoiled)), make_batch(4).observation, KEY)
    assert int(ring.written) == int(state.ring.written)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(ring.rows)) and isinstance(ring.rows, Imagined)

"""Laws of every registered algorithm, on a dict of observations and through the learner's own step and checkpoints."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blocks import KEY, PROPOSED, SMALL, SPEC, assert_same, block_of, rows_of, small_settings

from warmloop.agents import AGENTS, SAC, HasCritics, HasLikelihood, HasModel, SACConfig
from warmloop.agents.base import Problem, go_on, window_of
from warmloop.agents.described import describe_agent, rebuild_agent
from warmloop.agents.shared.action_chunks import first_rows
from warmloop.data.errors import WarmloopError
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.transition import BASE
from warmloop.learner.checkpoints import checkpoint
from warmloop.learner.starting_state import fine_tune, resume
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import run_steps

UNSHARED = (  # algorithms whose policy no other has
    "bcq", "sac_grasp", "flow_bc", "qc", "qc_fql", "dsrl", "pets", "trajectory_transformer", "mpc", "dreamer", "edit",
)  # fmt: skip
@dataclasses.dataclass
class Trained:
    """An agent, its fresh state, its compiled update, and what one block makes of the state."""

    def __init__(self, name):
        self.spec = PROPOSED if name == "edit" else SPEC
        self.agent = AGENTS[name][0](small_settings(name), self.spec)
        self.fresh = self.agent.init(jax.random.key(0), self.rows(40))
        self.update = jax.jit(self.agent.update)
        self.block = block_of(2, 8, window=window_of(self.agent), spec=self.spec)
        self.state, self.metrics, self.td_error = self.update(self.fresh, self.block)

    def rows(self, count):
        return rows_of(count, spec=self.spec)

    @property
    def parts(self):
        return LearnerParts(self.agent, ReplayConfig(capacity=64), MixingConfig())


@pytest.fixture(scope="module", params=list(AGENTS))
def trained(request):
    return Trained(request.param)


def test_the_name_is_the_registrys_and_equal_settings_make_equal_agents(trained):
    again = AGENTS[trained.agent.name][0](small_settings(trained.agent.name), trained.spec)
    assert again == trained.agent and hash(again) == hash(trained.agent)


def test_it_is_described_and_rebuilt_with_its_problem_also_from_older_checkpoints_that_had_that_among_the_settings(trained):
    agent = dataclasses.replace(trained.agent, problem=Problem(0.9, -10.0, 0.0, warmup_updates=7))
    described = json.loads(json.dumps(describe_agent(agent)))
    assert rebuild_agent(described) == agent
    before = {"discount": 0.9, "target_low": -10.0, "target_high": 0.0, "actor_decay_updates": 7}
    del described["problem"]
    assert rebuild_agent(described | {"config": described["config"] | before}) == agent


def test_the_state_is_arrays_that_keep_their_shapes_and_types(trained):
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(trained.fresh))
    described = [jax.tree.map(lambda x: str(x.aval), state) for state in (trained.fresh, trained.state)]
    assert described[0] == described[1]


def test_a_state_and_a_block_always_give_the_same_and_compile_once(trained):
    again = trained.update(trained.fresh, trained.block)
    assert_same(again, (trained.state, trained.metrics, trained.td_error))
    trained.update(trained.state, trained.block)
    assert trained.update._cache_size() == 1


def test_metrics_are_finite_scalars_and_td_errors_one_for_each_row(trained):
    assert all(value.shape == () and np.isfinite(value) for value in trained.metrics.values())
    assert trained.td_error.shape == (2, 8)
    assert np.isfinite(trained.td_error).all() and (np.asarray(trained.td_error) >= 0).all()


def test_actions_are_in_range_and_deterministic_when_asked(trained):
    actor = trained.agent.actor_params(trained.state)
    act = jax.jit(trained.agent.act, static_argnames="deterministic")
    observation = jax.tree.map(lambda x: 3 * x[0], trained.rows(8).observation)
    sampled = [act(actor, observation, key, (), deterministic=False)[0] for key in jax.random.split(KEY, 6)]
    fixed = [act(actor, observation, key, (), deterministic=True)[0] for key in jax.random.split(KEY, 2)]
    assert all(action.shape == (3,) and float(jnp.abs(action).max()) <= 1 for action in (*sampled, *fixed))
    assert_same(*fixed)
    assert any(not np.array_equal(sampled[0], action) for action in sampled[1:])


def test_acting_uses_the_statistics_of_the_offline_rows_before_and_after_learning(trained):
    rows = trained.rows(40)
    flat = np.concatenate([rows.observation["pose"], rows.observation["velocity"]], -1)
    for state in (trained.fresh, trained.state):
        normaliser = trained.agent.actor_params(state).normaliser
        np.testing.assert_allclose(normaliser.mean[-5:], flat.mean(0), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(normaliser.scale[-5:], 1 / flat.std(0), rtol=5e-3)  # some soften it by 1e-3
    # The same numbers in other units act alike, which is so only if acting normalises by them.
    in_other_units = {
        field: {name: x if name == BASE else x * 16 + 7 for name, x in getattr(rows, field).items()}
        for field in ("observation", "next_observation")
    }
    other = rows.replace(**in_other_units)
    actions = []
    for recorded in (rows, other):
        actor = trained.agent.actor_params(trained.agent.init(jax.random.key(0), recorded))
        actions.append(trained.agent.act(actor, jax.tree.map(lambda x: x[0], recorded.observation), KEY, (), True)[0])
    np.testing.assert_allclose(actions[0], actions[1], rtol=0.05, atol=1e-4)


def test_what_is_measured_of_an_agent_has_its_shapes(trained):
    batch, actor = jax.tree.map(lambda x: x[0], trained.block), trained.agent.actor_params(trained.state)
    assert isinstance(trained.agent, HasCritics | HasLikelihood | HasModel) or not window_of(trained.agent).is_row, (
        "of rows something is measured"
    )
    if window_of(trained.agent).gives == "sequence":
        batch = first_rows(batch)
    if isinstance(trained.agent, HasCritics):
        q = trained.agent.q_values(trained.state, batch.observation, batch.action)
        assert q.shape == (trained.agent.config.ensemble, 8)
        assert trained.agent.td_error(trained.state, batch, KEY).shape == (8,)
    if isinstance(trained.agent, HasModel):
        flat = [jnp.concatenate([each["pose"], each["velocity"]], axis=-1) for each in (batch.observation, batch.next_observation)]
        found = trained.agent.predict(trained.state, flat[0], batch.action)
        assert found.shape == (trained.agent.config.model_elites, 8, 5)
        assert trained.agent.predict(trained.state, found, batch.action).shape == found.shape
        assert trained.agent.model_error(trained.state, batch).shape == (8,)
    if isinstance(trained.agent, HasLikelihood):
        assert np.isfinite(trained.agent.log_prob(actor, batch.observation, batch.action)).all()


@pytest.mark.slow
def test_the_learner_trains_saves_resumes_and_serves_it(trained, tmp_path):
    state, metrics = run_steps(create(trained.parts, 0, trained.rows(40)), trained.parts)
    assert all(np.isfinite(value) for value in metrics.values())
    checkpoint.save(tmp_path, state, trained.agent, {})
    agent, actor, _ = checkpoint.load_policy(tmp_path)
    assert agent == trained.agent
    assert_same(actor, trained.agent.actor_params(state.agent))
    assert_same(resume(tmp_path, trained.parts)[0].agent, state.agent)
    assert_same(fine_tune(trained.parts, 1, trained.rows(20), tmp_path).agent, go_on(trained.agent, trained.agent, state.agent))
    if not getattr(trained.agent, "keeps_warm", False):
        assert_same(go_on(trained.agent, trained.agent, state.agent), state.agent)


def test_sac_fine_tunes_what_it_warmed_up_or_refuses_it(trained, tmp_path):
    checkpoint.save(tmp_path, create(trained.parts, 0, trained.rows(40)), trained.agent, {})
    same = {name: getattr(trained.agent.config, name) for name in ("ensemble", "critic_layer_norm") if hasattr(trained.agent.config, name)}
    sac = SAC(SACConfig(**SMALL | {"ensemble": 2} | same), SPEC)
    if trained.agent.name in UNSHARED:
        says = "does not fit" if trained.agent.name == "edit" else "Fine-tune with the agent that warmed up"
        with pytest.raises(WarmloopError, match=says):
            fine_tune(LearnerParts(sac, trained.parts.replay, trained.parts.mixing), 1, rows_of(20), tmp_path)
        return
    state = fine_tune(LearnerParts(sac, trained.parts.replay, trained.parts.mixing), 1, rows_of(20), tmp_path)
    assert_same(sac.actor_params(state.agent).normaliser, trained.agent.actor_params(trained.fresh).normaliser)
    run_steps(state, LearnerParts(sac, trained.parts.replay, trained.parts.mixing))


@pytest.mark.parametrize("name", ["utd", "batch_size"])
def test_a_block_of_nothing_is_refused_by_name(trained, name):
    with pytest.raises(WarmloopError, match=name):
        dataclasses.replace(trained.agent.config, **{name: 0})

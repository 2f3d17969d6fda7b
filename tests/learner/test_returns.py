"""What a critic learns where recorded returns are no bounds: the value, and not the returns."""

import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents import CQLConfig, SACConfig
from warmloop.agents.base import Problem
from warmloop.agents.shared.cloning import worth_cloning
from warmloop.configs.schema import AgentChoice, build_agent
from warmloop.data.episode import Episode, make_steps
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.reward import RewardConfig, apply_reward
from warmloop.data.transition import Batch, Spec, concatenate
from warmloop.learner.rows.ingest import Ingest, RowRules
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import run_steps

REWARD = RewardConfig(signal="environment", terminate_on_success=False, discount=0.9)
SMALL = {"hidden": (32,), "ensemble": 2, "target_subset": 2, "utd": 1, "batch_size": 32}
FAST = {"critic_lr": 3e-3, "tau": 0.05}


def rows(count=20, length=10):
    """A reward of -1 a step, cut after ten steps: of value -10."""
    rng = np.random.default_rng(0)
    episodes = []
    for number in range(count):
        path = rng.normal(size=(length + 1, 2)).astype(np.float32)
        steps = make_steps(path[:-1], rng.uniform(-1, 1, (length, 1)), -np.ones(length), path[1:], np.zeros(length, bool), episode=number)
        episodes.append(apply_reward(Episode(steps, None, "lab", number), REWARD))
    return concatenate([episode.steps for episode in episodes])


@pytest.mark.long
@pytest.mark.parametrize(
    "choice",
    [AgentChoice("sac", SACConfig(**SMALL, **FAST, monte_carlo_target=held)) for held in (False, True)],
    ids=["free", "held to recorded returns"],
)
def test_the_value_of_a_task_without_end_is_not_that_of_the_time_limit_s_returns(choice):
    data = rows()
    parts = LearnerParts(build_agent(choice, REWARD, Spec.of(data)), ReplayConfig(capacity=10, alpha=0.0), MixingConfig())
    state, _ = run_steps(create(parts, 0, data, online_capacity=1), parts, 1_000)
    value = parts.agent.q_values(state.agent, jnp.asarray(data.observation), jnp.asarray(data.action))  # pyright: ignore[reportAttributeAccessIssue]
    assert -10.6 < float(value.mean()) < -9.0, "and not the -6.5 that 10 steps are paid at most"


def test_rows_without_a_known_return_are_not_cloned_for_it_and_do_not_calibrate():
    data = rows(count=1)
    free, calibrated = (build_agent(AgentChoice("cql", CQLConfig(**SMALL, calibrated=on)), REWARD, Spec.of(data)) for on in (False, True))
    q = jnp.asarray(np.random.default_rng(0).normal(size=(2, 10, 30)), jnp.float32)
    density, of_data, unknown = jnp.zeros((10, 30)), jnp.zeros((2, 10)), jnp.asarray(data.mc_return)
    gaps = [agent.conservative_gap(q, density, of_data, unknown) for agent in (free, calibrated)]  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(*gaps)
    assert np.isfinite(gaps[1]).all()
    batch = data.replace(intervened=np.zeros(10, bool))
    shown = worth_cloning(SACConfig(self_imitation=True), Problem(), _offline(batch, False), jnp.full(10, -1e6))
    assert not np.asarray(shown).any()


def test_a_failure_is_not_cloned_where_a_critic_expects_less_than_any_return_can_be():
    returns = np.array([0.0, 0.0, 0.3, 0.3], np.float32)
    batch = _offline(rows(count=1, length=4).replace(intervened=np.zeros(4, bool), mc_return=returns), False)
    expected = jnp.array([-0.02, 0.1, -0.02, 0.4])
    np.testing.assert_array_equal(worth_cloning(SACConfig(self_imitation=True), Problem(return_low=0.0), batch, expected), [0, 0, 1, 0])


def test_an_online_episode_that_was_cut_has_no_known_return_where_the_environment_pays(parts, make_rows):
    state = create(parts, 0, None)
    cut = make_rows(4).replace(mask=np.ones(4, np.float32), truncated=np.arange(4) == 3, mc_return=np.full(4, -np.inf, np.float32))
    ended = Ingest(parts, RowRules(REWARD), state).insert(state, "a", cut)
    assert (np.asarray(ended.online.rows.mc_return)[:4] == -np.inf).all()


def _offline(steps, value):
    one = np.ones(len(steps.reward), np.float32)
    fields = {name: getattr(steps, name) for name in steps.__dataclass_fields__}
    return Batch(**fields, weight=one, actor_weight=one, offline=np.full(len(one), value))

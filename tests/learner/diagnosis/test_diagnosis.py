"""The figures of a diagnosis: each is what it says on rows and policies made for it, and measuring changes nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents import BC, BCConfig
from warmloop.agents.base import Problem
from warmloop.agents.networks.normaliser import Normaliser
from warmloop.data.errors import WarmloopError
from warmloop.data.replay import replay
from warmloop.data.transition import Source
from warmloop.learner.diagnosis import diagnosis_batches
from warmloop.learner.diagnosis.diagnosis import (
    Seen,
    check_diagnosed,
    critic_against_returns,
    evenly,
    movement,
    observed,
    seen_in,
    values_of_actions,
)
from warmloop.learner.judging.selection import finite
from warmloop.learner.state import create
from warmloop.learner.step import run_many, run_one

KEY = jax.random.key(3)


def moved_by(params, mean=0.0, log_std=0.0):
    """A policy with constants added to its head of two actions."""
    head = params["params"]["gaussian"]
    changed = head | {"bias": head["bias"] + jnp.array([mean, mean, log_std, log_std])}
    return {"params": params["params"] | {"gaussian": changed}}


def with_policy(state, params):
    return state.replace(actor=params, acting=params)


@pytest.fixture
def learner(parts, make_rows):
    """A learner with 40 offline rows and 20 online ones, 10 of them of an episode that has not ended."""
    state = create(parts, 0, make_rows(40))
    rows = make_rows(20, Source.ONLINE, seed=1)
    rows = rows.replace(mc_return=np.repeat(np.array([0.0, -np.inf], np.float32), 10))
    return state.replace(online=replay.insert(state.online, rows, 20, parts.replay))


@pytest.fixture
def seen(learner):
    return seen_in(learner.offline, 0.0)


def test_rows_of_a_pool_are_those_whose_returns_are_known(learner, make_rows):
    offline, online = seen_in(learner.offline, 0.0), seen_in(learner.online, 0.0)
    np.testing.assert_array_equal(offline.observation, make_rows(40).observation)
    assert offline.paid.all() and offline.first.sum() == offline.last.sum() == 1 and offline.last[-1]
    assert len(online.returns) == 10 and not online.paid.any()
    np.testing.assert_array_equal(evenly(offline, 3).returns, offline.returns[[0, 19, 39]])


def test_a_critic_that_is_right_has_no_bias_and_ranks_as_returns_do(parts, learner, seen):
    q = np.asarray(parts.agent.q_values(learner.agent, seen.observation, seen.action)).mean(axis=0)
    right = critic_against_returns(parts.agent, learner.agent, seen._replace(returns=q))
    assert right["bias"] == pytest.approx(0, abs=1e-6) and right["rank"] == pytest.approx(1)
    wrong = critic_against_returns(parts.agent, learner.agent, seen._replace(returns=-q - 2, paid=q > np.median(q)))
    assert wrong["bias"] == pytest.approx(2 * q.mean() + 2, abs=1e-5) and wrong["rank"] == pytest.approx(-1)
    assert wrong["q_where_success_follows"] > wrong["q"] > wrong["q_where_none_follows"]


def test_actions_are_compared_by_the_agents_own_critics(parts, learner, seen):
    agent, state = parts.agent, learner.agent
    warm = agent.actor_params(state)
    figures = values_of_actions(agent, state, warm, seen, KEY)
    assert figures["q"]["mean"] == figures["q"]["warm"] and figures["mean_above_warm"]["size"] == 0
    recorded = agent.q_values(state, seen.observation, seen.action).mean()
    assert figures["q"]["recorded"] == pytest.approx(float(recorded), abs=1e-6)
    assert sum(figures["greatest"].values()) == pytest.approx(1)
    alone = with_policy(state, moved_by(state.actor, mean=1.0, log_std=-20.0))
    apart = values_of_actions(agent, alone, warm, seen, KEY)
    assert apart["q"]["mean"] == pytest.approx(apart["q"]["sampled"], abs=1e-5) and apart["q"]["mean"] != apart["q"]["warm"]


def test_movement_is_that_of_the_mode_and_in_the_warm_policys_deviations(parts, learner, seen):
    agent, state = parts.agent, learner.agent
    warm = agent.actor_params(with_policy(state, moved_by(state.actor, log_std=-3.0)))
    still = movement(agent, state, warm, seen, KEY)
    assert still["moved"] == still["trained_from_acting"] == 0 and still["to_recorded"] == still["warm_to_recorded"]
    assert still["warm_width"] == pytest.approx(np.exp(-3.0), rel=0.1) and still["width"] > 5 * still["warm_width"]
    away = movement(agent, with_policy(state, moved_by(state.actor, mean=0.1)), warm, seen, KEY)
    assert away["moved"] == pytest.approx(0.1, rel=0.05) and away["moved_in_deviations"] == pytest.approx(0.1 / np.exp(-3.0), rel=0.2)
    trained = movement(agent, state.replace(actor=moved_by(state.actor, mean=0.1)), warm, seen, KEY)
    assert trained["moved"] == 0 and trained["trained_from_acting"] == pytest.approx(0.1, rel=0.05)


def test_observations_are_measured_in_the_normalisers_deviations(parts, learner, seen):
    normaliser = Normaliser(jnp.full(4, 1.0), jnp.full(4, 2.0), 20.0)
    observation = np.ones((40, 4), np.float32)
    observation[7, 2] = 13.0
    figures = observed(parts.agent, learner.agent.replace(normaliser=normaliser), seen._replace(observation=observation))
    assert figures["largest"] == 24 and figures["largest_at"] == 2
    assert (figures["clipped_share"], figures["beyond_three"]) == (pytest.approx(1 / 160), pytest.approx(1 / 160))


def test_blocks_are_what_the_learner_draws_and_drawing_changes_nothing(parts, learner):
    drawn = diagnosis_batches.drawn_blocks(learner, parts, KEY)
    figures = diagnosis_batches.rows_drawn(learner, drawn, 0.0)
    ratio = float(parts.mixing.ratio(learner.updates, 40, 20))
    assert figures["offline"] == round(ratio * 8) / 8 and figures["stored"] == {"offline": 40, "online": 20}
    half = learner.replace(updates=jnp.int32(10_000))
    figures = diagnosis_batches.rows_drawn(half, diagnosis_batches.drawn_blocks(half, parts, KEY), 0.0)
    share = figures["share"]
    assert figures["offline"] == share["offline successes"] == 0.5 and sum(share.values()) == pytest.approx(1)
    assert share["own failures"] > 0 and share["own, open"] > 0 and share["own successes"] == 0
    assert figures["priority_evenness"]["offline"] == pytest.approx(1)
    after, _ = run_one(jax.tree.map(jnp.copy, half), parts)
    drawn = diagnosis_batches.drawn_blocks(after, parts, KEY)
    assert diagnosis_batches.rows_drawn(after, drawn, 0.0)["priority_evenness"]["offline"] < 1


@pytest.mark.long
def test_the_actors_gradient_is_the_sum_of_its_terms(parts, learner):
    cloning = dataclasses.replace(parts.agent, config=dataclasses.replace(parts.agent.config, bc_weight=2.0))
    drawn = diagnosis_batches.drawn_blocks(learner, dataclasses.replace(parts, agent=cloning), KEY)
    figures = diagnosis_batches.actor_gradient(drawn)
    assert set(figures["norm"]) == {"value", "entropy", "cloning"} and sum(figures["share"].values()) == pytest.approx(1)
    assert all(figures["signal"][name] < norm for name, norm in figures["norm"].items())
    first = jax.tree.map(lambda leaf: leaf[0], drawn.batch)
    key = jax.random.split(jax.random.split(KEY, diagnosis_batches.BLOCKS)[0], 3)[1]
    whole = jax.grad(cloning.actor_loss, has_aux=True)(learner.agent.actor, learner.agent, first, key)[0]
    flat = jax.flatten_util.ravel_pytree(whole)[0]
    np.testing.assert_allclose(sum(drawn.gradients.values())[0], flat, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("bounded", [False, True])
def test_targets_say_how_often_bounds_bind_whether_or_not_they_are_there(parts, learner, bounded):
    config = dataclasses.replace(parts.agent.config, monte_carlo_target=bounded, clip_target=bounded)
    agent = dataclasses.replace(parts.agent, config=config, problem=Problem(return_low=0.0, return_high=0.4))
    drawn = diagnosis_batches.drawn_blocks(learner, dataclasses.replace(parts, agent=agent), KEY)
    figures = diagnosis_batches.targets(agent, drawn, 0.0)
    below = np.asarray(drawn.backup) < np.asarray(drawn.batch.mc_return)
    assert figures["returns_bind"] == pytest.approx(below.mean()) and figures["returns_bind"] > 0.5
    free = figures["reward"] + figures["bootstrap"]
    assert figures["target"] == pytest.approx(free + (figures["raised_by"] + figures["cut_by"] if bounded else 0.0), abs=1e-5)
    unclipped = np.asarray(drawn.raised if bounded else drawn.backup)
    assert figures["clip_binds"] == pytest.approx(((unclipped < 0) | (unclipped > 0.4)).mean()) and figures["clip_binds"] > 0


def test_other_agents_are_refused_and_what_could_not_be_measured_is_none(parts):
    other = dataclasses.replace(parts, agent=BC(BCConfig(hidden=(16,)), parts.agent.spec))
    with pytest.raises(WarmloopError, match='of the agent "sac", and this one is "bc"'):
        check_diagnosed(other)
    assert finite({"a": [float("nan"), 1.0], "b": "c"}) == {"a": [None, 1.0], "b": "c"}


def test_a_pool_without_a_finished_episode_is_refused(parts, make_rows):
    rows = make_rows(5).replace(mc_return=np.full(5, -np.inf, np.float32))
    with pytest.raises(WarmloopError, match="no episode of them has ended yet"):
        seen_in(create(parts, 0, rows).offline, 0.0)
    assert isinstance(seen_in(create(parts, 0, make_rows(5)).offline, 0.0), Seen)


@pytest.mark.long
def test_a_step_by_one_term_changes_what_that_term_is_of(parts, learner, seen):
    agent = dataclasses.replace(parts.agent, config=dataclasses.replace(parts.agent.config, bc_weight=2.0, initial_temperature=0.5))
    narrow = with_policy(learner.agent, moved_by(learner.agent.actor, log_std=-2.0))
    state, _ = run_many(jax.tree.map(jnp.copy, learner.replace(agent=narrow)), dataclasses.replace(parts, agent=agent), 50)
    drawn = diagnosis_batches.drawn_blocks(state, dataclasses.replace(parts, agent=agent), KEY)
    figures = diagnosis_batches.steps_by_term(agent, state.agent, drawn, seen.observation)
    assert set(figures) == {"value", "entropy", "cloning", "all"}
    assert figures["entropy"]["widened"] > 0 > figures["cloning"]["widened"]
    twice = dataclasses.replace(agent, config=dataclasses.replace(agent.config, actor_lr=2 * agent.config.actor_lr))
    further = diagnosis_batches.steps_by_term(twice, state.agent, drawn, seen.observation)
    assert further["cloning"]["moved"] == pytest.approx(2 * figures["cloning"]["moved"], rel=0.05)


def test_the_signal_of_gradients_is_what_is_left_without_their_noise():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(16, 10_000))
    assert diagnosis_batches._signal(noise) < 0.3 * np.linalg.norm(noise.mean(axis=0))
    assert diagnosis_batches._signal(noise + 1.0) == pytest.approx(100, rel=0.05)
    assert diagnosis_batches._signal(np.ones((16, 4))) == pytest.approx(2)

"""Fitted Q evaluation against a small MDP whose values are known exactly."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents import SAC, SACConfig
from warmloop.data.episode import Episode, make_steps
from warmloop.data.reward import RewardConfig, apply_reward
from warmloop.data.transition import Leaf, Spec, concatenate
from warmloop.learner.judging.fqe import FQEConfig, estimates, fit, policy_actions, prepare

pytestmark = pytest.mark.long

STATES, DISCOUNT = 6, 0.9
ACTIONS = (-0.5, 0.5)
REWARD = np.array([[1.0, 0.2], [-0.5, 0.4], [0.0, 2.0], [0.3, -1.0], [0.8, 0.1], [-0.2, 0.6]])
FOLLOWING = np.array([[1, 2], [3, 0], [4, 5], [2, 4], [5, 1], [0, 3]])
ENDS = {(4, 0), (1, 1)}  # (state, action) pairs that are the end
PLAIN = RewardConfig(signal="environment", terminate_on_success=False, discount=DISCOUNT)
SMALL = FQEConfig(steps=4000, members=2, hidden=(64,), batch_size=128, tau=0.1)
SHORT = dataclasses.replace(SMALL, steps=1000)


def episodes(count=60, horizon=8, seed=0):
    """Uniformly random behaviour from random starts, cut by a time limit of 8 steps."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        state, steps = int(rng.integers(STATES)), []
        while len(steps) < horizon:
            action = int(rng.integers(2))
            after = int(FOLLOWING[state, action])
            steps.append((state, action, REWARD[state, action], after, (state, action) in ENDS))
            if steps[-1][-1]:
                break
            state = after
        states, actions, rewards, following, over = map(np.array, zip(*steps, strict=True))
        eye = np.eye(STATES, dtype=np.float32)
        recorded = make_steps(eye[states], np.array(ACTIONS)[actions][:, None], rewards, eye[following], over, episode=number)
        made.append(apply_reward(Episode(recorded, None, "chain", number), PLAIN))
    return made


def exact(policy):
    """Value of every state under a deterministic policy `[S]`, by a linear solve."""
    pick = np.arange(STATES), policy
    goes_on = np.array([(state, action) not in ENDS for state, action in zip(*pick, strict=True)])
    moves = np.eye(STATES)[FOLLOWING[pick]] * goes_on[:, None]
    return np.linalg.solve(np.eye(STATES) - DISCOUNT * moves, REWARD[pick])


@pytest.fixture(scope="module")
def judged():
    """Three policies judged in one program: their exact values from each member's initial states, and the estimates `[C, M]`."""
    recorded = episodes()
    rows = concatenate([episode.steps for episode in recorded])
    data = prepare(rows, [len(episode) for episode in recorded], SMALL.members, seed=0)
    firsts = np.array([episode.steps.observation[0].argmax() for episode in recorded])
    policies = np.array([[0, 1, 0, 1, 0, 1], [1, 0, 1, 0, 1, 0], [0, 0, 1, 0, 1, 1]])
    chosen = np.array(ACTIONS)[policies]  # [C, S]
    after = jnp.asarray(chosen[:, rows.next_observation.argmax(axis=1)][..., None, None], jnp.float32)
    first = jnp.asarray(chosen[:, firsts][..., None, None], jnp.float32)
    values = np.array([[exact(policy)[firsts] @ weight for weight in np.asarray(data.start_weight)] for policy in policies])
    return values, fit(data, after, first, SMALL, DISCOUNT, jax.random.key(0)), (data, after, first)


@pytest.fixture(scope="module")
def short(judged):
    """The same by fewer steps."""
    return fit(*judged[2], SHORT, DISCOUNT, jax.random.key(0))


def test_the_estimate_is_the_exact_value_within_two_per_cent_and_a_time_limit_is_no_end(judged):
    values, found, _ = judged
    assert found.shape == (3, 2) and np.abs(values).min() > 0.4 and np.ptp(values[:, 0]) > 1
    np.testing.assert_allclose(found, values, rtol=0.02)


def test_a_time_limit_taken_for_an_end_would_be_seen(judged, short):
    _, _, (data, after, first) = judged
    lengths = np.array([len(episode) for episode in episodes()])
    cut = np.asarray(data.mask).copy()
    cut[np.cumsum(lengths) - 1] = 0.0
    wrong = fit(data.replace(mask=jnp.asarray(cut)), after, first, SHORT, DISCOUNT, jax.random.key(0))
    assert np.abs(wrong / short - 1).max() > 0.05


def test_targets_are_held_within_what_the_rewards_allow(judged, short):
    _, _, (data, after, first) = judged
    low, high, slack = 2.0, 6.0, 0.5
    bounded = fit(data.replace(low=low / data.scale, high=high / data.scale), after, first, SHORT, DISCOUNT, jax.random.key(0))
    assert short.min() < low - slack and short.max() > high + slack, "or nothing would be held"
    assert bounded.min() > low - slack and bounded.max() < high + slack


def test_equal_policies_get_equal_estimates_since_all_see_the_same_draws(judged, short):
    _, _, (data, after, first) = judged
    order = jnp.array([1, 0, 0])
    twice = fit(data, after[order], first[order], SHORT, DISCOUNT, jax.random.key(0))
    np.testing.assert_array_equal(twice[1], twice[2])
    np.testing.assert_allclose(twice, short[order], rtol=1e-3)


def test_rewards_in_other_units_give_the_same_estimate_in_those_units():
    config, agent = FQEConfig(steps=200, members=2, hidden=(16,), batch_size=32), SAC(SACConfig(hidden=(8,), ensemble=2), spec())
    actor = agent.actor_params(agent.init(jax.random.key(0), episodes(5)[0].steps))
    scaled = RewardConfig(signal="environment", terminate_on_success=False, discount=DISCOUNT, scale=100.0)
    one, hundred = (
        estimates([(agent, actor)], [apply_reward(episode, rule) for episode in episodes(5)], config, DISCOUNT, seed=1)
        for rule in (PLAIN, scaled)
    )
    np.testing.assert_allclose(100 * one, hundred, rtol=1e-3)


def test_the_policy_that_is_judged_is_the_one_that_acts():
    agent = SAC(SACConfig(hidden=(8,), ensemble=2), spec())
    actor = agent.actor_params(agent.init(jax.random.key(0), episodes(5)[0].steps))
    seen = episodes(2)[0].steps.observation
    plain = policy_actions(agent, actor, seen, jax.random.key(1), 1, False)
    alone = jnp.stack([agent.act(actor, row, jax.random.key(2), (), True)[0] for row in seen])
    np.testing.assert_allclose(plain[:, 0], alone, atol=1e-6)
    sampled = policy_actions(agent, actor, seen, jax.random.key(1), 4, True)
    assert sampled.shape == (len(seen), 4, 1) and np.ptp(np.asarray(sampled), axis=1).min() > 0


def spec():
    return Spec((Leaf("", (STATES,), "float32"),), 1)

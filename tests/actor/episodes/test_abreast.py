"""Several simulators at once: the episodes are those of one simulator, in whatever order they end."""

import contextlib
import dataclasses
from functools import partial

import jax
import numpy as np
import pytest
from walk import CONFIG

from warmloop.actor.config import ActorConfig
from warmloop.actor.environment.environment import make_environment
from warmloop.actor.episodes.abreast import Abreast, check_several
from warmloop.actor.episodes.rollout import evaluate, evaluate_abreast
from warmloop.actor.policies.policy import AgentPolicy, RandomPolicy
from warmloop.agents import SAC, SACConfig
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import example


def random_policy(environment):
    return RandomPolicy(environment.spec.action_dim)


def agent_policy(environment, deterministic=True):
    agent = SAC(SACConfig(hidden=(16,)), environment.spec)
    return AgentPolicy(agent, agent.actor_params(agent.init(jax.random.key(3), example(environment.spec))), deterministic)


@contextlib.contextmanager
def several(count, config=CONFIG, **more):
    environments = [make_environment(dataclasses.replace(config, **more)) for _ in range(count)]
    yield environments
    for environment in environments:
        environment.close()


def evaluated(count, make_policy, episodes=7):
    seen = []
    with several(count) as environments:
        shown = evaluate_abreast(Abreast.of(environments, make_policy), 5, episodes, seen.append)
    return shown, sorted(seen, key=lambda episode: episode.number)


@pytest.mark.parametrize(
    ("make_policy", "tolerance"),
    [(random_policy, 0.0), (agent_policy, 1e-4), (partial(agent_policy, deterministic=False), 1e-4)],
    ids=["random", "mode", "sampled"],
)
def test_four_simulators_give_the_episodes_of_one(make_policy, tolerance):
    (alone, ours), (together, theirs) = evaluated(1, make_policy), evaluated(4, make_policy)
    np.testing.assert_allclose(together.returns, alone.returns, atol=tolerance)
    np.testing.assert_array_equal(together.lengths, alone.lengths)
    assert len(set(alone.lengths.tolist())) > 2
    for one, other in zip(ours, theirs, strict=True):
        jax.tree.map(partial(np.testing.assert_allclose, atol=tolerance), one.steps, other.steps)


def test_more_simulators_than_episodes_are_no_harm():
    assert len(evaluated(4, random_policy, episodes=2)[0].returns) == 2


def test_no_step_is_spent_on_a_reset_and_the_last_observation_is_of_the_last_step():
    _, episodes = evaluated(3, random_policy)
    for episode in episodes:
        steps = episode.steps
        np.testing.assert_array_equal(steps.observation[:, 2], np.arange(len(episode)))
        np.testing.assert_array_equal(steps.next_observation[:, 2], np.arange(1, len(episode) + 1))
        assert len({*steps.observation[:, 0], *steps.next_observation[:, 0]}) == 1, "all of one seed's walk"
        np.testing.assert_allclose(np.diff([0.0, *steps.next_observation[:, 1]]), steps.action[:, 0], atol=1e-6)


def test_a_fault_of_one_simulator_repeats_its_episode_alone():
    with several(1) as (sound,), several(2) as (first, _), several(1, kwargs={"fails_at": 4}) as (failing,):
        expected = evaluate(sound, RandomPolicy(1), 5, 6)
        shown = evaluate_abreast(Abreast.of([first, failing], random_policy), 5, 6)
    np.testing.assert_array_equal(shown.returns, expected.returns)


@pytest.mark.parametrize("use", [ActorConfig(simulator=False), None], ids=["no simulator", "rests"])
def test_robots_are_refused(use):
    with several(1) as (environment,):
        environment.use = use
        if use is None:
            environment.env.unwrapped.safe_stop = lambda: None  # pyright: ignore[reportAttributeAccessIssue]
        check_several(environment, 1)
        with pytest.raises(WarmloopError, match=r"is a robot, or like one .* --envs=2 is for simulators; leave --envs out"):
            check_several(environment, 2)

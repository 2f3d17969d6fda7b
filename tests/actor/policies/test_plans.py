"""A policy that acts in chunks: its plan ends with the episode and at a takeover, and outlives new weights."""

import numpy as np
import pytest
from carrying import Adding, Counting, actor
from hands import LockStep, Told

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import record_episode
from warmloop.actor.intervention.intervention import Command
from warmloop.actor.policies.policy import AgentPolicy, NoisyPolicy
from warmloop.data.reward import RewardConfig

PLAIN = RewardConfig(signal="environment", terminate_on_success=False)
HUMAN = Command(np.array([-0.9], np.float32))


def policy_of(number=0.0):
    policy = AgentPolicy(Counting(), actor(number), version=0)  # pyright: ignore[reportArgumentType]
    policy.begin(0)
    return policy


def acted(policy, steps):
    return [round(float(policy(np.zeros(3, np.float32), step)[0]), 3) for step in range(steps)]


def test_a_plan_is_done_to_its_end_and_an_episode_begins_with_a_new_one():
    policy = policy_of()
    assert acted(policy, 6) == [0.0, 0.1, 0.2, 0.3, 0.0, 0.1]
    policy.begin(1)
    assert acted(policy, 2) == [0.0, 0.1]


def test_new_weights_act_from_the_next_plan_on_and_the_version_is_of_what_planned():
    policy = policy_of()
    assert acted(policy, 2) == [0.0, 0.1]
    policy.load(actor(0.5), 7)
    assert acted(policy, 2) == [0.2, 0.3] and policy.version == 0
    assert acted(policy, 1) == [0.5] and policy.version == 7
    policy.load(actor(-0.5), 8)
    policy.begin(2)
    assert acted(policy, 1) == [-0.5] and policy.version == 8, "an episode begins with the newest"


@pytest.mark.parametrize("wrap", [lambda policy: policy, lambda policy: NoisyPolicy(policy, 0.0)])
def test_a_takeover_drops_the_plan(wrap):
    environment = make_environment(EnvironmentConfig("Pendulum-v1", horizon=8), PLAIN)
    intervener = Told({2: HUMAN, 3: HUMAN})
    steps = record_episode(environment, wrap(policy_of()), 0, intervener=intervener).episode.steps
    np.testing.assert_allclose(steps.action[:, 0], [0.0, 0.1, -0.9, -0.9, 0.0, 0.1, 0.2, 0.3], atol=1e-6)
    environment.close()


@pytest.mark.parametrize("wrap", [lambda policy: policy, lambda policy: NoisyPolicy(policy, 0.0)])
def test_a_policy_that_remembers_goes_on_from_what_was_done_in_its_place(wrap):
    environment = make_environment(EnvironmentConfig("Pendulum-v1", horizon=6), PLAIN)
    policy = wrap(AgentPolicy(Adding(), actor(0.0)))  # pyright: ignore[reportArgumentType]
    for _ in range(2):  # the second episode begins anew
        steps = record_episode(environment, policy, 0, intervener=Told({2: HUMAN, 3: HUMAN})).episode.steps
        np.testing.assert_allclose(steps.action[:, 0], [0.1, 0.2, -0.9, -0.9, -0.8, -0.7], atol=1e-6)
    environment.close()


def test_a_policy_that_remembers_knows_what_noise_made_of_its_actions():
    policy = NoisyPolicy(AgentPolicy(Adding(), actor(0.0)), 0.05)  # pyright: ignore[reportArgumentType]
    policy.begin(3)
    steps = np.diff([0.0, *(float(policy(np.zeros(3, np.float32), step)[0]) for step in range(6))])
    noise = np.random.default_rng([3, 2])
    expected = []
    for _ in range(6):
        expected.append(0.1 + 0.05 * noise.standard_normal(1)[0])
        noise.random()
    np.testing.assert_allclose(steps, expected, atol=1e-6)


def test_in_training_too_and_what_is_recorded_is_what_was_done():
    environment = EnvironmentConfig("Pendulum-v1", horizon=8)
    lock_step = LockStep(intervener=Told({2: HUMAN, 3: HUMAN}), reward=PLAIN, environment=environment, agent=Counting())
    (rows,), _ = lock_step.run(1)
    np.testing.assert_allclose(rows.action[:, 0], [0.0, 0.1, -0.9, -0.9, 0.0, 0.1, 0.2, 0.3], atol=1e-6)
    np.testing.assert_array_equal(rows.intervened, [0, 0, 1, 1, 0, 0, 0, 0])

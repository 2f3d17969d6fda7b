"""Recorded episodes say what happened, and evaluations are reproducible."""

import numpy as np
import pytest
from films import frames_of

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import EpisodePlan, evaluate, run_episode
from warmloop.actor.films.video import record_video
from warmloop.actor.policies.experts import scripted_policy
from warmloop.actor.policies.policy import NoisyPolicy, RandomPolicy
from warmloop.data.errors import WarmloopError
from warmloop.data.reward import RewardConfig, apply_reward
from warmloop.data.statistics import wilson
from warmloop.data.transition import Source, Spec, example, length

REACH = EnvironmentConfig("Meta-World/reach-v3", horizon=120)


def test_an_episode_is_a_chain_of_the_environments_own_observations_and_rewards():
    environment = make_environment(EnvironmentConfig("Pendulum-v1", horizon=30))
    seen = []
    plan = EpisodePlan(2, Source.RANDOM)
    episode = run_episode(environment, RandomPolicy(1), 4, plan, on_step=lambda *step: seen.append(step))
    steps = episode.steps
    assert Spec.of(steps) == environment.spec and length(steps) == 30
    np.testing.assert_array_equal(steps.next_observation[:-1], steps.observation[1:])
    np.testing.assert_array_equal(steps.reward, np.array([result.raw_reward for _, result, _, _ in seen], np.float32))
    np.testing.assert_array_equal(steps.observation, np.stack([observation for _, _, observation, _ in seen]))
    np.testing.assert_array_equal(steps.action, np.stack([action for *_, action in seen]))
    assert [number for number, *_ in seen] == list(range(30))
    assert steps.mask.all() and steps.truncated.tolist() == [False] * 29 + [True]
    assert set(steps.source) == {Source.RANDOM} and set(steps.episode) == {2}
    assert episode.success is None  # Pendulum has no such signal


def test_a_recorded_episode_has_the_leaves_and_dtypes_of_an_example():
    environment = make_environment(EnvironmentConfig("Pendulum-v1", horizon=5))
    steps = run_episode(environment, RandomPolicy(1), 0).steps
    for name, leaf in vars(example(environment.spec, 5)).items():
        recorded = getattr(steps, name)
        assert (recorded.shape, recorded.dtype) == (leaf.shape, leaf.dtype), name


def test_success_that_ends_an_episode_is_recorded_as_the_environment_saw_it_and_ends_it_by_the_reward_rule():
    reward = RewardConfig()
    environment = make_environment(REACH, reward)
    seen = []
    episode = run_episode(environment, scripted_policy(environment), 0, on_step=lambda *step: seen.append(step[1]))
    assert episode.success is not None and episode.success.tolist() == [False] * (len(episode) - 1) + [True]
    assert episode.steps.mask.all() and episode.steps.truncated[-1]
    learnt = apply_reward(episode, reward).steps
    np.testing.assert_array_equal(learnt.mask, [1.0 - result.terminated for result in seen])
    np.testing.assert_array_equal(learnt.reward, np.array([result.learner_reward for result in seen], np.float32))


def test_an_episode_goes_on_after_success_unless_it_is_told_to_stop():
    environment = make_environment(REACH)
    policy = scripted_policy(environment)
    whole, cut = (run_episode(environment, policy, 0, EpisodePlan(stop_at_success=stop)) for stop in (False, True))
    assert whole.success is not None and len(whole) == 120 and len(cut) == np.argmax(whole.success) + 1
    np.testing.assert_array_equal(cut.steps.observation, whole.steps.observation[: len(cut)])


def test_an_evaluation_is_reproducible_and_counts_success_at_any_step_and_at_the_last():
    environment = make_environment(REACH)
    policy = NoisyPolicy(scripted_policy(environment), 0.5)
    episodes = []
    first = evaluate(environment, policy, 3, 4, progress=episodes.append)
    second = evaluate(make_environment(REACH), policy, 3, 4)
    np.testing.assert_array_equal(first.returns, second.returns)
    np.testing.assert_array_equal(first.success, [episode.success.any() for episode in episodes])
    np.testing.assert_array_equal(first.final_success, [episode.success[-1] for episode in episodes])
    assert first.success_rate == 1.0 and first.final_success_rate < 1.0  # the noise shakes it off the goal again
    assert first.mean_length == 120 and first.interval[0] < 1.0
    assert not np.array_equal(first.returns, evaluate(environment, policy, 4, 4).returns)


def test_an_evaluation_of_no_episodes_is_refused():
    with pytest.raises(WarmloopError, match="at least 1 episode"):
        evaluate(make_environment(REACH), RandomPolicy(4), 0, 0)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (27, 30, 0.7438, 0.9654), (50, 100, 0.4038, 0.5962)],
)
def test_wilson_intervals_agree_with_published_values(successes: int, trials: int, low: float, high: float):
    np.testing.assert_allclose(wilson(successes, trials), (low, high), atol=2e-4)


def test_a_video_shows_the_episodes(tmp_path):
    config = EnvironmentConfig("Meta-World/reach-v3", {"width": 64, "height": 64}, horizon=9)
    path = tmp_path / "films" / "reach.mp4"
    try:
        record_video(config, RandomPolicy(4), 0, path, episodes=1)
    except WarmloopError as error:
        pytest.skip(f"no frames here: {error}")
    frames = frames_of(path)
    assert frames.shape[1:] == (64, 64, 3) and len(frames) == 3
    assert frames.std() > 20  # a scene, and not a black or blank frame

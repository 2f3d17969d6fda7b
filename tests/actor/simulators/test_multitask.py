"""Several tasks behind one environment: the seed decides the task, and the episode is that of the task alone."""

import gymnasium as gym
import numpy as np
import pytest

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import EpisodePlan, evaluate, run_episode
from warmloop.actor.policies.experts import scripted_policy
from warmloop.actor.policies.policy import NoisyPolicy, RandomPolicy
from warmloop.actor.seeds import COLLECTION_STREAM, EVALUATION_STREAM, episode_seed, task_of_seed
from warmloop.data.errors import WarmloopError
from warmloop.data.tasks import TaskConfig

NAMES = ("door-open", "drawer-open", "window-open")
TASKS = TaskConfig(NAMES)
SEVERAL = EnvironmentConfig("Meta-World/{task}-v3", horizon=120)


class Arm(gym.Env):
    """Rewards its number; counts what it is asked; may be stopped."""

    def __init__(self, number=0, size=2, bound=1.0, says=None):
        self.observation_space = gym.spaces.Box(-number - 1.0, number + 1.0, (size,), np.float32)
        self.action_space = gym.spaces.Box(-bound, bound, (1,), np.float32)
        self.number, self.says, self.stopped, self.closed = number, says, 0, 0

    def reset(self, *, seed=None, options=None):
        return self.observation_space.low, {} if self.says is None else {"task": self.says}

    def step(self, action):
        return self.observation_space.high, float(self.number), False, False, {"success": self.number == 1}

    def safe_stop(self):
        self.stopped += 1

    def close(self):
        self.closed += 1


ARMS = {"0": {}, "1": {"number": 1}, "wide": {"size": 3}, "strong": {"bound": 2.0}}
for arm, arguments in ARMS.items():
    gym.register(f"WarmloopTest/Arm-{arm}-v0", lambda arguments=arguments, **kwargs: Arm(**arguments, **kwargs), max_episode_steps=3)
ARM = EnvironmentConfig("WarmloopTest/Arm-{task}-v0")


def test_the_episodes_of_a_stream_go_through_the_tasks_in_turn_and_other_seeds_are_spread_evenly():
    seeds = [episode_seed(7, EVALUATION_STREAM, number, 3) for number in range(300)]
    assert [task_of_seed(seed, 3) for seed in seeds] == [number % 3 for number in range(300)] and len(set(seeds)) == 300
    others = [task_of_seed(episode_seed(7, 5, number), 3) for number in range(3000)]
    assert np.bincount(others).min() > 900


@pytest.mark.parametrize("stream", [0, 3, EVALUATION_STREAM, COLLECTION_STREAM])
def test_a_single_tasks_seeds_are_what_they_were_without_tasks(stream):
    kind = -stream if stream < 0 else 0
    for episode in range(50):
        mixed = int(np.random.SeedSequence([3, stream % 2**32, episode]).generate_state(1)[0])
        assert episode_seed(3, stream, episode, 0) == episode_seed(3, stream, episode, 1) == kind << 29 | mixed & (2**29 - 1)


def test_an_episode_is_that_of_its_task_alone_and_recorded_without_the_code():
    several = make_environment(SEVERAL, tasks=TASKS)
    for number, name in enumerate(NAMES):
        seed = episode_seed(0, COLLECTION_STREAM, number, 3)
        alone = make_environment(EnvironmentConfig(f"Meta-World/{name}-v3", horizon=120))
        expected = run_episode(alone, NoisyPolicy(scripted_policy(alone), 0.2), seed, EpisodePlan(stop_at_success=True))
        found = run_episode(several, NoisyPolicy(scripted_policy(several), 0.2), seed, EpisodePlan(stop_at_success=True))
        assert found.task == several.task == name and expected.task == "" and found.succeeded
        for field in ("observation", "action", "reward", "next_observation"):
            np.testing.assert_array_equal(getattr(found.steps, field), getattr(expected.steps, field))


def test_the_policy_sees_the_tasks_code_behind_the_observation():
    environment = make_environment(SEVERAL, tasks=TASKS)
    assert environment.spec.observation_dim == 39 + 3
    for number in range(3):
        observation = environment.reset(episode_seed(0, 0, number, 3))
        result = environment.step(np.zeros(4))
        for seen in (observation, result.next_observation):
            np.testing.assert_array_equal(seen[39:], np.eye(3)[number])
            assert seen.dtype == np.float32


def test_an_evaluation_meets_every_task_as_often_and_says_how_each_went():
    environment = make_environment(ARM, tasks=TaskConfig(("0", "1")))
    shown = evaluate(environment, RandomPolicy(1), 0, 6)
    assert {name: len(part.success) for name, part in shown.by_task.items()} == {"0": 3, "1": 3}
    scalars = shown.scalars()
    assert scalars["evaluation/success_rate"] == 0.5 and scalars["evaluation/episode_return"] == 1.5
    assert (scalars["evaluation/success_rate/0"], scalars["evaluation/success_rate/1"]) == (0.0, 1.0)
    assert (scalars["evaluation/episode_return/0"], scalars["evaluation/episode_return/1"]) == (0.0, 3.0)
    alone = make_environment(EnvironmentConfig("WarmloopTest/Arm-1-v0"))
    assert evaluate(alone, RandomPolicy(1), 0, 2).by_task == {}


@pytest.mark.parametrize(
    ("other", "says"), [("wide", r"observations of array \(2,\) float32 and \"wide\" of array \(3,\)"), ("strong", "has actions in")]
)
def test_tasks_of_other_spaces_are_refused_with_the_difference(other, says):
    with pytest.raises(WarmloopError, match=says):
        make_environment(ARM, tasks=TaskConfig(("0", other)))


def test_tasks_whose_observations_have_other_bounds_go_together():
    assert make_environment(ARM, tasks=TaskConfig(("0", "1"))).spec.observation_dim == 4


def test_an_unknown_task_is_found_when_the_environment_is_made():
    with pytest.raises(WarmloopError, match="did you mean drawer-open-v3"):
        make_environment(SEVERAL, tasks=TaskConfig(("door-open", "drawr-open")))


def test_a_place_for_tasks_without_any_is_refused():
    with pytest.raises(WarmloopError, match=r"tasks\.names"):
        make_environment(SEVERAL)


def test_an_environment_may_say_the_task_itself():
    config = EnvironmentConfig("WarmloopTest/Arm-0-v0", {"says": "lift"})
    environment = make_environment(config, tasks=TaskConfig(("push", "lift")))
    np.testing.assert_array_equal(environment.reset(0)[2:], [0, 1])
    assert environment.task == "lift"
    with pytest.raises(WarmloopError, match=r'its task is "lift".*there are push, pull'):
        make_environment(config, tasks=TaskConfig(("push", "pull"))).reset(0)
    with pytest.raises(WarmloopError, match=r"Arm-0-v0.*put \{task\} into environment.id"):
        make_environment(EnvironmentConfig("WarmloopTest/Arm-0-v0"), tasks=TaskConfig(("push", "pull"))).reset(0)


def test_a_safe_stop_reaches_the_task_that_runs_and_all_are_closed():
    environment = make_environment(ARM, tasks=TaskConfig(("0", "1")))
    arms = [task.unwrapped for task in environment.env.unwrapped._tasks]
    environment.reset(episode_seed(0, 0, 1, 2))
    assert environment.safe_stop() and [arm.stopped for arm in arms] == [0, 1]
    environment.close()
    assert [arm.closed for arm in arms] == [1, 1]

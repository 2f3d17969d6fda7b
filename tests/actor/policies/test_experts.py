"""Scripted experts."""

import numpy as np
import pytest

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import EpisodePlan, run_episode
from warmloop.actor.policies.experts import scripted_policy
from warmloop.actor.simulators.metaworld_tasks import expert_for, task_classes
from warmloop.data.errors import WarmloopError


@pytest.mark.parametrize("task", ["reach-v3", "door-open-v3", "drawer-close-v3"])
def test_a_meta_world_expert_succeeds_with_actions_in_bounds(task: str):
    environment = make_environment(EnvironmentConfig(f"Meta-World/{task}"))
    episode = run_episode(environment, scripted_policy(environment), 0, EpisodePlan(stop_at_success=True))
    assert episode.succeeded and len(episode) < 150
    assert np.abs(episode.steps.action).max() <= 1


def test_every_meta_world_task_has_an_expert():
    assert len(task_classes()) == 50
    assert all(hasattr(expert_for(f"Meta-World/{task}"), "get_action") for task in task_classes())


def test_an_environment_without_an_expert_says_which_ones_have_one():
    with pytest.raises(WarmloopError, match=r'no scripted expert for "Pendulum-v1"; only Meta-World\'s tasks .* have one'):
        scripted_policy(make_environment(EnvironmentConfig("Pendulum-v1")))

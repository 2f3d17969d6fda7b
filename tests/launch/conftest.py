from pathlib import Path

import pytest
from runs import Commands

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import EpisodePlan, run_episode
from warmloop.actor.policies.policy import RandomPolicy
from warmloop.data.formats import write_episodes
from warmloop.data.transition import Source


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recorded Pendulum episodes."""
    environment = make_environment(EnvironmentConfig("Pendulum-v1", success="reward>=-0.01"))
    policy = RandomPolicy(environment.spec.action_dim)
    path = tmp_path_factory.mktemp("data") / "demos.npz"
    write_episodes(path, [run_episode(environment, policy, seed, EpisodePlan(source=Source.DEMOS, number=seed)) for seed in range(3)])
    return path

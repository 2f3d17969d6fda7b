from pathlib import Path

import pytest
from runs import Commands

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import EpisodePlan, run_episode
from warmloop.actor.policies.policy import RandomPolicy
from warmloop.agents import SAC, SACConfig
from warmloop.configs.classic import task
from warmloop.configs.schema import to_dict
from warmloop.data.formats import write_episodes
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.transition import Leaf, Source, Spec
from warmloop.learner.checkpoints.checkpoint import save
from warmloop.learner.state import LearnerParts, create


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


@pytest.fixture(scope="module")
def pendulum_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a checkpoint of a small untrained policy of Pendulum, as a training command writes it."""
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    agent = SAC(SACConfig(hidden=(16, 16)), Spec((Leaf("", (3,), "float32"),), 1))
    state = create(LearnerParts(agent, ReplayConfig(), MixingConfig()), 0, None, online_capacity=1)
    save(folder, state, agent, {"config": to_dict(task("pendulum")), "phase": "warmup"})
    return folder

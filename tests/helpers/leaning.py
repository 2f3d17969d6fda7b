"""An environment in which leaning to the right succeeds at once, and policies that lean; its id is `leaning:Lean/Right-v0`."""

from pathlib import Path

import gymnasium as gym
import jax
import numpy as np

from warmloop.actor.environment import EnvironmentConfig
from warmloop.agents import SACConfig
from warmloop.configs.schema import AgentChoice, RunConfig
from warmloop.data.replay import ReplayConfig

STEPS = 3  # of an episode that fails


class Right(gym.Env):
    """Success: a positive action. Its return is the sum of its actions, less one for each step."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action):
        seen = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return seen, float(action[0]) - 1.0, False, False, {"success": bool(action[0] > 0)}


gym.register("Lean/Right-v0", lambda **kwargs: Right(**kwargs), max_episode_steps=STEPS)


def configuration(**sections) -> RunConfig:
    """A small run whose actor does not learn: what it does is set by hand."""
    settings = SACConfig(hidden=(8,), actor_lr=0.0, batch_size=8, utd=1, ensemble=2, actor_tau=1.0)
    config = RunConfig(EnvironmentConfig("leaning:Lean/Right-v0"), agent=AgentChoice("sac", settings), replay=ReplayConfig(capacity=2000))
    learner = {"publish_every": 5, "log_every": 20, "checkpoint_every": 0, "best_window": 10} | sections.pop("learner", {})
    return config.replace(learner=learner, **sections)


def lean(learner, by: float) -> None:
    """Sets what the learner's policy does, wherever it is: its mean action before the tanh is `by`."""

    def leant(path, leaf):
        head = leaf.shape[-1:] == (2,) and "bias" in jax.tree_util.keystr(path)  # mean and log deviation of the one action
        return jax.numpy.array([by, -1.0], leaf.dtype) if head else jax.numpy.zeros_like(leaf)

    agent = learner.state.agent
    actor = jax.tree_util.tree_map_with_path(leant, agent.actor)
    learner.state = learner.state.replace(agent=agent.replace(actor=actor, acting=jax.tree.map(jax.numpy.copy, actor)))
    learner.publish()


def policies(checkpoints: Path) -> list[str]:
    """The files of kept policies beside a run's checkpoints."""
    return sorted(path.name for path in checkpoints.glob("policy-*"))

"""Where JAX computes in 64 bits, warmloop says so before it learns anything."""

import gymnasium as gym
import jax
import numpy as np
import pytest

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.agents import SACConfig
from warmloop.agents.described import describe_agent, rebuild_agent
from warmloop.configs.schema import AgentChoice, build_agent
from warmloop.data.errors import WarmloopError
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Leaf, Spec

WIDE = "64 bits for the whole process"


@pytest.fixture(autouse=True)
def _restored():
    yield
    jax.config.update("jax_enable_x64", False)


def made():
    return build_agent(AgentChoice("sac", SACConfig(hidden=(8, 8))), RewardConfig(), Spec((Leaf("", (3,), "float32"),), 2))


def test_an_agent_is_refused_where_the_machine_has_it_on():
    jax.config.update("jax_enable_x64", True)
    with pytest.raises(WarmloopError, match=f"JAX_ENABLE_X64, or a module that was imported, has turned on.*{WIDE}"):
        made()


def test_a_saved_policy_is_refused_too():
    described = describe_agent(made())
    jax.config.update("jax_enable_x64", True)
    with pytest.raises(WarmloopError, match=WIDE):
        rebuild_agent(described)


class Wide(gym.Env):
    """A simulator that wants 64 bits, and asks for them for everybody."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self):
        jax.config.update("jax_enable_x64", True)


def test_an_environment_that_turns_it_on_is_named():
    gym.register("Wide-v0", Wide, max_episode_steps=5)
    try:
        with pytest.raises(WarmloopError, match=f'The environment "Wide-v0" has turned on.*{WIDE}.*with jax.enable_x64'):
            make_environment(EnvironmentConfig("Wide-v0"))
    finally:
        del gym.registry["Wide-v0"]

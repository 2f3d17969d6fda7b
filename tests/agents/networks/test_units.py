"""SAC from nothing learns a task in the user's own units: nothing was normalised, so nothing is cut."""

import gymnasium as gym
import numpy as np
import pytest

from warmloop.actor.environment import EnvironmentConfig
from warmloop.actor.environment.environment import make_environment
from warmloop.actor.episodes.rollout import evaluate
from warmloop.actor.policies.policy import AgentPolicy
from warmloop.configs.recipes.algorithms import apply
from warmloop.configs.schema import RunConfig
from warmloop.data.reward import RewardConfig
from warmloop.launch.run.recorded_data import target_of
from warmloop.launch.run.session import in_lock_step, running_learner

STEPS = 3_000


class Millimetres(gym.Env):
    """A place and a goal between -100 and 100, of which a sensor shows no more than `shown`; success is a distance below 5."""

    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def __init__(self, shown=np.inf):
        self.shown = shown

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.goal = self.np_random.uniform(-100, 100, 2)
        return self.observe(), {}

    def step(self, action):
        self.place = float(np.clip(self.place + 20 * float(action[0]), -100, 100))
        distance = abs(self.place - self.goal)
        return self.observe(), -distance / 100, False, False, {"success": distance < 5}

    def observe(self):
        return np.array([self.place, self.goal], np.float32).clip(-self.shown, self.shown)


gym.register("WarmloopTest/Millimetres-v0", Millimetres)


def success_of(folder, shown):
    """Of the policy after STEPS steps of plain SAC, at the end of its episodes."""
    environment = EnvironmentConfig("WarmloopTest/Millimetres-v0", {"shown": shown}, horizon=20)
    size = {"hidden": (64, 64), "batch_size": 128, "critic_lr": 1e-3, "actor_lr": 1e-3}
    config = apply(RunConfig(environment, RewardConfig(signal="environment", terminate_on_success=False)), ["sac"])
    config = config.replace(
        agent=size, warmup_agent=size, replay={"capacity": STEPS}, learner={"online_steps": STEPS}, reward={"discount": 0.9}
    )
    made = make_environment(config.environment, config.reward)
    with running_learner(config, target_of(made), folder, 0, (None, None), [], False, lock_step=True) as (learner, meta):
        in_lock_step(config, learner, meta, made, 0)
        agent = learner.parts.agent
        policy = AgentPolicy(agent, agent.actor_params(learner.state.agent), deterministic=True)
    judged = make_environment(EnvironmentConfig("WarmloopTest/Millimetres-v0", {"shown": shown}, horizon=20), config.reward)
    return evaluate(judged, policy, 7, 40).final_success_rate


@pytest.mark.slow
def test_reach_in_millimetres_is_learnt_and_would_not_be_by_one_who_sees_no_further_than_ten(tmp_path):
    whole, cut = success_of(tmp_path / "whole", np.inf), success_of(tmp_path / "cut", 10.0)
    assert whole >= 0.95 > 0.6 > cut, (whole, cut)

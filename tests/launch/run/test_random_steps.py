"""The first steps of a run from nothing are uniformly random, where the configuration says so."""

import jax
import numpy as np
import pytest

from warmloop.actor.environment.environment import make_environment
from warmloop.actor.policies.policy import RandomPolicy
from warmloop.actor.seeds import episode_seed
from warmloop.configs.classic import task
from warmloop.data.files.run_folder import RunFolder
from warmloop.launch.run.plan import Plan
from warmloop.launch.run.recorded_data import target_of
from warmloop.launch.run.session import in_lock_step, running_learner

SMALL = {"hidden": (16, 16), "batch_size": 16}
CONFIG = task("pendulum").replace(
    environment={"horizon": 20},
    agent=SMALL,
    warmup_agent=SMALL,
    replay={"capacity": 200},
    learner={"online_steps": 60, "frozen_steps": 30, "publish_every": 1},
    actor={"random_steps": 30, "swap": "step"},
)


def actions_of(folder, **actor):
    """The actions `[60, 1]` that a run's rows have, and the versions of the policy beside them."""
    config = CONFIG.replace(actor=actor)
    environment = make_environment(config.environment, config.reward)
    plan = Plan(config, RunFolder(folder), 0, lock_step=True)
    with running_learner(plan, target_of(environment)) as (learner, meta):
        in_lock_step(plan, learner, meta, environment)
        rows = learner.state.online.rows
    return np.asarray(rows.action)[:60], np.asarray(rows.policy_version)[:60]


def uniform():
    """What a random policy does in the first 30 steps."""
    found, policy = [], RandomPolicy(1)
    for episode, steps in ((0, 20), (1, 10)):
        policy.begin(episode_seed(0, 0, episode, 1))
        found += [policy(np.zeros(3), step) for step in range(steps)]
    return np.array(found)


@pytest.mark.long
def test_the_first_steps_are_uniform_and_the_policy_acts_once_it_learns(tmp_path):
    actions, versions = actions_of(tmp_path)
    np.testing.assert_array_equal(actions[:30], uniform())
    assert (versions[:30] == 0).all() and versions[-1] > 20, "no update is made before the 30 steps are there, then one for each"
    assert np.abs(actions[30:40] - actions[20:30]).min() > 0


@pytest.mark.parametrize("actor", [{"random_steps": 0}, {"simulator": False}], ids=["where none are asked for", "on a robot, ever"])
def test_no_step_is_random(tmp_path, actor):
    actions, _ = actions_of(tmp_path, **actor)
    assert (actions[:30] != uniform()).all()


@pytest.mark.parametrize("deterministic", [False, True])
def test_in_training_the_policy_samples_its_actions_unless_it_is_to_act_by_its_mode(tmp_path, deterministic):
    config = CONFIG.replace(learner={"frozen_steps": 60}, actor={"random_steps": 0, "deterministic": deterministic})
    environment = make_environment(config.environment, config.reward)
    plan = Plan(config, RunFolder(tmp_path), 0, lock_step=True)
    with running_learner(plan, target_of(environment)) as (learner, meta):
        in_lock_step(plan, learner, meta, environment)
        rows, agent = learner.state.online.rows, learner.parts.agent
        mode, _ = agent.act(agent.actor_params(learner.state.agent), rows.observation[:60], jax.random.key(0), (), True)
    apart = np.abs(np.asarray(rows.action)[:60] - np.asarray(mode))
    assert apart.max() < 1e-5 if deterministic else np.median(apart) > 0.1

"""A base policy's actions as a part of observations: asked once a step, of the newest state, and anew where somebody else has acted."""

import numpy as np
import pytest
from scripted import Scripted, environment

import warmloop.launch.flags.choices as choices
from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import run_episode
from warmloop.actor.intervention.intervention import Command, Control
from warmloop.actor.policies import named
from warmloop.actor.policies.policy import RandomPolicy
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import BASE, alone


class Counting:
    """Says of each call how often it was asked since it last planned, and what it saw."""

    def __init__(self):
        self.seen, self.seeds, self.dropped, self.since = [], [], 0, 0

    def begin(self, seed):
        self.seeds.append(seed)
        self.seen, self.since = [], 0

    def drop_plan(self, done):
        self.dropped += 1
        self.since = 0

    def __call__(self, observation, step):
        self.seen.append((observation, step))
        self.since += 1
        return np.array([self.since / 10, observation[0] / 100], np.float32)


@pytest.fixture
def bases(monkeypatch):
    """The policies that were made, each with whether it acts by its mode."""
    made = []

    def find(name, deterministic):
        made.append((Counting(), deterministic))
        return lambda environment, policy=made[-1][0]: policy

    monkeypatch.setattr(named, "_finders", [find])
    return made


def lab(proposals=1, **returned):
    observations = [np.array([number, 0, 0], np.float32) for number in range(8)]
    scripted = Scripted(observations=observations, returned=(0.0, False, False, returned))
    return environment(scripted, base="lab", base_proposals=proposals, horizon=5)


def test_the_base_is_asked_once_for_each_observation_and_its_action_goes_with_that(bases):
    made = lab()
    assert [leaf.name for leaf in made.spec.observation] == [BASE, "state"] and not bases, "the shapes need no base"
    first = made.reset(7)
    results = [made.step(np.zeros(2)) for _ in range(3)]
    (base, _), *_ = bases
    assert base.seeds == [7] and [(seen[0], step) for seen, step in base.seen] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    given = [first, *(result.next_observation for result in results)]
    np.testing.assert_allclose([one[BASE] for one in given], [[0.1, 0], [0.2, 0.01], [0.3, 0.02], [0.4, 0.03]], rtol=1e-6)
    made.reset(8)
    assert base.seeds == [7, 8] and len(base.seen) == 1 and len(bases) == 1


class Hand:
    """Takes over in the step of number 1."""

    def begin(self, seed):
        pass

    def __call__(self, observation, action, step):
        return Command(np.array([0.5, -0.5], np.float32) if step == 1 else None)

    def close(self):
        pass


def test_an_intervention_keeps_the_base_s_action_beside_the_person_s_and_the_base_plans_anew(bases):
    control = Control(lab(), Hand())
    observation, taken = control.begin(0), []
    for step in range(3):
        taken.append((observation, control.step(observation, np.zeros(2, np.float32), step)))
        observation = taken[-1][1].result.next_observation
    assert [one.intervened for _, one in taken] == [False, True, False]
    np.testing.assert_allclose(taken[1][1].action, [0.5, -0.5])
    np.testing.assert_allclose(taken[1][0][BASE], [0.2, 0.01], rtol=1e-6)
    np.testing.assert_allclose(taken[2][0][BASE], [0.1, 0.02], rtol=1e-6)
    assert bases[0][0].dropped == 1


def test_a_hand_in_the_environment_itself_has_the_base_plan_anew_too(bases):
    made = lab(intervene_action=np.zeros(2))
    made.reset(0)
    np.testing.assert_allclose(made.step(np.zeros(2)).next_observation[BASE], [0.1, 0.01], rtol=1e-6)


def test_several_proposals_are_the_mode_and_samples_each_with_a_memory_and_a_seed_of_its_own(bases):
    made = lab(proposals=3)
    assert made.reset(7)[BASE].shape == (6,) == made.spec.observation[0].shape
    assert [deterministic for _, deterministic in bases] == [True, False, False]
    assert len({policy.seeds[0] for policy, _ in bases}) == 3 and bases[0][0].seeds == [7]


def test_a_recorded_episode_has_the_base_s_actions_and_a_policy_that_knows_none_of_them_acts_beside_it():
    config = EnvironmentConfig("Pendulum-v1", horizon=5, base="random")
    made, plain = make_environment(config), make_environment(EnvironmentConfig("Pendulum-v1", horizon=5))
    policy = choices.choose_policy("random")
    recorded, without = (run_episode(one, policy(one), 3).steps for one in (made, plain))
    np.testing.assert_array_equal(alone(recorded.observation, plain.spec), without.observation)
    np.testing.assert_array_equal(recorded.observation[BASE][1:], recorded.next_observation[BASE][:-1])
    np.testing.assert_array_equal(recorded.observation[BASE], recorded.action)  # the same policy, asked as often with the same seed


def test_what_is_no_action_is_refused(monkeypatch):
    class Wrong(RandomPolicy):
        def __call__(self, observation, step):
            return np.array([np.nan, 0.0])

    monkeypatch.setattr(named, "_finders", [lambda name, deterministic: lambda environment: Wrong(2)])
    with pytest.raises(WarmloopError, match=r"The base policy lab gave .*nan.* at step 0, which is no action"):
        lab().reset(0)
    monkeypatch.setattr(named, "_finders", [])
    with pytest.raises(WarmloopError, match="Nobody knows the policy"):
        lab().reset(0)
    with pytest.raises(WarmloopError, match=r"environment.base_proposals is 0"):
        EnvironmentConfig("Pendulum-v1", base="random", base_proposals=0)


def test_an_environment_with_such_a_part_of_its_own_is_refused():
    import gymnasium as gym

    space = gym.spaces.Dict({BASE: gym.spaces.Box(-1, 1, (2,)), "pose": gym.spaces.Box(-1, 1, (3,))})
    with pytest.raises(WarmloopError, match=f'a part "{BASE}" of their own'):
        environment(Scripted(space), base="lab", horizon=5)

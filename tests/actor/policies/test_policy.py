"""Policies: an episode's actions depend on its seed, its observations and the parameters, and on nothing before it."""

import jax
import numpy as np
import pytest

from warmloop.actor.policies import policy as policy_module
from warmloop.actor.policies.policy import BURST_STEPS, AgentPolicy, NoisyPolicy, RandomPolicy
from warmloop.actor.policies.sb3_policy import statistics_beside
from warmloop.agents.sac import SAC, SACConfig
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (6,), "float32"),), 3)
AGENT = SAC(SACConfig(hidden=(16, 16), ensemble=2), SPEC)


def actor_params(seed: int = 0):
    return AGENT.actor_params(AGENT.init(jax.random.key(seed), example(SPEC)))


def observations(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 6)).astype(np.float32)


def play(policy, seed: int, steps: int = 20) -> np.ndarray:
    policy.begin(seed)
    return np.stack([policy(observation, step) for step, observation in enumerate(observations(steps))])


class Still:
    """Always acts with zeros."""

    def begin(self, seed: int) -> None:
        pass

    def __call__(self, observation, step: int) -> np.ndarray:
        return np.zeros(3, np.float32)


@pytest.mark.parametrize(
    "make", [lambda: RandomPolicy(3), lambda: NoisyPolicy(Still(), 0.3, 0.2), lambda: AgentPolicy(AGENT, actor_params())]
)
def test_an_episode_depends_on_its_seed_and_not_on_the_episodes_before(make):
    fresh, used = make(), make()
    expected = play(fresh, 5)
    play(used, 1, 33)
    np.testing.assert_array_equal(play(used, 5), expected)
    assert not np.array_equal(play(used, 6), expected)
    assert expected.dtype == np.float32 and np.abs(expected).max() <= 1


def test_an_agents_step_is_the_same_whichever_steps_came_before_it():
    policy, sequence = AgentPolicy(AGENT, actor_params()), observations(20)
    expected = play(policy, 5)
    policy.begin(5)
    np.testing.assert_array_equal(policy(sequence[11], 11), expected[11])


def test_a_deterministic_agent_acts_by_its_mean_under_every_seed():
    policy = AgentPolicy(AGENT, actor_params(), deterministic=True)
    np.testing.assert_array_equal(play(policy, 1), play(policy, 2))
    action, _ = AGENT.act(actor_params(), observations(1)[0], jax.random.key(0), (), deterministic=True)
    np.testing.assert_allclose(play(policy, 1, 1)[0], action, atol=1e-6)


def test_loaded_parameters_act_from_the_next_step_on_and_carry_their_version():
    policy, other = AgentPolicy(AGENT, actor_params(0), True), AgentPolicy(AGENT, actor_params(1), True)
    assert policy.version == -1
    policy.load(actor_params(1), 7)
    assert policy.version == 7
    np.testing.assert_array_equal(play(policy, 0), play(other, 0))


def test_a_policy_outlives_the_arrays_it_was_given():
    params = actor_params()
    policy = AgentPolicy(AGENT, params)
    expected = play(policy, 3)
    for leaf in jax.tree.leaves(params):
        leaf.delete()  # as donation to the learner's next update does
    np.testing.assert_array_equal(play(policy, 3), expected)


def test_policies_of_one_agent_share_one_compiled_program():
    policies = [AgentPolicy(AGENT, actor_params(seed)) for seed in range(3)]
    for policy in policies:
        play(policy, 0)
    assert policy_module._jitted_act(AGENT, False)._cache_size() == 1  # type: ignore[attr-defined]


def test_gaussian_noise_has_the_scale_it_was_given():
    noise = play(NoisyPolicy(Still(), 0.2), 0, 5_000)
    assert abs(noise.std() - 0.2) < 0.005 and abs(noise.mean()) < 0.01


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_bursts_fill_the_share_of_the_steps_they_were_given(share: float):
    actions = play(NoisyPolicy(Still(), 0.0, share), 0, 40_000)
    random = np.abs(actions).max(axis=1) > 0
    assert abs(random.mean() - share) < 0.02
    starts = np.flatnonzero(random & ~np.append(False, random[:-1]))[:20]
    assert all((actions[start : start + BURST_STEPS] == actions[start]).all() for start in starts)


@pytest.mark.parametrize(("scale", "share"), [(-0.1, 0.0), (0.1, 1.0), (0.1, -0.2)])
def test_impossible_noise_is_refused(scale: float, share: float):
    with pytest.raises(WarmloopError, match="Noise needs a scale of at least 0"):
        NoisyPolicy(Still(), scale, share)


@pytest.mark.parametrize(
    ("file", "found"), [("vecnormalize.pkl", True), ("model/vecnormalize.pkl", True), ("vec_normalize.pkl", True), ("data.pkl", False)]
)
def test_statistics_that_a_saved_policy_was_trained_under_are_noticed_beside_it(file, found, tmp_path):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert statistics_beside(tmp_path / "model.zip") == (path if found else None)

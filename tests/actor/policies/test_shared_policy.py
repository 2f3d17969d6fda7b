"""One policy in several episodes at once: each seat acts as a policy of its own would, by one compiled call."""

import jax
import numpy as np
import pytest
from carrying import Adding, Counting, actor

from warmloop.actor.policies.policy import AgentPolicy, NoisyPolicy
from warmloop.actor.policies.shared_policy import Ask, SharedPolicy, _jitted_acts
from warmloop.agents import SAC, SACConfig
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (3,), "float32"),), 2)
SMALL = SAC(SACConfig(hidden=(16,)), SPEC)
PARAMS = jax.device_get(SMALL.actor_params(SMALL.init(jax.random.key(0), example(SPEC))))
LENGTHS = (3, 7, 5)  # of each seat's episodes, so that they begin at different rounds
ROUNDS = 15


def walked(agent, params, deterministic, noise, drops=()):
    """What seats do, and what a policy of its own does in each one's place, in rounds of episodes of different lengths."""
    shared = SharedPolicy(agent, len(LENGTHS), deterministic)
    shared.load(params, 4)
    seats = [NoisyPolicy(seat, noise) if noise else seat for seat in shared.seats]
    alone = [AgentPolicy(agent, params, deterministic, 4) for _ in LENGTHS]
    own = [NoisyPolicy(one, noise) if noise else one for one in alone]
    rng, steps, found, expected = np.random.default_rng(0), [0] * len(LENGTHS), [], []
    for round_ in range(ROUNDS):
        asked = [place for place in range(len(LENGTHS)) if (round_ + place) % 4]  # a place whose simulator waits is not asked
        seen = rng.standard_normal((len(LENGTHS), agent.spec.observation_dim)).astype(np.float32)
        for place in asked:
            if steps[place] == 0:
                seats[place].begin(round_ + place)
                own[place].begin(round_ + place)
        shared.look({place: Ask(seen[place], steps[place]) for place in asked})
        for place in asked:
            found.append(seats[place](seen[place], steps[place]))
            expected.append(own[place](seen[place], steps[place]))
            if (round_, place) in drops:
                for one in (seats[place], own[place]):
                    one.drop_plan(np.full(agent.spec.action_dim, -0.9, np.float32))
            steps[place] = (steps[place] + 1) % LENGTHS[place]
    return np.array(found), np.array(expected)


@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_seat_acts_as_a_policy_of_its_own(deterministic, noise):
    found, expected = walked(SMALL, PARAMS, deterministic, noise)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len(np.unique(found.round(4))) > 20


@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize("agent", [Counting(), Adding()], ids=["plans", "remembers"])
def test_plans_and_memories_are_each_seat_s_own(agent, noise):
    found, expected = walked(agent, actor(0.0), True, noise, drops=((4, 1), (6, 2)))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_all_episodes_are_one_compiled_call():
    _jitted_acts.cache_clear()
    walked(SMALL, PARAMS, True, 0.0)
    assert _jitted_acts(SMALL, True)._cache_size() == 1  # pyright: ignore[reportFunctionMemberAccess]


def test_new_weights_act_from_where_a_seat_takes_them_and_the_version_is_of_what_acts_there():
    shared = SharedPolicy(Counting(), 2)  # pyright: ignore[reportArgumentType]
    shared.load(actor(0.0), 0)
    one, other = shared.seats

    def acted(steps):
        found = []
        for step in range(steps):
            shared.look({0: Ask(np.zeros(3, np.float32), step), 1: Ask(np.zeros(3, np.float32), step)})
            found.append([round(float(seat(np.zeros(3), step)[0]), 3) for seat in (one, other)])
        return found

    assert acted(2) == [[0.0, 0.0], [0.1, 0.1]]
    one.load(actor(0.5), 7)
    assert acted(2) == [[0.2, 0.2], [0.3, 0.3]] and one.version == 0, "the plan goes to its end"
    assert acted(1) == [[0.5, 0.0]] and (one.version, other.version) == (7, 0), "an episode keeps the weights that it began with"
    other.load(actor(0.5), 7)
    other.begin(1)
    assert acted(1) == [[0.6, 0.5]] and other.version == 7

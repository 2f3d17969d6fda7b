"""A model's quality: exact for a perfect one, chance where there is nothing to tell, and never across the end of an episode."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents.models.ensembles.model_quality import Stretches, auroc, open_loop, quality_of
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec, example, take

SPEC = Spec((Leaf("", (2,), "float32"),), 1)
MATRIX = np.array([[0.98, 0.2], [-0.2, 0.98]], np.float32)


def episode(number, count):
    """An episode whose state turns, pushed by its actions, and whose numbers tell the episode and the step."""
    rng = np.random.default_rng(number)
    action = rng.uniform(-1, 1, (count, 1)).astype(np.float32)
    states = [rng.normal(size=2).astype(np.float32)]
    for each in action:
        states.append(MATRIX @ states[-1] + 0.1 * each)
    seen = np.array(states, np.float32)
    return example(SPEC, count).replace(observation=seen[:-1], next_observation=seen[1:], action=action)


@dataclasses.dataclass(frozen=True)
class Turning:
    """Members that know the system but for an error of their own."""

    errors: tuple[float, ...]

    def predict(self, state, observation, action):
        shift = jnp.asarray(self.errors)[:, None, None]
        every = observation if observation.ndim == 3 else jnp.broadcast_to(observation, (len(self.errors), *observation.shape))
        return every @ MATRIX.T + 0.1 * action[None] + shift

    def model_error(self, state, batch):
        return jnp.zeros(batch.reward.shape)


def test_a_perfect_model_has_no_error_and_the_guess_has():
    found = quality_of(Turning((0.0, 0.0)), (), [episode(number, 40) for number in range(4)])
    assert found.model_error.shape == found.guess_error.shape == (15,)
    np.testing.assert_allclose(found.model_error, 0, atol=1e-4)
    assert (np.diff(found.guess_error[:5]) > 0).all() and found.guess_error[0] > 0.01
    assert found.on.max() == 0 and found.auroc == 0.5


def test_errors_of_the_members_cancel_in_their_mean_and_show_as_disagreement():
    episodes = [episode(number, 40) for number in range(4)]
    found = quality_of(Turning((0.5, -0.5)), (), episodes)
    np.testing.assert_allclose(found.model_error, 0, atol=1e-4)
    every = np.concatenate([each.observation for each in episodes])
    np.testing.assert_allclose(found.on, (0.5 / every.std(axis=0)).mean(), rtol=1e-4)


def test_an_error_grows_as_each_member_goes_on_from_its_own_prediction():
    found = open_loop(lambda state, action: Turning((1.0,)).predict((), state, action), np.zeros((1, 2)), np.zeros((1, 3, 1)))
    wanted, state = [], np.zeros(2)
    for _ in range(3):
        state = MATRIX @ state + 1.0
        wanted.append(state)
    np.testing.assert_allclose(found[0, 0], wanted, rtol=1e-5)


def test_stretches_lie_within_their_episodes():
    episodes = [episode(0, 30), episode(1, 4), take(episode(2, 18), slice(None))]
    found = Stretches.of(episodes, longest=6, most=1_000)
    assert len(found.observation) == 24 + 12, "of the second, too short, there is none"
    for before, seen, action in zip(found.before, found.observation, found.action, strict=True):
        whole = next(each for each in episodes if (each.observation == before).all(axis=1).any())
        at = int(np.flatnonzero((whole.observation == before).all(axis=1))[0]) + 1
        np.testing.assert_array_equal(seen[:-1], whole.observation[at : at + 6])
        np.testing.assert_array_equal(seen[1:], whole.next_observation[at : at + 6])
        np.testing.assert_array_equal(action, whole.action[at : at + 6])


def test_short_episodes_are_judged_over_fewer_steps_and_single_rows_are_refused():
    assert Stretches.of([episode(0, 5)]).action.shape == (1, 4, 1)
    with pytest.raises(WarmloopError, match="none of these has two steps"):
        Stretches.of([episode(0, 1)])


def test_the_auroc_is_the_share_of_pairs_that_are_in_order():
    assert auroc(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1.0
    assert auroc(np.array([1.0, 3.0]), np.array([2.0, 2.0])) == 0.5
    rng = np.random.default_rng(0)
    high, low = rng.integers(0, 9, 50), rng.integers(0, 9, 40)
    pairs = np.sign(high[:, None] - low[None]) / 2 + 0.5
    np.testing.assert_allclose(auroc(high, low), pairs.mean())

"""The recurrent model: its gates, its resets, its samples and their gradients, and the two sides of its divergence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents.models.dreaming.rssm import RSSM, UNIFORM, Latent, balanced, divergence, sample, with_uniform

KEY = jax.random.key(1)
MODEL = RSSM(deter=16, units=8, groups=3, classes=4)


@pytest.fixture(scope="module")
def params(shaken):
    return shaken(jax.jit(MODEL.init)(KEY, MODEL.start(1), jnp.zeros((1, 2)), jnp.zeros((1, 5))), 0)


@pytest.fixture(scope="module")
def observed(params):
    """States `[T, 1]` of a sequence with an episode beginning where `first` says."""

    @jax.jit
    def follow(actions, tokens, first):
        def step(latent, inputs):
            deter, posterior = MODEL.apply(params, latent, *inputs, method="observe")
            latent = Latent(deter, sample(KEY, posterior))
            return latent, latent

        return jax.lax.scan(step, MODEL.start(1), (actions, tokens, first))[1]

    return follow


def normed(layer, x):
    x = x @ layer["Dense_0"]["kernel"] + layer["Dense_0"]["bias"]
    x = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-4) * layer["RMSNorm_0"]["scale"]
    return x / (1 + np.exp(-x))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.long
def test_the_recurrence_is_a_gru_in_eight_blocks(params):
    rng = np.random.default_rng(0)
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params["params"])
    deter, stoch, action = rng.normal(size=16), np.eye(4)[[0, 2, 1]], np.array([0.4, -3.0])
    given = {"of_deter": deter, "of_stoch": stoch.ravel(), "of_action": np.array([0.4, -1.0])}
    seen = np.concatenate([normed(p[name], x) for name, x in given.items()])
    mixed = [p["mixed"]["bias"][g] + np.append(deter[2 * g : 2 * g + 2], seen) @ p["mixed"]["kernel"][g] for g in range(8)]
    mixed = np.concatenate(mixed)
    mixed = mixed / np.sqrt(np.square(mixed).mean() + 1e-4) * p["mixed_norm"]["scale"]
    mixed = mixed * sigmoid(mixed)
    expected = []
    for g in range(8):
        old = deter[2 * g : 2 * g + 2]
        reset, candidate, update = np.split(p["gates"]["bias"][g] + mixed[2 * g : 2 * g + 2] @ p["gates"]["kernel"][g], 3)
        update = sigmoid(update - 1)
        expected.append(update * np.tanh(sigmoid(reset) * candidate) + (1 - update) * old)
    latent = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), Latent(deter, stoch))
    found = MODEL.apply(params, latent, jnp.asarray(action, jnp.float32), method="recur")
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-4, atol=1e-5)


def test_where_an_episode_begins_nothing_before_it_changes_a_bit(observed):
    rng = np.random.default_rng(0)
    actions, tokens = (jnp.asarray(rng.normal(size=(6, 1, size)), jnp.float32) for size in (2, 5))
    first = jnp.array([True, False, False, True, False, False])[:, None]
    whole = observed(actions, tokens, first)
    other = observed(actions.at[:4].add(1.0), tokens.at[:3].add(1.0), first)
    for one, two in zip(jax.tree.leaves(whole), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(one[3:], two[3:])
        assert not np.array_equal(one[:3], two[:3])
    alone = observed(actions[3:].at[0].set(0.0), tokens[3:], first[:3])
    np.testing.assert_allclose(alone.deter, whole.deter[3:], rtol=1e-6)


def test_samples_are_one_hot_as_often_as_they_are_probable_and_never_improbable():
    log_probs = with_uniform(jnp.log(jnp.array([[0.7, 0.2, 0.1, 1e-30]])))
    np.testing.assert_allclose(jnp.exp(log_probs).sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(jnp.exp(log_probs)[0, 3], UNIFORM / 4, rtol=1e-5)
    drawn = np.asarray(sample(KEY, jnp.broadcast_to(log_probs, (20_000, 1, 4))))
    assert set(np.unique(drawn)) == {0, 1} and (drawn.sum(-1) == 1).all()
    np.testing.assert_allclose(drawn.mean((0, 1)), jnp.exp(log_probs)[0], atol=0.01)


def test_a_samples_gradient_is_the_probabilities():
    logits, values = jax.random.normal(KEY, (3, 4)), jnp.arange(12.0).reshape(3, 4)
    of_sample = jax.grad(lambda logits: (values * sample(KEY, with_uniform(logits))).sum())(logits)
    of_probs = jax.grad(lambda logits: (values * jnp.exp(with_uniform(logits))).sum())(logits)
    np.testing.assert_allclose(of_sample, of_probs, rtol=1e-4, atol=1e-6)
    sums = jax.grad(lambda logits: sample(KEY, with_uniform(logits)).sum())(logits)
    np.testing.assert_allclose(sums, 0, atol=1e-6)


def test_the_divergence_moves_each_side_by_its_own_loss_and_not_below_the_free_nats():
    far, near = (jnp.asarray(x) for x in ([[4.0, 0.0, -1.0, 0.0]] * 3, [[0.1, 0.0, 0.0, 0.0]] * 3))

    def losses(posterior, prior):
        return balanced(with_uniform(posterior), with_uniform(prior), 1.0)

    def plain(posterior, prior):
        return divergence(with_uniform(posterior), with_uniform(prior))

    for side, (of_dynamics, of_representation) in enumerate([(0.0, 1.0), (1.0, 0.0)]):  # the posterior, then the prior
        whole = np.asarray(jax.grad(plain, argnums=side)(far, -far))
        for number, factor in enumerate((of_dynamics, of_representation)):
            found = jax.grad(lambda *args, number=number: losses(*args)[number], argnums=side)(far, -far)
            np.testing.assert_allclose(found, factor * whole, atol=1e-6)
        below = jax.grad(lambda *args: sum(losses(*args)), argnums=side)(near, jnp.zeros((3, 4)))
        assert (np.asarray(below) == 0).all() and np.asarray(losses(near, jnp.zeros((3, 4)))).tolist() == [1.0, 1.0]


def test_the_free_nats_are_of_all_groups_together():
    posterior, prior = jnp.array([[2.0, 0.0, 0.0, 0.0]] * 3), jnp.zeros((3, 4))
    each = [float(divergence(with_uniform(posterior[:1]), with_uniform(prior[:1]))) for _ in range(3)]
    assert max(each) < 1.0 < sum(each)
    np.testing.assert_allclose(balanced(with_uniform(posterior), with_uniform(prior), 1.0)[0], sum(each), rtol=1e-5)

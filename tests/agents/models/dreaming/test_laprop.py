"""LaProp and its clipping, against their equations written out."""

import jax.numpy as jnp
import numpy as np
import optax

from warmloop.agents.models.dreaming.laprop import clip_by_norm_ratio, laprop


def by_the_equations(weights, gradients, rate, warmup, ratio):
    """The weights after these gradients, in float64."""
    weights, squares, momentum = np.array(weights, np.float64), 0.0, 0.0
    for number, gradient in enumerate(np.array(gradients, np.float64)):
        longest = ratio * max(1e-3, np.linalg.norm(weights))
        gradient = gradient * min(1.0, longest / np.linalg.norm(gradient))
        squares = 0.999 * squares + 0.001 * gradient**2
        scaled = gradient / (np.sqrt(squares / (1 - 0.999 ** (number + 1))) + 1e-20)
        momentum = 0.9 * momentum + 0.1 * scaled
        weights = weights - rate * min(1.0, number / warmup) * momentum / (1 - 0.9 ** (number + 1))
    return weights


def test_it_moves_as_its_equations_say():
    rng = np.random.default_rng(0)
    weights, gradients = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=(8, 3, 4)).astype(np.float32) * 10
    optimizer = laprop(0.1, warmup=4)
    params, state = jnp.asarray(weights), optimizer.init(jnp.asarray(weights))
    for gradient in gradients:
        change, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, change)
    np.testing.assert_allclose(params, by_the_equations(weights, gradients, 0.1, 4, 0.3), rtol=1e-4, atol=1e-5)


def test_a_gradient_is_clipped_as_a_whole_and_one_of_zero_weights_to_a_thousandth():
    weights = {"long": jnp.full((2, 2), 5.0), "zero": jnp.zeros(3)}
    gradient = {"long": jnp.array([[30.0, 0.0], [0.0, 40.0]]), "zero": jnp.array([0.0, 0.0, 2.0])}
    clipped, _ = clip_by_norm_ratio(0.3).update(gradient, optax.EmptyState(), weights)
    np.testing.assert_allclose(clipped["long"], np.array([[3.0, 0.0], [0.0, 4.0]]) * 0.6, rtol=1e-6)  # of norm 5, of 0.3 · 10
    np.testing.assert_allclose(clipped["zero"], [0, 0, 3e-4], rtol=1e-6)
    short, _ = clip_by_norm_ratio(0.3).update({"x": jnp.ones(1)}, optax.EmptyState(), {"x": jnp.full(1, 10.0)})
    assert short["x"][0] == 1.0


def test_where_there_is_no_gradient_nothing_moves():
    optimizer = laprop(0.1, warmup=0)
    change, _ = optimizer.update(jnp.zeros(4), optimizer.init(jnp.ones(4)), jnp.ones(4))
    assert (np.asarray(change) == 0).all()

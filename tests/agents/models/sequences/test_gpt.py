"""Decoding with kept keys and values is the model without them; no token sees what comes after it, nor a value to go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents.models.sequences.gpt import GPT

GPTS = GPT(dims=5, steps=4, bins=6, layers=2, width=16, heads=4, dropout=0.3)
DIMS, BINS = GPTS.dims, GPTS.bins


@pytest.fixture(scope="module")
def params():
    drawn = GPTS.init(jax.random.key(0))
    leaves, structure = jax.tree.flatten(drawn)
    keys = jax.random.split(jax.random.key(1), len(leaves))  # larger than fresh ones, so that no part is lost in rounding
    return jax.tree.unflatten(structure, [x + 0.3 * jax.random.normal(key, x.shape) for x, key in zip(leaves, keys, strict=True)])


logits = jax.jit(GPTS.logits)
read, decode = jax.jit(GPTS.read), jax.jit(GPTS.decode)


def tokens_of(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, BINS + 1, shape), jnp.int32)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_decoding_with_a_cache_gives_what_the_whole_sequence_gives_without_one(params, steps):
    """Of 2 beams with 3 continuations each, after `steps` of the 3 steps that there is room for."""
    before, own = tokens_of(2, 3 * DIMS), tokens_of(6, DIMS, seed=1)
    known = jnp.repeat(before[:, : steps * DIMS], 3, axis=0)
    whole = logits(params, jnp.concatenate([known, own], axis=1))  # [6, n, N + 1]
    cache, following = read(params, before, jnp.int32(steps))
    np.testing.assert_allclose(following, whole[::3, steps * DIMS - 1], atol=1e-4)
    written = GPTS.blank(2).repeat(3)
    for place in range(DIMS):
        written, found = decode(params, (cache, jnp.int32(steps)), written, own[:, place], jnp.int32(place))
        np.testing.assert_allclose(found, whole[:, steps * DIMS + place], atol=1e-4)


def test_the_first_step_of_all_is_decoded_without_a_past(params):
    own = tokens_of(2, DIMS)
    cache, _ = read(params, tokens_of(2, 2 * DIMS, seed=3), jnp.int32(0))
    written = GPTS.blank(2)
    for place in range(DIMS):
        written, found = decode(params, (cache, jnp.int32(0)), written, own[:, place], jnp.int32(place))
        np.testing.assert_allclose(found, logits(params, own)[:, place], atol=1e-4)


def test_a_token_changes_nothing_before_it(params):
    tokens = tokens_of(1, 3 * DIMS)
    before = logits(params, tokens)
    for place in (0, 4, 7, 13):
        after = logits(params, tokens.at[0, place].set((tokens[0, place] + 1) % BINS))
        changed = np.abs(np.asarray(after - before)).max(axis=(0, 2)) > 1e-6
        assert not changed[:place].any() and changed[place]


def test_a_value_to_go_is_seen_by_no_other_token(params):
    tokens = tokens_of(1, 3 * DIMS)
    changed = logits(params, tokens.at[0, DIMS - 1].set((tokens[0, DIMS - 1] + 1) % BINS)) - logits(params, tokens)
    assert np.flatnonzero(np.abs(np.asarray(changed)).max(axis=(0, 2)) > 1e-6).tolist() == [DIMS - 1]


def test_each_number_has_an_output_matrix_and_embeddings_of_its_own(params):
    head = params["head"]["kernel"].at[2].set(0.0)
    found = np.asarray(logits(params | {"head": {"kernel": head}}, tokens_of(1, 2 * DIMS)))
    assert np.flatnonzero(np.abs(found).max(axis=(0, 2)) == 0).tolist() == [2, 2 + DIMS]
    embedding = params["token"]["embedding"].at[BINS : 2 * BINS].add(1.0)  # of the second number
    moved = GPTS._embedded(params | {"token": {"embedding": embedding}}, jnp.array([3, 3, BINS]), jnp.array([0, 1, 1]))
    moved -= GPTS._embedded(params, jnp.array([3, 3, BINS]), jnp.array([0, 1, 1]))
    np.testing.assert_allclose(np.abs(np.asarray(moved)).max(axis=1), [0, 1, 0], atol=1e-6)


def test_units_are_dropped_where_a_key_is_given_and_only_there(params):
    tokens = tokens_of(2, DIMS)
    one, other = (logits(params, tokens, jax.random.key(seed)) for seed in (0, 1))
    assert not np.allclose(one, other) and not np.allclose(one, logits(params, tokens))
    np.testing.assert_array_equal(one, logits(params, tokens, jax.random.key(0)))
    x, dropped = jnp.ones((1000,)), GPTS._dropped(jnp.ones((1000,)), jax.random.key(0))
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.1) and set(np.unique(dropped).round(4)) == {0.0, np.float32(1 / 0.7).round(4)}
    np.testing.assert_array_equal(GPTS._dropped(x, None), x)


def test_fresh_sizes_are_the_papers():
    gpt = GPT(dims=17 + 6 + 2, steps=10, bins=100)
    sizes = jax.tree.map(lambda x: x.size, jax.eval_shape(gpt.init, jax.random.key(0)))
    assert sizes["token"]["embedding"] == (100 * 25 + 1) * 128 and sizes["head"]["kernel"] == 25 * 128 * 101
    assert sum(jax.tree.leaves(sizes["layers"])) == 4 * (12 * 128 * 128 + 13 * 128)

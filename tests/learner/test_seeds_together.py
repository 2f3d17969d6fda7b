"""Seeds that learn side by side learn what each would alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents import TD3BC, TD3BCConfig
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.transition import Leaf, Spec
from warmloop.learner.seeds_together import bytes_of_a_seed, one_seed, run_seeds, start_seeds
from warmloop.learner.starting_state import warm_start
from warmloop.learner.state import LearnerParts
from warmloop.learner.step import run_steps

SEEDS = (3, 0, 8)
SPEC = Spec((Leaf("", (4,), "float32"),), 2)


def plain(tree):
    """The tree with keys as numbers."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x, tree)


def test_each_seed_starts_as_it_would_alone(parts, make_rows):
    states = start_seeds(parts, SEEDS, make_rows(40))
    for index, seed in enumerate(SEEDS):
        jax.tree.map(np.testing.assert_array_equal, plain(one_seed(states, index)), plain(warm_start(parts, seed, make_rows(40))))


@pytest.mark.parametrize("index", range(len(SEEDS)))
def test_each_seed_learns_what_it_would_alone(parts, make_rows, index):
    states, metrics = run_seeds(start_seeds(parts, SEEDS, make_rows(40)), parts, 4)
    alone, its_metrics = run_steps(warm_start(parts, SEEDS[index], make_rows(40)), parts, 4)
    mine = one_seed(states, index)
    for one, other in zip(jax.tree.leaves(plain(mine)), jax.tree.leaves(plain(alone)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    assert set(metrics) == set(its_metrics)
    np.testing.assert_allclose(metrics["critic/loss"][index], its_metrics["critic/loss"], rtol=1e-3)
    assert int(mine.updates) == 4


@pytest.mark.long
def test_a_step_that_is_due_now_and_then_stays_a_branch(make_rows):
    agent = TD3BC(TD3BCConfig(hidden=(8,), batch_size=8), SPEC)
    parts = LearnerParts(agent, ReplayConfig(capacity=64), MixingConfig())
    states = start_seeds(parts, SEEDS, make_rows(40))
    assert states.agent.updates.shape == ()
    program = str(jax.make_jaxpr(run_seeds, static_argnums=(1, 2))(states, parts, 2))
    assert "cond[" in program
    run = one_seed(run_seeds(states, parts, 3)[0], 1)
    alone = run_steps(warm_start(parts, SEEDS[1], make_rows(40)), parts, 3)[0]
    for one, other in zip(jax.tree.leaves(plain(run)), jax.tree.leaves(plain(alone)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_seeds_differ_and_share_their_rows(parts, make_rows):
    states, _ = run_seeds(start_seeds(parts, SEEDS, make_rows(40)), parts, 4)
    assert states.offline.words.shape[0] == 40
    leaves = zip(*(jax.tree.leaves(one_seed(states, index).agent.critic) for index in (0, 1)), strict=True)
    assert any(not np.array_equal(one, other) for one, other in leaves)


def test_a_further_seed_takes_its_networks_and_priorities_and_no_rows(parts, make_rows):
    few, many = (bytes_of_a_seed(parts, make_rows(count)) for count in (64, 6400))
    row = make_rows(1)
    assert many - few < 6400 * sum(leaf.nbytes for leaf in jax.tree.leaves(row)) / 4

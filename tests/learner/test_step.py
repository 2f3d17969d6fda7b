"""The compiled step: what it changes, what it repeats exactly, and that nothing recompiles."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.data.errors import WarmloopError
from warmloop.data.replay import replay
from warmloop.learner.state import create
from warmloop.learner.step import Stepper, run_many, run_one, run_steps
from warmloop.learner.warmup import td_errors


def same(a, b):
    """Whether two states are equal bit by bit."""
    plain = [jax.tree.map(lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x, t) for t in (a, b)]
    return all(np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, plain), strict=True))


def test_two_runs_from_one_seed_are_bit_identical_and_another_seed_is_not(parts, make_rows):
    def run(seed):
        state = create(parts, seed, make_rows(40))
        for _ in range(3):
            state, _ = run_steps(state, parts)
        return state

    assert same(run(0), run(0))
    assert not same(run(0), run(1))


def test_many_updates_in_one_program_equal_as_many_programs(parts, make_rows):
    one, many = create(parts, 0, make_rows(40)), create(parts, 0, make_rows(40))
    for _ in range(4):
        one, _ = run_steps(one, parts)
    many, _ = run_steps(many, parts, 4)
    leaves = zip(jax.tree.leaves(one.agent.critic), jax.tree.leaves(many.agent.critic), strict=True)
    for a, b in leaves:
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert int(many.updates) == 4


def test_updates_are_the_same_to_the_bit_in_calls_of_any_length_and_one_program_serves_them_all(parts, make_rows):
    def run(*counts):
        state, step, metrics = create(parts, 0, make_rows(40)), Stepper(parts, loop=True), {}
        for count in counts:
            state, metrics = step(state, count)
        return state, metrics

    before = run_many._cache_size()
    (whole, _), (ones, last) = run(7), run(*[1] * 7)
    assert same(whole, ones) and same(whole, run(3, 4)[0])
    assert run_many._cache_size() <= before + 1
    assert float(last["learner/offline_ratio"]) == pytest.approx(0.9**6 if 0.9**6 > 0.5 else 0.5)


def test_the_metrics_of_a_call_are_those_of_its_last_update_to_the_bit(parts, make_rows):
    one, metrics = create(parts, 0, make_rows(40)), {}
    for _ in range(3):
        one, metrics = run_many(one, parts, 1)
    _, together = run_many(create(parts, 0, make_rows(40)), parts, 3)
    assert same(metrics, together)


def test_nothing_recompiles_while_the_ratio_decays_and_the_pools_fill(parts, make_rows):
    state = create(parts, 0, make_rows(40))
    state, _ = run_steps(state, parts)
    compiled = run_one._cache_size()
    ratios = []
    for i in range(6):
        rows = make_rows(8, seed=i)
        state = state.replace(online=replay.insert(state.online, rows, 8, parts.replay))
        state, metrics = run_steps(state, parts)
        ratios.append(float(metrics["learner/effective_offline_ratio"]))
    assert run_one._cache_size() == compiled
    assert ratios == sorted(ratios, reverse=True) and ratios[-1] < ratios[0]


def test_the_state_is_donated(parts, make_rows):
    state = create(parts, 0, make_rows(40))
    kernel = state.agent.critic["params"]["kernel_1"]
    run_steps(state, parts)
    assert kernel.is_deleted()


def test_an_empty_online_pool_means_offline_batches_and_the_metrics_say_so(parts, make_rows):
    state = create(parts, 0, make_rows(40)).replace(updates=jax.numpy.int32(100))
    _, metrics = run_steps(state, parts)
    assert float(metrics["learner/offline_ratio"]) == 0.5
    assert float(metrics["learner/effective_offline_ratio"]) == 1.0


def test_a_block_writes_the_td_errors_of_its_rows_back(parts, make_rows):
    state = create(parts, 0, make_rows(40))
    before = td_errors(state, parts)
    np.testing.assert_allclose(before, 1.0, atol=1e-5)
    state, _ = run_steps(state, parts)
    after = td_errors(state, parts)
    assert 1 <= (after != before).sum() <= 16
    assert np.isfinite(after).all() and (after >= 0).all()


def test_td_errors_that_are_not_one_for_each_row_are_refused_in_a_sentence(parts, make_rows):
    class Averaged(type(parts.agent)):
        def update(self, state, batch):
            state, metrics, td_error = super().update(state, batch)
            return state, metrics, td_error.mean()

    fields = {field.name: getattr(parts.agent, field.name) for field in dataclasses.fields(parts.agent)}
    averaged = dataclasses.replace(parts, agent=Averaged(**fields))
    with pytest.raises(WarmloopError, match=r"Averaged.update gave TD errors of shape \[\]; it must give one for each row, \[K, B\] = \["):
        run_steps(create(parts, 0, make_rows(40)), averaged)


@pytest.mark.parametrize("decay", [0.9])
def test_the_schedule_goes_on_where_a_stored_count_stands(parts, make_rows, decay):
    state = create(parts, 0, make_rows(40)).replace(updates=jax.numpy.int32(3))
    _, metrics = run_steps(state, parts)
    assert float(metrics["learner/offline_ratio"]) == pytest.approx(decay**3)


@pytest.mark.parametrize(("precision", "said"), [("float32", "HIGHEST"), ("tensorfloat32", "HIGH"), ("bfloat16", "DEFAULT")])
def test_products_of_matrices_have_the_precision_that_is_asked_for_on_every_device(parts, make_rows, precision, said):
    asked = dataclasses.replace(parts, precision=precision)
    lowered = run_one.lower(create(asked, 0, make_rows(40)), asked).as_text()
    products = [line for line in lowered.splitlines() if "stablehlo.dot_general" in line]
    with_it = [line for line in products if f"precision = [{said}, {said}]" in line]
    others = [line for line in products if line not in with_it and "precision = [HIGHEST, HIGHEST]" not in line]  # of the replay's
    assert len(with_it) > 10 and not others


def test_an_update_moves_nothing_between_host_and_device(parts, make_rows):
    state, run = create(parts, 0, make_rows(40)), Stepper(parts)
    state, _ = run(state)
    with jax.transfer_guard("disallow"):
        state, metrics = run(state)
    with pytest.raises(Exception, match=r"[Dd]isallowed"), jax.transfer_guard("disallow"):
        jax.jit(lambda x: x + 1)(np.zeros(3))
    assert int(state.updates) == 2 and metrics

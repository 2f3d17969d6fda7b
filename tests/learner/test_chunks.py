"""How long compiled calls are, and what is in proportion to a warm-up."""

import jax
import numpy as np
import pytest

from warmloop.data.mixing import MixingConfig
from warmloop.data.transition import Leaf, Spec, example
from warmloop.learner import chunks as chunked
from warmloop.learner.chunks import Chunks
from warmloop.learner.config import LearnerConfig
from warmloop.learner.judging import fqe, proportion
from warmloop.learner.judging.fqe import FQEConfig
from warmloop.learner.state import create
from warmloop.learner.warmup import WarmUpWatch, warm_up


class Clock:
    """Time that passes by what a call is said to take: `each` seconds an iteration, and `compiling` in the first call."""

    def __init__(self, each, compiling=5.0):
        self.now, self.each, self.compiling = 0.0, each, compiling

    def perf_counter(self):
        return self.now

    def calls(self, most, left):
        """The lengths of the calls that `left` iterations take, and how long the longest of them was but for the first."""
        chunks, lengths, longest = Chunks(most), [], 0.0
        while left:
            count = chunks.begin(left)
            began = self.now
            self.now += count * self.each + (0 if lengths else self.compiling)
            chunks.end(count)
            longest = max(longest, self.now - began if lengths else 0.0)
            lengths.append(count)
            left -= count
        return lengths, longest


@pytest.mark.parametrize("each", [1e-4, 0.003, 0.08, 1.7])
def test_calls_take_about_a_second_however_slow_an_update_is(monkeypatch, each):
    clock = Clock(each)
    monkeypatch.setattr(chunked, "time", clock)
    lengths, longest = clock.calls(0, 20_000 if each < 0.01 else 300)
    assert lengths[0] == 1, "the first call compiles, and says nothing of the time"
    assert longest <= max(1.0 + 1e-6, each + 1e-6)
    assert max(lengths) >= min(0.9 / each, 1000) if each < 1 else max(lengths) == 1


def test_a_limit_on_the_updates_of_a_call_holds(monkeypatch):
    clock = Clock(1e-4)
    monkeypatch.setattr(chunked, "time", clock)
    assert max(clock.calls(10, 200)[0]) == 10


def test_checkpoints_and_fqe_are_in_proportion_to_the_warm_up_and_its_data():
    assert [proportion.checkpoints(updates) for updates in (1, 50, 399, 400, 2_000, 1_000_000)] == [1, 1, 1, 2, 10, 10]
    config = FQEConfig()
    assert proportion.fqe_steps(config, 375, 10, 4_000) == 293, "a hundred passes over 375 rows, where it was 3,000 steps"
    assert proportion.fqe_steps(config, 60_000, 10, 4_000) == 3_000
    assert proportion.fqe_steps(config, 60_000, 10, 100) == 80, "eight times the warm-up's own steps, for ten policies"
    assert proportion.fqe_steps(config, 1, 10, 1) == 1


@pytest.mark.parametrize("per_call", [0, 1, 7])
def test_a_warm_up_is_the_same_to_the_bit_and_has_the_same_records_and_checkpoints_whatever_its_calls(parts, make_rows, per_call):
    def run(most):
        lines, saved, seen = [], [], []

        class Recorder:
            def write(self, updates, metrics):
                lines.append(updates)
                return metrics

        config = LearnerConfig(warmup_steps=50, updates_per_call=most, log_every=20, warmup_checkpoints=3)
        state = create(parts, 0, make_rows(40))
        watch = WarmUpWatch(on_call=seen.append, on_checkpoint=lambda state: saved.append(int(state.updates)))
        state = warm_up(state, parts, config, Recorder(), watch)  # pyright: ignore[reportArgumentType]
        return jax.tree.leaves(state.agent.critic), lines, saved, seen

    leaves, lines, saved, seen = run(per_call)
    others, *_ = run(10)
    assert lines == [20, 40, 50] and saved == [17, 34, 50] and seen[-1] == 50
    assert all(np.array_equal(a, b) for a, b in zip(leaves, others, strict=True))


def test_fqe_is_the_same_whatever_its_calls(monkeypatch):
    rng = np.random.default_rng(0)
    rows = example(Spec((Leaf("", (2,), "float32"),), 1), 40).replace(
        observation=rng.normal(size=(40, 2)).astype(np.float32),
        action=rng.uniform(-1, 1, (40, 1)).astype(np.float32),
        mc_return=rng.normal(size=40).astype(np.float32),
    )
    config = FQEConfig(steps=30, members=2, hidden=(8,), batch_size=16)
    data = fqe.prepare(rows, [20, 20], 2, 0)
    after = jax.numpy.zeros((1, 40, 1, 1))

    def fitted(most):
        monkeypatch.setattr(fqe, "Chunks", lambda: Chunks(most))
        return fqe.fit(data, after, after[:, :2], config, 0.9, jax.random.key(0))

    np.testing.assert_array_equal(fitted(1), fitted(11))


def test_a_pool_that_is_one_with_the_other_has_its_share_of_the_rows():
    pooled = MixingConfig(pooled=True)
    assert [float(pooled.ratio(np.int32(9), *sizes)) for sizes in ((30, 10), (0, 5), (7, 0))] == [0.75, 0.0, 1.0]
    assert pooled.draws_online

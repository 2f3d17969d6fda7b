"""The split, the measures against plain NumPy, and stopping early."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from small_learner import SPEC

from warmloop.agents import CQL, SAC, CQLConfig, SACConfig
from warmloop.agents.networks.vision import VisionConfig
from warmloop.data.episode import Episode, make_steps
from warmloop.data.errors import WarmloopError
from warmloop.data.quality import QualityConfig
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Batch, Source
from warmloop.learner.config import LearnerConfig
from warmloop.learner.judging import heldout
from warmloop.learner.judging.heldout import EarlyStop, measured, measures, split
from warmloop.learner.rows.offline_rows import prepare
from warmloop.learner.state import LearnerParts
from warmloop.learner.warmup import WarmUpWatch, warm_up

SHARE = 0.1
PAIR = ((slice(-1), "observation"), (slice(1, None), "next_observation"))


def episode(number, source=Source.DEMOS, succeeds=False, length=5):
    rng = np.random.default_rng(number)
    success = np.arange(length) == (length - 1 if succeeds else -1)
    observation = rng.normal(size=(length + 1, 4)).astype(np.float32)
    steps = make_steps(
        observation[:-1], np.tanh(rng.normal(size=(length, 2))), success * 1.0, observation[1:], success, source=source, episode=number
    )
    return Episode(steps, success, "made", number, source)


@pytest.fixture(scope="module")
def mixed():
    """A hundred episodes of two sources, most demonstrations successful, and one lonely successful random one."""
    demos = [episode(number, Source.DEMOS, number % 3 > 0) for number in range(60)]
    logs = [episode(100 + number, Source.SUBOPTIMAL, number % 4 == 0) for number in range(39)]
    return [*demos, *logs, episode(200, Source.RANDOM, True)]


def no_tasks(episodes):
    return np.zeros(len(episodes), int)


def test_the_split_is_a_tenth_of_whole_episodes_and_of_every_kind(mixed):
    held = split(mixed, no_tasks(mixed), SHARE, seed=0)
    assert held.sum() == 10 and not held[-1], "the only one of its kind is learnt from"
    kinds = np.array([10 * one.source + one.succeeded for one in mixed])
    for kind in np.unique(kinds):
        members = (kinds == kind).sum()
        assert abs(held[kinds == kind].sum() - SHARE * members) <= 1


def test_the_split_hangs_on_the_episodes_and_the_seed_and_not_on_their_order(mixed):
    held = split(mixed, no_tasks(mixed), SHARE, seed=0)
    np.testing.assert_array_equal(held, split(mixed, no_tasks(mixed), SHARE, seed=0))
    order = np.random.default_rng(0).permutation(len(mixed))
    np.testing.assert_array_equal(held[order], split([mixed[index] for index in order], no_tasks(mixed), SHARE, seed=0))
    assert (held != split(mixed, no_tasks(mixed), SHARE, seed=1)).any()


def test_copies_of_an_episode_are_on_one_side(mixed):
    twice = [*mixed, *(dataclasses.replace(one, origin="copy") for one in mixed)]
    for seed in range(5):
        held = split(twice, no_tasks(twice), SHARE, seed)
        np.testing.assert_array_equal(held[: len(mixed)], held[len(mixed) :])
        assert held.sum() == 20


def test_every_task_gives_its_share(mixed):
    tasks = np.arange(len(mixed)) % 2
    held = split(mixed, tasks, 0.2, seed=0)
    assert held.sum() == 20 and abs(int(held[tasks == 0].sum()) - 10) <= 2


@pytest.mark.parametrize(("count", "share"), [(19, 0.5), (100, 0.0)])
def test_few_episodes_or_a_share_of_nothing_hold_nothing_out(mixed, count, share):
    assert not split(mixed[:count], no_tasks(mixed[:count]), share, seed=0).any()


def prepared(episodes, held=None):
    data = prepare(episodes, RewardConfig(), QualityConfig())
    return data.hold_out(split(episodes, no_tasks(episodes), SHARE, seed=0) if held is None else held)


def batch_of(data) -> Batch:
    batch = measured(data)
    assert batch is not None
    return batch


def test_rows_that_are_learnt_from_and_rows_that_are_measured_on_share_no_episode(mixed):
    data = prepared(mixed)
    learnt, batch = data.rows_of(~data.held), batch_of(data)
    known = {row.tobytes() for row in learnt.observation}
    assert len(learnt.reward) + len(batch.reward) == len(data.rows.reward)
    assert not known & {row.tobytes() for row in np.asarray(batch.observation)}


def test_td_errors_of_rows_learnt_from_find_their_episodes_and_the_held_out_ones_get_the_mean(mixed):
    data = prepared(mixed)
    values = np.arange(len(data.rows_of(~data.held).reward), dtype=np.float64)
    parts = data.per_episode(values)
    np.testing.assert_array_equal(np.concatenate([part for part, out in zip(parts, data.held, strict=True) if not out]), values)
    assert all((part == values.mean()).all() for part, out in zip(parts, data.held, strict=True) if out)


@pytest.mark.parametrize("calibrated", [None, False])
def test_the_measures_are_what_numpy_says(mixed, calibrated):
    settings = {"hidden": (8, 8), "ensemble": 2, "target_subset": 2, "utd": 1, "batch_size": 8, "normalise_observations": False}
    agent = SAC(SACConfig(**settings), SPEC) if calibrated is None else CQL(CQLConfig(**settings), SPEC)
    data = prepared(mixed)
    batch = batch_of(data)
    state = agent.init(jax.random.key(0), data.rows)
    found = {name: float(value) for name, value in measures(agent, state, batch).items()}
    sac = state if calibrated is None else state.sac
    inner = agent if calibrated is None else agent.sac
    mean, log_std = (np.asarray(x, np.float64) for x in inner.policy.apply(sac.acting, batch.observation))
    action = np.asarray(batch.action, np.float64)
    density = stats.norm(mean, np.exp(log_std)).logpdf(np.arctanh(action)) - np.log1p(-np.square(action))
    q = np.asarray(inner.critics.module(2).apply(sac.critic, batch.observation, batch.action))
    known = np.asarray(batch.mc_return)
    assert found["heldout/action_error"] == pytest.approx(np.square(np.tanh(mean) - action).mean(), rel=1e-4)
    assert found["heldout/log_prob"] == pytest.approx(density.sum(axis=1).mean(), rel=1e-4)
    assert found["heldout/q_overestimation"] == pytest.approx(q.mean() - known.mean(), rel=1e-4)
    # On terminal rows the target is the reward, whatever is drawn.
    ends = jax.tree.map(lambda x: x[np.asarray(batch.mask) == 0], batch)
    error = np.abs(np.asarray(inner.critics.module(2).apply(sac.critic, ends.observation, ends.action)) - np.asarray(ends.reward)).mean()
    assert float(measures(agent, state, ends)["heldout/td_error"]) == pytest.approx(error, rel=1e-4)
    assert found == {name: float(value) for name, value in measures(agent, state, batch).items()}, "measured alike every time"


def test_rows_with_pictures_are_measured_in_parts_with_the_numbers_of_the_whole(monkeypatch):
    rng = np.random.default_rng(0)
    demos = []
    for one in (episode(number, length=15) for number in range(20)):
        pictures = rng.integers(0, 256, (16, 8, 8, 3), np.uint8)
        here, after = ({"front": pictures[part], "pose": getattr(one.steps, name)} for part, name in PAIR)
        demos.append(dataclasses.replace(one, steps=one.steps.replace(observation=here, next_observation=after)))
    data = prepared(demos, held=np.ones(20, bool))
    batch = batch_of(data)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(batch)), "no more than a part is on the device"
    # On terminal rows the target is the reward, whatever is drawn.
    batch = batch.replace(mask=np.zeros(300, np.float32), mc_return=np.where(np.arange(300) % 3, batch.mc_return, -np.inf))
    agent = SAC(SACConfig(hidden=(8,), ensemble=2, vision=VisionConfig(features=4, channels=(4,))), data.spec)
    state, by_row, sizes = agent.init(jax.random.key(0), data.rows), heldout._by_row, []
    monkeypatch.setattr(heldout, "_by_row", lambda *args: (sizes.append(len(args[2].reward)), by_row(*args))[1])
    parts = measures(agent, state, batch)
    monkeypatch.setattr(heldout, "SEEN_AT_ONCE", 300)
    whole = measures(agent, state, batch)
    assert sizes == [128, 128, 128, 300] and len(parts) == 4
    for name, value in whole.items():
        assert float(parts[name]) == pytest.approx(float(value), rel=1e-5), name


def test_rows_without_a_known_return_do_not_count_in_the_overestimation(mixed):
    agent = SAC(SACConfig(hidden=(8,), ensemble=2), SPEC)
    data = prepared(mixed)
    batch = batch_of(data)
    state = agent.init(jax.random.key(0), data.rows)
    unknown = np.arange(len(batch.reward)) % 2 == 0
    some = measures(agent, state, batch.replace(mc_return=jnp.where(unknown, -jnp.inf, batch.mc_return)))
    alone = measures(agent, state, jax.tree.map(lambda x: x[~unknown], batch))
    assert float(some["heldout/q_overestimation"]) == pytest.approx(float(alone["heldout/q_overestimation"]), rel=1e-5)


def test_stopping_early_waits_for_so_many_records_without_a_better_one():
    stop = EarlyStop("action_error", 2)
    assert [stop({"heldout/action_error": value}) for value in (3.0, 2.0, 2.5, 1.0, 1.0, 1.1)] == [False] * 5 + [True]
    likelihood = EarlyStop("log_prob", 1)
    assert [likelihood({"heldout/log_prob": value}) for value in (-2.0, -1.0, -1.5)] == [False, False, True]
    assert not EarlyStop("td_error", 0)({})
    with pytest.raises(WarmloopError, match="heldout/td_error, which is not measured"):
        EarlyStop("td_error", 1)({"heldout/action_error": 1.0})


class Lines(list):
    def write(self, updates, metrics):
        self.append((updates, metrics))
        return metrics


def warmed(parts, make_rows, **settings):
    from warmloop.learner.state import create

    config = LearnerConfig(warmup_steps=60, updates_per_call=5, log_every=10, **settings)
    lines, saved = Lines(), []
    batch = measured(prepared([episode(number) for number in range(30)]))
    state = create(parts, 0, make_rows(40))
    warm_up(state, parts, config, lines, WarmUpWatch(on_checkpoint=lambda state: saved.append(int(state.updates))), batch)
    return lines, saved


@pytest.mark.long
def test_a_warm_up_measures_at_every_record_and_gives_its_checkpoints_evenly_spaced(parts, make_rows):
    lines, saved = warmed(parts, make_rows, warmup_checkpoints=4)
    assert saved == [15, 30, 45, 60] and [updates for updates, _ in lines] == [10, 20, 30, 40, 50, 60]
    assert all({"heldout/action_error", "heldout/log_prob", "heldout/td_error"} <= metrics.keys() for _, metrics in lines)


def test_a_warm_up_that_stops_early_ends_with_a_checkpoint(parts: LearnerParts, make_rows, monkeypatch):
    rising = iter(range(100))
    monkeypatch.setattr("warmloop.learner.warmup.measures", lambda *_: {"heldout/action_error": jnp.float32(next(rising))})
    lines, saved = warmed(parts, make_rows, warmup_checkpoints=1, early_stop_after=2)
    assert [updates for updates, _ in lines] == [10, 20, 30] and saved == [30]

"""Several tasks in the pools: rows carry their task, and a batch holds as many of each, however unequal the data are."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from recorded import assert_identical, episode

from warmloop.agents import SAC, SACConfig
from warmloop.agents.networks.vision import VisionConfig
from warmloop.data.errors import WarmloopError
from warmloop.data.mixing import Annealed, BlockShape, MixingConfig, draw_mixed
from warmloop.data.quality import QualityConfig, weigh
from warmloop.data.replay import ReplayConfig, replay
from warmloop.data.retention import RetentionConfig, retain
from warmloop.data.reward import RewardConfig, apply_reward
from warmloop.data.tasks import TaskConfig
from warmloop.data.transition import Leaf, Source, Spec, concatenate, example
from warmloop.data.wire.row_schema import Schema
from warmloop.learner.journal.journal import Journal
from warmloop.learner.journal.streams import LOST
from warmloop.learner.receiving.intake import Intake
from warmloop.learner.rows.balance import TOLERANCE
from warmloop.learner.rows.ingest import Ingest, RowRules
from warmloop.learner.rows.offline_rows import prepare
from warmloop.learner.starting_state import refill
from warmloop.learner.state import LearnerParts, create

TASKS = TaskConfig(("often", "seldom"))
REWARD = RewardConfig(signal="environment", terminate_on_success=False)
QUALITY = QualityConfig(success_bonus=1.5)
draw = jax.jit(replay.draw, static_argnames=("n", "config", "count"))
draw_block = jax.jit(draw_mixed, static_argnames=("block", "config"))


def unequal(often=20, seldom=2):
    """Ten times as many rows of one task as of the other, in turn; of each some succeed, and some are no demonstrations."""
    names = ["often"] * often + ["seldom"] * seldom
    return [
        dataclasses.replace(
            episode(10, n, source=Source(n % 2), success=[False] * 9 + [n % 3 == 0], rewards=np.ones(10) * (name == "often")),
            task=name,
        )
        for n, name in enumerate(np.random.default_rng(0).permutation(names).tolist())
    ]


def pool_of(rows, config):
    spec = prepare(unequal(), REWARD, QUALITY, TASKS).spec
    return replay.insert(replay.create(spec, config, len(rows.reward)), rows, len(rows.reward), config)


def draws(pool, config, tasks=TASKS, calls=20):
    """Rows of each task among independent draws."""
    counts = np.zeros(len(tasks))
    for seed in range(calls):
        rows, _, _ = draw(pool, jax.random.key(seed), n=500, config=config, beta=0.4, count=1)  # one stratum: the draws are independent
        counts += np.bincount(tasks.numbers(np.asarray(rows.observation)), minlength=len(tasks))
    return counts


def test_the_offline_rows_carry_their_tasks_and_what_was_recorded_stays_raw():
    recorded = unequal()
    data = prepare(recorded, REWARD, QUALITY, TASKS)
    assert all(kept is given for kept, given in zip(data.recorded, recorded, strict=True))
    expected = np.repeat([TASKS.names.index(e.task) for e in recorded], 10)
    for field in ("observation", "next_observation"):
        np.testing.assert_array_equal(TASKS.numbers(getattr(data.rows, field)), expected)
        plain = concatenate([e.steps for e in recorded])
        np.testing.assert_array_equal(TASKS.strip(getattr(data.rows, field)), getattr(plain, field))
    assert data.summary(TASKS)[1].startswith("  often: 20 episodes, 200 steps")


def test_batches_of_the_offline_pool_hold_both_tasks_alike_though_one_has_ten_times_the_rows():
    config = ReplayConfig(capacity=300)
    counts = draws(pool_of(prepare(unequal(), REWARD, QUALITY, TASKS).rows, config), config)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    unbalanced = draws(pool_of(prepare(unequal(), REWARD, QUALITY, dataclasses.replace(TASKS, balance=False)).rows, config), config)
    assert unbalanced[0] > 8 * unbalanced[1]


def test_within_a_task_rows_keep_their_quality_to_one_another_and_the_sum_over_all_stays():
    data, plain = prepare(unequal(), REWARD, QUALITY, TASKS), prepare(unequal(), REWARD, QUALITY)
    for task in (0, 1):
        ratio = (data.rows.quality / plain.rows.quality)[np.repeat(data.tasks, 10) == task]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)
    assert data.rows.quality.sum() == pytest.approx(plain.rows.quality.sum(), rel=1e-5)


def test_where_quality_weighs_the_loss_both_tasks_weigh_alike_in_it():
    config = ReplayConfig(capacity=300, quality_in="loss")
    data = prepare(unequal(), REWARD, QUALITY, TASKS)
    offline, online = pool_of(data.rows, config), replay.create(data.spec, config, 1)
    weight = np.zeros(2)
    for seed in range(20):
        batch, _ = draw_block(offline, online, jax.random.key(seed), BlockShape(2, 256), Annealed(MixingConfig().ratio(0), 0.4), config)
        tasks = TASKS.numbers(np.asarray(batch.observation).reshape(-1, 5))
        weight += np.bincount(tasks, weights=np.asarray(batch.weight).ravel())
    assert weight[0] / weight.sum() == pytest.approx(0.5, abs=0.02)


def test_a_single_task_is_prepared_bit_for_bit_as_before_there_were_tasks():
    recorded = unequal()
    quality = dataclasses.replace(QUALITY, score_share=0.7)
    before = concatenate([e.steps for e in weigh([apply_reward(e, REWARD) for e in recorded], quality)])
    assert_identical(prepare(recorded, REWARD, quality).rows, before)


def test_an_episode_is_scored_among_those_of_its_own_task():
    recorded = unequal()  # whose returns are 10 for one task and 0 for the other
    quality = QualityConfig(score_share=1.0, success_weight=0.0, return_weight=1.0, length_weight=0.0, success_bonus=1.0, demos=1.0)
    tasks = dataclasses.replace(TASKS, balance=False)
    assert set(prepare(recorded, REWARD, quality, tasks).rows.quality.tolist()) == {0.5}, "all alike within their task"
    data = prepare(recorded, REWARD, QUALITY, TASKS)
    kept, report = retain(recorded, RetentionConfig(ratio=0.5), tasks=data.tasks)
    assert [sum(e.task == name for e in kept) for name in TASKS.names] == [10, 1] and report.episodes == 11
    alone, _ = retain(recorded, RetentionConfig(ratio=0.5, success_weight=0.0))
    assert all(e.task == "often" for e in alone), "compared with all, the task of smaller returns would be dropped"


def test_demonstrations_of_an_unnamed_task_are_refused():
    with pytest.raises(WarmloopError, match="nothing says which task"):
        prepare([episode(success=[True] * 6)], REWARD, QUALITY, TASKS)


# Online: rows of tasks in the last two numbers of their observation, as the fixture's agent has four.


def rows_of(task, count, make_rows, seed=0):
    rows = make_rows(count, Source.ONLINE, seed)
    code = np.tile(np.eye(2, dtype=np.float32)[task], (count, 1))
    observation = np.concatenate([rows.observation[:, :2], code], axis=1)
    return rows.replace(observation=observation, next_observation=observation)


def online(config, parts):
    parts = LearnerParts(parts.agent, config, parts.mixing)
    state = create(parts, 0, None)
    return Ingest(parts, RowRules(REWARD, TASKS), state), state


def test_batches_of_the_online_pool_hold_both_tasks_alike_while_their_shares_change(parts, make_rows):
    config = ReplayConfig(capacity=2000)
    ingest, state = online(config, parts)
    for turn in range(60):  # ten to one; then one to ten, round the ring
        lengths = (100, 10) if turn < 30 else (10, 100)
        for task, count in enumerate(lengths):
            state = ingest.insert(state, "a", rows_of(task, count, make_rows, turn))
        if turn in (0, 5, 25, 33, 40, 59):
            counts = draws(state.online, config)
            assert abs(counts[0] / counts.sum() - 0.5) < 0.5 * TOLERANCE + 0.02, turn
    assert int(state.online.inserted) == 6600
    stored = np.bincount(TASKS.numbers(np.asarray(state.online.rows.observation)))
    assert stored[1] > 8 * stored[0]


def test_a_task_that_comes_late_and_one_that_is_gone_again_do_not_take_the_batches_over(parts, make_rows):
    config = ReplayConfig(capacity=512)
    ingest, state = online(config, parts)
    state = ingest.insert(state, "a", rows_of(0, 250, make_rows))
    assert draws(state.online, config).tolist() == [10_000, 0]
    state = ingest.insert(state, "a", rows_of(1, 3, make_rows))
    assert scipy.stats.chisquare(draws(state.online, config)).pvalue > 1e-3
    for turn in range(4):
        state = ingest.insert(state, "a", rows_of(1, 200, make_rows, turn))
    assert draws(state.online, config).tolist() == [0, 10_000]
    np.testing.assert_allclose(state.online.quality, 1.0)


def test_what_the_draws_and_the_loss_see_of_a_rows_quality_is_the_same_and_its_urgency_stays(parts, make_rows):
    config = ReplayConfig(capacity=512)
    ingest, state = online(config, parts)
    state = ingest.insert(state, "a", rows_of(0, 200, make_rows))
    error = np.linspace(0.1, 4, 200).astype(np.float32)
    state = state.replace(online=replay.update_priorities(state.online, np.arange(200), error, config))
    pool = ingest.insert(state, "b", rows_of(1, 20, make_rows)).online
    np.testing.assert_array_equal(np.asarray(pool.rows.quality)[:220], np.asarray(pool.quality)[:220])
    np.testing.assert_allclose(np.asarray(pool.urgency)[:200], (error + config.epsilon) ** config.alpha, rtol=1e-5)
    np.testing.assert_allclose(pool.quality_sum, 220, rtol=1e-5)
    in_loss = dataclasses.replace(config, quality_in="loss")
    ingest, state = online(in_loss, parts)
    for task, count in ((0, 200), (1, 20)):
        state = ingest.insert(state, "a", rows_of(task, count, make_rows))
    pool = state.online
    np.testing.assert_array_equal(np.asarray(pool.quality)[:220], 1.0)
    np.testing.assert_allclose(np.asarray(pool.rows.quality)[[0, 219]], [0.55, 5.5], rtol=1e-6)


def test_lost_rows_count_for_no_task(parts, make_rows):
    config = ReplayConfig(capacity=512)
    ingest, state = online(config, parts)
    state = ingest.insert(state, "a", rows_of(0, 100, make_rows))
    state = ingest.insert(state, LOST, rows_of(1, 50, make_rows))
    assert draws(state.online, config).tolist() == [10_000, 0]
    state = ingest.insert(state, "a", rows_of(1, 10, make_rows))
    assert scipy.stats.chisquare(draws(state.online, config)).pvalue > 1e-3
    assert np.asarray(state.online.quality)[100:150].max() == 0


def test_rows_whose_frames_were_overwritten_count_for_no_task():
    spec = Spec((Leaf("front", (8, 8, 1), "uint8"), Leaf("task", (2,), "float32")), 2)
    agent = SAC(SACConfig(hidden=(8,), vision=VisionConfig(features=4, channels=(4,))), spec)
    # A pool of 900 rows keeps 1024 frames, and episodes of one step have two each: the last 512 rows have theirs.
    ingest, state = online(ReplayConfig(capacity=900), LearnerParts(agent, ReplayConfig(), MixingConfig()))

    def one_step_episodes(task, count, first):
        number = np.arange(first, first + 2 * count, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
        image = np.zeros((2 * count, 8, 8, 1), np.uint8)
        image[:, 0, :2, 0] = number  # no two alike
        code = np.tile(np.eye(2, dtype=np.float32)[task], (count, 1))
        rows = example(spec, count)
        return rows.replace(
            observation={"front": image[0::2], "task": code},
            next_observation={"front": image[1::2], "task": code},
            mask=np.zeros(count, np.float32),
            quality=np.ones(count, np.float32),
        )

    state = ingest.insert(state, "a", one_step_episodes(0, 200, 0))
    state = ingest.insert(state, "a", one_step_episodes(1, 500, 1000))
    drawn = np.asarray(state.online.quality)[:700] > 0
    assert not drawn[:188].any() and drawn[188:].all(), "the oldest 188 of the first task have lost their frames"
    share = np.bincount([0] * 12 + [1] * 500, weights=np.asarray(state.online.quality)[188:700])
    np.testing.assert_allclose(share[0] / share.sum(), 0.5, atol=0.5 * TOLERANCE)


@pytest.mark.parametrize("quality_in", ["sampling", "loss"])
def test_a_resumed_pool_is_bit_for_bit_the_one_that_was_saved_and_goes_on_as_it_would_have(tmp_path, parts, make_rows, quality_in):
    parts = LearnerParts(parts.agent, ReplayConfig(capacity=300, quality_in=quality_in), parts.mixing)

    def begin(state, meta):
        intake = Intake(Schema.of(parts.agent.spec, "Test-v0"), journal=Journal(tmp_path / "journal", background=False))
        state, ingest = refill(state, parts, RowRules(REWARD, TASKS), intake, meta)
        return state, ingest, intake

    def go_on(state, ingest, intake, stream, turns):
        session, progress = intake.open("arm", stream, 0)
        for turn in turns:
            rows = rows_of(turn % 2, (40, 7)[turn % 2], make_rows, turn)
            progress = intake.accept(session.id, progress.received, rows)
            for chunk in intake.take(1024):
                state = ingest.insert(state, chunk.stream, chunk.rows)
        return state

    state, ingest, intake = begin(create(parts, 0, None), {})
    state = go_on(state, ingest, intake, "a", range(21))
    assert intake.journal is not None and ingest.balance is not None and intake.journal.sync()
    meta = {"streams": intake.state(), "task_masses": ingest.balance.basis.tolist()}
    intake.journal.close()
    saved = jax.tree.map(np.array, state.online)
    checkpointed = jax.tree.map(jnp.array, saved.replace(words=np.zeros_like(saved.words)))
    resumed, again, second = begin(state.replace(online=checkpointed), meta)
    assert_identical(jax.tree.map(np.array, resumed.online), saved)
    assert second.journal is not None and again.balance is not None
    np.testing.assert_array_equal(again.balance.factors, ingest.balance.factors)
    straight = go_on(state, ingest, Intake(second.schema), "b", range(9))
    resumed = go_on(resumed, again, second, "b", range(9))
    assert_identical(*(jax.tree.map(np.array, x.online) for x in (resumed, straight)))
    second.journal.close()


def test_a_single_tasks_pool_has_no_balance(tmp_path, parts):
    intake = Intake(Schema.of(parts.agent.spec, "Test-v0"), journal=Journal(tmp_path / "journal", background=False))
    _, ingest = refill(create(parts, 0, None), parts, RowRules(REWARD), intake, {})
    assert ingest.balance is None and intake.journal is not None
    intake.journal.close()

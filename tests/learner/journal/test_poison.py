"""One absurd value, or a learning that diverges, does not end in the actors' weights or in a checkpoint."""

import logging
import shutil
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from wire_rows import SCHEMA, SPEC, joined, numbers, stream

from warmloop.agents import AGENTS
from warmloop.data.errors import WarmloopError
from warmloop.data.plausible import PlausibleConfig, PlausibleLimits, find_limits
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import example, spec_beside, take
from warmloop.data.wire.row_schema import Schema
from warmloop.learner.checkpoints import checkpoint, complete_checkpoints
from warmloop.learner.checkpoints.saver import Saver
from warmloop.learner.config import LearnerConfig
from warmloop.learner.diagnosis.metrics import Recorder
from warmloop.learner.journal import quarantine
from warmloop.learner.journal.journal import Journal
from warmloop.learner.journal.quarantine import Quarantine
from warmloop.learner.loop import RETURNS, Learner, Start
from warmloop.learner.receiving.intake import Intake
from warmloop.learner.rows.ingest import RowRules
from warmloop.learner.soundness import NotFinite, _all_finite, is_sound, judged
from warmloop.learner.starting_state import fine_tune, refill, resume
from warmloop.learner.state import create
from warmloop.learner.step import run_steps
from warmloop.learner.warmup import WarmUpWatch, warm_up

LIMITS = PlausibleLimits({"": 1e4}, 100.0, 1e4)


def limited(folder, limits: PlausibleLimits | None = LIMITS) -> Any:
    return Intake(SCHEMA, folder / "quarantine", journal=Journal(folder / "journal"), plausible=limits)


def poisoned(count=20):
    """Rows with an absurd reward at 5 and an absurd observation at 12."""
    rows = stream(count)
    rows.reward[5], rows.observation[12, 2] = 1e20, -1e9
    return rows


def again(folder, limits, position=0):
    intake = limited(folder, limits)
    return intake, list(intake.recover(position, {}))


def test_absurd_values_go_to_quarantine_and_the_stream_goes_on(tmp_path, caplog):
    intake = limited(tmp_path)
    assert intake.accept(intake.open("arm", "s", 0)[0].id, 0, poisoned()).received == 20
    taken = intake.take(100)
    assert numbers(taken) == [*range(5), *range(6, 12), *range(13, 20)]
    assert np.flatnonzero(joined(taken).truncated).tolist() == [4, 8, 10, 17]  # the rows before the missing ones, and the episodes' ends
    assert intake.statistics()["quarantined"] == 2
    (path,) = (tmp_path / "quarantine").glob("*.npz")
    with np.load(path) as kept:
        assert kept["reason"].tolist() == [
            "reward is 1e+20, beyond 100 (--config.plausible.reward)",
            "observation is -1e+09, beyond 1e+04 (--config.plausible.observation)",
        ]
    assert "reward is 1e+20" in caplog.text
    intake.journal.close()


@pytest.mark.parametrize("limits", [LIMITS, PlausibleLimits({"": 1e30}, 1e30, 1e30), None])
def test_what_one_learner_refused_the_next_refuses_too_whatever_its_own_limits_are(tmp_path, limits):
    first = limited(tmp_path)
    session = first.open("arm", "s", 0)[0].id
    for start in (0, 20):
        first.accept(session, start, poisoned().replace(step=stream(20, start).step, episode=stream(20, start).episode))
    before = [chunk.first for chunk in first.take(100)]
    released = first._ledger.released
    first.journal.close()
    second, _ = again(tmp_path, limits)
    assert second._ledger.released == released and second.statistics()["lost"] == 0
    assert [chunk.first for chunk in second.take(100)] == before
    second.journal.close()


def test_rows_that_an_earlier_learner_believed_and_this_one_does_not_keep_their_numbers_and_are_never_learnt_from(tmp_path, caplog):
    first = limited(tmp_path, None)
    first.accept(first.open("arm", "s", 0)[0].id, 0, poisoned())
    assert numbers(first.take(100)) == list(range(20))
    first.journal.close()
    second, pool = again(tmp_path, LIMITS, position=20)
    rows = joined([chunk for _, chunk in pool])
    assert np.flatnonzero(rows.quality == 0).tolist() == [5, 12]
    assert rows.reward[5] == 0 and np.abs(rows.observation[12]).max() == 0
    assert "1 rows of stream s in the journal are not learnt from any more: reward is 1e+20" in caplog.text
    second.journal.close()


def test_quarantine_is_bounded_in_files_and_bytes_for_each_stream_and_in_all(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(quarantine, "MAX_FILES", 40)
    kept, rows = Quarantine(tmp_path), stream(1)
    (tmp_path / "left.partial").write_bytes(b"torn")
    for number in range(200):
        kept.keep("bad", np.array([number]), rows, np.array(["nan"]))
    kept.keep("good", np.array([0]), rows, np.array(["nan"]))
    names = {path.name.rpartition("-")[0] for path in tmp_path.iterdir()}
    assert len(list(tmp_path.glob("bad-*"))) == 10 and names == {"bad", "good"}
    assert caplog.text.count("is full") == 1 and caplog.text.count("quarantined from number") == 1
    monkeypatch.setattr(quarantine, "MAX_BYTES", 1000)
    Quarantine(tmp_path).keep("good", np.array([1]), rows, np.array(["nan"]))
    assert not list(tmp_path.glob("good-1.npz"))


def test_a_full_quarantine_takes_rows_again_once_its_files_or_its_folder_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(quarantine, "MAX_FILES", 8)
    monkeypatch.setattr(quarantine, "COUNT_SECONDS", 0.0)
    folder, rows = tmp_path / "quarantine", stream(1)
    kept = Quarantine(folder)
    for number in range(4):
        kept.keep("bad", np.array([number]), rows, np.array(["nan"]))
    assert sorted(path.name for path in folder.iterdir()) == ["bad-0.npz", "bad-1.npz"]
    (folder / "bad-0.npz").unlink()
    kept.keep("bad", np.array([4]), rows, np.array(["nan"]))
    assert sorted(path.name for path in folder.iterdir()) == ["bad-1.npz", "bad-4.npz"]
    shutil.rmtree(folder)
    kept.keep("bad", np.array([5]), rows, np.array(["nan"]))
    assert [path.name for path in folder.iterdir()] == ["bad-5.npz"]


def test_where_many_rows_are_refused_an_error_says_how_many_and_why(tmp_path, caplog):
    intake = limited(tmp_path)
    session = intake.open("arm", "s", 0)[0].id
    for first in range(0, 200, 20):
        rows = stream(20, first)
        rows.observation[:10] = 5e5
        intake.accept(session, first, rows)
    (error,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "50 of 100 rows are in quarantine" in error and "--config.plausible.observation" in error
    intake.journal.close()


class Run:
    """A learner over 40 offline rows whose agent can be spoilt."""

    def __init__(self, folder, parts, make_rows, **settings):
        journal = Journal(folder / "journal", background=False)
        self.intake: Any = Intake(Schema.of(parts.agent.spec, "Test-v0"), folder / "quarantine", journal=journal)
        state, ingest = refill(create(parts, 0, make_rows(40)), parts, RowRules(RewardConfig()), self.intake, {})
        config = LearnerConfig(**({"online_steps": 1000, "publish_every": 2, "log_every": 5, "checkpoint_every": 0} | settings))
        start = Start(state, parts, ingest, self.intake)
        self.learner = Learner(start, config, Recorder(folder), Saver(folder / "checkpoints", {}, config, 0))
        self.make_rows, self.sent = make_rows, 0
        self.session = self.intake.open("arm", "s", 0)[0].id

    def send(self, count=10):
        self.sent = self.intake.accept(self.session, self.sent, self.make_rows(count, seed=self.sent)).received

    def spoil(self):
        """As a gradient that is not finite would."""
        learner = self.learner
        critic = jax.tree.map(lambda leaf: leaf * jnp.nan, learner.state.agent.critic)
        tree = learner.state.offline.tree
        levels = (tree.levels[0] * jnp.nan, *tree.levels[1:])
        offline = learner.state.offline.replace(tree=tree.replace(levels=levels))
        learner.state = learner.state.replace(agent=learner.state.agent.replace(critic=critic), offline=offline)


@pytest.mark.long
def test_a_learning_that_diverged_publishes_nothing_goes_back_and_learns_on(tmp_path, parts, make_rows, caplog):
    run = Run(tmp_path, parts, make_rows)
    run.send(40)
    while run.learner.updates < 6:
        run.learner.advance()
    published = run.intake.weights.newest
    run.spoil()
    while run.learner.updates < 12:
        run.learner.advance()
    assert is_sound(judged(run.learner.state))
    assert "After 8 updates the learning has diverged (not finite: agent/" in caplog.text
    assert "back to the agent of 6 updates" in caplog.text
    assert run.intake.weights.newest.version == 12 and run.intake.weights.newest.data != published.data
    run.learner.save()
    assert is_sound(judged(resume(tmp_path / "checkpoints", parts)[0]))
    run.intake.journal.close()


def test_a_learner_that_diverges_again_and_again_stops_with_a_sentence_and_leaves_its_checkpoints(tmp_path, parts, make_rows):
    run = Run(tmp_path, parts, make_rows)
    run.send(40)
    kept = run.learner.save()
    with pytest.raises(NotFinite, match=r"the learner stops; its checkpoints are whole\. Not finite: agent/.*inspect_data"):
        for _ in range(3 * RETURNS):
            run.spoil()
            run.learner.publish()
    assert complete_checkpoints.steps(tmp_path / "checkpoints") == [kept] and complete_checkpoints.verify(kept) is None
    run.intake.journal.close()


@pytest.mark.parametrize("name", ["critic", "critic_optimizer", "log_temperature"])
def test_what_is_not_finite_is_never_saved_over_what_is(tmp_path, parts, make_rows, name):
    state, _ = run_steps(create(parts, 0, make_rows(40)), parts)
    good = checkpoint.save(tmp_path, state, parts.agent, {}, keep=1)
    infinite = jax.tree.map(lambda leaf: leaf + jnp.inf if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, getattr(state.agent, name))
    bad = state.replace(agent=state.agent.replace(**{name: infinite}), updates=state.updates + 1)
    with pytest.raises(WarmloopError, match=rf"nothing is saved; .*Not finite: agent/{name}"):
        checkpoint.save(tmp_path, bad, parts.agent, {}, keep=1)
    assert complete_checkpoints.steps(tmp_path) == [good]


def test_a_checkpoint_that_an_earlier_version_saved_with_infinite_moments_is_passed_over(tmp_path, parts, make_rows, monkeypatch, caplog):
    state, _ = run_steps(create(parts, 0, make_rows(40)), parts)
    good = checkpoint.save(tmp_path, state, parts.agent, {})
    moments = jax.tree.map(lambda leaf: leaf + jnp.inf if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, state.agent.critic_optimizer)
    monkeypatch.setattr(checkpoint, "check_sound", lambda *_: None)
    checkpoint.save(tmp_path, state.replace(agent=state.agent.replace(critic_optimizer=moments), updates=jnp.int32(5)), parts.agent, {})
    restored, meta = resume(tmp_path, parts)
    assert meta["updates"] == int(good.name) and is_sound(judged(restored))
    assert "00000005 is not finite (agent/critic_optimizer" in caplog.text
    with pytest.raises(WarmloopError, match="--warm_checkpoint_step"):
        fine_tune(parts, 0, None, tmp_path, 5)


def test_a_warm_up_that_diverges_ends_with_a_sentence_and_keeps_the_checkpoints_before(tmp_path, parts, make_rows):
    config, saved = LearnerConfig(warmup_steps=20, updates_per_call=1, log_every=5, warmup_checkpoints=4), []
    rows = make_rows(40)
    rows.reward[:] = 3e38  # as a file with NaN in it once did, past every check
    with Recorder(tmp_path) as recorder, pytest.raises(NotFinite, match=r"After 5 updates the learning has diverged, and it ends"):
        warm_up(create(parts, 0, rows), parts, config, recorder, WarmUpWatch(on_checkpoint=saved.append))
    assert saved == []


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_a_fresh_agent_of_every_algorithm_is_finite(name, parts, make_rows):
    agent_class, config_class = AGENTS[name]
    spec = spec_beside(parts.agent.spec, 1) if name == "edit" else parts.agent.spec
    agent = agent_class(config_class(hidden=(8,), batch_size=4), spec)
    rows = example(spec, 4).replace(reward=make_rows(4).reward)
    assert is_sound(agent.init(jax.random.key(0), rows if name == "edit" else make_rows(4)))


def test_the_check_is_one_small_program_that_is_compiled_once(parts, make_rows):
    state, _ = run_steps(create(parts, 0, make_rows(40)), parts)
    assert is_sound(judged(state))
    compiled, began = _all_finite._cache_size(), time.process_time()
    for _ in range(20):
        state, _ = run_steps(state, parts)
        assert is_sound(judged(state))
    assert _all_finite._cache_size() == compiled
    assert time.process_time() - began < 5.0


def test_the_limits_of_a_sparse_task_catch_an_absurd_reward_and_nothing_that_the_task_pays():
    reward = RewardConfig(scale=2.0, bias=-1.0)
    limits = find_limits(PlausibleConfig(), reward, SPEC, None)
    rows = stream(2)
    rows.reward[:] = (-1.0, 1.0)
    assert quarantine.faults(rows, limits).tolist() == ["", ""]
    rows.reward[0] = 1e20
    assert quarantine.faults(take(rows, slice(0, 1)), limits)[0] != ""

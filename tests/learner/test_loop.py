"""The learner's loop: its pace, its versions, its records, and what a checkpoint makes durable."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from journals import no_file_may_grow_beyond
from waiting import until

from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Source, take
from warmloop.data.wire import MIB
from warmloop.data.wire.row_schema import Schema
from warmloop.learner.checkpoints import checkpoint, complete_checkpoints
from warmloop.learner.checkpoints.saver import Saver
from warmloop.learner.config import LearnerConfig
from warmloop.learner.diagnosis.metrics import Recorder, read
from warmloop.learner.journal.journal import Journal
from warmloop.learner.loop import Learner, Start
from warmloop.learner.receiving.intake import Intake
from warmloop.learner.rows.ingest import RowRules
from warmloop.learner.starting_state import refill, resume
from warmloop.learner.state import create

CONFIG = LearnerConfig(online_steps=100, max_utd=0.5, publish_every=4, log_every=5, checkpoint_every=0)


class Run:
    """A learner with one open session that hands it rows; with `resuming` it goes on from its folder."""

    def __init__(self, folder, parts, make_rows, resuming=False, stream="stream", segment_bytes=MIB, **settings):
        self.make_rows = make_rows
        self.journal = Journal(folder / "journal", segment_bytes=segment_bytes)
        self.intake = Intake(Schema.of(parts.agent.spec, "Test-v0"), folder / "quarantine", journal=self.journal)
        self.recorder = Recorder(folder)
        config = dataclasses.replace(CONFIG, **settings)
        place, meta = folder / "checkpoints", {"warm_updates": 0, "streams": {}}
        if resuming:
            state, meta = resume(place, parts)
        else:
            state = create(parts, 0, make_rows(40))
        state, ingest = refill(state, parts, RowRules(RewardConfig()), self.intake, meta)
        start = Start(state, parts, ingest, self.intake, meta["warm_updates"])
        self.learner = Learner(start, config, self.recorder, Saver(place, {}, config, int(state.updates)))
        session, progress = self.intake.open("arm", stream, 0)
        self.session, self.sent = session.id, progress.received

    def send(self, count):
        """One whole episode of `count` rows."""
        rows = self.make_rows(count, Source.ONLINE, seed=self.sent)
        self.sent = self.intake.accept(self.session, self.sent, rows).received

    def drain(self):
        while self.learner.advance():
            pass


@pytest.fixture
def start(tmp_path, parts, make_rows):
    runs = []

    def begin(folder=tmp_path, **settings):
        runs.append(Run(folder, parts, make_rows, **settings))
        return runs[-1]

    yield begin
    for run in runs:
        run.journal.close()


def test_updates_wait_for_environment_steps(start):
    run = start()
    run.drain()
    assert run.learner.updates == 0
    run.send(10)
    run.drain()
    assert run.learner.updates == 5 and run.learner.environment_steps == 10


def test_the_first_steps_are_collected_with_the_frozen_policy(start):
    run = start(frozen_steps=20)
    run.send(20)
    run.drain()
    assert run.learner.updates == 0 and run.intake.weights.newest.version == 0
    run.send(4)
    run.drain()
    assert run.learner.updates == 2


def test_weights_are_published_at_their_interval_under_their_number_of_updates(start):
    run = start()
    run.send(20)
    versions = set()
    while run.learner.advance():
        versions.add(run.intake.weights.newest.version)
    assert versions == {0, 4, 8}


def test_it_is_finished_when_all_steps_came_and_their_updates_are_done_and_then_the_actors_leave(start):
    run = start()
    for _ in range(5):
        assert not run.learner.finished and not run.intake.stopping
        run.send(20)
        run.drain()
    assert run.learner.finished and run.intake.stopping and run.learner.updates == 50


def test_simulators_pause_while_the_learner_is_behind_even_when_it_is_busy(start):
    run = start(min_utd=0.5)
    assert not run.intake.paused
    run.send(16)  # publish_every / min_utd = 8 rows ahead are allowed; the loop has not moved yet
    assert run.intake.paused
    run.drain()
    assert not run.intake.paused


def test_records_hold_the_recent_episodes_and_evaluations_at_their_environment_step(start, tmp_path):
    run = start()
    run.send(10)
    run.intake.report(run.session, 0, {"actor/success_rate": 1.0})
    run.intake.report(run.session, 1, {"actor/success_rate": 0.0})
    run.intake.report(run.session, 2, {"evaluation/success_rate": 0.25})
    run.drain()
    run.recorder.close()
    evaluation, training = read(tmp_path)
    assert evaluation["evaluation/success_rate"] == 0.25 and evaluation["environment_steps"] == 10
    assert training["actor/success_rate"] == 0.5 and training["updates"] == 5
    for name in ("critic/loss", "learner/offline_ratio", "learner/updates_per_second", "temperature", "intake/received"):
        assert np.isfinite(training[name])


def test_the_last_record_stands_once_and_says_how_fast_it_went(start, tmp_path):
    run = start()
    run.send(10)
    run.drain()
    run.learner.record_rest()
    run.send(1)
    run.learner._take()
    for _ in range(2):
        run.learner.record_rest()
    run.recorder.close()
    learnt, rest = read(tmp_path)
    assert learnt["updates"] == rest["updates"] == 5 and learnt["learner/updates_per_second"] > 0
    assert (learnt["environment_steps"], rest["environment_steps"]) == (10, 11) and "learner/updates_per_second" not in rest


def test_a_checkpoint_says_what_it_covers_and_waits_for_the_journal(start):
    run = start(checkpoint_every=2)
    run.send(10)
    run.drain()
    assert run.learner.save_due
    run.learner.save()
    assert run.intake.touch(run.session).durable == 10 and not run.learner.save_due
    meta = complete_checkpoints.newest(run.learner.saver.directory).meta
    assert meta["streams"] == {"stream": 10} and meta["rows"] == 10 and meta["warm_updates"] == 0


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        x, y = (jax.random.key_data(z) if jnp.issubdtype(z.dtype, jax.dtypes.prng_key) else z for z in (x, y))
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def part_of_an_episode(run, rows, steps):
    run.sent = run.intake.accept(run.session, run.sent, take(rows, steps)).received


@pytest.mark.parametrize("episodes", [1, 5])  # the ring holds three
def test_a_learner_goes_on_from_its_checkpoint_and_journal_as_if_it_had_not_stopped(start, tmp_path, make_rows, episodes):
    run = start(checkpoint_every=2, online_steps=1000)
    unknown = np.full(20, -np.inf, np.float32)
    for _ in range(episodes):
        run.send(20)
    half = make_rows(20, Source.ONLINE, seed=99).replace(mc_return=unknown)
    part_of_an_episode(run, half, slice(0, 10))
    run.drain()
    run.learner.save()
    part_of_an_episode(run, half, slice(10, 15))  # after the checkpoint
    assert run.journal.sync()
    shutil.copytree(tmp_path, tmp_path / "crashed")
    part_of_an_episode(run, half, slice(15, 20))
    run.drain()
    again = start(folder=tmp_path / "crashed", resuming=True, checkpoint_every=2, online_steps=1000)
    assert again.sent == episodes * 20 + 15, "the actor sends on, and nothing again"
    part_of_an_episode(again, half, slice(15, 20))
    again.drain()
    same(again.learner.state, run.learner.state)
    rows = again.learner.state.online.rows
    assert np.isfinite(np.asarray(rows.mc_return)).all(), "an episode that the crash interrupted gets its returns"


def test_rows_that_the_journal_lost_are_never_drawn_and_the_others_are(start, tmp_path, caplog):
    run = start(checkpoint_every=2, segment_bytes=1000)
    run.send(20)
    run.send(20)
    run.drain()
    run.learner.save()
    crashed = tmp_path / "crashed"
    shutil.copytree(tmp_path, crashed)
    path = sorted((crashed / "journal").glob("*.segment"))[0]
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    again = start(folder=crashed, resuming=True, checkpoint_every=2, stream="other")
    priorities = np.asarray(again.learner.state.online.tree.leaves)
    assert (priorities[:20] == 0).all() and (priorities[20:40] > 0).all()
    assert "20 rows of the online pool are lost" in caplog.text
    again.send(20)
    again.drain()
    assert int(again.learner.state.online.inserted) == 60 and again.learner.updates == 30


def test_the_journal_keeps_what_the_oldest_checkpoint_needs_and_no_more(start):
    run = start(checkpoint_every=1, segment_bytes=2000, online_steps=10_000, keep_checkpoints=2)
    for _ in range(12):
        run.send(20)
        run.drain()
        run.learner.save()
    kept = [number for _, _, number in run.journal._segments]
    needed = checkpoint.covered(run.learner.saver.directory)[0] - 64 - 20
    assert kept[0] <= needed < kept[1]


def test_a_checkpoint_that_cannot_be_written_is_said_and_tried_again_while_learning_goes_on(start, caplog, monkeypatch):
    monkeypatch.setattr("warmloop.learner.checkpoints.saver.SAVE_AGAIN_SECONDS", 0.0)
    run = start(checkpoint_every=2)
    run.learner.save()
    run.send(10)
    with no_file_may_grow_beyond(300):
        run.learner.advance()
        run.learner.advance()
        assert run.learner.save_due
        run.learner.try_save()
        assert "could not be written" in caplog.text or "the journal is behind" in caplog.text
        run.drain()
        assert run.learner.updates == 5 and run.learner.save_due
    assert complete_checkpoints.newest(run.learner.saver.directory).updates == 0
    until(lambda: run.learner.try_save() or not run.learner.save_due)
    assert complete_checkpoints.newest(run.learner.saver.directory).updates == 5


def test_at_the_boundary_of_both_rates_neither_side_waits_for_the_other(start):
    """At 29 updates for 100 steps, rounding says on the one side that none is owed, and on the other that the actor is ahead."""
    rate, steps, moved = 0.29, 0, 0
    run = start(min_utd=rate, max_utd=rate, publish_every=1, online_steps=10_000)
    for steps in range(0, 400):
        run.learner.ingest.inserted, run.learner.updates = steps, int(steps * rate)
        run.learner._pace()
        assert run.learner.owed > 0 or not run.intake.paused, steps
        moved += 1
    assert moved == 400


def test_actors_wait_for_a_learner_that_is_behind_even_when_it_has_taken_every_row(start):
    run = start(min_utd=0.5, max_utd=1.0, publish_every=1, online_steps=10_000)
    run.learner.ingest.inserted, run.learner.updates = 100, 20
    run.learner._pace()
    assert run.learner.owed > 0 and run.intake.paused
    run.learner.updates = 60
    run.learner._pace()
    assert run.learner.owed > 0 and not run.intake.paused

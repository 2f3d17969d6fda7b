"""The learner's loop: its pace, its versions, its records, and what a checkpoint makes durable."""

import dataclasses

import numpy as np
import pytest

from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Source
from warmloop.data.wire.schema import Schema
from warmloop.learner import checkpoint
from warmloop.learner.config import LearnerConfig
from warmloop.learner.ingest import Ingest
from warmloop.learner.intake import Intake
from warmloop.learner.journal import Journal
from warmloop.learner.loop import Learner
from warmloop.learner.metrics import Recorder, read
from warmloop.learner.state import create

CONFIG = LearnerConfig(online_steps=100, max_utd=0.5, publish_every=4, log_every=5, checkpoint_every=0)


class Run:
    """A learner with one open session that hands it rows."""

    def __init__(self, folder, parts, make_rows, **settings):
        self.make_rows, self.sent = make_rows, 0
        self.journal = Journal(folder / "journal")
        self.intake = Intake(Schema.of(parts.agent.spec, "Test-v0"), folder / "quarantine", journal=self.journal)
        self.recorder = Recorder(folder)
        config = dataclasses.replace(CONFIG, **settings)
        ingest = Ingest(parts.agent.spec, parts.replay, RewardConfig())
        state, place = create(parts, 0, make_rows(40)), folder / "checkpoints"
        self.learner = Learner(state, parts, config, ingest, self.intake, self.recorder, place, {}, 0)
        self.session = self.intake.open("arm", "stream", 0)[0].id

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

    def begin(**settings):
        runs.append(Run(tmp_path, parts, make_rows, **settings))
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


def test_a_checkpoint_says_what_it_covers_and_waits_for_the_journal(start):
    run = start(checkpoint_every=2)
    run.send(10)
    run.drain()
    assert run.learner.save_due
    run.learner.save()
    assert run.intake.touch(run.session).durable == 10 and not run.learner.save_due
    meta = checkpoint.newest(run.learner.directory).meta
    assert meta["streams"] == {"stream": 10} and meta["rows"] == 10 and meta["warm_updates"] == 0

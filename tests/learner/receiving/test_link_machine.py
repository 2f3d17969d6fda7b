"""Two actors and a learner whose journal is read again after every crash, in any order of events, against a plain model.

The model: rows that were acknowledged are learnt from once each, in the order of their release, whatever crashes between; rows
of a stream come in order; and no row is taken for its predecessor's successor when it is not.
"""

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from wire_rows import SCHEMA, stream

from warmloop.data.transition import length
from warmloop.learner.journal.journal import Journal
from warmloop.learner.journal.streams import LOST
from warmloop.learner.receiving.intake import Intake, Limits

RING = 40  # rows that a checkpoint's pool needs of the journal
NAMES = ("s0", "s1")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Actor:
    """What an actor knows: what its stream's rows are, how many the learner has, how many of them for good."""

    def __init__(self):
        self.session, self.received, self.durable = "", 0, 0
        self.bad: set[int] = set()  # rows that were received and must not be learnt from

    def rows(self, first, count, spoilt=frozenset()):
        rows = stream(count, first)
        for number in (self.bad | spoilt) & set(range(first, first + count)):
            rows.reward[number - first] = np.nan
        return rows


class Link(RuleBasedStateMachine):
    """See the module. A learnt row is `(stream, number, truncated)`."""

    def __init__(self):
        super().__init__()
        self.folder, self.life, self.clock = Path(tempfile.mkdtemp()), 0, Clock()
        self.actors = {name: Actor() for name in NAMES}
        self.learnt: list[tuple] = []
        self.saved: tuple[int, dict, list[tuple]] = (0, {}, [])
        self.intake = self.begin()

    def begin(self) -> Any:
        """A learner that goes on from the folder of this life and the newest checkpoint."""
        position, state, learnt = self.saved
        journal = Journal(self.folder / str(self.life), background=False, segment_bytes=1500)
        intake = Intake(SCHEMA, limits=Limits(queue_rows=60), clock=self.clock, journal=journal)
        since = max(0, position - RING)
        pool = list(intake.recover(position, state, since))
        base = pool[0][0] if pool else position
        assert base <= since and [place for number, chunk in pool for place in range(number, number + length(chunk.rows))] == list(
            range(base, position)
        )
        assert described([chunk for _, chunk in pool]) == learnt[base:], "the pool is what it was"
        self.learnt = list(learnt)
        return intake

    def hello(self, name):
        actor = self.actors[name]
        session, progress = self.intake.open(f"arm-{name}", name, actor.durable)
        actor.session = session.id
        self.hear(actor, progress)

    def hear(self, actor, progress):
        assert progress.durable <= progress.received and progress.received >= actor.durable
        actor.received, actor.durable = progress.received, max(actor.durable, progress.durable)
        actor.bad = {number for number in actor.bad if number < actor.received}  # those not received are sent sound

    @rule(name=st.sampled_from(NAMES))
    def connect(self, name):
        self.hello(name)

    @rule(name=st.sampled_from(NAMES), offset=st.integers(-25, 4), count=st.integers(1, 30), spoilt=st.none() | st.integers(0, 29))
    def push(self, name, offset, count, spoilt):
        """In order (offset 0), again or overlapping (below), or with a gap (above)."""
        actor = self.actors[name]
        if not actor.session:
            self.hello(name)
        first = max(0, actor.received + offset)
        new = {first + spoilt} if spoilt is not None and spoilt < count and first + spoilt >= actor.received else set()
        before = actor.received
        progress = self.intake.accept(actor.session, first, actor.rows(first, count, frozenset(new)))
        assert progress.received in ((before,) if first > before else (before, max(before, first + count)))
        actor.bad |= new
        self.hear(actor, progress)

    @rule(name=st.sampled_from(NAMES))
    def leave(self, name):
        actor = self.actors[name]
        if actor.session:
            self.hear(actor, self.intake.close(actor.session))
            actor.session = ""

    @rule()
    def fall_silent(self):
        self.clock.now += 31.0
        self.learnt += described(self.intake.take(5))
        for actor in self.actors.values():
            actor.session = ""

    @rule(count=st.integers(1, 60))
    def learn(self, count):
        self.learnt += described(self.intake.take(count))

    @rule()
    def commit(self):
        assert self.intake.journal.sync()

    @rule()
    def save(self):
        """As `Learner.save`, and only then is anything deleted."""
        state = self.intake.state()
        assert self.intake.journal.sync()
        self.saved = (len(self.learnt), state, list(self.learnt))
        self.intake.journal.discard(len(self.learnt) - RING, before=self.intake.journal.end[0])

    @precondition(lambda self: self.learnt or any(actor.received for actor in self.actors.values()))
    @rule(torn=st.integers(0, 40), committed=st.booleans())
    def crash(self, torn, committed):
        """Only what is on disk is left, perhaps with the beginning of a record that was being written."""
        if committed:
            self.commit()
        released = self.learnt + described(self.intake.take(10**6))
        here, there = self.folder / str(self.life), self.folder / str(self.life + 1)
        shutil.copytree(here, there)
        newest = sorted(there.glob("*.segment"))[-1:]
        for path in newest:
            path.write_bytes(path.read_bytes() + b"wlj1" + bytes([37] * torn))
        self.intake.journal.close()
        self.life += 1
        self.intake = self.begin()
        again = self.learnt + described(self.intake._queue._chunks)
        assert again == released[: len(again)], "what is learnt after the crash is what would have been"
        for name in NAMES:
            self.hello(name)
        assert self.intake.statistics()["lost"] == 0

    @invariant()
    def rows_come_once_in_order_and_none_is_left_out(self):
        covered = self.intake.state()
        for name, actor in self.actors.items():
            mine = [(number, truncated) for stream_name, number, truncated in self.learnt if stream_name == name]
            assert [number for number, _ in mine] == [n for n in range(covered.get(name, 0)) if n not in actor.bad]
            for (number, truncated), (following, _) in itertools.pairwise(mine):
                assert following == number + 1 or truncated, "an episode is spliced"

    def teardown(self):
        for name in NAMES:
            self.hello(name)
            self.intake.close(self.actors[name].session)
        self.learnt += described(self.intake.take(10**6))
        self.rows_come_once_in_order_and_none_is_left_out()
        state = self.intake.state()  # in which a stream of which nothing came need not be
        assert {name: state.get(name, 0) for name in NAMES} == {name: actor.received for name, actor in self.actors.items()}
        self.intake.journal.close()
        shutil.rmtree(self.folder)


def described(chunks):
    """Rows as the model has them; their content is checked to be what was sent."""
    found = []
    for chunk in chunks:
        assert chunk.stream != LOST
        numbers = chunk.rows.observation[:, 0].astype(int).tolist()
        assert numbers == list(range(chunk.first, chunk.end))
        found += zip(itertools.repeat(chunk.stream), numbers, chunk.rows.truncated.tolist(), strict=False)
    return found


TestLink = Link.TestCase
TestLink.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)

"""Two actors and a learner whose journal is read again after every crash, in any order of events, against a plain model.

The model: rows that were acknowledged are learnt from once each, in the order of their release, whatever crashes between; rows
of a stream come in order; and no row is taken for its predecessor's successor when it is not.
"""

import itertools

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import invariant, rule
from learner_machine import LearnerMachine
from wire_rows import SCHEMA, stream

from warmloop.data.transition import length
from warmloop.learner.journal.streams import LOST
from warmloop.learner.receiving.intake import Intake, Limits

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


class Link(LearnerMachine):
    """See the module. A learnt row is `(stream, number, truncated)`."""

    ring = 40

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.actors = {name: Actor() for name in NAMES}
        self.begin()

    def begin(self):
        position, state, learnt = self.saved
        self.intake = Intake(SCHEMA, limits=Limits(queue_rows=60), clock=self.clock, journal=self.journal(1500))
        since = max(0, position - self.ring)
        pool = list(self.intake.recover(position, state, since))
        base = pool[0][0] if pool else position
        assert base <= since and [place for number, chunk in pool for place in range(number, number + length(chunk.rows))] == list(
            range(base, position)
        )
        assert self.rows_of([chunk for _, chunk in pool]) == learnt[base:], "the pool is what it was"
        self.learnt = list(learnt)
        for actor in self.actors.values():
            actor.session = ""

    def rows_of(self, chunks):
        """Rows as the model has them; their content is checked to be what was sent."""
        found = []
        for chunk in chunks:
            assert chunk.stream != LOST
            numbers = chunk.rows.observation[:, 0].astype(int).tolist()
            assert numbers == list(range(chunk.first, chunk.end))
            found += zip(itertools.repeat(chunk.stream), numbers, chunk.rows.truncated.tolist(), strict=False)
        return found

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
        self.learnt += self.rows_of(self.intake.take(5))
        for actor in self.actors.values():
            actor.session = ""

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
        self.learnt += self.rows_of(self.intake.take(10**6))
        self.rows_come_once_in_order_and_none_is_left_out()
        state = self.intake.state()  # in which a stream of which nothing came need not be
        assert {name: state.get(name, 0) for name in NAMES} == {name: actor.received for name, actor in self.actors.items()}
        self.close()


TestLink = Link.TestCase
TestLink.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)

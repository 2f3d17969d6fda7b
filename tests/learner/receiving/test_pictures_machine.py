"""Two actors with cameras, a learner that refuses, restarts and forgets, in any order of events: the rows come back exactly, each once.

The actors' links, the service and the journal are the real ones; messages pass without a socket. What an actor holds is what its learner
does not have on disk.
"""

from typing import Any

import hypothesis.strategies as st
from camera_rows import Film, assert_same, camera_schema
from hypothesis import settings
from hypothesis.stateful import initialize, invariant, rule
from learner_machine import LearnerMachine

from warmloop.actor.delivery.link import Link, LinkLost
from warmloop.data.transition import length
from warmloop.data.wire import row_bytes
from warmloop.data.wire.direct import DirectStub
from warmloop.learner.journal.streams import LOST
from warmloop.learner.receiving.intake import Intake, Limits
from warmloop.learner.receiving.service import Servicer

NAMES = ("s0", "s1")
ROOM = 12  # rows that wait for the loop


class Door:
    """The stub of whichever learner runs now."""

    def __init__(self) -> None:
        self.servicer: Any = None

    def __getattr__(self, name: str) -> Any:
        return lambda request, timeout=None: getattr(DirectStub(self.servicer), name)(request, timeout)


class Actor:
    """Its rows, and the link that sends them as a `Sender` does; an old one's rows go as `row_bytes`."""

    def __init__(self, name: str, seed: int, stack: int, door: Door, old: bool):
        self.film, self.old, self.durable = Film(seed, stack), old, 0
        self.link = Link(door, camera_schema(stack), f"arm-{name}", name)  # pyright: ignore[reportArgumentType]

    def send(self, count: int, messages: int) -> None:
        """Up to so many messages of `count` rows, all under way before the first is answered."""
        link = self.link
        if not link.connected:
            self.hello()
        try:
            for _ in range(messages):
                first = link.status.received + link.under_way
                here = min(count, len(self.film.rows) - first, link.max_rows)
                if here > 0 and link.ready and self.old:
                    link.send(first, here, row_bytes.encode(link._schema, self.film.part(first, here)))
                elif here > 0 and link.ready:
                    link.send_rows(first, here, self.film.parts(first, here))
            while link.under_way:
                link.receive()
        except LinkLost:  # the learner restarted, or the lease ran out
            self.hello()
        self.durable = max(self.durable, link.status.durable)

    def hello(self) -> None:
        self.link.hello(self.durable)


class Cameras(LearnerMachine):
    """See the module. A learnt row is `(stream, number, row)`."""

    ring = 15

    @initialize(stack=st.sampled_from((1, 1, 3)), old=st.booleans(), segment=st.sampled_from((1500, 6000, 1 << 20)))
    def start(self, stack, old, segment):
        self.now, self.segment, self.stack = 0.0, segment, stack
        self.door = Door()
        self.actors = {name: Actor(name, seed, stack, self.door, old and seed == 1) for seed, name in enumerate(NAMES)}
        for name in NAMES:  # since an example may have none of the rules that act
            self.act(name, ["goes on"] * 8 + ["ends"] + ["goes on"] * 8)
        self.begin()

    def begin(self) -> None:
        position, state, learnt = self.saved
        journal = self.journal(self.segment)
        self.intake = Intake(camera_schema(self.stack), limits=Limits(queue_rows=ROOM), clock=lambda: self.now, journal=journal)
        again = self.rows_of([chunk for _, chunk in self.intake.recover(position, state, max(0, position - self.ring))])
        assert len(again) >= min(position, self.ring)
        for (name, number, row), (known, same, sent) in zip(again, learnt[len(learnt) - len(again) :], strict=True):
            assert (name, number) == (known, same)
            assert_same(row, sent)
        self.learnt, self.door.servicer = list(learnt), Servicer(self.intake)
        for actor in self.actors.values():
            actor.link.drop()  # as a socket is cut off with its learner

    def rows_of(self, chunks):
        found = []
        for chunk in chunks:
            assert chunk.stream != LOST
            found += [(chunk.stream, chunk.first + place, chunk.split(place)[1].split(1)[0].rows) for place in range(length(chunk.rows))]
        return found

    def names(self, rows):
        return [row[:2] for row in rows]

    @rule(
        name=st.sampled_from(NAMES),
        steps=st.lists(st.sampled_from(("goes on", "goes on", "goes on", "ends", "still", "jumps")), min_size=1, max_size=12),
    )
    def act(self, name, steps):
        for what in steps:
            self.actors[name].film.step(ends=what == "ends", still=what == "still", jumps=what == "jumps")

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 5), messages=st.integers(1, 8))
    def send(self, name, count, messages):
        self.actors[name].send(count, messages)

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 5), offset=st.integers(-6, 3))
    def send_from_elsewhere(self, name, count, offset):
        """Rows again, or after a gap: what comes of a message that was thought lost."""
        actor = self.actors[name]
        if not actor.link.connected:
            actor.hello()
        first = min(max(actor.durable, actor.link.status.received + offset), len(actor.film.rows))
        here = min(count, len(actor.film.rows) - first)
        try:
            if here > 0:
                actor.link.send_rows(first, here, actor.film.parts(first, here))
                actor.link.receive()
        except LinkLost:
            actor.hello()

    @rule(name=st.sampled_from(NAMES))
    def lose_connection(self, name):
        self.actors[name].link.drop()

    @rule()
    def fall_silent(self):
        """All leases run out, though in one process actors have none: as `pulse` would find."""
        for session in self.intake._sessions.live:
            session.deadline = self.now - 1
        self.intake._sessions._soonest = self.now - 1
        self.learn(5)

    @invariant()
    def rows_are_learnt_once_in_order_and_exactly_as_they_were(self):
        if self.intake is None:
            return
        covered = self.intake.state()
        for name, actor in self.actors.items():
            mine = [(number, row) for stream, number, row in self.learnt if stream == name]
            assert [number for number, _ in mine] == list(range(covered.get(name, 0)))
            for number, row in mine[-40:]:
                assert_same(row, actor.film.rows[number], but=("truncated",))

    def teardown(self):
        if self.intake is None:
            return self.close()
        for actor in self.actors.values():
            actor.hello()
            for _ in range(len(actor.film.rows)):
                actor.send(4, 2)
                self.commit()
                self.learn(10**6)
            assert actor.link.status.received == len(actor.film.rows)
        for actor in self.actors.values():
            actor.link.goodbye()
        self.learn(10**6)
        for name, actor in self.actors.items():
            assert [number for stream, number, _ in self.learnt if stream == name] == list(range(len(actor.film.rows)))
        self.rows_are_learnt_once_in_order_and_exactly_as_they_were()
        self.close()


TestPictures = Cameras.TestCase
TestPictures.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)

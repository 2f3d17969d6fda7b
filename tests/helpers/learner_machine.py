"""What the state machines of a learner's link share: it learns, commits, saves as `Learner.save` does, and crashes."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from warmloop.learner.journal.journal import Journal


class LearnerMachine(RuleBasedStateMachine):
    """An intake with a journal on disk, of which each crash begins a new life.

    Attributes:
        ring: rows that a checkpoint's pool needs of the journal.
        intake: of this life, made by `begin`.
        learnt: what `rows_of` made of each row that was taken, in order.
        saved: position, state of the intake and learnt rows at the newest checkpoint.
    """

    ring = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder, self.life = Path(tempfile.mkdtemp()), 0
        self.intake: Any = None
        self.learnt: list[tuple] = []
        self.saved: tuple[int, dict, list[tuple]] = (0, {}, [])

    def begin(self) -> None:
        """A learner that goes on from the journal of this life and the newest checkpoint."""
        raise NotImplementedError

    def rows_of(self, chunks: list[Any]) -> list[tuple]:
        """Each row of some chunks: its stream, its number, and what else is to be checked."""
        raise NotImplementedError

    def names(self, rows: list[tuple]) -> list[tuple]:
        """What must be equal of rows that are learnt again after a crash."""
        return rows

    def journal(self, segment_bytes: int) -> Journal:
        return Journal(self.folder / str(self.life), background=False, segment_bytes=segment_bytes)

    @rule(count=st.integers(1, 60))
    def learn(self, count):
        self.learnt += self.rows_of(self.intake.take(count))

    @rule()
    def commit(self):
        assert self.intake.journal.sync()

    @rule(count=st.integers(0, 60))
    def save(self, count):
        """As `Learner.save`, after some rows more, and only then is anything deleted."""
        self.learn(count)
        state = self.intake.state()
        assert self.intake.journal.sync()
        self.saved = (len(self.learnt), state, list(self.learnt))
        self.intake.journal.discard(len(self.learnt) - self.ring, before=self.intake.journal.end[0])

    @rule(torn=st.integers(0, 40), committed=st.booleans())
    def crash(self, torn, committed):
        """Only what is on disk is left, perhaps with the beginning of a record that was being written."""
        if committed:
            self.commit()
        released = self.learnt + self.rows_of(self.intake.take(10**6))
        here, there = self.folder / str(self.life), self.folder / str(self.life + 1)
        shutil.copytree(here, there)
        for path in sorted(there.glob("*.segment"))[-1:]:
            path.write_bytes(path.read_bytes() + b"wlj1" + bytes([37] * torn))
        self.intake.journal.close()
        self.life += 1
        self.begin()
        again = self.names(self.learnt + self.rows_of(self.intake._queue._chunks))
        assert again == self.names(released)[: len(again)], "what is learnt after the crash is what would have been"
        assert self.intake.statistics()["lost"] == 0

    def close(self):
        if self.intake is not None:
            self.intake.journal.close()
        shutil.rmtree(self.folder)

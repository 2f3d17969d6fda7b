"""Reading a journal again gives the same whether rows are read record by record or many records at once."""

import random

import numpy as np
import pytest
from journals import journaled, parse, records_of, recovered
from wire_rows import SCHEMA, stream

from warmloop.data.transition import take
from warmloop.data.wire import row_bytes
from warmloop.learner.journal import recovery
from warmloop.learner.journal.records import JournalRecord, Kind
from warmloop.learner.journal.recovery import merged


@pytest.mark.parametrize("seed", range(5))
def test_records_joined_on_reading_release_the_same_rows_under_the_same_numbers_as_one_by_one(tmp_path, monkeypatch, seed):
    chance, intake = random.Random(seed), journaled(tmp_path, segment_bytes=2000)
    sessions, ends = {name: intake.open(name, name, 0)[0].id for name in ("s1", "s2")}, {"s1": 0, "s2": 0}
    for _ in range(120):
        name = chance.choice(["s1", "s1", "s1", "s2"])
        rows = stream(chance.randint(1, 4), ends[name])
        if chance.random() < 0.05:
            rows.reward[0] = np.nan
        if chance.random() < 0.05:
            rows.step[:] += 1  # does not go on where the episode was
        intake.accept(sessions[name], ends[name], rows)
        ends[name] += len(rows.reward)
        if chance.random() < 0.05:
            intake.close(sessions[name])
            sessions[name] = intake.open(name, name, ends[name])[0].id
    intake.journal.close()
    joined, pool = recovered(tmp_path, 100)
    joined.journal.close()
    read = sum(1 for _ in records_of(tmp_path / "journal"))
    assert sum(1 for _ in merged(records_of(tmp_path / "journal"), SCHEMA)) < 0.8 * read
    monkeypatch.setattr(recovery, "MERGED_ROWS", 0)
    single, expected = recovered(tmp_path, 100)
    single.journal.close()
    assert row_by_row(pool) == row_by_row(expected)
    assert row_by_row((0, chunk) for chunk in joined.take(1000)) == row_by_row((0, chunk) for chunk in single.take(1000))
    assert joined.statistics() == single.statistics() and joined.state() == single.state()


WRITTEN = bytes.fromhex(
    "776c6a311b000000b8dc23080100000000000000000000000000000005000000000000007b7d0a"
    "776c6a3125000000511ba549020203000300000007000000000000000500000000000000733140746872656520726f7773"
    "776c6a311a0000004a79fc900302000000000000000000000000000007000000000000007331"
)


def test_a_segment_is_read_and_written_byte_for_byte_as_by_earlier_versions():
    made = [
        JournalRecord(Kind.SNAPSHOT, released=5, payload=b"{}\n"),
        JournalRecord(Kind.ROWS, "s1", 7, 3, b"three rows", 5, True, b"\x40"),
        JournalRecord(Kind.CUT, "s1", released=7),
    ]
    assert b"".join(part for record in made for part in record.parts()) == WRITTEN
    assert parse(WRITTEN) == (made, len(WRITTEN)) and sum(record.size for record in made) == len(WRITTEN)


def row_by_row(released):
    """Number, stream and bytes of every row of numbered chunks."""
    return [
        (number + place, chunk.stream, chunk.first + place, row_bytes.encode(SCHEMA, take(chunk.rows, slice(place, place + 1))))
        for number, chunk in released
        for place in range(len(chunk.rows.reward))
    ]

"""An intake with a journal, and the same after a crash: read again from a copy of its files, as another process would."""

import contextlib
import resource
import shutil
from pathlib import Path
from typing import Any

from wire_rows import SCHEMA

from warmloop.learner.journal.journal import Journal
from warmloop.learner.journal.records import JournalRecord, segments, stretches
from warmloop.learner.receiving.intake import Intake, Limits


def journaled(folder: Path, limits: Limits | None = None, **settings) -> Any:
    """An intake that writes to `folder/journal`; nothing that is there already is read."""
    return Intake(SCHEMA, folder / "quarantine", limits, journal=Journal(folder / "journal", **settings))


def recovered(folder: Path, position=0, state=None, since=0, **settings):
    """An intake that goes on from `folder`, and the `(number, chunk)` that go to the pool."""
    intake = journaled(folder, **settings)
    return intake, list(intake.recover(position, state or {}, since))


def parse(segment: bytes) -> tuple[list[JournalRecord], int]:
    """The whole records that a segment begins with, and where they end: at its end, or at damage."""
    found = stretches(segment)
    return (found[0][2], found[0][1]) if found and found[0][0] == 0 else ([], 0)


def records_of(directory: Path) -> list[JournalRecord]:
    """All records of a sound journal, in order."""
    return [record for _, path in segments(directory) for record in parse(path.read_bytes())[0]]


@contextlib.contextmanager
def after_a_crash(folder: Path, copy: Path, position=0, state=None, **settings):
    """What a later learner has of `folder`, whose own learner still runs: read from a copy."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    intake, pool = recovered(copy, position, state, **settings)
    try:
        yield intake, pool
    finally:
        intake.journal.close()


@contextlib.contextmanager
def no_file_may_grow_beyond(size: int):
    """The system refuses to write past byte `size` of any file of this process, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

"""How far a long job is, on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

LINE_EVERY_SECONDS = 10.0


@contextlib.contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Shows how far a long job is: a bar on a terminal, elsewhere a line every ten seconds, on stderr in both cases. A `total` of None is
    one that nobody knows yet: then a job of less than ten seconds says nothing.

    Gives `advance(count=1, note=None)`, which adds to what is done and says something about it; None leaves what was said before.
    """
    advance = _bar(label, total) if sys.stderr.isatty() else _lines(label, total)
    with advance as call:
        yield call


@contextlib.contextmanager
def _bar(label: str, total: int | None) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, note="")
        yield lambda count=1, note=None: bar.update(task, advance=count, **({} if note is None else {"note": note}))


@contextlib.contextmanager
def _lines(label: str, total: int | None) -> Iterator[Callable[..., None]]:
    done, last_line, end, said = 0, time.monotonic(), "", ""

    def advance(count: int = 1, note: str | None = None) -> None:
        nonlocal done, last_line, end
        done, end = done + count, end if note is None else f", {note}" if note else ""
        if time.monotonic() - last_line >= LINE_EVERY_SECONDS:
            last_line = time.monotonic()
            write()

    def write() -> None:
        nonlocal said
        before, said = said, f"{label}: {done}{'' if total is None else f' of {total}'}{end}"
        if said != before:
            print(said, file=sys.stderr, flush=True)

    began = last_line
    if total is not None:
        write()
    yield advance
    if total is not None or last_line > began:
        write()


def upto(advance: Callable[..., None], done: int = 0) -> Callable[..., None]:
    """`tell(count, note=None)`, which advances to a count of all that is done, as `advance` does by what is new."""

    def tell(count: int, note: str | None = None) -> None:
        nonlocal done
        advance(count - done, note)
        done = count

    return tell

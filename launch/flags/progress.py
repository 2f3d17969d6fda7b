"""How far a long job is, on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

LINE_EVERY_SECONDS, BAR = 10.0, 20  # characters of a bar
SEEN = 7  # lines by whose pace the time left is told
LINES = "WARMLOOP_LINES"  # set for a process that shares its terminal with others


@contextlib.contextmanager
def progress(label: str, total: int | None, done: int = 0) -> Iterator[Callable[..., None]]:
    """Shows how far a long job is: a bar on a terminal, elsewhere (or where WARMLOOP_LINES is set) a line every ten seconds, on stderr in
    both cases, with the time that is left. A `total` of None is one that nobody knows yet: then a job of less than ten seconds says
    nothing. `done` is what was done before.

    Gives `advance(count=1, note=None)`, which adds to what is done and says something about it; None leaves what was said before.
    """
    a_terminal = sys.stderr.isatty() and not os.environ.get(LINES)
    advance = _bar(label, total, done) if a_terminal else _lines(label, total, done)
    with advance as call:
        yield call


@contextlib.contextmanager
def _bar(label: str, total: int | None, done: int) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    note = TextColumn("{task.fields[note]}", table_column=Column(ratio=1))  # wraps, where all else keeps its width
    columns = ("{task.description}", BarColumn(BAR), MofNCompleteColumn(), TimeRemainingColumn(), note)
    with Progress(*columns, console=Console(stderr=True), expand=True) as bar:
        task = bar.add_task(label, total=total, completed=done, note="")
        yield lambda count=1, note=None: bar.update(task, advance=count, **({} if note is None else {"note": note}))


@contextlib.contextmanager
def _lines(label: str, total: int | None, done: int) -> Iterator[Callable[..., None]]:
    last_line, end, said, before = time.monotonic(), "", "", done
    seen = deque([(last_line, done)], maxlen=SEEN)

    def advance(count: int = 1, note: str | None = None) -> None:
        nonlocal done, last_line, end
        if done == before and count:
            seen[0] = time.monotonic(), done + count  # the first piece compiles, so the pace is that of the others
        done, end = done + count, end if note is None else f", {note}" if note else ""
        if time.monotonic() - last_line >= LINE_EVERY_SECONDS:
            last_line = time.monotonic()
            write()

    def write() -> None:
        nonlocal said
        head = f"{label}: {done}{'' if total is None else f' of {total}'}"
        earlier, said = said, f"{head}{end}"
        if said != earlier:
            seen.append((time.monotonic(), done))
            print(f"{head}{_left(seen, total)}{end}", file=sys.stderr, flush=True)

    began = last_line
    if total is not None:
        write()
    yield advance
    if total is not None or last_line > began:
        write()


def _left(seen: Sequence[tuple[float, int]], total: int | None) -> str:
    """How long the rest takes at the pace of the newest lines; "" where there is no pace or no rest."""
    (since, before), (now, done) = seen[0], seen[-1]
    if total is None or done <= before or done >= total:
        return ""
    return f", {span((total - done) * (now - since) / (done - before))} left"


def span(seconds: float) -> str:
    """How long: `48 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`."""
    whole = round(max(seconds, 0))
    for size, unit, part, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {name}" if rest else f"{whole // size} {unit}"
    return f"{seconds:.1f} s" if 0 < seconds < 10 else f"{whole} s"


def upto(advance: Callable[..., None], done: int = 0) -> Callable[..., None]:
    """`tell(count, note=None)`, which advances to a count of all that is done, as `advance` does by what is new."""

    def tell(count: int, note: str | None = None) -> None:
        nonlocal done
        advance(count - done, note)
        done = count

    return tell

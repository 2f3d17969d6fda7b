"""A table of what is moved by hand, drawn anew while Enter or Ctrl-C is waited for."""

from __future__ import annotations

import contextlib
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ...data.errors import WarmloopError
from ..starting.signals import answering

if TYPE_CHECKING:
    from .arm_limits import ArmLimits

READ_SECONDS, DRAWN_EVERY = 0.02, 5  # between two readings; and how many of them to a picture


def ask(text: str) -> None:
    """Waits for Enter. Raises WarmloopError where nobody can type it."""
    print(text, flush=True)
    if not sys.stdin.readline():
        raise WarmloopError("Nobody typed Enter, so the torque was left as it is; give --yes where there is no keyboard.")


def watch(found: ArmLimits, read: Callable[[], np.ndarray], seconds: float) -> None:
    """Reads an arm until Enter, Ctrl-C or the end of `seconds` (0 for none), and shows its ranges on a terminal."""
    over = threading.Event()
    until = time.monotonic() + seconds if seconds else np.inf
    print("Move each joint as far as a task may need it. Enter ends.", flush=True)
    with answering(over.set), _drawn(found) as draw:
        count = 0
        while not over.wait(READ_SECONDS) and time.monotonic() < until and not _typed():
            found.see(read())
            if count % DRAWN_EVERY == 0:
                draw()
            count += 1


def _typed() -> bool:
    """Whether a line was typed. The end of what is piped in is none."""
    if sys.stdin.closed or not select.select([sys.stdin], [], [], 0)[0]:
        return False
    return bool(sys.stdin.readline())


@contextlib.contextmanager
def _drawn(found: ArmLimits) -> Iterator[Callable[[], None]]:
    """Draws the table in its place on a terminal; elsewhere it is printed once, at the end."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if not console.is_terminal:
        yield lambda: None
        console.print(_table(found))
        return
    with Live(_table(found), console=console, auto_refresh=False) as live:
        yield lambda: live.update(_table(found), refresh=True)


def _table(found: ArmLimits):
    from rich.table import Table

    table = Table("", "lowest", "now", "highest")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, *numbers in found.rows():
        table.add_row(name, *(f"{number:.1f}" for number in numbers))
    return table

"""Spools on a real disk, and processes that use them."""

import contextlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from wire_rows import SCHEMA, stream

from warmloop.actor.delivery.spool import Spool
from warmloop.data.wire import row_bytes


def append(spool, rows):
    with spool.rows.changed:
        spool.rows.append(rows)


def written(spool, number, seconds=60.0):
    """Waits until the rows below a number are written."""
    with spool.rows.changed:
        assert spool.rows.changed.wait_for(lambda: spool.rows.written >= number, seconds), spool.rows.trouble


def held(spool):
    """The numbers of the rows that a spool holds outside its gaps, each row found to be what it was."""
    rows, found = spool.rows, []
    for number in range(rows.first, rows.end):
        if not any(number in gap for gap in rows.gaps):
            assert rows.frame(number, 1) == row_bytes.encode(SCHEMA, stream(1, number)), f"row {number} was altered"
            found.append(number)
    return found


@contextlib.contextmanager
def opened(folder, **limits):
    spool = Spool(folder, SCHEMA, **limits)
    try:
        yield spool
    finally:
        spool.close()


def started(code, *arguments) -> Any:
    """A Python process that runs `code` with the package and the helpers at hand."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    line = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def filled(folder, counts=(1, 3, 16, 2, 1), **limits):
    """A spool's folder after one process wrote one record per count; its segments' paths."""
    spool, first = Spool(folder, SCHEMA, **limits), 0
    for count in counts:
        append(spool, stream(count, first))
        first += count
        written(spool, first)
    spool.close()
    return sorted(folder.glob("*.rows"))

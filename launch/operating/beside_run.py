"""The page's process beside a run: it may die, and the run goes on."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ..flags import page_flags
from ..flags.common import log
from ..starting.processes import command

END_SECONDS = 5.0
BESIDE = "WARMLOOP_PAGE_BESIDE"  # set for a page that ends when its standard input does


@contextlib.contextmanager
def beside_the_run(run: Path) -> Iterator[None]:
    """Serves the page of a run by a process of its own within the block, where --page asks for it."""
    if not page_flags.PAGE.value:
        yield
        return
    folder = page_flags.credentials_here()
    secrets = [f"--credentials={folder}"] if folder else []
    where = [f"--page_port={page_flags.PAGE_PORT.value}", f"--page_ip={page_flags.PAGE_IP.value}"]
    # Its input ends with this process, whatever ends that; a Ctrl-C is this process's alone.
    process = subprocess.Popen(
        command("page_run", str(run), *where, *secrets), stdin=subprocess.PIPE, start_new_session=True, env=os.environ | {BESIDE: "1"}
    )
    try:
        yield
    finally:
        if process.poll() is not None:
            log.warning("The operator's page had ended before the run (exit code %d); the run did not need it.", process.returncode)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        process.kill()
        process.communicate()

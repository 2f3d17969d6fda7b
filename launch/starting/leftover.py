"""The end of a command whose environment left threads or processes behind: Python waits for them, which may be for ever.

Only the standard library is imported here.
"""

from __future__ import annotations

import os
import sys
import threading
import time

WAIT_SECONDS = 15.0  # for what ends by itself, such as a film that is written
TERMINATE_SECONDS = 3.0


def end_in_time(code: int) -> None:
    """Lets the process end with this exit code though a thread or a child process goes on. To be called when all work is done."""
    if _threads() or _children():
        threading.Thread(target=_end, args=(code,), name="leftover", daemon=True).start()


def _end(code: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.1)
    threads, children = _threads(), _children()
    named = [f"the thread {thread.name}" for thread in threads] + [f"the process {child.name}" for child in children]
    if named:
        who = f"{', '.join(named)}, which the environment or another module left behind, {'do' if len(named) > 1 else 'does'} not end"
        _say(f"{who}: this command ends without. Its work is done; a daemon thread, or close(), would spare the {WAIT_SECONDS:g} s.")
    for child in children:
        child.terminate()
    for child in children:
        child.join(TERMINATE_SECONDS)
        if child.is_alive():
            child.kill()
    if threads:
        os._exit(code)


def _threads() -> list[threading.Thread]:
    """The threads that Python waits for."""
    return [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]


def _children() -> list:
    """The processes that Python waits for."""
    module = sys.modules.get("multiprocessing")
    return [] if module is None else [child for child in module.active_children() if not child.daemon]


def _say(text: str) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.write(2, f"{text}\n".encode())

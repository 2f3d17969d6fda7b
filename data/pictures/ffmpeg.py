"""The ffmpeg that imageio-ffmpeg installs, started without a fork of this process.

imageio and imageio-ffmpeg fork, to put ffmpeg beyond Ctrl-C; gRPC's handlers for a fork then may abort the child before it becomes ffmpeg,
or close what the parent waits on.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import IO


def start(
    arguments: Sequence[str], said: IO[bytes], stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """The process. It writes its errors, and nothing else, to the file `said`. Raises OSError, RuntimeError: there is none, or it does not
    start."""
    import imageio_ffmpeg

    line = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *arguments]
    # A group of its own, so that Ctrl-C does not reach it. With a `preexec_fn` instead, Python would fork.
    return subprocess.Popen(line, stdin=stdin, stdout=stdout, stderr=said, process_group=0)


def last_words(said: IO[bytes], otherwise: str) -> str:
    """The last line that ffmpeg wrote to `said`."""
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else otherwise

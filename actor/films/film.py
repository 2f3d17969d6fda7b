"""Films: frames in, a whole file or an error out, encoded by the ffmpeg that imageio-ffmpeg installs."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np

from ...data.errors import WarmloopError
from ...data.pictures import ffmpeg

QUALITY = "25"  # of libx264, 0 to 51, less is better


class Film:
    """A film at `path`, of frames `[H, W, 3]` uint8 of one size; the file is there once the block has ended without an error.

    Raises:
        WarmloopError: there is no encoder, it refuses the frames, or the file cannot be written.
    """

    def __init__(self, path: Path, frames_per_second: float):
        self.path, self._rate = path, Fraction(frames_per_second).limit_denominator(1000)
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        self._encoder: subprocess.Popen[bytes] | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the film
        self._shape: tuple[int, ...] = ()

    def append(self, frame: np.ndarray) -> None:
        """One more frame."""
        frame = np.ascontiguousarray(frame, np.uint8)
        if self._encoder is None:
            self._shape, self._encoder = frame.shape, self._start(frame.shape)
        if frame.shape != self._shape:
            raise WarmloopError(f"The video {self.path} cannot be recorded: frames of {self._shape} become {frame.shape}.")
        assert self._encoder.stdin is not None
        try:
            self._encoder.stdin.write(frame.data)
        except OSError as error:
            raise self._failure() from error

    def __enter__(self) -> Film:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            whole = self._end()
            if kind is None and not whole:
                raise self._failure()
            if kind is None and self._encoder is not None:
                self._partial.replace(self.path)
        finally:
            self._said.close()
            self._partial.unlink(missing_ok=True)

    def _start(self, shape: tuple[int, ...]) -> subprocess.Popen[bytes]:
        if len(shape) != 3 or shape[2] != 3:
            raise WarmloopError(f"The video {self.path} cannot be recorded: its frames are {shape}, and [height, width, 3] is needed.")
        height, width = shape[:2]
        given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(self._rate), "-i", "-", "-an"]
        even = ["-vf", f"scale={width + width % 2}:{height + height % 2}"] if width % 2 or height % 2 else []  # as H.264 wants it
        coded = ["-vcodec", "libx264", "-pix_fmt", "yuv420p", "-crf", QUALITY]
        try:
            line = ["-y", *given, *even, *coded, str(self._partial.absolute())]
            return ffmpeg.start(line, self._said, stdin=subprocess.PIPE)
        except (OSError, RuntimeError) as error:  # there is no ffmpeg for this machine, or it cannot be started
            raise WarmloopError(f"The video {self.path} cannot be recorded: {' '.join(str(error).split())}") from error

    def _end(self) -> bool:
        """Waits for the encoder; whether all that it was given is in the file."""
        if self._encoder is None:
            return True
        assert self._encoder.stdin is not None
        with contextlib.suppress(OSError):  # it has ended already, and says why
            self._encoder.stdin.close()
        return self._encoder.wait() == 0

    def _failure(self) -> WarmloopError:
        self._end()
        return WarmloopError(f"The video {self.path} cannot be recorded: {ffmpeg.last_words(self._said, 'the encoder ended')}.")

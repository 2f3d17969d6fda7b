"""Pictures of LeRobot data sets: PNG bytes in a table, and frames of a video, read once from front to back."""

from __future__ import annotations

import io
import math
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...errors import WarmloopError
from ...pictures import ffmpeg
from ..recordings.budget import SMALL, VIDEO_RATIO, allowed, require
from .mp4_size import frame_pixels

STILLS = ("PNG", "JPEG", "WEBP")
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}  # of the images that a PNG keeps as they are
RGB = 3  # bytes of a pixel
LONGEST = 1e7  # seconds of a video, a third of a year
MOST_PIXELS = 2**31 - 1  # of a frame; ffmpeg takes no more
TOO_LARGE = re.compile(rb"Picture size (\d+)x(\d+) exceeds|Frame size (\d+)x(\d+) exceeds")  # ffmpeg's words


def decode_image(data: bytes | None, look: Callable[[int], None] = lambda size: None) -> np.ndarray:
    """`[H, W, C]` uint8 of an image file's bytes; C is 1, 3 or 4. `look` is given the bytes that it will take. Raises ValueError,
    OSError."""
    from PIL import Image

    if not data:
        raise ValueError("it holds no bytes of an image")
    with Image.open(io.BytesIO(data), formats=STILLS) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"its pixels are not of 8 bits ({image.mode})")
        look(image.width * image.height * len(image.getbands()))
        pixels = np.asarray(image if image.mode in CHANNELS.values() else image.convert("RGB"))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def encode_image(pixels: np.ndarray) -> bytes:
    """The PNG of `[H, W, C]` uint8, C one of CHANNELS. Lossless; lightly compressed, which is several times faster."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


class Reel:
    """A video file, decoded by the ffmpeg that imageio-ffmpeg installs, at the constant rate `fps`: frame k is shown at k / fps."""

    def __init__(self, path: Path, fps: float):
        self.path = path
        self._fps = fps
        self._position = 0
        self._wanted = 1  # frames at once
        self._decoder: subprocess.Popen[bytes] | None = None

    def take(self, times: np.ndarray) -> np.ndarray:
        """`[T, H, W, 3]` uint8, the frames shown at `times` `[T]`, in seconds and rising.

        Raises:
            WarmloopError: the file is missing or damaged, ends earlier, is of a codec that is not decoded here, or its frames take more
                memory than they may.
        """
        if not (np.isfinite(times) & (np.abs(times) < LONGEST)).all():
            raise WarmloopError(f"{self.path}: the timestamps of its rows run from {times.min():g} to {times.max():g}; seconds are needed.")
        indices = np.round(times * self._fps).astype(np.int64)
        self._wanted = len(indices)
        if self._decoder is None or indices[0] < self._position:
            self._open()
        return np.stack([self._frame(int(index)) for index in indices])

    def close(self) -> None:
        """Ends the decoder's process."""
        if self._decoder is not None:
            self._decoder.kill()
            self._decoder.communicate()
            self._said.close()
        self._decoder = None

    def _open(self) -> None:
        self.close()
        if not self.path.is_file():
            raise WarmloopError(f"{self.path} does not exist; download the data set's videos too.")
        self._ask(frame_pixels(self.path))
        # By name the format and the protocol, so that no text that calls itself .mp4 makes ffmpeg fetch what it lists.
        given = ["-f", "mp4", "-protocol_whitelist", "file", "-max_pixels", str(self._most()), "-i", os.path.abspath(self.path)]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the reel
        try:
            # Each frame as a PPM file, which begins with its size.
            line = [*given, "-r", str(self._fps), "-vcodec", "ppm", "-f", "image2pipe", "-"]
            self._decoder = ffmpeg.start(line, self._said, stdout=subprocess.PIPE)
        except (OSError, RuntimeError) as error:  # there is no ffmpeg for this machine, or it cannot be started
            raise self._undecoded(" ".join(str(error).split())) from error
        self._position = 0

    def _ask(self, pixels: int) -> None:
        """Raises WarmloopError where the frames that are wanted, of so many pixels each, take more memory than they may."""
        require(str(self.path), "an episode of it", pixels * RGB * self._wanted, self.path.stat().st_size, VIDEO_RATIO)

    def _most(self) -> int:
        """Pixels of a frame that ffmpeg may decode, whatever the container says."""
        return min(max(allowed(self.path.stat().st_size, VIDEO_RATIO), SMALL) // RGB, MOST_PIXELS)

    def _frame(self, index: int) -> np.ndarray:
        if index < self._position:
            raise WarmloopError(f"{self.path}: two rows want one frame of this video; their timestamps do not fit {self._fps:g} fps.")
        while self._position < index:
            self._next()
            self._position += 1
        pixels = self._next()
        self._position += 1
        return pixels

    def _next(self) -> np.ndarray:
        assert self._decoder is not None and self._decoder.stdout is not None
        pipe = self._decoder.stdout
        header = [pipe.readline() for _ in range(3)]  # b"P6\n", b"W H\n", b"255\n"
        if all(header):
            width, height = map(int, header[1].split())
            self._ask(width * height)
            data = pipe.read(height * width * RGB)
            if len(data) == height * width * RGB:
                return np.frombuffer(data, np.uint8).reshape(height, width, 3)
        short = f"it ends after {self._position} frames, and its rows need more"
        failed = self._decoder.wait()
        self._ask(self._too_large())
        raise self._undecoded(ffmpeg.last_words(self._said, short) if failed else short)

    def _too_large(self) -> int:
        """Pixels of a frame that ffmpeg refused for its size; 0 where it did not."""
        self._said.seek(0)
        found = TOO_LARGE.search(self._said.read())
        return math.prod(int(size) for size in found.groups() if size) if found else 0

    def _undecoded(self, cause: str) -> WarmloopError:
        return WarmloopError(
            f"{self.path} could not be decoded ({cause}); download it again, or, where ffmpeg has no decoder for its codec, "
            "install a newer imageio-ffmpeg."
        )

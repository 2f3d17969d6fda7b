"""Pictures of LeRobot data sets: PNG bytes in a table, and frames of a video, read once from front to back."""

from __future__ import annotations

import io
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import WarmloopError

STILLS = ("PNG", "JPEG", "WEBP")
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}  # of the images that a PNG keeps as they are


def decode_image(data: bytes | None) -> np.ndarray:
    """`[H, W, C]` uint8 of an image file's bytes; C is 1, 3 or 4. Raises ValueError, OSError."""
    from PIL import Image

    if not data:
        raise ValueError("it holds no bytes of an image")
    with Image.open(io.BytesIO(data), formats=STILLS) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"its pixels are not of 8 bits ({image.mode})")
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
        self._frames: Generator[Any, None, None] | None = None

    def take(self, times: np.ndarray) -> np.ndarray:
        """`[T, H, W, 3]` uint8, the frames shown at `times` `[T]`, in seconds and rising.

        Raises:
            WarmloopError: the file is missing or damaged, ends earlier, or is of a codec that is not decoded here.
        """
        indices = np.round(times * self._fps).astype(np.int64)
        if self._frames is None or indices[0] < self._position:
            self._open()
        return np.stack([self._frame(int(index)) for index in indices])

    def close(self) -> None:
        """Ends the decoder's process."""
        if self._frames is not None:
            self._frames.close()
        self._frames = None

    def _open(self) -> None:
        import imageio_ffmpeg

        self.close()
        if not self.path.is_file():
            raise WarmloopError(f"{self.path} does not exist; download the data set's videos too.")
        # By name the format and the protocol, so that no text that calls itself .mp4 makes ffmpeg fetch what it lists.
        safe = ["-f", "mp4", "-protocol_whitelist", "file"]
        self._frames = imageio_ffmpeg.read_frames(os.path.abspath(self.path), input_params=safe, output_params=["-r", str(self._fps)])
        self._codec, self._position = "", 0
        about = self._next()
        self._codec, self._shape = about["codec"], (*reversed(about["size"]), 3)

    def _frame(self, index: int) -> np.ndarray:
        if index < self._position:
            raise WarmloopError(f"{self.path}: two rows want one frame of this video; their timestamps do not fit {self._fps:g} fps.")
        while self._position < index:
            self._next()
            self._position += 1
        self._position += 1
        return np.frombuffer(self._next(), np.uint8).reshape(self._shape)

    def _next(self) -> Any:
        assert self._frames is not None
        try:
            return next(self._frames)
        except StopIteration:
            cause = f"it ends after {self._position} frames, and its rows need more"
        except Exception as error:  # imageio-ffmpeg raises half a dozen kinds, most with ffmpeg's whole log
            cause = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise WarmloopError(
            f"{self.path}{self._codec and f', a video of codec {self._codec},'} could not be decoded ({cause}); download it again, or, "
            "where ffmpeg has no decoder for its codec, install a newer imageio-ffmpeg."
        )

"""The newest picture of one camera, as a viewer gets it."""

from __future__ import annotations

import io
import time

import numpy as np
from PIL import Image

LARGEST_SIDE = 640  # pixels; larger pictures are made smaller
SMALL_SIDE = 100  # up to which a picture is sent as it is, since a JPEG would blur it
FROZEN_SECONDS, FROZEN_PICTURES = 4.0, 8  # without a change, while so many new ones came


class CameraPicture:
    """Encoded once, however many look, and only where somebody does.

    Attributes:
        number: of the newest; another one for each.
        came: when, by the monotonic clock.
        kind: the media type of what `encoded` gives.
    """

    def __init__(self) -> None:
        self.number, self.came = -1, 0.0
        self._shape, self._bytes = (), b""
        self._made, self._encoded, self.kind = -1, b"", "image/jpeg"
        self._changed, self._same = time.monotonic(), 0

    def take(self, number: int, shape: tuple[int, ...], data: bytes) -> None:
        """A new one `[H, W, C]` came."""
        self.came = time.monotonic()
        if data == self._bytes:
            self._same += 1
        else:
            self._changed, self._same = self.came, 0
        self.number, self._shape, self._bytes = number, shape, data

    @property
    def frozen(self) -> float:
        """Seconds for which new pictures have been the same to the last bit; 0 where they change."""
        seconds = self.came - self._changed
        return seconds if self._same >= FROZEN_PICTURES and seconds > FROZEN_SECONDS else 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return (self._shape[1], self._shape[0]) if len(self._shape) > 1 else (0, 0)

    def encoded(self) -> bytes:
        """The newest as a JPEG, or a small one as a PNG; nothing before the first."""
        if self._made != self.number and self._bytes:
            made, array = self.number, np.frombuffer(self._bytes, np.uint8).reshape(self._shape)
            channels = array.shape[2] if array.ndim == 3 else 1
            array = array[..., :3] if channels >= 3 else np.repeat(array.reshape(*array.shape[:2], -1)[..., :1], 3, axis=2)
            image = Image.fromarray(np.ascontiguousarray(array))
            image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
            small, buffer = max(image.size) <= SMALL_SIDE, io.BytesIO()
            image.save(buffer, "PNG" if small else "JPEG", **({} if small else {"quality": 80}))
            self._made, self._encoded, self.kind = made, buffer.getvalue(), "image/png" if small else "image/jpeg"
        return self._encoded

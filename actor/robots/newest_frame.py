"""Cameras that are read in the background, so that a step takes the newest picture and never waits for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ...data.doors.door import Door
from ...data.errors import EnvironmentFault

WHERE = "environment.kwargs.camera"
CAMERA = Door("a camera", "a class called with name= and the camera's arguments, whose objects have read() and close(),")


class NewestFrame:
    """The newest picture of a camera.

    Args:
        name: of the camera.
        open_camera: makes it; called in the background. Its `read()` gives a picture `[H, W, C]` uint8, or HIL-SERL's pair of whether there
            is one and the picture.
        timeout: seconds without a new picture after which the camera counts as frozen.
    """

    def __init__(self, name: str, open_camera: Callable[[], Any], timeout: float):
        self.name, self._timeout = name, timeout
        self._open, self._ready, self._over = open_camera, threading.Condition(), False
        self._picture: np.ndarray | None = None
        self._at, self._failed = time.monotonic(), ""
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)
        self._thread.start()

    def read(self) -> np.ndarray:
        """The newest picture.

        Raises:
            EnvironmentFault: the camera failed, or has given none for `timeout` seconds.
        """
        with self._ready:
            self._ready.wait_for(lambda: self._picture is not None or self._failed, self._timeout)
            if self._failed:
                raise EnvironmentFault(f"Camera {self.name} failed: {self._failed}.")
            if self._picture is None or time.monotonic() - self._at > self._timeout:
                raise EnvironmentFault(f"Camera {self.name} has given no picture for {self._timeout:g} s; look at its cable.")
            return self._picture

    @property
    def failed(self) -> bool:
        """Whether the camera failed, or gives no pictures any more: it must be opened anew."""
        with self._ready:
            return bool(self._failed) or time.monotonic() - self._at > self._timeout

    def close(self) -> None:
        """Has the camera closed, by the thread that reads it, within `timeout` seconds."""
        self._over = True
        self._thread.join(self._timeout)

    def _run(self) -> None:
        camera: Any = None
        try:
            camera = self._open()
            while not self._over:
                picture = camera.read()
                there, picture = picture if isinstance(picture, tuple) else (True, picture)
                if there:
                    self._put(np.asarray(picture))
        except Exception as error:  # of a driver: any kind
            self._fail(error)
        finally:
            if camera is not None:
                camera.close()

    def _put(self, picture: np.ndarray) -> None:
        if picture.dtype != np.uint8 or picture.ndim != 3:
            raise TypeError(f"read() gave {picture.dtype} {list(picture.shape)}, no picture [H, W, C] of uint8")
        with self._ready:
            self._picture, self._at = picture, time.monotonic()
            self._ready.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._ready:
            self._failed = f"{type(error).__name__}: {error}"
            self._ready.notify_all()


def scaled(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture `[H, W, C]` of another size by bilinear interpolation between the four nearest pixels, as OpenCV's INTER_LINEAR, which
    HIL-SERL uses: pictures of demonstrations that it recorded are made so."""
    if picture.shape[:2] == (height, width):
        return picture
    top, bottom, down = _between(picture.shape[0], height)
    left, right, across = _between(picture.shape[1], width)
    down, across = down[:, None, None], across[None, :, None]
    upper = picture[top][:, left] * (1.0 - across) + picture[top][:, right] * across
    lower = picture[bottom][:, left] * (1.0 - across) + picture[bottom][:, right] * across
    return np.rint(upper * (1.0 - down) + lower * down).astype(np.uint8)


def _between(size: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of the wanted pixels the two between which its centre lies, and how far from the first."""
    centre = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
    first = np.floor(centre).astype(int)
    return first, np.minimum(first + 1, size - 1), (centre - first).astype(np.float32)

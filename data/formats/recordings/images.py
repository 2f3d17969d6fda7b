"""Encoded pictures (PNG, JPEG) of a recording as arrays."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence

import numpy as np

from ...errors import WarmloopError
from .budget import PICTURE_RATIO, require

FORMATS = ("PNG", "JPEG")  # no other decoder is handed a file's bytes
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def decode(place: str, key: str, encoded: Sequence[bytes], shape: Sequence[int] | None = None) -> np.ndarray:
    """Pictures of one size as `[N, H, W, C]` uint8; `[N, H, W, 1]` uint16 where they have 16 bits.

    Args:
        place: the file and episode, as errors name them.
        key: what holds the pictures, as errors name it.
        shape: `(H, W, C)` as the file promises it, -1 for any; None for as the first one has it. Checked before a picture is decoded.

    Raises:
        WarmloopError: there is none, one is no picture, or of another size; or together they take more memory than they may.
    """
    if not len(encoded):
        raise WarmloopError(f"{place}: `{key}` holds no pictures; record or copy the file again.")
    pictures, size = [], sum(map(len, encoded))
    for step, content in enumerate(encoded):
        picture = _decoded(
            place,
            f"picture {step} of `{key}`",
            content,
            shape,
            lambda one: require(place, f"`{key}`", one * len(encoded), size, PICTURE_RATIO),
        )
        shape = picture.shape
        pictures.append(picture)
    return np.stack(pictures)


def _decoded(place: str, named: str, content: bytes, shape: Sequence[int] | None, look: Callable[[int], None]) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            deep = image.mode.startswith("I")
            channels = shape[-1] if shape is not None and shape[-1] > 0 else len(image.getbands())
            found = (image.height, image.width, channels)
            if channels not in MODES or any(size not in (-1, has) for size, has in zip(shape or found, found, strict=True)):
                raise WarmloopError(f"{place}: {named} has shape {found}, and {tuple(shape or found)} is needed.")
            look(math.prod(found))
            pixels = np.asarray(image) if deep else np.asarray(image.convert(MODES[channels]))
    except WarmloopError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds for damaged bytes, and for a picture that would not fit into memory
        raise WarmloopError(f"{place}: {named} is no readable PNG or JPEG; record or copy the file again.") from error
    return pixels.astype(np.uint16 if deep else np.uint8, copy=False).reshape(found)

"""Pictures side by side, with frames of colour and a line of text: contact sheets for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import WarmloopError

GOOD, BAD, HAND, PLAIN = (46, 160, 67), (207, 52, 52), (240, 160, 0), (110, 110, 110)
EDGE, TEXT_HEIGHT, GAP = 4, 18, 4


class Tile(NamedTuple):
    """One picture of a sheet.

    Attributes:
        picture: `[H, W, 3]`, `[H, W, 1]` or `[H, W]` uint8.
        text: a short line under it.
        colour: of its frame.
    """

    picture: np.ndarray
    text: str = ""
    colour: tuple[int, int, int] = PLAIN


def sheet(rows: Sequence[Sequence[Tile]], size: int) -> np.ndarray:
    """Rows of tiles, every picture `size` pixels high, as one picture `[H, W, 3]` uint8."""
    drawn = [np.concatenate(_even([_tile(tile, size) for tile in row]), axis=1) for row in rows]
    width = max(row.shape[1] for row in drawn)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in drawn])


def marked(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A copy of a picture `[H, W, 3]` with a frame of that colour on its edge."""
    edge = max(2, min(picture.shape[:2]) // 40)
    framed = np.empty_like(picture)
    framed[:] = colour
    framed[edge:-edge, edge:-edge] = picture[edge:-edge, edge:-edge]
    return framed


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures `[H, W, C]` or `[H, W]` of several cameras as one, `[H, W, 3]`, the lower ones filled up with black."""
    height = max(picture.shape[0] for picture in pictures)
    return np.concatenate([np.pad(_colour(picture), ((0, height - picture.shape[0]), (0, 0), (0, 0))) for picture in pictures], axis=1)


def save(path: Path, picture: np.ndarray) -> Path:
    """Writes a picture `[H, W, 3]` as PNG; returns its path. Raises WarmloopError where the disk refuses."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    except OSError as error:
        raise WarmloopError(f"The picture {path} cannot be written: {error.strerror or error}.") from error
    return path


def _tile(tile: Tile, size: int) -> np.ndarray:
    picture = _colour(tile.picture)
    width = max(1, round(picture.shape[1] * size / picture.shape[0]))
    enlarged = Image.fromarray(picture).resize((width, size), Image.Resampling.BILINEAR)
    canvas = Image.new("RGB", (width + 2 * EDGE + GAP, size + 2 * EDGE + TEXT_HEIGHT + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, width + 2 * EDGE - 1, size + 2 * EDGE - 1), fill=tile.colour)
    canvas.paste(enlarged, (EDGE, EDGE))
    draw.text((EDGE, size + 2 * EDGE + 1), tile.text, fill="black", font=ImageFont.load_default(12))
    return np.asarray(canvas)


def _even(tiles: Sequence[np.ndarray]) -> list[np.ndarray]:
    height = max(tile.shape[0] for tile in tiles)
    return [np.pad(tile, ((0, height - tile.shape[0]), (0, 0), (0, 0)), constant_values=255) for tile in tiles]


def _colour(picture: np.ndarray) -> np.ndarray:
    picture = picture[..., None] if picture.ndim == 2 else picture
    return np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture[..., :3]

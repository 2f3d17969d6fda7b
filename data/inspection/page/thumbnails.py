"""The pictures of a report: of each camera the first, middle and last one of some episodes, inside the HTML itself."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from PIL import Image

from ...pictures.contact_sheet import Tile, sheet
from ...pictures.picture_rule import WHITE, Layout, channels_last, layout_of
from ..findings import Camera
from ..report import Report

PIXELS, WHEN = 96, ("first", "middle", "last")


def cameras(report: Report) -> list[str]:
    """The section on the cameras; nothing where there are none."""
    if not report.cameras:
        return []
    said = "The first, middle and last picture of some episodes, by the episodes' numbers."
    return ["<h2>Cameras</h2>", f'<p class="faint">{said}</p>', *(_figure(report, camera) for camera in report.cameras)]


def _figure(report: Report, camera: Camera) -> str:
    rows = [
        [Tile(_shown(picture, camera), f"{number}: {when}") for when, picture in zip(WHEN, pictures, strict=True)]
        for number, pictures in report.shown[camera.name]
    ]
    said = f"{camera.name}: {' × '.join(map(str, camera.shape))}, from {camera.low:.4g} to {camera.high:.4g}, mean {camera.mean:.4g}"
    said = escape(said + (f", {camera.black} of {camera.pictures} black" if camera.black else ""))
    return f'<figure><figcaption>{said}</figcaption><img alt="{said}" src="{_png(sheet(rows, PIXELS))}"></figure>'


def _shown(picture: np.ndarray, camera: Camera) -> np.ndarray:
    """What the camera gives as a picture `[H, W, C]` or `[H, W]` uint8: the newest of a stack, and no bytes between their own extremes."""
    if picture.dtype != np.uint8:
        width = max(camera.high - camera.low, 1e-9)
        picture = ((np.nan_to_num(picture) - camera.low) / width * WHITE).clip(0, WHITE).astype(np.uint8)
    picture = picture[-1] if picture.ndim == 4 else picture
    if picture.ndim == 2:
        return picture
    picture = channels_last(picture) if layout_of(picture.shape, np.uint8) is Layout.FIRST else picture
    channels = picture.shape[-1]
    return picture if channels in (1, 3, 4) else picture[..., -3:] if channels > 4 else picture[..., :1]


def _png(picture: np.ndarray) -> str:
    """A picture as a data URL."""
    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, "PNG")
    return f"data:image/png;base64,{base64.b64encode(encoded.getvalue()).decode()}"

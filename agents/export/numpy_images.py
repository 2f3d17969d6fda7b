"""Convolutions and pooling in NumPy, as windows of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...data.errors import WarmloopError


def convolution(equation: Any, inputs: list[Any]) -> str:
    """Of images `[B, H, W, C]` with a kernel `[h, w, C, O]`, as flax has them."""
    params, (image, kernel) = equation.params, inputs
    layout = tuple(map(tuple, params["dimension_numbers"]))
    grouped, dilation = params["feature_group_count"] * params["batch_group_count"] > 1, {*params["lhs_dilation"], *params["rhs_dilation"]}
    if layout != ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)) or grouped or dilation != {1}:
        raise WarmloopError("This policy cannot be written in NumPy: its convolutions are dilated, grouped, or not of [B, H, W, C].")
    windows = _windows(image.text, params["padding"], kernel.shape[:2], params["window_strides"], 0.0)
    return f"np.tensordot({windows}, {kernel.text}, ((3, 4, 5), (2, 0, 1)))"


def pooling(equation: Any, inputs: list[Any]) -> str:
    """The greatest of windows over the middle two of four axes, as flax's max_pool has them."""
    params = equation.params
    window, strides, padding = (params[name] for name in ("window_dimensions", "window_strides", "padding"))
    outer = (window[0], window[-1], strides[0], strides[-1], *padding[0], *padding[-1])
    if len(window) != 4 or outer != (1, 1, 1, 1, 0, 0, 0, 0) or set(params["base_dilation"] + params["window_dilation"]) != {1}:
        raise WarmloopError("This policy cannot be written in NumPy: it pools other than over the height and width of [B, H, W, C].")
    return f"{_windows(inputs[0].text, padding[1:3], window[1:3], strides[1:3], -np.inf)}.max(axis=(4, 5))"


def _windows(image: str, padding: Any, size: Any, strides: Any, filling: float) -> str:
    """Windows `[B, H', W', C, h, w]` of images `[B, H, W, C]`."""
    pads = tuple((int(low), int(high)) for low, high in ((0, 0), *padding, (0, 0)))
    padded = f"np.pad({image}, {pads}, constant_values=float('{filling}'))" if any(map(any, pads)) else image
    steps = ", ".join(f"::{stride}" for stride in strides)
    return f"np.lib.stride_tricks.sliding_window_view({padded}, {tuple(size)}, axis=(1, 2))[:, {steps}]"

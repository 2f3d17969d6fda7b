"""What is learnt from: transitions, episodes, dataset formats, quality, retention, replay, mixing and the wire schema."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inspection import inspect as inspect

_HOMES = {"inspect": ".inspection"}  # loaded when first asked for: commands answer --help at once


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

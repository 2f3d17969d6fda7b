"""warmloop: warm a policy up on demonstrations offline, finish its training online.

For notebooks:

    from warmloop import ExpertDataCollector, OfflineRLTrainer
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .launch.collector import ExpertDataCollector as ExpertDataCollector
    from .launch.notebook import OfflineRLTrainer as OfflineRLTrainer

__version__ = "0.1.0"

_HOMES = {"ExpertDataCollector": ".launch.collector", "OfflineRLTrainer": ".launch.notebook"}  # loaded when first asked for


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

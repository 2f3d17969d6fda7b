"""warmloop: warm a policy up on demonstrations offline, finish its training online.

For notebooks:

    from warmloop import ExpertDataCollector, OfflineRLTrainer
"""

from __future__ import annotations

import os
import sys

# `python -m warmloop.launch.…` puts the folder where it is started before all others. It goes last, as for the installed commands, so that
# what a user has there hides no package (see `data/doors/imports.py`).
if sys.argv[:1] == ["-m"] and sys.path[:1] == [os.getcwd()] and any(word.split(".")[0] == "warmloop" for word in sys.orig_argv):
    sys.path.append(sys.path.pop(0))

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .launch.notebooks.callbacks import STOP as STOP
    from .launch.notebooks.collector import ExpertDataCollector as ExpertDataCollector
    from .launch.notebooks.trainer import OfflineRLTrainer as OfflineRLTrainer

__version__ = "0.1.0"

_HOMES = {  # loaded when first asked for
    "ExpertDataCollector": ".launch.notebooks.collector",
    "OfflineRLTrainer": ".launch.notebooks.trainer",
    "STOP": ".launch.notebooks.callbacks",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

"""What is learnt from: transitions, episodes, dataset formats, quality, retention, replay, mixing and the wire schema.

For notebooks:

    from warmloop.data import load_episodes, inspect, write_minari

    episodes = load_episodes("demos.hdf5")
    print(inspect(episodes))
    write_minari("door/human-v0", [episode for episode in episodes if episode.succeeded])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .formats import iterate_episodes as iterate_episodes
    from .formats import load_episodes as load_episodes
    from .formats import write_episodes as write_episodes
    from .formats import write_minari as write_minari
    from .inspection import inspect as inspect

_HOMES = {  # loaded when first asked for: commands answer --help at once
    "inspect": ".inspection",
    **dict.fromkeys(("iterate_episodes", "load_episodes", "write_episodes", "write_minari"), ".formats"),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

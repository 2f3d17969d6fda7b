"""HIL-SERL's list of transitions, as this project writes it.

The arrays are float32, with HIL-SERL's axis of past steps (`histories.py`); `infos` say `succeed` where success is known, `is_intervention`
and `grasp_penalty`, which stands beside the others as well, as in the buffers of HIL-SERL's runs. In `infos["warmloop"]` is what has no key
there: `quality`, `source`, `mc_return`, `policy_version`, `step`, `truncated`, the episode's `number`, `kind` and `task`, other `extras`,
`history`, the leaves whose first axis is the one of past steps, and with the first step of a piece of an episode what it was cut out of
(`whole`), with the first of all the file's `metadata`. Where every transition has that, `dones` alone says where episodes end, flags alone
say success, no other axis is taken for a history, and every field is read as it was.

The files load in NumPy 1 as in NumPy 2: an array's pickle names the module of the function that makes it, which is `numpy.core` in the
one and `numpy._core` in the other; the second knows both names.
"""

from __future__ import annotations

import contextlib
import importlib
import pickle
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...episode import Episode
from ...files.whole_files import replacing
from ..recordings import wholes
from ..recordings.recording import RECORDED_FIELDS, Columns, named
from .histories import put_back, steps_of

EXTRAS = ("grasp_penalty",)  # numbers that a transition may have beside the others
OWN = "warmloop"
OWN_FIELDS = tuple(name for name in RECORDED_FIELDS if name != "intervened")
ANY_NUMPY = "numpy.core.multiarray"
NAMING = threading.Lock()


def write(origin: str, episodes: list[Episode], metadata: dict[str, Any]) -> None:
    """Writes `episodes` to file `origin`, whole or not at all. Raises WarmloopError where their histories have different lengths."""
    history = steps_of(origin, episodes)
    rows = [row for episode in episodes for row in _rows(episode, history)]
    rows[0]["infos"][OWN]["metadata"] = metadata
    with replacing(Path(origin)) as file, _names_of_any_numpy():
        pickle.dump(rows, file, protocol=4)


@contextlib.contextmanager
def _names_of_any_numpy() -> Iterator[None]:
    """Pickles of arrays name the function that makes them as NumPy 1 and 2 both know it."""
    make: Any = np.zeros(0).__reduce__()[0]
    assert getattr(importlib.import_module(ANY_NUMPY), make.__name__) is make
    with NAMING:
        usual = make.__module__
        make.__module__ = ANY_NUMPY
        try:
            yield
        finally:
            make.__module__ = usual


def _rows(episode: Episode, history: Mapping[str, int]) -> list[dict[str, Any]]:
    steps = episode.steps
    observation, following = named("", steps.observation), named("", steps.next_observation)
    whole = {"number": episode.number, "kind": int(episode.source), "task": episode.task, "history": dict(history)}
    beside = [name for name in EXTRAS if name in episode.extras and np.ndim(episode.extras[name]) == 1]
    rows = []
    for t in range(len(episode)):
        own = {name: getattr(steps, name)[t].item() for name in OWN_FIELDS} | whole
        if t == 0 and episode.whole:
            own["whole"] = wholes.as_text(episode.whole)
        extras = {name: np.asarray(values[t]) for name, values in episode.extras.items()}  # no NumPy scalars: they name NumPy's module
        infos: dict[str, Any] = {"is_intervention": bool(steps.intervened[t])}
        infos |= {name: extras[name].item() for name in beside}
        if episode.success is not None:
            infos["succeed"] = bool(episode.success[t])
        others = {name: value for name, value in extras.items() if name not in beside}
        rows.append(
            {
                "observations": _row(observation, t, history),
                "actions": steps.action[t],
                "next_observations": _row(following, t, history),
                "rewards": float(steps.reward[t]),
                "masks": float(steps.mask[t]),
                "dones": t == len(episode) - 1,
                "infos": infos | {OWN: own | ({"extras": others} if others else {})},
                **{name: extras[name] for name in beside},
            }
        )
    return rows


def _row(columns: Columns, t: int, history: Mapping[str, int]) -> Any:
    """Row `t` of the observation whose columns are `/NAME`, or "" for a bare array."""
    rows = {name[1:]: put_back(column[t], history.get(name[1:])) for name, column in columns.items()}
    return rows[""] if "" in columns else rows

"""LeRobot data sets, versions 2.0, 2.1 and 3.x: a directory with `meta/info.json`. Needs the extra `[lerobot]`.

Read, an episode at a time: `observation.NAME` as leaf NAME (`observation.images.front` as "images.front", uint8 `[H, W, C]`, out of
PNG or video), or as a bare array where there is but one; `action`; `next.reward`, 0 where it is absent, as in most demonstrations for
imitation; `next.success`; `complementary_info.is_intervention`; other numbers of `complementary_info` as extras. Texts are skipped. An
episode's task is that of its first frame.

LeRobot's recorders set `next.done` on an episode's last frame whether it was over or its time was, and its replay buffer then takes
both for the end. A time limit must not count, so a frame is terminal where `next.done` is set and
- `next.truncated` is not, where it is recorded;
- else `next.success` is, where that is recorded;
- else the reward is the episode's first above 0: HIL-SERL's sparse reward, given once, for success.
Without `next.done` nothing is terminal. There is no observation after the last frame, so that is dropped unless it is terminal.

Written to a directory whose name ends in `.lerobot`: version 3.0, which LeRobot loads, images as PNG (a video would alter them). There
`next.done` means terminated. What LeRobot has no key for is in `meta/warmloop.parquet`, which LeRobot ignores: see `warmloop_table.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import WarmloopError
from ..recordings.flags import check_flags
from ..recordings.flat import Part, join
from ..recordings.options import PLAIN, ReadOptions
from ..recordings.recording import Columns, Recording, require_keys
from .meta import EXTRA, INFO, INTERVENED, NUMBERS, OBSERVATION, PICTURES, Layout, load, reading
from .parquet import INDICES, episodes
from .warmloop_table import PATH as OWN_PATH
from .warmloop_table import Own, own_rows
from .writer import write as write

FLAGS = {"next.done": "dones", "next.truncated": "timeouts", "next.success": "success", INTERVENED: "intervened"}


def matches(path: str) -> bool:
    """Whether `path` is a directory with a LeRobot data set's description."""
    return (Path(path) / INFO).is_file()


def has_video(path: str) -> bool:
    """Whether `path` is a data set with videos, by its folders."""
    return matches(path) and (Path(path) / "videos").is_dir()


def names(path: str) -> bool:
    """Whether `path` is a directory's name to write to."""
    return path.endswith(".lerobot")


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows of the data set in directory `origin`.

    Raises:
        WarmloopError: a file or a column is missing, is damaged or contradicts another; or a decoder is not installed.
    """
    parts = _parts(load(Path(origin)))
    yield from join(origin, ((part.name, lambda part=part: part) for part in parts), options)


def _parts(layout: Layout) -> Iterator[Part]:
    features = layout.features
    read_dtypes = NUMBERS | PICTURES
    observed = [key for key, feature in features.items() if key.startswith(OBSERVATION) and feature.dtype in read_dtypes]
    extras = [key for key, feature in features.items() if key.startswith(EXTRA) and key != INTERVENED and feature.dtype in NUMBERS]
    require_keys(str(layout.root / INFO), "the data set", list(features), ["action"])
    if not observed:
        raise WarmloopError(f"{layout.root / INFO} names no feature `{OBSERVATION}...` of numbers or images; record observations.")
    numeric = ["action", "next.reward", *FLAGS]
    unread = tuple(key for key in features if key not in {*observed, *extras, *numeric, *INDICES, "index"})
    wanted = [*observed, *extras, *(key for key in numeric if key in features)]
    with contextlib.closing(own_rows(layout, set(observed))) as ours:
        for (entry, columns), own in zip(episodes(layout, wanted), ours, strict=True):
            place = f"{layout.root}, episode {entry.number}"
            leaves = {key: columns[key] for key in observed}
            flags = {name: _flag(place, key, columns[key]) for key, name in FLAGS.items() if key in columns}
            rewards = columns["next.reward"].ravel() if "next.reward" in columns else np.zeros(entry.rows, np.float32)
            taken: Columns = {"actions": columns["action"], "rewards": rewards}
            taken |= {name: flags[name] for name in ("success", "intervened") if name in flags}
            taken |= {f"extras/{key.removeprefix(EXTRA)}": _plain(columns[key]) for key in extras}
            task = layout.tasks.get(int(columns["task_index"][0])) if layout.tasks and "task_index" in columns else ""
            if task is None:
                raise WarmloopError(f"{place}: `task_index` is {columns['task_index'][0]}, which no task of the data set has.")
            if own is not None:
                with reading(layout.root / OWN_PATH):
                    part = _restored(own, entry.number, taken, leaves, flags, task)
                yield part
                continue
            taken |= _named(leaves) | {"terminals": _terminals(flags, rewards)}
            yield Part(f"episode {entry.number}", entry.number, taken, task, unread=unread)


def _named(leaves: Columns) -> Columns:
    if len(leaves) == 1:
        return {"observations": next(iter(leaves.values()))}
    return {f"observations/{key.removeprefix(OBSERVATION)}": leaf for key, leaf in leaves.items()}


def _terminals(flags: Columns, rewards: np.ndarray) -> np.ndarray:
    """`[T]` bool, by the rule at the top of this file."""
    if "dones" not in flags:
        return np.zeros(len(rewards), bool)
    if "timeouts" in flags:
        return flags["dones"] & ~flags["timeouts"]
    if "success" in flags:
        return flags["dones"] & flags["success"]
    return flags["dones"] & (rewards > 0) & (np.cumsum(rewards > 0) == 1)


def _restored(own: Own, number: int, taken: Columns, leaves: Columns, flags: Columns, task: str) -> Part:
    """What `write` was given."""
    for key, (name, shape) in own.leaves.items():
        whole = np.concatenate([leaves[key], own.final[key].astype(leaves[key].dtype).reshape(1, *leaves[key].shape[1:])])
        whole = whole.reshape(len(whole), *shape)
        label = f"/{name}" if name else ""
        taken |= {f"observations{label}": whole[:-1], f"next_observations{label}": whole[1:]}
    for key, (name, shape) in own.extras.items():
        taken[f"extras/{name}"] = taken.pop(f"extras/{key.removeprefix(EXTRA)}").reshape(-1, *shape)
    taken |= own.steps | {"terminals": flags["dones"], "truncated": flags["timeouts"]}
    if not own.success_known:
        taken.pop("success", None)
    return Part(f"episode {number}", own.number, taken, task, own.source, own.whole)


def _plain(column: np.ndarray) -> np.ndarray:
    """`[T]` of single numbers, which LeRobot declares as `[T, 1]`."""
    return column[:, 0] if column.shape[1:] == (1,) else column


def _flag(place: str, name: str, column: np.ndarray) -> np.ndarray:
    """`[T]` bool, of numbers that LeRobot's buffers store as floats."""
    check_flags(place, name, column)
    return column.ravel().astype(bool)

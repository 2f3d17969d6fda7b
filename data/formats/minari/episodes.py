"""What an episode of a Minari dataset is, whichever files it lies in: to and from this project's columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from ...episode import Episode
from ...errors import WarmloopError
from ...transition import Source
from ..recordings import wholes
from ..recordings.flat import SUCCESS_FLAGS, Part
from ..recordings.recording import RECORDED_FIELDS, Columns
from ..writing.writable import check_names, observations_of

OWN, EXTRAS = "warmloop", "extras"  # groups in `infos`; the first is also the prefix of an episode's own metadata
OWN_FIELDS = tuple(name for name in RECORDED_FIELDS if name not in ("truncated", "intervened"))  # Minari has keys for these two
SCALARS = ("rewards", "terminations", "truncations")
LONGEST = 60_000  # bytes that an attribute in HDF5 may have, with some to spare
FLAGS = (*SUCCESS_FLAGS, "is_intervention")
CHOICES = (gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)


def leaves(space: gym.Space, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], gym.Space]]:
    """The spaces in a Dict, and in the Dicts in it, each with the keys that lead to it."""
    if isinstance(space, gym.spaces.Dict):
        for name, child in space.spaces.items():
            yield from leaves(child, (*path, str(name)))
    else:
        yield path, space


@dataclasses.dataclass(frozen=True)
class Kept:
    """What is read of a dataset's observations, by the keys that lead to it: `boxes`, and `choices`, which become numbers; `unread` names
    the leaves of other kinds."""

    boxes: Mapping[tuple[str, ...], gym.Space]
    choices: Mapping[tuple[str, ...], gym.Space]
    unread: tuple[str, ...]

    @classmethod
    def of(cls, space: gym.Space) -> Kept:
        """What is read of observations of a space."""
        found = dict(leaves(space))
        boxes = {path: leaf for path, leaf in found.items() if isinstance(leaf, gym.spaces.Box)}
        choices = {path: leaf for path, leaf in found.items() if path and isinstance(leaf, CHOICES)}
        unread = [path for path in found if path not in boxes and path not in choices]
        return cls(boxes, choices, tuple("/".join(("observations", *path)) for path in unread))


def check_count(origin: str, count: int, more: bool) -> None:
    """Raises WarmloopError where a dataset holds an episode `more` than its metadata `count`, which would be lost without a word."""
    if more and count > 0:
        raise WarmloopError(
            f"{origin}: its metadata.json counts {count} episodes, and it holds more; set `total_episodes`, or download or record it again."
        )


def is_jpeg(storage: Any, space: gym.Space) -> bool:
    """Whether Minari stores arrays of this space as JPEG."""
    from minari.dataset.minari_storage import is_image_space

    return storage.jpeg_encoding and is_image_space(space)


def to_part(
    origin: str,
    index: int,
    arrays: Columns,
    observations: Mapping[tuple[str, ...], np.ndarray],
    infos: Columns,
    own: Mapping[str, Any],
    kept: Kept,
) -> Part | None:
    """An episode as the readers hand it on; None where it has no steps.

    Args:
        origin: the dataset, as errors name it.
        index: the episode's place in it.
        arrays: `actions` and `SCALARS`.
        observations: T + 1 rows of each leaf, by the keys that lead to it.
        infos: `FLAGS`, `extras/NAME` and `warmloop/NAME`, as far as there are any, with T or T + 1 rows.
        own: what `episode_metadata` wrote of it, without the prefix.
        kept: what is read of observations.

    Raises:
        WarmloopError: it has not one observation more than steps, or what this project wrote of it is damaged.
    """
    count = len(np.atleast_1d(arrays["actions"]))
    if count == 0:
        return None
    columns: Columns = {"actions": arrays["actions"], "rewards": arrays["rewards"], "terminals": arrays["terminations"]}
    for path, leaf in observations.items():
        name = "/".join(("observations", ".".join(path))) if path else "observations"
        if not leaf.ndim or len(leaf) != count + 1:
            found = len(leaf) if leaf.ndim else "no"
            raise WarmloopError(f"{origin}, episode {index}: `{name}` has {found} rows; one more than the {count} steps is needed.")
        leaf = leaf.reshape(len(leaf), -1) if path in kept.choices else leaf
        columns |= {name: leaf[:-1], f"next_{name}": leaf[1:]}
    flag = next((name for name in SUCCESS_FLAGS if name in infos), None)
    if flag:
        columns["success"] = infos[flag][-count:]
    columns["intervened"] = infos["is_intervention"][-count:] if "is_intervention" in infos else np.zeros(count, bool)
    columns |= {name: values[-count:] for name, values in infos.items() if name.startswith(f"{EXTRAS}/")}
    part = Part(f"episode {index}", index, columns, unread=kept.unread, optional=tuple(".".join(path) for path in kept.choices))
    if "source" not in own:
        return part
    columns |= {name: infos[f"{OWN}/{name}"][-count:] for name in OWN_FIELDS if f"{OWN}/{name}" in infos}
    columns["truncated"] = arrays["truncations"]
    try:
        number, source, task = int(own.get("number", index)), Source(int(own["source"])), bytes(own.get("task", b"")).decode()
        whole = wholes.from_text(bytes(own.get("whole", b"")).decode(), count)
    except (ValueError, TypeError) as error:
        raise WarmloopError(f"{origin}, episode {index}: its metadata `{OWN}/...` are damaged ({error}); write it again.") from None
    return Part(f"episode {index}", number, columns, task, source, whole)


def buffer(origin: str, episode: Episode) -> dict[str, Any]:
    """What an EpisodeBuffer takes, infos padded by an entry for the reset, as Minari has them.

    Raises:
        WarmloopError: its next observations are not the next row's observations, or a name has a slash.
    """
    steps = episode.steps
    check_names(origin, episode, "Minari")
    observation, following = observations_of(origin, episode, "Minari")
    whole = {name: np.concatenate([leaf, following[f"next_{name}"][-1:]]) for name, leaf in observation.items()}
    infos: dict[str, Any] = {"is_intervention": steps.intervened, OWN: {name: getattr(steps, name) for name in OWN_FIELDS}}
    if episode.success is not None:
        infos["success"] = episode.success
    if episode.extras:
        infos[EXTRAS] = dict(episode.extras)
    return {
        "observations": whole["observations"] if "observations" in whole else {name.split("/", 1)[1]: x for name, x in whole.items()},
        "actions": steps.action,
        "rewards": steps.reward,
        "terminations": steps.mask == 0,
        "truncations": steps.truncated,
        "infos": _padded(infos),
    }


def episode_metadata(episode: Episode) -> dict[str, Any]:
    """What Minari keeps of an episode as a whole: its number, its kind, its task where it has one, and what a piece was cut out of."""
    described: dict[str, Any] = {"number": episode.number, "source": int(episode.source)}
    if episode.task:
        described["task"] = np.bytes_(episode.task.encode())  # of fixed length, which HDF5 reads safely
    if episode.whole:
        described["whole"] = np.bytes_(wholes.as_text(episode.whole))
        if len(described["whole"]) > LONGEST:
            raise wholes.refuse(episode, "Minari")
    return {f"{OWN}/{name}": value for name, value in described.items()}


def _padded(infos: dict[str, Any]) -> dict[str, Any]:
    """Every array with a row of zeros before its first, for the reset."""
    return {
        name: _padded(values) if isinstance(values, dict) else np.concatenate([np.zeros_like(values[:1]), values])
        for name, values in infos.items()
    }

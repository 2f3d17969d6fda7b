"""One episode of a Minari dataset: out of HDF5, out of Arrow, and into the buffer that Minari writes. See minari.py for what is in one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from ..episode import Episode
from ..errors import WarmloopError
from ..transition import Source
from . import global_heap, images
from .flat import SUCCESS_FLAGS, Part
from .hdf5 import group, opened, read_arrays
from .recording import RECORDED_FIELDS, Columns, breaks, named

if TYPE_CHECKING:
    import h5py

MAIN = "main_data.hdf5"
OWN, EXTRAS = "warmloop", "extras"  # groups in `infos`; the first is also the prefix of an episode's own metadata
OWN_FIELDS = tuple(name for name in RECORDED_FIELDS if name not in ("truncated", "intervened"))  # Minari has keys for these two
SCALARS = ("rewards", "terminations", "truncations")


def leaves(space: gym.Space, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], gym.Space]]:
    """The spaces in a Dict, and in the Dicts in it, each with the keys that lead to it."""
    if isinstance(space, gym.spaces.Dict):
        for name, child in space.spaces.items():
            yield from leaves(child, (*path, str(name)))
    else:
        yield path, space


def from_hdf5(origin: str, storage: Any) -> Iterator[Part]:
    """The episodes that have steps, one at a time, straight out of `main_data.hdf5`; infos that are not needed are not read."""
    with opened(str(storage.data_path / MAIN)) as file:
        if storage.jpeg_encoding and any(_is_jpeg(space) for _, space in leaves(storage.observation_space)):
            global_heap.check(origin, file)
        for index in range(storage.total_episodes):
            episode = group(origin, file, f"episode_{index}")
            place = f"episode {index}"
            arrays = read_arrays(origin, place, episode, ("actions", *SCALARS), ("actions", *SCALARS))
            observations = {}
            for path, space in leaves(storage.observation_space):
                jpeg = space.shape if storage.jpeg_encoding and _is_jpeg(space) else None
                observations[path] = _leaf(origin, place, episode, ("observations", *path), jpeg)
            own = {name.removeprefix(f"{OWN}/"): value for name, value in episode.attrs.items() if name.startswith(f"{OWN}/")}
            if len(np.atleast_1d(arrays["rewards"])):
                yield _part(origin, index, arrays, observations, _infos(origin, place, episode), own)


def from_storage(origin: str, storage: Any) -> Iterator[Part]:
    """The episodes that have steps, one at a time, as Minari itself reads those of Arrow or Parquet files."""
    for index in range(storage.total_episodes):
        try:
            (recorded,) = storage.get_episodes([index])
            (described,) = storage.get_episode_metadata([index])
            steps = int(described["total_steps"])
            infos = dict(_flat(recorded["infos"] or {}))
            observations = {path: _descend(recorded["observations"], path) for path, _ in leaves(storage.observation_space)}
            arrays = {name: np.asarray(recorded[name]) for name in ("actions", *SCALARS)}
        except Exception as error:  # pyarrow, Minari and json raise a dozen kinds for damaged data
            reason = str(error).strip("'\"\n").splitlines() or [type(error).__name__]
            raise WarmloopError(f"{origin}, episode {index}: it cannot be read ({reason[0]}); download or record the dataset again.") from error
        if len(arrays["rewards"]) != steps:
            raise WarmloopError(f"{origin}, episode {index}: `rewards` has {len(arrays['rewards'])} rows, and its metadata.json says {steps}.")
        if steps:
            yield _part(origin, index, arrays, observations, infos, {})


def buffer(origin: str, episode: Episode) -> dict[str, Any]:
    """What an EpisodeBuffer takes, infos padded by an entry for the reset, as Minari has them.

    Raises:
        WarmloopError: its next observations are not the next row's observations.
    """
    steps = episode.steps
    observation, following = named("observations", steps.observation), named("next_observations", steps.next_observation)
    if breaks({"actions": steps.action} | observation | following).any():
        raise WarmloopError(
            f"{origin}: episode {episode.number} of {episode.origin} has next observations that are not the next row's observations, "
            "which Minari cannot hold; write .npz."
        )
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
    """What Minari keeps of an episode as a whole: its number, its kind, its task where it has one."""
    described = {"number": episode.number, "source": int(episode.source)}
    if episode.task:
        described["task"] = np.bytes_(episode.task.encode())  # of fixed length, which HDF5 reads safely
    return {f"{OWN}/{name}": value for name, value in described.items()}


def _part(origin: str, index: int, arrays: Columns, observations: dict[Any, np.ndarray], infos: Columns, own: dict[str, Any]) -> Part:
    count = len(arrays["rewards"])
    columns: Columns = {"actions": arrays["actions"], "rewards": arrays["rewards"], "terminals": arrays["terminations"]}
    for path, leaf in observations.items():
        name = "/".join(("observations", ".".join(path))) if path else "observations"
        if not leaf.ndim or len(leaf) != count + 1:
            found = len(leaf) if leaf.ndim else "no"
            raise WarmloopError(f"{origin}, episode {index}: `{name}` has {found} rows; one more than the {count} steps is needed.")
        columns |= {name: leaf[:-1], f"next_{name}": leaf[1:]}
    flag = next((name for name in SUCCESS_FLAGS if name in infos), None)
    if flag:
        columns["success"] = infos[flag][-count:]
    columns["intervened"] = infos["is_intervention"][-count:] if "is_intervention" in infos else np.zeros(count, bool)
    columns |= {name: values[-count:] for name, values in infos.items() if name.startswith(f"{EXTRAS}/")}
    if "source" not in own:
        return Part(f"episode {index}", index, columns)
    columns |= {name: infos[f"{OWN}/{name}"][-count:] for name in OWN_FIELDS if f"{OWN}/{name}" in infos}
    columns["truncated"] = arrays["truncations"]
    try:
        number, source, task = int(own.get("number", index)), Source(int(own["source"])), bytes(own.get("task", b"")).decode()
    except (ValueError, TypeError) as error:
        raise WarmloopError(f"{origin}, episode {index}: its metadata `{OWN}/...` are damaged ({error}); write it again.") from None
    return Part(f"episode {index}", number, columns, task, source)


def _infos(origin: str, place: str, episode: h5py.Group) -> Columns:
    if "infos" not in episode:
        return {}
    infos = group(origin, episode, "infos")
    flags = read_arrays(origin, f"{place}, infos", infos, (*SUCCESS_FLAGS, "is_intervention"))
    for name in (OWN, EXTRAS):
        if name in infos:
            inner = group(origin, infos, name)
            flags |= {f"{name}/{key}": value for key, value in read_arrays(origin, f"{place}, infos/{name}", inner, list(inner)).items()}
    return flags


def _leaf(origin: str, place: str, node: h5py.Group, path: tuple[str, ...], jpeg: tuple[int, ...] | None) -> np.ndarray:
    """The array at `path` below an episode's group; `jpeg` is the shape of its pictures, where it is made of those."""
    for name in path[:-1]:
        node = group(f"{origin}, {place}", node, name)
    where = ", ".join((place, "/".join(path[:-1]))) if path[:-1] else place
    if jpeg is None or not hasattr(node.get(path[-1]), "dtype"):
        return read_arrays(origin, where, node, [path[-1]], [path[-1]])[path[-1]]
    frames = [np.asarray(frame, np.uint8).tobytes() for frame in node[path[-1]]]  # pyright: ignore[reportGeneralTypeIssues]
    return images.decode(f"{origin}, {where}", path[-1], frames, (*jpeg, 1)[:3]).reshape(-1, *jpeg)


def _is_jpeg(space: gym.Space) -> bool:
    from minari.dataset.minari_storage import is_image_space

    return is_image_space(space)


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, np.asarray(value)


def _descend(tree: Any, path: tuple[str, ...]) -> np.ndarray:
    for name in path:
        tree = tree[name]
    return np.asarray(tree)


def _padded(infos: dict[str, Any]) -> dict[str, Any]:
    """Every array with a row of zeros before its first, for the reset."""
    return {
        name: _padded(values) if isinstance(values, dict) else np.concatenate([np.zeros_like(values[:1]), values])
        for name, values in infos.items()
    }

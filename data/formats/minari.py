"""Minari datasets, by ID (`minari:D4RL/door/human-v2`, under MINARI_DATASETS_PATH or Minari's default root) or by directory.

Nothing is downloaded. Read: observations (a Box or a flat Dict of them), actions, rewards, terminations; of `infos` the success
flag `success`, `is_success`, `succeed` or `goal_achieved`, and `is_intervention`. A dataset's infos may have an entry for the reset
or not: the last T count.

Written: the same, images uncompressed (Minari's default is JPEG, which alters them). Minari stores T + 1 observations, so an
episode whose next observations do not lead from row to row cannot be written. Quality, source, numbers and returns have no key there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from ..disk import sync_directory
from ..episode import Episode
from ..errors import WarmloopError
from ..transition import Leaf, Spec
from .files import did_you_mean
from .flat import SUCCESS_FLAGS
from .recording import Columns, Recording, breaks, named, tidy

SCHEME = "minari:"
NAME = re.compile(r"[\w-]+-v\d+")


def matches(path: str) -> bool:
    """Whether `path` is `minari:ID`, a directory that holds a Minari dataset, or a name that a new one may have (`.../NAME-v0`)."""
    directory = Path(path)
    if directory.is_dir():
        return any((directory / place).is_file() for place in ("data/metadata.json", "metadata.json"))
    return names(path)


def names(path: str) -> bool:
    """Whether `path` is a name to write to: `minari:ID`, or that of a directory."""
    return path.startswith(SCHEME) or NAME.fullmatch(Path(path).name) is not None


def read(origin: str) -> Iterator[Recording]:
    """The rows of the dataset `origin`.

    Raises:
        WarmloopError: it is not on this machine, is damaged, or has spaces that no agent takes.
    """
    from minari import MinariDataset

    try:
        dataset = MinariDataset(data_directory(origin))
        _check_spaces(origin, dataset)
        parts = [_episode_columns(episode) for episode in dataset.iterate_episodes() if len(episode)]
    except WarmloopError:
        raise
    except Exception as error:  # h5py, Minari and json raise a dozen kinds for damaged data
        raise WarmloopError(f"{origin} is not a readable Minari dataset ({error}); download or record it again.") from error
    if not parts:
        raise WarmloopError(f"{origin} holds no transitions.")
    known = np.array(["success" in part for part in parts])
    lengths = np.array([len(part["actions"]) for part in parts])
    flags = ("success", "intervened")
    shared = [name for name in parts[0] if name not in flags] + [name for name in flags if any(name in part for part in parts)]
    filled = [{name: np.zeros(len(part["actions"]), bool) for name in flags} | part for part in parts]
    columns = tidy(origin, {name: np.concatenate([part[name] for part in filled]) for name in shared})
    yield Recording(origin, columns, np.cumsum(lengths) - lengths, success_known=known if known.any() else None)


def write(origin: str, episodes: list[Episode], metadata: dict[str, Any]) -> None:
    """Writes a new dataset, whole or not at all.

    Raises:
        WarmloopError: it exists, its name is no Minari ID, or an episode's observations do not lead from row to row.
    """
    import minari
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.dataset.minari_storage import MinariStorage

    directory = _directory(origin)
    name = origin.removeprefix(SCHEME) if origin.startswith(SCHEME) else directory.name
    try:
        parse_dataset_id(name)
    except (ValueError, TypeError):  # a missing version is a TypeError of Minari's
        raise WarmloopError(f"{origin}: {name} is no Minari ID; write (NAMESPACE/)NAME-vNUMBER, such as door/human-v0.") from None
    if directory.exists():
        raise WarmloopError(f"{directory} exists; choose another name or version, or remove it.")
    buffers = [EpisodeBuffer(id=index, **_buffer(origin, episode)) for index, episode in enumerate(episodes)]
    spec = Spec.of(episodes[0].steps)
    partial = directory.absolute().with_name(f".{directory.name}.{os.getpid()}.part")  # Minari looks for a relative path within itself
    try:
        (partial / "data").mkdir(parents=True)
        actions = gym.spaces.Box(-1.0, 1.0, (spec.action_dim,), np.float32)
        storage = MinariStorage.new(partial / "data", _observation_space(spec), actions, jpeg_encoding=False)
        described = {"dataset_id": name, "minari_version": minari.__version__, "description": json.dumps(metadata)}
        storage.update_metadata(described)
        storage.update_episodes(buffers)
        os.replace(partial, directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    sync_directory(directory.parent)


def _root() -> Path:
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")


def _directory(origin: str) -> Path:
    return _root() / origin.removeprefix(SCHEME) if origin.startswith(SCHEME) else Path(origin)


def data_directory(origin: str) -> Path:
    """The folder that holds the dataset's metadata.json."""
    directory = _directory(origin)
    for candidate in (directory / "data", directory):
        if (candidate / "metadata.json").is_file():
            return candidate
    if not origin.startswith(SCHEME):
        raise WarmloopError(f"{directory} holds no Minari dataset (no data/metadata.json).")
    wanted = origin.removeprefix(SCHEME)
    here = [str(found.parent.parent.relative_to(_root())) for found in _root().glob("**/data/metadata.json")]
    raise WarmloopError(
        f"There is no Minari dataset {wanted} under {_root()}; fetch it with `minari download {wanted}`{did_you_mean(wanted, here)}"
    )


def _check_spaces(origin: str, dataset: Any) -> None:
    try:
        Spec.from_spaces(dataset.observation_space, dataset.action_space)
    except WarmloopError as error:
        raise WarmloopError(f"{origin}: {error}") from None


def _episode_columns(episode: Any) -> Columns:
    count = len(episode.rewards)
    columns: Columns = {"actions": episode.actions, "rewards": episode.rewards, "terminals": episode.terminations}
    for name, leaf in named("observations", episode.observations).items():
        if len(leaf) != count + 1:
            raise ValueError(f"episode {episode.id} has {count} steps and {len(leaf)} observations")
        columns |= {name: leaf[:-1], f"next_{name}": leaf[1:]}
    infos = episode.infos or {}
    flag = next((name for name in SUCCESS_FLAGS if name in infos), None)
    if flag:
        columns["success"] = np.asarray(infos[flag])[-count:]
    if "is_intervention" in infos:
        columns["intervened"] = np.asarray(infos["is_intervention"])[-count:]
    return columns


def _observation_space(spec: Spec) -> gym.Space:
    def box(leaf: Leaf) -> gym.Space:
        low, high = (0, 255) if leaf.dtype == "uint8" else (-np.inf, np.inf)
        return gym.spaces.Box(low, high, leaf.shape, np.dtype(leaf.dtype).type)

    parts = {leaf.name: box(leaf) for leaf in spec.observation}
    return parts[""] if set(parts) == {""} else gym.spaces.Dict(parts)


def _buffer(origin: str, episode: Episode) -> dict[str, Any]:
    """What an EpisodeBuffer takes, infos padded by an entry for the reset, as Minari has them."""
    steps = episode.steps
    leaves, following = named("observations", steps.observation), named("next_observations", steps.next_observation)
    if breaks({"actions": steps.action} | leaves | following).any():
        raise WarmloopError(
            f"{origin}: episode {episode.number} of {episode.origin} has next observations that are not the next row's observations, "
            "which Minari cannot hold; write .npz."
        )
    whole = {name: np.concatenate([leaf, following[f"next_{name}"][-1:]]) for name, leaf in leaves.items()}
    infos = {"is_intervention": np.append(False, steps.intervened)}
    if episode.success is not None:
        infos["success"] = np.append(False, episode.success)
    return {
        "observations": whole["observations"] if "observations" in whole else {name.split("/", 1)[1]: x for name, x in whole.items()},
        "actions": steps.action,
        "rewards": steps.reward,
        "terminations": steps.mask == 0,
        "truncations": steps.truncated,
        "infos": infos,
    }

"""Minari datasets, by ID (`minari:D4RL/door/human-v2`, under MINARI_DATASETS_PATH or Minari's default root) or by directory.

Nothing is downloaded. Read, from HDF5 and (with pyarrow) from Arrow files: observations (a Box or a Dict of them; a leaf of a Dict in a
Dict is named `robot.joints`; a choice, as of Discrete, is its number, and left out unless it is asked for by name; texts and other leaves
are told as not read), actions, rewards, terminations; of `infos` the success flag `success`, `is_success`, `succeed` or `goal_achieved`,
and `is_intervention`. A dataset's infos may have an entry for the reset or not: the last T count.

Written, in HDF5: the same, images uncompressed (Minari's default is JPEG, which alters them), `success` only in episodes where it is known,
the `truncations`, and beyond what Minari itself has: in `infos/extras` what else was recorded of each step, in `infos/warmloop` `quality`,
`source`, `mc_return`, `policy_version` and `step`, and in an episode's metadata `warmloop/number`, `warmloop/source` and `warmloop/task`.
Reading that back gives every field. Minari stores T + 1 observations, so an episode whose next observations do not lead from row to row
cannot be written.
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

from ...episode import Episode
from ...errors import WarmloopError
from ...files.disk import check_room, sync_directory
from ...settings.near_names import did_you_mean
from ...transition import Leaf, Spec
from ..recordings.flat import Attempt, join
from ..recordings.options import PLAIN, ReadOptions
from ..recordings.recording import Recording
from . import arrow, main_data
from .episodes import Kept, buffer, episode_metadata

SCHEME = "minari:"
EACH_EPISODE = 1 << 16  # bytes that HDF5 takes for an episode beside its arrays
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


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows of the dataset `origin`, in pieces.

    Raises:
        WarmloopError: it is not on this machine, is damaged, or has spaces that no agent takes.
    """
    yield from join(origin, _attempts(origin), options)


def _attempts(origin: str) -> Iterator[Attempt]:
    storage = _storage(origin, data_directory(origin))
    try:
        kept = Kept.of(storage.observation_space)
        flat = gym.spaces.Dict({".".join(path): space for path, space in kept.boxes.items()})
        observation = flat if kept.boxes and isinstance(storage.observation_space, gym.spaces.Dict) else storage.observation_space
        Spec.from_spaces(observation, storage.action_space)
    except WarmloopError as error:
        raise WarmloopError(f"{origin}: {error}") from None
    yield from (main_data if storage.FORMAT == "hdf5" else arrow).attempts(origin, storage, kept)


def _storage(origin: str, directory: Path) -> Any:
    """Minari's own access to the files in `directory`."""
    from minari import MinariDataset
    from minari.dataset.minari_storage import MinariStorage

    try:
        described = MinariStorage.read_raw_metadata(directory)
        if not {"observation_space", "action_space"} <= described.keys():  # Minari would make the environment that the file names
            raise WarmloopError(f"{origin}: its metadata.json does not say its spaces; write the dataset again with Minari 0.5.")
        return MinariDataset(MinariStorage.read(directory)).storage
    except ImportError as error:
        raise WarmloopError(f"{origin} is stored as Arrow files, which need pyarrow; install it with pip install pyarrow.") from error
    except WarmloopError:
        raise
    except Exception as error:  # Minari, Gymnasium and json raise a dozen kinds for damaged data
        raise WarmloopError(f"{origin} is not a readable Minari dataset ({error}); download or record it again.") from error


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
    buffers = [EpisodeBuffer(id=index, **buffer(origin, episode)) for index, episode in enumerate(episodes)]
    spec = Spec.of(episodes[0].steps)
    partial = directory.absolute().with_name(f".{directory.name}.{os.getpid()}.part")  # Minari looks for a relative path within itself
    try:
        (partial / "data").mkdir(parents=True)
        check_room(partial, sum(episode.nbytes + EACH_EPISODE for episode in episodes))
        actions = gym.spaces.Box(-1.0, 1.0, (spec.action_dim,), np.float32)
        storage = MinariStorage.new(partial / "data", _observation_space(spec), actions, jpeg_encoding=False)
        described = {"dataset_id": name, "minari_version": minari.__version__, "description": json.dumps(metadata)}
        storage.update_metadata(described)
        storage.update_episodes(buffers)
        storage.update_episode_metadata([episode_metadata(episode) for episode in episodes])
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
        f"There is no Minari dataset {wanted} under {_root()}; fetch it with `minari download {wanted}`"
        f"{did_you_mean(wanted, here, one=True)}"
    )


def _observation_space(spec: Spec) -> gym.Space:
    def box(leaf: Leaf) -> gym.Space:
        low, high = (0, 255) if leaf.dtype == "uint8" else (-np.inf, np.inf)
        return gym.spaces.Box(low, high, leaf.shape, np.dtype(leaf.dtype).type)

    parts = {leaf.name: box(leaf) for leaf in spec.observation}
    return parts[""] if set(parts) == {""} else gym.spaces.Dict(parts)

"""RLDS data sets as TFDS puts them on disk: the directory `NAME/VERSION`, with `features.json`, `dataset_info.json` and TFRecord files.

`DIRECTORY` reads all splits, `DIRECTORY::train` one of them, and one TFRecord file with `features.json` beside it that file alone. A
record is one episode: a tf.train.Example with each feature of all steps end to end.

RLDS says (Ramos et al. 2021, and its README): a step is an observation, the action taken there, and the reward and discount for it. The
last step (`is_last`) only holds the final observation; its action, reward and discount mean nothing. The episode has terminated where that
step is `is_terminal`, and was truncated otherwise. So L steps are L - 1 transitions, the last of which leads to the final observation,
and a single step is none.

- This holds to the letter. Some robot data sets put a last action, and the reward for success, into the last step; by RLDS's definition
  they are not part of the episode, and are left out. A recording that was cut has no `is_last`: its last step leads to nothing.
- `steps/observation`: an array, or a dict of them; a leaf of a dict in a dict is named `robot.joints`. Images are decoded to uint8.
- `steps/action`: an array, or a dict of them, which are put side by side in alphabetical order, the order of the file. TFRecords store
  float64 as float32.
- The task is the first step's `language_instruction` (or `natural_language_instruction`), wherever it is: of the steps, of their
  observations, of the episode. Other texts are ignored.
- Success is the flag `success`, `is_success`, `succeed` or `goal_achieved` of the steps, where there is one.
- `discount`, which `is_terminal` says already, is ignored; the names of all else are told. Episodes are numbered in the order of the files.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import WarmloopError
from ...settings.near_names import did_you_mean
from ..hdf5.hdf5 import split
from ..recordings.flat import SUCCESS_FLAGS, Attempt, Part, join
from ..recordings.options import PLAIN, ReadOptions
from ..recordings.recording import Columns, Recording
from .features import STEPS, Feature, column, load, stored
from .tfrecord import parse, records

FEATURES, INFO = "features.json", "dataset_info.json"
TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
INSTRUCTIONS = ("language_instruction", "natural_language_instruction")
READ = ("action", "reward", "discount", "is_first", "is_last", "is_terminal")
Features = Mapping[str, Feature]


def matches(path: str) -> bool:
    """Whether `path`, without a split, is a directory with one of TFDS's descriptions, or named as a TFRecord file."""
    place = Path(split(path)[0])
    return any((place / name).is_file() for name in (FEATURES, INFO)) or (place.is_file() and ".tfrecord" in place.name)


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The transitions of the data set `origin`, in pieces.

    Raises:
        WarmloopError: a file is missing or damaged, there is no such split, or an episode lacks or contradicts itself in a key.
    """
    yield from join(origin, _attempts(origin), options)


def _attempts(origin: str) -> Iterator[Attempt]:
    path, chosen = split(origin)
    directory = Path(path) if Path(path).is_dir() else Path(path).parent
    if not (directory / FEATURES).is_file():
        raise WarmloopError(f"{path}: there is no {FEATURES} beside its records, which says what they hold; copy it from the data set.")
    features = load(directory / FEATURES)
    files = _files(directory, chosen) if Path(path).is_dir() else [(Path(path), None)]
    number = 0
    for file, promised in files:
        first = number
        for record in records(file):
            yield f"episode {number}", functools.partial(_part, f"{file}, episode {number}", number, features, record)
            number += 1
        if promised is not None and number - first != promised:
            raise WarmloopError(f"{file} holds {number - first} episodes and {INFO} counts {promised}; copy the data set again.")


def _files(directory: Path, chosen: str | None) -> Iterator[tuple[Path, int]]:
    """The files of the split `chosen` (None: of all), each with the number of its episodes."""
    try:
        info = json.loads((directory / INFO).read_bytes())
        kind, name = info.get("fileFormat", "tfrecord"), info["name"]
        splits = {part["name"]: part for part in info["splits"]}
        shards = {key: [int(count) for count in part.get("shardLengths", ())] for key, part in splits.items()}
        templates = {key: part.get("filepathTemplate") or TEMPLATE for key, part in splits.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise WarmloopError(f"{directory / INFO} is missing, or says nothing of the splits; copy the data set again.") from None
    if kind != "tfrecord":
        raise WarmloopError(f"{directory} stores its episodes as {kind}; prepare the data set with TFDS's file format tfrecord.")
    if chosen is not None and chosen not in splits:
        listed = ", ".join(splits) or "none"
        raise WarmloopError(f"{directory} has no split {chosen}; its splits are {listed}{did_you_mean(chosen, splits, one=True)}")
    for key in splits if chosen is None else [chosen]:
        for index, count in enumerate(shards[key]):
            words = {"DATASET": name, "SPLIT": key, "FILEFORMAT": kind, "SHARD_X_OF_Y": f"{index:05d}-of-{len(shards[key]):05d}"}
            file = templates[key]
            for word, value in words.items():
                file = file.replace(f"{{{word}}}", value)
            if "/" in file or not (directory / file).is_file():
                raise WarmloopError(f"{directory / file} does not exist, and {INFO} names it; copy it too, or read files one by one.")
            yield directory / file, count


def _part(place: str, number: int, features: Features, record: bytes) -> Part | None:
    """The transitions of one episode; None where it is a single step."""
    example = parse(place, record)
    terminal, steps = _ends(place, features, example)
    if steps == 1:
        return None
    columns: Columns = {"terminals": np.append(np.zeros(steps - 2, bool), terminal)}
    for name, values in _observations(place, features, example, steps):
        columns |= {f"observations{name}": values[:-1], f"next_observations{name}": values[1:]}
    columns["actions"] = _action(place, features, example, steps)[:-1]
    columns["rewards"] = column(place, _required(place, features, "reward"), example, steps)[:-1]
    flag = next((key for key in (f"{STEPS}/{name}" for name in SUCCESS_FLAGS) if key in features), None)
    if flag is not None:
        columns["success"] = column(place, features[flag], example, steps)[:-1]
    unread = tuple(key for key, feature in features.items() if key != flag and not _is_read(key, feature))
    return Part(f"episode {number}", number, columns, _task(place, features, example), unread=unread)


def _is_read(key: str, feature: Feature) -> bool:
    head, _, rest = key.partition("/")
    if key.rpartition("/")[2] in INSTRUCTIONS and feature.kind == "text":
        return True
    kind = rest.split("/")[0]
    return head == STEPS and (kind in READ or (kind == "observation" and feature.kind != "text"))


def _ends(place: str, features: Features, example: Mapping[str, Any]) -> tuple[bool, int]:
    """Whether the episode terminated, and how many steps it has."""
    last = _required(place, features, "is_last")
    steps = len(stored(place, last, example))
    if steps == 0:
        raise WarmloopError(f"{place}: it has no steps (`{last.key}` is empty); remove the episode or record it again.")
    flags = {}
    for name, elsewhere in (("is_first", slice(1, None)), ("is_last", slice(None, -1)), ("is_terminal", slice(None, -1))):
        feature = features.get(f"{STEPS}/{name}")
        if feature is not None:
            flags[name] = np.reshape(column(place, feature, example, steps) != 0, (steps, -1)).any(axis=1)
            if flags[name][elsewhere].any():
                step = int(np.flatnonzero(flags[name][elsewhere])[0]) + (elsewhere.start or 0)
                raise WarmloopError(f"{place}: `{feature.key}` is set at step {step} of {steps}; a record needs to be one episode.")
    return bool(flags["is_terminal"][-1]) if "is_terminal" in flags else False, steps


def _observations(place: str, features: Features, example: Mapping[str, Any], steps: int) -> Iterator[tuple[str, np.ndarray]]:
    """Column names after `observations`, with the observations of all steps."""
    root = f"{STEPS}/observation"
    below = [feature for key, feature in features.items() if key.split("/")[:2] == root.split("/") and feature.kind != "text"]
    if not below:
        _required(place, features, "observation")
    for feature in below:
        leaf = feature.key.removeprefix(root).strip("/").replace("/", ".")
        yield f"/{leaf}" if leaf else "", column(place, feature, example, steps)


def _action(place: str, features: Features, example: Mapping[str, Any], steps: int) -> np.ndarray:
    """`[steps, A]`: the action's arrays side by side."""
    root = f"{STEPS}/action"
    parts = {key: column(place, feature, example, steps) for key, feature in features.items() if f"{key}/".startswith(f"{root}/")}
    if not parts:
        _required(place, features, "action")
    if all(part.dtype.kind != "f" for part in parts.values()):
        dtype = next(iter(parts.values())).dtype
        raise WarmloopError(f"{place}: `{root}` holds {dtype} values: discrete actions, which no agent here takes.")
    return np.concatenate([part.reshape(steps, -1).astype(np.float32) for part in parts.values()], axis=1)


def _task(place: str, features: Features, example: Mapping[str, Any]) -> str:
    folders = (f"{STEPS}/", f"{STEPS}/observation/", "episode_metadata/", "")
    for key in (folder + name for name in INSTRUCTIONS for folder in folders):
        if key in features and features[key].kind == "text":
            texts = stored(place, features[key], example)
            return texts[0].decode("utf-8", "replace") if len(texts) else ""
    return ""


def _required(place: str, features: Features, name: str) -> Feature:
    key = f"{STEPS}/{name}"
    if key not in features:
        known = [feature.removeprefix(f"{STEPS}/") for feature in features if feature.startswith(f"{STEPS}/")]
        raise WarmloopError(f"{place}: a step has no `{name}`; it has {', '.join(known)}{did_you_mean(name, known, one=True)}")
    return features[key]

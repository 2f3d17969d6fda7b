"""What `features.json` of a TFDS data set says each episode holds, and the arrays of an episode by it."""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import WarmloopError
from ...files.whole_files import require_file
from ..recordings import images
from ..recordings.budget import require

STEPS = "steps"
TEXTS = ("string", "object", "str", "bytes")
STORED = {"float_list": "numbers with a fraction", "int64_list": "whole numbers", "bytes_list": "bytes", None: "nothing"}


@dataclasses.dataclass(frozen=True)
class Feature:
    """One array of an episode (or of each step, under `steps/`).

    Attributes:
        key: its name in the records, `steps/observation/image`.
        kind: "numbers", "image", "text", or what else it is.
        shape: of one step; -1 where it may be anything.
        dtype: as the data set's author declared it.
        encoding: "none", or "bytes" or "zlib" where each step's numbers are stored as their bytes.
    """

    key: str
    kind: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    encoding: str = "none"


def load(path: Path) -> dict[str, Feature]:
    """The features that the file `path` describes, by key in alphabetical order.

    Raises:
        WarmloopError: the file is missing, or no description of episodes of steps.
    """
    require_file(path)
    try:
        features = {feature.key: feature for feature in _leaves(json.loads(path.read_bytes()), "")}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise WarmloopError(f"{path} is no description of features as TFDS 4.5 and later write it; prepare the data set again.") from None
    if not any(key.startswith(f"{STEPS}/") for key in features):
        raise WarmloopError(f"{path} describes no `{STEPS}`, so the data set is not one of RLDS's episodes.")
    return dict(sorted(features.items()))


def column(place: str, feature: Feature, example: Mapping[str, Any], steps: int) -> np.ndarray:
    """An array of all steps of an episode, `[steps, ...]`, in its declared dtype.

    Raises:
        WarmloopError: it is absent, is no array, does not fit what is declared, or takes more memory than it may.
    """
    key, values = feature.key, stored(place, feature, example)
    if feature.kind == "numbers" and feature.encoding == "none":
        return _numbers(place, feature, values, steps)
    if len(values) != steps:
        raise WarmloopError(f"{place}: `{key}` has {len(values)} entries and the episode {steps} steps; each needs one.")
    if feature.kind == "image":
        return images.decode(place, key, values, feature.shape)
    size = _step_bytes(place, feature)
    require(place, f"`{key}`", size * steps, sum(value.ByteSize() for value in example.values()))
    return np.stack([_unpacked(place, feature, value, size) for value in values])


def stored(place: str, feature: Feature, example: Mapping[str, Any]) -> Any:
    """The values of a feature as the record has them. Raises WarmloopError where it is absent, or of another kind than declared."""
    value = example.get(feature.key)
    if feature.kind not in ("numbers", "image", "text") or (value is None and f"{feature.key}/shape" in example):
        kind = "an array whose shape varies" if feature.kind == "numbers" else f"a feature of the kind {feature.kind}"
        raise WarmloopError(f"{place}: `{feature.key}` is {kind}; numbers of one shape, images and texts are read.")
    if value is None:
        raise WarmloopError(f"{place}: there is no `{feature.key}`, which features.json promises; prepare the data set again.")
    found, wanted = value.WhichOneof("kind"), _wanted(place, feature)
    if found != wanted:
        raise WarmloopError(f"{place}: `{feature.key}` holds {STORED[found]}, and features.json promises {feature.dtype or feature.kind}.")
    return getattr(value, wanted).value


def _wanted(place: str, feature: Feature) -> str:
    if feature.kind != "numbers" or feature.encoding != "none":
        return "bytes_list"
    return "float_list" if _dtype(place, feature).kind == "f" else "int64_list"


def _dtype(place: str, feature: Feature) -> np.dtype:
    try:
        dtype = np.dtype(feature.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "biuf":
        raise WarmloopError(f"{place}: `{feature.key}` holds {feature.dtype} values; numbers are needed.")
    return dtype


def _numbers(place: str, feature: Feature, values: Any, steps: int) -> np.ndarray:
    dtype = _dtype(place, feature)
    array = np.fromiter(values, np.float32 if dtype.kind == "f" else np.int64, len(values))
    try:
        array = array.reshape(steps, *feature.shape)
    except ValueError:
        raise WarmloopError(
            f"{place}: `{feature.key}` has {len(array)} numbers; {steps} steps of shape {feature.shape} are needed."
        ) from None
    if dtype.kind in "iu" and dtype.itemsize < 8 and array.size:
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise WarmloopError(f"{place}: `{feature.key}` runs from {array.min()} to {array.max()}, which is no {dtype}.")
    return array.astype(dtype, copy=False)


def _step_bytes(place: str, feature: Feature) -> int:
    """Bytes of one step's numbers, as they are declared."""
    if min(feature.shape, default=0) < 0 or feature.encoding not in ("bytes", "zlib"):
        raise WarmloopError(f"{place}: `{feature.key}` has shape {feature.shape} and encoding {feature.encoding}, which is not read.")
    return math.prod(feature.shape) * _dtype(place, feature).itemsize


def _unpacked(place: str, feature: Feature, content: bytes, size: int) -> np.ndarray:
    """One step's numbers out of their bytes, of which there are `size`."""
    dtype = _dtype(place, feature)
    content = _inflated(place, feature, content, size) if feature.encoding == "zlib" else content
    if len(content) != size:
        raise WarmloopError(f"{place}: `{feature.key}` has a step of another size than the {size} bytes of {feature.shape} {dtype}.")
    return np.frombuffer(content, dtype.newbyteorder("<")).reshape(feature.shape)


def _inflated(place: str, feature: Feature, content: bytes, size: int) -> bytes:
    """What a stream of zlib holds, which is never inflated further than one byte beyond `size`."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(content, size + 1)
    except zlib.error:
        inflated = b""
    if len(inflated) > size:
        raise WarmloopError(
            f"{place}: `{feature.key}` has a step that unpacks to more than the {size} bytes that features.json promises; "
            "prepare the data set again."
        )
    if not stream.eof:
        raise WarmloopError(f"{place}: `{feature.key}` cannot be decompressed; the data set is damaged: copy it again.")
    return inflated


def _leaves(node: dict[str, Any], key: str) -> Iterator[Feature]:
    """The features below a node of the description. Only `steps` is a sequence of features; any other one is a leaf that is not read."""
    if "featuresDict" in node:
        for name, child in node["featuresDict"].get("features", {}).items():
            yield from _leaves(child, f"{key}/{name}" if key else name)
    elif "sequence" in node and key == STEPS:
        yield from _leaves(node["sequence"]["feature"], key)
    elif "image" in node:
        yield Feature(key, "image", _shape(node["image"]), node["image"].get("dtype", "uint8"))
    elif "text" in node:
        yield Feature(key, "text")
    elif "tensor" in node:
        described = node["tensor"]
        kind = "text" if described["dtype"] in TEXTS else "numbers"
        yield Feature(key, kind, _shape(described), described["dtype"], described.get("encoding", "none"))
    else:
        yield Feature(key, str(node["pythonClassName"]).rpartition(".")[2])


def _shape(described: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in described["shape"].get("dimensions", ()))

"""A pretrained ResNet-10 trunk from a file, in the layer names of HIL-SERL.

Three layouts are read, and told apart by the file's content:

- HIL-SERL's `resnet10_params.pkl`: dicts of arrays in a pickle, `conv_init`, `ResNetBlock_0`, … (serl_launcher/vision/resnet_v1.py).
  No code of the pickle is run.
- LeRobot's `helper2424/resnet10`, `model.safetensors`: the same layers in PyTorch's names and order of axes (resnet_10/modeling_resnet.py).
- safetensors with HIL-SERL's names, joined by slashes: `ResNetBlock_0/Conv_0/kernel`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import load_file

from ...data.errors import WarmloopError
from ...data.files.whole_files import GZIP, listed, require_file
from ...data.formats.pickles.pickled import ENDINGS, PACKED
from ...data.formats.pickles.safe_pickle import Record, load

WHERE = "agent.vision.weights"
PICKLES = (b"\x80", GZIP)  # the first bytes of a pickle of protocol 2 or newer, and of one that gzip packed
FROZEN_DICT = ("flax.core.frozen_dict", "FrozenDict")  # as older versions of Flax kept parameters
DEPTH = 4  # of dicts in dicts: a trunk has three
LEROBOT = re.compile(r"(embedder|encoder\.stages\.(?P<block>\d+))\.(?P<layer>\w+(?:\.\d)?)(?:\.conv|\.group_norm)?\.(?P<array>weight|bias)")
LAYERS = {
    "0": "conv_init", "1": "norm_init", "conv1": "Conv_0", "norm1": "MyGroupNorm_0", "conv2": "Conv_1", "norm2": "MyGroupNorm_1",
    "shortcut.0": "conv_proj", "shortcut.1": "norm_proj",
}  # fmt: skip
OF_A_TRUNK = ("conv_init/", "norm_init/", "ResNetBlock_", "embedder.", "encoder.")
log = logging.getLogger(__name__)


def read_trunk(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The arrays of a trunk, float32, by the names in `shapes`. Arrays that are no part of a trunk, such as a classifier's, are left out.

    Args:
        path: a file of one of the three layouts.
        shapes: of each array, by HIL-SERL's name, as Flax has them: a kernel is `[height, width, in, out]`.

    Raises:
        WarmloopError: the file cannot be read, lacks an array, has one of another shape, or holds a larger trunk.
    """
    held = _pickled(path) if _is_pickle(path) else _safetensors(path)
    found = {_hil_serl_name(name): (name, array) for name, array in held.items()}
    if missing := sorted(shapes.keys() - found.keys()):
        raise WarmloopError(f'{WHERE}: {path} has no array "{missing[0]}"; it has {", ".join(sorted(held)[:3])}, ….')
    others = sorted(found[name][0] for name in found.keys() - shapes.keys())
    if larger := [name for name in others if name.startswith(OF_A_TRUNK)]:
        raise WarmloopError(f'{WHERE}: {path} has "{larger[0]}", which ResNet-10 lacks; give the weights of a ResNet-10.')
    if others:
        log.info("%s: %s are no part of the trunk and are not used.", path, listed(others, 4))
    return {name: _checked(path, *found[name], shape) for name, shape in shapes.items()}


def _is_pickle(path: Path) -> bool:
    require_file(path)
    with open(path, "rb") as file:
        return file.read(2).startswith(PICKLES) or path.name.endswith((*ENDINGS, *PACKED))


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        return load_file(path)
    except (OSError, safetensors.SafetensorError, TypeError, KeyError) as error:  # the last two of a number type that NumPy lacks
        raise WarmloopError(
            f"{WHERE}: {path} cannot be read as safetensors ({error}); it must be HIL-SERL's resnet10_params.pkl, or a safetensors file of "
            "float32 or float16."
        ) from error


def _pickled(path: Path) -> dict[str, np.ndarray]:
    held = load(path, inert=(FROZEN_DICT,))
    if isinstance(held, Record) and len(held.arguments) == 1:
        held = held.arguments[0]
    if not isinstance(held, Mapping):
        raise WarmloopError(f"{WHERE}: {path} holds a {type(held).__name__}; HIL-SERL's resnet10_params.pkl holds a dict of layers.")
    return dict(_leaves(path, held))


def _leaves(path: Path, held: Mapping[Any, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays of dicts in dicts, by their keys joined with slashes."""
    for key, value in held.items():
        place = (*above, str(key))
        if isinstance(value, Mapping) and len(place) < DEPTH:
            yield from _leaves(path, value, place)
        elif isinstance(value, np.ndarray):
            yield "/".join(place), value
        else:
            raise WarmloopError(f'{WHERE}: "{"/".join(place)}" in {path} is a {type(value).__name__}, and an array is needed.')


def _hil_serl_name(name: str) -> str:
    """HIL-SERL's name of an array that LeRobot's model names; any other as it is. Versions differ in whether `group_norm` is in a name."""
    found = LEROBOT.fullmatch(name)
    if found is None or found["layer"] not in LAYERS:
        return name
    layer = LAYERS[found["layer"]]
    array = "bias" if found["array"] == "bias" else "kernel" if layer.lower().startswith("conv") else "scale"
    return "/".join((*(("ResNetBlock_" + found["block"],) if found["block"] else ()), layer, array))


def _checked(path: Path, name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An array as Flax has it: PyTorch's kernels are `[out, in, height, width]`."""
    if LEROBOT.fullmatch(name) and array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)
    if array.shape != shape:
        raise WarmloopError(f'{WHERE}: "{name}" in {path} is {list(array.shape)}; it must be {list(shape)}.')
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise WarmloopError(f'{WHERE}: "{name}" in {path} holds {array.dtype} values that are not all finite numbers; copy the file again.')
    return np.ascontiguousarray(array, np.float32)

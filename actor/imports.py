"""What `MODULE:CALLABLE` names: anything that Python can import, from the working directory too."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from ..data.errors import WarmloopError
from .matches import near_matches


def is_importable_name(text: str) -> bool:
    """Whether `text` has the form `MODULE:CALLABLE`, with dots on either side."""
    module, colon, path = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *path.split(".")))


def imported(name: str, said: str) -> Any:
    """What `name` stands for; `said` is how errors begin.

    Raises:
        WarmloopError: there is no such module or name, or importing it failed.
    """
    source_hash(name, said)
    module_name, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise WarmloopError(f"{said}: importing {module_name} failed: {told(error)}.") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise WarmloopError(f'{said}: there is no "{part}" in {module_name}{near_matches(part, vars(found))}')
        found = getattr(found, part)
    return found


def source_hash(name: str, said: str) -> str:
    """The sha256 of the file that `MODULE:CALLABLE` is imported from; "" where it has none. Raises WarmloopError for no such module."""
    module = name.partition(":")[0]
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # last, so that its folders hide no package
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise WarmloopError(f'{said}: there is no module "{module}" here or among the installed packages.')
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest() if spec.has_location and spec.origin else ""


def told(error: BaseException) -> str:
    """An exception in one phrase: its kind, what it says, and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"

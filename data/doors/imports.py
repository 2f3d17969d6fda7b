"""What users name by module: environments `MODULE:Id`, and `MODULE:NAME` for all that `door.py` lets in.

Modules are found among the installed packages, in the folder where the command was started, and beside the configuration file. These two
come last, so that a folder named `data` or a file `select.py` there hides nobody's module.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import WarmloopError
from ..settings.near_names import did_you_mean
from .borrowed import is_theirs, lent

FOLDERS = "import_folders"  # in a checkpoint's description
_FOLDERS: list[str] = []  # of the user's, that were made importable


def make_importable(folder: str | Path) -> None:
    """Lets modules in `folder` be imported, after those of all other folders."""
    place = os.path.abspath(folder)
    if place not in sys.path:
        sys.path.append(place)
    if place not in _FOLDERS:
        _FOLDERS.append(place)


def find_again(described: Mapping[str, Any]) -> None:
    """Makes the folders importable that a checkpoint or a saved configuration names, as far as they are there."""
    for folder in described.get(FOLDERS, ()):
        if Path(folder).is_dir():
            make_importable(folder)


def user_folders() -> list[str]:
    """The folders that were made importable."""
    return list(_FOLDERS)


def is_importable_name(text: str) -> bool:
    """Whether `text` has the form `MODULE:NAME`, with dots on either side."""
    module, colon, path = text.partition(":")
    return bool(colon) and is_module_name(module) and is_module_name(path)


def is_module_name(text: str) -> bool:
    """Whether `text` is a name as Python imports it: identifiers with dots between them."""
    return all(part.isidentifier() for part in text.split("."))


def imported_module(name: str, said: str) -> ModuleType:
    """The module `name`; `said` is how errors begin.

    Raises:
        WarmloopError: there is no such module, or importing it failed.
    """
    if not is_module_name(name):
        raise WarmloopError(f'{said}: "{name}" is no module\'s name; write it as Python imports it, as in my_lab.arm{_of_a_file(name)}.')
    make_importable(os.getcwd())
    try:
        with lent(f'The module "{name}"'):
            return importlib.import_module(name)
    except BaseException as error:
        if not is_theirs(error):
            raise
        raise _not_imported(name, said, error) from error


def _of_a_file(name: str) -> str:
    return "; a configuration is given by --config" if name.endswith(".py") else ""


def imported(name: str, said: str) -> Any:
    """What `MODULE:NAME` stands for; `said` is how errors begin.

    Raises:
        WarmloopError: there is no such module or name, or importing it failed.
    """
    module_name, _, path = name.partition(":")
    found: Any = imported_module(module_name, said)
    for part in path.split("."):
        if not hasattr(found, part):
            raise WarmloopError(f'{said}: there is no "{part}" in {module_name}{did_you_mean(part, vars(found))}')
        found = getattr(found, part)
    return found


def is_missing(name: str, error: BaseException | None) -> bool:
    """Whether importing the module `name` raised `error` because it, or a package around it, is not there."""
    return isinstance(error, ModuleNotFoundError) and bool(error.name) and f"{name}.".startswith(f"{error.name}.")


def source_hash(name: str, said: str) -> str:
    """The sha256 of the file that `MODULE:NAME` is imported from; "" where it has none. Imports no more than the packages around it.

    Raises:
        WarmloopError: there is no such module, or importing a package around it failed.
    """
    module = name.partition(":")[0]
    make_importable(os.getcwd())
    try:
        spec = importlib.util.find_spec(module)
    except (Exception, SystemExit) as error:
        raise _not_imported(module, said, error) from error
    if spec is None:
        raise _no_module(module, said)
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest() if spec.has_location and spec.origin else ""


def told(error: BaseException) -> str:
    """An exception in one phrase: its kind, what it says, and the line of a file that raised it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen ")]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


@contextlib.contextmanager
def as_sentence(said: str) -> Iterator[None]:
    """Around a call of users' code: what that raises is a WarmloopError, `said` and the exception in one phrase."""
    try:
        yield
    except WarmloopError:
        raise
    except BaseException as error:
        if not is_theirs(error):
            raise
        raise WarmloopError(f"{said}: {told(error)}.") from error


def _no_module(name: str, said: str) -> WarmloopError:
    near = did_you_mean(name, {path.stem for folder in _FOLDERS for path in Path(folder).glob("*.py")})
    return WarmloopError(f'{said}: there is no module "{name}" among the installed packages or in {" or ".join(_FOLDERS)}{near}')


def _not_imported(name: str, said: str, error: BaseException) -> WarmloopError:
    """What to say of a module that could not be imported: it is not there, or something in it failed."""
    if is_missing(name, error):
        return _no_module(name, said)
    return WarmloopError(f"{said}: importing {name} failed: {told(error)}.")

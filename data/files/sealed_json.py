"""JSON files of our own that carry the sha256 of all else in them.

The hash is the last entry, over the text with the hash left empty. A byte that changed anywhere is noticed, and so is an unknown key.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import WarmloopError
from .whole_files import replacing

SEAL = "sha256"

_SAID: set[str] = set()  # files of earlier versions that were told of

log = logging.getLogger("warmloop")


def seal(values: Mapping[str, Any], indent: int | None = 1) -> str:
    """The text of a sealed object, to its last line break; one line without `indent`. Raises TypeError for what JSON does not know."""
    return filled(json.dumps({**values, SEAL: ""}, indent=indent) + "\n")


def filled(text: str) -> str:
    """The text of an object whose last entry is an empty sha256, with the hash in it."""
    start, _, end = text.rpartition('""')
    return f'{start}"{_hash(text)}"{end}'


def unseal(text: str, where: str, advice: str, known: Collection[str] | None = None, must: bool = True) -> dict[str, Any]:
    """What `seal` was given.

    Args:
        where: the file, for errors.
        advice: what to do where the text is not what was written.
        known: the keys that there may be; None for any.
        must: it has a seal; else one that was written before there were seals is taken, and said so.

    Raises:
        WarmloopError: it is no JSON object, was changed since it was written, or has a key that is not known.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WarmloopError(f"{where} is damaged ({error}); {advice}.") from error
    if not isinstance(values, dict):
        raise WarmloopError(f"{where} is damaged, since it holds no object; {advice}.")
    found = values.pop(SEAL, None)
    if found is None and must:
        raise WarmloopError(f"{where} has lost its sha256, by which changes in it are noticed; {advice}.")
    if found is not None:
        start, quoted, end = text.rpartition(f'"{found}"')
        if not quoted or _hash(f'{start}""{end}') != found:
            raise WarmloopError(f"{where} was changed or damaged since it was written: its sha256 differs; {advice}.")
    if known is not None and (strange := sorted(values.keys() - set(known))):
        raise WarmloopError(f'{where} has an entry "{strange[0]}", which is not known; {advice}.')
    if found is None and where not in _SAID:
        _SAID.add(where)
        log.warning("%s is older than the sha256 of such files: nothing shows whether it was changed. It is taken as it is.", where)
    return values


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a sealed file, whole or not at all. Raises OSError, and TypeError for what JSON does not know."""
    text = seal(values)
    with replacing(path) as file:
        file.write(text.encode())


def read_sealed(path: Path, advice: str, known: Collection[str] | None = None, must: bool = True) -> dict[str, Any]:
    """What `write_sealed` wrote; see `unseal`."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise WarmloopError(f"{path} is damaged ({error.reason} at byte {error.start}); {advice}.") from error
    except OSError as error:
        raise WarmloopError(f"{path} cannot be read: {error.strerror}.") from error
    return unseal(text, str(path), advice, known, must)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""Names that become files and folders: which are allowed, by one rule for runs, actors and streams."""

from __future__ import annotations

import hashlib
import re

from ..errors import WarmloopError

LONGEST_NAME = 100  # characters of a run's name; file systems end at 255 bytes, and suffixes are added
IDENTIFIER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")  # of actors and streams, which come over the network


def is_identifier(name: str) -> bool:
    """Whether an actor or a stream may be called so: up to 64 letters, digits, "_", "-" and ".", the first one no "-" or "."."""
    return IDENTIFIER.fullmatch(name) is not None


def check_name(name: object, what: str, example: str) -> str:
    """The name of a run, or of another folder that a person names, if it is one.

    Args:
        what: what is named, and by which flag or argument, as in "the run with --exp_name".
        example: how the flag or argument is written, as in "--exp_name=door".

    Raises:
        WarmloopError: it is empty, ".", "..", longer than 100 characters, begins or ends with a blank, or has a slash, a backslash or a
            control character in it.
    """
    rule = f"Name {what}, as in {example}"
    if not isinstance(name, str) or not name:
        raise WarmloopError(f"{rule}.")
    if len(name) > LONGEST_NAME:
        raise WarmloopError(f'{rule}: "{name[:20]}…" has {len(name)} characters, and at most {LONGEST_NAME} are allowed.')
    if name in (".", "..") or name != name.strip() or not name.isprintable() or any(mark in name for mark in "/\\"):
        raise WarmloopError(f"{rule}: {name!r} is no name of a folder (a plain name, without slashes).")
    return name


def folder_name(text: str) -> str:
    """A folder's name for any text: what is no letter, digit or one of "-_=.,+" becomes "_"; of a long one the rest becomes a hash."""
    name = "".join(letter if letter.isalnum() or letter in "-_=.,+" else "_" for letter in text)
    if len(name.encode()) > LONGEST_NAME:
        name = f"{name.encode()[: LONGEST_NAME // 2].decode(errors='ignore')}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return f"_{name}" if name.startswith(".") or not name else name

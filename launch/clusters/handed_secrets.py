"""Credentials on their way to a node: read where the cluster is started, handed over in memory, and never shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ...data.errors import WarmloopError
from ...data.wire.keyring import LEARNER, TOKEN, ActorCredentials, LearnerCredentials

HIDDEN = "[secret]"
PRIVATE = "PRIVATE KEY-----"


def read_part(folder: str | Path, name: str) -> dict[str, bytes]:
    """The files of one machine's part of the credentials: `learner`, or an actor's. Raises WarmloopError as the command itself would, but
    before it is started on a node far away."""
    folder = Path(folder).expanduser()
    if not (folder / name).is_dir():
        raise WarmloopError(f"{folder} has no folder {name}; credentials names what `warmloop-credentials --out` has made.")
    if name == LEARNER:
        LearnerCredentials.read(folder)
    else:
        ActorCredentials.read(folder, name)
    return {path.name: path.read_bytes() for path in sorted((folder / name).iterdir()) if path.is_file()}


def secrets_of(files: Mapping[str, bytes]) -> list[str]:
    """The texts that must not be shown: tokens, and the lines of private keys."""
    found = []
    for name, value in files.items():
        text = value.decode("ascii", "replace")
        if name == TOKEN:
            found.append(text.strip())
        elif PRIVATE in text:
            found += [line for line in text.split() if len(line) > 16]
    return [one for one in found if one]


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text without any of the secrets."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text

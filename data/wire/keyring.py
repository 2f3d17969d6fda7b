"""What `launch.credentials` writes, and how each side reads its part: certificates, keys and tokens.

    CREDENTIALS/authority/   ca.pem, key.pem: signs the others; needed on no other machine
    CREDENTIALS/learner/     certificate.pem, key.pem, tokens.json; clients.pem where actors need certificates too
    CREDENTIALS/ACTOR_ID/    ca.pem, token; certificate.pem, key.pem where the learner asks for them

A machine gets a copy of its own part. `--credentials` may name that part or the folder above it.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import os
import re
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ..errors import WarmloopError

AUTHORITY, LEARNER = "authority", "learner"
PAGE = "page"  # whose token opens the operator's page, and is no actor's
CA, CERTIFICATE, KEY, CLIENTS, TOKEN, TOKENS = "ca.pem", "certificate.pem", "key.pem", "clients.pem", "token", "tokens.json"
COMMAND = "python -m warmloop.launch.credentials --out=credentials --host={host}"
HEADER = "authorization"  # of every call: "Bearer TOKEN"
MAKER = "warmloop.launch.credentials"
MADE_BY = f"{MAKER} makes it"


@dataclasses.dataclass(frozen=True)
class LearnerCredentials:
    """The learner's part.

    Attributes:
        tokens: an actor's id to its token's `digest`.
        clients: the authority of actors' certificates.
        page_tokens: the same as `tokens` of who may open the operator's page, which no actor is.
        folder: where it was read.
    """

    certificate: bytes
    key: bytes = dataclasses.field(repr=False)
    tokens: dict[str, bytes] = dataclasses.field(repr=False)
    clients: bytes | None = None
    page_tokens: dict[str, bytes] = dataclasses.field(default_factory=dict, repr=False)
    folder: Path = Path()

    @classmethod
    def read(cls, folder: str | Path) -> LearnerCredentials:
        """Reads and checks a folder. Raises WarmloopError for what is missing, damaged, expired or open to others."""
        part = _part(folder, LEARNER)
        clients = part / CLIENTS
        certificate, key = read_pair(part / CERTIFICATE, part / KEY)
        tokens = _tokens(part / TOKENS)
        pages = {name: tokens.pop(name) for name in (PAGE,) if name in tokens}
        return cls(certificate, key, tokens, _certificate(clients) if clients.exists() else None, pages, part)


@dataclasses.dataclass(frozen=True)
class ActorCredentials:
    """An actor's part. `certificate` and `key` show the learner who connects (mutual TLS); None where it does not ask."""

    folder: Path
    ca: bytes
    token: str = dataclasses.field(repr=False)
    certificate: bytes | None = None
    key: bytes | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def read(cls, folder: str | Path, actor_id: str) -> ActorCredentials:
        """Reads and checks a folder. Raises WarmloopError for what is missing, damaged, expired or open to others."""
        part = _part(folder, actor_id)
        token = _read(part / TOKEN, private=True).decode("ascii", "replace").strip()
        if not re.fullmatch(r"[\w-]{32,256}", token, re.ASCII):
            raise WarmloopError(f"{part / TOKEN} holds no token; copy it anew from where it was made ({MADE_BY}).")
        certificate, key = read_pair(part / CERTIFICATE, part / KEY) if (part / CERTIFICATE).exists() else (None, None)
        return cls(part, _certificate(part / CA), token, certificate, key)


def digest(token: str) -> bytes:
    """What the learner keeps of a token. A plain hash is enough for 256 random bits."""
    return hashlib.sha256(token.encode()).digest()


def read_tokens(path: Path) -> dict[str, str]:
    """`tokens.json`: hexadecimal digests by actor. Raises WarmloopError where it is something else."""
    try:
        tokens = json.loads(_read(path, private=True))
    except ValueError as error:
        raise WarmloopError(f"{path} is damaged, it is no JSON ({error}); copy it anew from where it was made ({MADE_BY}).") from error
    well_formed = isinstance(tokens, dict) and all(re.fullmatch(r"[0-9a-f]{64}", str(value)) for value in tokens.values())
    if not well_formed:
        raise WarmloopError(f'{path} should map each actor to a sha256, as in {{"actor-0": "5e88..."}}; {MADE_BY}.')
    return tokens


def _tokens(path: Path) -> dict[str, bytes]:
    tokens = read_tokens(path)
    if not tokens:
        raise WarmloopError(f"{path} names no actor, so nobody could connect; add some with --actors ({MADE_BY}).")
    return {actor: bytes.fromhex(value) for actor, value in tokens.items()}


def _part(folder: str | Path, name: str) -> Path:
    """The folder of one machine: `folder/name`, or `folder` itself where it is a copy of that."""
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise WarmloopError(f"--credentials={folder} is no folder; make one with `{COMMAND.format(host='LEARNER_HOST')}`.")
    if (path / name).is_dir():
        return path / name
    if (path / AUTHORITY).is_dir():
        raise WarmloopError(f"{path} has nothing for {name}; add it with `python -m {MAKER} --out={path} --actors={name}`.")
    return path


def _read(path: Path, private: bool = False) -> bytes:
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise WarmloopError(f"{path} cannot be read: {error.strerror}; copy it from where it was made ({MADE_BY}).") from error
    if private and os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise WarmloopError(f"{path} is secret, and other users can read it: run `chmod 600 {path}`; if they may have, make a new one.")
    return data


def _certificate(path: Path) -> bytes:
    """A certificate that is valid today."""
    data = _read(path)
    try:
        certificate = x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise WarmloopError(f"{path} is damaged, it is no certificate in PEM; {MADE_BY}.") from error
    now, begin, end = datetime.datetime.now(datetime.UTC), certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        raise WarmloopError(f"{path} expired on {end:%Y-%m-%d}; make a new one with {MAKER}, or set the clock: it says {now:%Y-%m-%d}.")
    if now < begin:
        raise WarmloopError(f"{path} is valid from {begin:%Y-%m-%d}, and here it is {now:%Y-%m-%d}; set the clock.")
    return data


def read_pair(certificate_path: Path, key_path: Path) -> tuple[bytes, bytes]:
    """A certificate and its private key. Raises WarmloopError where they do not belong together."""
    certificate, key = _certificate(certificate_path), _read(key_path, private=True)
    try:
        public = load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError) as error:
        raise WarmloopError(f"{key_path} is damaged, it is no private key in PEM; {MADE_BY}.") from error
    if public != x509.load_pem_x509_certificate(certificate).public_key():
        raise WarmloopError(f"{key_path} is not the key of {certificate_path}; copy both from where they were made ({MADE_BY}).")
    return certificate, key

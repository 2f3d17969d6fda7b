"""Makes what `data.wire.keyring` reads: an authority, certificates signed by it, and tokens."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ...data.errors import WarmloopError
from ...data.files.names import is_identifier
from ...data.wire import keyring
from ...data.wire.keyring import AUTHORITY, CA, CERTIFICATE, CLIENTS, KEY, LEARNER, TOKEN, TOKENS

AUTHORITY_DAYS = 3650
ALWAYS = ("localhost", "127.0.0.1", "::1")  # so that a tunnel and actors on the learner's machine can use the same certificate


class Authority:
    """Signs certificates with the key in `folder`, which is made if need be. Raises WarmloopError where it is damaged."""

    def __init__(self, folder: Path):
        if not (folder / KEY).exists():
            key = ec.generate_private_key(ec.SECP256R1())
            name = _name(f"warmloop {secrets.token_hex(4)}")
            write(folder / CA, _pem(_builder(name, name, key, AUTHORITY_DAYS, authority=True).sign(key, hashes.SHA256())))
            write(folder / KEY, _key_pem(key), private=True)
        self.pem, key_pem = keyring.read_pair(folder / CA, folder / KEY)
        self._certificate = x509.load_pem_x509_certificate(self.pem)
        key = serialization.load_pem_private_key(key_pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise WarmloopError(f"{folder / KEY} is not a key that this command made; choose another --out.")
        self._key = key

    def issue(self, folder: Path, name: str, days: int, hosts: Sequence[str] = ()) -> None:
        """Writes a certificate and its key: of a server at `hosts`, or where there are none, of a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = _builder(_name(name), self._certificate.subject, key, days, authority=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(signer, critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        write(folder / KEY, _key_pem(key), private=True)
        write(folder / CERTIFICATE, _pem(builder.sign(self._key, hashes.SHA256())))


def make_learner(folder: Path, authority: Authority, hosts: Sequence[str], days: int, mutual_tls: bool) -> None:
    """The learner's certificate, for `hosts` and this machine itself."""
    authority.issue(folder, "warmloop learner", days, tuple(dict.fromkeys((*hosts, *ALWAYS))))
    if mutual_tls:
        write(folder / CLIENTS, authority.pem)


def make_actor(folder: Path, learner: Path, authority: Authority, days: int) -> bool:
    """A folder for the actor of its name, and its token's digest for the learner; whether it was new. With mutual TLS, a
    certificate too. What is there already stays, since the actor may be using it."""
    tokens = keyring.read_tokens(learner / TOKENS) if (learner / TOKENS).exists() else {}
    new = folder.name not in tokens or not (folder / TOKEN).exists()
    if new:
        token = secrets.token_urlsafe(32)
        write(folder / TOKEN, f"{token}\n".encode(), private=True)
        tokens[folder.name] = keyring.digest(token).hex()
        write(learner / TOKENS, json.dumps(tokens, indent=1).encode() + b"\n", private=True)
    write(folder / CA, authority.pem)
    if (learner / CLIENTS).exists() and (new or not (folder / CERTIFICATE).exists()):
        authority.issue(folder, folder.name, days)
    return new


def write(path: Path, data: bytes, *, private: bool = False) -> None:
    """Writes a file whole or not at all; a private one is never readable by others, not even at first."""
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise WarmloopError(f"{path} cannot be written: {error.strerror}.") from error


def _builder(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int, *, authority: bool) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    usage |= {"encipher_only": False, "decipher_only": False, "digital_signature": not authority}
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # the clocks of robots differ
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
        .add_extension(x509.KeyUsage(**usage, key_cert_sign=authority, crl_sign=authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _host(host: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    with contextlib.suppress(UnicodeError):
        if re.fullmatch(r"[A-Za-z0-9_.-]+", name := host.encode("idna").decode()):
            return x509.DNSName(name)
    raise WarmloopError(f"--host: {host!r} is neither a host's name nor an IP address.")


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())


def actor_names(given: list[str]) -> list[str]:
    """The actors' names that --actors means. Raises WarmloopError for one that cannot be a folder's."""
    if len(given) == 1 and given[0].isdecimal():
        given = [f"actor-{number}" for number in range(int(given[0]))]
    bad = [name for name in given if not is_identifier(name) or name in (AUTHORITY, LEARNER)]
    if bad or not given:
        raise WarmloopError(f"--actors={','.join(given)} should be a number, or names of up to 64 letters, digits, '_', '-' and '.'.")
    return given

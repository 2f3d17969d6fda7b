"""Snapshots of an actor's parameters: immutable, versioned, checked by sha256, sent in chunks."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator

import jax
import numpy as np
from flax import serialization

from ..errors import WarmloopError
from ..transition import PyTree
from . import MIB
from . import warmloop_pb2 as pb


class Damaged(WarmloopError):  # noqa: N818 (the house's errors carry no suffix)
    """Weights that arrived incomplete or altered; they can be asked for again."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One version of the actor's parameters, as MessagePack bytes (`flax.serialization`) and their sha256."""

    version: int
    data: bytes
    sha256: bytes

    @classmethod
    def of(cls, version: int, params: PyTree) -> Snapshot:
        """Serialises a PyTree of arrays; device arrays are copied to the host here."""
        data = serialization.to_bytes(jax.device_get(params))
        return cls(version, data, hashlib.sha256(data).digest())


def chunks(snapshot: Snapshot) -> Iterator[pb.WeightsChunk]:
    """The snapshot in pieces of at most 1 MiB; the first carries the header."""
    header = {"version": snapshot.version, "size": len(snapshot.data), "sha256": snapshot.sha256}
    for start in range(0, len(snapshot.data), MIB):
        yield pb.WeightsChunk(data=snapshot.data[start : start + MIB], **(header if start == 0 else {}))


def assemble(pieces: Iterable[pb.WeightsChunk], max_bytes: int = 1024 * MIB) -> Snapshot | None:
    """Joins chunks; None for an empty stream. Raises Damaged when they are too many, too few, or altered."""
    header, parts, size, digest = None, [], 0, hashlib.sha256()
    for piece in pieces:
        header, data = header or piece, piece.data
        size += len(data)
        if size > min(header.size, max_bytes):
            raise Damaged(f"Weights version {header.version} are larger than the announced or allowed size.")
        digest.update(data)  # while the next pieces come
        parts.append(data)
    if header is None:
        return None
    snapshot = Snapshot(header.version, b"".join(parts), header.sha256)
    if size != header.size or digest.digest() != header.sha256:
        raise Damaged(f"Weights version {header.version} arrived damaged: their sha256 is not the announced one.")
    return snapshot


def load(snapshot: Snapshot, template: PyTree) -> PyTree:
    """The parameters in the template's structure, NumPy leaves.

    The template's leaves need only shape and dtype (`jax.eval_shape` of the agent's init). Raises WarmloopError where
    the snapshot does not fit it.
    """
    try:
        params = serialization.from_bytes(template, snapshot.data)
    except (ValueError, KeyError, TypeError) as error:
        raise WarmloopError(f"The learner's weights are of another agent than this actor's: {error}") from error
    expected, _ = jax.tree_util.tree_flatten_with_path(template)
    for (path, want), got in zip(expected, jax.tree.leaves(params), strict=True):
        if np.shape(got) != want.shape or got.dtype != want.dtype:
            raise WarmloopError(
                f"The learner's weights are of another agent than this actor's: {jax.tree_util.keystr(path)} is "
                f"{got.dtype} {list(np.shape(got))} there and {want.dtype} {list(want.shape)} here; start both with one configuration."
            )
    return params

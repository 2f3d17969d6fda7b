"""What the learner grants its actors, and what passes between its service and its loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ...data.wire import MIB


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the learner grants.

    Attributes:
        queue_rows, queue_bytes: rows that wait for the loop, at most; the smaller of the two holds.
        frame_bytes, push_rows: size of one push, at most.
        actors: at once; of an actor with several simulators each one counts.
        lease_seconds: silence after which an actor of another process counts as gone.
    """

    queue_rows: int = 50_000
    queue_bytes: int = 1024 * MIB
    frame_bytes: int = 16 * MIB
    push_rows: int = 1024
    actors: int = 256
    lease_seconds: float = 30.0


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a stream is: `received` and `durable` as in `Stream`, and the rows there is room for."""

    received: int
    durable: int
    credits: int


@dataclasses.dataclass(frozen=True)
class Report:
    """Metrics of one finished episode (or evaluation) of an actor."""

    actor: str
    scalars: Mapping[str, float]

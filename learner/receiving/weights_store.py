"""The actor parameters that actors shall have, ready to be sent: the newest, or the best ones again (see best.py)."""

from __future__ import annotations

from ...data.transition import PyTree
from ...data.wire.weights import Snapshot


class WeightsStore:
    """Holds one immutable snapshot; the loop publishes, service threads read. Replacing a reference needs no lock."""

    def __init__(self) -> None:
        self.newest: Snapshot | None = None

    @property
    def version(self) -> int:
        """Version of the snapshot on offer, -1 before the first."""
        newest = self.newest
        return -1 if newest is None else newest.version

    def publish(self, version: int, params: PyTree) -> Snapshot:
        """Serialises and offers `params` (of `agent.actor_params`); they may be donated afterwards."""
        return self.offer(Snapshot.of(version, params))

    def offer(self, snapshot: Snapshot) -> Snapshot:
        """Makes a snapshot the one that actors fetch, also where it is older than the one before."""
        self.newest = snapshot
        return snapshot

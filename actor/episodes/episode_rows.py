"""The running episode's rows until they are handed over."""

from __future__ import annotations

import jax
import numpy as np

from ...data.transition import Transition
from ..delivery.client import Client


class EpisodeRows:
    """The running episode's rows on their way to the client: at once or, where they are held, when it has ended."""

    def __init__(self, client: Client, hold: bool):
        self._client, self._hold, self._held = client, hold, list[Transition]()

    def add(self, row: Transition) -> None:
        """One more row, without a leading axis."""
        if self._hold:
            self._held.append(row)
        else:
            self._client.record(row)

    def release(self) -> None:
        """Hands over what is held."""
        if self._held:
            held, self._held = self._held, []
            self._client.record(jax.tree.map(lambda *leaves: np.stack(leaves), *held))

    def drop(self) -> None:
        """Forgets what is held."""
        self._held = []

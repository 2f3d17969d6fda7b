"""A person at the operator's page, beside whoever takes over at the robot."""

from __future__ import annotations

import numpy as np

from ...data.transition import PyTree
from ..intervention.intervention import Command, Intervener
from .page_words import PageWords


class AtThePage:
    """Gives the page's words on the episode, and never an action: those are the other intervener's, whose word comes first."""

    def __init__(self, words: PageWords, beside: Intervener | None):
        self._words, self._beside = words, beside

    def ready(self) -> None:
        """As the other intervener's. Raises as it does."""
        ready = getattr(self._beside, "ready", None)
        if ready is not None:
            ready()

    def begin(self, seed: int) -> None:
        if self._beside is not None:
            self._beside.begin(seed)
        self._words.clear()

    def __call__(self, observation: PyTree, action: np.ndarray, step: int) -> Command:
        command = Command() if self._beside is None else self._beside(observation, action, step)
        signal = self._words.take()
        return command if command.signal is not None or signal is None else command._replace(signal=signal)

    def close(self) -> None:
        if self._beside is not None:
            self._beside.close()

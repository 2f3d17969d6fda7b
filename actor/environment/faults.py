"""Faults of an environment: each costs an episode, and more than a budget of them in an hour end the run."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...data.errors import EnvironmentFault, EnvironmentGaveOut
from ...data.files import sealed

HOUR = 3600.0
WAITS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds before a reset, by the faults in a row
MAX_FILES = 1000

log = logging.getLogger(__name__)


class Faults:
    """The budget of one environment.

    Args:
        rest: brings the environment to rest, and says why.
        per_hour: how many faults within an hour are allowed; 0 is none.
        name, quarantine: of the actor, and the folder in which each fault is kept with what was seen and done last.

    Attributes:
        worked: the environment has given a whole step.
        count: faults so far.
        check: called while a retry waits; may raise to end that.
    """

    def __init__(self, rest: Callable[[str], object], per_hour: int, name: str = "actor", quarantine: Path | None = None):
        self._rest, self._per_hour, self._name, self._quarantine = rest, per_hour, name, quarantine
        self._times: deque[float] = deque()
        self._in_a_row, self.count, self.worked = 0, 0, False
        self.check: Callable[[], object] = lambda: None

    def sound(self) -> None:
        """A whole step was taken."""
        self.worked, self._in_a_row = True, 0

    def meet(self, fault: EnvironmentFault, episode: int, step: int, observation: Any = None, action: np.ndarray | None = None) -> None:
        """Brings the environment to rest, tells of the fault and keeps it, and waits before the next reset.

        Args:
            observation, action: `[...]` and `[A]`, what was seen and done before it, if anything was.

        Raises:
            EnvironmentGaveOut: that was one too many.
        """
        self._rest("a fault broke its episode off")
        now = time.monotonic()
        self._times.append(now)
        while now - self._times[0] > HOUR:
            self._times.popleft()
        self.count, self._in_a_row = self.count + 1, self._in_a_row + 1
        kept = self._keep(fault, episode, step, observation, action)
        if len(self._times) > self._per_hour:
            many = "the first fault" if len(self._times) == 1 else f"fault {len(self._times)} within an hour"
            raise EnvironmentGaveOut(f"{fault} It is {many}, and actor.faults_per_hour is {self._per_hour}: see to the robot, or raise it.")
        wait = WAITS[min(self._in_a_row, len(WAITS)) - 1]
        counted = f"Fault {len(self._times)} of {self._per_hour} that are allowed within an hour"
        log.warning("%s %s; the next reset comes after %g s.%s", fault, counted, wait, kept)
        self._wait(now + wait)

    def _wait(self, until: float) -> None:
        self.check()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
            self.check()

    def _keep(self, fault: EnvironmentFault, episode: int, step: int, observation: Any, action: np.ndarray | None) -> str:
        """Writes a file as the learner's quarantine has them (`data/formats/quarantined.py`); what to say of it."""
        if self._quarantine is None:
            return ""
        path = self._quarantine / f"{self._name}-{time.strftime('%Y%m%d-%H%M%S')}-{self.count}.npz"
        leaves: dict[str, Any] = {"number": self.count, "reason": str(fault), "episode": episode, "step": step}
        leaves["action"] = np.zeros(0, np.float32) if action is None else action
        leaves |= _leaves("observation", observation) | _leaves("next_observation", fault.observation)
        try:
            self._quarantine.mkdir(parents=True, exist_ok=True)
            if len(os.listdir(self._quarantine)) >= MAX_FILES:
                return ""
            with open(partial := path.with_suffix(".partial"), "w+b") as file:
                sealed.write(file, ((name, np.asarray(leaf)[None]) for name, leaf in leaves.items()))
            os.replace(partial, path)
        except OSError as error:
            log.error("The fault could not be written to %s (%s); it counts all the same.", path, error)
            return ""
        return f" It is kept in {path}."


def _leaves(name: str, observation: Any) -> dict[str, np.ndarray]:
    """The numbers of an observation by their names; what is none is left out."""
    if isinstance(observation, Mapping):
        parts = [_leaves(f"{name}/{key}", value) for key, value in observation.items()]
        return {key: leaf for part in parts for key, leaf in part.items()}
    try:
        leaf = np.asarray(observation)
    except ValueError:
        return {}
    return {name: leaf} if leaf.dtype.kind in "biuf" else {}

"""How long to wait for a learner that does not answer, and what to say meanwhile."""

from __future__ import annotations

import logging
import random
import time

from ...data.errors import WarmloopError

FIRST_DELAY, LONGEST_DELAY = 0.1, 2.0  # seconds
SAY_EVERY = 5.0

log = logging.getLogger(__name__)


class Patience:
    """Exponential back-off with jitter, until failures have lasted `seconds`."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self._since = time.monotonic()
        self._said = float("-inf")
        self.failures = 0

    def succeeded(self) -> None:
        """The learner did something for us."""
        if self.failures and self._said >= self._since:
            log.info("The learner answers again.")
        self.failures = 0

    def failed(self, reason: str) -> float:
        """Seconds to wait before the next try. Raises WarmloopError when it has lasted too long."""
        now = time.monotonic()
        if self.failures == 0:
            self._since = now
        waited = now - self._since
        if waited >= self.seconds:
            raise WarmloopError(
                f"The learner has not answered for {waited:.0f} s ({reason}); "
                "see that it runs and that its address is right, or raise actor.patience."
            )
        if now - self._said >= SAY_EVERY:
            log.warning("Waiting for the learner, %.0f s so far: %s", waited, reason)
            self._said = now
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self.failures, 10))
        self.failures += 1
        return min(delay * random.uniform(0.5, 1.0), self.seconds - waited)

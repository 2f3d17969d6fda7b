"""Time limits that an environment returns as `terminated`: recognised by the lengths of its failures, and repaired by a setting.

A state in which an episode terminates is worth nothing further. Where that was the clock's doing, a policy learns that any state may be
its last, and all values are too low.
"""

from __future__ import annotations

from ...data.errors import WarmloopError
from ...data.running.said import say_once

ALIKE = 3  # failures that terminate at one length, and none later, before that length is taken for a limit
COMMON_SHARE = 0.5  # of all failures that terminate: those of a robot that falls end at many lengths, and some at the longest


class TimeLimits:
    """What is known of the lengths at which an environment's episodes end.

    Args:
        name: the environment, for what is said.
        limit: steps after which it is known to cut; None where that is not known.
        repairs: terminations without success at the limit are truncations.

    Raises:
        WarmloopError: it is to repair them, and no limit is known.
    """

    def __init__(self, name: str, limit: int | None, repairs: bool):
        if repairs and not limit:
            raise WarmloopError(
                f'environment.time_limit_is_truncation: "{name}" does not say its time limit; set it by --config.environment.horizon.'
            )
        self._name, self._limit, self._repairs = name, limit, repairs
        self._longest, self._alike, self._failures = 0, 0, 0

    def cuts(self, steps: int) -> bool:
        """Whether a termination after so many steps is to count as a truncation, unless it is a success that ends an episode."""
        return self._repairs and self._limit is not None and steps >= self._limit

    def ended(self, steps: int, terminated: bool, success: bool) -> None:
        """Takes in an episode that is over, and says once where the failures look like those of a time limit."""
        self._failures += terminated and not success
        if not terminated or success:
            self._alike = 0 if steps > self._longest else self._alike  # an episode went on beyond it
        elif steps == self._longest:
            self._alike += 1
        elif steps > self._longest:
            self._alike = 1
        self._longest = max(self._longest, steps)
        if steps == 1 or not terminated or success or self._repairs:
            return
        if steps == self._limit:
            self._say(f"exactly at its time limit of {steps} steps", "")
        elif self._alike >= max(ALIKE, COMMON_SHARE * self._failures) and steps == self._longest:
            horizon = f"--config.environment.horizon={steps} and "
            self._say(f"after {steps} steps, as half of the failures or more did and none went further", horizon)

    def _say(self, when: str, horizon: str) -> None:
        say_once(
            f'Environment "{self._name}": an episode terminated without success {when}. If that was the clock, it teaches failure: set '
            f"{horizon}--config.environment.time_limit_is_truncation=True, by which it counts as cut."
        )

"""What the actions -1 and 1 are in the environment's own units: the one rule by which they are scaled, both ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from .errors import WarmloopError


@dataclasses.dataclass(frozen=True)
class ActionLimits:
    """The values of -1 and of 1, `[A]` each; where they are equal, the action is held there. Hashable and JSON-able."""

    low: Sequence[float] | np.ndarray
    high: Sequence[float] | np.ndarray

    def __post_init__(self):
        for name in ("low", "high"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        if len(self.low) != len(self.high) or not self.low:
            raise WarmloopError(f"Action limits need as many low values as high ones, and at least one: {self}.")
        if not np.isfinite([*self.low, *self.high]).all() or any(low > high for low, high in zip(self.low, self.high, strict=True)):
            raise WarmloopError(f"Action limits must be finite, and low at most high: {self}.")

    def __str__(self) -> str:
        low, high = (", ".join(f"{value:.4g}" for value in side) for side in (self.low, self.high))
        return f"[{low}] to [{high}]"

    def flags(self) -> list[str]:
        """The flags that make a run act by these limits."""
        return [f"--config.environment.action_{name}={getattr(self, name)!r}" for name in ("low", "high")]

    def scale(self, actions: np.ndarray) -> np.ndarray:
        """Actions `[..., A]` in the environment's units as float64, the limits as -1 and 1; 0 where these are equal."""
        low, high = self._arrays
        half = (high - low) * 0.5
        distance = np.asarray(actions, np.float64) - (low + high) * 0.5
        inside = np.divide(distance, half, out=np.zeros_like(distance), where=half > 0)
        at_a_limit = np.where(actions == low, -1.0, np.where(actions == high, 1.0, inside))  # which rounding might miss
        return np.where(half > 0, at_a_limit, 0.0)

    def unscale(self, actions: np.ndarray) -> np.ndarray:
        """Actions `[..., A]` in [-1, 1] as float64 in the environment's units; -1 and 1 give the limits to the bit."""
        low, high = self._arrays
        share = (np.asarray(actions, np.float64) + 1.0) * 0.5
        return np.clip(low * (1.0 - share) + high * share, low, high)

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.low, np.float64), np.asarray(self.high, np.float64)

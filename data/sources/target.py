"""The environment that recorded data must fit."""

from __future__ import annotations

import dataclasses

from ..action_limits import ActionLimits
from ..transition import Spec, spec_beside
from .base_labels import Base


@dataclasses.dataclass(frozen=True)
class Target:
    """The environment that data must fit.

    Attributes:
        name: its id.
        spec: its own shapes, without a task's code.
        limits: its action space's own.
        unseen: parts of its observations that its agents do not get; data may have them, and they are left out.
        time_limit: steps after which it cuts an episode; None where that is not known.
        control_hz: its steps per second; 0 where that is not known.
        base: what its base policy does, whose proposals stand in its observations; None where it has none.
    """

    name: str
    spec: Spec
    limits: ActionLimits
    unseen: tuple[str, ...] = ()
    time_limit: int | None = None
    control_hz: float = 0.0
    base: Base | None = None

    @property
    def whole_spec(self) -> Spec:
        """The shapes with its base's proposals."""
        return self.spec if self.base is None else spec_beside(self.spec, self.base.count)

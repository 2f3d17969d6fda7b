"""An episode on the host: its steps, whether it succeeded, and where it was read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from .transition import PyTree, Source, Transition, length, take


@dataclasses.dataclass(frozen=True)
class Whole:
    """The episode that a piece was cut out of: what the piece's returns and its outcome follow from, under any reward.

    Attributes:
        reward, mask: `[T]` of all its steps.
        success: `[T]` bool, as an Episode's.
        first: which of its steps is the piece's first.
    """

    reward: np.ndarray
    mask: np.ndarray
    success: np.ndarray | None
    first: int

    def __len__(self) -> int:
        return len(self.reward)


@dataclasses.dataclass(frozen=True)
class Episode:
    """One recorded episode, or a piece of one.

    Attributes:
        steps: `[T, ...]` NumPy leaves, rewards as recorded, `mc_return` not yet known.
        success: `[T]` bool, the success signal after each step; None where the file has none.
        origin: the file (or stream) it was read from.
        number: its position there, from 0.
        source: the kind of data it is.
        task: the name of the task it was recorded on; "" where nothing says.
        extras: what else was recorded of each step, `[T, ...]` by name, such as HIL-SERL's `grasp_penalty`. Kept, not learnt from.
        whole: of a piece, the episode that it was cut out of; None for an episode that is whole.
    """

    steps: Transition
    success: np.ndarray | None
    origin: str
    number: int
    source: Source = Source.DEMOS
    task: str = ""
    extras: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    whole: Whole | None = None

    def __len__(self) -> int:
        return length(self.steps)

    @property
    def outcome(self) -> Whole:
        """Rewards, masks and success of the whole episode."""
        return self.whole or Whole(self.steps.reward, self.steps.mask, self.success, 0)

    @property
    def succeeded(self) -> bool:
        """Whether the whole episode succeeded: success at any step; without a signal, whether it terminated with a positive reward."""
        whole = self.outcome
        if whole.success is not None:
            return bool(np.any(whole.success))
        return bool(whole.mask[-1] == 0 and whole.reward[-1] > 0)

    @property
    def undiscounted_return(self) -> float:
        """Sum of the recorded rewards of the whole episode."""
        return float(np.sum(self.outcome.reward, dtype=np.float64))

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        parts = (*vars(self.steps).values(), self.extras)
        return sum(sum(leaf.nbytes for leaf in part.values()) if isinstance(part, Mapping) else part.nbytes for part in parts)

    def part(self, rows: slice) -> Episode:
        """Some of its rows, as an episode of the same number; a last one that did not end the whole becomes a truncation, behind which
        nothing is known."""
        steps = take(self.steps, rows)
        truncated = steps.truncated.copy()
        truncated[-1:] = steps.mask[-1:] != 0
        success = None if self.success is None else self.success[rows]
        extras = {name: values[rows] for name, values in self.extras.items()}
        return dataclasses.replace(self, steps=steps.replace(truncated=truncated), success=success, extras=extras, whole=None)

    def piece(self, rows: slice) -> Episode:
        """As `part`, of rows whose returns and outcome stay those of the whole episode."""
        first, outcome = rows.indices(len(self))[0], self.outcome
        return dataclasses.replace(self.part(rows), whole=dataclasses.replace(outcome, first=outcome.first + first))


def make_steps(
    observation: PyTree,
    action: np.ndarray,
    reward: np.ndarray,
    next_observation: PyTree,
    terminated: np.ndarray,
    *,
    source: Source = Source.DEMOS,
    episode: int = 0,
    intervened: np.ndarray | None = None,
) -> Transition:
    """The steps `[T]` of one recorded episode; its last step counts as truncated unless it terminated."""
    count = len(reward)
    terminated = np.asarray(terminated, bool)
    last = np.arange(count) == count - 1
    return Transition(
        observation=observation,
        action=np.asarray(action, np.float32),
        reward=np.asarray(reward, np.float32),
        mask=1.0 - terminated.astype(np.float32),
        next_observation=next_observation,
        truncated=last & ~terminated,
        mc_return=np.full(count, -np.inf, np.float32),
        quality=np.ones(count, np.float32),
        source=np.full(count, source, np.int32),
        intervened=np.zeros(count, bool) if intervened is None else np.asarray(intervened, bool),
        policy_version=np.full(count, -1, np.int32),
        episode=np.full(count, episode, np.int32),
        step=np.arange(count, dtype=np.int32),
    )

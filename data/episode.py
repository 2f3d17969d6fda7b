"""An episode on the host: its steps, whether it succeeded, and where it was read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from .transition import PyTree, Source, Transition, length, take


@dataclasses.dataclass(frozen=True)
class Episode:
    """One recorded episode, whole.

    Attributes:
        steps: `[T, ...]` NumPy leaves, rewards as recorded, `mc_return` not yet known.
        success: `[T]` bool, the success signal after each step; None where the file has none.
        origin: the file (or stream) it was read from.
        number: its position there, from 0.
        source: the kind of data it is.
        task: the name of the task it was recorded on; "" where nothing says.
        extras: what else was recorded of each step, `[T, ...]` by name, such as HIL-SERL's `grasp_penalty`. Kept, not learnt from.
    """

    steps: Transition
    success: np.ndarray | None
    origin: str
    number: int
    source: Source = Source.DEMOS
    task: str = ""
    extras: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return length(self.steps)

    @property
    def succeeded(self) -> bool:
        """Whether success was signalled at any step; without a signal, whether it terminated with a positive reward."""
        if self.success is not None:
            return bool(np.any(self.success))
        return bool(self.steps.mask[-1] == 0 and self.steps.reward[-1] > 0)

    @property
    def undiscounted_return(self) -> float:
        """Sum of the recorded rewards."""
        return float(np.sum(self.steps.reward, dtype=np.float64))

    def part(self, rows: slice) -> Episode:
        """Some of its rows, as an episode of the same number; a last one that did not end the whole becomes a truncation."""
        steps = take(self.steps, rows)
        truncated = steps.truncated.copy()
        truncated[-1:] = steps.mask[-1:] != 0
        success = None if self.success is None else self.success[rows]
        extras = {name: values[rows] for name, values in self.extras.items()}
        return dataclasses.replace(self, steps=steps.replace(truncated=truncated), success=success, extras=extras)


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

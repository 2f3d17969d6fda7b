"""What an actor's episodes follow from, how far they are, and what goes with them."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from pathlib import Path

from .episodes.episode_lines import EpisodeLines
from .films.clips import Clips
from .intervention.intervention import Intervener
from .operating.actor_desk import ActorDesk
from .policies.shared_policy import Seat


@dataclasses.dataclass(frozen=True)
class EpisodeStream:
    """The episodes of one actor. `seed`, `number` and an episode's number decide that episode; `progress` is what `ActorLoop.progress` gave
    when an earlier run of this stream stopped. `course` is that of an actor with several environments, which share the stream."""

    seed: int = 0
    number: int = 0
    progress: Mapping[str, int] = dataclasses.field(default_factory=dict)
    course: Course | None = None


@dataclasses.dataclass(frozen=True)
class Beside:
    """What is at an environment's side.

    Attributes:
        intervener: who may act in the policy's place, evaluation excepted.
        clips: what records the episodes for a person to look at.
        quarantine: the folder for faults of the environment.
        desk: what the operator's page sees and says.
        seat: at a policy that several environments share; None for a policy of its own.
    """

    intervener: Intervener | None = None
    clips: Clips | None = None
    quarantine: Path | None = None
    desk: ActorDesk | None = None
    seat: Seat | None = None


class Course:
    """How far the episodes of a stream are, in one environment or in several at once.

    Attributes:
        steps_taken: environment steps so far, evaluation not counted.
        evaluate_at: steps after which the next evaluation is due.
        evaluating: an evaluation waits for the running episodes to end, so that no further one begins.
        lines: what says the episodes that end; None before the first loop is made.
    """

    def __init__(self, progress: Mapping[str, int]):
        self._next = progress.get("episode", 0)
        self.steps_taken, self.evaluate_at = progress.get("steps_taken", 0), progress.get("evaluate_at", 0)
        self.evaluating = False
        self.lines: EpisodeLines | None = None

    def next_episode(self) -> int:
        """The number of an episode that nobody plays yet."""
        number, self._next = self._next, self._next + 1
        return number


class Move(enum.Enum):
    """Where an actor's loop stands when it lets others go on."""

    ACTS = "acts"  # the policy is called next
    STEPPED = "stepped"  # a step was taken and recorded
    WAITS = "waits"  # for the learner, or for the other environments; `PAUSE_SECONDS` later it looks again

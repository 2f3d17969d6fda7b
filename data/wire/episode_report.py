"""What an actor reports of one episode beside its metrics, so that the learner can keep a line for each.

The numbers travel in the same report as the metrics, under names that begin with `episode/`, and never enter a running mean.
"""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "episode/"
NUMBER, OUTCOME, LENGTH = f"{PREFIX}number", f"{PREFIX}outcome", f"{PREFIX}length"
OUTCOMES = ("no success", "success", "failure", "discarded", "recorded again", "fault")  # by their code


def told(number: int, outcome: str, steps: int) -> dict[str, float]:
    """The numbers of an episode, by its number in its actor's stream, how it ended (of `OUTCOMES`), and its steps."""
    return {NUMBER: float(number), OUTCOME: float(OUTCOMES.index(outcome)), LENGTH: float(steps)}


def split(scalars: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """A report's metrics, and what it says of its episode; nothing where it comes from an actor that does not."""
    episode = {name: value for name, value in scalars.items() if name.startswith(PREFIX)}
    return {name: value for name, value in scalars.items() if name not in episode}, episode


def outcome_of(episode: Mapping[str, float]) -> str:
    """How an episode ended; "no success" for a code that is not known."""
    code = int(episode.get(OUTCOME, 0))
    return OUTCOMES[code] if 0 <= code < len(OUTCOMES) else OUTCOMES[0]

"""Whether a recording marks where its episodes end: without that, several run together as one, silently."""

from __future__ import annotations

from collections.abc import Iterable

from .episode import Episode

FAR = 2.0  # times an environment's time limit
LONG = 1_000  # steps of a recording that is a single episode
ADVICE = "where these are several episodes, mark the last step of each, in `timeouts` or `terminals`"


def too_long(length: int, time_limit: int | None, alone: bool) -> str | None:
    """What is to be said of the longest episode of a file, of `length` steps; None where nothing is.

    Args:
        time_limit: steps after which the environment cuts an episode; None where that is not known.
        alone: it is all that the file holds, and no end is marked in it.
    """
    if time_limit is not None:
        return f"an episode has {length} steps, and the environment cuts them after {time_limit}" if length > FAR * time_limit else None
    return f"all {length} steps are one episode, and no end is marked" if alone and length > LONG else None


def run_together(episodes: Iterable[Episode], time_limit: int | None) -> list[str]:
    """A sentence for each file whose episodes seem to run together. Of a file that marks its only episode's end as a time limit's, that
    is not known here."""
    files: dict[str, list[Episode]] = {}
    for episode in episodes:
        files.setdefault(episode.origin, []).append(episode)
    said = []
    for origin, own in files.items():
        longest = max(own, key=len)
        if what := too_long(len(longest), time_limit, len(own) == 1 and bool(longest.steps.mask[-1])):
            said.append(f"{origin}: {what}; {ADVICE}.")
    return said

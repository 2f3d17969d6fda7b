"""What `collect` says at its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..flags.common import log

if TYPE_CHECKING:
    from ...actor.episodes.collection import Tally
    from ...data.episode import Episode


def show(out: Path, episodes: list[Episode], tally: Tally, frames: bool = False) -> None:
    """A closing table on stdout, with the `frames` of success and failure where they are asked for, and how to go on with a set that is not
    complete."""
    from ...actor.intervention.intervention import takeovers

    if not episodes:
        return
    attempted, returns = tally.succeeded(), [episode.undiscounted_return for episode in episodes]
    rows = {
        "written": str(out),
        "episodes": f"{len(episodes)}",
        "steps": f"{sum(map(len, episodes))}",
        "success": f"{sum(attempted)} of {len(attempted)} attempted ({sum(attempted) / len(attempted):.0%})",
        "mean return": f"{sum(returns) / len(returns):.1f}",
        "mean length": f"{sum(map(len, episodes)) / len(episodes):.0f}",
    }
    if frames:
        shown = sum(0 if episode.success is None else int(episode.success.sum()) for episode in episodes)
        rows["frames"] = f"{shown} of success, {sum(map(len, episodes)) - shown} of failure"
    hands = [takeovers(episode.steps.intervened) for episode in episodes]
    count = sum(hand["actor/interventions"] for hand in hands)
    if count:
        taken = sum(int(episode.steps.intervened.sum()) for episode in episodes)
        share = taken / sum(map(len, episodes))
        rows["interventions"] = f"{count:.0f}, {share:.0%} of the steps, {taken / count:.1f} steps each"
    print("\n".join(f"{name:<12} {value}" for name, value in rows.items()))
    rule = tally.plan.environment.success
    if rule.startswith("info:") and all(episode.success is None for episode in episodes):
        log.warning(
            'No step had a success signal by the rule "%s": its info has no such key. Success above is an end with a positive reward; mend '
            "environment.success or --success, and record again.",
            rule,
        )
    if not tally.complete:
        log.warning("%s has %d of %d episodes; the same command with --overwrite continues", out, len(episodes), tally.plan.episodes)

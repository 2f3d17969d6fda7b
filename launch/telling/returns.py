"""What is said of a run's recorded returns, where its agents take them for bounds on the value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..flags.common import log

if TYPE_CHECKING:
    from ...configs.schema import RunConfig
    from ...learner.rows.offline_rows import OfflineData

OPTIONS = ("monte_carlo_target", "self_imitation", "calibrated")


def options(config: RunConfig) -> list[str]:
    """The settings, by which a recorded return is taken for a bound, that are on."""
    sections = ("warmup_agent", "agent")
    return [f"{section}.{name}" for section in sections for name in OPTIONS if getattr(getattr(config, section).settings, name, False)]


def warn_of_returns(config: RunConfig, data: OfflineData) -> None:
    """Logs what makes recorded returns no bounds, where they are taken for some: ends that are not known, and luck."""
    named = options(config)
    if named:
        for sentence in doubts(data):
            log.warning("%s (%s)", sentence, ", ".join(f"--config.{name}" for name in named))


def doubts(data: OfflineData) -> Iterator[str]:
    """A sentence for each reason not to take the recorded returns for bounds."""
    import numpy as np

    from ...data.inspection.columns import as_numbers
    from ...data.luck import mixed_outcomes

    known = np.isfinite(data.rows.mc_return)
    if not known.all():
        share = "no step's return" if not known.any() else f"the return of only {100 * known.mean():.0f} % of the steps"
        yield (
            f"{share} is known to bound the value: the other episodes were cut, and with the environment's own reward, or without a "
            "discount, what is missing may be negative"
        )
    for task in np.unique(data.tasks):
        members = [data.recorded[index] for index in np.flatnonzero(data.tasks == task)]
        whole = [episode for episode in members if episode.outcome.first == 0]
        if not whole:
            continue
        numbers = [as_numbers(episode.steps.observation)[1] for episode in whole]
        first, spread = np.stack([values[0] for values in numbers]), np.concatenate(numbers).std(axis=0)
        found = mixed_outcomes(first, spread, np.array([episode.succeeded for episode in whole]))
        if found is not None:
            yield f"{found}; docs/results.md says what that costs"

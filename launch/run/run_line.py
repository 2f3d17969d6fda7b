"""The learner's line: how far a fine-tuning is, beside the count of its environment steps; and that of a warm-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

# What is said, in this order: a metric's name, and how.
SHOWN = {
    "actor/success_rate": "success {:.2f}",
    "actor/episode_return": "return {:.4g}",
    "evaluation/success_rate": "evaluated {:.2f}",
    "evaluation/episode_return": "evaluated return {:.4g}",
    "best/success_rate": "best {:.2f}",
    "best/episode_return": "best return {:.4g}",
    "learner/effective_offline_ratio": "offline share {:.2f}",
    "learner/updates_per_step": "updates/step {:.2f}",
    "learner/updates_per_step_asked": " of {:.2f}",
    "learner/updates_per_second": "updates/s {:.1f}",
    "intake/waiting": "rows waiting {:.0f}",
    "actor/weights_age": "weights {:.1f} s old",
}
OF_RETURNS = {"actor/episode_return", "evaluation/episode_return"}  # for runs that learn for returns


class RunLine:
    """Remembers the newest of each number, so that the line is the same in kind whichever came last.

    Args:
        total: environment steps.
        returns: whether returns are what the run learns for.

    Attributes:
        advance: of the progress that is shown: `advance(count, note)`.
    """

    def __init__(self, total: int, returns: bool):
        self._total, self._returns, self._steps = total, returns, 0
        self._known: dict[str, float] = {}
        self.advance: Callable[[int, str | None], None] = lambda count, note: None

    def begin(self, steps: int) -> int:
        """The count that a run goes on from."""
        self._steps = min(steps, self._total)
        return self._steps

    def __call__(self, updates: int, steps: int, metrics: Mapping[str, float]) -> None:
        """Takes in newer numbers, after so many environment steps."""
        self._known |= metrics
        before, self._steps = self._steps, min(steps, self._total)
        self.advance(self._steps - before, self.text())

    def text(self) -> str:
        """What is known, in words."""
        names = [name for name in SHOWN if name in self._known and (self._returns or name not in OF_RETURNS)]
        return ", ".join(SHOWN[name].format(self._known[name]) for name in names).replace(",  of", " of")


def warm_up_line(metrics: Mapping[str, float]) -> str:
    """What is said of a warm-up beside the count of its updates."""
    shown = {
        "q": "critic/q_mean",
        "held-out error": "heldout/action_error",
        "TD": "heldout/td_error",
        "Q excess": "heldout/q_overestimation",
        "updates/s": "learner/updates_per_second",
    }
    return ", ".join(f"{name} {metrics[key]:.2f}" for name, key in shown.items() if key in metrics)

"""An actor as the operator's page sees it, and what it hears from there.

The control loop only sets a few attributes; who looks reads them from a thread of its own (data/desk/desk.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.desk.warnings_kept import KeptWarnings
from ...data.errors import WarmloopError
from ..endings.success import check_unattended
from ..environment.environment import Environment
from ..intervention.intervention import Intervener, Signal, Taken
from .page_intervener import AtThePage
from .page_words import SIGNALS, Asked, PageWords

if TYPE_CHECKING:
    from ..delivery.client import Client

NONE, ACTING, BETWEEN = "not yet acting", "acting", "between two episodes"
EVALUATING, PAUSED, WAITING = "evaluating", "paused", "waiting for the learner"
MOST_EPISODES = 500  # of an evaluation that the page asks for
HELD = (
    "Its rows are with the learner at once, so nothing can be dropped: start the actor with --config.actor.hold_episodes to discard or to "
    "record again."
)


class ActorDesk:
    """See the module. `stop` brings the run to its orderly end.

    Attributes:
        words: what was said at the page and waits.
        doing: what the actor does now.
        warnings: the process's, where they are kept.
    """

    def __init__(self, stop: Callable[[], object] = lambda: None):
        self.words, self.doing, self.stop = PageWords(), NONE, stop
        self._environment: Environment | None = None
        self._client: Client | None = None
        self._hold, self._frame = False, lambda: None
        self.warnings: KeptWarnings | None = None
        self._episode = self._version = -1
        self._step = self._late = self._steps = 0
        self._taken: Taken | None = None
        self._seen = 0  # observations
        self._last: dict[str, Any] = {}

    def attach(self, environment: Environment, client: Client, hold: bool, frame: Callable[[], np.ndarray | None]) -> None:
        """What it shows: `frame` gives the newest picture that was drawn of an environment without cameras, if one was."""
        self._environment, self._client, self._hold, self._frame = environment, client, hold, frame

    def beside(self, intervener: Intervener | None) -> Intervener:
        """The person at the page, beside whoever takes over at the robot."""
        return AtThePage(self.words, intervener)

    # The control loop's side.

    def begun(self, episode: int) -> None:
        """An episode begins."""
        self._episode, self._step, self._taken, self.doing = episode, 0, None, ACTING
        self._seen += 1

    def stepped(self, step: int, taken: Taken, version: int) -> None:
        """A step was taken, by the policy of that version."""
        self._step, self._version, self._steps = step, version, self._steps + 1
        late = taken.result.info.get("late")
        self._late += isinstance(late, bool | np.bool_) and bool(late)
        self._taken = taken
        self._seen += 1

    def saw(self) -> None:
        """A step of an evaluation was taken."""
        self._seen += 1

    def ended(self, episode: int, outcome: str, signal: Signal | None) -> None:
        """An episode ended so, by a person's word where there is one."""
        self._last = {"episode": episode, "outcome": outcome, "signal": signal and signal.value, "time": time.time()}
        self.doing = BETWEEN

    # The desk's side.

    def show(self) -> Mapping[str, Any]:
        client, taken = self._client, self._taken
        known: dict[str, Any] = {}
        if client is not None:
            counts = client.statistics()
            known = {
                "lag": max(client.newest_version - self._version, 0) if self._version >= 0 else 0,
                "waiting": counts["pending"],
                "held": counts["held"],
                "weights_age": client.weights_age,
            }
        if taken is not None:
            known |= {"reward": float(taken.result.raw_reward), "intervened": taken.intervened}
        return known | {
            "kind": "actor",
            "doing": self.doing,
            "episode": self._episode,
            "step": self._step,
            "steps": self._steps,
            "version": self._version,
            "late": self._late,
            "task": self._environment.task if self._environment else "",
            "takes": {word: self._why_not(word) for word in ("success", "failure", "discard", "rerecord", "evaluate")},
            "pause": self.words.paused,
            "evaluation": self.words.waiting,
            "last": self._last,
            "said": self.warnings.kept if self.warnings else [],
        }

    def pictures(self) -> Mapping[str, tuple[int, np.ndarray]]:
        """Of all cameras, those among them that the policy does not see."""
        if self._environment is None:
            return {}
        whole, number = self._environment.whole, self._seen
        views = whole if isinstance(whole, Mapping) else {"camera": whole}
        shown = {name: view for name, view in views.items() if is_picture(view)}
        if not shown and (frame := self._frame()) is not None:
            shown = {"view": frame}
        return {name: (number, view[-1] if view.ndim == 4 else view) for name, view in shown.items()}

    def hear(self, word: str, values: Mapping[str, Any], viewer: str) -> str:
        if word in SIGNALS:
            if why := self._why_not(word):
                return why
            if self.doing != ACTING:
                return f"No training episode is under way (the actor is {self.doing}), so the word would not count."
            self.words.signal(SIGNALS[word], viewer)
        elif word in ("pause", "resume"):
            self.words.paused = word == "pause"
        elif word == "stop":
            self.stop()
        elif word == "evaluate":
            episodes = values.get("episodes")
            if isinstance(episodes, bool) or not isinstance(episodes, int) or not 1 <= episodes <= MOST_EPISODES:
                return f"An evaluation has 1 to {MOST_EPISODES} episodes."
            if why := self._why_not(word):
                return why
            self.words.ask(Asked(episodes, viewer))
        else:
            return f'There is no word "{word[:40]}".'
        return ""

    def lost(self, viewer: str) -> None:
        self.words.lost(viewer)

    def _why_not(self, word: str) -> str:
        if word in (Signal.DISCARD.value, Signal.RERECORD.value) and not self._hold:
            return HELD
        if word == "evaluate" and self._environment is not None:
            try:
                check_unattended(self._environment.config.success, "An evaluation")
            except WarmloopError as error:
                return str(error)
        return ""


def is_picture(view: object) -> bool:
    """Whether a part of an observation is a camera's picture, or a stack of its newest ones."""
    return isinstance(view, np.ndarray) and view.dtype == np.uint8 and view.ndim in (3, 4) and view.shape[-1] in (1, 3, 4)

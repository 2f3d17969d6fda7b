"""The best policy so far, and when success falls below it: judged by the episodes that each policy's actions were of.

Episodes of the policy that is being trained are counted in blocks, in the order they come: ten training episodes, or one evaluation. The
last 1, 2, 4 and 8 blocks are windows. A window stands for the policy that acted in its middle. The best policy is that of the window whose
interval has had the highest lower bound; while both act (below), the odds must be on it, too. Success has fallen where a later window's
upper bound lies below that.

Every block is another look at the same question, so look number n takes intervals of level 1 - 0.1 / n: 90 % at first, 99 % at the tenth.
Then a run of 1,000 episodes without a fall is told of one with a probability of at most about 5 % (tests/learner/judging/test_best.py).

With `keep_best=act` the best policy and the trained one take turns (`turns.py`).

Policies are kept as the bytes that actors get, which every publication makes anyway: keeping one costs neither the device's memory nor
its time. Sampled and deterministic actions are two policies, so only one of the two kinds of episodes is judged.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...data.wire.weights import Snapshot
from ..checkpoints.stored_policies import POLICIES
from ..config import LearnerConfig
from .reported import TRAINING, Outcome
from .tally import Tally
from .turns import Comparison, Turns

WINDOWS = (1, 2, 4, 8)  # blocks
BLOCKS_OF_WINDOW = 2  # blocks of training episodes in the least window
RISK = 0.1  # that the interval of the first look misses its mean; of look n it is a part in n
SURER = 1.28  # standard errors for the run to stand by the best policy and not by the trained one: odds of nine to one
RECENT, RECENT_BYTES = 64, 256 << 20  # publications that are remembered, for what a report says of one

log = logging.getLogger("warmloop")


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Consecutive episodes of the trained policy, and the version that stands for them.

    Attributes:
        policy: the version that acted in the middle.
        steps: environment steps of the run when the last of them was heard of.
        number: blocks of the run up to its end.
    """

    policy: Snapshot
    steps: int = 0
    number: int = 0
    tally: Tally = Tally()


class BestPolicy:
    """Keeps the best policy of a run, tells of a fall, and says which policy the actors shall have. Not thread-safe: the loop owns it.

    Args:
        config: `keep_best`, of which "auto" is "keep" here, and `best_window` count.
        judged: TRAINING or EVALUATION, the kind of episodes that decides.
        success: whether successes are counted; else returns.

    Attributes:
        fallen: success has fallen, and has not come back yet.
        left_out: training episodes that were not counted, since a person took over or actions were random.
    """

    def __init__(self, config: LearnerConfig, judged: str = TRAINING, success: bool = True):
        self.mode, self.window, self.judged, self.success = config.keep_best, config.best_window, judged, success
        self.mode = "keep" if self.mode == "auto" else self.mode
        self.fallen, self.left_out = False, 0
        self._comparison = Comparison(success)
        self._turns = Turns(self._comparison, config.best_window, counted_here=judged != TRAINING)
        self.kept: Stretch | None = None
        self._recent: deque[Snapshot] = deque(maxlen=RECENT)
        self._blocks: deque[Stretch] = deque(maxlen=max(WINDOWS))
        self._open, self._middle = Tally(), list[Snapshot]()  # of the block that is under way; the policy of its middle, once that has come
        self._noise: deque[Tally] = deque(maxlen=2 * max(WINDOWS))  # blocks, for how much episodes of one policy differ
        self._number = self._looks = 0

    @property
    def acting(self) -> bool:
        """Whether the best policy has the next episode."""
        return self._turns.acting

    @property
    def offered(self) -> Snapshot:
        """The policy that the actors shall have."""
        return self.kept.policy if self.kept is not None and self.acting else self._recent[-1]

    @property
    def ahead(self) -> bool:
        """Whether the run stands by the best policy and not by the trained one."""
        if self.mode != "act":
            return self.fallen
        return self._turns.ahead(Tally() if self.kept is None else self.kept.tally, SURER)

    @property
    def level(self) -> float:
        """Of the intervals of the newest look."""
        return 1.0 - RISK / max(self._looks, 1)

    def published(self, snapshot: Snapshot) -> None:
        """A version of the trained policy is there."""
        if self._recent and self._recent[-1].version == snapshot.version:
            self._recent.pop()
        self._recent.append(snapshot)
        most = 1 if self.mode == "off" else max(1, RECENT_BYTES // max(len(snapshot.data), 1))
        while len(self._recent) > most:
            self._recent.popleft()
        if self.kept is None:
            self.kept = Stretch(snapshot)
        elif self.kept.policy.version == snapshot.version:
            self.kept = dataclasses.replace(self.kept, policy=snapshot)

    def heard(self, scalars: Mapping[str, float], steps: int) -> None:
        """Takes in an actor's report that came after `steps` environment steps."""
        outcome = Outcome.of(scalars, self.success)
        if self.mode == "off" or outcome is None or self.kept is None:
            return
        if not 0 <= outcome.version <= self._recent[-1].version:  # nobody's alone, or of an earlier learner that got further
            self.left_out += outcome.kind == TRAINING
            return
        by_best = (self.fallen or self.mode == "act") and outcome.version == self.kept.policy.version
        if outcome.kind == self.judged:
            if by_best:
                self.kept = dataclasses.replace(self.kept, tally=self.kept.tally + outcome.tally)
            else:
                self._count(outcome, steps)
        if self.mode == "act" and outcome.kind == TRAINING:
            self._turns.take(by_best, outcome.tally, self.kept.tally)

    def _count(self, outcome: Outcome, steps: int) -> None:
        """Adds to the open block, and judges once that is whole."""
        size, self._open = max(self.window // BLOCKS_OF_WINDOW, 1), self._open + outcome.tally
        whole = self._open.count >= size or outcome.kind != TRAINING
        if not self._middle and (whole or 2 * self._open.count >= size):
            self._middle = [next((kept for kept in reversed(self._recent) if kept.version <= outcome.version), self._recent[0])]
        if whole:
            self._number += 1
            self._noise.append(self._open)
            self._blocks.append(Stretch(self._middle[0], steps, self._number, self._open))
            self._open, self._middle = Tally(), []
            self._judge()

    def _windows(self) -> dict[int, Stretch]:
        """The windows that end now, by their numbers of blocks; those that are long enough to be judged."""
        blocks, found = list(self._blocks), {}
        for size in WINDOWS:
            part = blocks[-size:]
            tally = sum((block.tally for block in part), Tally())
            if len(part) == size and tally.count >= self.window:
                found[size] = dataclasses.replace(part[-1], policy=part[-max(size // 2, 1)].policy, tally=tally)
        return found

    def _judge(self) -> None:
        """Another look: is there a better policy than the best one, a fall, or an end of it?"""
        windows, kept = self._windows(), self.kept
        if not windows or kept is None:
            return
        self._looks += 1
        best, floor = max(windows.values(), key=self._low), self._low(kept)
        in_doubt = self.mode == "act" and kept.tally.count > 1 and not self._comparison.better(best.tally, kept.tally)
        if self._low(best) > floor and not in_doubt:
            if self.fallen:
                self._come_back(best.tally, kept.tally)
            self.kept = best
            self._turns.another()
        elif self.fallen:
            well = [window for window in windows.values() if window.tally.mean >= kept.tally.mean]
            if well:
                self._come_back(well[0].tally, kept.tally)
        else:
            since = [window for size, window in windows.items() if size <= self._number - kept.number and self._high(window) < floor]
            if since:
                self._fall(min(since, key=self._high), kept)

    def _fall(self, window: Stretch, kept: Stretch) -> None:
        self.fallen = True
        then = (
            "That one has most of the episodes until the trained one does as well."
            if self.mode == "act"
            else "The trained policy acts on; the other is what is evaluated and exported, and learner.keep_best=act would act by it."
        )
        log.warning(
            "%s fell: %s %s episodes (%s), where the policy of update %d had %s (%s; %.1f %% intervals). %s",
            self._measure, self._counted(window.tally, "the last "), self.judged, self._range(window.tally),
            kept.policy.version, self._counted(kept.tally), self._range(kept.tally), 100 * self.level, then,
        )  # fmt: skip
        self._begin_anew()

    def _come_back(self, trained: Tally, best: Tally) -> None:
        self.fallen = False
        log.info(
            "%s is back: the trained policy has %s, beside %s of the best one.",
            self._measure, self._counted(trained), self._counted(best),
        )  # fmt: skip
        self._begin_anew()

    def _begin_anew(self) -> None:
        """What was before a fall, or before its end, says nothing of what is after."""
        self._blocks.clear()
        self._open, self._middle = Tally(), []

    @property
    def judged_well(self) -> bool:
        """Whether the best policy has had episodes enough to be spoken of."""
        return self.kept is not None and 2 * self.kept.tally.count >= self.window

    def told(self) -> str:
        """One sentence about the best policy; "" where none was judged."""
        if not self.judged_well or self.kept is None:
            return ""
        version, tally = self.kept.policy.version, self.kept.tally
        newest = " Success has fallen since." if self.fallen else ""
        newest += " The run stands by it: it is what is evaluated and exported." if self.ahead else ""
        return (
            f"The best policy is that of update {version}, after {self.kept.steps} environment steps: {self._counted(tally)} {self.judged} "
            f"episodes ({self._range(tally)}; {100 * self.level:.1f} % interval). --step=best evaluates and exports it.{newest}"
        )

    def metrics(self) -> dict[str, float]:
        """The best policy and the newest window that could be judged, as scalars; empty where none was."""
        if not self.judged_well or self.kept is None:
            return {}
        shown = {"best/step": float(self.kept.policy.version), "best/environment_steps": float(self.kept.steps)}
        shown |= {"best/fallen": float(self.fallen), "best/ahead": float(self.ahead), "best/episodes_left_out": float(self.left_out)}
        newest = min(self._windows().items(), default=None)
        name = "success" if self.success else "return"
        for prefix, stretch in (("best", self.kept), *([] if newest is None else [("recent", newest[1])])):
            low, high = self._interval(stretch.tally)
            shown[f"{prefix}/success_rate" if self.success else f"{prefix}/episode_return"] = stretch.tally.mean
            shown |= {f"{prefix}/{name}_low": low, f"{prefix}/{name}_high": high, f"{prefix}/episodes": float(stretch.tally.count)}
        return shown

    def state(self, store: Callable[[Sequence[Snapshot]], list[dict[str, Any]]]) -> dict[str, Any] | None:
        """What a checkpoint says of it, in JSON's values; None where nothing is kept. `store` writes policies and says where."""
        if self.mode == "off" or self.kept is None:
            return None
        stretches = [self.kept, *self._blocks]
        policies = list({one.version: one for one in (*(stretch.policy for stretch in stretches), *self._middle)}.values())
        places = {policy.version: place for place, policy in enumerate(policies)}
        kept, *blocks = (
            {"policy": places[one.policy.version], "steps": one.steps, "number": one.number, "tally": dataclasses.astuple(one.tally)}
            for one in stretches
        )
        turns = self._turns.state()
        return {
            POLICIES: store(policies), "kept": kept, "blocks": blocks, "middle": [places[one.version] for one in self._middle],
            "open": [dataclasses.astuple(self._open)], "rival": turns["rival"], "probes": turns["probes"],
            "noise": [dataclasses.astuple(one) for one in self._noise],
            "counts": [self._number, self._looks, turns["number"], self.left_out], "judged": self.judged, "fallen": self.fallen,
            "acting": turns["acting"], "ahead": self.ahead, "in_a_row": turns["in_a_row"],
        }  # fmt: skip

    def restore(self, values: Mapping[str, Any], policies: Sequence[Snapshot]) -> None:
        """Goes on from a checkpoint's `state`. Where other episodes are judged now, the best policy is kept and all counts begin anew."""

        def stretch(one: Mapping[str, Any]) -> Stretch:
            return Stretch(policies[one["policy"]], one["steps"], one["number"], Tally(*one["tally"]))

        self.kept = stretch(values["kept"])
        if values["judged"] != self.judged:
            self.kept = Stretch(self.kept.policy)
            return
        self._blocks.extend(stretch(one) for one in values["blocks"])
        self._middle, self.fallen = [policies[place] for place in values["middle"]], values["fallen"]
        (self._open,), noise = ([Tally(*one) for one in values[name]] for name in ("open", "noise"))
        self._noise.extend(noise)
        self._number, self._looks, turn, self.left_out = values["counts"]
        self._turns.restore(values, turn, acting=self.fallen)  # before there was `acting`, the best policy acted within a fall
        self._turns.acting &= self.mode == "act"

    @property
    def _measure(self) -> str:
        return "Success" if self.success else "The return"

    def _counted(self, tally: Tally, which: str = "") -> str:
        if self.success:
            return f"{int(tally.total)} of {which}{tally.count}"
        return f"{tally.mean:.4g} over {which}{tally.count}"

    def _range(self, tally: Tally) -> str:
        low, high = self._interval(tally)
        return f"{low:.2f} to {high:.2f}" if self.success else f"{low:.4g} to {high:.4g}"

    def _interval(self, tally: Tally) -> tuple[float, float]:
        """At the level of this look. A few returns that happen to be alike say little of how much returns differ; that is taken within
        the newest blocks, between which the policy changes."""
        freedom = sum(block.count - 1 for block in self._noise)
        within = sum(block.variance * (block.count - 1) for block in self._noise) / max(freedom, 1)
        return tally.interval(self.level, self.success, within)

    def _low(self, stretch: Stretch) -> float:
        return self._interval(stretch.tally)[0]

    def _high(self, stretch: Stretch) -> float:
        return self._interval(stretch.tally)[1]

"""How a run ended and began, with intervals; and its clock, which stands still while nothing ran."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ...learner.judging.tally import Tally
from ..run.run_history import BEGAN, JUDGED, last
from .story import Record, Story

LEVEL = 0.95
EVALUATION = "evaluation/success_rate"
RECENT_EPISODES = 20  # that the metrics of training episodes are the mean of


@dataclasses.dataclass(frozen=True)
class Result:
    """What so many episodes of a policy showed.

    Attributes:
        when: in words.
        how: which actions were judged, in words.
        episodes: how many; 0 where that is not known.
        success, returns: mean and the ends of its 95 % interval (None where there is none); None where it was not measured.
        length: mean steps of an episode.
    """

    when: str
    how: str
    episodes: int
    success: tuple[float, tuple[float, float] | None] | None
    returns: tuple[float, tuple[float, float] | None] | None
    length: float | None = None

    def measured(self, returns: bool) -> tuple[float, tuple[float, float] | None] | None:
        """The one of the two that the run learns for, or else the other one."""
        first, second = (self.returns, self.success) if returns else (self.success, self.returns)
        return first or second


def of_evaluation(record: Mapping[str, Any], when: str) -> Result:
    """The result in a record of an evaluation."""
    count, rate = int(record.get("evaluation/episodes", 0)), record[EVALUATION]
    length = record.get("evaluation/episode_length")
    mean, spread = record.get("evaluation/episode_return"), record.get("evaluation/return_std", 0.0)
    returns = None if mean is None else (mean, _student(Tally.of(mean, count, spread), "evaluation/return_std" in record))
    return Result(when, "the policy's mean action", count, (rate, _wilson(count, rate)), returns, length)


def of_judgement(line: Mapping[str, Any], when: str) -> Result:
    """The result in what `warmloop-evaluate` says."""
    count, rate = int(line["episodes"]), float(line["success_rate"])
    return Result(when, str(line.get("actions", "")), count, (rate, _wilson(count, rate)), (line["mean_return"], None), line["mean_length"])


def of_training(record: Record, when: str) -> Result:
    """The result of the newest training episodes of a record, which has their means."""
    heard = sum(value for name, value in record.items() if name.startswith("actors/") and name.endswith("/episodes"))
    count, rate = int(min(RECENT_EPISODES, heard)), record["actor/success_rate"]
    mean, helped = record.get("actor/episode_return"), record.get("actor/intervention_rate", 0.0) > 0
    how = "as it acted in training" + (", with a person's or a teacher's help" if helped else "")
    returns = None if mean is None else (mean, None)
    return Result(when, how, count, (rate, _wilson(count, rate)), returns, record.get("actor/episode_length"))


def evaluations(story: Story) -> list[Record]:
    """The records of the fine-tuning's evaluations, in their order."""
    found = [record for record in story.online if EVALUATION in record]
    return sorted(found, key=lambda record: record.get("evaluation/environment_steps", record.get("environment_steps", 0)))


def results(story: Story) -> tuple[Result | None, Result | None]:
    """The policy after the warm-up and at the end, judged alike wherever that can be; None where there was none, or nobody judged it."""
    judged = [last(story.history, JUDGED, phase) for phase in ("warmup", "online")]
    if all({"episodes", "success_rate", "mean_return", "mean_length"} <= line.keys() for line in judged):
        return of_judgement(judged[0], "after the warm-up"), of_judgement(judged[1], "after the fine-tuning")
    warm = next((of_evaluation(record, "after the warm-up") for record in reversed(story.warm) if EVALUATION in record), None)
    found = evaluations(story)
    if found and not found[0].get("evaluation/environment_steps", 1) and began_warm(story):
        warm = of_evaluation(found[0], "after the warm-up")
        found = found[1:]
    if found:
        place = int(found[-1].get("evaluation/environment_steps", found[-1].get("environment_steps", 0)))
        return warm, of_evaluation(found[-1], f"after {place:,} of {story.steps:,} steps")
    newest = next((record for record in reversed(story.online) if "actor/success_rate" in record), None)
    return warm, None if newest is None else of_training(newest, "in the last training episodes")


def began_warm(story: Story) -> bool:
    """Whether the fine-tuning went on from a warm-up."""
    began = last(story.history, BEGAN, "online")
    warm_updates = story.checkpoints[-1].meta.get("warm_updates", 0) if story.checkpoints else 0
    return bool(began.get("checkpoint") or warm_updates)


class RunningTime:
    """Seconds of a phase at a time of day: the time between the end of one of its processes and the start of the next is left out."""

    def __init__(self, records: Sequence[Record], history: Sequence[Mapping[str, Any]], phase: str):
        starts = sorted(line["time"] for line in history if line["event"] == BEGAN and line["phase"] == phase)
        times = sorted({record["time"] for record in records} | {line["time"] for line in history if line["phase"] == phase})
        self.first, self._gaps = times[0] if times else 0.0, list[tuple[float, float]]()
        for start in starts[1:]:
            before = max((time for time in times if time < start), default=start)
            self._gaps.append((before, start))
        self.total = self(times[-1]) if times else 0.0

    def __call__(self, time: float) -> float:
        return time - self.first - sum(min(time, end) - begin for begin, end in self._gaps if time > begin)


def clocks(story: Story) -> dict[str, RunningTime]:
    """The clock of each phase that ran."""
    records = {"warmup": story.warm, "online": story.online}
    return {phase: RunningTime(found, story.history, phase) for phase, found in records.items() if found}


def _wilson(count: int, rate: float) -> tuple[float, float] | None:
    return Tally.successes(count, rate).interval(LEVEL, success=True) if count > 0 and 0 <= rate <= 1 else None


def _student(tally: Tally, known: bool) -> tuple[float, float] | None:
    return tally.interval(LEVEL, success=False) if known and tally.count > 1 else None


def over_seeds(values: Sequence[float], episodes: Sequence[int] = ()) -> tuple[float, tuple[float, float] | None]:
    """The mean over runs that differ by seed alone and its 95 % interval (Student's); none of one run.

    Of success rates, of so many `episodes` each, it is within 0 and 1, and no narrower than Wilson's over all episodes: that seeds happen
    to agree does not make few episodes more.
    """
    tally = sum((Tally.of(value) for value in values), Tally())
    if tally.count < 2:
        return tally.mean, None
    low, high = tally.interval(LEVEL, success=False)
    if not episodes:
        return tally.mean, (low, high)
    pooled = sum((Tally.successes(count, value) for count, value in zip(episodes, values, strict=True)), Tally())
    least, most = pooled.interval(LEVEL, success=True)
    return tally.mean, (max(min(low, least), 0.0), min(max(high, most), 1.0))

"""What an inspection found: findings ranked by what they would do to training, and the figures behind them."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files.whole_files import listed


class Severity(enum.IntEnum):
    """What a defect would do to training."""

    NOTE = 0  # worth knowing; training goes as it would
    HARMS = 1  # training runs and learns something worse, or more slowly
    BREAKS = 2  # the data cannot be loaded, or what is learnt from it is wrong


@dataclasses.dataclass(frozen=True)
class Finding:
    """One defect, where it is, and what to do.

    Attributes:
        check: name of the check that found it.
        severity: what it would do to training.
        file: the file (or stream) it is in.
        episode: number of the episode as the file has it, or of an example where the whole file is concerned; None without one.
        step: the first step concerned, from 0; None where the whole episode is.
        what: one sentence saying what is wrong.
        advice: one sentence saying what to do.
        whole: the whole data set is concerned, and `episode` is an example.
    """

    check: str
    severity: Severity
    file: str
    episode: int | None
    step: int | None
    what: str
    advice: str
    whole: bool = False

    @property
    def place(self) -> str:
        """The episode and step, in words."""
        if self.episode is None:
            return ""
        return f"episode {self.episode}" if self.step is None else f"episode {self.episode}, step {self.step}"


@dataclasses.dataclass(frozen=True)
class Column:
    """One number of an observation or action, or the reward, over all steps.

    Attributes:
        kind: observation, action or reward.
        repeated: share of the steps on which it keeps its value.
        histogram: counts in 20 equal bins of [-1, 1], outer values in the outer bins; for actions only.
    """

    name: str
    kind: str
    mean: float
    std: float
    low: float
    high: float
    repeated: float
    not_finite: int
    histogram: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Camera:
    """One camera, over all steps.

    Attributes:
        shape: of a picture, without the axis of steps.
        low, high, mean: of its values.
        black: pictures in which nothing is brighter than noise.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    pictures: int
    low: float
    high: float
    mean: float
    black: int


@dataclasses.dataclass(frozen=True)
class EpisodeLine:
    """One episode in figures.

    Attributes:
        undiscounted_return: sum of the recorded rewards.
        success: by the definition that the summary names.
        ending: "terminated", or "truncated" where its last row keeps the bootstrap.
        jerk: mean absolute second difference of its actions.
        saturation: share of its action values at a limit.
        quality: score in [0, 1]; 0 where something breaks training.
        worst: the gravest finding in it, None where there is none.
    """

    file: str
    number: int
    length: int
    undiscounted_return: float
    success: bool
    ending: str
    jerk: float
    saturation: float
    quality: float
    worst: Severity | None


@dataclasses.dataclass(frozen=True)
class Summary:
    """All files in figures.

    Attributes:
        files: as they were named.
        steps_after_success: steps that come after their episode's first success, which `reward.terminate_on_success` leaves out.
        success_definition: what `success` means for these episodes.
        environment: what they were compared with, or why with none.
        coverage: share of the reference's ranges that the data visits, by name; empty without a reference.
        unread: by file, the names of its arrays that are not read; files of which all is read are left out.
    """

    files: tuple[str, ...]
    episodes: int
    steps: int
    success_definition: str
    successes: int
    successes_at_the_end: int
    steps_after_success: int
    environment: str
    coverage: dict[str, float]
    unread: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def not_read(self) -> str:
        """What is not read, for a person; "" where all is."""
        told = [listed(names) + (f" of {Path(file).name}" if len(self.files) > 1 else "") for file, names in self.unread.items()]
        return "; ".join(told)


@dataclasses.dataclass(frozen=True)
class Inspected:
    """Everything an inspection found; `findings` are the gravest first.

    Attributes:
        shown: by camera, the numbers of some episodes, each with its first, middle and last picture; not part of the JSON.
    """

    summary: Summary
    columns: tuple[Column, ...]
    episodes: tuple[EpisodeLine, ...]
    findings: tuple[Finding, ...]
    cameras: tuple[Camera, ...] = ()
    shown: Mapping[str, Sequence[tuple[int, Sequence[np.ndarray]]]] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def breaks_training(self) -> bool:
        """Whether anything was found that would break training."""
        return any(finding.severity == Severity.BREAKS for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The report as plain dicts, lists, numbers and strings; severities by name, numbers that are not finite as null."""
        said = dataclasses.asdict(dataclasses.replace(self, shown={}))
        del said["shown"]
        return _plain(said) | {"breaks_training": self.breaks_training}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Severity):
        return value.name.lower()
    return None if isinstance(value, float) and not math.isfinite(value) else value

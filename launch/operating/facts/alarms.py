"""What a person should look at, in words."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ....data.wire import MIB
from ...flags.progress import span
from .desks import Process
from .run_files import RunFiles

SILENT_ACTOR = 10.0  # seconds
LITTLE_DISK, HARDLY_DISK = 5 * 1024 * MIB, 512 * MIB
BEYOND = 0.05  # share of the range of returns by which Q may be above its bound
SAID_SECONDS = 600.0  # for which a warning of a process is shown
MOST_SAID = 5


class Alarm(NamedTuple):
    """`level` is "stop" for what ends or spoils the run, "look" for what may; `since` in seconds since 1970, 0 where not known."""

    level: str
    text: str
    since: float = 0.0


def alarms(files: RunFiles, processes: Mapping[str, Process]) -> list[Alarm]:
    """What is wrong now, the worst first."""
    found = [*_disk(files), *_values(files, processes), *_processes(processes), *_actors(processes), *_said(processes)]
    return sorted(found, key=lambda alarm: alarm.level != "stop")


def _disk(files: RunFiles) -> Iterator[Alarm]:
    free, total = files.disk
    if total and free < LITTLE_DISK:
        level = "stop" if free < HARDLY_DISK else "look"
        yield Alarm(level, f"The disk is nearly full: {free / MIB:,.0f} MiB are free where the run lies. Free space there.")
    if files.newest.get("journal/failing") and not files.ended:
        yield Alarm("stop", "The journal cannot be written: actors keep their rows, and wait. Free space on the run's disk.")


def _values(files: RunFiles, processes: Mapping[str, Process]) -> Iterator[Alarm]:
    numbers = files.newest | _numbers(processes)
    if refused := int(numbers.get("intake/quarantined", 0)):
        yield Alarm("look", f"{refused:,} rows were kept aside and not learnt from: not finite, or beyond what is plausible.")
    low, high = files.bounds
    largest = numbers.get("critic/q_mean")
    if largest is not None and high < float("inf") and largest > high + BEYOND * (high - max(low, high - 1e6)):
        yield Alarm("look", f"Q is {largest:.3g} on average, and no return can be above {high:.3g}: the critics overestimate.")
    if numbers.get("best/fallen"):
        yield Alarm("look", "Success is below the best policy's; the best one is kept.")


def _processes(processes: Mapping[str, Process]) -> Iterator[Alarm]:
    for process in processes.values():
        if process.silent:
            yield Alarm("stop", f"{process.name} has not answered for {span(process.silent)}: it hangs, or its machine is busy.")
        for camera, picture in process.pictures.items():
            if picture.frozen:
                frozen = span(picture.frozen)
                yield Alarm("stop", f"The camera {camera} of {process.name} is frozen: the same picture, to the last bit, for {frozen}.")


def _actors(processes: Mapping[str, Process]) -> Iterator[Alarm]:
    for name, value in _numbers(processes).items():
        if name.endswith("/silence_seconds") and value > SILENT_ACTOR:
            yield Alarm("stop", f"{name.split('/')[1]} is silent: nothing heard for {span(value)}.")


def _said(processes: Mapping[str, Process]) -> Iterator[Alarm]:
    """What the processes warned of in the last minutes, the newest first; warnings that differ by their numbers are one."""
    newest, counts = dict[tuple[str, str], tuple[float, str, str]](), Counter[tuple[str, str]]()
    for process in processes.values():
        for when, level, text in process.state.get("said", []):
            if time.time() - when < SAID_SECONDS:
                kind = process.name, re.sub(r"\d+", "#", text)
                newest[kind], counts[kind] = (when, level, text), counts[kind] + 1
    for kind, (when, level, text) in sorted(newest.items(), key=lambda item: -item[1][0])[:MOST_SAID]:
        often = f" ({counts[kind]} times in {span(SAID_SECONDS)})" if counts[kind] > 1 else ""
        yield Alarm("look" if level == "warning" else "stop", f"{kind[0]}: {text}{often}", when)


def _numbers(processes: Mapping[str, Process]) -> dict[str, float]:
    return processes["learner"].state.get("numbers", {}) if "learner" in processes else {}


def as_shown(found: list[Alarm]) -> list[dict[str, Any]]:
    """As the page has them."""
    return [alarm._asdict() for alarm in found]

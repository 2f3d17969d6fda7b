"""The state of a run as the page shows it: of its files, and of its processes where they run on this machine."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from ...flags.progress import span
from .alarms import alarms, as_shown
from .desks import Desks, Process
from .run_files import EVALUATION, RunFiles, rate_of, result_of

PACE_SECONDS = 120.0  # over which the time to the end is reckoned
LEARNER_NUMBERS = {
    "updates_per_second": "learner/updates_per_second",
    "utd": "learner/updates_per_step",
    "utd_asked": "learner/updates_per_step_asked",
    "offline": "learner/effective_offline_ratio",
    "offline_asked": "learner/offline_ratio",
    "critic_loss": "critic/loss",
    "actor_loss": "actor/loss",
    "q": "critic/q_mean",
    "waiting": "intake/waiting",
}
MOST_EVALUATIONS = 12


class PageState:
    """Puts together what a viewer gets."""

    def __init__(self, files: RunFiles, desks: Desks):
        self.files, self.desks = files, desks
        self._places: deque[tuple[float, int]] = deque(maxlen=600)  # when the run was how far

    def now(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        files, processes = self.files, self.desks.processes
        steps = max(files.steps, int(self._learner.get("steps", 0)))
        self._places.append((time.monotonic(), steps))
        free, total = files.disk
        return {
            "run": self._run(),
            "steps": steps,
            "updates": int(max(files.newest.get("updates", 0), self._learner.get("updates", 0))),
            "total": self._total,
            "left": self._left(steps),
            "success": {"20": self._recent(20), "100": files.success(100), "warm": result_of(files.warm_result)},
            "return": files.newest.get("actor/episode_return"),
            "interventions": files.newest.get("actor/interventions"),
            "evaluations": [_evaluation(record) for record in files.evaluations[-MOST_EVALUATIONS:]],
            "learner": {name: files.newest.get(metric) for name, metric in LEARNER_NUMBERS.items()} | {"here": "learner" in processes},
            "actors": [self._actor(name) for name in self._actors],
            "alarms": as_shown(alarms(files, processes)),
            "disk": {"free": free, "total": total},
            "changes": files.changes,
            "readings": files.readings,
        }

    @property
    def _learner(self) -> Mapping[str, Any]:
        found = self.desks.processes.get("learner")
        return {} if found is None else found.state

    @property
    def _total(self) -> int:
        """Environment steps of the whole fine-tuning; 0 where that is not known."""
        story = self.files.story
        return 0 if story is None else int(story.section("learner").get("online_steps", 0))

    def _run(self) -> dict[str, Any]:
        files, story = self.files, self.files.story
        running = bool(self.desks.processes)
        return {
            "name": files.folder.path.resolve().name,
            "task": story.task if story else "",
            "agents": story.agents if story else "",
            "phase": files.began.get("phase", "online"),
            "state": "running" if running else "ended" if files.ended else "not running on this machine",
            "finished": bool(files.ended.get("finished")),
            "stopping": bool(self._learner.get("stopping")),
            "here": running,
            "notices": story.notices if story else [],
        }

    def _left(self, steps: int) -> str:
        """How long it takes to the end at the pace of the last minutes, in words."""
        total, now = self._total, time.monotonic()
        if not total or steps >= total or "learner" not in self.desks.processes:
            return ""
        before = next(((when, at) for when, at in self._places if now - when < PACE_SECONDS), None)
        if before is None or steps <= before[1] or now - before[0] < 5.0:
            return ""
        return span((total - steps) * (now - before[0]) / (steps - before[1]))

    def _recent(self, count: int) -> dict[str, Any] | None:
        """Of the newest episodes; of a run whose episodes have no lines, the mean that its metrics have."""
        found, mean = self.files.success(count), self.files.newest.get("actor/success_rate")
        return found if found is not None or mean is None else rate_of(round(mean * count), count) | {"helped": 0}

    @property
    def _actors(self) -> list[str]:
        """Those that are here, and those that the learner knows."""
        known = {name.split("/")[1] for name in self._numbers if name.startswith("actors/")}
        here = {name for name, process in self.desks.processes.items() if process.state.get("kind") == "actor"}
        return sorted(known | here)

    @property
    def _numbers(self) -> Mapping[str, float]:
        return self.files.newest | self._learner.get("numbers", {})

    def _actor(self, name: str) -> dict[str, Any]:
        numbers, here = self._numbers, self.desks.processes.get(name)
        known = {key: numbers.get(f"actors/{name}/{key}") for key in ("steps", "episodes", "success_rate", "silence_seconds", "policy_lag")}
        local = (self.files.folder.spools / name).is_dir()
        shown: dict[str, Any] = {"name": name, "here": here is not None, "local": local, "known": known}
        if here is not None:
            shown |= {key: value for key, value in here.state.items() if key not in ("said", "kind")}
            shown |= {"silent": here.silent, "cameras": _cameras(here)}
        return shown


def _cameras(process: Process) -> list[dict[str, Any]]:
    return [
        {"name": name, "number": picture.number, "size": picture.size, "frozen": picture.frozen}
        for name, picture in sorted(process.pictures.items())
    ]


def _evaluation(record: Mapping[str, float]) -> dict[str, Any]:
    count = int(record.get("evaluation/episodes", 0))
    rate = record[EVALUATION]
    steps = int(record.get("evaluation/environment_steps", record.get("environment_steps", 0)))
    shown = {"steps": steps, "count": count, "rate": rate, "return": record.get("evaluation/episode_return")}
    return shown | (rate_of(round(rate * count), count) if count else {})


def marks(files: RunFiles, after: int, most: int) -> list[dict[str, Any]]:
    """The episodes whose `id` is above `after`, the newest `most` of them, oldest first, each with its note and its clip."""
    with files.lock:
        found = list(itertools.islice(itertools.takewhile(lambda one: one["id"] > after, reversed(files.episodes)), most))
    clips = clips_of(files)
    shown = []
    for episode in reversed(found):
        actor, number = str(episode.get("actor", "")), episode.get("number", -1)
        more = {"note": files.notes.get((actor, number)), "clip": clips.get((actor, number))}
        shown.append(episode | {name: value for name, value in more.items() if value})
    return shown


def clips_of(files: RunFiles) -> dict[tuple[str, int], str]:
    """The clips of training episodes, by actor and number. Names are those of actor/films/clips.py."""
    found = dict[tuple[str, int], str]()
    folder = files.folder.videos
    for path in folder.glob("intervention-*.mp4") if folder.is_dir() else []:
        _, number, _, *actor = path.stem.split("-", 3)
        if number.isdigit():
            found[actor[0] if actor else "actor-0", int(number)] = path.name
    return found

"""The trials of a sweep on the nodes of a Ray cluster. What dies costs its trial, which is run again elsewhere."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator
from typing import Any

from ... import __version__
from ...data.doors.imports import user_folders
from ...data.errors import WarmloopError
from ..clusters.joining import short
from ..flags.common import log
from .seed_files import unpack
from .sweep_runs import Trial, seed_folder
from .sweep_work import Outcome, Work
from .trial_host import Reply, TrialHost

BEAT = 0.5
MOST_LOST = 4  # times on a node that goes on by itself: then it is the trial
WAIT_SECONDS = 60.0  # for a node, before it is said that none starts a trial
PLACE = "a place for a trial"
TPU = "TPU"  # Ray's name for it

Call = Any  # an ObjectRef of Ray's
Life = Generator[Call, Any, None]  # of a seat: gives calls, and is sent their answers


@dataclasses.dataclass(frozen=True)
class TrialPlace:
    """What Ray sets aside for a trial.

    Attributes:
        cpus: one by default; then a trial computes on one thread.
        gpus: 0.25 for four trials on each.
        needs: resources that its node declares, one of each.
        seeds: that learn side by side in it; where runs are halved, it has all of its run.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    needs: tuple[str, ...] = ()
    seeds: int = 1

    def __str__(self) -> str:
        gpus = f", {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.cpus:g} CPU{gpus}{''.join(f', {need}' for need in self.needs)}"


class Seat:
    """A trial host, and the trial that it is at."""

    def __init__(self, actor: Any):
        self.actor = actor
        self.trial: Trial | None = None
        self.node, self.address = "", ""


def on_ray(ray: Any, work: Work, place: TrialPlace) -> Iterator[Outcome]:
    """Does all of it on the cluster that `ray` has joined; outcomes come as trials end.

    Raises:
        WarmloopError: a trial raises it, or fails on one node after the other.
    """
    trials = TrialsOnRay(ray, work, place)
    try:
        yield from trials.outcomes()
    finally:
        trials.close()


class TrialsOnRay:
    """What is to be done, and the seats where it is done. One new seat at a time waits for a node, so that all nodes are used that have
    room, and those that come later."""

    def __init__(self, ray: Any, work: Work, place: TrialPlace):
        self._ray, self._work, self._place = ray, work, place
        self._queue = deque(self._trials())
        self._seats: dict[Call, Seat] = {}
        self._lives: dict[Seat, Life] = {}
        self._data: dict[int, Call] = {}
        self._unplaced: Seat | None = None
        self._since, self._told_of_waiting = time.monotonic(), False
        self._lost, self._said = Counter[str](), set[str]()
        self._done: list[Outcome] = []
        self._gone = (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError, ray.exceptions.OutOfMemoryError)

    def outcomes(self) -> Iterator[Outcome]:
        """Each as it comes, until all is done."""
        while self._queue or any(seat.trial for seat in self._lives):
            self._see_to_a_seat()
            for call in self._ray.wait(list(self._seats), timeout=BEAT)[0]:
                self._answered(call)
                done, self._done = self._done, []
                yield from done

    def close(self) -> None:
        """Ends all that still runs."""
        for seat in self._lives:
            self._ray.kill(seat.actor)

    def _trials(self) -> Iterator[Trial]:
        for name, seeds in self._work.missing.items():
            count = len(seeds) if self._work.halving else self._place.seeds
            for low in range(0, len(seeds), count or 1):
                yield self._work.trial(name, seeds[low : low + count])

    def _see_to_a_seat(self) -> None:
        """Where trials wait, one seat does; where none does, that seat is not needed."""
        if self._queue and self._unplaced is None:
            options = {"num_cpus": self._place.cpus, "num_gpus": self._place.gpus, "resources": dict.fromkeys(self._place.needs, 1.0)}
            accelerators = 1.0 if TPU in self._place.needs else self._place.gpus
            host = self._ray.remote(TrialHost).options(max_restarts=0, max_task_retries=0, **options)
            self._unplaced = seat = Seat(host.remote(self._place.cpus <= 1, accelerators))
            self._lives[seat], self._since = self._life(seat), time.monotonic()
            self._go_on(seat, None)
        elif not self._queue and self._unplaced is not None:
            seat, self._unplaced = self._unplaced, None
            self._seats = {call: other for call, other in self._seats.items() if other is not seat}
            self._leave(seat)
        waits = self._queue and not any(seat.trial for seat in self._lives) and time.monotonic() > self._since + WAIT_SECONDS
        if waits and not self._told_of_waiting:
            self._told_of_waiting = True
            log.warning(
                "the sweep waits for a node with room for a trial, which needs %s (`ray status` shows what nodes have)", self._place
            )

    def _life(self, seat: Seat) -> Life:
        seat.node, seat.address = yield seat.actor.where.remote(user_folders(), __version__)
        self._unplaced, self._told_of_waiting = None, False
        self._lost.pop(PLACE, None)
        while self._queue:
            seat.trial = self._queue.popleft()
            yield from self._run(seat.actor, seat.trial)
            seat.trial = None

    def _run(self, actor: Any, trial: Trial) -> Life:
        work = self._work
        yield actor.begin.remote(trial, self._recorded(trial), work.memory)
        for updates in work.rungs(trial.name):
            scores = yield actor.train.remote(updates)
            if work.halving and not work.halving.goes_on(trial.name, updates, scores):
                self._done.append(Outcome(trial.name, None))
                return
        results, files = yield actor.finish.remote()
        unpack(files, work.out, [seed_folder(work.out, trial.name, seed) for seed in trial.seeds])
        self._done += [Outcome(trial.name, result) for result in results]

    def _recorded(self, trial: Trial) -> Call:
        """A run's data in Ray's store, from which each node takes them once. Runs that share them do so there too."""
        recorded = self._work.runs[trial.name].recorded
        if id(recorded) not in self._data:
            self._data[id(recorded)] = self._ray.put(recorded)
        return self._data[id(recorded)]

    def _answered(self, call: Call) -> None:
        seat = self._seats.pop(call)
        try:
            answer = self._ray.get(call)
        except self._gone as error:
            return self._lose(seat, error)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, WarmloopError):
                raise WarmloopError(f"{error.cause}{f' (on the node {seat.address})' if seat.address else ''}") from None
            if seat is self._unplaced:
                raise WarmloopError(f"A node cannot run trials; is warmloop[ray] installed there? Ray says: {short(error)}") from error
            raise
        if isinstance(answer, Reply):
            for line in [line for line in answer.said if line not in self._said]:
                self._said.add(line)
                log.info("%s", line)
            answer = answer.value
        self._go_on(seat, answer)

    def _go_on(self, seat: Seat, answer: Any) -> None:
        try:
            self._seats[self._lives[seat].send(answer)] = seat
        except StopIteration:
            self._leave(seat)

    def _leave(self, seat: Seat) -> None:
        del self._lives[seat]
        self._ray.kill(seat.actor)

    def _lose(self, seat: Seat, error: Exception) -> None:
        """Has the trial of a seat that is gone run again. Raises WarmloopError where that has happened too often."""
        self._leave(seat)
        if seat is self._unplaced:
            self._unplaced = None
        label = _label(seat.trial) if seat.trial else PLACE
        nodes = self._ray.nodes() if seat.node else []
        self._lost[label] += not nodes or any(node["NodeID"] == seat.node and node["Alive"] for node in nodes)
        if self._lost[label] > MOST_LOST:
            raise WarmloopError(
                f"{label} was lost {self._lost[label]} times though its node goes on. Where a node has too little memory, let it run fewer "
                f"trials by a larger --trial_cpus; `ray logs` has what they said. Ray says: {short(error)}"
            )
        if seat.trial:
            log.warning("%s is lost on %s %s and is run again (%s)", label, seat.address, seat.node[:8], short(error))
            self._queue.appendleft(seat.trial)


def _label(trial: Trial) -> str:
    return f"{trial.name}, seed{'s' * (len(trial.seeds) > 1)} {', '.join(map(str, trial.seeds))}"

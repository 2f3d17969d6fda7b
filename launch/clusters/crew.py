"""All processes of a cluster: started together, stopped in order, and their state in one place.

RUN/cluster/state.json   what `warmloop cluster state` shows
RUN/cluster/events.log   every change of it
RUN/cluster/NAME.log     what each process has said
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ...data.errors import WarmloopError
from ...data.files.whole_files import replacing
from ...data.settings.near_names import did_you_mean
from ...data.wire.address import is_loopback
from ..starting.processes import LEAVE_SECONDS
from .attendant import DONE, GAVE_UP, Attendant, Host, PartState, Place
from .cluster_spec import LEARNER, ClusterSpec, Part
from .handed_secrets import read_part
from .node_host import Order

STATE, EVENTS = "state.json", "events.log"


class Crew:
    """The learner and its workers.

    Args:
        folder: where `warmloop cluster start` was typed.
        encrypted: Ray's links between machines are.
        resume: the learner's first start resumes the run, where there is a checkpoint.
    """

    def __init__(self, spec: ClusterSpec, folder: Path, place: Place, encrypted: bool = False, resume: bool = False):
        self.spec, self.folder, self.encrypted, self.resume = spec, folder, encrypted, resume
        self.files = files_of(spec, folder)
        self.files.mkdir(parents=True, exist_ok=True)
        self.told, self.finished, self.failed = threading.Event(), False, ""
        self._events, self._unwritten, self._lock = list[str](), set[str](), threading.Lock()
        parts = spec.parts()
        keep = partial(partial, self._append)
        self.attendants = {one.name: Attendant(one, place, self.order, self._changed, keep(f"{one.name}.log")) for one in parts}
        self.learner = self.attendants[LEARNER]
        self.workers = [one for name, one in self.attendants.items() if name != LEARNER]
        self._thread = threading.Thread(target=self._run, name="crew", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._write()
        for attendant in self.attendants.values():
            attendant.start()
        self._thread.start()

    def allow(self, name: str) -> str:
        """A person's word that a process may start now; what to say of it. Raises WarmloopError where it does not wait for one."""
        if name not in self.attendants:
            raise WarmloopError(f'There is no process "{name}"{did_you_mean(name, self.attendants, listing=True)}')
        attendant = self.attendants[name]
        if not attendant.allow():
            raise WarmloopError(f'{name} does not wait for a word: it is in the state "{attendant.state.status}".')
        return f"{name} may start"

    def stop(self, at_once: bool = False) -> None:
        """Ends all: the workers first and then the learner; or all at once."""
        self.told.set()
        if at_once:
            for attendant in self.attendants.values():
                attendant.stop(at_once=True)

    def state(self) -> dict[str, Any]:
        """Everything that is shown, as plain values."""
        parts = [dataclasses.asdict(attendant.state) for attendant in self.attendants.values()]
        return {
            "run": self.spec.exp_name,
            "supervisor": os.getpid(),
            "told": self.told.is_set(),
            "finished": self.finished,
            "failed": self.failed,
            "time": time.time(),
            "parts": parts,
        }

    def events(self, since: int) -> list[str]:
        """What has happened since so many events."""
        return self._events[since:]

    def order(self, part: Part, host: Host, again: bool) -> Order:
        """What a host is to start. Raises WarmloopError for what must not go there."""
        if host.elsewhere:
            self._check_distance(part)
        folder = Path(part.folder) if part.folder else self.folder
        secrets: Mapping[str, bytes] = {}
        if part.secrets and self.spec.credentials:
            secrets = read_part(self.folder / Path(self.spec.credentials).expanduser(), part.secrets)
        run = self.spec.run_folder(folder)
        learner = part.kind == LEARNER
        resume_from = str(run.checkpoints) if learner and (again or self.resume) else None
        return Order(f"{run.path}:{part.name}", part.module, part.arguments, str(folder), learner, resume_from, secrets)

    def _check_distance(self, part: Part) -> None:
        if part.kind == "actor" and is_loopback(self.spec.learner.host):
            raise WarmloopError(
                f"{part.name} is on another machine, where {self.spec.learner.host} is not the learner; set learner.host and credentials."
            )
        if part.secrets and not (self.encrypted or self.spec.secrets_in_clear):
            raise WarmloopError(
                f"{part.name} is on another machine, and its credentials would go there in clear: start every node with RAY_USE_TLS=1, or, "
                "in a network that nobody else uses, set secrets_in_clear = true."
            )

    def _run(self) -> None:
        while not (self.learner.join(0.2) or self.told.is_set() or self.learner.state.status == GAVE_UP):
            pass
        if self.learner.state.status == DONE:  # it has asked its actors to leave
            deadline = time.monotonic() + LEAVE_SECONDS
            for worker in self.workers:
                if worker.part.kind == "actor":
                    worker.join(max(0.0, deadline - time.monotonic()))
        elif self.learner.state.status == GAVE_UP:
            self.failed = f"The learner gave up ({self.learner.state.why}); see {self.files / LEARNER}.log"
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            worker.join()
        self.learner.stop()
        self.learner.join()
        self._write(finished=True)  # before anybody who follows may end the supervisor
        self.finished = True

    def _changed(self, state: PartState) -> None:
        line = f"{time.strftime('%H:%M:%S')} {state.name} {state.status}{f' ({state.why})' if state.why else ''}"
        self._events.append(line)
        self._append(EVENTS, f"{time.strftime('%Y-%m-%d')} {line}\n")
        self._write()

    def _write(self, **more: Any) -> None:
        with self._storing(STATE), replacing(self.files / STATE) as file:
            file.write(json.dumps(self.state() | more, indent=1).encode())

    def _append(self, name: str, text: str) -> None:
        with self._storing(name), open(self.files / name, "a", encoding="utf-8") as file:
            file.write(text)

    @contextlib.contextmanager
    def _storing(self, name: str) -> Iterator[None]:
        """One thread writes at a time. A disk that is full costs the file, and no process."""
        with self._lock:
            try:
                yield
            except OSError as error:
                if name not in self._unwritten:
                    self._unwritten.add(name)
                    self._events.append(f"{time.strftime('%H:%M:%S')} {self.files / name} cannot be written: {error.strerror}")


def files_of(spec: ClusterSpec, folder: Path) -> Path:
    """The folder of the crew's own files."""
    return spec.run_folder(folder).cluster


def last_state(spec: ClusterSpec, folder: Path) -> dict[str, Any] | None:
    """What the newest crew has written of its state; None where there was none."""
    path = files_of(spec, folder) / STATE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

"""The page's side of the desks: connections to the run's processes on this machine, their newest states, and words for them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import time
from pathlib import Path
from typing import Any

from ....data.desk.desk_messages import Unpacker, packed
from ....data.errors import WarmloopError
from .camera_picture import CameraPicture

LOOK_SECONDS = 0.5  # between two looks for processes that have begun
ANSWER_SECONDS = 2.0
SILENT_SECONDS = 3.0  # after which a process that shows nothing counts as silent: it shows itself five times a second
READ_BYTES = 1 << 18


@dataclasses.dataclass
class Process:
    """A process of the run as it showed itself last.

    Attributes:
        name: "learner", or the actor's.
        state: what its `show` gives.
        heard: when that came, by the monotonic clock.
        pictures: the newest of each camera.
    """

    name: str
    writer: asyncio.StreamWriter
    state: dict[str, Any] = dataclasses.field(default_factory=dict)
    heard: float = dataclasses.field(default_factory=time.monotonic)
    pictures: dict[str, CameraPicture] = dataclasses.field(default_factory=dict)

    @property
    def silent(self) -> float:
        """Seconds since it showed itself, where that is too long; else 0."""
        seconds = time.monotonic() - self.heard
        return seconds if seconds > SILENT_SECONDS else 0.0


class Desks:
    """Looks at the processes whose desks are in `folder`, which come and go.

    Attributes:
        processes: those that are there, by name.
    """

    def __init__(self, folder: Path):
        self._folder, self.processes = folder, dict[str, Process]()
        self._answers: dict[int, asyncio.Future[str]] = {}
        self._ids, self._tasks = itertools.count(1), set[asyncio.Task[None]]()

    async def run(self) -> None:
        """Looks for desks until it is cancelled."""
        looking = dict[str, asyncio.Task[None]]()
        try:
            while True:
                for path in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []:
                    if path.stem not in looking or looking[path.stem].done():
                        looking[path.stem] = asyncio.create_task(self._look(path))
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in looking.values():
                task.cancel()

    async def say(self, name: str, word: str, viewer: str, **values: Any) -> str:
        """Says a word to a process; "" where it counts, else why not."""
        process = self.processes.get(name)
        if process is None or process.writer.is_closing():
            return f"{name} does not run on this machine, so it cannot be told."
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            process.writer.write(packed({"word": word, "viewer": viewer, "id": number, **values}))
            return await asyncio.wait_for(self._answers[number], ANSWER_SECONDS)
        except (TimeoutError, OSError, RuntimeError):
            self._tell_lost(process, viewer)
            return f"{name} did not answer within {ANSWER_SECONDS:g} s; see its terminal."
        finally:
            del self._answers[number]

    def lost(self, viewer: str) -> None:
        """A viewer is gone: what they said and what has not begun does not count any more."""
        for process in [*self.processes.values()]:
            self._tell_lost(process, viewer)

    def _tell_lost(self, process: Process, viewer: str) -> None:
        if not process.writer.is_closing():  # else the process knows that all its viewers are gone
            with contextlib.suppress(OSError, RuntimeError):
                process.writer.write(packed({"word": "lost", "viewer": viewer}))

    async def _look(self, path: Path) -> None:
        """Stays with one process until it is gone."""
        try:
            where = json.loads(path.read_bytes())["socket"]
            reader, writer = await asyncio.open_unix_connection(where)
        except (OSError, ValueError, KeyError, TypeError):
            return
        process = Process(path.stem, writer)
        unpacker = Unpacker()
        try:
            while data := await reader.read(READ_BYTES):
                for values, picture in unpacker.feed(data):
                    self._take(process, values, picture)
        except (OSError, WarmloopError, KeyError, TypeError):
            return
        finally:
            if self.processes.get(process.name) is process:
                del self.processes[process.name]
            writer.close()

    def _take(self, process: Process, values: dict[str, Any], picture: bytes) -> None:
        match values.get("kind"):
            case "state":
                process.state, process.heard = values["state"], time.monotonic()
                self.processes[process.name] = process
            case "picture":
                known = process.pictures.setdefault(values["camera"], CameraPicture())
                known.take(int(values["number"]), tuple(values["shape"]), picture)
            case "answer" if (answer := self._answers.get(values["id"])) is not None and not answer.done():
                answer.set_result(str(values["refused"]))

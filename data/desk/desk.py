"""The side of the process that is looked at: a socket, and one thread that serves it.

`RUN/desk/NAME.json` says where the socket is: in a temporary folder that its user alone can enter. While nobody looks, the thread
sleeps. Who looks gets the newest state a few times a second, and what they cannot take in time is left out: nothing waits for them,
and nothing piles up. What they say is given to the process as it comes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import WarmloopError
from ..files.whole_files import replacing
from ..running.seldom import Seldom
from .desk_messages import LONGEST_WORD, Unpacker, packed
from .warnings_kept import KeptWarnings

SHOW_SECONDS = 0.2  # between two looks at the process
LOOKING = 4  # connections at once
READ_BYTES = 1 << 16
END_SECONDS = 5.0  # for the thread, which waits for nothing

log = logging.getLogger(__name__)


class Shown(Protocol):
    """What a desk shows and whom it tells; called by the desk's thread, so nothing in it may wait."""

    warnings: KeptWarnings | None

    def show(self) -> Mapping[str, Any]:
        """The state, as JSON has it."""
        ...

    def pictures(self) -> Mapping[str, tuple[int, np.ndarray]]:
        """The newest picture `[H, W, C]` uint8 of each camera, with a number that is another for each."""
        ...

    def hear(self, word: str, values: Mapping[str, Any], viewer: str) -> str:
        """Takes what a viewer says; "" where it counts, else a sentence that says why not."""
        ...

    def lost(self, viewer: str) -> None:
        """A viewer is gone: what they said and what has not begun does not count any more."""
        ...


class Looking:
    """One connection of those who look."""

    def __init__(self, connection: socket.socket):
        self.connection, self.viewers = connection, set[str]()
        self.unpacker, self.waiting = Unpacker(LONGEST_WORD, 0), bytearray()
        self.seen: dict[str, int] = {}  # the newest picture of each camera that was sent

    def send(self) -> None:
        """Sends what the other side takes now. Raises OSError where it is gone."""
        with contextlib.suppress(BlockingIOError):
            while self.waiting:
                del self.waiting[: self.connection.send(memoryview(self.waiting)[:READ_BYTES].tobytes())]


class Desk:
    """Shows `shown` at `folder/NAME.json` until it is closed. Where no socket can be made, that is said, and nothing is shown."""

    def __init__(self, folder: Path, name: str, shown: Shown):
        self._shown, self._looking = shown, dict[socket.socket, Looking]()
        self._place, self._file = "", folder / f"{name}.json"
        self._closing, self._say = threading.Event(), Seldom(log, 60.0)
        try:
            self._place = tempfile.mkdtemp(prefix="warmloop-")
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(f"{self._place}/desk")
            self._listener.listen(LOOKING)
            self._listener.setblocking(False)
            folder.mkdir(parents=True, exist_ok=True)
            self._tell()
        except OSError as error:
            log.warning("%s cannot be looked at by the operator's page (%s); it runs all the same.", name, error.strerror or error)
            self.close()
            return
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="desk", daemon=True)
        self._thread.start()

    def _tell(self) -> None:
        where = {"name": self._file.stem, "socket": f"{self._place}/desk", "pid": os.getpid(), "since": round(time.time(), 3)}
        with replacing(self._file) as file:
            file.write(json.dumps(where).encode())

    def close(self) -> None:
        """Takes the desk away."""
        if self._closing.is_set():
            return
        self._closing.set()
        if hasattr(self, "_thread"):
            with contextlib.suppress(OSError):  # where the thread has ended
                self._wake.send(b"x")
            self._thread.join(END_SECONDS)
            self._wake.close()
            with contextlib.suppress(OSError, ValueError):  # of a later process of this name
                if json.loads(self._file.read_bytes())["pid"] == os.getpid():
                    self._file.unlink()
        if hasattr(self, "_listener"):
            self._listener.close()
        if self._place:
            shutil.rmtree(self._place, ignore_errors=True)

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        """The thread. Whatever goes wrong in it costs the desk, and nothing else: an actor's robot is not brought to rest for it."""
        try:
            self._serve_all()
        except Exception as error:
            log.error("%s is not shown any more: %s: %s. It runs all the same.", self._file.stem, type(error).__name__, error)
        finally:
            for one in (*self._looking, self._listener, self._woken):
                one.close()

    def _serve_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            due = time.monotonic()
            while not self._closing.is_set():
                wait = max(0.0, due - time.monotonic()) if self._looking else None
                for key, events in selector.select(wait):
                    if key.fileobj is self._listener:
                        self._accept(selector)
                    elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._looking:
                        self._serve(selector, self._looking[key.fileobj], events)
                if self._looking and time.monotonic() >= due:
                    due = time.monotonic() + SHOW_SECONDS
                    self._show()
                for looking in self._looking.values():
                    selector.modify(looking.connection, selectors.EVENT_READ | (selectors.EVENT_WRITE if looking.waiting else 0))
            for looking in [*self._looking.values()]:
                self._part(selector, looking)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        with contextlib.suppress(OSError):  # it is gone again
            connection, _ = self._listener.accept()
            if len(self._looking) >= LOOKING:
                connection.close()
                return
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
            self._looking[connection] = Looking(connection)

    def _serve(self, selector: selectors.BaseSelector, looking: Looking, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                data = looking.connection.recv(READ_BYTES)
                if not data:
                    raise ConnectionError
                for values, _ in looking.unpacker.feed(data):
                    self._hear(looking, values)
            looking.send()
        except (OSError, WarmloopError):
            self._part(selector, looking)

    def _hear(self, looking: Looking, values: Mapping[str, Any]) -> None:
        word, viewer = str(values.get("word", "")), str(values.get("viewer", ""))
        if word == "lost":
            looking.viewers.discard(viewer)
            self._shown.lost(viewer)
            return
        looking.viewers.add(viewer)
        refused = self._shown.hear(word, values, viewer)
        looking.waiting += packed({"kind": "answer", "id": values.get("id"), "refused": refused})

    def _show(self) -> None:
        """Puts the newest state, and what pictures are new, before those who have taken all that was there."""
        ready = [looking for looking in self._looking.values() if not looking.waiting]
        if not ready:  # they are slow: they get a later one
            return
        try:
            state, pictures = packed({"kind": "state", "state": dict(self._shown.show())}), self._shown.pictures()
        except Exception as error:  # what it shows is changed by another thread at this moment
            self._say("%s could not be shown just now: %s: %s", self._file.stem, type(error).__name__, error)
            return
        for looking in ready:
            looking.waiting += state
            for camera, (number, picture) in pictures.items():
                if looking.seen.get(camera) != number:
                    looking.seen[camera] = number
                    about = {"kind": "picture", "camera": camera, "number": number, "shape": picture.shape}
                    looking.waiting += packed(about, np.ascontiguousarray(picture, np.uint8).tobytes())

    def _part(self, selector: selectors.BaseSelector, looking: Looking) -> None:
        selector.unregister(looking.connection)
        looking.connection.close()
        del self._looking[looking.connection]
        for viewer in looking.viewers:
            self._shown.lost(viewer)


@contextlib.contextmanager
def at_desk(folder: Path, name: str, shown: Shown) -> Iterator[None]:
    """Shows a process, and its warnings, within the block."""
    with contextlib.closing(KeptWarnings()) as shown.warnings, Desk(folder, name, shown):
        yield

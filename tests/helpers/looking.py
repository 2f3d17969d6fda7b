"""Somebody who looks at a process's desk, over its real socket."""

import json
import socket
import time
from pathlib import Path

from warmloop.data.desk.desk_messages import Unpacker, packed

PATIENCE = 60.0  # seconds; machines stand still


class Look:
    """A connection to the desk at `folder/NAME.json`."""

    def __init__(self, folder: Path, name: str):
        where = json.loads((folder / f"{name}.json").read_text())
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(where["socket"])
        self._unpacker, self._came = Unpacker(), []

    def next(self, kind: str) -> tuple[dict, bytes]:
        """The next message of a kind; those of others that came before it are dropped."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            while self._came:
                values, data = self._came.pop(0)
                if values["kind"] == kind:
                    return values, data
            data = self.socket.recv(1 << 16)
            assert data, "the desk hung up"
            self._came += self._unpacker.feed(data)
        raise AssertionError(f"no {kind} came")

    def state(self) -> dict:
        """The next state."""
        return self.next("state")[0]["state"]

    def say(self, word: str, viewer: str = "tablet", **values) -> str:
        """Says a word; why it does not count, or nothing."""
        self.socket.sendall(packed({"word": word, "viewer": viewer, "id": 1, **values}))
        return self.next("answer")[0]["refused"]

    def hung_up(self) -> bool:
        """Whether the desk ends the connection."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except ConnectionError:
            pass
        return True

    def close(self) -> None:
        self.socket.close()

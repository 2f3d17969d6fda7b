"""The operator's page, served for a run's folder by the real server, and requests to it."""

import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from warmloop.data.wire.keyring import CERTIFICATE, KEY, LearnerCredentials
from warmloop.launch.operating.access import Access
from warmloop.launch.operating.serving import listening
from warmloop.launch.operating.site import Site

PATIENCE = 60.0


class Served:
    """A server, by its port, and what it answers."""

    def __init__(self, site: Site, port: int, trusted: ssl.SSLContext | None = None):
        self.site, self.port, self._trusted = site, port, trusted

    @property
    def address(self) -> str:
        return f"http{'s' if self._trusted else ''}://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """The status, the headers and the body of an answer; a word's headers are those of the page itself unless others are given."""
        connection = self._connection()
        given = {"Content-Type": "application/json", "Origin": self.address} if method == "POST" else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        told = None if body is None else json.dumps(body)
        connection.request(method, path, told, {name: value for name, value in given.items() if value})
        answer = connection.getresponse()
        found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        connection.close()
        return found

    def look(self, **headers: str) -> "Viewer":
        """Somebody who looks."""
        return Viewer(self._connection(), headers)

    def _connection(self) -> http.client.HTTPConnection:
        if self._trusted is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=self._trusted)


class Viewer:
    """One who looks, until `close`."""

    def __init__(self, connection: http.client.HTTPConnection, headers: dict[str, str]):
        self._connection = connection
        connection.request("GET", "/live", headers=headers)
        self._answer = connection.getresponse()
        self.status = self._answer.status

    def next(self, kind: str) -> dict:
        """The next event of a kind."""
        name = ""
        while line := self._answer.readline().decode():
            if line.startswith("event: "):
                name = line.removeprefix("event: ").strip()
            elif line.startswith("data: ") and name == kind:
                return json.loads(line.removeprefix("data: "))
        raise AssertionError("the stream ended")

    def state_where(self, holds) -> dict:
        """The first state for which something holds."""
        while not holds(state := self.next("state")):
            pass
        return state

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


@contextmanager
def served(
    run: Path, credentials: LearnerCredentials | None = None, trusted: ssl.SSLContext | None = None, port: int = 0
) -> Iterator[Served]:
    """Serves the page of a run within the block."""
    site, listener = Site(run, Access("127.0.0.1", credentials)), listening("127.0.0.1", port)
    pair = (None, None) if credentials is None else (credentials.folder / CERTIFICATE, credentials.folder / KEY)
    config = uvicorn.Config(
        site.app, loop="asyncio", http="h11", ws="none", lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1,
        ssl_certfile=pair[0], ssl_keyfile=pair[1],
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield Served(site, listener.getsockname()[1], trusted)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)

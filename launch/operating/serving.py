"""Serves the page until the process is told to end."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path

import uvicorn

from ...data.errors import WarmloopError
from ...data.wire.address import join
from ...data.wire.keyring import CERTIFICATE, KEY, LearnerCredentials
from .access import Access
from .beside_run import BESIDE
from .site import Site

NICE = 10  # the page's process lets every other one go first
END_SECONDS = 1  # for viewers to be told that it ends
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def serve(run: Path, host: str, port: int, credentials: LearnerCredentials | None) -> None:
    """Serves the page of a run at an address until a signal comes, or, beside a run, until that has ended.

    Raises:
        WarmloopError: as `Access`, or the address cannot be listened on.
    """
    site = Site(run, Access(host, credentials))
    listener = listening(host, port)
    os.nice(NICE)
    shown = join(EVERYWHERE.get(host, host), listener.getsockname()[1])
    print(f"page         {'https' if credentials else 'http'}://{shown}/", flush=True)
    certificate, key = (None, None) if credentials is None else (credentials.folder / CERTIFICATE, credentials.folder / KEY)
    config = uvicorn.Config(
        site.app, loop="asyncio", http="h11", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=END_SECONDS, limit_concurrency=64, ssl_certfile=certificate, ssl_keyfile=key,
    )  # fmt: skip
    server = uvicorn.Server(config)
    if os.environ.get(BESIDE):
        threading.Thread(target=_end_with_the_run, args=(server,), name="run", daemon=True).start()
    server.run(sockets=[listener])


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises WarmloopError where the address cannot be had."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        why = "something else listens there: choose another --page_port" if error.errno == errno.EADDRINUSE else error.strerror or error
        raise WarmloopError(f"The page cannot be served at {join(host, port)}: {why}.") from error


def _end_with_the_run(server: uvicorn.Server) -> None:
    while os.read(0, 1024):  # not by Python's stdin, whose lock must be free when the process ends
        pass
    server.should_exit = True

"""One place on a node: starts a command there, hands over what it logs, and asks it to end."""

from __future__ import annotations

import base64
import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.errors import WarmloopError
from ..flags.progress import LINES
from ..starting.processes import command, one_thread
from .keeper import CODE, LOG, PID

MOST_READ = 1 << 18  # bytes of a log at a time
RAYS = "RAY_"  # environment variables that are Ray's own
FAULT = 70  # the exit code of a command whose own one nobody knows


@dataclasses.dataclass(frozen=True)
class Order:
    """What to start.

    Attributes:
        name: whose lock it takes; the run and the process.
        folder: where it is started.
        resume_from: folder of checkpoints; `--resume` is added where it holds one.
        secrets: files of its credentials. They are kept in no field that is shown.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    folder: str
    learner: bool = False
    resume_from: str | None = None
    secrets: Mapping[str, bytes] = dataclasses.field(default_factory=dict, repr=False)


@dataclasses.dataclass(frozen=True)
class Look:
    """What a command has said since the last look, its process, and its exit code once it has ended."""

    text: str
    pid: int | None
    code: int | None


class NodeHost:
    """Runs in a Ray worker on the node; knows nothing of Ray."""

    def __init__(self) -> None:
        self._keeper: subprocess.Popen | None = None
        self._place, self._read, self._gone = Path(), 0, False

    def where(self) -> tuple[str, str]:
        """The node's name in Ray, and its IP address."""
        ray: Any = importlib.import_module("ray")
        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()

    def start(self, order: Order) -> None:
        """Starts the command. Raises WarmloopError where its folder is not on this node."""
        if not Path(order.folder).is_dir():
            raise WarmloopError(f'There is no folder {order.folder} on this node; name one that is there, as in folder = "/home/robot".')
        self._place = Path(tempfile.mkdtemp(prefix="warmloop-"))
        line = command(order.module, *order.arguments)
        if order.resume_from and _has_checkpoint(Path(order.folder, order.resume_from)):
            line.append("--resume")
        told = {
            "name": order.name,
            "place": str(self._place),
            "line": line,
            "folder": order.folder,
            "environment": environment_of(order, os.environ),
            "secrets": {name: base64.b64encode(value).decode() for name, value in order.secrets.items()},
        }
        keeper = [sys.executable, "-m", "warmloop.launch.clusters.keeper"]
        self._keeper = subprocess.Popen(keeper, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
        self._tell(json.dumps(told).encode() + b"\n")
        self._keeper.wait()  # it forks

    def look(self) -> Look:
        """What is new since the last look."""
        if self._keeper is None:
            return Look("", None, None)
        code, pid = _number(self._place / CODE), _number(self._place / PID)  # before the log, of which nothing comes after the code
        if code is None:
            code = self._fault(pid)
        try:
            with open(self._place / LOG, "rb") as file:
                file.seek(self._read)
                piece = file.read(MOST_READ)
        except FileNotFoundError:
            piece = b""
        self._read += len(piece)
        return Look(piece.decode("utf-8", "replace"), pid, None if len(piece) == MOST_READ else code)

    def stop(self, at_once: bool = False) -> None:
        """Asks the command to end: in order, or at once, on which its robot comes to rest first."""
        if self._keeper is None:
            return
        try:
            self._tell(b"q" if at_once else b"t")
        except BrokenPipeError:  # somebody has killed the keeper
            if (pid := _number(self._place / PID)) is not None and _lives(pid):
                os.kill(pid, signal.SIGQUIT if at_once else signal.SIGTERM)

    def _fault(self, pid: int | None) -> int | None:
        """An exit code where the keeper has ended without one, and the command, which it may have left behind, has ended too."""
        gone = not self._place.is_dir() or (pid is not None and not _lives(pid))
        before, self._gone = self._gone, gone
        return FAULT if gone and before else None  # seen twice: the keeper writes the code a moment after the end

    def _tell(self, data: bytes) -> None:
        assert self._keeper is not None and self._keeper.stdin is not None
        while data:
            data = data[self._keeper.stdin.write(data) or 0 :]


def environment_of(order: Order, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command, without Ray's own settings. Only the learner may open an accelerator, and use several threads."""
    clean = {name: value for name, value in given.items() if not name.startswith(RAYS) and name != "OMP_NUM_THREADS"}
    clean |= {LINES: "1", "PYTHONUNBUFFERED": "1"}
    if order.learner:
        return clean
    chosen = any(argument.startswith("--actor_platform") for argument in order.arguments)
    return clean | {"XLA_FLAGS": one_thread(clean)["XLA_FLAGS"]} | ({} if chosen else {"JAX_PLATFORMS": "cpu"})


def _has_checkpoint(folder: Path) -> bool:
    return folder.is_dir() and any(path.name.isdigit() for path in folder.iterdir())


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

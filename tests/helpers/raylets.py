"""A Ray cluster of several nodes on this machine, each with a raylet of its own, and a run of `warmloop cluster` on it."""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STORE = 80_000_000  # bytes; Ray asks for 75 MiB at least


class Raylets:
    """The head, and nodes by name, each with one resource of that name. All end with the block."""

    def __init__(self, head: str):
        cluster_utils: Any = importlib.import_module("ray.cluster_utils")
        self.cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=self._node(head) | {"include_dashboard": False})
        self.nodes = {}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.cluster.shutdown()

    @property
    def address(self) -> str:
        return self.cluster.address

    def add(self, resource: str) -> None:
        """A node that declares this resource."""
        self.nodes[resource] = self.cluster.add_node(**self._node(resource))

    def kill(self, resource: str) -> None:
        """SIGKILL to the node's raylet."""
        self.cluster.remove_node(self.nodes.pop(resource), allow_graceful=False)

    def kill_head(self) -> None:
        """SIGKILL to the head's raylet and to Ray's control service."""
        self.cluster.remove_node(self.cluster.head_node, allow_graceful=False)

    def _node(self, resource: str) -> dict:
        return {"num_cpus": 1, "object_store_memory": STORE, "resources": {resource: 1}}


class ClusterRun:
    """`warmloop cluster` for one file, in one folder."""

    def __init__(self, folder: Path, address: str):
        self.folder, self.address, self.drivers = folder, address, []

    def line(self, verb: str, *more: str) -> list[str]:
        return [sys.executable, "-m", "warmloop.launch.cluster", verb, "cluster.toml", *more, f"--address={self.address}"]

    def start(self, *more: str) -> subprocess.Popen:
        """`start`, which follows the run."""
        with open(self.folder / f"driver-{len(self.drivers)}.log", "w") as log:
            self.drivers.append(subprocess.Popen(self.line("start", *more), cwd=self.folder, stdout=log, stderr=subprocess.STDOUT))
        return self.drivers[-1]

    def call(self, verb: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.line(verb, *more), cwd=self.folder, capture_output=True, text=True, timeout=120)

    def state(self) -> dict:
        """Of each process by its name, from the file; and under "" that of all."""
        with contextlib.suppress(FileNotFoundError):
            state = json.loads((self.folder / "runs" / "pair" / "cluster" / "state.json").read_text())
            return {"": state} | {part["name"]: part for part in state["parts"]}
        return {"": {}}

    def is_(self, name: str, status: str, starts: int = 0) -> bool:
        part = self.state().get(name, {})
        return part.get("status") == status and part["starts"] >= starts

    def kill(self, name: str) -> int:
        """SIGKILL to a process by its name; its id."""
        pid = self.state()[name]["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait(self, fact, seconds: float = 120.0) -> float:
        """Waits until a fact is true; how long that took."""
        began = time.monotonic()
        while not fact():
            assert time.monotonic() < began + seconds, json.dumps(self.state(), indent=1) + self.log()[-4000:]
            time.sleep(0.1)
        return time.monotonic() - began

    def log(self) -> str:
        """All that drivers, the supervisor and processes have said."""
        files = [*self.folder.glob("*.log"), *(self.folder / "runs" / "pair" / "cluster").glob("*.log")]
        return "".join(f"== {path.name}\n{path.read_text()}" for path in files)

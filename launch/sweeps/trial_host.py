"""A place on a node of a Ray cluster where trials of a sweep run, one after the other."""

from __future__ import annotations

import importlib
import logging
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import __version__
from ...data.doors.imports import FOLDERS, find_again
from ...data.errors import WarmloopError
from ..starting.compiled import keep_compiled
from ..starting.processes import one_thread

if TYPE_CHECKING:
    from ...data.episode import Episode
    from .sweep_runs import Learning, Ready, Trial


class Reply(NamedTuple):
    """What a call gave, and the log messages on the way."""

    value: Any
    said: list[str]


class TrialHost:
    """Runs in a Ray worker. JAX is imported after the environment is set.

    Args:
        one: see `environment_of_trial`, as of `accelerators`.
    """

    def __init__(self, one: bool, accelerators: float):
        os.environ.update(environment_of_trial(one, accelerators, os.environ))
        keep_compiled()
        self._said = _Said()
        self._ready: tuple[str, Ready] | None = None
        self._learning: Learning | None = None

    def where(self, folders: Sequence[str], version: str) -> tuple[str, str]:
        """The node's name in Ray, and its IP address. Makes the user's modules importable as they are where the sweep was started.

        Args:
            folders: where they are; the first one is that of the start.

        Raises:
            WarmloopError: this folder is not on the node, or another warmloop is.
        """
        here = f"The node {platform.node()}"
        if version != __version__:
            raise WarmloopError(f"{here} has warmloop {__version__}, and the sweep's machine {version}; install one on all nodes.")
        if not Path(folders[0]).is_dir():
            raise WarmloopError(
                f"{here} has no folder {folders[0]}, where the sweep was started; make it there, with the modules of your own that the "
                "configuration names, or keep trials off this node by --trial_needs."
            )
        os.chdir(folders[0])
        find_again({FOLDERS: folders})
        ray: Any = importlib.import_module("ray")
        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()

    def begin(self, trial: Trial, recorded: list[Episode], memory: int) -> Reply:
        """Begins with a trial, in place of any before."""
        import jax

        from .sweep_runs import Ready
        from .sweep_work import begun

        jax.config.update("jax_cpu_enable_async_dispatch", False)  # as in launch/sweep.py
        self._learning = None
        if self._ready is None or self._ready[0] != trial.name:
            self._ready = None
            self._ready = trial.name, Ready(trial.config, recorded)
        self._learning = begun(trial, self._ready[1], memory)
        return Reply(None, self._said.taken())

    def train(self, until: int) -> Reply:
        """Goes on to so many updates; the scores of the trial's seeds there."""
        assert self._learning is not None
        self._learning.train(until)
        return Reply(self._learning.scores(), self._said.taken())

    def finish(self) -> Reply:
        """Trains and judges to the end; the seeds' results, and their files by the paths below the sweep's folder."""
        from .seed_files import packed

        assert self._learning is not None
        with tempfile.TemporaryDirectory(prefix="warmloop-trial-") as folder:
            results = list(self._learning.finish(Path(folder)))
            return Reply((results, packed(Path(folder))), self._said.taken())


class _Said(logging.Handler):
    """Keeps what warmloop logs."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        log = logging.getLogger("warmloop")
        log.setLevel(logging.INFO)
        log.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a message."""
        self._lines.append(record.getMessage())

    def taken(self) -> list[str]:
        """The messages since the last call."""
        taken, self._lines = self._lines, []
        return taken


def environment_of_trial(one: bool, accelerators: float, given: Mapping[str, str]) -> dict[str, str]:
    """What a trial's process sets: without an accelerator it opens none, and of a part of one it takes no more memory than it needs. With
    `one` it computes on one thread, as one of many trials on a node."""
    if accelerators:
        return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if accelerators < 1 else {}
    return {"JAX_PLATFORMS": "cpu"} | ({"XLA_FLAGS": one_thread(given)["XLA_FLAGS"]} if one else {})

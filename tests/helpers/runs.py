"""Real processes of a small run: Pendulum with networks of 16, so that a test takes seconds."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from warmloop.configs.schema import from_dict
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.wire.row_schema import Schema
from warmloop.learner.checkpoints import checkpoint, complete_checkpoints
from warmloop.learner.journal.journal import Journal
from warmloop.learner.receiving.intake import Intake
from warmloop.learner.rows.ingest import RowRules
from warmloop.learner.starting_state import refill, resume
from warmloop.learner.state import LearnerParts

SIZES = (
    "--config.agent.hidden=(16, 16)",
    "--config.warmup_agent.hidden=(16, 16)",
    "--config.agent.batch_size=16",
    "--config.warmup_agent.batch_size=16",
    "--config.replay.capacity=5000",
    "--config.learner.log_every=50",
    "--config.learner.publish_every=20",
    "--config.learner.warmup_checkpoints=1",
    "--config.fqe.steps=20",
    "--config.fqe.hidden=(8,)",
)
SMALL = ("--config=configs/classic.py:pendulum", *SIZES)


class Commands:
    """Runs the package's commands with the small configuration, or other `settings`; everything they write goes below `folder`."""

    def __init__(self, folder: Path, settings: tuple[str, ...] = SMALL):
        self.folder, self.settings = folder, settings

    def line(self, module: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", f"warmloop.launch.{module}", f"--runs={self.folder}", *self.settings, *arguments]

    def run(self, module: str, *arguments: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.line(module, *arguments), capture_output=True, text=True, timeout=timeout, cwd=self.folder)

    def start(self, module: str, *arguments: str, environment: dict[str, str] | None = None, group: bool = False) -> subprocess.Popen[str]:
        """Starts a command without waiting for it; as a `group`, its processes get each signal that is sent to the group by its id."""
        with open(self.folder / f"{module}-{len(list(self.folder.glob('*.log')))}.log", "w") as log:
            return subprocess.Popen(
                self.line(module, *arguments),
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=self.folder,
                env=environment,
                start_new_session=group,
            )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that the command said, checked to be one line and no traceback."""
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    return lines[0]


def assert_whole_episodes(rows, count: int) -> None:
    """Checks that `count` rows of any number of streams, in the order they were stored, are whole episodes: each row that is
    not its episode's last is followed, later, by exactly one row that takes up where it ended."""
    observation, following = np.asarray(rows.observation)[:count], np.asarray(rows.next_observation)[:count]
    step, over = np.asarray(rows.step)[:count], (np.asarray(rows.truncated) | (np.asarray(rows.mask) == 0))[:count]
    starts = {observation[i].tobytes(): i for i in range(count)}
    assert len(starts) == count, "a row is stored twice"
    successors = [starts.get(following[i].tobytes()) for i in range(count) if not over[i]]
    open_ends = successors.count(None)
    assert open_ends <= 2, "rows are missing"
    for i in np.flatnonzero(~over):
        j = starts.get(following[i].tobytes())
        if j is not None:
            assert j > i and step[j] == step[i] + 1, "rows are out of order"
    assert sorted(j for j in successors if j is not None) == sorted(np.flatnonzero(step > 0).tolist())


def saved_state(directory: Path, capacity: int = 5000):
    """The newest state of a run of the small configuration, its online rows from its journal, and its description."""
    saved = complete_checkpoints.newest(directory)
    agent, _ = checkpoint.restore_agent(saved)
    parts = LearnerParts(agent, ReplayConfig(capacity=capacity), MixingConfig())
    state, meta = resume(directory, parts)
    journal = Journal(directory.parent / "journal")
    intake = Intake(Schema.of(agent.spec, meta["config"]["environment"]["id"]), journal=journal)
    state, _ = refill(state, parts, RowRules(from_dict(meta["config"]).reward), intake, meta)
    journal.close()
    return state, meta

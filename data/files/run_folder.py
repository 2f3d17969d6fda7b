"""Where everything of one run lies."""

from __future__ import annotations

import dataclasses
from pathlib import Path

FILTERED = "filtered_demos.npz"  # beside the checkpoints of a warm-up
REPORT = "report.html"


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The folder RUNS/EXP_NAME and what is in it. Nothing is made before it is written."""

    path: Path

    @property
    def config(self) -> Path:
        """What it was started with: see configs/saved.py."""
        return self.path / "config.json"

    @property
    def warmup(self) -> Path:
        """The warm-up's checkpoints, unless `--checkpoint_path` says another folder."""
        return self.path / "warmup"

    @property
    def filtered(self) -> Path:
        """The demonstrations that the warm-up kept."""
        return self.warmup / FILTERED

    @property
    def warmup_metrics(self) -> Path:
        """What the warm-up records; the fine-tuning's metrics are in the folder itself."""
        return self.path / "warmup_metrics"

    @property
    def checkpoints(self) -> Path:
        """The fine-tuning's checkpoints."""
        return self.path / "checkpoints"

    @property
    def journal(self) -> Path:
        """The rows that the learner has taken from its actors."""
        return self.path / "journal"

    @property
    def spools(self) -> Path:
        """A folder for each actor of this machine: its rows that no learner has yet."""
        return self.path / "spool"

    @property
    def quarantine(self) -> Path:
        """Rows that were not learnt from, with the reason."""
        return self.path / "quarantine"

    @property
    def port(self) -> Path:
        """Where the learner listens, as text."""
        return self.path / "port"

    @property
    def cluster(self) -> Path:
        """What `warmloop cluster` writes: the state of its processes, what happened, and their logs."""
        return self.path / "cluster"

    @property
    def episodes(self) -> Path:
        """Every training episode in a line: see learner/diagnosis/episode_log.py."""
        return self.path / "episodes.jsonl"

    @property
    def notes(self) -> Path:
        """What was written on the operator's page about episodes."""
        return self.path / "notes.jsonl"

    @property
    def desks(self) -> Path:
        """Where the running processes of this machine can be spoken to: see data/desk/desk.py."""
        return self.path / "desk"

    @property
    def videos(self) -> Path:
        """The clips of `--save_video`."""
        return self.path / "videos"

    @property
    def evaluation_video(self) -> Path:
        """The film of `--eval_checkpoint_step`."""
        return self.path / "evaluation.mp4"

    @property
    def curves(self) -> Path:
        """The fine-tuning, drawn."""
        return self.path / "curves.png"

    @property
    def warmup_curves(self) -> Path:
        """The warm-up, drawn."""
        return self.path / "warmup.png"

    def contact_sheet(self, actor: str = "") -> Path:
        """The newest clips, drawn; `actor` is the name of one of several."""
        return self.path / f"contact_sheet{actor and '-'}{actor}.png"

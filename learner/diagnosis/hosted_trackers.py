"""Metrics at Weights & Biases and at Trackio. Both also work without a network: `wandb:mode=offline`, whose files `wandb sync` sends later,
and trackio without `space_id`, which keeps a data base on this machine."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Mapping
from typing import Any

from .trackers import TrackedRun

PROJECT = "warmloop"
RUN_ID = "wandb_run_id"  # beside the metrics, so that a resumed run is the same one there
PATIENCE_SECONDS = 30  # that a learner waits for a service at most


class WandbTracker:
    """One run of Weights & Biases; its horizontal axis is `updates`."""

    def __init__(self, run: TrackedRun, project: str = PROJECT, name: str = "", **options: str):
        wandb: Any = importlib.import_module("wandb")
        place = run.directory / RUN_ID
        if not place.exists():
            place.write_text(uuid.uuid4().hex)
        settings = wandb.Settings(init_timeout=PATIENCE_SECONDS, login_timeout=PATIENCE_SECONDS, silent=True)
        self._run = wandb.init(
            project=project,
            name=name or run.name or None,
            id=place.read_text().strip(),
            dir=str(run.directory),
            config=dict(run.config),
            resume="allow",
            reinit="create_new",  # a notebook may have one of its own
            settings=settings,
            **options,
        )
        self._run.define_metric("*", step_metric="updates")

    def write(self, record: Mapping[str, float]) -> None:
        self._run.log(dict(record))

    def close(self) -> None:
        self._run.finish()


class TrackioTracker:
    """One run of Trackio; its steps are updates."""

    def __init__(self, run: TrackedRun, project: str = PROJECT, name: str = "", **options: str):
        trackio: Any = importlib.import_module("trackio")
        self._run = trackio.init(
            project=project,
            name=name or run.name or None,
            config=dict(run.config),
            resume="allow",
            embed=False,  # in a notebook: no page of its own
            auto_log_gpu=False,
            auto_log_cpu=False,
            **options,
        )

    def write(self, record: Mapping[str, float]) -> None:
        self._run.log({name: value for name, value in record.items() if name != "updates"}, step=int(record["updates"]))

    def close(self) -> None:
        self._run.finish()

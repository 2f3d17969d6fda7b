"""What a warm-up leaves behind: its checkpoint, and the demonstrations worth keeping for the fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .common import log

if TYPE_CHECKING:
    from ..configs.schema import RunConfig
    from ..learner.offline import OfflineData
    from ..learner.state import LearnerParts, LearnerState

FILTERED = "filtered_demos.npz"


def save_warmup(config: RunConfig, data: OfflineData, state: LearnerState, parts: LearnerParts, target: Path) -> None:
    """The checkpoint, and the filtered demonstrations beside it."""
    from ..configs.schema import to_dict
    from ..data.formats import write_episodes
    from ..data.retention import retain
    from ..data.sources import mark
    from ..learner import checkpoint
    from ..learner.warmup import td_errors

    path = checkpoint.save(target, state, parts.agent, {"config": to_dict(config), "phase": "warmup"}, config.learner.keep_checkpoints)
    kept, report = retain(data.recorded, config.retention, data.per_episode(td_errors(state, parts)), data.tasks)
    if kept:
        about = {"environment": config.environment.id, "retention_ratio": config.retention.ratio}
        write_episodes(target / FILTERED, kept, about | mark(config.environment.limits))
        log.info("%s; written to %s", report, target / FILTERED)
    else:
        (target / FILTERED).unlink(missing_ok=True)
        log.info("Retention keeps no demonstrations (ratio %g), so no %s is written.", config.retention.ratio, FILTERED)
    log.info("saved %s", path)

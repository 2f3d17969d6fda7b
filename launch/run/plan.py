"""What a fine-tuning is to be, before any of it is made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from ...data.files.run_folder import RunFolder

if TYPE_CHECKING:
    from ...configs.schema import RunConfig


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a fine-tuning begins from.

    Args:
        checkpoints: the folder of a warm-up's checkpoints; None begins with a fresh policy.
        step: which of them, by its updates; None is the one that is chosen, or the newest.
        demos: demonstrations to mix in, [KIND=]PATH.
        resume: go on from the run's own newest checkpoint, where it has one, and not from the above.
    """

    checkpoints: str | Path | None = None
    step: int | None = None
    demos: tuple[str, ...] = ()
    resume: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """A fine-tuning: with what, where, and from what. In lock step actor and learner take turns in one process."""

    config: RunConfig
    folder: RunFolder
    seed: int
    origin: Origin = Origin()
    lock_step: bool = False

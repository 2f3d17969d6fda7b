"""What acting needs, in an actor's process or in lock step: the environment, who may take over, and the clips that are recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..flags import interveners
from ..flags.common import log
from . import settings

if TYPE_CHECKING:
    from ...actor.environment.environment import Environment
    from ...actor.films.clips import Clips
    from ...actor.intervention.intervention import Intervener
    from ...configs.schema import RunConfig


class Acting(NamedTuple):
    """What an actor's loop acts with."""

    environment: Environment
    intervener: Intervener | None
    clips: Clips


@contextlib.contextmanager
def acting(config: RunConfig, record: bool, name: str = "") -> Iterator[Acting]:
    """The environment of a run and what goes with it, open within the block; with `record`, clips go to the run's folder, under the `name`
    of one of several actors."""
    from ...actor.environment.environment import make_environment
    from ...actor.films.clips import Clips

    def make(render: bool) -> Environment:
        return make_environment(config.environment, config.reward, render, config.tasks)

    if record and not config.actor.evaluate_every and interveners.INTERVENTION.value == "none":
        log.warning(
            "--save_video records evaluations and interventions, and this run has no evaluations (actor.evaluate_every=0) and nobody who "
            "takes over (--intervention=none): there will be clips only where the environment itself reports interventions. "
            "Set --config.actor.evaluate_every=5000, say."
        )
    environment, directory = make(False), settings.run_folder().path if record else None
    if directory is not None and not environment.spec.cameras:
        environment.close()
        environment = make(True)
    clips = Clips(environment, directory, name)
    try:
        with interveners.intervening(environment) as intervener:
            yield Acting(environment, intervener, clips)
    finally:
        clips.close()
        environment.close()

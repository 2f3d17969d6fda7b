"""Whether what a cluster's file calls a simulator is one by its configuration, too."""

from __future__ import annotations

from pathlib import Path

from ...data.errors import WarmloopError
from ...data.settings.typed_values import of_text
from ..flags.common import log
from .cluster_spec import ClusterSpec

GIVEN, SIMULATOR = "--config", "--config.actor.simulator"


def check_robots(spec: ClusterSpec) -> None:
    """Raises WarmloopError where an actor may start by itself, and its configuration says `actor.simulator=False`. A configuration that
    is not on this machine is named in a warning."""
    for place in spec.actors:
        if place.simulator and is_simulator((*spec.flags, *place.flags)) is False:
            raise WarmloopError(
                f"{place.name} has simulator = true, so it would start by itself, and its configuration is a robot's (actor.simulator is "
                "False). Leave simulator out, and name the robot's resource in needs."
            )


def is_simulator(flags: tuple[str, ...]) -> bool | None:
    """What a command's flags say of `actor.simulator`; None where nobody can tell here."""
    from ...configs import load, locate

    said, config = None, None
    for flag in flags:
        name, _, value = flag.partition("=")
        if name == GIVEN:
            config = value
        elif name == SIMULATOR:
            said = of_text(bool, value or "true")
        elif name == SIMULATOR.replace("--", "--no"):
            said = False
    if said is not None or config is None:
        return said
    try:
        return load(locate(config)).actor.simulator
    except WarmloopError as error:
        if Path(config.partition(":")[0].partition(",")[0]).exists():
            raise
        log.warning("--config=%s cannot be read on this machine, so nobody checks that no robot is called a simulator (%s)", config, error)
        return None

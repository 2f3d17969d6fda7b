"""The flags of every command that reads recorded data, where a file does not say enough or has a bad episode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from .common import log

if TYPE_CHECKING:
    from ...configs.schema import RunConfig
    from ...data.formats.recordings.options import ReadOptions

DONES = flags.DEFINE_enum(
    "dones",
    None,
    ["terminal", "time_limit"],
    "What `dones` mean in a data set that marks the ends of its episodes by them alone: the task was over, or a time limit cut them.",
)
SKIP_BAD_EPISODES = flags.DEFINE_bool(
    "skip_bad_episodes",
    False,
    "Leave out an episode that would refuse its data set, and name it with the reason. A set of which all are bad is refused still.",
)


def with_reading(config: RunConfig) -> RunConfig:
    """The configuration with what these flags say of its data."""
    said = {"dones": DONES.value} if DONES.value else {}
    return config.replace(data=said | ({"skip_bad_episodes": True} if SKIP_BAD_EPISODES.value else {}))


def options() -> ReadOptions:
    """How these flags say that data are read; each bad episode that is left out is a line of the log."""
    from ...data.formats.recordings.options import ReadOptions

    return ReadOptions(DONES.value or "", (lambda bad: log.warning("%s", bad)) if SKIP_BAD_EPISODES.value else None)

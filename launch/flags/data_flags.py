"""The flags of every command that reads recorded data, where a file does not say enough or has a bad episode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from absl import flags

from .common import log

if TYPE_CHECKING:
    from ...configs.schema import RunConfig
    from ...data.formats.recordings.options import ReadOptions

DONES = flags.DEFINE_enum(
    "dones",
    None,
    ["terminal", "time_limit"],
    "Meaning of `dones` in a data set that marks the ends of episodes by nothing else: the task was over, or a time limit cut the episode. "
    "Without the flag, such a set is refused.",
)
SKIP_BAD_EPISODES = flags.DEFINE_bool(
    "skip_bad_episodes",
    False,
    "Leave out bad episodes, such as those with a NaN, and log each with its reason. Without the flag, a bad episode refuses its data set; "
    "a set of bad episodes alone is refused in any case.",
)


SAME = {"data.dones": DONES.name, "data.skip_bad_episodes": SKIP_BAD_EPISODES.name}  # settings that these flags set


def with_reading(config: RunConfig) -> RunConfig:
    """The configuration with what these flags say of its data."""
    return config.replace(data={path.partition(".")[2]: value for path, value in changes().items()})


def changes() -> dict[str, Any]:
    """What these flags change of a configuration, by SECTION.SETTING."""
    said: dict[str, Any] = {"data.dones": DONES.value} if DONES.value else {}
    return said | ({"data.skip_bad_episodes": True} if SKIP_BAD_EPISODES.value else {})


def options() -> ReadOptions:
    """How these flags say that data are read; each bad episode that is left out is a line of the log."""
    from ...data.formats.recordings.options import ReadOptions

    return ReadOptions(DONES.value or "", (lambda bad: log.warning("%s", bad)) if SKIP_BAD_EPISODES.value else None)

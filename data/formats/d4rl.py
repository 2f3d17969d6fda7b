"""D4RL's flat HDF5 files: all episodes end to end.

Read: `observations`, `actions`, `rewards`, `terminals` `[N, ...]`, and where present `next_observations`, `timeouts`, and of `infos` the
success flag `success`, `is_success`, `succeed` or `goal_achieved`. Observations may also be a group, of groups and arrays; a leaf is
named by its path, with dots. Everything else (`infos/qpos`, `metadata`) is ignored. d3rlpy's dumps of version 1 have the same layout, with
`episode_terminals` in place of `timeouts`.

- Episodes end after `terminals | timeouts`; a file with no `timeouts` is cut where its next observations do not lead to the following
  row, and one that has neither is refused: an episode cut by a time limit would run on into the next one.
- Without `next_observations` the last row of an episode that timed out has no known next observation and is dropped, as from our .npz
  files and by D4RL's own `qlearning_dataset`; a terminal one stays.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import WarmloopError
from .flat import SUCCESS_FLAGS, has_next, pieces, starts_by_flags
from .hdf5 import find_arrays, group, layout, opened
from .recording import Recording, check, require_keys

REQUIRED = ("observations", "actions", "rewards", "terminals")
OPTIONAL = ("next_observations", "timeouts")


def matches(path: str) -> bool:
    """Whether `path` is an HDF5 file of this layout, or of none that is known."""
    return layout(path) == "d4rl"


def read(origin: str) -> Iterator[Recording]:
    """The rows of file `origin`, in pieces.

    Raises:
        WarmloopError: the file is damaged, lacks or contradicts itself in a key, or does not say where episodes were cut.
    """
    with opened(origin) as file:
        keys = list(file)
        if not set(REQUIRED) & set(keys):
            raise WarmloopError(
                f"{origin} is an HDF5 file, but neither D4RL's (`observations`, `actions`, ...), robomimic's (`data/demo_0`) nor "
                f"d3rlpy's (`num_episodes`, `columns`); its keys are {', '.join(f'`{key}`' for key in keys[:12]) or 'none'}."
            )
        require_keys(origin, "the file", keys, list(REQUIRED))
        table = find_arrays(origin, "", file, [*REQUIRED, *OPTIONAL], REQUIRED)
        flag = next((name for name in SUCCESS_FLAGS if f"infos/{name}" in file), None)
        if flag:
            table["success"] = find_arrays(origin, "", group(origin, file, "infos"), [flag])[flag]
        if "timeouts" not in table and "episode_terminals" in file:
            table["timeouts"] = find_arrays(origin, "", file, ["episode_terminals"])["episode_terminals"]
        check(origin, table)
        if "timeouts" not in table and not has_next(table):
            raise WarmloopError(
                f"{origin} has neither `timeouts` nor `next_observations`, so nothing says which episodes a time limit cut; "
                "add `timeouts`, all False if none was."
            )
        yield from pieces(origin, table, starts_by_flags(table))

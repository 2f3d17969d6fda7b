"""Which steps of recorded data succeeded, where their file has no flag: one rule for every format.

Rewards that are 0 and 1 alone say it: a step that is paid 1 succeeded. That is decided for a file as a whole, one in which no flag is
recorded and that this project did not write, whose files say what is known. It does not decide where

- a reward is anything else, such as -1 and 0, or shaped,
- most episodes are paid 1 from their first step on, as for staying alive,
- no step is paid at all: for data that are said to be suboptimal or random that is failure; demonstrations may just not have recorded it.

There one question is asked, and a setting answers it: `data.success`, of one source `success` in `data.sources`, `inspect_data --success`:

    reward>=X     steps paid X or more, as in reward>=0 for -1 and 0
    end           the last step of every episode, of those whose next observation is known
    terminated    the steps that are marked as terminal
    never         none: every episode failed

It is for episodes without a flag; a flag that is recorded counts.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from .errors import WarmloopError
from .transition import Source

if TYPE_CHECKING:
    from .episode import Episode
    from .formats.recordings.recording import Recording

SETTING = "--config.data.success"
RULES = ("end", "terminated", "never")
PAID = "reward>=1"  # what rewards of 0 and 1 alone mean
FAILING = (Source.SUBOPTIMAL, Source.RANDOM)

log = logging.getLogger("warmloop")


class Verdict(enum.Enum):
    """What a file's rewards say of success."""

    OPEN = "nothing yet"
    FLAGGED = "the file's flags do"
    SPARSE = "the steps paid 1"
    UNKNOWN = "nothing"


def check_rule(where: str, rule: str) -> None:
    """Raises WarmloopError unless `rule` is "" or one of the module's; `where` is the setting."""
    quantity, sign, bound = rule.partition(">=")
    if rule and rule not in RULES and not (sign and quantity == "reward" and _is_number(bound)):
        raise WarmloopError(f'{where} is "{rule}"; it must be reward>=NUMBER, {", ".join(RULES[:-1])} or {RULES[-1]}.')


def succeeded(rule: str, reward: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`[T]` bool, the steps of one episode that succeeded by a rule that is not ""."""
    if rule == "end":
        return np.arange(len(reward)) == len(reward) - 1
    if rule == "terminated":
        return mask == 0
    return np.zeros(len(reward), bool) if rule == "never" else reward >= float(rule.removeprefix("reward>="))


def ask(episode: Episode) -> str:
    """How a sentence on an episode without a success signal ends: the settings that answer the question."""
    values = np.unique(episode.outcome.reward)
    bound = f"{values[-1]:g}" if 1 < len(values) <= 2 else "NUMBER"
    return (
        f"say which steps succeeded by {SETTING}, as reward>={bound}, end (the last step of every episode), terminated or never, or train "
        "on the reward by --config.reward.signal=environment --config.reward.terminate_on_success=False."
    )


def told(read: Callable[[], Iterator[Recording]], rule: str = "", kind: Source | None = None) -> Iterator[Recording]:
    """The pieces of a file with success signals for the episodes that have none, by the module's rule.

    Args:
        read: reads the file, from its beginning at each call.
        rule: one of the module's; "" decides by the rewards, for which a file may be read twice: once until a step is paid.
        kind: what the data are said to be.

    Raises:
        WarmloopError: rewards that seemed to be 0 and 1 alone are not.
    """
    lost, origin = 0, ""
    for piece in _told(read, rule, kind):
        lost, origin = lost + _lost_successes(piece), piece.origin
        yield piece
    if lost:
        log.warning(
            "%s: %d episodes succeed on their last step alone, of which nothing says what was observed after it, so that it is not learnt "
            "from: record next observations, or mark it in `terminals`.",
            *(origin, lost),
        )


def _told(read: Callable[[], Iterator[Recording]], rule: str, kind: Source | None) -> Iterator[Recording]:
    pieces = read()
    first = next(pieces, None)
    if first is None:
        return
    if rule:
        if "success" in first.columns and first.success_known is None:
            log.info("%s: its own success flags count, and not %s=%s", first.origin, SETTING.removeprefix("--config."), rule)
        yield from (signalled(piece, rule) for piece in itertools.chain([first], pieces))
        return
    verdict = _verdict(first)
    if verdict == Verdict.OPEN and (second := next(pieces, None)) is not None:
        found = (_verdict(piece) for piece in itertools.chain([second], pieces))
        verdict = next((one for one in found if one != Verdict.OPEN), Verdict.OPEN)
        pieces = itertools.islice(read(), 1, None)  # anew, since pieces are too large to keep
    for piece in itertools.chain([first], pieces):
        if verdict == Verdict.SPARSE:
            _check_sparse(piece)
            yield signalled(piece, PAID)
        else:
            yield signalled(piece, "never") if verdict == Verdict.OPEN and kind in FAILING else piece


def signalled(piece: Recording, rule: str) -> Recording:
    """The piece with a success signal by a rule that is not "", for the episodes that have none."""
    columns, starts = piece.columns, piece.starts
    known = np.full(len(starts), "success" in columns) if piece.success_known is None else piece.success_known
    if known.all():
        return piece
    reward, ends = columns["rewards"], np.append(starts[1:], len(columns["rewards"]))
    success = columns["success"].copy() if "success" in columns else np.zeros(len(reward), bool)
    wholes = None if piece.wholes is None else piece.wholes.copy()
    for index in np.flatnonzero(~known):
        rows, whole = slice(starts[index], ends[index]), None if wholes is None else wholes[index]
        if whole is None:
            success[rows] = succeeded(rule, reward[rows], 1.0 - columns["terminals"][rows])
        else:
            assert wholes is not None
            flags = succeeded(rule, whole.reward, whole.mask)
            if rule == "end" and piece.sources is None:  # the whole has one step more, which a reader dropped: it led to nothing known
                flags = np.arange(len(whole)) == whole.first + rows.stop - rows.start - 1
            wholes[index] = dataclasses.replace(whole, success=flags)
            success[rows] = flags[whole.first : whole.first + rows.stop - rows.start]
    return dataclasses.replace(piece, columns=columns | {"success": success}, success_known=None, wholes=wholes, success_by=rule)


def _lost_successes(piece: Recording) -> int:
    """Episodes of which a reader dropped the one step that succeeded."""
    if piece.wholes is None or piece.sources is not None or "success" not in piece.columns:
        return 0
    kept = np.logical_or.reduceat(piece.columns["success"], piece.starts) if len(piece) else ()
    pairs = zip(piece.wholes, kept, strict=True)
    return sum(whole is not None and whole.success is not None and bool(whole.success.any()) and not won for whole, won in pairs)


def _verdict(piece: Recording) -> Verdict:
    if "success" in piece.columns or piece.sources is not None:  # which only files of our own say
        return Verdict.FLAGGED
    wholes = () if piece.wholes is None else piece.wholes
    reward = np.concatenate([piece.columns["rewards"], *(whole.reward for whole in wholes if whole)])  # with those of dropped steps
    if not _zero_or_one(reward).all():
        return Verdict.UNKNOWN
    if not (reward == 1).any():
        return Verdict.OPEN
    lengths = np.diff(piece.starts, append=len(piece.columns["rewards"]))
    from_the_first = reward[piece.starts[lengths > 1]] == 1
    return Verdict.UNKNOWN if len(from_the_first) and from_the_first.mean() > 0.5 else Verdict.SPARSE


def _check_sparse(piece: Recording) -> None:
    """Raises WarmloopError where a reward is neither 0 nor 1; what is not finite is refused elsewhere."""
    reward = piece.columns["rewards"]
    odd = np.flatnonzero(~_zero_or_one(reward))
    if len(odd):
        index = int(np.searchsorted(piece.starts, odd[0], side="right")) - 1
        number = index if piece.numbers is None else piece.numbers[index]
        raise WarmloopError(
            f"{piece.origin}, episode {number}, step {odd[0] - piece.starts[index]}: the reward is {reward[odd[0]]:g}, and those of the "
            f"episodes before were 0 and 1 alone, of which 1 is a success; say which steps succeeded by {SETTING}, as reward>=1."
        )


def _zero_or_one(reward: np.ndarray) -> np.ndarray:
    return (reward == 0) | (reward == 1) | ~np.isfinite(reward)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False

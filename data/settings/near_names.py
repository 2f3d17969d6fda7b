"""The known names that a misspelt one may have meant, and how a sentence about it ends."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LEAST_LIKENESS = 0.5  # of two names, in [0, 1], as difflib measures it
MOST = 3  # names that a sentence shows


def closest_names(name: str, known: Iterable[str], most: int = MOST) -> list[str]:
    """At most so many of the `known` names that are like `name`, the closest first. Upper and lower case count as the same."""
    lowered = {candidate.lower(): candidate for candidate in known}
    return [lowered[found] for found in difflib.get_close_matches(name.lower(), lowered, most, cutoff=LEAST_LIKENESS)]


def did_you_mean(
    name: str, known: Iterable[str], *, one: bool = False, prefix: str = "", listing: bool = False, otherwise: str = "."
) -> str:
    """The end of a sentence about the unknown `name`: `; did you mean this or that?`, or a full stop where no known name is near.

    Args:
        one: only the closest name is shown, in quotation marks: `; did you mean "this"?`
        prefix: what stands before each name.
        listing: where none is near, all the known names are listed: `; there are this, that.`
        otherwise: the end where none is near and they are not listed.
    """
    known = list(known)
    near = [f"{prefix}{found}" for found in closest_names(name, known, 1 if one else MOST)]
    if near:
        return f'; did you mean "{near[0]}"?' if one else f"; did you mean {' or '.join(near)}?"
    return f"; there are {', '.join(known)}." if listing else otherwise

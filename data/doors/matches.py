"""Suggestions for a misspelt name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near_matches(name: str, known: Iterable[str], count: int = 3, prefix: str = "") -> str:
    """The end of a sentence about the unknown `name`: the closest known names, each after `prefix`, or just a full stop."""
    lowered = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), lowered, count, cutoff=0.5)
    return f"; did you mean {' or '.join(prefix + lowered[found] for found in close)}?" if close else "."

"""How the reports say numbers, times and settings."""

from __future__ import annotations

import datetime
import json
from typing import Any

from ..flags.progress import span as span

Measured = tuple[float, tuple[float, float] | None] | None


def rate(measured: Measured) -> str:
    """A success rate: `0.98`."""
    return "—" if measured is None else f"{measured[0]:.2f}"


def interval(measured: Measured, digits: int = 2) -> str:
    """Its interval: `0.90 to 1.00`."""
    if measured is None or measured[1] is None:
        return "—"
    low, high = measured[1]
    widest = max(abs(low), abs(high))
    return f"{number(low, digits, widest)} to {number(high, digits, widest)}"


def number(value: float, digits: int = 2, beside: float = 0.0) -> str:
    """A number of so many digits behind the point, of fewer where it or the one beside it is large."""
    size = max(abs(value), abs(beside))
    return (f"{value:,.0f}" if size >= 1000 else f"{value:,.1f}" if size >= 10 else f"{value:.{digits}f}").replace("-", "\u2212")


def day(seconds: float) -> str:
    """A time of day, in the machine's own zone."""
    try:
        return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "—"


def setting(value: Any) -> str:
    """A setting's value as it would be written."""
    if value is None:
        return "—"
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value, default=str)


def counted(count: int, what: str) -> str:
    """`1 episode`, `2 episodes`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"

"""A policy as files that run without this package: StableHLO programs, weights, and a NumPy-only `policy.py`."""

from .check import Report, check
from .write import Exported, write

__all__ = ["Exported", "Report", "check", "write"]

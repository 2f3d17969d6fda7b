"""A policy as files that run without this package: StableHLO programs, weights, and a NumPy-only `policy.py`."""

from .check import Report, check
from .write import Exported, check_exportable, write

__all__ = ["Exported", "Report", "check", "check_exportable", "write"]

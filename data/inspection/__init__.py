"""The inspector: what is in a data set, and what is wrong with it, before training finds out."""

from .findings import Finding as Finding
from .findings import Severity as Severity
from .inspector import inspect as inspect
from .reading import is_quarantine as is_quarantine
from .reference import Reference as Reference
from .repair import Change as Change
from .repair import repair as repair
from .report import Report as Report

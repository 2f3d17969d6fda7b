"""The inspector: what is in a data set, and what is wrong with it, before training finds out."""

from .inspector import inspect as inspect
from .reading import is_quarantine as is_quarantine
from .reference import Reference as Reference
from .repair import Change as Change
from .repair import repair as repair
from .report import Finding as Finding
from .report import Report as Report
from .report import Severity as Severity

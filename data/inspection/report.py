"""What an inspection hands over: all that it found, and how that reads."""

from __future__ import annotations

import html

from .findings import Inspected
from .text import render


class Report(Inspected):
    """Everything an inspection found, as text where it is printed and as HTML in a notebook."""

    def __str__(self) -> str:
        """The report as the command prints it."""
        return render(self)

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        return f"<pre>{html.escape(str(self))}</pre>"

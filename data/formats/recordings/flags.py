"""A flag is 0 or 1, whatever it is stored as. What else Python takes for true (NaN, 255, -1, the word "False") is refused: what it was to
say is not known."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import WarmloopError


def check_flags(place: str, name: str, values: np.ndarray) -> None:
    """Raises WarmloopError unless all of `values` `[N, ...]`, which are numbers, are flags."""
    if values.dtype.kind == "b":
        return
    values = np.ravel(values)
    odd = (values != 0) & (values != 1)  # NaN is
    if odd.any():
        row = int(np.argmax(odd))
        raise WarmloopError(
            f"{place}: `{name}` holds {values[row]:g} in row {row}, and a flag is 0 or 1; repair it, or take the array out."
        )


def truth(value: Any) -> bool | None:
    """What a single flag says, or any of several; None where one is no flag."""
    values = np.ravel(value)
    if values.dtype.kind not in "biuf" or ((values != 0) & (values != 1)).any():
        return None
    return bool(values.any())


def single_flag(place: str, name: str, value: Any) -> bool:
    """What the flag `name` of an episode says, or any of its steps'. Raises WarmloopError where it is none."""
    found = truth(value)
    if found is None:
        shown = repr(str(value)) if isinstance(value, str) else str(value)
        raise WarmloopError(f"{place}: `{name}` is {shown:.40}, and a flag is 0 or 1; repair it, or take it out.")
    return found

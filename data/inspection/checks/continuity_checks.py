"""Checks of what follows what: next observations, step numbers, timestamps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..episode_facts import Fault, View
from ..findings import Severity

SAME = 1e-5  # of a column's spread; two roundings of one value
GAP = 3.0  # times the usual time between steps


def next_observations(view: View) -> Iterator[Fault]:
    broken = breaks(view)
    rows = np.flatnonzero(broken)
    if not len(rows):
        return
    if repeats_itself(view):
        what = "The next observation of every step is the observation itself: nothing ever happens."
        yield Fault(Severity.BREAKS, what, "Record the observation after the step; --fix takes it from the following step.", 0)
        return
    what = f"The next observation is not the following step's observation on {len(rows)} of {len(view) - 1} steps."
    advice = "Find how the recording lost or mixed rows: targets learnt there are wrong. --fix cuts them out."
    yield Fault(Severity.BREAKS, what, advice, int(rows[0]))


def repeats_itself(view: View) -> bool:
    """Whether every next observation is the observation before the step."""
    return len(view) > 2 and bool((view.observation == view.following).all())


def breaks(view: View) -> np.ndarray:
    """`[T - 1]` bool, rows whose next observation is another than the following row's, by more than rounding."""
    broken = view.broken
    if not broken.any():
        return broken
    spread = np.nanstd(view.observation, axis=0)
    with np.errstate(invalid="ignore"):
        far = np.abs(view.following[:-1] - view.observation[1:]) > SAME * np.maximum(spread, 1e-6)
    images = any(name.endswith("(brightness)") for name in view.names)
    return broken if images else broken & far.any(axis=1)


def step_numbers(view: View) -> Iterator[Fault]:
    numbers = view.recorded.numbered
    if numbers is None or len(view) < 2:
        return
    gaps = np.flatnonzero(np.diff(numbers) != 1)
    if len(gaps):
        step = int(gaps[0])
        what = f"Step number {numbers[step]} is followed by {numbers[step + 1]}: rows are missing or out of order."
        yield Fault(Severity.HARMS, what, "Find the lost rows, or split the episode there.", step)


def time_gaps(view: View) -> Iterator[Fault]:
    if view.times is None or len(view) < 3:
        return
    if not np.isfinite(view.times).all():
        step = int(np.argmin(np.isfinite(view.times)))
        what = f"The timestamp of this step is {view.times[step]:g}, so that nothing shows whether steps are missing."
        yield Fault(Severity.NOTE, what, "Nothing needs to be done for training, which does not use timestamps.", step)
        return
    passed = np.diff(view.times)
    usual = float(np.median(passed))
    late = np.flatnonzero((passed > GAP * usual) | (passed <= 0))
    if len(late):
        step = int(late[0])
        what = f"{passed[step]:.3g} s pass after this step, and {usual:.3g} s after the median one; gaps: {len(late)} in all."
        if passed[step] <= 0:
            what = f"Time does not go forward after this step ({passed[step]:.3g} s); such steps: {len(late)} in all."
        yield Fault(Severity.HARMS, what, "Split the episode there: the robot moved on while nothing was recorded.", step)

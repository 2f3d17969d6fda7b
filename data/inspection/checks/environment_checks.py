"""Checks against an environment's spaces."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..episode_facts import Fault
from ..findings import Severity
from ..survey import Survey
from .value_checks import listed

OUTSIDE = 1e-4  # of a bound's size, for rounding


def shapes(survey: Survey) -> Iterator[Fault]:
    if survey.reference is None:
        return
    difference = survey.reference.spec.difference(survey.spec, survey.reference.name, "the data")
    if difference:
        yield Fault(Severity.BREAKS, f"{difference}.", "Train in the environment that the data was recorded in, or map its keys.")


def outside_the_space(survey: Survey) -> Iterator[Fault]:
    reference, columns = survey.reference, survey.observations
    if reference is None or reference.spec != survey.spec:
        return
    slack = OUTSIDE * np.maximum(1, np.where(np.isfinite(reference.high), np.abs(reference.high), 1))
    beyond = np.flatnonzero((columns.low < reference.low - slack) | (columns.high > reference.high + slack))
    if len(beyond):
        column = beyond[0]
        what = (
            f"{listed(columns.names, beyond)} pass the bounds of {reference.name}: {columns.names[column]} runs from "
            f"{columns.low[column]:.3g} to {columns.high[column]:.3g}, its space from {reference.low[column]:.3g} to "
            f"{reference.high[column]:.3g}."
        )
        yield Fault(Severity.HARMS, what, "Check the unit and the order of the observation's columns.")


def coverage(survey: Survey) -> dict[str, float]:
    """Share of each bounded range that the data visits: of every action, and of the observation's columns that have finite bounds."""
    reference, columns, actions = survey.reference, survey.observations, survey.actions
    if reference is None or reference.spec != survey.spec:
        return {}
    shares = {name: (actions.bins[index] > 0).mean() for index, name in enumerate(actions.names)}
    for index in np.flatnonzero(np.isfinite(reference.low) & np.isfinite(reference.high) & (reference.high > reference.low)):
        visited = min(columns.high[index], reference.high[index]) - max(columns.low[index], reference.low[index])
        shares[columns.names[index]] = max(0.0, visited / (reference.high[index] - reference.low[index]))
    return {name: float(share) for name, share in shares.items()}

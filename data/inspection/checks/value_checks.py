"""Checks of single values: not finite, stuck, jumping, or stored too coarsely."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...episode import Episode
from ...plausible import ABSURD
from ..columns import BRIGHTNESS, leaves
from ..episode_facts import Fault, View
from ..findings import Severity
from ..survey import Survey

STUCK_STEPS = 20
SPIKE = 15.0  # times the usual change
SCENE_CHANGE = 5.0  # times the usual change, and that of the steps around, in a quarter of the columns at once
AROUND = 2  # steps before and after
SCALE_RATIO = 1000.0
LITTLE = 0.01  # of its size, below which a column hardly varies
HUGE = 1e6
RESOLUTION = 2.0**-23  # of float32, relative
NEXT = "next "  # before the name of an array of next observations


def first_unusable(episode: Episode) -> tuple[int, str, float] | None:
    """The first row with a value that is not finite, or so large that it cannot be, the name of the array it is in, and the value."""
    steps = episode.steps
    parts = leaves(steps.observation) | {f"{NEXT}{name}": leaf for name, leaf in leaves(steps.next_observation).items()}
    found: list[tuple[int, str, float]] = []
    for name, leaf in (parts | {"action": steps.action, "reward": steps.reward}).items():
        usable = np.abs(leaf) <= ABSURD if leaf.dtype.kind == "f" else np.ones(1, bool)
        if not usable.all():
            row = int(np.argmin(usable.reshape(len(leaf), -1).all(axis=1)))
            found.append((row, name, float(leaf[row][~usable[row]].flat[0])))
    return min(found, key=lambda place: place[0], default=None)


def non_finite(view: View) -> Iterator[Fault]:
    place = first_unusable(view.episode)
    if place:
        step, name, value = place
        beyond = f"{value:.3g}, which nothing that is measured can be" if np.isfinite(value) else "not a finite number (NaN or infinite)"
        what = f"The {name} is {beyond}."
        yield Fault(Severity.BREAKS, what, "Repair the sensor or its driver; --fix cuts the episode before that step.", step)


def stuck_sensors(survey: Survey) -> Iterator[Fault]:
    """A column that otherwise changes with every step keeps one value for a while."""
    runs = np.stack([facts.stuck for facts in survey.facts])
    continuous = survey.observations.continuous & (np.quantile(runs, 0.9, axis=0) <= 1)
    for facts in survey.facts if continuous.any() else []:
        stuck = np.flatnonzero(continuous & (facts.stuck >= STUCK_STEPS))
        if not len(stuck):
            continue
        named = "The whole observation" if len(stuck) == continuous.sum() else listed(survey.observations.names, stuck)
        steps, first = int(facts.stuck[stuck[0]]) + 1, int(facts.stuck_step[stuck[0]])
        what = f"{named} stands still for {steps} steps, though it changes with every step elsewhere."
        yield Fault(Severity.HARMS, what, "Look for a sensor or a message that hung; leave the episode out if it did.", first, facts)


def spikes(view: View) -> Iterator[Fault]:
    """A column that leaps and is back one step later."""
    if len(view) < 20:
        return
    values = view.observation.astype(np.float64)
    leap, back = values[1:-1] - values[:-2], values[2:] - values[1:-1]
    far = np.minimum(np.abs(leap), np.abs(back)) > SPIKE * np.maximum(view.usual_change, 1e-9)
    returned = far & (np.abs(leap + back) <= 2 * view.usual_change) & (view.usual_change > 0)
    if returned.any():
        row, column = np.argwhere(returned)[0]
        what = f"{view.names[column]} leaps by {abs(leap[row, column]):.3g} for one step and is back at the next."
        yield Fault(Severity.HARMS, what, "Filter this sensor, or cut the step out; no robot moves like that.", int(row) + 1)


def jumps(view: View) -> Iterator[Fault]:
    """A quarter of all moving columns leap at one step, and not around it: a reset, or two recordings joined.

    What mostly stands still and then moves does so for several steps. And where there are few columns, one that leaps alone is an angle
    that went once around, or a collision: a second one must at least change more than usual.
    """
    moving = view.usual_change > 0
    if len(view) < 20 or moving.sum() < 3:
        return
    change = view.change[:, moving]
    around = np.pad(change, ((AROUND, AROUND), (0, 0)))
    near = np.max([around[shift : shift + len(change)] for shift in range(2 * AROUND + 1) if shift != AROUND], axis=0)
    leap = change / np.maximum(view.usual_change[moving], near)
    share = (leap > SCENE_CHANGE).mean(axis=1) * ((leap > 1).sum(axis=1) >= 2)
    if share.max() >= 0.25:
        step = int(share.argmax()) + 1
        what = f"{share.max():.0%} of the observation's columns leap at one step: a reset, or two recordings joined, inside an episode."
        yield Fault(Severity.HARMS, what, "Split the episode there: begin a new one at this step.", step)


def constant_columns(survey: Survey) -> Iterator[Fault]:
    if survey.random_play:
        return  # which leaves much untouched
    for name in np.array(survey.observations.names)[survey.observations.constant]:
        if name.endswith(BRIGHTNESS):
            continue  # of a camera, which has checks of its own
        what = f"{name} has one and the same value in all steps."
        yield Fault(Severity.NOTE, what, "Make sure that the sensor is connected; if it is meant so, leave the column out.")


def little_variation(survey: Survey) -> Iterator[Fault]:
    """Columns that keep to one value but for a small part of it: a robot that leaves them online is where the data has nothing."""
    if survey.random_play:
        return  # which leaves much untouched
    columns = survey.observations
    size = np.maximum(np.abs(columns.low), np.abs(columns.high))
    images = np.array([name.endswith("(brightness)") for name in columns.names], bool)
    with np.errstate(invalid="ignore"):
        hardly = ~columns.constant & ~images & (columns.std < LITTLE * size) & (columns.count > 1)
    for place in np.flatnonzero(hardly):
        name, mean, std = columns.names[place], columns.mean[place], columns.std[place]
        what = f"{name} hardly varies: {mean:.4g} ± {std:.2g} in all steps, from {columns.low[place]:.4g} to {columns.high[place]:.4g}."
        fix = "Where it varies more on the robot, record demonstrations that show it: networks see it in multiples of this deviation."
        yield Fault(Severity.NOTE, what, fix)


def scales(survey: Survey) -> Iterator[Fault]:
    columns = survey.observations
    size = np.maximum(np.abs(columns.low), np.abs(columns.high))
    for name, value in [(name, value) for name, value in zip(columns.names, size, strict=True) if np.isfinite(value) and value > HUGE]:
        yield Fault(Severity.HARMS, f"{name} reaches {value:.3g}, which drowns every other input.", "Give it in a unit of about 1.")
    std = np.where(columns.constant | ("brightness" in columns.names), np.nan, columns.std)
    std = np.where(std > 0, std, np.nan)
    if np.isfinite(std).sum() < 2:
        return
    wide, narrow = int(np.nanargmax(std)), int(np.nanargmin(std))
    middle = float(np.nanmedian(std))
    if std[wide] > SCALE_RATIO * middle and size[wide] <= HUGE:
        what = f"{columns.names[wide]} varies {std[wide] / middle:.3g} times as much as the middle column does ({std[wide]:.3g})."
        yield Fault(Severity.HARMS, what, "Bring it to a unit of about 1, or normalise the observations.")
    if std[narrow] * SCALE_RATIO < middle:
        what = f"{columns.names[narrow]} varies {middle / std[narrow]:.3g} times less than the middle column does ({std[narrow]:.3g})."
        fix = "Normalised, it counts as much as any; where it is drift or noise, set agent.observation_floor=0.001, or leave it out."
        yield Fault(Severity.NOTE, what, fix)


def precision(survey: Survey) -> Iterator[Fault]:
    columns = survey.observations
    coarse = np.flatnonzero(columns.half_precision)
    if len(coarse):
        what = f"{listed(columns.names, coarse)} hold only values that fit 16-bit floats: all but 3 digits are gone."
        yield Fault(Severity.NOTE, what, "Record in float32; the lost digits cannot be had back.")
    size = np.maximum(np.abs(columns.low), np.abs(columns.high))
    with np.errstate(invalid="ignore"):
        lost = np.flatnonzero(~columns.constant & (size * RESOLUTION > 0.1 * columns.typical_change) & (columns.pairs > columns.repeats))
    if len(lost):
        what = f"{listed(columns.names, lost)} are so large that float32 cannot tell one step from the next."
        yield Fault(Severity.HARMS, what, "Subtract an offset before recording, as the time since the episode began.")


def listed(names: list[str], places: np.ndarray) -> str:
    """The first few of the named columns."""
    shown = ", ".join(names[place] for place in places[:4])
    return shown if len(places) <= 4 else f"{shown} and {len(places) - 4} more"

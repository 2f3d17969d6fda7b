"""Checks of actions: out of range, saturated, rough, idle, or badly scaled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...formats.recordings.checked_values import clip_advice
from ..episode_facts import Fault, View
from ..findings import Severity
from ..survey import Survey

ROUNDING = 1e-3  # as far beyond [-1, 1] as the loader clips
SATURATED_SHARE = 0.9
EPISODE_SATURATED = 0.6
ROUGH = 3.0  # times the median episode's jerk
SMALL = 0.05
SCALED = 5.0  # times smaller or greater than the median episode's actions
FEWEST_EPISODES = 5
FEWEST_STEPS = 10  # of an episode whose spread says something
BANG_BANG = 0.5


def out_of_range(view: View) -> Iterator[Fault]:
    beyond = np.where(np.isfinite(view.action), np.abs(view.action), 0)  # what is not finite is another check's
    rows = np.flatnonzero((beyond > 1).any(axis=1))
    if not len(rows):
        return
    most, step = float(beyond.max()), int(rows[0])
    if most <= 1 + ROUNDING:
        what = f"Actions pass [-1, 1] by up to {most - 1:.1g}, which is rounding; steps: {len(rows)} in all."
        yield Fault(Severity.NOTE, what, "Nothing needs doing: they are clipped when read, and by --fix.", step)
        return
    what = f"Actions reach {most:.4g}, beyond the bounds of [-1, 1]; steps: {len(rows)} in all."
    advice = f"Divide them by the environment's action limits{clip_advice(most - 1)}; the loader refuses the file as it is."
    yield Fault(Severity.BREAKS, what, advice, step)


def saturated_columns(survey: Survey) -> Iterator[Fault]:
    for name, share in zip(survey.actions.names, survey.saturated_share, strict=True):
        if share > SATURATED_SHARE:
            what = f"{name} is at a limit on {share:.0%} of all steps."
            yield Fault(
                Severity.HARMS, what, "Check its scale: values in another unit, clipped, look like this. A gripper may be meant so."
            )


def saturated_episodes(survey: Survey) -> Iterator[Fault]:
    usual = float(np.median([facts.saturation for facts in survey.facts]))
    for facts in survey.facts:
        if facts.saturation > max(EPISODE_SATURATED, 2 * usual):
            what = f"{facts.saturation:.0%} of the actions are at a limit; {usual:.0%} are in the median episode."
            yield Fault(Severity.HARMS, what, "Check the scale of this episode's actions; clipped values teach full throttle.", None, facts)


def rough_actions(survey: Survey) -> Iterator[Fault]:
    jerks = np.array([facts.jerk for facts in survey.facts])
    usual = float(np.median(jerks))
    for facts in [facts for facts in survey.facts if len(jerks) >= FEWEST_EPISODES and facts.jerk > max(ROUGH * usual, 0.05)]:
        what = f"The actions jerk {facts.jerk / max(usual, 1e-9):.1f} times as much as in the median episode."
        yield Fault(Severity.HARMS, what, "Look for a noisy device or lost messages; smooth it, or leave the episode out.", None, facts)


def bang_bang(view: View) -> Iterator[Fault]:
    """Actions that leap from limit to limit and back on most steps."""
    if len(view) < 10:
        return
    flips = (np.abs(np.diff(view.action, axis=0)) > 1.9).mean(axis=0)
    columns = np.flatnonzero(flips > BANG_BANG)
    if len(columns):
        what = f"action[{columns[0]}] leaps from one limit to the other on {flips[columns[0]]:.0%} of the steps."
        yield Fault(Severity.HARMS, what, "Look for a sign that alternates or a controller that oscillates.", 0)


def idle(view: View) -> Iterator[Fault]:
    if len(view) > 1 and not view.action.any():
        what = "Every action of the episode is zero."
        yield Fault(Severity.HARMS, what, "Leave the episode out, or find where its commands got lost: it teaches to stand still.", 0)


def constant_actions(survey: Survey) -> Iterator[Fault]:
    columns = survey.actions
    for column in np.flatnonzero(columns.constant):
        what = f"{columns.names[column]} is {columns.low[column]:.3g} on every step."
        yield Fault(Severity.HARMS, what, "Make sure that this joint was recorded; if it is not used, leave it out of the action.")


def small_actions(survey: Survey) -> Iterator[Fault]:
    columns = survey.actions
    reach = float(np.max(np.maximum(np.abs(columns.low), np.abs(columns.high))))
    if 0 < reach < SMALL:
        what = f"No action passes ±{reach:.3g}: the data uses {reach:.1%} of the range [-1, 1]."
        yield Fault(Severity.HARMS, what, "Divide the actions by the environment's limits; they seem to be in its own units.")


def scaled_episodes(survey: Survey) -> Iterator[Fault]:
    told = [facts for facts in survey.facts if facts.length >= FEWEST_STEPS]
    usual = float(np.median([facts.action_std for facts in told])) if len(told) >= FEWEST_EPISODES else 0.0
    for facts in told if usual else []:
        ratio = facts.action_std / usual
        if 0 < ratio < 1 / SCALED or ratio > SCALED:
            what = f"The actions vary {ratio:.2g} times as much as in the median episode."
            yield Fault(Severity.HARMS, what, "Check its units: it seems to be recorded on another scale than the rest.", None, facts)

"""Checks of pictures: black, constant, frozen, wrongly scaled, or none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..camera_facts import BLACK, CameraStatistics
from ..episode_facts import Fault
from ..findings import Severity
from ..survey import Survey
from .value_checks import STUCK_STEPS

DIM = 32  # of 255, which a sound camera passes somewhere in its pictures


def _cameras(survey: Survey) -> Iterator[CameraStatistics]:
    """Those that hold pictures, as uint8."""
    yield from (camera for camera in survey.cameras.values() if camera.dtype == np.uint8)


def no_pictures(survey: Survey) -> Iterator[Fault]:
    for camera in survey.cameras.values():
        if camera.dtype != np.uint8:
            what = f"{camera.name} has the shape of pictures, {camera.shape}, and runs from {camera.low:.4g} to {camera.high:.4g}."
            yield Fault(Severity.BREAKS, what, "Save pictures as uint8 from 0 to 255, or as floats from 0 to 1; leave depth out.")


def wrongly_scaled(survey: Survey) -> Iterator[Fault]:
    for camera in _cameras(survey):
        if camera.high == 1:
            what = f"{camera.name} holds 0 and 1 alone: floats from 0 to 1 that were cut to whole numbers, or a mask."
            yield Fault(Severity.BREAKS, what, "Multiply pictures by 255 before they are made uint8; what was cut cannot be had back.")
        elif BLACK < camera.high <= DIM:
            what = f"{camera.name} is nowhere brighter than {camera.high:.0f} of 255."
            yield Fault(Severity.HARMS, what, "Check its exposure and its scale.")


def black(survey: Survey) -> Iterator[Fault]:
    for camera in _cameras(survey):
        dark = sum(stretch.steps for stretch in camera.black)
        if camera.high == 1 or not dark:
            continue
        if dark == camera.count:
            what = f"{camera.name} is black in all {camera.count} pictures."
            yield Fault(Severity.BREAKS, what, "Make sure that the camera is connected and that its pictures are not scaled to 0 and 1.")
            continue
        first = camera.black[0]
        what = f"{camera.name} is black in {dark} of {camera.count} pictures, in {len(camera.black)} of {len(survey.facts)} episodes."
        advice = "Look for frames that were lost, and for a camera that starts late; leave the episodes out if a policy needs it."
        yield Fault(Severity.HARMS, what, advice, first.step, survey.facts[first.episode])


def constant(survey: Survey) -> Iterator[Fault]:
    for camera in _cameras(survey):
        if camera.constant and camera.count > 1 and camera.high > BLACK:
            what = f"{camera.name} shows one and the same picture in all {camera.count} steps."
            yield Fault(Severity.HARMS, what, "Make sure that the camera runs; leave it out if it is not needed.")


def frozen(survey: Survey) -> Iterator[Fault]:
    """A picture that stands still for a while, though the robot moves; elsewhere it changes."""
    for camera in _cameras(survey):
        for stretch in camera.frozen if not camera.constant else []:
            if stretch.steps >= STUCK_STEPS:
                what = f"{camera.name} shows the same picture for {stretch.steps + 1} steps while the robot moves."
                advice = "Look for a camera or a message that hung; leave the episode out if it did."
                yield Fault(Severity.HARMS, what, advice, stretch.step, survey.facts[stretch.episode])

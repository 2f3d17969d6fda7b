"""What the inspector shows and finds of cameras."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from warmloop.data.episode import Episode, make_steps
from warmloop.data.inspection import inspect
from warmloop.data.inspection.findings import Severity
from warmloop.data.inspection.page.html import page
from warmloop.data.inspection.text import render

STEPS = 40
RNG = np.random.default_rng(0)


def sound() -> np.ndarray:
    return RNG.integers(0, 256, (STEPS + 1, 12, 16, 3), np.uint8)


def recorded(*cameras: np.ndarray) -> list[Episode]:
    """An episode for each array of pictures `[T + 1, H, W, C]`, with a robot that moves."""
    episodes = []
    for number, frames in enumerate(cameras):
        state = np.cumsum(RNG.normal(size=(STEPS + 1, 3)), axis=0).astype(np.float32)
        before, after = ({"state": state[rows], "wrist": frames[rows]} for rows in (slice(0, STEPS), slice(1, STEPS + 1)))
        actions = RNG.uniform(-1, 1, (STEPS, 2))
        steps = make_steps(before, actions, np.zeros(STEPS), after, np.zeros(STEPS, bool), episode=number)
        episodes.append(Episode(steps, np.arange(STEPS) == number, "lab", number))
    return episodes


def found(*cameras: np.ndarray) -> dict[str, list]:
    """The findings about cameras, by their checks."""
    groups: dict[str, list] = {}
    for finding in inspect(recorded(*cameras)).findings:
        if "pictures" in finding.check:
            groups.setdefault(finding.check, []).append(finding)
    return groups


def black_from(step: int, length: int) -> np.ndarray:
    frames = sound()
    frames[step : step + length] = 3
    return frames


def frozen_from(step: int, length: int) -> np.ndarray:
    frames = sound()
    frames[step : step + length] = frames[step]
    return frames


def test_sound_cameras_have_no_findings_and_a_line_and_pictures():
    report = inspect(recorded(sound(), sound(), sound()))
    assert not [finding for finding in report.findings if "pictures" in finding.check]
    (camera,) = report.cameras
    assert (camera.name, camera.shape, camera.pictures) == ("wrist", (12, 16, 3), 3 * STEPS)
    assert (camera.low, camera.high, camera.black) == (0, 255, 0)
    assert re.search(r"camera +size +least +greatest +mean +black\nwrist +12 x 16 x 3 +0 +255 +12\d +0%", render(report))
    (encoded,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page(report))
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))
    assert picture.shape[0] > 2 * 96 and np.ptp(picture) > 200, "two episodes of three are shown"
    said = json.loads(json.dumps(report.as_json()))
    assert said["cameras"][0]["name"] == "wrist" and "shown" not in said


@pytest.mark.parametrize(
    ("cameras", "check", "severity", "says", "place"),
    [
        ([np.zeros((STEPS + 1, 12, 16, 3), np.uint8)] * 2, "black pictures", Severity.BREAKS, "black in all 80 pictures", None),
        ([sound(), black_from(7, 5)], "black pictures", Severity.HARMS, "black in 5 of 80 pictures, in 1 of 2 episodes", (1, 7)),
        ([(sound() > 127).astype(np.uint8)] * 2, "wrongly scaled pictures", Severity.BREAKS, "0 and 1 alone", None),
        ([sound() // 10] * 2, "wrongly scaled pictures", Severity.HARMS, "nowhere brighter than 25 of 255", None),
        ([np.full((STEPS + 1, 12, 16, 3), 100, np.uint8)] * 2, "constant pictures", Severity.HARMS, "the same picture in all 80", None),
        ([sound(), frozen_from(4, 30)], "frozen pictures", Severity.HARMS, "the same picture for 30 steps while the robot moves", (1, 4)),
        ([sound() / np.float32(100) - 1] * 2, "pictures that are none", Severity.BREAKS, "runs from -1 to 1.55", None),
    ],
)
def test_each_defect_of_a_camera_is_found(cameras, check, severity, says, place):
    ((name, (finding, *more)),) = found(*cameras).items()
    assert (name, finding.severity) == (check, severity) and says in finding.what and not more
    if place:
        assert (finding.episode, finding.step) == place


def test_a_camera_that_stands_still_with_the_robot_is_not_frozen():
    episodes = recorded(frozen_from(4, 30))
    for name in ("observation", "next_observation"):
        state = getattr(episodes[0].steps, name)["state"]
        state[3:36] = state[3]
    assert not [finding for finding in inspect(episodes).findings if finding.check == "frozen pictures"]


@pytest.mark.parametrize("shape", [(12, 16), (12, 16, 1), (12, 16, 9), (2, 12, 16, 3), (9, 12, 16)])
def test_pictures_of_every_shape_can_be_shown(shape):
    frames = RNG.integers(0, 256, (STEPS + 1, *shape), np.uint8)
    assert "data:image/png" in page(inspect(recorded(frames)))

"""The pictures at a run's end show what was measured, however little that is."""

import json

import imageio.v2 as imageio
import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot

from warmloop.learner.diagnosis.metrics import Recorder
from warmloop.learner.diagnosis.plot import PACE, plot_run, plot_warm_up

ASKED = "learner/updates_per_step_asked"
INK = np.array([0x1F, 0x4E, 0x79])


def inked(path) -> np.ndarray:
    """`[H, W]` where a picture has the colour of its curves."""
    return np.all(np.abs(np.asarray(imageio.imread(path))[..., :3].astype(int) - INK) < 12, axis=-1)


def test_every_measure_of_a_warm_up_with_a_single_record_is_seen(tmp_path):
    names = ("heldout/action_error", "heldout/log_prob", "heldout/td_error", "heldout/q_overestimation")
    with Recorder(tmp_path / "warmup_metrics") as recorder:
        recorder.write(300, dict.fromkeys(names, 0.5))
    panels = np.array_split(inked(plot_warm_up(tmp_path, tmp_path / "warmup")), len(names), axis=1)
    assert all(panel.sum() > 20 for panel in panels)


@pytest.mark.parametrize("signal", ["environment", "success"])
def test_returns_are_drawn_where_they_are_what_is_learnt_for(tmp_path, signal):
    (tmp_path / "config.json").write_text(json.dumps({"reward": {"signal": signal}}))
    with Recorder(tmp_path) as recorder:
        for steps in (100, 200, 300):
            recorder.write(steps, {"environment_steps": steps, "actor/episode_return": -1000.0 + steps, "actor/success_rate": 0.0})
            recorder.write(steps, {"environment_steps": steps, "evaluation/episode_return": -900.0 + steps})
    drawn = inked(plot_run(tmp_path))
    height, width = drawn.shape
    assert (height > 0.8 * width) == (signal == "environment")
    assert (drawn[height // 2 : int(0.8 * height)].sum() > 50) == (signal == "environment")


def drawn_by(monkeypatch, folder):
    """The figure of a run's curves, and whether its picture is there."""
    kept = []
    monkeypatch.setattr(pyplot, "close", kept.append)
    assert plot_run(folder).stat().st_size > 0
    monkeypatch.undo()
    return kept[0]


def test_the_pace_is_drawn_as_it_was_asked_and_as_it_was_reached(tmp_path, monkeypatch):
    with Recorder(tmp_path) as recorder:
        for steps, reached in ((100, 0.1), (200, 0.25), (300, 0.375)):
            recorder.write(steps, {"environment_steps": steps, PACE: reached, ASKED: 0.5, "actor/success_rate": 0.0})
        recorder.write(300, {"environment_steps": 400, "actor/success_rate": 0.0})
    figure = drawn_by(monkeypatch, tmp_path)
    pace = figure.axes[1]
    lines = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in pace.lines}
    assert lines == {"reached": [[100, 0.1], [200, 0.25], [300, 0.375]], "asked": [[100, 0.5], [200, 0.5], [300, 0.5]]}
    assert pace.get_ylabel() == "updates per step" and pace.get_ylim()[0] == 0 and pace.get_legend() is not None
    pyplot.close(figure)


def test_a_run_that_measured_no_pace_has_no_panel_for_it(tmp_path, monkeypatch):
    with Recorder(tmp_path) as recorder:
        recorder.write(100, {"environment_steps": 100, "actor/success_rate": 0.0})
    figure = drawn_by(monkeypatch, tmp_path)
    assert "updates per step" not in [axis.get_ylabel() for axis in figure.axes]
    pyplot.close(figure)

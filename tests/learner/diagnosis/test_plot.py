"""The pictures at a run's end show what was measured, however little that is."""

import json

import imageio.v2 as imageio
import numpy as np
import pytest

from warmloop.learner.diagnosis.metrics import Recorder
from warmloop.learner.diagnosis.plot import plot_run, plot_warm_up

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

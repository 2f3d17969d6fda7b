"""Evaluations with a video: what cannot be filmed is said first, and what was found is shown whatever becomes of the film."""

import json
import os
import subprocess
import sys

import pytest
from runs import sentence

BLIND = """
import gymnasium as gym
from gymnasium.envs.classic_control import PendulumEnv

class Blind(PendulumEnv):
    def render(self):
        raise OSError("no light")

gym.register("Blind-v0", Blind, max_episode_steps=20)
"""


def evaluate(folder, *arguments):
    line = [sys.executable, "-m", "warmloop.launch.evaluate", "--policy=random", "--episodes=1", *arguments]
    bare = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")}
    return subprocess.run(line, capture_output=True, text=True, timeout=200, cwd=folder, env=bare)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("video", "says"), [("a.gif", "name it .mp4"), ("/proc/x/a.mp4", "cannot be written"), ("films.mp4", "a folder has that name")]
)
def test_a_video_that_cannot_be_written_is_refused_before_an_episode_is_run(tmp_path, video, says):
    (tmp_path / "films.mp4").mkdir()
    done = evaluate(tmp_path, "--env=Pendulum-v1", f"--video={video}")
    said = sentence(done)
    assert video in said and says in said and done.stdout == ""


@pytest.mark.long
def test_what_was_found_is_shown_where_the_video_fails(tmp_path):
    (tmp_path / "blind.py").write_text(BLIND)
    done = evaluate(tmp_path, "--env=blind:Blind-v0", "--video=a.mp4", "--json")
    assert "no light" in sentence(done)
    assert json.loads(done.stdout)["mean_length"] == 20 and not (tmp_path / "a.mp4").exists()


@pytest.mark.long
def test_a_film_is_made_without_a_display_and_without_a_complaint(tmp_path):
    pytest.importorskip("pygame", reason="pygame is not installed here")
    done = evaluate(tmp_path, "--env=Pendulum-v1", "--video=films/a.mp4")
    assert done.returncode == 0 and "success" in done.stdout and (tmp_path / "films" / "a.mp4").stat().st_size > 0, done.stderr
    assert "error" not in done.stderr

"""Clips of a run whose actor talks to its learner over gRPC; and of one in which there is nothing to record."""

import shutil

import lamps
import pytest
from films import frames_of
from runs import Commands

from warmloop.launch.starting.processes import free_port

AGENT = ("hidden=(8,)", "ensemble=2", "target_subset=2", "batch_size=4", "utd=1", "vision.features=4", "vision.channels=(4,4)")


@pytest.fixture
def seeing(tmp_path):
    """Commands of an agent that sees the lamps."""
    (tmp_path / "see.py").write_text(lamps.CONFIG)
    shutil.copy(lamps.__file__, tmp_path)  # its environment, for the processes
    pace = ("--config.learner.max_utd=0.2", "--config.learner.publish_every=1")
    return Commands(tmp_path, (f"--config={tmp_path}/see.py", *(f"--config.agent.{setting}" for setting in AGENT), *pace))


@pytest.mark.slow
def test_every_clip_of_an_actor_beside_grpc_is_whole(seeing):
    evaluations = ("--config.actor.evaluate_every=9", "--config.actor.evaluation_episodes=2")
    done = seeing.run("local", "--exp_name=filmed", "--online_steps=45", f"--port={free_port()}", "--save_video", *evaluations)
    assert done.returncode == 0 and "Fatal" not in done.stderr and "cannot be written" not in done.stderr, done.stderr
    films = sorted((seeing.folder / "filmed" / "videos").iterdir())
    shown = {film.name[:23] for film in films}  # perhaps of one more evaluation at the end, before the learner's Stop came
    assert shown >= {f"evaluation-{steps:09d}-0{number}" for steps in range(0, 45, 9) for number in (0, 1)} and len(shown) == len(films)
    assert all(len(frames_of(film)) == 9 for film in films)
    assert "--save_video records" not in done.stderr


@pytest.mark.slow
def test_a_run_without_evaluations_says_that_there_will_be_no_clips(seeing):
    done = seeing.run("train_rlpd", "--exp_name=unseen", "--online_steps=9", "--save_video")
    assert done.returncode == 0, done.stderr
    assert "this run has no evaluations (actor.evaluate_every=0) and nobody who takes over" in done.stderr

"""Every end of a command that leaves its process alive brings the environment to rest; a real process for each."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import until

from warmloop.launch.starting.signals import ONE_WISH_SECONDS

HELPERS = Path(__file__).parents[2] / "helpers"
COLLECT = ("collect", "--policy=random", "--episodes=500", "--out=set.npz")
PACED = {"LAB_RATE": "50"}


@contextlib.contextmanager
def started(folder: Path, *line: str, config: str = "lab_config.py", **environment: str):
    """A command on the environment of a configuration, if any, and the file in which that tells of itself."""
    log = folder / "lab.jsonl"
    paths = {"PYTHONPATH": str(HELPERS), "LAB_LOG": str(log)}
    command = [sys.executable, "-m", f"warmloop.launch.{line[0]}", *([f"--config={HELPERS / config}"] if config else []), *line[1:]]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": folder}
    process = subprocess.Popen(command, env=os.environ | paths | environment, **pipes)
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()


def told(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def said(log: Path, event: str) -> int:
    """How often."""
    return sum(one["event"] == event for one in told(log))


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_brings_what_is_recorded_to_rest(number, tmp_path):
    with started(tmp_path, *COLLECT, **PACED) as (process, log):
        until(lambda: said(log, "step") >= 10, process=process)
        process.send_signal(number)
        error = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number and "Traceback" not in error
    assert [one["event"] for one in told(log)][-1] == "safe_stop"


@pytest.mark.long
def test_a_second_ctrl_c_brings_it_to_rest_though_the_main_thread_hears_nothing(tmp_path):
    with started(tmp_path, *COLLECT, config="stuck_config.py") as (process, log):
        until(lambda: said(log, "blocks"), process=process)
        process.send_signal(signal.SIGINT)
        time.sleep(ONE_WISH_SECONDS + 0.1)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "ended at once by SIGINT" in error
    assert [one["event"] for one in told(log)][-2:] == ["blocks", "safe_stop"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "call", "seconds"),
    [("lab_config.py:step_blocks", "step", 6), ("stuck_config.py:Stuck", "step", 6), ("stuck_config.py:ResetBlocks", "reset", 7)],
)
def test_a_call_that_blocks_is_stopped_in_time_and_the_run_ends_with_a_sentence(config, call, seconds, tmp_path):
    timeouts = ("--config.actor.step_timeout=6", "--config.actor.reset_timeout=7", "--config.actor.simulator=False")
    line = ("train_rlpd", "--exp_name=blocks", f"--runs={tmp_path}", *timeouts)
    with started(tmp_path, *line, config=config) as (process, log):
        error = process.communicate(timeout=200)[1]
    assert process.returncode == 3 and "Traceback" not in error, error
    assert "error: Environment" in error and f"{call}() has not returned for {seconds} s; see to the robot" in error
    blocked, stopped = (next(one["t"] for one in told(log) if one["event"] == event) for event in ("blocks", "safe_stop"))
    assert stopped - blocked < 5 * seconds


BLOCKED = """
import os
import gymnasium as gym
from stuck_environment import Stuck

gym.register("Blocked-v0", lambda **given: Stuck(log=os.environ["LAB_LOG"]), max_episode_steps=30)
"""


@pytest.mark.slow
def test_an_evaluation_whose_environment_blocks_ends_with_a_sentence_and_brings_it_to_rest(tmp_path):
    (tmp_path / "blocked.py").write_text(BLOCKED)
    line = ("evaluate", "--policy=random", "--episodes=5", "--env=blocked:Blocked-v0", "--json")
    with started(tmp_path, *line, config="") as (process, log):
        shown, error = process.communicate(timeout=120)
    assert process.returncode == 3 and "Traceback" not in error and not shown, error
    assert "step() has not returned for 10 s; see to the robot" in error
    assert [one["event"] for one in told(log)][-2:] == ["blocks", "safe_stop"]


@pytest.mark.fault
def test_a_robot_whose_step_blocks_is_not_started_again_by_local_and_the_learner_saves(tmp_path):
    flags = ("--config.actor.step_timeout=2", "--config.actor.simulator=False", "--online_steps=100000")
    line = ("local", "--exp_name=run", f"--runs={tmp_path}", *flags)
    with started(tmp_path, *line, config="lab_config.py:step_blocks", **PACED) as (process, log):
        error = process.communicate(timeout=300)[1]
    assert process.returncode == 3 and "Traceback" not in error, error
    assert "actor 0 is not started again: see to its robot first" in error and "No robot is left; the learner saves" in error
    assert len({one["pid"] for one in told(log)}) == 1 and told(log)[-1]["event"] == "safe_stop"
    assert list((tmp_path / "run" / "checkpoints").glob("[0-9]*"))


@pytest.mark.fault
@pytest.mark.parametrize("quirk", ["nan_once", "step_fails_once", "reset_fails_once"])
def test_local_goes_on_over_a_fault_without_starting_its_actor_again(quirk, tmp_path):
    line = ("local", "--exp_name=run", f"--runs={tmp_path}")
    with started(tmp_path, *line, config=f"lab_config.py:{quirk}", **PACED) as (process, log):
        error = process.communicate(timeout=300)[1]
    assert process.returncode == 0 and "started again" not in error and "Traceback" not in error, error
    assert len({one["pid"] for one in told(log)}) == 1
    assert "Fault 1 of 20 that are allowed within an hour" in error
    assert list((tmp_path / "run" / "quarantine").glob("actor-0-*.npz"))
    assert any("actor/faults" in line for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())


@pytest.mark.slow
def test_workers_that_collect_go_on_over_faults_and_the_set_is_the_one_without_them(tmp_path):
    from warmloop.data.formats import load_episodes

    for quirk in ("", "step_fails_once"):
        line = ("collect", "--policy=random", "--episodes=6", "--workers=2", f"--out={quirk or 'whole'}.npz")
        with started(tmp_path, *line, config=f"lab_config.py:{quirk}") as (process, _):
            assert process.wait(200) == 0, process.communicate()
    whole, faulty = (load_episodes(tmp_path / f"{name}.npz") for name in ("whole", "step_fails_once"))
    assert [episode.steps.action.tobytes() for episode in whole] == [episode.steps.action.tobytes() for episode in faulty]
    told_stops = [one["pid"] for one in told(tmp_path / "lab.jsonl") if one["event"] == "safe_stop"]
    assert len(set(told_stops)) == 4, "of each worker, at its end"

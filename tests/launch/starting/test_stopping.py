"""Commands that are told to stop: they save, leave nobody behind, and end with exit code 0."""

import os
import signal
import time

import pytest
from waiting import until

from warmloop.launch.starting.processes import free_port
from warmloop.launch.starting.signals import ONE_WISH_SECONDS
from warmloop.learner.checkpoints import complete_checkpoints
from warmloop.learner.diagnosis.metrics import read

PACE = ("--config.learner.max_utd=0.1", "--config.learner.min_utd=0.1")


def alive(group: int) -> bool:
    """Whether any process of a group is there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("tell", [lambda pid: os.kill(pid, signal.SIGTERM), lambda pid: os.killpg(pid, signal.SIGINT)])
def test_local_saves_and_takes_its_learner_and_actors_with_it(commands, tell):
    """A supervisor's SIGTERM reaches `local` alone, Ctrl-C at a terminal every process of the group."""
    line = ("--exp_name=all", "--actors=2", "--online_steps=100000", f"--port={free_port()}", *PACE, "--config.learner.checkpoint_every=0")
    process = commands.start("local", *line, group=True)
    run = commands.folder / "all"
    try:
        until(lambda: (run / "metrics.jsonl").exists() and read(run) and read(run)[-1]["environment_steps"] > 300, process=process)
        tell(process.pid)
        assert process.wait(200) == 0
        assert not alive(process.pid)
    finally:
        if alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    assert complete_checkpoints.newest(run / "checkpoints").meta["rows"] > 300
    log = "".join(path.read_text() for path in commands.folder.glob("*.log"))
    assert "Traceback" not in log and "started again" not in log


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_warm_up_saves_says_how_to_go_on_and_goes_on(commands, demos, number):
    line = ("train_offline_warmup", "--exp_name=warm", f"--offline_data_path=demos={demos}")
    process = commands.start(*line, "--warmup_steps=1000000")
    target = commands.folder / "warm" / "warmup"
    metrics = commands.folder / "warm" / "warmup_metrics" / "metrics.jsonl"
    try:
        until(lambda: metrics.exists() and metrics.stat().st_size > 0, process=process)
        process.send_signal(number)
        assert process.wait(200) == 0
    finally:
        process.kill()
    done = complete_checkpoints.newest(target).updates
    (log,) = (path.read_text() for path in commands.folder.glob("*.log"))
    assert f"{done} of 1000000 updates are done and saved in {target}; the same command with --resume continues" in log
    resumed = commands.run(*line, f"--warmup_steps={done + 30}", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert [int(path.name) for path in complete_checkpoints.steps(target)] == [done, done + 30]


@pytest.mark.slow
def test_a_warm_up_that_only_compares_any_more_ends_with_what_is_saved(commands, demos):
    line = ("--exp_name=warm", f"--offline_data_path=demos={demos}", "--warmup_steps=20", "--config.learner.warmup_checkpoints=2")
    process = commands.start("train_offline_warmup", *line, "--config.fqe.steps=1000000000")
    target = commands.folder / "warm" / "warmup"
    try:
        until(lambda: (target / "filtered_demos.npz").exists(), process=process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(200) == 0
    finally:
        process.kill()
    (log,) = (path.read_text() for path in commands.folder.glob("*.log"))
    assert "20 of 20 updates are done" in log and "Traceback" not in log


@pytest.mark.slow
def test_a_second_signal_ends_local_and_all_its_processes_at_once(commands):
    process = commands.start("local", "--exp_name=twice", "--online_steps=100000", f"--port={free_port()}", *PACE, group=True)
    run = commands.folder / "twice"
    try:
        until(lambda: (run / "port").exists(), process=process)
        os.kill(int((run / "journal" / "lock").read_text()), signal.SIGSTOP)  # a learner that does not get to its end
        process.terminate()
        log = commands.folder / "local-0.log"
        until(lambda: "stopping at SIGTERM" in log.read_text(), process=process)
        time.sleep(ONE_WISH_SECONDS + 0.5)  # from when it has answered: what comes sooner is the same wish
        assert process.poll() is None
        process.terminate()
        assert process.wait(120) == 143
        until(lambda: not alive(process.pid))
    finally:
        if alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)

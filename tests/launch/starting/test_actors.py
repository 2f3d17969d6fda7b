"""Actor processes that crash: their rows survive them, and they are started again."""

import os
import re
import signal
import socket
from collections import deque
from pathlib import Path

import pytest
from waiting import until

from warmloop.launch.starting import processes
from warmloop.learner.diagnosis.metrics import read


def serials(spool: Path) -> set[int]:
    """The numbers of a spool's files; {0} in the moment between two."""
    return {int(path.stem.partition("-")[0]) for path in spool.glob("*.rows")} or {0}


def streams(spool: Path) -> set[str]:
    return {path.stem.partition("-")[2] for path in spool.glob("*.rows")}


@pytest.mark.slow
def test_local_starts_a_killed_actor_again_and_its_spooled_rows_arrive(commands):
    pace = ("--config.learner.max_utd=0.1", "--config.learner.min_utd=0.1")
    process = commands.start("local", "--exp_name=crash", "--actors=2", "--online_steps=100000", f"--port={processes.free_port()}", *pace)
    metrics, spool = commands.folder / "crash" / "metrics.jsonl", commands.folder / "crash" / "spool" / "actor-1"
    try:
        until(lambda: metrics.exists() and read(metrics) and read(metrics)[-1]["environment_steps"] > 300, process=process)
        (before,) = streams(spool)
        os.kill(killed := int((spool / "lock").read_text()), signal.SIGKILL)
        last = max(serials(spool))
        until(lambda: (spool / "lock").read_text() not in ("", f"{killed}\n") and max(serials(spool)) > last, process=process)
        assert streams(spool) == {before}, "the stream goes on"
        until(lambda: min(serials(spool)) > last, process=process)  # once the learner has on its disk what the killed process left
        restarted = Path("/proc", (spool / "lock").read_text().strip(), "environ").read_bytes().split(b"\0")
        assert b"JAX_PLATFORMS=cpu" in restarted, "an actor leaves the accelerator to the learner"
        process.send_signal(signal.SIGINT)
        assert process.wait(200) == 0
    finally:
        process.terminate()
    log = "".join(path.read_text() for path in commands.folder.glob("*.log"))
    assert "actor 1 ended with exit code -9 and is started again" in log
    assert "Traceback" not in log and not re.search(r"rows .* lost", log)
    assert {"actor/policy_lag", "actor/spool_rows"} <= set().union(*read(metrics))


def test_a_free_port_is_given_to_nobody_else_until_its_learner_listens_there():
    port = processes.free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)) as learner:
        assert learner.getsockname()[1] == port


@pytest.mark.parametrize(("seconds", "too_often"), [(1.0, True), (processes.RESTART_WINDOW / processes.RESTARTS, False)])
def test_an_actor_that_crashes_now_and_then_is_always_started_again(seconds, too_often):
    failures = deque(maxlen=processes.RESTARTS + 1)
    said = []
    for number in range(50):
        failures.append(number * seconds)
        said.append(processes._too_often(failures))
    assert said == [False] * processes.RESTARTS + [too_often] * (50 - processes.RESTARTS)

"""A Ray cluster of several nodes on one machine: the learner, nodes, the driver and the supervisor are killed."""

import contextlib
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from raylets import ClusterRun, Raylets
from runs import SIZES
from told_pendulum import told

from warmloop.actor.environment.environment import make_environment
from warmloop.configs.schema import from_dict
from warmloop.data.transition import concatenate
from warmloop.launch.run.assemble import schema_of
from warmloop.launch.run.recorded_data import target_of
from warmloop.launch.starting.processes import free_port
from warmloop.learner.checkpoints import complete_checkpoints
from warmloop.learner.journal.journal import Journal
from warmloop.learner.receiving.intake import Intake

pytestmark = [pytest.mark.fault, pytest.mark.timeout(1800)]
HELPERS = Path(__file__).parents[1] / "helpers"
UNSENT = 2  # rows of the last milliseconds, which a kill -9 of an actor itself may take with it
SPEC = """
exp_name = "pair"
credentials = "credentials"
flags = {flags}

[learner]
needs = ["learner"]
host = "localhost"
port = {port}
cpus = 0.1

[[actors]]
name = "sim"
needs = ["sim"]
simulator = true
cpus = 0.1

[[actors]]
name = "left"
needs = ["robot:left"]
cpus = 0.1
"""


@pytest.fixture
def raylets(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(HELPERS))
    pytest.importorskip("ray", reason="ray is not installed (extra [ray])")
    with Raylets("learner") as raylets:
        raylets.add("sim")
        raylets.add("robot:left")
        yield raylets


@pytest.fixture
def run(tmp_path, raylets):
    pace = ("--config.learner.max_utd=0.1", "--config.learner.min_utd=0.1", "--config.learner.checkpoint_every=10")
    flags = [f"--config={HELPERS / 'told_pendulum.py'}", "--online_steps=1000000", *SIZES, *pace, "--config.replay.capacity=100000"]
    (tmp_path / "cluster.toml").write_text(SPEC.format(flags=flags, port=free_port()))
    made = [sys.executable, "-m", "warmloop.launch.credentials", "--out=credentials", "--host=localhost", "--actors=2"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    run = ClusterRun(tmp_path, raylets.address)
    yield run
    for driver in run.drivers:
        driver.kill()


def journal(folder):
    """All rows that ever came, in the order they came."""
    config = from_dict(complete_checkpoints.newest(folder / "checkpoints").meta["config"])
    with contextlib.closing(make_environment(config.environment, config.reward, tasks=config.tasks)) as environment:
        schema = schema_of(config, target_of(environment))
    journal = Journal(folder / "journal")
    intake = Intake(schema, journal=journal)
    assert list(intake.recover(0, {})) == []
    rows = concatenate([chunk.rows for chunk in intake.take(10**9)])
    journal.close()
    return np.concatenate([np.asarray(rows.observation), np.asarray(rows.next_observation)], axis=1)


def rows_of(process, folder):
    """How many steps the environments of a process have given."""
    return len(told(folder).get(process, ()))


def compare(folder, killed, actors=None):
    """The journal's rows are what the environments of `actors` (all) gave, each once; what a killed one had not written is at its end."""
    stored = [row.tobytes() for row in journal(folder / "runs" / "pair")]
    assert len(set(stored)) == len(stored), "a row is stored twice"
    given = {pid: [row.tobytes() for row in rows] for pid, rows in told(folder).items() if not actors or pid in actors}
    assert set(stored) <= {row for rows in given.values() for row in rows}, "a row is of no environment"
    missing = {pid: [number for number, row in enumerate(rows) if row not in set(stored)] for pid, rows in given.items()}
    lost = {pid: numbers for pid, numbers in missing.items() if numbers}
    print(f"{sum(map(len, given.values()))} rows of {len(given)} processes, {len(stored)} stored, missing {lost} (killed: {killed})")
    for pid, numbers in lost.items():
        assert pid in killed and len(numbers) <= UNSENT and numbers[-1] == len(given[pid]) - 1, "rows are lost"


def alive(pids):
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_cluster_whose_parts_are_killed_loses_no_row_and_moves_no_robot_by_itself(run, raylets):
    folder, driver = run.folder, run.start()
    run.wait(lambda: run.is_("left", "asks") and run.is_("sim", "runs"))
    assert run.call("allow", "sim").returncode == 2, "a simulator asks for no word"
    assert run.call("allow", "left").returncode == 0
    run.wait(lambda: run.is_("left", "runs") and run.is_("learner", "runs"))
    sim, left = run.state()["sim"]["pid"], run.state()["left"]["pid"]
    processes = [sim, left, run.state()["learner"]["pid"]]
    run.wait(lambda: rows_of(sim, folder) > 300 and rows_of(left, folder) > 300)
    check_secrets(folder, sim)

    run.wait(lambda: complete_checkpoints.steps(folder / "runs" / "pair" / "checkpoints"))
    run.kill("learner")
    print("learner killed, runs again after", run.wait(lambda: run.is_("learner", "runs", 2)))
    processes.append(run.state()["learner"]["pid"])

    raylets.kill("sim")  # its process ends in order
    run.wait(lambda: run.is_("sim", "waits for a node"))
    raylets.add("sim")
    print("node of a simulator replaced, acts again after", run.wait(lambda: run.is_("sim", "runs", 2)))
    processes.append(run.state()["sim"]["pid"])

    os.kill(left, signal.SIGKILL)  # as if its machine lost power
    raylets.kill("robot:left")
    run.wait(lambda: run.is_("left", "waits for a node"))
    raylets.add("robot:left")
    run.wait(lambda: run.is_("left", "asks", 1))
    time.sleep(8.0)
    assert run.state()["left"]["starts"] == 1 and run.is_("left", "asks"), "a robot started by itself"
    assert run.call("allow", "left").returncode == 0
    run.wait(lambda: run.is_("left", "runs", 2))
    processes.append(again := run.state()["left"]["pid"])
    run.wait(lambda: rows_of(again, folder) > 100)

    driver.kill()
    moved = sum(map(len, told(folder).values()))
    run.wait(lambda: sum(map(len, told(folder).values())) > moved + 200)
    os.kill(run.state()[""]["supervisor"], signal.SIGKILL)
    was = run.state()[""]["supervisor"]
    print("supervisor killed, back after", run.wait(lambda: run.state()[""]["supervisor"] != was))
    run.wait(lambda: run.is_("left", "asks") and run.is_("sim", "runs", 1) and run.is_("learner", "runs", 1))
    processes += [run.state()["sim"]["pid"], run.state()["learner"]["pid"]]
    time.sleep(5.0)
    assert run.is_("left", "asks") and run.state()["left"]["starts"] == 0, "a robot started by itself"
    run.wait(lambda: rows_of(processes[-2], folder) > 100)

    shown = run.call("state")
    assert shown.returncode == 0 and re.search(r"left +asks", shown.stdout) and "pair: runs" in shown.stdout
    stopped_in_order(run, run.start(), processes)

    driver = run.start("--resume")
    run.wait(lambda: run.is_("sim", "runs") and run.is_("learner", "runs") and not run.state()[""]["told"])
    processes = [run.state()[name]["pid"] for name in ("sim", "learner")]
    run.wait(lambda: rows_of(processes[0], folder) > 50)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(200) == 0 and alive(processes) == []

    assert not re.search(r"Traceback|are lost|are missing", run.log()), run.log()[-5000:]
    compare(folder, {left})


def stopped_in_order(run, follower, processes):
    """`stop` ends all of the processes, the learner last, and the commands that follow them."""
    run.wait(lambda: "runs already" in run.log())
    done = run.call("stop")
    assert done.returncode == 0 and follower.wait(120) == 0, done.stderr + run.log()[-3000:]
    events = (run.folder / "runs" / "pair" / "cluster" / "events.log").read_text()
    assert events.rindex("sim stopped") < events.rindex("learner stopping"), "the learner is the last"
    assert alive(processes) == []
    assert run.call("state").stdout.startswith("pair: ended")


def test_a_mistake_in_the_learners_flags_ends_all_with_its_sentence(run):
    spec = run.folder / "cluster.toml"
    spec.write_text(spec.read_text().replace("[learner]", '[learner]\nflags = ["--checkpoint_path=nowhere"]'))
    assert run.start().wait(200) == 2
    said = (run.folder / "driver-0.log").read_text()
    assert "error: The learner gave up (exit code 2, at its first start: error:" in said and "nowhere" in said


def check_secrets(folder, actor):
    """The credentials are in a folder of this user's alone, and in no other file, command line or environment."""
    line = Path(f"/proc/{actor}/cmdline").read_bytes().decode().split("\0")
    private = Path(next(word for word in line if word.startswith("--credentials=")).partition("=")[2])
    assert stat.S_IMODE(private.stat().st_mode) == 0o700 and stat.S_IMODE((private / "token").stat().st_mode) == 0o600
    token = (folder / "credentials" / "actor-0" / "token").read_text().strip()
    assert token == (private / "token").read_text().strip()
    assert token not in "".join(line) and token.encode() not in Path(f"/proc/{actor}/environ").read_bytes()
    for place in (folder / "runs", Path("/tmp/ray/session_latest").resolve()):
        for path in [path for path in place.rglob("*") if path.is_file()]:
            with contextlib.suppress(OSError):
                assert token.encode() not in path.read_bytes(), path


MORE = """
[[evaluators]]
name = "judge"
simulator = true
flags = ["--checkpoint=runs/pair/checkpoints", "--episodes=1"]
every_minutes = 0.1
cpus = 0.1

[[collectors]]
name = "recorder"
simulator = true
flags = ["--env=Pendulum-v1", "--policy=random", "--episodes=1", "--out=demos.npz"]
cpus = 0.1
"""


def test_evaluators_and_collectors_run_and_all_end_in_order_when_the_head_node_dies(run, raylets):
    spec = run.folder / "cluster.toml"
    spec.write_text(spec.read_text().replace("\n[[actors]]", f"{MORE}\n[[actors]]", 1))
    driver = run.start()
    run.wait(lambda: run.is_("recorder", "done") and run.is_("sim", "runs"))
    assert (run.folder / "demos.npz").exists()
    run.wait(lambda: run.is_("judge", "starts again", 1) and run.state()["judge"]["code"] == 0, 300)
    processes = [run.state()[name]["pid"] for name in ("sim", "learner")]
    run.wait(lambda: rows_of(processes[0], run.folder) > 200)
    raylets.kill_head()
    print("the head node is killed, all have ended after", run.wait(lambda: not alive(processes), 300))
    print("the driver has ended", driver.wait(120), "after", (run.folder / "driver-0.log").read_text()[-600:])
    shown = run.call("state")
    assert shown.returncode == 0 and shown.stdout.startswith("pair: broken off, as it was"), shown.stderr
    compare(run.folder, set(), processes)

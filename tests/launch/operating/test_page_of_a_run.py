"""`--page` beside real runs: it is served, its word stops and saves the run, and the run does not need its process."""

import http.client
import json
import os
import re
import signal
from pathlib import Path

import pytest
from runs import Commands

pytest.importorskip("uvicorn", reason="uvicorn is not installed")
pytest.importorskip("starlette", reason="starlette is not installed")

from page_served import Viewer
from waiting import until

from warmloop.learner.checkpoints import checkpoint
from warmloop.learner.diagnosis.metrics import read

PATIENCE = 400.0
PAGE = ("--page", "--page_port=0")


def port_of(log: Path) -> int:
    return int(until(lambda: re.search(r"page +http://127\.0\.0\.1:(\d+)/", log.read_text()), what=log.read_text)[1])


def say(port: int, **word: object) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json", "Origin": f"http://127.0.0.1:{port}"}
    connection.request("POST", "/word", json.dumps(word), headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def pages(run: Path) -> list[int]:
    """The processes of this machine that serve the page of a run."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "warmloop.launch.page_run" in line and str(run) in line:
            found.append(int(place.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", ["lock step", "processes"])
def test_the_pages_word_stops_a_run_which_saves_and_its_page_ends_with_it(tmp_path, how):
    commands = Commands(tmp_path)
    module = "train_rlpd" if how == "lock step" else "local"
    run = commands.start(module, "--exp_name=paged", "--online_steps=500000", *PAGE)
    log = tmp_path / f"{module}-0.log"
    port = port_of(log)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    viewer = Viewer(connection, {})
    known = viewer.next("hello")["viewer"]
    state = viewer.state_where(lambda state: state["steps"] >= 400 and state["actors"] and state["actors"][0].get("doing") == "acting")
    assert state["run"]["state"] == "running" and state["total"] in (0, 500_000)
    assert say(port, viewer=known, actor="actor-0", word="stop") == (200, "{}")
    assert run.wait(PATIENCE) == 0, log.read_text()
    assert checkpoint.steps(tmp_path / "paged" / "checkpoints")
    assert read(tmp_path / "paged")[-1]["environment_steps"] < 500_000
    episodes = [json.loads(line) for line in (tmp_path / "paged" / "episodes.jsonl").read_text().splitlines()]
    assert len(episodes) >= 2 and [episode["number"] for episode in episodes] == list(range(len(episodes)))
    until(lambda: not pages(tmp_path / "paged"))


@pytest.mark.fault
def test_a_run_goes_on_without_its_page(tmp_path):
    commands = Commands(tmp_path)
    run = commands.start("train_rlpd", "--exp_name=paged", "--online_steps=2000", *PAGE)
    log = tmp_path / "train_rlpd-0.log"
    port_of(log)
    for page in pages(tmp_path / "paged"):
        os.kill(page, signal.SIGKILL)
    assert run.wait(PATIENCE) == 0, log.read_text()
    assert read(tmp_path / "paged")[-1]["environment_steps"] == 2000
    assert "The operator's page had ended before the run" in log.read_text()

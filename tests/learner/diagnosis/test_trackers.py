"""Trackers: each gets every record, own and hosted ones alike, and one that fails costs its own records and nothing else."""

import importlib
import json
import logging
import math
import os
import subprocess
import sys

import pytest

from warmloop.configs.schema import from_dict, to_dict
from warmloop.data.errors import WarmloopError
from warmloop.learner.config import LearnerConfig
from warmloop.learner.diagnosis import trackers
from warmloop.learner.diagnosis.metrics import Recorder, read

OWN = """
class Kept:
    made = []

    def __init__(self, run, **options):
        self.run, self.options, self.records, self.closed = run, options, [], 0
        Kept.made.append(self)

    def write(self, record):
        self.records.append(dict(record))

    def close(self):
        self.closed += 1


class Failing(Kept):
    def write(self, record):
        raise TimeoutError("the service is away")


class Refusing:
    def __init__(self, run):
        Kept.made.append("tried")
        raise ConnectionError("no route")


number = 3
"""


@pytest.fixture
def kept(tmp_path, monkeypatch):
    (tmp_path / "own_tracker.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_tracker", raising=False)
    return importlib.import_module("own_tracker").Kept


def record(folder, *names, count=3, **about):
    with Recorder(folder, names, **about) as recorder:
        for updates in range(count):
            recorder.write(updates, {"loss": 0.5 * updates, "critic/q": math.nan if updates == 1 else 2.0}, 10 * updates)


def test_a_tracker_of_ones_own_gets_every_record_the_run_and_its_options(tmp_path, kept):
    record(tmp_path / "run", "own_tracker:Kept:table=door,tag=a=b", "tensorboard", name="door", config={"agent": {"utd": 4}})
    (made,) = kept.made
    assert made.options == {"table": "door", "tag": "a=b"} and made.closed == 1
    assert (made.run.directory, made.run.name, made.run.config["agent"]) == (tmp_path / "run", "door", {"utd": 4})
    assert [(one["updates"], one["loss"], one["environment_steps"]) for one in made.records] == [(0, 0.0, 0), (1, 0.5, 10), (2, 1.0, 20)]
    assert len(list((tmp_path / "run").glob("events.*"))) == 1


def test_without_trackers_there_is_the_file_of_lines_alone(tmp_path):
    record(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"] and len(read(tmp_path)) == 3


def test_a_tracker_that_fails_is_told_once_and_costs_no_record_of_any_other(tmp_path, kept, caplog):
    record(tmp_path / "run", "own_tracker:Failing", "own_tracker:Kept", "own_tracker:Refusing", count=4)
    told = [entry.message for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert len(told) == 2, told
    assert "The tracker own_tracker:Failing failed (TimeoutError: the service is away" in told[0] and "The run goes on" in told[0]
    assert "The tracker own_tracker:Refusing failed (ConnectionError: no route" in told[1]
    working = next(each for each in kept.made if type(each) is kept)
    assert len(working.records) == 4 and working.closed == 1 and len(read(tmp_path / "run")) == 4
    assert kept.made.count("tried") == 1, "a service that is away is not asked at every record"


def test_a_service_that_was_away_is_asked_again_later(tmp_path, kept, monkeypatch):
    monkeypatch.setattr(trackers, "TRY_AGAIN_SECONDS", 0.0)
    record(tmp_path / "run", "own_tracker:Refusing", count=4)
    assert kept.made.count("tried") == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tensorbord", 'learner.trackers is "tensorbord"; it must be tensorboard, wandb, trackio, .*did you mean tensorboard'),
        ("wandb:projct=a", r'wandb has no option "projct"; did you mean project\? It takes project'),
        ("wandb:offline", '"offline" is no option; write OPTION=VALUE'),
        ("tensorboard:project=a", r'tensorboard has no option "project"\. It takes none'),
    ],
)
def test_a_mistaken_tracker_is_refused_with_the_configuration(text, says):
    with pytest.raises(WarmloopError, match=says):
        LearnerConfig(trackers=(text,))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("own_tracker:Kep", r'learner.trackers=own_tracker:Kep: there is no "Kep" in own_tracker; did you mean Kept'),
        ("own_tracker:number", "own_tracker:number is 3; a callable that takes the run"),
        ("nowhere_at_all:Kept", 'there is no module "nowhere_at_all"'),
    ],
)
def test_a_tracker_that_is_not_there_is_told_before_the_run(tmp_path, kept, text, says):
    with pytest.raises(WarmloopError, match=says):
        Recorder(tmp_path, (text,))


def test_a_package_that_is_not_installed_is_told_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WarmloopError, match=r"wandb, which is not installed: pip install 'warmloop\[wandb\]', or leave it out"):
        Recorder(tmp_path, ("wandb:mode=offline",))


def test_the_trackers_are_a_setting_that_is_saved_with_the_run():
    from warmloop.configs import load

    config = load("configs/classic.py:pendulum").replace(learner={"trackers": ("tensorboard", "wandb:mode=offline")})
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.slow  # of starting the service process
def test_wandb_offline_holds_the_records_and_a_resumed_run_is_the_same_one(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "home"))
    for _ in range(2):
        record(tmp_path / "run", "wandb:mode=offline,project=door", name="door", config={"agent": {"utd": 4}})
    files = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb"))
    identity = (tmp_path / "run" / "wandb_run_id").read_text()
    assert len(files) == 2 and all(path.stem == f"run-{identity}" for path in files)
    raw = files[0].read_bytes()
    assert raw.count(b"critic/q") >= 3 and b"environment_steps" in raw and b"utd" in raw


@pytest.mark.slow
def test_trackio_holds_the_records_on_this_machine(tmp_path):
    pytest.importorskip("trackio", reason="the extra trackio is not installed")
    script = f"""
import logging; logging.basicConfig()
from warmloop.learner.diagnosis.metrics import Recorder
with Recorder({str(tmp_path / "run")!r}, ("trackio:project=door",), name="door", config={{"agent": {{"utd": 4}}}}) as recorder:
    for updates in range(3):
        recorder.write(updates, {{"loss": 0.5 * updates}}, 10 * updates)
from trackio.sqlite_storage import SQLiteStorage
import json
print(json.dumps(SQLiteStorage.get_logs("door", "door"), default=str))
"""
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200, env=environment)
    assert ended.returncode == 0 and "The tracker" not in ended.stderr, ended.stderr
    logs = json.loads(next(line for line in ended.stdout.splitlines() if line.startswith("[")))
    assert [(one["step"], one["loss"], one["environment_steps"]) for one in logs] == [(0, 0.0, 0.0), (1, 0.5, 10.0), (2, 1.0, 20.0)]

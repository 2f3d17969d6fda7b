"""Metrics on disk: they stay small over weeks, and say the same in both files."""

import itertools
import json

import pytest
from journals import no_file_may_grow_beyond
from tensorboardX.proto.event_pb2 import Event

from warmloop.learner.diagnosis import metrics
from warmloop.learner.diagnosis.metrics import Recorder, read


def events(folder):
    """The scalars in the event files, by step."""
    found = {}
    for path in folder.glob("events.*"):
        data, at = path.read_bytes(), 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + size])
            if event.summary.value:
                found[event.step] = {value.tag: value.simple_value for value in event.summary.value}
            at += 12 + size + 4
    return found


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(metrics, "MOST_BYTES", 20_000)


def test_a_long_run_keeps_its_whole_history_thinner_towards_its_beginning_in_both_files(tmp_path, small):
    with Recorder(tmp_path) as recorder:
        for updates in range(3000):
            recorder.write(updates, {"loss": float(updates), "other": 1.0}, updates)
    assert (tmp_path / "metrics.jsonl").stat().st_size < 21_000
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 50_000
    records = read(tmp_path)
    at = [int(record["updates"]) for record in records]
    assert at == sorted(set(at)) and at[0] == 0 and at[-1] == 2999
    gaps = [after - before for before, after in itertools.pairwise(at)]
    assert set(gaps[-20:]) == {1} and max(gaps[:5]) > 4
    assert all(record["loss"] == record["updates"] for record in records)
    shown = events(tmp_path)
    assert sorted(shown) == at and shown[2999] == {"loss": 2999.0, "other": 1.0}


def test_a_resumed_run_goes_on_in_the_thinned_file(tmp_path, small):
    for life in range(3):
        with Recorder(tmp_path) as recorder:
            for step in range(300):
                recorder.write(300 * life + step, {"loss": 1.0})
    at = [int(record["updates"]) for record in read(tmp_path)]
    assert at[-1] == 899 and at == sorted(set(at)) and len(at) < 450
    assert len(list(tmp_path.glob(".*"))) == 0


def test_a_torn_line_and_a_full_disk_cost_records_and_never_the_run(tmp_path, small, caplog):
    with Recorder(tmp_path) as recorder:
        recorder.write(0, {"loss": 1.0})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"updates": 1, "lo\n')
    with Recorder(tmp_path) as recorder:
        for updates in range(2, 600):
            recorder.write(updates, {"loss": 1.0})
        with no_file_may_grow_beyond(15_000):  # which the thinned file exceeds
            for updates in range(600, 900):
                recorder.write(updates, {"loss": 1.0})
        recorder.write(900, {"loss": 1.0})
    assert "cannot be written" in caplog.text
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines()[1:]:
        json.loads(line)
    assert read(tmp_path)[-1]["updates"] == 900

"""The learner's line is the same in kind whatever was recorded last, steady in a file, and says the time that is left."""

import io
import re

import pytest

from warmloop.launch.flags import progress as progress_module
from warmloop.launch.flags.progress import progress, span
from warmloop.launch.telling.run_line import RunLine

TRAINED = {"actor/success_rate": 0.45, "learner/updates_per_step": 0.98, "learner/updates_per_step_asked": 1.0, "actor/weights_age": 3.14}


def test_the_line_keeps_what_was_known_when_an_evaluation_comes_and_when_rows_wait():
    told: list[tuple[int, str | None]] = []
    line = RunLine(1000, returns=False)
    line.advance = lambda count, note: told.append((count, note))
    assert line.begin(200) == 200
    line(10, 300, TRAINED)
    line(20, 400, {"evaluation/success_rate": 0.5, "evaluation/episode_return": 3.0})
    line(20, 1400, {"intake/waiting": 12.0})
    assert [count for count, _ in told] == [100, 100, 600], "never beyond the total"
    assert told[-1][1] == "success 0.45, evaluated 0.50, updates/step 0.98 of 1.00, rows waiting 12, weights 3.1 s old"


def test_returns_are_said_where_they_are_what_is_learnt_for():
    line = RunLine(10, returns=True)
    line(1, 1, {"actor/success_rate": 0.0, "actor/episode_return": -812.5})
    assert line.text() == "success 0.00, return -812.5"


class Clock:
    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(progress_module.time, "monotonic", lambda: self.now)


@pytest.mark.parametrize("before", [0, 400])
def test_in_a_file_there_is_a_line_every_ten_seconds_with_the_time_left_by_the_pace_of_now(monkeypatch, capfd, before):
    clock = Clock(monkeypatch)
    with progress("fine-tuning", 1000, before) as advance:
        for _ in range(100 * (1000 - before) // 100):
            clock.now += 0.5
            advance(1, "success 0.50")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == f"fine-tuning: {before} of 1000" and lines[-1] == "fine-tuning: 1000 of 1000, success 0.50"
    assert abs(len(lines) - (1000 - before) / 20 - 1) <= 1
    for line in lines[1:-1]:
        done, left = int(line.split()[1]), re.findall(r"(?:(\d+) min)? ?(?:(\d+) s)? left", line)
        assert left, line
        minutes, seconds = (int(part or 0) for part in left[0])
        assert abs(60 * minutes + seconds - (1000 - done) / 2) <= 1, line


def test_the_time_left_does_not_count_what_the_first_piece_took_to_compile(monkeypatch, capfd):
    clock = Clock(monkeypatch)
    with progress("warming up", 300) as advance:
        clock.now += 22.0
        advance()
        clock.now += 11.0
        advance(110)
    first, second = capfd.readouterr().err.splitlines()[1:3]
    assert first == "warming up: 1 of 300", "one piece has no pace"
    assert second == "warming up: 111 of 300, 19 s left"


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_on_a_terminal_the_count_the_time_and_the_whole_note_are_shown_however_wide_it_is(monkeypatch, columns):
    told = io.StringIO()
    told.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", told)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    note = "success 0.45, evaluated 0.50, updates/step 0.98 of 1.00, updates/s 10.5, rows waiting 12, weights 3.1 s old"
    with progress("fine-tuning", 20_000, 5_000) as advance:
        advance(1234, note)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", told.getvalue()).split("\r")[-1]
    assert "6234/20000" in shown and "…" not in shown
    assert set(note.replace(",", " ").split()) <= set(shown.replace(",", " ").split()), shown


def test_a_stalled_job_does_not_repeat_its_line(monkeypatch, capfd):
    clock = Clock(monkeypatch)
    with progress("fine-tuning", 10) as advance:
        for _ in range(100):
            clock.now += 10
            advance(0, "rows waiting 0")
    assert capfd.readouterr().err.splitlines() == ["fine-tuning: 0 of 10", "fine-tuning: 0 of 10, rows waiting 0"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (1.25, "1.2 s"), (59.6, "1 min"), (90, "1 min 30 s"), (3600, "1 h"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h")],
)
def test_a_duration_is_said_in_two_units_at_most(seconds, said):
    assert span(seconds) == said

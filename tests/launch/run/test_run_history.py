"""A run's history says what was asked for and what happened, and costs a run nothing where it cannot be written."""

import logging

from journals import no_file_may_grow_beyond

from warmloop import __version__
from warmloop.configs import load
from warmloop.launch.run import run_history as history
from warmloop.launch.run.run_record import differences


def test_lines_come_back_with_version_and_time_and_changed_ones_are_left_out(tmp_path):
    history.note(tmp_path, history.BEGAN, "online", steps=0)
    history.note(tmp_path, history.ENDED, "online", steps=7)
    lines, damaged = history.read_history(tmp_path)
    assert damaged == 0 and [line["event"] for line in lines] == ["began", "ended"] and lines[0]["version"] == __version__
    assert history.last(lines, history.ENDED, "online")["steps"] == 7 and history.last(lines, history.ENDED, "warmup") == {}
    path = tmp_path / history.HISTORY
    path.write_text(path.read_text().replace('"steps": 7', '"steps": 8') + "torn")
    lines, damaged = history.read_history(tmp_path)
    assert damaged == 2 and [line["event"] for line in lines] == ["began"]
    assert history.read_history(tmp_path / "absent") == ([], 0)


def test_a_full_disk_is_said_and_costs_nothing(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "warmloop"), no_file_may_grow_beyond(10):
        history.note(tmp_path, history.BEGAN, "online", said="x" * 20_000)
    assert "cannot be written" in caplog.text and history.read_history(tmp_path)[0] == []


def test_what_a_run_changed_of_its_preset_is_listed_with_both_values_but_not_its_data():
    preset = load("configs/classic.py:pendulum")
    config = preset.replace(agent={"hidden": (8,)}, learner={"online_steps": 7}, data=preset.data.adding(["demos=a.npz"]))
    changed = differences(preset, config)
    assert changed == {
        "agent.hidden": [list(preset.agent.settings.hidden), [8]],
        "learner.online_steps": [preset.learner.online_steps, 7],
    }


def test_what_a_later_start_changed_is_added_to_what_the_first_one_did_and_another_configuration_begins_anew(tmp_path):
    first = {"agent.utd": [1, 4], "learner.online_steps": [100, 50]}
    history.note(tmp_path, history.ASKED, "online", configuration="configs/adroit.py:door", changed=first)
    history.note(tmp_path, history.ASKED, "online", resumed_with={"learner.online_steps": 80, "learner.max_utd": 0.5})
    named, changed = history.asked(history.read_history(tmp_path)[0])
    assert named == "configs/adroit.py:door"
    assert changed == {"agent.utd": [1, 4], "learner.online_steps": [100, 80], "learner.max_utd": [None, 0.5]}
    history.note(tmp_path, history.ASKED, "online", configuration="mine.py")
    assert history.asked(history.read_history(tmp_path)[0]) == ("mine.py", None)
    assert history.asked([]) == (None, None)


def test_a_digest_is_of_the_episodes_and_not_of_their_order():
    assert history.digest_of(["b", "a"]) == history.digest_of(["a", "b"]) != history.digest_of(["a", "b", "b"])

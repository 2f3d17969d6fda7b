"""The page of a real run tells what is in its folder, needs nothing else, and takes no name for markup."""

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from pages import assert_alone

from warmloop import __version__
from warmloop.actor.environment.environment import make_environment
from warmloop.configs.classic import task
from warmloop.data.errors import WarmloopError
from warmloop.data.files.run_folder import REPORT, RunFolder
from warmloop.data.files.sealed_json import seal, write_sealed
from warmloop.data.transition import example
from warmloop.launch.reports import writing
from warmloop.launch.reports.outcomes import clocks, over_seeds, results
from warmloop.launch.reports.story import read_story
from warmloop.launch.reports.writing import write, write_report
from warmloop.launch.run.plan import Plan
from warmloop.launch.run.recorded_data import target_of
from warmloop.launch.run.session import in_lock_step, running_learner
from warmloop.launch.telling import run_history as history
from warmloop.learner.diagnosis.metrics import read
from warmloop.learner.journal.quarantine import Quarantine

SMALL = {"hidden": (16, 16), "batch_size": 16}
CONFIG = task("pendulum").replace(
    agent=SMALL,
    warmup_agent=SMALL,
    replay={"capacity": 1000},
    learner={"online_steps": 450, "max_utd": 0.1, "log_every": 5},
    actor={"evaluate_every": 200, "evaluation_episodes": 2},
)
HOSTILE = "a\"><script>alert('1')<!-- $x_{ & 名 javascript:"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run in lock step, with what a person would look for: changed settings, judgements, quarantine, a clip, a damaged line."""
    folder = tmp_path_factory.mktemp("runs") / HOSTILE.replace("/", "")
    environment = make_environment(CONFIG.environment, CONFIG.reward)
    plan = Plan(CONFIG, RunFolder(folder), 3, lock_step=True)
    with running_learner(plan, target_of(environment)) as (learner, meta):
        changed = {"agent.hidden": [[128, 128], [16, 16]], HOSTILE: [HOSTILE, 1]}
        history.note(folder, history.ASKED, "online", configuration=f"my {HOSTILE}.py", changed=changed)
        in_lock_step(plan, learner, meta, environment)
    environment.close()
    rows = example(environment.spec, 3)
    reasons = np.array([f"reward is {HOSTILE}", "", f"reward is {HOSTILE}"])
    Quarantine(folder / "quarantine").keep("stream", np.arange(3), rows, reasons)
    (folder / "videos").mkdir()
    (folder / "videos" / f"clip {HOSTILE.replace('/', '')}.mp4").write_bytes(b"film")
    (folder / "spool" / "actor-0").mkdir(parents=True)
    (folder / "spool" / "actor-0" / "1.rows.damaged").write_bytes(b"")
    return folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def page_of(folder: Path):
    return assert_alone(write_report(folder).read_text())


def test_the_page_of_a_run_has_what_is_in_its_folder(finished):
    page = page_of(finished)
    evaluated = [record for record in read(finished) if "evaluation/success_rate" in record]
    assert len(evaluated) == 3
    newest = f"{evaluated[-1]['evaluation/episode_return']:,.0f}".replace("-", "\u2212")
    for said in (
        "Pendulum-v1", "sac", __version__, "is complete", "450", newest,
        "Changed of", "agent.hidden", "[128, 128]", "[16, 16]", "newest: commands take this one", "online_steps",
        "after 400 of 450 steps", "the policy's mean action",
    ):  # fmt: skip
        assert said in page.text, said
    assert sum(name == "svg" for name, _ in page.elements) == 2, "against steps, and against time"
    named = {attributes.get("aria-label") for name, attributes in page.elements if name == "svg"}
    assert all(named), "what a screen reader says of them"
    assert any(link == "#result" for link in page.links) and ("summary", {}) in page.elements


def test_names_of_runs_settings_reasons_and_files_are_text_and_links_lead_to_the_files(finished):
    page = page_of(finished)
    assert page.text.count("<script>alert('1')<!--") >= 5  # its own, the configuration's, a setting's, the reason's, the clip's
    files = [link for link in page.links if not link.startswith("#")]
    assert len(files) >= 2 and all((finished / unquote(link)).exists() for link in files), files
    assert any(link.endswith(".mp4") for link in files)


def test_faults_are_told_quarantine_by_reason_damaged_files_and_starts_that_never_ended(run):
    history.note(run, history.BEGAN, "online", steps=450, resumed=True)
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"updates": 1, "lo\n[]\n{"updates": 1, "time": "now"}\n')
    with open(run / history.HISTORY, "a") as file:
        file.write('{"event": "ended", "phase": "online", "time": 1, "version": "9", "sha256": ""}\n')
    text = page_of(run).text
    for said in ("Quarantine", "reward is a", "1.rows.damaged", "3 lines of", "1 lines of history.jsonl", "without an orderly end"):
        assert said in text, said
    assert "still runs, or ended without a goodbye" in text and "9" not in read_story(run).history[-1]["version"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda run: (run / "config.json").write_text("{"),
        lambda run: (run / "config.json").write_text((run / "config.json").read_text().replace("Pendulum", "Other")),
        lambda run: (run / "config.json").unlink(),
        lambda run: (run / "metrics.jsonl").write_bytes(b"\xff\xfe\x00 nothing"),
        lambda run: (run / "metrics.jsonl").unlink(),
        lambda run: (run / history.HISTORY).write_bytes(b"\xff\n\n{}\n[1]\n"),
        lambda run: next((run / "checkpoints").glob("*/meta.json")).write_text("no"),
        lambda run: next((run / "quarantine").glob("*.npz")).write_bytes(b"PK"),
        lambda run: shutil.rmtree(run / "checkpoints"),
    ],
)
def test_what_is_damaged_or_gone_is_left_out_and_the_rest_is_told(run, spoil):
    spoil(run)
    story = read_story(run)
    assert_alone(write_report(run).read_text())
    gone = not (run / "config.json").exists() or not (run / "checkpoints").exists() or not (run / "metrics.jsonl").exists()
    assert gone or any("damaged" in notice or "changed" in notice for notice in story.notices), story.notices


def test_absurd_numbers_of_an_actor_do_not_keep_the_page_from_being_written(run):
    absurd = {
        "evaluation/success_rate": 7.0,
        "evaluation/episodes": 1e15,
        "evaluation/episode_return": -1e15,
        "evaluation/policy_version": -5,
    }
    with open(run / "metrics.jsonl", "a") as file:
        for extra in (absurd, {"actor/success_rate": -3.0, "actor/intervention_rate": 9.0}, {"evaluation/success_rate": float("nan")}):
            file.write(json.dumps({"updates": 50, "time": 2e9, "environment_steps": 450, **extra}) + "\n")
    write([run], run / REPORT)
    assert_alone((run / REPORT).read_text())


def test_interventions_and_tasks_are_told(run):
    with open(run / "metrics.jsonl", "a") as file:
        for step, share in ((451, 0.4), (452, 0.4), (453, 0.1), (454, 0.1)):
            task = {f"actor/success_rate/{HOSTILE}": share, "evaluation/success_rate/lift": 0.75}
            hand = {"actor/intervention_rate": share, "actor/interventions": 2.0, "actor/intervention_length": 11.0}
            file.write(json.dumps({"updates": 50, "time": 2e9 + step, "environment_steps": step} | task | hand) + "\n")
    text = page_of(run).text
    assert "10% in the last" in text and "2.0 takeovers an episode, of 11 steps" in text
    assert "Tasks" in text and "lift0.75—" in text and f"{HOSTILE}—0.10" in text
    assert "intervention steps" in text, "in the legend"


def test_the_time_between_two_starts_does_not_count(run):
    before = clocks(read_story(run))["online"].total
    lines, later = (run / "metrics.jsonl").read_text().splitlines(), 100_000.0
    last = json.loads(lines[-1])
    line = {"event": history.BEGAN, "phase": "online", "time": last["time"] + later, "version": "1"}
    with open(run / history.HISTORY, "a") as file:
        file.write(seal(line, indent=None))
    with open(run / "metrics.jsonl", "a") as file:
        file.write(json.dumps(last | {"time": last["time"] + later + 7}) + "\n")
    assert clocks(read_story(run))["online"].total == pytest.approx(before + 7, abs=2.0)


def test_a_judgement_of_both_policies_goes_before_what_the_run_measured_itself(run):
    judged = {"success_rate": 0.4, "episodes": 50, "mean_return": 3.0, "mean_length": 20.0, "actions": "sampled, as in training"}
    history.note(run, history.JUDGED, "warmup", **judged)
    own: Any = results(read_story(run))[1]
    assert own.when.startswith("after 400")
    history.note(run, history.JUDGED, "online", **(judged | {"success_rate": 0.98}))
    warm: Any
    end: Any
    warm, end = results(read_story(run))
    assert (warm.success[0], end.success[0], end.episodes) == (0.4, 0.98, 50)
    low, high = end.success[1]
    assert 0.89 < low < 0.98 < high < 1.0, "Wilson's interval of 49 of 50"


def test_seeds_that_agree_by_chance_have_no_interval_of_nothing():
    mean, ends = over_seeds([1.0, 1.0, 1.0], [5, 5, 5])
    assert mean == 1.0 and ends is not None and ends[0] < 0.85 and ends[1] == 1.0
    assert over_seeds([0.0, 1.0], [50, 50]) == (0.5, (0.0, 1.0)), "two seeds that differ as much as can be say nothing"
    assert over_seeds([-3.0], ()) == (-3.0, None)


def test_a_report_that_fails_costs_the_run_nothing_and_is_said(run, monkeypatch, caplog):
    def broken(*arguments):
        raise RuntimeError("no fonts")

    monkeypatch.setattr(writing, "write", broken)
    with caplog.at_level("WARNING", "warmloop"):
        writing.write_report(run)
    assert "no fonts" in caplog.text and "warmloop report" in caplog.text


def test_a_page_is_replaced_whole_or_not_at_all(run, monkeypatch):
    write_report(run)
    before = (run / REPORT).read_bytes()
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(WarmloopError, match="No space left"):
        write([run], run / REPORT)
    assert (run / REPORT).read_bytes() == before


def seed(run: Path, number: int, **change) -> Path:
    """A copy of a run, as if with another seed, or another setting."""
    other = Path(shutil.copytree(run, run.with_name(f"door-{number}")))
    values = json.loads((other / "config.json").read_text())
    del values["sha256"]
    values["agent"] |= change
    write_sealed(other / "config.json", values | {"seed": number})
    return other


def test_runs_that_differ_by_seed_alone_are_one_with_a_mean_and_an_interval(run, tmp_path):
    runs = [seed(run, 0), seed(run, 1), seed(run, 2, utd=7)]
    write(runs, tmp_path / "comparison.html")
    page = assert_alone((tmp_path / "comparison.html").read_text())
    for said in ("3 runs compared", "2 configurations", "2 (seeds 0, 1)", "1 (seed 2)", "agent.utd", "mean of 2 seeds", "door"):
        assert said in page.text, said
    assert "agent.hidden" not in page.text, "in which they do not differ"
    assert sum(name == "svg" for name, _ in page.elements) == 4, "return and success, against steps and time"


def test_runs_of_one_name_in_several_folders_are_told_apart(run, tmp_path):
    for place, utd in (("left", 1), ("right", 2)):
        (tmp_path / place).mkdir()
        shutil.move(seed(run, 5, utd=utd), tmp_path / place / "door")
    write([tmp_path / "left" / "door", tmp_path / "right" / "door"], tmp_path / "both.html")
    text = (tmp_path / "both.html").read_text()
    assert_alone(text)
    assert ">left/door<" in text and ">right/door<" in text

"""The bench itself: what it refuses, what it does not do again, and one tiny task from its beginning to the report."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import run as bench
import warm_kept
import warm_report
from warm_data import facts_of
from warm_environments import Lucky
from warm_experts import presser
from warm_oracles import fewest_presses
from warm_recipes import RECIPES, configured, settings_of
from warm_tasks import CHOOSING, JUDGING, NAMED

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import evaluate
from warmloop.data.errors import WarmloopError

JOB = bench.Job(NAMED["lucky-70"], 3)


def settings(**changes: object) -> dict:
    return settings_of(configured(JOB.task, RECIPES["old"], 100), 50) | changes


def finished(path: Path, steps: int = 100, **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"steps": steps, "settings": settings(), **more}))
    return path


def test_judged_runs_are_kept_beside_the_bench_and_found_by_the_next_one(tmp_path):
    out, folder, other = tmp_path / "out", tmp_path / "judged", tmp_path / "other"
    judged = bench.Job(NAMED["lucky-40"], 0)
    for job in (judged, JOB):
        finished(bench.result(out, "old", job), task=job.task.name, seed=job.seed, half=job.task.half)
    assert warm_kept.keep(out, "old", folder) == 1, "only the judging half is kept"
    finished(bench.result(out, "old", judged), 200, task=judged.task.name, seed=0, half=JUDGING)
    assert warm_kept.keep(out, "old", folder) == 1
    warm_kept.restore(other, "old", folder)
    assert bench.is_done(bench.result(other, "old", judged), 200, settings()) and not bench.result(other, "old", JOB).exists()
    finished(bench.result(other, "old", judged), 300)
    warm_kept.restore(other, "old", folder)
    assert bench.is_done(bench.result(other, "old", judged), 300, settings()), "what is there stays"
    assert warm_kept.kept("new", folder) == {}


def test_a_run_is_done_where_its_result_has_the_steps_that_are_asked_for(tmp_path):
    path = bench.result(tmp_path, "old", JOB)
    assert not bench.is_done(path, 100, settings())
    finished(path)
    assert bench.is_done(path, 100, settings())
    assert bench.is_done(path, 50, settings())
    assert not bench.is_done(path, 101, settings())


def test_a_result_of_other_settings_is_refused_by_their_names(tmp_path):
    path = finished(bench.result(tmp_path, "old", JOB))
    with pytest.raises(WarmloopError, match=r"agent.bc_weight 1.0, now 7.0.*give the recipe another name"):
        bench.is_done(path, 100, settings(**{"agent.bc_weight": 7.0}))
    with pytest.raises(WarmloopError, match="episodes of an evaluation 50, now 2"):
        bench.is_done(path, 100, settings(**{"episodes of an evaluation": 2}))


def test_a_task_of_the_other_half_is_refused():
    assert [task.name for task in bench.chosen_tasks(CHOOSING, ["lucky-70", "door-10"])] == ["door-10", "lucky-70"]
    with pytest.raises(WarmloopError, match="door-100 is in the judging half"):
        bench.chosen_tasks(CHOOSING, ["door-100"])
    with pytest.raises(WarmloopError, match='no task "door-11"'):
        bench.chosen_tasks(CHOOSING, ["door-11"])


def test_a_judging_is_counted_once_however_often_it_is_resumed(tmp_path):
    def count(recipe: str = "old", **changes: object) -> list[str]:
        bench.note_judging(tmp_path, recipe, [settings(**changes)], {"seeds": [0]})
        return [each["recipe"] for each in json.loads((tmp_path / "judged.json").read_text())]

    assert count() == ["old"]
    finished(bench.result(tmp_path, "old", JOB))
    assert count() == ["old"]
    assert count(**{"agent.utd": 3}) == ["old", "old"], "the recipe has changed"
    assert count("wsrl") == ["old", "old", "wsrl"]
    bench.result(tmp_path, "old", JOB).unlink()
    assert count() == ["old", "old", "wsrl", "old"], "its results were thrown away"


def test_recordings_that_were_made_otherwise_are_refused(tmp_path):
    assert facts_of(JOB.task, tmp_path) is None
    (tmp_path / "facts.json").write_text(json.dumps({"made": {"config": "another"}}))
    with pytest.raises(WarmloopError, match=r"made otherwise than warm_tasks.py"):
        facts_of(JOB.task, tmp_path)


def test_numbers_below_one_are_refused(capsys):
    with pytest.raises(SystemExit):
        bench.arguments(["--steps=0"])
    assert "argument --steps: 0 is less than 1" in capsys.readouterr().err


def test_a_report_of_nothing_says_so(tmp_path):
    assert warm_report.write(tmp_path, JUDGING, list(RECIPES)) == f"There are no runs of the judging half in {tmp_path}."


def test_a_report_compares_the_recipes_on_the_tasks_that_all_of_them_have(tmp_path):
    """Half the episodes of each evaluation succeed after the warm-up, and then all or none."""
    for recipe, task, end in (("old", "door-10", 1), ("old", "pendulum", 0), ("bc5050", "door-10", 0)):
        looks = [{"success": [1, 0] * 50, "returns": [-675.0] * 100}, {"success": [end] * 100, "returns": [-150.0] * 100}]
        curve = [{"steps": steps, "mean": look, "sampled": look} for steps, look in zip((0, 5_000), looks, strict=True)]
        more = {"task": task, "half": CHOOSING, "seed": 0, "curve": curve, "kept": None, "seconds": {"warmup": 30, "online": [30]}}
        data = {"files": [{"kind": "demos", "episodes": 4, "successes": 4}]}
        finished(tmp_path / recipe / f"{task}-0.json", **more, data=data, versions={"commit": "1a2b3c"})
    text = warm_report.write(tmp_path, CHOOSING, list(RECIPES))
    assert "| old | 1 | 0.50 (0.50 to 0.50) |" in text and "| 0% | 100% of 1 | 1.0 |" in text
    assert "| bc5050 | 1 |" in text and "| 100% | 0% of 1 | 1.0 |" in text
    assert "| pendulum (weak) | old | 1 | 0.50 | 0.50 |  | no fall | 1.00 |" in text
    assert "Commit 1a2b3c." in text
    assert (tmp_path / "report-choosing.md").read_text() == text
    assert (tmp_path / "curves-choosing.png").stat().st_size > 10_000


@pytest.mark.parametrize(("probability", "least", "most"), [(1.0, 1.0, 1.0), (0.4, 0.25, 0.55), (0.0, 0.0, 0.0)])
def test_success_of_what_is_right_is_luck(probability: float, least: float, most: float):
    environment = make_environment(EnvironmentConfig("warm_environments:Lucky-v0", {"probability": probability}))
    assert least <= evaluate(environment, presser, 0, 100).success_rate <= most


def test_a_press_elsewhere_ends_the_episode_without_success():
    environment = Lucky(1.0)
    environment.reset(seed=0)
    _, reward, terminated, _, info = environment.step(np.array([0.0, 0.0, 1.0]))
    assert (reward, terminated, info["success"]) == (0.0, True, False)


def test_a_puzzle_is_solved_by_the_fewest_presses():
    assert fewest_presses(3, 3, (1, 1, 0, 1, 0, 1, 0, 1, 1)) == (0, 8)
    assert fewest_presses(3, 3, (0,) * 9) == ()
    assert len(fewest_presses(3, 3, (1,) * 9)) == 5  # the corners and the middle


def called(*flags: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, Path(bench.__file__), *flags], capture_output=True, text=True, timeout=800, check=False)


@pytest.mark.slow
def test_one_task_from_its_recordings_to_the_report(tmp_path):
    trial = (f"--out={tmp_path}", "--tasks", "lucky-70", "--seeds", "0", "--steps=60", "--warmup_steps=20", "--episodes=2", "--jobs=1")
    cut_off = tmp_path / "old" / "lucky-70-0" / "online" / "checkpoints"
    cut_off.mkdir(parents=True)
    first = called("--recipe=old", *trial)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "[1/1] lucky-70, seed 0:" in first.stdout
    result = tmp_path / "old" / "lucky-70-0.json"
    run, written = json.loads(result.read_text()), result.stat().st_mtime_ns
    assert [each["steps"] for each in run["curve"]] == [0, 60]
    assert [len(each["mean"]["success"]) for each in run["curve"]] == [4, 4]
    assert run["data"]["files"][0]["episodes"] == 100
    assert sum(window["episodes"] for window in run["training"]) >= 1
    assert not result.with_suffix("").exists(), "checkpoints of a run that is done are removed"
    again = called("--recipe=old", *trial)
    assert "1 of 1 runs are done" in again.stdout and result.stat().st_mtime_ns == written
    other = called("--recipe=old", *trial, "--warmup_steps=21")
    assert other.returncode == 1 and "learner.warmup_steps 20, now 21" in other.stderr
    nothing_before = called("--recipe=rlpd", *trial)
    assert nothing_before.returncode == 0, nothing_before.stdout
    report = called("--report", f"--out={tmp_path}").stdout
    assert "| lucky-70 | old | 1 |" in report and "| lucky-70 | rlpd | 1 |" in report
    assert (tmp_path / "curves-choosing.png").stat().st_size > 10_000

"""The command `warmloop report`: what it takes, what it refuses in a sentence, and its exit codes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from absl.testing import flagsaver
from pages import assert_alone
from runs import sentence

from warmloop.configs.classic import task
from warmloop.data.errors import WarmloopError
from warmloop.data.files.run_folder import RunFolder
from warmloop.launch import report_run
from warmloop.launch.run import run_record
from warmloop.learner.diagnosis.metrics import Recorder

if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()


def begun(folder: Path) -> Path:
    """A run that has begun, and recorded something."""
    run_record.save_config(RunFolder(folder), run_record.described(task("pendulum"), "online", 4))
    with Recorder(folder) as recorder:
        recorder.write(10, {"actor/success_rate": 0.25, "actor/episode_return": -900.0, "actors/actor-0/episodes": 8.0}, 1600)
    return folder


@pytest.fixture
def runs(tmp_path) -> Path:
    return begun(tmp_path / "runs" / "door").parent


@pytest.mark.long
def test_a_run_that_goes_on_has_a_page_and_several_have_one_together(runs):
    begun(runs / "lock")
    line = [sys.executable, "-m", "warmloop", "report"]
    done = subprocess.run([*line, "door"], cwd=runs, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout.split()) == (0, ["report", "door/report.html"]), done.stderr
    page = assert_alone((runs / "door" / "report.html").read_text())
    assert "0.25" in page.text and "1,600" in page.text and "0.07 to 0.59" in page.text, "with Wilson's interval of 2 of 8"
    done = subprocess.run([*line, "door", "lock"], cwd=runs, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and "2 runs compared" in assert_alone((runs / "comparison.html").read_text()).text
    refused = subprocess.run([*line, "door", "absent"], cwd=runs, capture_output=True, text=True, timeout=200)
    assert sentence(refused) == "error: There is no folder absent; name a run's, as in runs/door."


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["absent"], "There is no folder absent"),
        (["."], "holds runs and is none: name them, as in door"),
        (["door/config.json"], "is a file; name the folder of a run"),
        (["door/checkpoints"], "is a part of the run"),
        (["swept"], "holds a sweep and no run: its comparison is swept/table.md"),
        (["other"], "is not the folder of a run"),
        (["door", "../runs/door"], "are the same run"),
        (["door", "absent"], "There is no folder absent"),
        ([], "Name the folder of a run"),
    ],
)
def test_what_is_no_run_is_refused_in_one_sentence_before_anything_is_written(runs, monkeypatch, named, said):
    (runs / "door" / "checkpoints").mkdir()
    (runs / "other").mkdir()
    (runs / "other" / "config.json").write_text('{"model_type": "bert"}')
    (runs / "swept").mkdir()
    (runs / "swept" / "results.jsonl").touch()
    monkeypatch.chdir(runs)
    with pytest.raises(WarmloopError) as refused:
        report_run.main(named)
    assert said in str(refused.value) and str(refused.value).count("\n") == 0
    assert not list(runs.rglob("*.html"))


def test_another_file_is_written_where_out_says_and_not_over_one_that_is_there(runs, tmp_path):
    out = tmp_path / "pages" / "door.html"
    with flagsaver.flagsaver(out=str(out)):
        report_run.main([str(runs / "door")])
        written = out.read_text()
        assert_alone(written)
        with pytest.raises(WarmloopError, match="--overwrite"):
            report_run.main([str(runs / "door")])
    with flagsaver.flagsaver(out=str(out), overwrite=True):
        report_run.main([str(runs / "door")])
    with flagsaver.flagsaver(out=str(out / "below.html")), pytest.raises(WarmloopError, match="cannot be written"):
        report_run.main([str(runs / "door")])


@pytest.mark.slow
def test_every_training_command_writes_the_page_of_its_run(commands, demos):
    line = ("--exp_name=door", "--config.learner.held_out=0.0")
    warm = commands.run("train_offline_warmup", *line, f"--offline_data_path=demos={demos}", "--warmup_steps=60", "--eval_n_trajs=2")
    assert warm.returncode == 0 and "report.html" in warm.stdout.splitlines()[-1], warm.stderr
    folder = commands.folder / "door"
    text = assert_alone((folder / "report.html").read_text()).text
    for said in ("the offline warm-up is complete", "configs/classic.py:pendulum", "3 episodes", "Retention: kept", "after the warm-up"):
        assert said in text, said
    begin = (f"--checkpoint_path={folder}/warmup", f"--demo_path={folder}/warmup/filtered_demos.npz", "--config.actor.evaluate_every=200")
    fine = commands.run("train_rlpd", *line, *begin, "--config.actor.evaluation_episodes=2", "--online_steps=450")
    assert fine.returncode == 0 and "report.html" in fine.stdout.splitlines()[-1], fine.stderr
    text = assert_alone((folder / "report.html").read_text()).text
    for said in (
        "the online fine-tuning is complete",
        "after 400 of 450 steps",
        "after the warm-up it was",
        "filtered_demos.npz",
        "agent.hidden",
    ):
        assert said in text, said
    both = commands.run("local", "--exp_name=both", "--online_steps=450", "--actors=2")
    assert both.returncode == 0, both.stderr
    assert "in the last training episodes" in assert_alone((commands.folder / "both" / "report.html").read_text()).text
    assert re.search(r"actor-\d episodes? \d", both.stderr)  # of the one that was there first, at least
    for said in ("fine-tuning: 450 of 450", "rows waiting", "updates/step", "s old"):
        assert said in both.stderr, said

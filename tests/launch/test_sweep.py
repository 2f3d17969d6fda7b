"""A sweep of real runs on Pendulum, small."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runs import sentence

from warmloop.configs.schema import to_dict
from warmloop.data.errors import WarmloopError
from warmloop.launch.sweeps.sweep_report import chart, table
from warmloop.launch.sweeps.sweep_runs import _selected
from warmloop.launch.sweeps.sweeping import LOOKED_AT, runs_of
from warmloop.learner.checkpoints import complete_checkpoints
from warmloop.learner.judging import selection

SWEEP = Path(__file__).resolve().parents[2] / "launch" / "sweep.py"
SMALL = (
    "--set=warmup_agent.hidden=(16,16)",
    "--set=warmup_agent.utd=1",
    "--set=warmup_agent.batch_size=16",
    "--set=reward.signal='environment'",
    "--set=fqe.steps=10",
    "--checkpoints=3",
    "--judge_all",
)


def sweep(out, demos, *arguments, algorithms="cql,rlpd", seeds=2):
    given = (f"--out={out}", f"--offline_data_path={demos}", f"--algorithms={algorithms}", f"--seeds={seeds}", "--warmup_steps=12")
    line = [sys.executable, "-m", "warmloop.launch.sweep", "--config=configs/classic.py:pendulum", *given, "--eval_n_trajs=1", *SMALL]
    return subprocess.run([*line, *arguments], capture_output=True, text=True, timeout=400)


@pytest.fixture(scope="module")
def swept(tmp_path_factory, demos):
    out = tmp_path_factory.mktemp("sweep") / "out"
    done = sweep(out, demos)
    assert done.returncode == 0, done.stderr
    return out, done


@pytest.mark.long
def test_a_sweep_writes_a_line_a_table_a_picture_and_a_checkpoint_for_each_seed(swept):
    out, done = swept
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [(line["run"].split()[0], line["seed"]) for line in lines] == [("cql", 0), ("cql", 1), ("rlpd", 0), ("rlpd", 1)]
    assert all(line["together"] == 2 and -2000 < line["mean_return"] < 0 for line in lines)
    assert (out / "table.md").read_text() in done.stdout
    assert (out / "scores.png").read_bytes().startswith(b"\x89PNG")
    folders = sorted(path for path in out.glob("*/seed-*"))
    assert [complete_checkpoints.newest(folder).updates for folder in folders] == [12] * 4


@pytest.mark.parametrize(("measure", "agreement"), [("success_rate", 1.0), ("mean_return", -1.0), ("normalised", None)])
def test_fqes_ranking_is_compared_by_what_the_policies_are_trained_for(measure, agreement):
    ranking = [selection.Ranked(selection.Candidate(number, np.array([0.1 * number])), reason="", as_good=True) for number in (3, 2, 1)]
    shown = {number: {"success_rate": number / 4, "mean_return": -number, "normalised": 0.0} for number in (1, 2, 3)}
    selected = _selected(ranking, shown, measure)
    assert selected["rank_correlation"] == (agreement if agreement is None else pytest.approx(agreement))
    assert selected["selected"]["updates"] == 3 and [one["updates"] for one in selected["checkpoints"]] == [1, 2, 3]


def test_a_checkpoint_that_diverged_is_left_out_of_the_rank_correlation():
    ranking = [selection.Ranked(selection.Candidate(number, np.array([0.1 * number])), reason="", as_good=True) for number in (1, 2, 3, 4)]
    shown = {number: {"mean_return": -number, "diverged": False} for number in (1, 2, 3)} | {4: {"mean_return": None, "diverged": True}}
    assert _selected(ranking, shown, "mean_return")["rank_correlation"] == pytest.approx(-1)


@pytest.mark.slow
def test_seeds_that_diverge_have_no_score_and_do_not_end_the_sweep(tmp_path, demos):
    done = sweep(tmp_path, demos, "--set=warmup_agent.actor_lr=1e30,3e-4", algorithms="rlpd")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [(line["diverged"], line["mean_return"] is None, line["success_rate"] is None) for line in lines] == [(True,) * 3] * 2 + [
        (False,) * 3
    ] * 2
    assert ["2, 2 diverged" in row for row in (tmp_path / "table.md").read_text().splitlines()[2:]] == [True, False]
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
    assert "seeds: 0 of 0" in sweep(tmp_path, demos, "--set=warmup_agent.actor_lr=1e30,3e-4", algorithms="rlpd").stderr


def test_the_table_and_the_picture_show_the_seeds_that_did_not_diverge(tmp_path):
    known = [{"mean_return": value, "normalised": None, "success_rate": 0.5, "seconds": 1.0, "diverged": False} for value in (1.0, 3.0)]
    gone = {"mean_return": None, "normalised": None, "success_rate": None, "seconds": 4.0, "diverged": True}
    results = {"some": [*known, gone], "none": [gone]}
    assert table(results).splitlines()[2:] == [
        "| some | 3, 1 diverged | 2.00 | 1.00 to 3.00 |  | 0.50 | 2 |",
        "| none | 1, 1 diverged |  |  |  |  | 4 |",
    ]
    assert chart(results, tmp_path).stat().st_size > 5_000


def test_of_several_checkpoints_the_one_that_fqe_chose_is_marked_and_judged(swept):
    out, _ = swept
    for line in map(json.loads, (out / "results.jsonl").read_text().splitlines()):
        assert [judged["updates"] for judged in line["checkpoints"]] == [4, 8, 12]
        selected = next(judged for judged in line["checkpoints"] if judged["updates"] == line["selected"]["updates"])
        assert line["selected"] == selected and line["mean_return"] == line["checkpoints"][-1]["mean_return"]
        assert -1 <= line["rank_correlation"] <= 1
        folder = next(out.glob(f"{line['run'].split()[0]}*/seed-{line['seed']}"))
        assert complete_checkpoints.chosen(folder).updates == selected["updates"] == selection.read(folder)["chosen"]
    assert "return, chosen by FQE" in (out / "table.md").read_text()


def test_presets_are_joined_by_a_plus():
    small = runs_of("configs/adroit.py:door", ["cql+small"], [], {})["cql+small"]
    assert (small.warmup_agent.name, small.warmup_agent.settings.hidden, small.warmup_agent.settings.cql_actions) == ("cql", (128, 128), 4)
    full = runs_of("configs/mujoco.py:hopper", ["bc+full"], [], {})["bc+full"]
    assert (full.warmup_agent.settings.batch_size, full.learner.warmup_steps) == (256, 1_000_000)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("agent.actor_lr=1e-4,3e-4", "set warmup_agent.actor_lr"),
        ("mixing.min_ratio=0.1,0.5", "of the section mixing a sweep looks at nothing"),
        ("retention.ratio=0.1,0.5", "of the section retention a sweep looks at nothing"),
        ("actor.patience=1.0,2.0", "of the section actor a sweep looks at nothing"),
        ("learner.early_stop_after=1,2", "of the section learner a sweep looks at warmup_steps, updates_per_call"),
        ("learner.held_out=0.1,0.2", "of the section learner a sweep looks at warmup_steps, updates_per_call"),
        ("learner.warmup_checkpoints=1,2", "as --checkpoints says"),
        ("replay.capacity=10,20", "of the section replay a sweep looks at alpha,"),
        ("frames.spare_share=0.1,0.2", "of the section frames a sweep looks at random_shift,"),
        ("fqe.steps=10,20", "add --checkpoints=N"),
    ],
)
def test_a_setting_by_which_no_run_would_differ_is_refused(setting, says):
    with pytest.raises(WarmloopError, match=f"--set={setting} would change nothing.*{says}"):
        runs_of("configs/classic.py:pendulum", [], [setting], {})


def test_the_settings_that_a_sweep_looks_at_and_those_of_its_example_are_there():
    given = to_dict(runs_of("configs/adroit.py:door", [], [], {})["sac"])
    assert all(set(names) <= given[section].keys() for section, names in LOOKED_AT.items())
    command = shlex.split(next(line for line in SWEEP.read_text().splitlines() if "--set=" in line))
    settings = [word.removeprefix("--set=") for word in command if word.startswith("--set=")]
    runs = runs_of("configs/adroit.py:door", [], settings, {}).values()
    assert len({run.warmup_agent for run in runs}) == len(runs) == 4


@pytest.mark.slow
def test_a_broken_off_sweep_goes_on_with_the_seeds_that_are_missing(swept, demos, tmp_path):
    out, _ = swept
    lines = (out / "results.jsonl").read_text().splitlines(keepends=True)
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "results.jsonl").write_text("".join(lines[:3]) + lines[3][:20])
    done = sweep(begun, demos)
    assert done.returncode == 0, done.stderr
    assert "seeds: 1 of 1" in done.stderr
    again = [json.loads(line) for line in (begun / "results.jsonl").read_text().splitlines()]
    assert {(line["run"], line["seed"]) for line in again} == {(json.loads(line)["run"], json.loads(line)["seed"]) for line in lines}


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--algorithms=calqq",), 'no algorithm preset "calqq"; did you mean "calql"'),
        (("--set=warmup_agent.learning=1",), "There is no setting config.warmup_agent.learning"),
        (("--set=agent.utd=1,2",), "set warmup_agent.utd"),
        (("--set=agnt.utd=1",), "there is no section agnt"),
        (("--set=utd",), "write SECTION.NAME=VALUE,VALUE"),
        (("--trial_gpus=1",), "--trial_gpus would change nothing without --ray; add that, or leave it out"),
        (("--asha_first=4",), "--asha_first would change nothing without --asha"),
        (("--asha", "--asha_first=12"), "--asha_first=12: no run has more than 12 updates"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, demos, arguments, says):
    assert says in sentence(sweep(tmp_path / "out", demos, *arguments))


@pytest.mark.parametrize(
    ("algorithms", "settings", "says"),
    [
        (["cql", "cql+then_sac"], [], "cql and cql.then_sac would be the same run under two names"),
        (["hgdagger", "bc"], [], "hgdagger and bc would be the same run"),
        (["cql", "cql"], [], "cql is there twice"),
        (["iql"], ["warmup_agent.expectile=0.7,0.7"], "there twice"),
        (["iql"], ["learner.updates_per_call=1,2"], "would be the same run"),
        (["rlpd"], [], "rlpd has no warm-up"),
    ],
)
def test_two_rows_that_would_be_the_same_run_are_refused(algorithms, settings, says):
    with pytest.raises(WarmloopError, match=says):
        runs_of("configs/adroit.py:door", algorithms, settings, {})


def test_rows_of_a_file_of_ones_own_are_the_presets_that_they_are_named_by(tmp_path):
    (tmp_path / "my.py").write_text(
        "from warmloop.actor.environment import EnvironmentConfig\n"
        "from warmloop.configs.schema import RunConfig, to_config_dict\n"
        "def get_config(argument=''):\n"
        "    return to_config_dict(RunConfig(EnvironmentConfig('Pendulum-v1')))\n"
    )
    runs = runs_of(str(tmp_path / "my.py"), ["bc+small", "iql+small"], [], {})
    assert {name: run.warmup_agent.name for name, run in runs.items()} == {"bc+small": "bc", "iql+small": "iql"}

"""A run's folder belongs to one process, and what is refused leaves no trace in it."""

import dataclasses
import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest
from runs import sentence

from warmloop.actor.environment.environment import make_environment
from warmloop.configs.classic import task
from warmloop.data.errors import WarmloopError
from warmloop.data.files.run_folder import RunFolder
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.launch.run.plan import Origin, Plan
from warmloop.launch.run.recorded_data import target_of
from warmloop.launch.run.run_record import begun_with
from warmloop.launch.run.session import in_lock_step, running_learner
from warmloop.learner.checkpoints import complete_checkpoints
from warmloop.learner.journal.journal import Journal
from warmloop.learner.journal.records import segments

SMALL = {"hidden": (16, 16), "batch_size": 16}
CONFIG = task("pendulum").replace(agent=SMALL, warmup_agent=SMALL, replay={"capacity": 1000}, learner={"online_steps": 200, "max_utd": 0.1})


def learn(folder: Path, demos: list[str] | None = None, resuming: bool = False) -> None:
    """A run of one episode in lock step."""
    environment = make_environment(CONFIG.environment, CONFIG.reward)
    plan = Plan(CONFIG, RunFolder(folder), 0, Origin(demos=tuple(demos or ()), resume=resuming), lock_step=True)
    with running_learner(plan, target_of(environment)) as (learner, meta):
        in_lock_step(plan, learner, meta, environment)


class WhenRead(list):
    """Demonstrations while which are read something else happens."""

    def __init__(self, path, meanwhile):
        super().__init__([str(path)])
        self.meanwhile = meanwhile

    def __iter__(self):
        self.meanwhile()
        return super().__iter__()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def test_a_run_that_another_one_finished_meanwhile_is_refused_and_left_as_it_is(tmp_path, demos):
    left: dict[str, bytes] = {}

    def meanwhile():
        learn(tmp_path / "run")
        left.update(contents(tmp_path / "run"))

    with pytest.raises(WarmloopError, match="holds a run already"):
        learn(tmp_path / "run", WhenRead(demos, meanwhile))
    assert contents(tmp_path / "run") == left and any(name.endswith(".segment") for name in left)


def test_a_resume_beside_a_learner_that_writes_takes_nothing_back_from_its_journal(tmp_path):
    learn(tmp_path / "run")
    ((_, segment),) = segments(tmp_path / "run" / "journal")
    other = Journal(tmp_path / "run" / "journal")
    with open(segment, "ab") as file:
        file.write(b"rows since its checkpoint")
    with pytest.raises(WarmloopError, match="another learner writes there"):
        learn(tmp_path / "run", resuming=True)
    assert segment.read_bytes().endswith(b"rows since its checkpoint")
    other.close()
    learn(tmp_path / "run", resuming=True)
    assert b"rows since" not in segment.read_bytes()


def test_a_byte_that_changed_in_filtered_demonstrations_is_refused_and_leaves_no_run(tmp_path, demos):
    """`--demo_path` of what a warm-up kept."""
    path, content, rng = tmp_path / "filtered_demos.npz", demos.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(0, content.index(b"PK\x01\x02"), 60):  # in its arrays and their names
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << int(rng.integers(8))]) + content[place + 1 :])
        with pytest.raises(WarmloopError, match=r"filtered_demos\.npz"):
            learn(tmp_path / "run", [f"demos={path}"])
        assert not (tmp_path / "run" / "checkpoints").exists() and not contents(tmp_path / "run")


@pytest.mark.long
@pytest.mark.parametrize("module", ["train_rlpd", "train_offline_warmup", "local"])
def test_a_run_that_would_be_the_folder_of_all_runs_is_refused_by_every_command(commands, demos, module):
    data = (f"--offline_data_path=demos={demos}",) if module == "train_offline_warmup" else ()
    before = sorted(commands.folder.parent.iterdir())
    said = sentence(commands.run(module, "--exp_name=.", *data))
    assert "Name the run with --exp_name, as in --exp_name=door: '.' is no name of a folder" in said
    assert not list(commands.folder.iterdir()) and sorted(commands.folder.parent.iterdir()) == before


@pytest.mark.slow
def test_a_refused_warm_up_leaves_what_ran_and_no_folder(commands, demos):
    line = ("train_offline_warmup", f"--offline_data_path=demos={demos}", "--config.learner.held_out=0.0")
    assert commands.run(*line, "--exp_name=warm", "--warmup_steps=20").returncode == 0
    ran = contents(commands.folder / "warm")
    twice = (f"--offline_data_path=suboptimal={demos}", "--resume", "--warmup_steps=30")
    assert "give it the same data" in sentence(commands.run(*line, "--exp_name=warm", *twice))
    assert contents(commands.folder / "warm") == ran
    assert json.loads(ran["config.json"])["learner"]["warmup_steps"] == 20
    absent = f"--offline_data_path={commands.folder}/absent.npz"
    assert "absent.npz" in sentence(commands.run("train_offline_warmup", absent, "--exp_name=new"))
    assert "absent.npz" in sentence(commands.run("train_rlpd", f"--demo_path={commands.folder}/absent.npz", "--exp_name=new"))
    assert not (commands.folder / "new").exists()


@pytest.mark.long
def test_a_resume_is_not_given_other_demonstrations_than_those_it_has(tmp_path, demos, monkeypatch):
    learn(tmp_path / "run", [str(demos)])
    ran = contents(tmp_path / "run")
    for other, began in (([f"{demos}.other"], [str(demos)]), ([str(demos), "demos=more.npz"], [str(demos)])):
        with pytest.raises(
            WarmloopError, match=rf"^--demo_path={' and '.join(other)} would not be read: the run to resume began with {began[0]}"
        ):
            learn(tmp_path / "run", other, resuming=True)
        assert contents(tmp_path / "run") == ran
    monkeypatch.chdir(demos.parent)
    for same in ([str(demos)], [demos.name], []):
        learn(tmp_path / "run", same, resuming=True)
    meta = {"began_with": {"checkpoint_path": [[], []], "demo_path": [[], []]}}
    with pytest.raises(WarmloopError, match="--checkpoint_path=warm would not be read: the run to resume began with none"):
        begun_with("warm", [], meta)


@pytest.mark.parametrize("error", [WarmloopError("a success of -1"), ZeroDivisionError("a bug")])
@pytest.mark.parametrize(("fails_at", "saved"), [(250, True), (50, False)])
def test_what_ends_a_run_in_lock_step_late_costs_nothing_that_was_learnt(error, fails_at, saved, tmp_path):
    environment = make_environment(CONFIG.environment, CONFIG.reward)
    step, count = environment.env.step, itertools.count(1)

    def failing(action):
        if next(count) == fails_at:
            raise error
        return step(action)

    environment.env.step = failing
    plan = Plan(CONFIG.replace(learner={"online_steps": 1000}), RunFolder(tmp_path), 0, lock_step=True)
    with pytest.raises(type(error)), running_learner(plan, target_of(environment)) as (learner, meta):
        in_lock_step(plan, learner, meta, environment)
    found = complete_checkpoints.steps(tmp_path / "checkpoints")
    assert [int(path.name) for path in found] == ([learner.updates] if saved else [])


def test_a_resume_with_nothing_left_to_do_says_so(tmp_path, caplog):
    learn(tmp_path / "run")
    assert "nothing is left to do" not in caplog.text
    learn(tmp_path / "run", resuming=True)
    assert caplog.text.count("The run has done 200 of 200 environment steps already: nothing is left to do. --online_steps=N") == 1


def test_a_run_of_an_earlier_version_says_that_what_it_is_given_is_not_read(caplog):
    assert begun_with("warm", [], {}) == {} and begun_with(None, [], {}) == {}
    assert [record.message for record in caplog.records] == [
        "--checkpoint_path is not read: a run that is resumed has what it began with in its checkpoints"
    ]


@pytest.mark.slow
def test_a_warm_up_is_not_resumed_with_as_many_other_steps(commands, demos, tmp_path):
    line = ("train_offline_warmup", "--exp_name=warm", "--warmup_steps=20", "--config.learner.held_out=0.0")
    assert commands.run(*line, f"--offline_data_path=demos={demos}").returncode == 0
    episodes = load_episodes(demos)
    other = tmp_path / "other.npz"
    changed = [dataclasses.replace(one, steps=one.steps.replace(action=one.steps.action[::-1].copy())) for one in episodes]
    write_episodes(other, changed)
    said = sentence(commands.run(*line, "--resume", f"--offline_data_path=demos={other}"))
    assert "learns from other episodes than the data now have; give it the same data." in said
    assert commands.run(*line, "--resume", f"--offline_data_path=demos={demos}").returncode == 0


@pytest.mark.slow
def test_a_resume_that_would_leave_the_warm_up_out_or_does_not_fit_it_is_refused_with_a_plain_sentence(commands, demos):
    folder = commands.folder / "warm"
    line = ("--exp_name=warm", "--config.learner.held_out=0.0")
    assert commands.run("train_offline_warmup", *line, f"--offline_data_path=demos={demos}", "--warmup_steps=20").returncode == 0
    ran = contents(folder)
    for module in ("train_rlpd", "local"):
        said = sentence(commands.run(module, *line, "--resume"))
        assert f"--checkpoint_path={folder}/warmup --demo_path={folder}/warmup/filtered_demos.npz" in said
    assert contents(folder) == ran
    begun = commands.run("train_rlpd", *line, "--resume", f"--checkpoint_path={folder}/warmup", "--online_steps=20")
    assert begun.returncode == 0, begun.stderr
    other = commands.run("train_rlpd", *line, "--resume", "--config.environment.id=MountainCarContinuous-v0")
    assert "has observations of array (3,) float32 and this configuration of array (2,) float32." in sentence(other)
    assert not [line for line in other.stderr.splitlines() if not (line.startswith(("error:", "fine-tuning:")) or " sac on " in line)]


@pytest.mark.slow
def test_a_second_warm_up_in_one_folder_is_refused(commands, demos):
    line = ("train_offline_warmup", "--exp_name=warm", f"--offline_data_path=demos={demos}", "--warmup_steps=1000000")
    first = commands.start(*line)
    try:
        while not (commands.folder / "warm" / "config.json").exists():
            assert first.poll() is None
            time.sleep(0.1)
        assert "another warm-up writes there" in sentence(commands.run(*line))
    finally:
        first.kill()

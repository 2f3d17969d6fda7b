"""A policy that is spoilt by hand on a real environment: the fall is told, the best policy acts again, and the commands find it."""

import json
import logging
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hands import LockStep, Told
from leaning import configuration, lean, policies

from warmloop import OfflineRLTrainer
from warmloop.actor.config import ActorConfig
from warmloop.actor.control_loop import ActorLoop, Beside, EpisodeStream
from warmloop.actor.delivery.client import Client, Introduction
from warmloop.actor.environment.environment import make_environment
from warmloop.actor.intervention import Command
from warmloop.data.errors import WarmloopError
from warmloop.data.files.run_folder import RunFolder
from warmloop.launch.judging.judge import Subject, judge
from warmloop.launch.parts.exporting import export_checkpoint
from warmloop.launch.run.plan import Origin, Plan
from warmloop.launch.run.recorded_data import target_of
from warmloop.launch.run.session import in_lock_step, running_learner
from warmloop.learner.checkpoints import checkpoint, complete_checkpoints
from warmloop.learner.diagnosis.metrics import read
from warmloop.learner.diagnosis.plot import plot_run
from warmloop.learner.judging.best import Stretch
from warmloop.learner.judging.reported import TRAINING, Outcome
from warmloop.learner.judging.tally import Tally
from warmloop.learner.receiving.service import serve

GOOD, BAD = 3.0, -3.0


@pytest.fixture(autouse=True)
def heard_logs(caplog):
    caplog.set_level(logging.INFO, "warmloop")


def lock_step(folder: Path, steps: int, by: float | None = None, resuming: bool = False, **sections: Any):
    """A run in lock step, or its continuation, to `steps` environment steps in all, with a policy that leans `by`; its learner."""
    config = configuration(**{**sections, "learner": {"online_steps": steps, "keep_best": "act", **sections.get("learner", {})}})
    environment = make_environment(config.environment, config.reward)
    plan = Plan(config, RunFolder(folder), 0, Origin(resume=resuming), lock_step=True)
    with running_learner(plan, target_of(environment)) as (learner, meta):
        if by is not None:
            lean(learner, by)
        in_lock_step(plan, learner, meta, environment)
    environment.close()
    return learner


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """A run of 30 episodes, all successes."""
    folder = tmp_path_factory.mktemp("good") / "run"
    lock_step(folder, 30, GOOD)
    return folder


@pytest.fixture
def copy(good, tmp_path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "run"))


def best_of(learner) -> Stretch:
    """The best policy that a learner keeps."""
    assert learner.best.kept is not None
    return learner.best.kept


def success_by_version(learner) -> dict[int, float]:
    """Share of the episodes' last rows that succeeded, by the version that acted."""
    rows, count = learner.state.online.rows, int(learner.state.online.inserted)
    version, reward = np.asarray(rows.policy_version)[:count], np.asarray(rows.reward)[:count]
    over = (np.asarray(rows.truncated) | (np.asarray(rows.mask) == 0))[:count]
    return {int(one): float(reward[over & (version == one)].mean()) for one in np.unique(version[over])}


def test_a_spoilt_policy_is_told_and_the_best_one_acts_again_and_is_found_by_the_commands(copy, caplog):
    kept = complete_checkpoints.newest(copy / "checkpoints").meta["best"]
    count, successes, _ = kept["kept"]["tally"]
    assert count == successes >= 20 and not kept["fallen"]
    learner = lock_step(copy, 150, BAD, resuming=True)
    (fall,) = [record.getMessage() for record in caplog.records if "fell" in record.getMessage()]
    assert re.match(r"Success fell: [0-5] of the last 10 training episodes .* had (\d+) of \1 ", fall)
    best = best_of(learner).policy.version
    shown = success_by_version(learner)
    assert best <= 30 and shown[best] == 1.0 and learner.best.ahead
    assert best_of(learner).tally.count > 40, "it has acted"
    later = [rate for version, rate in shown.items() if version > 30]
    assert len(later) > 10 and max(later) == 0.0, "the trained one has its turns"
    assert learner.best.ahead
    checkpoints = copy / "checkpoints"
    told = [record.getMessage() for record in caplog.records if "The best policy is that of update" in record.getMessage()]
    assert told and f"update {best}, " in told[-1] and "fallen since" in told[-1]
    assert judge(Subject(checkpoint=checkpoints, step="best"), 10, 0)["success_rate"] == 1.0
    assert judge(Subject(checkpoint=checkpoints, step="last"), 10, 0)["success_rate"] == 0.0
    assert judge(Subject(checkpoint=checkpoints), 10, 0)["success_rate"] == 1.0
    assert f"the policy of update {best} did better than the trained one, and is taken" in caplog.text
    last = complete_checkpoints.steps(checkpoints)[-1]
    assert judge(Subject(checkpoint=last), 10, 0)["success_rate"] == 0.0, "a checkpoint that is named is taken"
    export_checkpoint(checkpoints, copy / "policy")
    assert json.loads((copy / "policy" / "policy.json").read_text())["updates"] == best
    records = read(copy)
    falls = [record["best/fallen"] for record in records if "best/fallen" in record]
    assert falls[0] == 0 and falls[-1] == 1 and records[-1]["best/step"] == best
    assert plot_run(copy).is_file()


@pytest.mark.long
def test_the_command_takes_best_for_a_step_and_names_what_else_it_takes(copy):
    line = [sys.executable, "-m", "warmloop.launch.evaluate", f"--checkpoint={copy / 'checkpoints'}", "--episodes=3", "--json"]
    helpers = {"cwd": Path(__file__).parents[2] / "helpers", "capture_output": True, "text": True}  # where the environment's module is
    done = subprocess.run([*line, "--step=best"], **helpers)
    assert done.returncode == 0 and json.loads(done.stdout)["success_rate"] == 1.0, done.stderr
    done = subprocess.run([*line, "--step=least"], **helpers)
    assert done.returncode == 2 and 'write a number of updates, "best" or "last"' in done.stderr
    listed = subprocess.run([sys.executable, "-m", "warmloop.launch.export", "--help"], **helpers)
    assert "--step" in listed.stdout and '"best" for the best policy' in listed.stdout


def test_a_run_that_is_resumed_still_has_the_best_policy_act_whatever_checkpoints_are_gone(copy):
    lock_step(copy, 60, BAD, resuming=True)
    learner = lock_step(copy, 90, resuming=True, learner={"keep_checkpoints": 1})
    assert learner.best.ahead and success_by_version(learner)[best_of(learner).policy.version] == 1.0
    (only,) = complete_checkpoints.steps(copy / "checkpoints")
    named = {one["file"] for one in complete_checkpoints.newest(copy / "checkpoints").meta["best"]["policies"]}
    assert set(policies(copy / "checkpoints")) == named and len(named) <= 10
    assert judge(Subject(checkpoint=only, step="best"), 5, 0)["success_rate"] == 1.0


def test_in_lock_step_a_run_that_stopped_within_a_fall_ends_in_the_same_bits(tmp_path, good):
    whole, parts = Path(shutil.copytree(good, tmp_path / "whole")), Path(shutil.copytree(good, tmp_path / "parts"))
    one = lock_step(whole, 100, BAD, resuming=True)
    lock_step(parts, 75, BAD, resuming=True)
    other = lock_step(parts, 100, resuming=True)
    for name in ("policy_version", "action", "reward"):
        ours, theirs = (np.asarray(getattr(learner.state.online.rows, name))[:100] for learner in (one, other))
        np.testing.assert_array_equal(ours, theirs)
    states = [learner.best.state(lambda kept: [snapshot.sha256 for snapshot in kept]) for learner in (one, other)]
    assert states[0] == states[1]


def test_the_trained_policy_acts_again_once_it_is_as_good(copy, caplog):
    lock_step(copy, 60, BAD, resuming=True)
    learner = lock_step(copy, 120, GOOD, resuming=True)
    assert not learner.best.fallen and any("Success is back" in record.getMessage() for record in caplog.records)
    newest = np.asarray(learner.state.online.rows.policy_version)[119]
    assert newest > 60, "the trained policy's"


def test_keep_tells_and_keeps_and_changes_nothing_and_off_does_nothing(copy, caplog):
    learner = lock_step(copy, 90, BAD, resuming=True, learner={"keep_best": "keep"})
    assert learner.best.fallen and not learner.best.acting
    assert all(rate == 0.0 for version, rate in success_by_version(learner).items() if version > 30)
    assert judge(Subject(checkpoint=copy / "checkpoints", step="best"), 5, 0)["success_rate"] == 1.0
    judge(Subject(checkpoint=copy / "checkpoints"), 1, 0)
    caplog.clear()
    lock_step(copy, 120, BAD, resuming=True, learner={"keep_best": "off", "keep_checkpoints": 1})
    assert policies(copy / "checkpoints") == [] and "fell" not in caplog.text
    with pytest.raises(WarmloopError, match=r"names no best policy: it is a warm-up's, or learner.keep_best was off"):
        checkpoint.load_policy(copy / "checkpoints", "best")


def test_a_kept_policy_that_is_damaged_is_a_sentence_and_a_run_looks_for_the_best_anew(copy, caplog):
    kept = complete_checkpoints.newest(copy / "checkpoints").meta["best"]
    path = copy / "checkpoints" / kept["policies"][kept["kept"]["policy"]]["file"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WarmloopError, match=r"holds a kept policy and is damaged; name a checkpoint by its number"):
        checkpoint.load_policy(copy / "checkpoints", "best")
    learner = lock_step(copy, 60, resuming=True)
    assert "is damaged. The best policy is looked for anew." in caplog.text
    assert best_of(learner).tally.count >= 20 and best_of(learner).policy.version > 30


def test_before_any_is_judged_the_best_policy_is_the_one_that_the_run_began_with(tmp_path, caplog):
    lock_step(tmp_path, 6, learner={"keep_best": "keep"})
    _, _, meta = checkpoint.load_policy(tmp_path / "checkpoints", "best")
    assert meta["updates"] == 0 and "has judged no policy yet" in caplog.text


def test_returns_are_judged_where_the_environments_own_reward_is_learnt(tmp_path, caplog):
    reward = {"reward": {"signal": "environment", "terminate_on_success": False}}
    lock_step(tmp_path, 60, GOOD, **reward)
    learner = lock_step(tmp_path, 120, BAD, resuming=True, **reward)
    assert learner.best.acting and best_of(learner).tally.mean > -0.2
    assert re.search(r"The return fell: -[2-6]", caplog.text)


def test_evaluations_of_the_mean_action_are_judged_where_there_are_some(tmp_path, caplog):
    """Sampled actions succeed at both times, in the three steps that an episode has; the mean action does not any more."""
    actor = {"actor": {"evaluate_every": 10, "evaluation_episodes": 10}}
    lock_step(tmp_path, 30, 0.2, **actor)
    learner = lock_step(tmp_path, 70, -0.2, resuming=True, **actor)
    assert learner.best.fallen and "0 of the last 10 evaluation episodes" in caplog.text
    assert judge(Subject(checkpoint=tmp_path / "checkpoints", step="best"), 5, 0)["success_rate"] == 1.0
    evaluated = [record for record in read(tmp_path) if "evaluation/policy_version" in record]
    assert evaluated[0]["evaluation/success_rate"] == 1.0 and evaluated[-1]["evaluation/return_std"] >= 0


def test_a_persons_help_and_random_actions_are_no_policys_episodes():
    right = Command(np.ones(2, np.float32))
    _, (alone, helped) = LockStep(intervener=Told({}, {0: right})).run(2)
    assert alone["actor/policy_version"] == 0 and Outcome.of(alone, True) == Outcome(TRAINING, 0, Tally(1))
    assert helped["actor/intervention_rate"] > 0 and Outcome.of(helped, True) == Outcome(TRAINING, -1, Tally(1))
    _, (random, half, own) = LockStep(ActorConfig(random_steps=12)).run(3)  # of episodes of 8 steps
    assert [report["actor/policy_version"] for report in (random, half, own)] == [-1, -1, 0]


def test_in_lock_step_episodes_with_a_persons_help_do_not_count(tmp_path):
    config = configuration(learner={"online_steps": 40})
    environment = make_environment(config.environment, config.reward)
    plan = Plan(config, RunFolder(tmp_path), 0, lock_step=True)
    with running_learner(plan, target_of(environment)) as (learner, meta):
        lean(learner, GOOD)
        in_lock_step(plan, learner, meta, environment, beside=Beside(Told(*[{0: Command(np.ones(1, np.float32))}] * 8, {})))
    assert learner.best.left_out == 8 and best_of(learner).tally.count == 20 and read(tmp_path)[-1]["best/episodes_left_out"] == 8


def test_a_trainer_judges_and_exports_its_best_policy(tmp_path):
    settings = {"hidden": (8,), "batch_size": 8, "reward": {"signal": "success"}, "learner": {"best_window": 10, "publish_every": 5}}
    settings["actor"] = {"random_steps": 0}
    trainer = OfflineRLTrainer("leaning:Lean/Right-v0", "sac", run_dir=tmp_path / "run", **settings)
    with pytest.raises(WarmloopError, match="call finetune_online first"):
        trainer.evaluate(1, best=True)
    trainer.finetune_online(None, 60)
    best = complete_checkpoints.newest(tmp_path / "run" / "online-1" / "checkpoints").meta["best"]
    assert best["kept"]["tally"][0] >= 10 and len(trainer.evaluate(2, best=True).returns) == 2
    trainer.export(tmp_path / "policy", best=True)
    assert json.loads((tmp_path / "policy" / "policy.json").read_text())["updates"] == best["policies"][best["kept"]["policy"]]["version"]


def test_several_actors_of_a_served_learner_get_the_best_policy_by_turns(tmp_path, caplog):
    config = configuration(learner={"online_steps": 100_000, "keep_best": "act", "max_utd": 0.2}, actor={"patience": 60.0})
    made = [make_environment(config.environment, config.reward) for _ in range(2)]
    with running_learner(Plan(config, RunFolder(tmp_path), 0), target_of(made[0])) as (learner, _):
        lean(learner, GOOD)
        server = serve("127.0.0.1", 0, learner.intake)
        agent, schema = learner.parts.agent, learner.intake.schema
        clients = [Client.connect(f"127.0.0.1:{server.port}", Introduction(schema, agent, f"actor-{n}"), config.actor) for n in range(2)]
        loops = [ActorLoop(made[n], agent, clients[n], config.actor, EpisodeStream(0, n + 1)) for n in range(2)]
        threads = [threading.Thread(target=loop.run, daemon=True) for loop in loops]
        for thread in threads:
            thread.start()
        run_until(learner, lambda: best_of(learner).tally.count >= 20)
        good = best_of(learner).policy.version
        lean(learner, BAD)
        run_until(learner, lambda: learner.best.fallen and best_of(learner).tally.count >= 60 and fewest(learner) > 10)
        learner.intake.stop()
        for thread in threads:
            thread.join(60)
        for client in clients:
            client.close()
        server.stop()
    (fall,) = [record.getMessage() for record in caplog.records if "fell" in record.getMessage()]
    assert "Success fell: " in fall
    best = best_of(learner).policy.version
    assert best >= good and best_of(learner).tally.mean > 0.95, "no bad policy is kept as the best one"
    shown = learner.intake.metrics()
    assert fewest(learner) > 10
    assert all(shown[f"actors/actor-{n}/policy_lag"] >= 0 for n in range(2) if f"actors/actor-{n}/policy_lag" in shown)


def fewest(learner) -> float:
    """Episodes of the actor that has had the fewest."""
    shown = learner.intake.metrics()
    return min(shown.get(f"actors/actor-{n}/episodes", 0) for n in range(2))


def run_until(learner, done) -> None:
    for _ in range(100_000):
        if done():
            return
        if not learner.advance():
            learner.intake.wait(0.01)
    raise AssertionError(learner.best.metrics())


def test_turns_need_whole_episodes_and_no_limit_on_a_policys_age():
    for actor, sentence in (({"swap": "step"}, "whole episodes"), ({"max_policy_lag": 5}, "actor.max_policy_lag forbids; set it to 0")):
        with pytest.raises(WarmloopError, match=sentence):
            configuration(learner={"keep_best": "act"}, actor=actor)
        configuration(learner={"keep_best": "keep"}, actor=actor)

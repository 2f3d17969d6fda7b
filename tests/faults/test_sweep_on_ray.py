"""A sweep on a Ray cluster of several nodes on one machine: a node, and the command itself, are killed on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from raylets import Raylets

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import EpisodePlan, run_episode
from warmloop.actor.policies.policy import RandomPolicy
from warmloop.data.formats import write_episodes
from warmloop.launch.starting.processes import ONE_THREAD
from warmloop.learner.checkpoints import checkpoint, complete_checkpoints

pytestmark = [pytest.mark.fault, pytest.mark.timeout(1800)]
NODES = ("near", "far")
SIZE = ("--set=warmup_agent.hidden=(16,16)", "--set=warmup_agent.batch_size=32", "--set=reward.signal='environment'")
FOUR = (*SIZE, "--algorithms=bc", "--set=warmup_agent.actor_lr=1e-4,3e-4,1e-3,3e-3", "--seeds=4", "--warmup_steps=400")


class Sweeps:
    """`warmloop sweep` in one folder."""

    def __init__(self, folder, address):
        self.folder, self.address, self.drivers = folder, address, []

    def start(self, out, *arguments, ray=True):
        """One that may be killed; what it says is in OUT.log."""
        line = [sys.executable, "-m", "warmloop.launch.sweep", "--config=configs/classic.py:pendulum", "--offline_data_path=demos.npz"]
        line += [f"--out={out}", "--eval_n_trajs=2", *arguments, *([f"--ray={self.address}"] if ray else ["--seed_mebibytes=1"])]
        alone = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {ONE_THREAD}".strip()}
        with open(self.folder / f"{out}.log", "a") as log:
            self.drivers.append(subprocess.Popen(line, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT, env=None if ray else alone))
        return self.drivers[-1]

    def run(self, out, *arguments, ray=True):
        began = time.monotonic()
        assert self.start(out, *arguments, ray=ray).wait(900) == 0, self.log(out)
        return time.monotonic() - began

    def log(self, out):
        return (self.folder / f"{out}.log").read_text()

    def lines(self, out):
        path = self.folder / out / "results.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for(self, out, count):
        deadline = time.monotonic() + 600
        while len(self.lines(out)) < count:
            assert time.monotonic() < deadline and self.drivers[-1].poll() is None, self.log(out)
            time.sleep(0.1)


@pytest.fixture
def raylets(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    pytest.importorskip("ray", reason="ray is not installed (extra [ray])")
    with Raylets("head") as raylets:
        for node in NODES:
            raylets.add(node)
        yield raylets


@pytest.fixture
def sweeps(tmp_path, raylets):
    environment = make_environment(EnvironmentConfig("Pendulum-v1"))
    policy = RandomPolicy(environment.spec.action_dim)
    write_episodes(tmp_path / "demos.npz", [run_episode(environment, policy, seed, EpisodePlan(number=seed)) for seed in range(3)])
    sweeps = Sweeps(tmp_path, raylets.address)
    yield sweeps
    for driver in sweeps.drivers:
        driver.kill()


def scores(lines):
    return {(line["run"], line["seed"]): (line["mean_return"], line["success_rate"], line["diverged"]) for line in lines}


def test_sixteen_trials_of_which_a_node_and_the_command_are_killed_give_what_they_give_without_ray(sweeps, raylets):
    began = time.monotonic()
    sweeps.start("out", *FOUR)
    sweeps.wait_for("out", 4)
    raylets.kill("far")
    sweeps.wait_for("out", 9)
    driver = sweeps.drivers[-1]
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = (sweeps.folder / "out" / "results.jsonl").read_text()
    raylets.add("far")
    assert 9 <= len(sweeps.lines("out")) < 16, "the command was killed too late to show anything"
    sweeps.run("out", *FOUR)
    print("16 trials on 3 nodes, a node and the command killed:", round(time.monotonic() - began), "s")
    assert "is lost on" in sweeps.log("out") and "and is run again" in sweeps.log("out"), sweeps.log("out")
    assert (sweeps.folder / "out" / "results.jsonl").read_text().startswith(before), "what was finished is not run again"
    assert f"seeds: 0 of {16 - before.count(chr(10))}" in sweeps.log("out")

    print("the same without Ray:", round(sweeps.run("alone", *FOUR, ray=False)), "s")
    ours, alone = sweeps.lines("out"), sweeps.lines("alone")
    assert Counter((line["run"], line["seed"]) for line in ours) == Counter((line["run"], line["seed"]) for line in alone)
    assert len(ours) == 16 and scores(ours) == scores(alone)
    assert {line["key"] for line in ours} == {line["key"] for line in alone}, "each takes the other's for its own"
    for folder in sorted((sweeps.folder / "alone").glob("*/seed-*")):
        other = sweeps.folder / "out" / folder.relative_to(sweeps.folder / "alone")
        assert complete_checkpoints.newest(other).updates == 400
        assert same(checkpoint.load_policy(folder)[1], checkpoint.load_policy(other)[1])
    for name in ("table.md", "scores.png"):
        assert (sweeps.folder / "out" / name).stat().st_size > 100


def same(one, other):
    import jax

    return jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, other))


def test_a_run_that_diverges_is_stopped_at_the_first_rung_on_whatever_node(sweeps):
    two = (*SIZE, "--algorithms=bc", "--set=warmup_agent.actor_lr=1e30,1e-3", "--seeds=2", "--warmup_steps=90", "--asha", "--asha_first=10")
    sweeps.run("out", *two)
    rows = [line for line in (sweeps.folder / "out" / "table.md").read_text().splitlines() if "actor_lr" in line]
    assert ["stopped at 10 updates" in row for row in rows] == [True, False], rows
    assert {(line["run"].rpartition("=")[2], line["seed"]) for line in sweeps.lines("out")} == {("0.001", 0), ("0.001", 1)}
    rungs = [json.loads(line) for line in (sweeps.folder / "out" / "rungs.jsonl").read_text().splitlines()]
    assert [rung["updates"] for rung in rungs if rung["goes_on"]] == [10, 30]
    sweeps.run("out", *two)
    assert "seeds: 0 of 0" in sweeps.log("out"), "a stopped run is not begun again"


def test_a_mistake_that_a_node_finds_ends_the_sweep_with_its_sentence(sweeps):
    wide = ("--algorithms=bc", "--set=warmup_agent.hidden=(512,512)", "--warmup_steps=1", "--trial_seeds=3", "--seed_mebibytes=1")
    assert sweeps.start("out", *wide).wait(300) == 2
    assert "3 seeds side by side need" in sweeps.log("out") and "Traceback" not in sweeps.log("out"), sweeps.log("out")


def test_when_the_head_node_dies_the_command_ends_and_continues_on_a_new_head(sweeps, raylets):
    sweeps.start("out", *FOUR)
    sweeps.wait_for("out", 2)
    raylets.kill_head()
    code = sweeps.drivers[-1].wait(300)
    print("the head node is killed, the command ended with", code)
    assert code != 0
    finished = len(sweeps.lines("out"))
    assert 2 <= finished < 16
    raylets.cluster.shutdown()
    with Raylets("new") as new:
        sweeps.address = new.address
        sweeps.run("out", *FOUR)
    assert f"seeds: 0 of {16 - finished}" in sweeps.log("out") and len(sweeps.lines("out")) == 16

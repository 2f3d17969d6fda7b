"""The training commands, end to end, as processes."""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import Commands, assert_whole_episodes, saved_state
from waiting import until

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.launch.starting.processes import free_port
from warmloop.learner.checkpoints import complete_checkpoints
from warmloop.learner.diagnosis.metrics import read


@pytest.fixture(scope="module")
def warm(tmp_path_factory, demos):
    """A warm-up's folder, made by the command, and beside it what it said."""
    commands = Commands(tmp_path_factory.mktemp("warm"))
    left = ("--config.learner.warmup_checkpoints=0", "--config.fqe.steps=0")  # to the command
    done = commands.run("train_offline_warmup", "--exp_name=warm", f"--offline_data_path=demos={demos}", "--warmup_steps=60", *left)
    assert done.returncode == 0, done.stderr
    (commands.folder / "said").write_text(done.stderr)
    return commands.folder / "warm" / "warmup"


@pytest.mark.long
def test_the_warm_up_leaves_a_verified_checkpoint_filtered_demonstrations_and_metrics(warm):
    saved = complete_checkpoints.newest(warm)
    assert saved.updates == 60 and saved.meta["config"]["environment"]["id"] == "Pendulum-v1"
    kept = load_episodes(warm / "filtered_demos.npz")
    assert len(kept) == 1 and len(kept[0]) == 200
    records = read(warm.parent / "warmup_metrics")
    assert records[-1]["updates"] == 60 and records[-1]["learner/updates_per_second"] > 0


def test_the_warm_up_says_its_size_first_and_saves_the_numbers_that_were_left_to_it(warm):
    said = (warm.parent.parent / "said").read_text()
    assert "cores): 3 numbers to 1, " in said and "layers of 16×16, " in said and "60 updates, one checkpoint" in said
    config = json.loads((warm.parent / "config.json").read_text())
    kept = complete_checkpoints.newest(warm).meta["config"]
    steps = 8 * 60 * kept["warmup_agent"]["utd"]
    for found in (config, kept):
        assert (found["learner"]["warmup_checkpoints"], found["fqe"]["steps"]) == (1, min(steps, 469)), "600 rows a hundred times, by 128"


def lock_step(commands, name, warm, *more):
    demos = warm / "filtered_demos.npz"
    arguments = (f"--exp_name={name}", f"--checkpoint_path={warm}", f"--demo_path={demos}", "--seed=3", *more)
    done = commands.run("train_rlpd", *arguments)
    assert done.returncode == 0, done.stderr
    return commands.folder / name


def bytes_of(directory: Path):
    """Every array of the newest state."""
    state, _ = saved_state(directory)
    state = jax.tree.map(lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x, state)
    return {jax.tree_util.keystr(path): np.asarray(x).tobytes() for path, x in jax.tree_util.tree_leaves_with_path(state)}


@pytest.mark.slow
def test_lock_step_is_bit_reproducible_and_resumes_as_if_it_had_not_stopped(commands, warm):
    straight = lock_step(commands, "straight", warm, "--online_steps=600", "--config.learner.checkpoint_every=150")
    again = lock_step(commands, "again", warm, "--online_steps=600", "--config.learner.checkpoint_every=150")
    assert bytes_of(straight / "checkpoints") == bytes_of(again / "checkpoints")
    # Stopped after its checkpoint at 200 steps: what came after is as if it had never been.
    stopped = commands.folder / "stopped"
    shutil.copytree(again, stopped)
    for path in complete_checkpoints.steps(stopped / "checkpoints")[1:]:
        shutil.rmtree(path)
    assert complete_checkpoints.newest(stopped / "checkpoints").updates < 660
    lock_step(commands, "stopped", warm, "--online_steps=600", "--config.learner.checkpoint_every=150", "--resume")
    assert bytes_of(straight / "checkpoints") == bytes_of(stopped / "checkpoints")
    shown = commands.run("train_rlpd", "--exp_name=straight", "--eval_checkpoint_step=660", "--eval_n_trajs=2")
    assert shown.returncode == 0 and "95 % interval" in shown.stdout
    state, meta = saved_state(straight / "checkpoints")
    assert int(state.online.inserted) == 600 and int(state.updates) == 660 and meta["actor"]["episode"] == 3
    assert_whole_episodes(state.online.rows, 600)
    ratios = [record["learner/offline_ratio"] for record in read(straight) if "learner/offline_ratio" in record]
    assert ratios[0] == pytest.approx(0.999 ** (60 + 49), abs=1e-3), "the ratio goes on where the warm-up stopped"


@pytest.mark.slow
def test_the_progress_ends_at_its_total_and_with_how_fast_it_went(commands):
    line = ("--exp_name=shown", "--config.learner.max_utd=0.4")
    done = commands.run("train_rlpd", *line, "--online_steps=250")
    assert done.returncode == 0 and "fine-tuning: 250 of 250, " in done.stderr.splitlines()[-1], done.stderr
    assert float(done.stderr.rpartition("updates/s ")[2].partition(",")[0]) > 0
    assert "updates/step 0.40 of 0.40" in done.stderr.splitlines()[-1], "as it was reached, and as it was asked for"
    assert "3 numbers to 1, " in done.stderr and "; 250 environment steps, 0.4 updates for each" in done.stderr
    records = read(commands.folder / "shown")
    assert [record["updates"] for record in records] == [50, 100] and records[-1]["environment_steps"] == 250
    less = commands.run("train_rlpd", *line, "--online_steps=100", "--resume")
    assert less.returncode == 0 and less.stderr.splitlines()[-1].startswith("fine-tuning: 100 of 100"), less.stderr
    for lines in (done.stderr.splitlines(), less.stderr.splitlines()):
        assert len(set(lines)) == len(lines)


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def well_on_its_way(directory: Path) -> bool:
    """Whether the newest checkpoint has updates and rows of both actors. It may go for a newer one while it is read."""
    with contextlib.suppress(WarmloopError, OSError):
        newest = complete_checkpoints.newest(directory)
        return newest.updates > 60 and len(newest.meta["streams"]) == 2 and min(newest.meta["streams"].values()) > 200
    return False


@pytest.mark.long
def test_a_killed_learner_goes_on_from_its_checkpoint_with_both_actors_and_every_row_arrives_once(commands, warm):
    port = free_port()
    pace = ("--config.learner.max_utd=0.1", "--config.learner.min_utd=0.1", "--config.learner.checkpoint_every=20")
    common = ("--exp_name=pair", f"--port={port}", *pace)
    learner_line = ("train_rlpd", *common, "--learner", f"--checkpoint_path={warm}")
    learner = commands.start(*learner_line, "--online_steps=1000000")
    directory = commands.folder / "pair" / "checkpoints"
    actors = []
    try:
        until(lambda: listening(port), process=learner)
        actors = [commands.start("train_rlpd", *common, "--actor", f"--actor_id={n}") for n in (0, 1)]
        until(lambda: well_on_its_way(directory), process=learner)
        learner.send_signal(signal.SIGKILL)
        learner.wait()
        time.sleep(1.0)
        assert all(actor.poll() is None for actor in actors)
        wanted = complete_checkpoints.newest(directory).meta["rows"] + 2000
        learner = commands.start(*learner_line, f"--online_steps={wanted}", "--resume")
        assert learner.wait(300) == 0
        assert [actor.wait(200) for actor in actors] == [0, 0]
    finally:
        for process in (learner, *actors):
            process.kill()
    state, meta = saved_state(directory)
    count = int(state.online.inserted)
    assert count >= wanted and count == sum(meta["streams"].values()) and len(meta["streams"]) == 2
    assert min(meta["streams"].values()) > 200, "both actors take part, as they did before the kill"
    assert_whole_episodes(state.online.rows, count)
    logs = "".join(path.read_text() for path in commands.folder.glob("*.log"))
    assert "Traceback" not in logs and "lost" not in logs.replace("LinkLost", "")


@pytest.mark.long
def test_local_runs_a_learner_and_its_actors_to_the_end(commands, warm):
    common = ("--exp_name=local", "--online_steps=800", f"--checkpoint_path={warm}", f"--port={free_port()}")
    done = commands.run("local", "--actors=2", *common, "--config.actor.evaluate_every=400", "--config.actor.evaluation_episodes=2")
    assert done.returncode == 0, done.stderr
    records = read(commands.folder / "local")
    assert any("evaluation/success_rate" in record for record in records)
    assert records[-1]["environment_steps"] >= 800
    assert (commands.folder / "local" / "curves.png").stat().st_size > 10_000
    shown = commands_json(commands, commands.folder / "local" / "checkpoints")
    assert shown["episodes"] == 2 and shown["success_low"] <= shown["success_rate"] <= shown["success_high"]


@pytest.mark.slow
def test_an_actor_with_several_simulators_sends_a_stream_for_each(commands, warm):
    common = ("--exp_name=abreast", "--online_steps=700", f"--checkpoint_path={warm}", f"--port={free_port()}")
    done = commands.run("local", "--envs=3", *common, "--config.actor.evaluate_every=300", "--config.actor.evaluation_episodes=4")
    assert done.returncode == 0, done.stderr
    records = read(commands.folder / "abreast")
    assert records[-1]["environment_steps"] == 700
    assert any(record.get("evaluation/episodes") == 4 for record in records)
    names = {name.split("/")[1] for record in records for name in record if name.startswith("actors/")}
    assert names == {"actor-0", "actor-0.1", "actor-0.2"}
    assert commands_json(commands, commands.folder / "abreast" / "checkpoints", "--envs=2")["episodes"] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train_rlpd", "--exp_name=x", "--envs=2"), "--envs is for an actor process"),
        (("train_rlpd", "--exp_name=x", "--envs=2", "--actor", "--intervention=keyboard"), "keyboard is for one environment"),
        (("local", "--exp_name=x", "--envs=2", "--intervention=teacher"), "--envs=2 plays in 2 at once; leave one of them out"),
    ],
)
def test_several_simulators_are_refused_where_they_do_not_go(commands, arguments, said):
    done = commands.run(*arguments)
    assert done.returncode and said in done.stderr


def commands_json(commands, checkpoints: Path, *more: str) -> dict:
    line = [sys.executable, "-m", "warmloop.launch.evaluate", f"--checkpoint={checkpoints}", "--episodes=2", "--json", *more]
    return json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)


@pytest.mark.long
def test_sigterm_saves_and_ends_in_order(commands, warm):
    process = commands.start("train_rlpd", "--exp_name=term", "--online_steps=100000", f"--checkpoint_path={warm}")
    metrics = commands.folder / "term" / "metrics.jsonl"
    try:
        until(lambda: metrics.exists() and metrics.stat().st_size > 0, process=process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(200) == 0
    finally:
        process.kill()
    state, meta = saved_state(commands.folder / "term" / "checkpoints")
    assert int(state.online.inserted) == 200 * meta["actor"]["episode"] > 0

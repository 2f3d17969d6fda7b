"""A signal at any moment of a training's first twenty seconds: it ends in order or at once, and what is on the disk is whole."""

import os
import random
import signal
import subprocess
import time

import pytest
from runs import Commands

from warmloop.launch.starting.processes import free_port
from warmloop.learner.checkpoints import complete_checkpoints

COUNT, SECONDS = int(os.environ.get("WARMLOOP_SIGNALS", "24")), 20.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
KINDS = ("warm-up", "lock step", "learner", "local", "actor")
PACE = ("--config.learner.max_utd=0.1", "--config.learner.min_utd=0.1")


def line(kind, demos, port):
    if kind == "warm-up":
        return "train_offline_warmup", "--exp_name=run", f"--offline_data_path=demos={demos}", "--warmup_steps=1000000"
    module, mode = ("local", ()) if kind == "local" else ("train_rlpd", {"learner": ("--learner",), "actor": ("--actor",)}.get(kind, ()))
    return module, "--exp_name=run", "--online_steps=1000000", *mode, *(() if kind == "lock step" else (f"--port={port}",)), *PACE


@pytest.mark.fault
@pytest.mark.parametrize("case", range(COUNT))
def test_a_signal_at_any_time_is_answered(case, tmp_path, demos):
    chance = random.Random(case)
    kind, number, port = KINDS[case % len(KINDS)], chance.choice(SIGNALS), free_port()
    commands, delay = Commands(tmp_path), chance.uniform(0.0, SECONDS)
    beside = commands.start(*line("learner", demos, port)) if kind == "actor" else None
    process = commands.start(*line(kind, demos, port), group=True)
    try:
        time.sleep(delay)
        assert process.poll() is None, "it has not ended by itself"
        process.send_signal(number)
        began = time.monotonic()
        code = process.wait(90)
        took = time.monotonic() - began
        with pytest.raises(ProcessLookupError):  # whoever it had started is gone too
            while time.monotonic() < began + 90:
                os.killpg(process.pid, 0)
                time.sleep(0.05)
    except subprocess.TimeoutExpired:
        pytest.fail(f"{kind}: {number.name} after {delay:.1f} s was not answered")
    finally:
        for one in filter(None, (process, beside)):
            one.kill()
            one.wait()
    log = "".join(path.read_text() for path in sorted(tmp_path.glob("*.log")))
    print(f"{kind}: {number.name} after {delay:.1f} s: exit code {code} after {took:.1f} s")
    assert code in (0, 128 + number, -number), log  # the last: before the interpreter had begun with the first line
    assert not any(word in log for word in ("Traceback", "Segmentation", "Fatal Python", "terminate called")), log
    for folder in (tmp_path / "run" / "warmup", tmp_path / "run" / "checkpoints"):
        if complete_checkpoints.steps(folder):
            complete_checkpoints.newest(folder)  # every hash of it holds
        assert not list(folder.glob("*.partial*")) and not list(folder.glob("*tmp*")), sorted(folder.glob("*"))

"""gym-hil from its cameras, end to end without a display: collect, warm up, fine-tune with a teacher, evaluate. It renders on the CPU."""

import json
import subprocess
import sys

import numpy as np
import pytest
from runs import SIZES, Commands

from warmloop.data.formats import load_episodes
from warmloop.learner.diagnosis.metrics import read

pytest.importorskip("gym_hil", reason="gym-hil is not installed (extra [robotics])")
SMALL = (
    "--config=configs/gym_hil.py:pick-cube-pixels",
    *SIZES,
    "--config.environment.wrappers=('gripper_penalty:-0.05', 'resize:32')",
    "--config.replay.capacity=400",
    "--config.learner.log_every=10",
    *(f"--config.{agent}.vision.channels=(8, 8)" for agent in ("agent", "warmup_agent")),
)


def plain(module, *arguments):
    """A command that takes no settings."""
    line = [sys.executable, "-m", f"warmloop.launch.{module}", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_a_policy_that_sees_only_the_cameras_is_warmed_up_and_finished_with_a_teacher(tmp_path):
    commands = Commands(tmp_path, SMALL)
    config = tmp_path / "cameras.py"
    config.write_text(
        "from warmloop.configs import load\nfrom warmloop.configs.schema import to_config_dict\n"
        "def get_config():\n"
        "    config = load('configs/gym_hil.py:pick-cube-pixels')\n"
        "    return to_config_dict(config.replace(environment={'wrappers': ('gripper_penalty:-0.05', 'resize:32')}))\n"
    )
    demos = tmp_path / "demos.npz"
    line = ("collect", f"--config={config}", "--policy=scripted", "--episodes=3", "--noise=0.3", f"--out={demos}")
    done = plain(*line)
    assert done.returncode == 0, done.stderr
    episodes = load_episodes(demos)
    leaves = {name: leaf.shape[1:] for name, leaf in episodes[0].steps.observation.items()}
    assert leaves == {"agent_pos": (18,), "pixels.front": (32, 32, 3), "pixels.wrist": (32, 32, 3)}, "the cube is in the pictures alone"
    assert all(np.ptp(episode.steps.observation["pixels.front"]) > 100 for episode in episodes), "and they are not black"
    warm = (f"--offline_data_path=demos={demos}", "--warmup_steps=30", f"--checkpoint_path={tmp_path}/warm", "--exp_name=cube")
    done = commands.run("train_offline_warmup", *warm, timeout=600)
    assert done.returncode == 0, done.stderr
    fine = (
        f"--checkpoint_path={tmp_path}/warm",
        f"--demo_path={demos}",
        "--online_steps=60",
        "--exp_name=cube",
        "--intervention=teacher:patience=3",
    )
    done = commands.run("train_rlpd", *fine, timeout=600)
    assert done.returncode == 0, done.stderr
    last = read(tmp_path / "cube")[-1]
    assert last["environment_steps"] == 60 and last["actor/intervention_rate"] > 0
    shown = plain("evaluate", f"--checkpoint={tmp_path}/cube/checkpoints", "--episodes=1", "--json")
    assert json.loads(shown.stdout)["episodes"] == 1, shown.stderr

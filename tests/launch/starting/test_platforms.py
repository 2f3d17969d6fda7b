"""What commands compute on: an actor never takes the accelerator, and what only looks or acts leaves it to a learner."""

import os
import subprocess
import sys

import pytest
from runs import Commands, sentence

from warmloop.launch.starting.processes import _platform

TELLS = """
import os
import gymnasium as gym
import jax
import numpy as np
from pathlib import Path


class Tells(gym.Env):
    observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self):
        with open(Path(__file__).with_name("told"), "a") as file:
            file.write(f"{os.environ.get('JAX_PLATFORMS')} {jax.config.jax_platforms} {jax.default_backend()}\\n")

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, False, {"success": False}


gym.register("Tells-v0", "tells:Tells", max_episode_steps=5)
"""
NEVER_THERE = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"} | {"JAX_PLATFORMS": "cuda"}


@pytest.fixture
def tells(tmp_path):
    (tmp_path / "tells.py").write_text(TELLS)
    return Commands(tmp_path, ("--config=configs/classic.py:pendulum", "--config.environment.id=tells:Tells-v0"))


def ended(tells, module, *arguments, environment):
    line = tells.line(module, *arguments)
    return subprocess.run(line, capture_output=True, text=True, cwd=tells.folder, env=environment, timeout=200)


@pytest.mark.long
def test_an_actor_by_hand_computes_on_the_cpu_though_the_gpu_is_exported_for_the_learner(tells):
    line = ("--exp_name=run", "--actor", "--port=1", "--config.actor.patience=0.5", "--config.environment.success=info:success")
    done = ended(tells, "train_rlpd", *line, environment=NEVER_THERE)
    assert "learner" in sentence(done), "it got as far as looking for its learner"
    assert "computes on cpu, and not on JAX_PLATFORMS=cuda" in done.stderr
    assert set((tells.folder / "told").read_text().splitlines()) == {"cpu cpu cpu"}


@pytest.mark.slow
def test_actor_platform_gives_an_actor_another_one_and_belongs_to_actors_alone(tells):
    line = ("--exp_name=run", "--actor_platform=no_such_chip", "--config.environment.success=info:success")
    assert "--actor_platform is for an actor process" in sentence(ended(tells, "train_rlpd", *line, environment=dict(os.environ)))
    done = ended(tells, "train_rlpd", "--actor", *line, environment=dict(os.environ))
    assert "--actor_platform=no_such_chip: JAX cannot use that here" in sentence(done) and not (tells.folder / "told").exists()


@pytest.mark.long
def test_evaluate_leaves_the_accelerator_alone_unless_it_is_asked_for(tmp_path):
    (tmp_path / "tells.py").write_text(TELLS)
    line = [sys.executable, "-m", "warmloop.launch.evaluate", "--env=tells:Tells-v0", "--policy=random", "--episodes=1"]
    plain = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    done = subprocess.run([*line, "--success=info:success"], capture_output=True, text=True, cwd=tmp_path, env=plain, timeout=200)
    assert done.returncode == 0, done.stderr
    assert set((tmp_path / "told").read_text().splitlines()) == {"cpu cpu cpu"}


@pytest.mark.slow
@pytest.mark.parametrize("module", ["train_rlpd", "train_offline_warmup", "collect", "evaluate", "local"])
def test_importing_a_command_takes_no_device(module):
    """What is chosen by its flags would come too late."""
    check = f"import warmloop.launch.{module}; from jax._src import xla_bridge; assert not xla_bridge.backends_are_initialized()"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr


def test_local_hands_the_cpu_to_its_actors_unless_they_are_given_another_platform():
    assert _platform(["--exp_name=run", "--actor_id=0"]) == {"JAX_PLATFORMS": "cpu"}
    assert _platform(["--actor_platform=cuda"]) == _platform(["-actor_platform", "cuda"]) == {}

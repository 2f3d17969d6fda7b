"""The package of one's own environment: every command finds it, and a wrong name of an environment never trains unchecked."""

import subprocess
import sys
from pathlib import Path

import pytest
from runs import sentence

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.configs import load
from warmloop.data.doors.imports import make_importable
from warmloop.data.errors import WarmloopError

ENVIRONMENT = """
import gymnasium as gym
import numpy as np


class Point(gym.Env):
    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = self.np_random.uniform(-1, 1, 2)
        return self.at.astype(np.float32), {}

    def step(self, action):
        self.at = np.clip(self.at + 0.2 * action, -1, 1)
        success = bool(np.linalg.norm(self.at) < 0.3)
        return self.at.astype(np.float32), float(success), False, False, {"success": success}


gym.register("Own/Point-v0", "own_point:Point", max_episode_steps=10)
"""
CONFIG = """
import own_sizes
from warmloop.actor.environment import EnvironmentConfig
from warmloop.agents import SACConfig
from warmloop.configs.schema import AgentChoice, RunConfig, to_config_dict


def get_config(argument=""):
    agent = AgentChoice("sac", SACConfig(hidden=own_sizes.HIDDEN, ensemble=2, target_subset=2, utd=1, batch_size=8))
    config = RunConfig(EnvironmentConfig("own_point:Own/Point-v0", success="info:success"), agent=agent, warmup_agent=agent)
    return to_config_dict(config.replace(learner={"warmup_steps": 4, "warmup_checkpoints": 1}))
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A folder with an environment and its configuration, and with names that must hide nobody's module."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "own_point.py").write_text(ENVIRONMENT)
    (folder / "own_sizes.py").write_text("HIDDEN = (8, 8)\n")
    (folder / "own_config.py").write_text(CONFIG)
    for name in ("select", "data", "actor", "jax", "numpy", "launch"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise SystemExit('the folder {name} of the user was imported')\n")
    return folder


def run(cwd: Path, module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", f"warmloop.launch.{module}", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, timeout=200)


def done(cwd: Path, module: str, *arguments: str | Path) -> str:
    ended = run(cwd, module, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def warm(lab, tmp_path_factory) -> tuple[Path, Path]:
    """Demonstrations and a warm-up, made from another folder than the one of the configuration."""
    folder = tmp_path_factory.mktemp("elsewhere")
    config = f"--config={lab / 'own_config.py'}"
    done(folder, "collect", config, "--policy=random", "--episodes=4", "--workers=2", "--out=demos.npz")
    done(folder, "train_offline_warmup", config, "--exp_name=own", "--offline_data_path=demos=demos.npz")
    return folder / "demos.npz", folder / "runs" / "own" / "warmup"


@pytest.mark.long
def test_a_checkpoint_is_judged_and_exported_from_any_folder(warm, tmp_path):
    assert "own_point:Own/Point-v0" in done(tmp_path, "evaluate", f"--checkpoint={warm[1]}", "--episodes=1")
    done(tmp_path, "export", f"--checkpoint={warm[1]}", "--out=policy")


@pytest.mark.long
def test_the_folder_of_a_command_is_searched_by_inspect_data_and_evaluate(lab, warm):
    shown = run(lab, "inspect_data", warm[0], "--env=own_point:Own/Point-v0")
    assert shown.returncode in (0, 1) and "own_point:Own/Point-v0" in shown.stdout, shown.stderr
    assert "success" in done(lab, "evaluate", "--env=own_point:Own/Point-v0", "--policy=random", "--success=info:success", "--episodes=1")


@pytest.mark.long
def test_a_sweep_finds_the_modules_beside_its_configuration(lab, warm, tmp_path):
    sizes = ("--warmup_steps=2", "--seeds=1", "--eval_n_trajs=1")
    given = (f"--config={lab / 'own_config.py'}", f"--offline_data_path={warm[0]}", "--out=out")
    assert "results in out" in done(tmp_path, "sweep", *given, *sizes)


@pytest.mark.long
def test_a_wrong_id_trains_only_where_the_environment_is_said_to_be_absent(lab, warm, tmp_path):
    wrong = "--config.environment.id=own_point:Own/Piont-v0"
    line = (f"--config={lab / 'own_config.py'}", f"--offline_data_path=demos={warm[0]}", "--exp_name=wrong", wrong)
    said = sentence(run(tmp_path, "train_offline_warmup", *line))
    assert 'no environment "own_point:Own/Piont-v0"; did you mean own_point:Own/Point-v0' in said and "--environment_absent" in said
    assert not (tmp_path / "runs").exists()
    absent = run(tmp_path, "train_offline_warmup", *line, "--environment_absent")
    assert absent.returncode == 0 and "not checked against own_point:Own/Piont-v0" in absent.stderr, absent.stderr


@pytest.mark.parametrize(
    ("source", "id", "says"),
    [
        ("", "own_empty:Lab/Arm-v0", r"own_empty.py registers none of its own\."),
        ("import gymnasium as gym\ngym.register('Lab/Zebra-v7', 'own_empty:Zebra')", "own_empty:Else-v0", "registers Lab/Zebra-v7"),
        ("import no_such_driver", "own_empty:Lab/Arm-v0", r"importing own_empty failed: .*no_such_driver.* \(own_empty.py, line 1\)"),
        ("def broken(:", "own_empty:Lab/Arm-v0", r"importing own_empty failed: SyntaxError: .*own_empty.py, line 1"),
        ("import sys\nsys.exit('no robot')", "own_empty:Lab/Arm-v0", "importing own_empty failed: SystemExit: no robot"),
        ("", "own_emty:Lab/Arm-v0", 'there is no module "own_emty" among the installed packages or in '),
        ("", "own/empty.py:Lab/Arm-v0", r'"own/empty.py" is no module\'s name'),
        ("", "Nowhere/Qzx-v0", "is named with it, as in my_lab.arm:Insert-v0"),
    ],
)
def test_an_environment_that_is_not_found_is_one_sentence_with_the_reason(tmp_path, monkeypatch, source, id, says):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_empty", raising=False)
    (tmp_path / "own_empty.py").write_text(source)
    make_importable(tmp_path)
    with pytest.raises(WarmloopError, match=says):
        make_environment(EnvironmentConfig(id, horizon=5))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_lab\n", r"cannot be loaded: ModuleNotFoundError: No module named 'no_such_lab' \(broken.py, line 1\)"),
        ("import own_half\n", r"cannot be loaded: NameError: name 'nowhere' is not defined \(own_half.py, line 1\)"),
        ("def get_config(:\n", r"cannot be loaded: SyntaxError: .*broken.py, line 1"),
        ("def get_config():\n    return 1 / 0\n", r"get_config\(\) failed: ZeroDivisionError: division by zero \(broken.py, line 2\)"),
    ],
)
def test_a_configuration_that_cannot_be_loaded_is_one_sentence_with_the_file_and_line(tmp_path, monkeypatch, source, says):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own_half.py").write_text("nowhere\n")
    (tmp_path / "broken.py").write_text(source)
    with pytest.raises(WarmloopError, match=says):
        load(str(tmp_path / "broken.py"))

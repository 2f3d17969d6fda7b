"""The export command, and the policy that it writes, run without this package."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from runs import sentence

from warmloop.agents.export import numpy_source
from warmloop.data.errors import WarmloopError
from warmloop.launch.parts.exporting import export_checkpoint
from warmloop.learner.checkpoints.checkpoint import load_policy

ALONE = """
import sys
for name in ("jax", "jaxlib", "flax", "safetensors", "gymnasium", "orbax", "warmloop"):
    sys.modules[name] = None  # importing it is an error
sys.path.insert(0, sys.argv[1])
import json, numpy, policy
acting = policy.Policy(sys.argv[1])
loaded = {name.partition(".")[0] for name in sys.modules if "site-packages" in str(getattr(sys.modules[name], "__file__", ""))}
observation = numpy.array([0.6, -0.8, 1.5])
print(json.dumps([acting(observation).tolist(), acting.scaled(observation).tolist(), sorted(loaded)]))
"""


def export(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "warmloop.launch.export", *flags], capture_output=True, text=True, timeout=200)


@pytest.mark.long
def test_the_command_writes_a_policy_that_runs_where_there_is_numpy_alone(pendulum_checkpoint, tmp_path):
    out = tmp_path / "policy"
    done = export(f"--checkpoint={pendulum_checkpoint}", f"--out={out}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["agent", "policy.stablehlo", "sampled.stablehlo", "policy.py", "written"]
    assert all("largest difference" in line and "median" in line and "99 % below" in line for line in lines[:4])
    alone = subprocess.run([sys.executable, "-I", "-c", ALONE, str(out)], capture_output=True, text=True, check=True, cwd="/")
    action, scaled, loaded = json.loads(alone.stdout)
    assert {name for name in loaded if not name.startswith("__editable__")} <= {"numpy", "_distutils_hack", "policy"}
    agent, actor, _ = load_policy(pendulum_checkpoint)
    expected, _ = agent.act(actor, np.array([0.6, -0.8, 1.5], np.float32), jax.random.key(0), (), deterministic=True)
    np.testing.assert_allclose(scaled, expected, atol=1e-5)
    np.testing.assert_allclose(action, 2 * np.asarray(expected), atol=2e-5)
    about = json.loads((out / "policy.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert about["environment"] == "Pendulum-v1" and about["action"] == {"shape": [1], "low": [-2.0], "high": [2.0]}
    assert about["observation"][""]["high"] == [1.0, 1.0, 8.0] and about["normaliser"]["normaliser.scale"] == [1.0, 1.0, 1.0]


def test_a_form_that_differs_from_the_agent_leaves_nothing(pendulum_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(numpy_source.RULES, "tanh", lambda equation, inputs: f"np.sin({inputs[0].text} + 0.1)")
    with pytest.raises(WarmloopError, match=r"policy.py differs from the agent by .*; nothing is written"):
        export_checkpoint(pendulum_checkpoint, tmp_path / "policy")
    assert list(tmp_path.iterdir()) == []


def test_only_an_export_is_replaced(pendulum_checkpoint, tmp_path):
    out = tmp_path / "policy"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(WarmloopError, match="is no folder of an exported policy; it is not replaced"):
        export_checkpoint(pendulum_checkpoint, out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    (out / "policy.json").write_text("{}")
    export_checkpoint(pendulum_checkpoint, out)
    assert not (out / "notes.txt").exists() and (out / "policy.stablehlo").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "Name a checkpoint"),
        (("--checkpoint=nowhere",), "Say where to write"),
        (("--checkpoint=nowhere", "--out={tmp}/new"), "There is no checkpoint in nowhere"),
        (("--checkpoint=nowhere", "--out={tmp}"), "exists; choose another --out"),
    ],
)
def test_a_mistake_is_one_sentence(flags, message, tmp_path):
    assert message in sentence(export(*(flag.format(tmp=tmp_path) for flag in flags)))

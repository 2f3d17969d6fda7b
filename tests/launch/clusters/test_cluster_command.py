"""What the command checks before it meets Ray, and what it says where there is none."""

import os
import subprocess
import sys

import pytest
from runs import sentence

from warmloop.data.errors import WarmloopError
from warmloop.launch.clusters.cluster_spec import ClusterSpec, WorkerPlace
from warmloop.launch.clusters.joining import check_listens
from warmloop.launch.clusters.robot_check import check_robots

ROBOT = """
from warmloop.configs import load
def get_config():
    return load("configs/classic.py:pendulum").replace(actor={"simulator": False})
"""


@pytest.fixture
def cluster(tmp_path):
    """The one sentence that `warmloop cluster` says where Ray is not installed."""
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "ray.py").write_text("raise ImportError('not here')\n")
    (tmp_path / "cluster.toml").write_text('exp_name = "door"\n')
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "absent")}

    def run(*words):
        line = [sys.executable, "-m", "warmloop.launch.cluster", *words]
        return sentence(subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100))

    return run


def test_without_ray_one_sentence_says_how_to_get_it(cluster):
    assert "needs Ray (not here); run `pip install 'warmloop[ray]'`" in cluster("state", "cluster.toml")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "trainer:ten"])
def test_an_address_at_which_nothing_listens_is_named(address):
    with pytest.raises(WarmloopError, match=f"Nothing listens at --address={address}"):
        check_listens(address)


def test_mistakes_are_found_before_ray_is_asked_for(cluster):
    assert '"sart" is nothing that a cluster does; did you mean start' in cluster("sart", "cluster.toml")
    assert "warmloop cluster allow cluster.toml left" in cluster("allow", "cluster.toml")
    assert "does not exist" in cluster("stop", "no.toml")


@pytest.mark.parametrize("more", [(), ("--config.actor.simulator=false",), ("--noconfig.actor.simulator",)])
def test_a_robot_that_is_called_a_simulator_is_refused(more, tmp_path):
    named = "configs/classic.py:pendulum"
    if not more:
        (tmp_path / "robot.py").write_text(ROBOT)
        named = str(tmp_path / "robot.py")
    spec = ClusterSpec("door", actors=(WorkerPlace("left", more, simulator=True),), flags=(f"--config={named}",))
    with pytest.raises(WarmloopError, match="left has simulator = true, so it would start by itself"):
        check_robots(spec)


def test_a_simulator_and_a_configuration_that_is_elsewhere_may_start():
    for named in ("configs/classic.py:pendulum", "nowhere.py"):
        check_robots(ClusterSpec("door", actors=(WorkerPlace("sim", simulator=True),), flags=(f"--config={named}",)))

"""One learner on several devices: as on a single one, to the bit each time, with few messages, and resumable on another number."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from warmloop.agents import BC, SAC, BCConfig, SACConfig
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec
from warmloop.learner.config import LearnerConfig
from warmloop.learner.devices import Devices, devices_for

ROOT = Path(__file__).resolve().parents[2]
SPEC = Spec((Leaf("", (4,), "float32"),), 2)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a process with eight devices found (tests/helpers/eight_devices.py)."""
    folder = tmp_path_factory.mktemp("devices")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    line = [sys.executable, "-m", "tests.helpers.eight_devices", str(folder)]
    done = subprocess.run(line, cwd=ROOT, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    found = json.loads((folder / "told.json").read_text())
    assert found["devices"] == 8
    return found


@pytest.mark.long
@pytest.mark.parametrize("divide", ["rows", "ensemble"])
def test_eight_devices_learn_by_plain_gradient_descent_what_one_does(told, divide):
    one, begun, eight = (np.array(told[name]) for name in ("one", "begun", divide))
    assert np.abs(one - begun).max() > 0.01
    np.testing.assert_allclose(eight[0], one, atol=1e-6)
    np.testing.assert_array_equal(eight[0], eight[1])


@pytest.mark.long
def test_the_rows_of_a_minibatch_are_divided_and_their_gradients_summed_between_the_devices(told):
    rows, ensemble = told["rows collectives"], told["ensemble collectives"]
    assert 0 < rows["all-reduce"] <= 8 and rows["all-to-all"] == rows["collective-permute"] == 0
    assert ensemble["all-reduce"] <= 4 and ensemble["all-gather"] == 0


@pytest.mark.long
def test_the_members_of_an_ensemble_are_divided(told):
    assert told["members on a device"] == [1]


@pytest.mark.long
def test_pictures_in_the_hosts_memory_feed_all_devices(told):
    one, eight = map(np.array, told["images"])
    np.testing.assert_allclose(eight, one, atol=1e-6)


@pytest.mark.long
def test_an_agent_that_learns_from_windows_learns_on_several_devices(told):
    assert told["windows finite"]


@pytest.mark.long
@pytest.mark.parametrize("way", ["8 to 1", "1 to 8"])
def test_a_checkpoint_resumes_on_another_number_of_devices(told, way):
    assert told[way]


def test_what_the_devices_cannot_divide_is_refused_in_words():
    agent = SAC(SACConfig(ensemble=3, batch_size=33), SPEC)
    with pytest.raises(WarmloopError, match=r"learner.devices is 64, and JAX finds"):
        devices_for(agent, 64, "rows")
    with pytest.raises(WarmloopError, match="must be rows or ensemble"):
        LearnerConfig(divide="layers")
    with pytest.raises(WarmloopError, match=r"learner.devices is -1"):
        LearnerConfig(devices=-1)
    assert devices_for(agent, 1, "rows") == Devices()


def test_a_division_that_leaves_a_rest_is_refused_in_words(monkeypatch):
    monkeypatch.setattr("jax.local_device_count", lambda: 2)
    with pytest.raises(WarmloopError, match=r"agent.batch_size is 33, which 2 devices"):
        devices_for(SAC(SACConfig(batch_size=33), SPEC), 0, "rows")
    with pytest.raises(WarmloopError, match=r"agent.ensemble is 3, which 2 devices"):
        devices_for(SAC(SACConfig(ensemble=3), SPEC), 2, "ensemble")
    with pytest.raises(WarmloopError, match=r'learner.divide is "ensemble", and BC has no ensemble'):
        devices_for(BC(BCConfig(), SPEC), 2, "ensemble")

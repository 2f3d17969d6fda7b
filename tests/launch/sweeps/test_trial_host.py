"""What a node is asked for before a trial runs there, and what its process may open."""

import pytest

from warmloop import __version__
from warmloop.data.errors import WarmloopError
from warmloop.launch.starting.processes import ONE_THREAD
from warmloop.launch.sweeps.trial_host import TrialHost, environment_of_trial


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setattr("os.environ", {})
    return TrialHost(True, 0.0)


def test_a_folder_that_the_node_does_not_have_is_named(host, tmp_path):
    with pytest.raises(WarmloopError, match=rf"The node \S+ has no folder {tmp_path}/absent, where the sweep was started; make it there"):
        host.where([f"{tmp_path}/absent"], __version__)


def test_another_version_on_the_node_is_refused(host, tmp_path):
    with pytest.raises(WarmloopError, match=f"has warmloop {__version__}, and the sweep's machine 99.0; install one on all nodes"):
        host.where([str(tmp_path)], "99.0")


def test_a_trial_without_a_gpu_opens_none_and_one_of_many_computes_on_one_thread():
    assert environment_of_trial(True, 0.0, {"XLA_FLAGS": "--a"}) == {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--a {ONE_THREAD}"}
    assert environment_of_trial(False, 0.0, {}) == {"JAX_PLATFORMS": "cpu"}
    assert environment_of_trial(True, 0.25, {}) == {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    assert environment_of_trial(True, 1.0, {}) == {}

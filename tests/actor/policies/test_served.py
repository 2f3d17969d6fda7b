"""A policy in a process of its own, asked over a socket: the real server with a policy of NumPy, and servers that misbehave."""

import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.policies import policy_server, served
from warmloop.actor.policies.served import ServedPolicy
from warmloop.data.action_limits import ActionLimits
from warmloop.data.errors import EnvironmentFault, WarmloopError
from warmloop.data.transition import BASE, Leaf, Spec
from warmloop.launch.flags.choices import choose_policy

SPEC = Spec((Leaf("front", (4, 5, 3), "uint8"), Leaf("pose", (3,), "float32")), 2)
LIMITS = ActionLimits([0, 0], [10, 10])
POLICY = """
    import numpy as np

    class Follows:
        def fits(self, shapes):
            return "" if "pose" in shapes else "it needs a pose"

        def begin(self, seed):
            self.seed, self.count = seed, 0

        def drop_plan(self):
            self.count = 0

        def __call__(self, observation):
            self.count += 1
            if observation["pose"][0] > 1:
                raise ValueError("too far")
            return [observation["pose"][0] * self.count / 10, observation["front"].mean() / 255 * self.seed]

    def pushes(observation):
        return observation[:1]

    pushes.begin = lambda seed: None
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Starts servers of a policy in the file; gives their ports."""
    (folder := tmp_path_factory.mktemp("served")).joinpath("own.py").write_text(textwrap.dedent(POLICY))
    running = []

    def start(name):
        line = [sys.executable, policy_server.__file__, f"--policy={folder / 'own.py'}:{name}", "--port=0"]
        running.append(subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        return int(running[-1].stdout.readline().rpartition(":")[2])

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def port(started):
    return started("Follows")


def client(port, spec=SPEC, limits=LIMITS):
    return ServedPolicy(f"127.0.0.1:{port}", spec, limits)


def observation(first=0.5):
    return {"pose": np.array([first, 0, 0], np.float32), "front": np.full((4, 5, 3), 51, np.uint8)}


def test_the_actions_are_those_of_the_policy_over_there(port):
    policy = client(port)
    policy.begin(3)
    np.testing.assert_allclose([policy(observation(), step) for step in range(2)], [[0.05, 0.6], [0.1, 0.6]], rtol=1e-6)
    policy.drop_plan(np.zeros(2, np.float32))
    np.testing.assert_allclose(policy(observation(), 2), [0.05, 0.6], rtol=1e-6)
    policy.begin(2)
    np.testing.assert_allclose(policy(observation(), 0), [0.05, 0.4], rtol=1e-6)
    policy.close()


def test_each_client_has_a_memory_of_its_own(port):
    one, other = client(port), client(port)
    for policy in (one, other):
        policy.begin(1)
    one(observation(), 0)
    np.testing.assert_allclose(other(observation(), 0)[0], 0.05, rtol=1e-6)
    for policy in (one, other):
        policy.close()


def test_a_failure_over_there_is_told_and_costs_the_episode_alone(port):
    policy = client(port)
    policy.begin(1)
    with pytest.raises(EnvironmentFault, match=r"socket:127.0.0.1:\d+ says: the policy failed: ValueError: too far"):
        policy(observation(2.0), 0)
    with pytest.raises(EnvironmentFault, match="has no connection"):
        policy(observation(), 1)
    policy.begin(1)
    assert policy(observation(), 0).shape == (2,)
    policy.close()


def test_observations_that_do_not_fit_are_refused_at_the_first_word(port):
    with pytest.raises(WarmloopError, match="says: it needs a pose") as told:
        client(port, Spec((Leaf("", (3,), "float32"),), 2)).begin(0)
    assert not isinstance(told.value, EnvironmentFault)


def test_where_nobody_is_there_a_sentence_says_how_to_start_one():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(WarmloopError, match=r"does not answer .* `python policy_server.py --lerobot=CHECKPOINT") as told:
        client(port).begin(0)
    assert not isinstance(told.value, EnvironmentFault)
    for wrong in ("7788", "host:", "host:port", "host:70000"):
        with pytest.raises(WarmloopError, match="write socket:HOST:PORT"):
            ServedPolicy(wrong, SPEC, LIMITS)


class Misbehaving(threading.Thread):
    """A server that answers hello, in the units given, and to the next word sends `then` or, where that is None, nothing."""

    def __init__(self, then, hello=None):
        super().__init__(daemon=True)
        self.server, self.then = socket.create_server(("127.0.0.1", 0)), then
        self.hello = hello or {"kind": "hello", "version": policy_server.VERSION, "units": "environment"}
        self.port = self.server.getsockname()[1]
        self.start()

    def run(self):
        connection, _ = self.server.accept()
        policy_server.receive(connection)
        policy_server.send(connection, self.hello)
        policy_server.receive(connection)
        if self.then is None:
            time.sleep(2)
        else:
            self.then(connection)
        connection.close()


@pytest.mark.parametrize(
    ("then", "says"),
    [
        (None, r"gave no answer in 0.2 seconds"),
        (lambda connection: None, "closed the connection"),
        (lambda connection: connection.sendall(struct.pack(">I", 1 << 30)), "a header of 1073741824 bytes"),
        (lambda connection: connection.sendall(struct.pack(">I", 2) + b"no"), "a header that is none"),
        (lambda connection: connection.sendall(struct.pack(">I", 33) + b'{"arrays":[["a","float32",[-1]]]}'), "arrays that are not of"),
        (
            lambda connection: connection.sendall(struct.pack(">I", 41) + b'{"arrays":[["a","float32",[9999999999]]]}'),
            "arrays of 39999999996",
        ),
        (lambda connection: connection.sendall(struct.pack(">I", 32) + b'{"arrays":[["a","object",[10]]]}'), "arrays that are not of"),
        (lambda connection: policy_server.send(connection, {"kind": "what"}), "answered {'kind': 'what'"),
    ],
)
def test_a_server_that_misbehaves_is_a_fault_in_words(monkeypatch, then, says):
    monkeypatch.setattr(served, "ANSWER_SECONDS", 0.2 if then is None else 10.0)
    with pytest.raises(EnvironmentFault, match=says):
        client(Misbehaving(then).port).begin(0)


def test_what_is_no_server_of_a_policy_is_refused():
    with pytest.raises(WarmloopError, match="is no policy's server"):
        client(Misbehaving(lambda connection: None, {"kind": "hello", "version": 0}).port).begin(0)


def test_actions_in_the_environment_s_units_are_scaled_to_its_limits():
    def answers(connection):
        policy_server.send(connection, {"kind": "ok"})
        for action in ([2.5, 12.0], [np.inf, 0.0]):
            policy_server.receive(connection)
            policy_server.send(connection, {"kind": "action"}, {"action": np.array(action, np.float32)})

    policy = client(Misbehaving(answers).port)
    policy.begin(0)
    np.testing.assert_allclose(policy(observation(), 0), [-0.5, 1.0])
    with pytest.raises(EnvironmentFault, match="2 finite numbers"):
        policy(observation(), 1)


def test_a_served_policy_is_the_base_of_an_environment(started):
    port = started("pushes")
    made = make_environment(EnvironmentConfig("Pendulum-v1", horizon=5, base=f"socket:127.0.0.1:{port}"))
    first = made.reset(1)
    np.testing.assert_allclose(first[BASE], first["state"][:1], rtol=1e-6)
    following = made.step(np.zeros(1)).next_observation
    np.testing.assert_allclose(following[BASE], following["state"][:1], rtol=1e-6)
    made.close()
    assert choose_policy(f"socket:127.0.0.1:{port}").kind == "socket"

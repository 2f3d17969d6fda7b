"""The keeper of a command on a node: how the command ends with it, what it leaves, and that no two run at once."""

import contextlib
import os
import shutil
import signal
import stat
import sys
import textwrap
from pathlib import Path

import pytest
from waiting import until

from warmloop.launch.clusters import node_host
from warmloop.launch.clusters.node_host import FAULT, NodeHost, Order, environment_of

PROGRAM = """
import signal, sys, time
from pathlib import Path
def end(number, frame):
    print("saved", flush=True)
    sys.exit(0)
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, end)
print("began", *[a for a in sys.argv[1:] if not a.startswith("--credentials")], flush=True)
for argument in sys.argv:
    if argument.startswith("--credentials="):
        print(argument, flush=True)
while "brief" not in sys.argv:
    time.sleep(0.01)
sys.exit(4)
"""


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Starts commands that are the program above; every one is killed at the end."""
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    monkeypatch.setattr(node_host, "command", lambda module, *arguments: [sys.executable, str(tmp_path / "program.py"), *arguments])
    hosts = []

    def start(*arguments, **more):
        hosts.append(Watched(NodeHost()))
        hosts[-1].host.start(Order(f"{tmp_path}:sim", "train_rlpd", arguments, str(tmp_path), **more))
        return hosts[-1]

    yield start
    for one in hosts:
        if one.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        one.host._keeper.stdin.close()


class Watched:
    """A host, and all it has said."""

    def __init__(self, host):
        self.host, self.text, self.pid, self.code = host, "", None, None

    def look(self):
        look = self.host.look()
        self.text, self.pid, self.code = self.text + look.text, look.pid or self.pid, look.code
        return self

    def says(self, text):
        until(lambda: text in self.look().text)

    def ends(self, seconds=10.0):
        until(lambda: self.look().code is not None, seconds)
        return self.code


def test_a_command_is_stopped_in_order_and_its_log_is_handed_over_whole(host):
    one = host("a", "b")
    one.says("began a b")
    one.host.stop()
    assert one.ends() == 0 and one.text == "began a b\nsaved\n"


def test_a_command_that_ends_by_itself_gives_its_exit_code(host):
    assert host("brief").ends() == 4


def test_a_command_is_ended_in_order_when_the_worker_that_watched_it_is_gone(host, tmp_path):
    one = host()
    one.says("began")
    place = one.host._place
    one.host._keeper.stdin.close()
    until(lambda: not Path(f"/proc/{one.pid}").exists() and not place.exists())


def test_what_refuses_to_end_is_killed_when_asked_to_end_at_once(host):
    one = host("stubborn")
    one.says("began")
    one.host.stop()
    one.host.stop(at_once=True)
    assert one.ends() in (-signal.SIGQUIT, -signal.SIGKILL)


def test_secrets_are_in_a_folder_for_this_user_alone_until_the_end(host):
    one = host(secrets={"token": b"hidden"})
    one.says("--credentials=")
    folder = Path(one.text.partition("--credentials=")[2].strip())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    assert (folder / "token").read_bytes() == b"hidden"
    one.host.stop()
    one.ends()
    one.host._keeper.stdin.close()
    until(lambda: not folder.exists())


def test_a_second_process_of_a_name_waits_until_the_first_has_ended(host):
    first = host()
    first.says("began")
    second = host()
    second.look()
    assert second.pid is None and second.text == ""
    first.host._keeper.stdin.close()
    second.says("began")
    assert not Path(f"/proc/{first.pid}").exists()


def test_a_command_whose_keeper_is_killed_is_still_seen_to_end(host):
    one = host()
    one.says("began")
    keeper = int(Path(f"/proc/{one.pid}/status").read_text().partition("PPid:")[2].split()[0])
    os.kill(keeper, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{keeper}").exists())
    assert one.look().code is None
    one.host.stop()
    assert one.ends() == FAULT and one.text.endswith("saved\n")
    shutil.rmtree(one.host._place)


def test_the_learner_resumes_where_there_is_a_checkpoint(host, tmp_path):
    host("brief", resume_from="checkpoints").ends()
    (tmp_path / "checkpoints" / "100").mkdir(parents=True)
    resumed = host("brief", resume_from="checkpoints")
    resumed.ends()
    assert resumed.text == "began brief --resume\n"


def test_only_the_learner_may_open_an_accelerator_and_rays_own_settings_stay_with_ray():
    given = {"RAY_AUTH_TOKEN": "t", "OMP_NUM_THREADS": "1", "HOME": "/h", "CUDA_VISIBLE_DEVICES": "1"}
    learner = environment_of(Order("n", "m", (), "f", learner=True), given)
    assert learner.keys() & given.keys() == {"HOME", "CUDA_VISIBLE_DEVICES"} and "JAX_PLATFORMS" not in learner
    assert environment_of(Order("n", "m", (), "f"), given)["JAX_PLATFORMS"] == "cpu"
    assert "JAX_PLATFORMS" not in environment_of(Order("n", "m", ("--actor_platform=cuda",), "f"), given)

"""The command that makes credentials, what it refuses, and commands that use them: real processes, one sentence, exit code 2."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from runs import sentence
from secrets_folder import make_credentials
from wire_rows import SCHEMA

from warmloop.data.errors import WarmloopError
from warmloop.data.wire.keyring import ActorCredentials, LearnerCredentials, digest
from warmloop.launch.parts.certificates import actor_names
from warmloop.learner.receiving.intake import Intake, Limits
from warmloop.learner.receiving.service import serve


def make(commands, *arguments: str):
    line = [sys.executable, "-m", "warmloop.launch.credentials", "--out=credentials", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=200, cwd=commands.folder)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    return make_credentials(tmp_path_factory.mktemp("lab") / "credentials", "actor-0", "actor-1", mutual_tls=True)


@pytest.fixture
def copy(lab, tmp_path) -> Path:
    """A copy of `lab` to damage."""
    return Path(shutil.copytree(lab, tmp_path / "credentials"))


def test_the_command_makes_what_both_sides_read_and_says_what_goes_where(commands):
    done = make(commands, "--host=trainer.lab,10.0.0.7", "--actors=2", "--days=30")
    assert done.returncode == 0, done.stderr
    assert "--credentials=credentials/learner" in done.stdout and "--credentials=credentials/actor-1" in done.stdout
    folder = commands.folder / "credentials"
    learner, actor = LearnerCredentials.read(folder), ActorCredentials.read(folder, "actor-1")
    assert learner.tokens["actor-1"] == digest(actor.token) and learner.tokens.keys() == {"actor-0", "actor-1"}
    certificate = x509.load_pem_x509_certificate(learner.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["trainer.lab", "localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7", "127.0.0.1", "::1"]
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 31
    assert learner.clients is None and actor.certificate is None


def test_secret_files_are_their_owners_alone_and_each_part_stands_for_itself(lab, tmp_path):
    secret = {path for path in lab.rglob("*") if path.name in ("key.pem", "token", "tokens.json")}
    assert len(secret) == 7 and all(mode(path) == 0o600 for path in secret)
    assert all(mode(path) == 0o700 for path in lab.iterdir())
    moved = Path(shutil.copytree(lab / "actor-0", tmp_path / "anywhere"))
    assert ActorCredentials.read(moved, "actor-0").token == ActorCredentials.read(lab, "actor-0").token
    assert LearnerCredentials.read(lab / "learner") == LearnerCredentials.read(lab)


def test_run_again_it_adds_actors_and_leaves_the_others_as_they_were(commands):
    make(commands, "--host=trainer.lab", "--mutual_tls")
    folder = commands.folder / "credentials"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "tokens.json"}
    done = make(commands, "--actors=2")
    assert done.returncode == 0, done.stderr
    assert all(path.read_bytes() == data for path, data in before.items())
    assert LearnerCredentials.read(folder).tokens.keys() == {"actor-0", "actor-1"}
    assert ActorCredentials.read(folder, "actor-1").certificate is not None
    renewed = make(commands, "--host=other.lab", "--actors=2")
    assert renewed.returncode == 0, renewed.stderr
    assert LearnerCredentials.read(folder).certificate != before[folder / "learner" / "certificate.pem"]
    assert ActorCredentials.read(folder, "actor-0").token == before[folder / "actor-0" / "token"].decode().strip()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--host=",), "--host=trainer.lab"),
        (("--host=a b",), "--host"),
        (("--host=trainer.lab:5488",), "--host"),
        (("--host=x", "--actors=../up"), "--actors"),
        (("--host=x", "--actors=learner"), "--actors"),
        (("--host=x", "--actors=0"), "--actors"),
        (("--host=x", "--days=0"), "days"),
        (("--host=x", "--out="), "--out"),
    ],
)
def test_a_mistake_is_refused_and_nothing_is_written(commands, arguments, says):
    assert says in sentence(make(commands, *arguments))
    assert not (commands.folder / "credentials" / "learner").exists()


def test_actors_are_counted_or_named():
    assert actor_names(["3"]) == ["actor-0", "actor-1", "actor-2"]
    assert actor_names(["left", "right-2"]) == ["left", "right-2"]
    with pytest.raises(WarmloopError, match="should be a number, or names"):
        actor_names(["a/b"])


@pytest.mark.parametrize(
    ("file", "data", "says"),
    [
        ("learner/certificate.pem", None, "cannot be read: No such file"),
        ("learner/certificate.pem", b"noise", "no certificate in PEM"),
        ("learner/key.pem", None, "cannot be read: No such file"),
        ("learner/key.pem", b"noise", "no private key in PEM"),
        ("learner/key.pem", "authority/key.pem", "is not the key of"),
        ("learner/clients.pem", b"", "no certificate in PEM"),
        ("learner/tokens.json", None, "cannot be read: No such file"),
        ("learner/tokens.json", b"\xff{", "no JSON"),
        ("learner/tokens.json", b'["actor-0"]', "should map each actor to a sha256"),
        ("learner/tokens.json", b'{"actor-0": "secret"}', "should map each actor to a sha256"),
        ("learner/tokens.json", b"{}", "names no actor"),
        ("actor-0/ca.pem", b"noise", "no certificate in PEM"),
        ("actor-0/token", None, "cannot be read: No such file"),
        ("actor-0/token", b"\xff\x00 short", "holds no token"),
        ("actor-0/key.pem", "actor-1/key.pem", "is not the key of"),
        ("actor-0/key.pem", None, "cannot be read: No such file"),
    ],
)
def test_a_damaged_folder_is_refused_with_the_file_named(copy, file, data, says):
    if isinstance(data, str):
        (copy / file).write_bytes((copy / data).read_bytes())
    elif data is None:
        (copy / file).unlink()
    else:
        (copy / file).write_bytes(data)
    with pytest.raises(WarmloopError, match=says) as caught:
        LearnerCredentials.read(copy) if file.startswith("learner") else ActorCredentials.read(copy, "actor-0")
    assert file in str(caught.value)


@pytest.mark.parametrize("file", ["learner/key.pem", "learner/tokens.json", "actor-0/token", "actor-0/key.pem"])
@pytest.mark.parametrize("open_to", [0o640, 0o604])
def test_a_secret_that_others_can_read_is_refused_and_the_remedy_named(copy, file, open_to):
    os.chmod(copy / file, open_to)
    with pytest.raises(WarmloopError, match=rf"{file} is secret.*chmod 600"):
        LearnerCredentials.read(copy) if file.startswith("learner") else ActorCredentials.read(copy, "actor-0")


def test_a_folder_without_this_actor_is_refused_and_the_command_named(copy):
    with pytest.raises(WarmloopError, match=r"nothing for actor-7; add it with `python -m .*credentials .*--actors=actor-7`"):
        ActorCredentials.read(copy, "actor-7")
    with pytest.raises(WarmloopError, match="is no folder; make one"):
        LearnerCredentials.read(copy / "absent")


def test_a_learner_that_others_could_reach_without_credentials_does_not_start(commands):
    said = sentence(commands.run("train_rlpd", "--exp_name=open", "--learner", "--ip=0.0.0.0"))
    assert "python -m warmloop.launch.credentials --out=credentials --host=" in said
    assert not (commands.folder / "open" / "checkpoints").exists()


@pytest.mark.long
@pytest.mark.parametrize("who", ["--learner", "--actor"])
def test_a_process_with_a_bad_folder_ends_before_it_begins(commands, copy, who):
    for name in ("learner/tokens.json", "actor-0/token"):
        os.chmod(copy / name, 0o644)
    assert "chmod 600" in sentence(commands.run("train_rlpd", "--exp_name=bad", who, f"--credentials={copy}"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        ("another's token", 'The token is of actor "actor-1"'),
        ("a wrong token", "does not know this actor's token"),
        ("a wrong authority", "not of the authority in this actor's ca.pem"),
        ("no credentials", "uses TLS: start this actor with --credentials"),
    ],
)
def test_an_actor_process_that_may_not_connect_ends_with_one_sentence(commands, lab, tmp_path, mistake, says):
    mine = Path(shutil.copytree(lab / "actor-0", tmp_path / "mine"))
    strangers = make_credentials(tmp_path / "strangers", "actor-0", mutual_tls=True)
    taken = {"another's token": (lab / "actor-1", "token"), "a wrong token": (strangers / "actor-0", "token")}
    taken["a wrong authority"] = (strangers / "actor-0", "ca.pem")
    if mistake in taken:
        folder, name = taken[mistake]
        shutil.copy(folder / name, mine / name)
    server = serve("127.0.0.1", 0, Intake(SCHEMA, limits=Limits()), LearnerCredentials.read(lab))
    flags = [] if mistake == "no credentials" else [f"--credentials={mine}"]
    done = commands.run("train_rlpd", "--exp_name=actor", "--actor", f"--port={server.port}", *flags, timeout=200)
    server.close()
    assert says in sentence(done)


@pytest.mark.long
def test_the_actors_of_one_machine_need_an_address_that_they_reach(commands, lab):
    assert "--ip=0.0.0.0" in sentence(commands.run("local", "--exp_name=x", f"--credentials={lab}", "--ip=192.0.2.1"))


@pytest.mark.slow
def test_learner_and_actors_of_one_machine_work_with_the_whole_folder(commands, lab):
    done = commands.run("local", "--exp_name=secured", f"--credentials={lab}", "--ip=0.0.0.0", "--actors=2", "--online_steps=600")
    assert done.returncode == 0, done.stderr
    lines = (commands.folder / "secured" / "metrics.jsonl").read_text().splitlines()
    assert any("actor/episode_return" in json.loads(line) for line in lines)

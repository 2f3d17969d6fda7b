"""The file that names a cluster's processes: what they are started with, and each mistake in one sentence."""

import pytest

from warmloop.data.errors import WarmloopError
from warmloop.launch.clusters.cluster_spec import read_spec

WHOLE = """
exp_name = "door"
flags = ["--config=configs/adroit.py:door"]
credentials = "credentials"

[learner]
flags = ["--checkpoint_path=warmup_ckpt"]
host = "trainer.lab"
gpus = 1

[[actors]]
name = "left"
needs = ["robot:left"]
flags = ["--intervention=keyboard"]

[[actors]]
name = "sim"
needs = ["sim"]
simulator = true
count = 2

[[evaluators]]
name = "judge"
simulator = true
flags = ["--checkpoint=runs/door/checkpoints"]
every_minutes = 30

[[collectors]]
name = "recorder"
needs = ["robot:right"]
flags = ["--out=demos.npz"]
"""


def read(folder, text):
    (folder / "cluster.toml").write_text(text)
    return read_spec(folder / "cluster.toml")


def refused(folder, text):
    with pytest.raises(WarmloopError) as caught:
        read(folder, text)
    return str(caught.value)


def test_a_file_gives_every_process_its_command_its_resources_and_whether_it_asks(tmp_path):
    learner, left, first, second, judge, recorder = read(tmp_path, WHOLE).parts()
    shared = ("--exp_name=door", "--runs=runs", "--config=configs/adroit.py:door")
    assert learner.arguments == (*shared, "--checkpoint_path=warmup_ckpt", "--learner", "--port=5488", "--ip=0.0.0.0")
    link = ("--actor", "--ip=trainer.lab", "--port=5488")
    assert left.arguments == (*shared, "--intervention=keyboard", *link, "--actor_id=0")
    assert second.arguments == (*shared, *link, "--actor_id=2")
    assert [part.name for part in (first, second)] == ["sim-0", "sim-1"]
    assert [part.asks for part in (learner, left, first, judge, recorder)] == [False, True, False, False, True]
    assert [part.secrets for part in (learner, left, second, judge)] == ["learner", "actor-0", "actor-2", None]
    assert (learner.gpus, left.needs, judge.every_minutes) == (1.0, ("robot:left",), 30.0)
    assert [part.module for part in (learner, left, judge, recorder)] == ["train_rlpd", "train_rlpd", "evaluate", "collect"]
    assert judge.arguments == ("--checkpoint=runs/door/checkpoints",)


def test_what_is_missing_may_be_left_out_and_a_learner_on_this_machine_needs_no_credentials(tmp_path):
    (learner,) = read(tmp_path, 'exp_name = "door"').parts()
    assert learner.arguments == ("--exp_name=door", "--runs=runs", "--learner", "--port=5488") and learner.secrets is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('exp_name = "door"', ""), "cluster.toml has no exp_name"),
        (("gpus = 1", 'gpus = "one"'), "cluster.toml.learner.gpus is 'one'"),
        (("gpus = 1", "gups = 1"), "did you mean gpus"),
        (('needs = ["robot:left"]\n', ""), "left moves a robot, so name what its node declares"),
        (("simulator = true\ncount = 2", "count = 2"), "sim moves a robot, and 2 processes cannot"),
        (("count = 2", "count = 0"), "sim has count 0"),
        (('name = "sim"', 'name = "left"\nevery_minutes = 1.0'), "leave every_minutes out"),
        (('name = "judge"', 'name = "left"'), 'two processes are called "left"'),
        (('name = "judge"', 'name = "learner"'), 'two processes are called "learner"'),
        (('name = "judge"', 'name = "a/b"'), '"a/b" is no name of a process'),
        (("--intervention=keyboard", "--port=1"), "--port follows from the rest of the file"),
        (("--intervention=keyboard", "--nolearner"), "--nolearner follows from"),
        (("--intervention=keyboard", "keyboard"), '"keyboard" is no flag'),
        (('credentials = "credentials"', ""), "`warmloop-credentials --out=credentials --host=trainer.lab`"),
        (("gpus = 1", "gpus = "), "is no TOML"),
        (('exp_name = "door"', 'exp_name = "a/b"'), "is no name of a folder"),
    ],
)
def test_each_mistake_is_one_sentence(change, said, tmp_path):
    assert change[0] in WHOLE
    assert said in refused(tmp_path, WHOLE.replace(*change))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WarmloopError, match="does not exist"):
        read_spec(tmp_path / "cluster.toml")

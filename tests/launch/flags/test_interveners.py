"""Who takes over, through the commands: the flag's mistakes, a teacher in training, and a person who records demonstrations."""

import subprocess
import sys
import time

import numpy as np
import pytest
from displays import Keys, virtual_display
from runs import SIZES, Commands, sentence

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.data.transition import Source
from warmloop.launch.flags.interveners import choose_intervention
from warmloop.learner.diagnosis.metrics import read

DRAWER = ("--config=configs/metaworld.py:drawer-open", *SIZES, "--config.environment.horizon=60", "--config.learner.updates_per_call=5")
TEACHER = "--intervention=teacher:patience=4,hold=6,threshold=0.4"


def test_kinds_and_options_are_read():
    choice = choose_intervention("spacemouse+keyboard:speed=0.5,gripper=sticky,axes=x/-y/z/gripper")
    assert choice.kinds == ("spacemouse", "keyboard") and choice.personal
    assert dict(choice.options) == {"speed": 0.5, "gripper": "sticky", "axes": "x/-y/z/gripper"}
    teacher = choose_intervention("teacher:policy=random,patience=7,threshold=1")
    assert teacher.policy is not None and teacher.policy.kind == "random" and not teacher.personal
    assert dict(teacher.options) == {"patience": 7, "threshold": 1.0}
    assert choose_intervention("none").kinds == ("none",)
    usual = choose_intervention("teacher").policy
    assert usual is not None and usual.kind == "scripted"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keybord", '--intervention is "keybord"; it must be none, '),
        ("", '--intervention is ""; it must be none, '),
        ("teacher+keyboard", "only devices go together"),
        ("keyboard+keyboard", "each once"),
        ("none:speed=1", "none has no options"),
        ("keyboard:sped=1", 'no option "sped"; did you mean speed?'),
        ("teacher:patience", "patience needs a value, as in patience=VALUE"),
        ("teacher:patience=soon", "patience=soon is no number"),
        ("teacher:patience=0", "must be at least 1"),
        ("teacher:policy=expert", '--policy is "expert"'),
        ("gamepad:speed=2", "at most 1"),
        ("gamepad:rate=-1", "rate of a device is -1.0"),
    ],
)
def test_a_mistake_in_the_flag_is_a_sentence(text, says):
    with pytest.raises(WarmloopError) as error:
        choose_intervention(text)
    assert says in str(error.value)


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--learner", TEACHER), "--intervention is for the actor"),
        (("--intervention=keybord",), "did you mean keyboard?"),
    ],
)
def test_train_rlpd_says_so_before_it_begins(tmp_path, arguments, says):
    assert says in sentence(Commands(tmp_path, DRAWER).run("train_rlpd", "--exp_name=x", *arguments))


@pytest.mark.long
def test_local_refuses_one_person_for_two_actors(tmp_path):
    done = Commands(tmp_path, DRAWER).run("local", "--exp_name=x", "--actors=2", "--intervention=keyboard")
    assert "A person can take over one actor, and there would be 2" in sentence(done)


@pytest.mark.slow
def test_in_lock_step_a_teacher_takes_over_and_the_rate_is_shown(tmp_path):
    done = Commands(tmp_path, DRAWER).run("train_rlpd", "--exp_name=taught", "--online_steps=150", "--seed=1", TEACHER)
    assert done.returncode == 0, done.stderr
    records = read(tmp_path / "taught")
    rates = [record["actor/intervention_rate"] for record in records if "actor/intervention_rate" in record]
    assert rates and 0 < max(rates) <= 1
    assert max(record.get("actor/intervention_length", 0) for record in records) >= 6


@pytest.mark.slow
def test_actors_of_their_own_have_a_teacher_each_and_the_learner_none(tmp_path):
    done = Commands(tmp_path, DRAWER).run("local", "--exp_name=both", "--online_steps=150", "--actors=1", TEACHER, timeout=400)
    assert done.returncode == 0, done.stderr
    assert any(record.get("actor/intervention_rate", 0) > 0 for record in read(tmp_path / "both"))


def collect(*arguments, timeout=200):
    line = [sys.executable, "-m", "warmloop.launch.collect", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=timeout)


@pytest.mark.long
def test_a_teacher_takes_over_while_episodes_are_collected(tmp_path):
    out = tmp_path / "taught.npz"
    settings = ("--env=Meta-World/reach-v3", "--policy=random", "--episodes=3", "--horizon=150", f"--out={out}")
    done = collect(*settings, "--intervention=teacher:patience=5,hold=10", "--workers=2")
    assert done.returncode == 0, done.stderr
    episodes = load_episodes(out)
    flags = np.concatenate([episode.steps.intervened for episode in episodes])
    source = np.concatenate([episode.steps.source for episode in episodes])
    assert 0.3 < flags.mean() < 1 and (flags == (source == Source.INTERVENTION)).all()
    assert all(episode.succeeded for episode in episodes)
    assert f"{flags.mean():.0%} of the steps" in done.stdout and "interventions" in done.stdout


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--policy=none",), "With --policy=none nobody acts"),
        (("--policy=none", "--intervention=teacher:policy=random"), "With --policy=none nobody acts"),
        (("--policy=none", "--intervention=keyboard", "--workers=2"), "a person can take over one worker, and there would be 2"),
        (("--intervention=teecher",), "did you mean teacher?"),
    ],
)
def test_a_mistake_in_collecting_is_a_sentence(tmp_path, arguments, says):
    assert says in sentence(collect("--env=Pendulum-v1", "--policy=random", f"--out={tmp_path / 'x.npz'}", *arguments))


@pytest.mark.long
def test_a_person_records_demonstrations_and_discards_and_repeats_some(tmp_path):
    """The whole command under a real X server: three episodes are wanted; one is discarded, one is begun again."""
    out = tmp_path / "person.npz"
    line = [sys.executable, "-m", "warmloop.launch.collect", "--env=Pendulum-v1", "--policy=none", "--episodes=2", "--horizon=100000"]
    hand = ["--intervention=keyboard:rate=200", "--success=operator", f"--out={out}"]
    with virtual_display() as display:
        keys = Keys(display)
        with subprocess.Popen([*line, *hand], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout is not None
            while "record again" not in process.stdout.readline():
                assert process.poll() is None
            time.sleep(1.0)
            for word in ("Delete", "r", "Return", "BackSpace"):
                keys.press("Up")
                time.sleep(0.3)
                keys.release("Up")
                time.sleep(0.2)
                keys.tap(word)
                time.sleep(0.3)
            said, _ = process.communicate(timeout=60)
        keys.close()
    assert process.returncode == 0, said
    won, lost = load_episodes(out)
    assert won.succeeded and not lost.succeeded and won.success is not None and won.success[-1] and lost.steps.truncated[-1]
    for episode in (won, lost):
        moved = episode.steps.intervened
        assert 0.1 < moved.mean() < 0.9 and (episode.steps.action[moved] == 1).all() and (episode.steps.action[~moved] == 0).all()
    assert "success      1 of 2 attempted" in said and "interventions 2," in said
    with np.load(out) as archive:
        assert '"attempts": [1, 2]' in str(archive["metadata"])

"""inspect_data on data sets, and on what a learner's quarantine really wrote."""

import json
import subprocess
import sys

import gymnasium as gym
import lab_environment
import numpy as np
import pytest
from planted import DEFECTS, clean_arrays
from recorded import episode
from runs import sentence

from warmloop.data.action_limits import ActionLimits
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.data.sources.sources import mark, recorded_metadata
from warmloop.data.transition import Leaf, Spec, example
from warmloop.launch.flags.common import check_outputs
from warmloop.launch.run.compared_environment import find_reference
from warmloop.learner.journal.quarantine import Quarantine, faults

ROWS = example(Spec((Leaf("", (3,), "float32"),), 2), 4)


@pytest.fixture
def folder(tmp_path):
    rows = ROWS.replace(
        observation=np.array([[0, 0, 0], [0, np.nan, np.inf], [0, 0, 0], [1, 1, 1]], np.float32),
        action=np.array([[0, 0], [0, 0], [0, -1.5], [0, 0]], np.float32),
        episode=np.full(4, 7, np.int32),
        step=np.arange(4, dtype=np.int32),
    )
    Quarantine(tmp_path / "quarantine").keep("robot-a", np.arange(40, 44), rows, faults(rows))
    return tmp_path / "quarantine"


def inspect(*arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "warmloop.launch.inspect_data", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


@pytest.mark.long
def test_quarantined_rows_are_shown_with_their_place_reason_and_values(folder):
    done = inspect(folder)
    assert done.returncode == 1, done.stderr
    assert "robot-a" in done.stdout
    assert "row 41, episode 7, step 1: observation is not finite: observation[1] = nan, observation[2] = inf" in done.stdout
    assert "row 42, episode 7, step 2: action is outside [-1, 1]: action[1] = -1.5" in done.stdout


@pytest.mark.long
def test_json_has_one_object_for_each_row(folder):
    rows = [json.loads(line) for line in inspect(folder, "--json").stdout.splitlines()]
    assert [(row["number"], row["reason"]) for row in rows] == [(41, "observation is not finite"), (42, "action is outside [-1, 1]")]


@pytest.mark.long
def test_an_empty_quarantine_is_no_failure(tmp_path):
    (tmp_path / "quarantine").mkdir()
    done = inspect(tmp_path / "quarantine")
    assert (done.returncode, done.stdout) == (0, "no rows are in quarantine\n")


@pytest.mark.long
@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_folder_without_a_data_set_is_refused(tmp_path, flags):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("none")
    for name in ("empty", "other"):
        done = inspect(tmp_path / name, *flags)
        assert f"{name} is a directory without a data set" in sentence(done) and done.stdout == ""


def test_without_a_name_it_says_what_to_name():
    assert "quarantine" in sentence(inspect())


@pytest.mark.long
def test_what_is_not_there_is_refused_by_one_sentence(tmp_path):
    assert "does not exist" in sentence(inspect(tmp_path / "absent.npz"))


@pytest.mark.long
def test_a_quarantine_and_a_data_set_together_are_refused(folder, tmp_path):
    assert "one after the other" in sentence(inspect(folder, save(tmp_path / "data.npz")))


@pytest.mark.long
@pytest.mark.parametrize(("name", "says"), [("other.npz", "the file has no `actions`"), ("text.npz", "is not an .npz archive")])
def test_a_file_that_no_reader_takes_breaks_training(tmp_path, name, says):
    np.savez(tmp_path / "other.npz", observations=np.zeros(3))
    (tmp_path / "text.npz").write_text("not an archive")
    done = inspect(tmp_path / name)
    assert done.returncode == 1 and says in " ".join(done.stdout.split()), done.stdout + done.stderr


def save(path, *defects, **extra):
    arrays = clean_arrays()
    for name in defects:
        DEFECTS[name].plant(arrays)
    np.savez(path, **arrays, **extra)
    return path


@pytest.mark.long
def test_clean_data_ends_with_exit_code_0_and_says_so(tmp_path):
    done = inspect(save(tmp_path / "data.npz"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "The checks found nothing wrong." in done.stdout


@pytest.mark.long
def test_harm_alone_is_no_failure_and_a_break_is(tmp_path):
    assert inspect(save(tmp_path / "data.npz", "an episode twice")).returncode == 0
    done = inspect(save(tmp_path / "data.npz", "a terminal step inside"), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"][0]["check"] == "terminal inside an episode"


@pytest.mark.long
def test_the_page_and_the_repaired_copy_are_written_and_every_change_is_said(tmp_path):
    data = save(tmp_path / "data.npz", "NaN in an observation", "an episode twice", "a dead sensor")
    before = data.read_bytes()
    done = inspect(data, f"--html={tmp_path / 'report.html'}", f"--fix={tmp_path / 'fixed.npz'}")
    assert done.returncode == 1 and data.read_bytes() == before
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert "fixed.npz: 12 episodes, 2 changes" in done.stdout
    assert "data.npz, episode 3: cut before step 16" in done.stdout and "data.npz, episode 12: dropped" in done.stdout
    assert "for you to decide: constant columns" in done.stdout
    assert len(load_episodes(tmp_path / "fixed.npz")) == 12
    with np.load(tmp_path / "fixed.npz") as file:
        assert len(json.loads(str(file["metadata"]))["changes"]) == 2


@pytest.mark.long
def test_the_original_is_never_replaced_by_its_repaired_copy(tmp_path):
    data = save(tmp_path / "data.npz", "an episode twice")
    before = data.read_bytes()
    assert "never changed" in sentence(inspect(data, f"--fix={data}", "--overwrite"))
    assert "--overwrite" in sentence(inspect(data, f"--fix={data}"))
    assert data.read_bytes() == before


def test_data_is_compared_with_the_environment_it_names(demos, tmp_path):
    done = inspect(demos, "--env=Pendulum-v1")
    assert done.returncode == 0 and "compared with  Pendulum-v1" in done.stdout, done.stdout + done.stderr
    other = inspect(save(tmp_path / "data.npz", metadata=json.dumps({"env_id": "Pendulum-v1"})))
    assert other.returncode == 1 and "compared with  Pendulum-v1, which the files name" in other.stdout
    assert "has 1 action dimensions and the data 3" in " ".join(other.stdout.split())


def test_data_is_compared_with_the_environment_of_a_configuration_as_it_is_wrapped(tmp_path, monkeypatch):
    lines = ("from warmloop.actor.environment import EnvironmentConfig", "from warmloop.configs.schema import RunConfig", "", "")
    body = 'def get_config():\n    return RunConfig(EnvironmentConfig("Pendulum-v1", horizon=50, wrappers=("my_wrapping:halved",)))\n'
    (tmp_path / "my.py").write_text("\n".join(lines) + body)
    (tmp_path / "my_wrapping.py").write_text(
        "import gymnasium as gym\n\nhalf = gym.spaces.Box(-1, 1, (2,))\n\n\ndef halved(env):\n"
        "    return gym.wrappers.TransformObservation(env, lambda observation: observation[:2], half)\n"
    )
    reference, said = find_reference(f"{tmp_path}/my.py", [])
    assert reference is not None and reference.horizon == 50 and reference.spec.observation[0].shape == (2,)
    assert said == f"Pendulum-v1, as {tmp_path}/my.py has it"
    with pytest.raises(WarmloopError, match="has several tasks; name the environment of one: Meta-World/door-open-v3, "):
        find_reference("configs/metaworld.py:mt3", [])


def test_a_file_s_word_imports_no_module(tmp_path):
    data = save(tmp_path / "data.npz", metadata=json.dumps({"env_id": "antigravity:Env-v0"}))
    reference, said = find_reference("auto", [str(data)])
    assert reference is None and "antigravity:Env-v0" in said and "antigravity" not in sys.modules


def test_a_robot_is_not_moved_to_inspect_data(monkeypatch):
    def moved(*_):
        raise AssertionError("it was moved")

    for name in ("reset", "step"):
        monkeypatch.setattr(lab_environment.Reach, name, moved)
    monkeypatch.setitem(
        gym.registry, "Lab/Robot-v0", gym.envs.registration.EnvSpec("Lab/Robot-v0", lab_environment.Reach, max_episode_steps=9)
    )
    reference, _ = find_reference("lab_environment:Lab/Robot-v0", [])
    assert reference is not None and reference.horizon == 9 and reference.rewards is None


@pytest.mark.long
def test_the_reward_s_sign_of_the_human_demonstrations_is_found(shared_data):
    pytest.importorskip("gymnasium_robotics", reason="the Adroit environments are not installed")
    done = inspect(shared_data / "door-human.npz", "--json")
    assert [finding["check"] for finding in json.loads(done.stdout)["findings"]] == ["reward against the environment"]
    replayed = inspect(shared_data / "door-human-replay.npz", "--json")
    assert json.loads(replayed.stdout)["findings"] == []


@pytest.mark.long
def test_a_bad_episode_is_left_out_by_a_flag_and_arrays_that_are_not_read_are_told(tmp_path):
    arrays = clean_arrays()
    arrays["rewards"][70] = np.nan
    arrays |= {"dones": arrays.pop("timeouts"), "qpos": np.zeros((len(arrays["rewards"]), 2))}
    del arrays["terminals"], arrays["episode_ids"]
    np.savez(tmp_path / "demos.npz", **arrays)
    asked = inspect(tmp_path / "demos.npz", "--env=none")
    assert asked.returncode == 1 and "dones=terminal or dones=time_limit" in " ".join(asked.stdout.split())
    shown = inspect(tmp_path / "demos.npz", "--env=none", "--dones=time_limit")
    assert shown.returncode == 1 and "not read       `qpos`" in shown.stdout
    skipped = inspect(tmp_path / "demos.npz", "--env=none", "--dones=time_limit", "--skip_bad_episodes", "--json")
    said = json.loads(skipped.stdout)
    assert skipped.returncode == 0 and said["summary"]["episodes"] == 11
    assert [(f["check"], f["episode"]) for f in said["findings"] if f["severity"] == "note"] == [("unreadable episode", 1)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("train_offline_warmup", "--offline_data_path=demos.npz", "--warmup_steps=1"),
        ("train_rlpd", "--demo_path=demos.npz", "--online_steps=1"),
    ],
    ids=["warm-up", "fine-tuning"],
)
def test_training_leaves_bad_episodes_out_by_the_same_flag_but_never_all(tmp_path, command):
    arrays = {"observations": np.zeros((8, 3), np.float32), "actions": np.zeros((8, 1)), "rewards": np.full(8, np.nan)}
    np.savez(tmp_path / "demos.npz", **arrays, dones=np.arange(8) % 4 == 3)
    whole = [sys.executable, "-m", f"warmloop.launch.{command[0]}", "--exp_name=a", "--config=configs/classic.py:pendulum", *command[1:]]

    def run(*flags):
        return sentence(subprocess.run([*whole, *flags], capture_output=True, text=True, timeout=180, cwd=tmp_path))

    if command[0] == "train_offline_warmup":
        assert "`dones` mark where its episodes end" in run()
        assert "episode 0, step 0: `rewards` holds nan" in run("--dones=time_limit")
    assert "all of its episodes are bad" in run("--dones=time_limit", "--skip_bad_episodes")


def test_outputs_of_inspect_data_take_no_inputs_place_nor_each_others(tmp_path):
    original, other = tmp_path / "a.npz", tmp_path / "b.npz"
    np.savez(original, a=np.zeros(1))
    (tmp_path / "link.html").symlink_to(original)
    for outputs, said in (
        ({"--html": original}, "is the original"),
        ({"--html": None, "--fix": original}, "is the original"),
        ({"--html": tmp_path / "link.html"}, "is the original"),
        ({"--html": other, "--fix": other}, "is the file of --html as well"),
        ({"--html": tmp_path}, "is a folder"),
    ):
        with pytest.raises(WarmloopError, match=said):
            check_outputs([f"demos={original}"], outputs)
    check_outputs([str(original)], {"--html": tmp_path / "c.html", "--fix": other})


@pytest.mark.long
def test_a_repaired_copy_keeps_what_its_actions_limits_and_its_environment_are(tmp_path):
    said = mark(ActionLimits([-0.1, -0.2], [0.1, 0.2])) | {"environment": "Arm-v0"}
    write_episodes(tmp_path / "a.npz", [episode(5)], said)
    done = inspect(tmp_path / "a.npz", f"--fix={tmp_path / 'fixed.npz'}", "--env=none")
    assert recorded_metadata([str(tmp_path / "fixed.npz")]) == said, done.stderr

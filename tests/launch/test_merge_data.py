"""merge_data as a user runs it."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from recorded import assert_identical, assert_same_experience, episode
from runs import sentence

from warmloop.data.action_limits import ActionLimits
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.data.sources.base_labels import LABELLED_BY
from warmloop.data.sources.sources import mark, recorded_metadata


def merge(*arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "warmloop.launch.merge_data", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


@pytest.fixture
def files(tmp_path):
    for name, numbers in (("monday", (0, 1)), ("tuesday", (1, 2, 3))):
        write_episodes(tmp_path / f"{name}.npz", [episode(5, n, success=np.arange(5) > n) for n in numbers])
    return tmp_path / "monday.npz", tmp_path / "tuesday.npz"


@pytest.mark.long
def test_a_set_grows_by_what_is_new_and_is_a_data_set_for_every_command(tmp_path, files):
    first = merge(f"--into={tmp_path / 'set'}", files[0])
    assert first.returncode == 0, first.stderr
    assert f"{files[0]}: 2 new episodes of 2" in first.stdout
    second = merge(f"--into={tmp_path / 'set'}", *files)
    assert f"{files[0]}: known already" in second.stdout
    assert f"{files[1]}: 2 new episodes of 3" in second.stdout
    assert f"4        20           in {tmp_path / 'set'}" in second.stdout
    inspected = subprocess.run(
        [sys.executable, "-m", "warmloop.launch.inspect_data", tmp_path / "set", "--json", "--env=none"],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert json.loads(inspected.stdout)["summary"]["episodes"] == 4


def test_a_set_is_shown_without_being_changed(tmp_path, files):
    merge(f"--into={tmp_path / 'set'}", f"random={files[0]}")
    before = (tmp_path / "set" / "manifest.json").read_bytes()
    shown = merge(f"--into={tmp_path / 'set'}")
    assert shown.returncode == 0 and "random" in shown.stdout and "monday.npz" in shown.stdout
    assert (tmp_path / "set" / "manifest.json").read_bytes() == before


@pytest.mark.long
def test_files_are_converted_into_one_of_another_format(tmp_path, files):
    done = merge(f"--out={tmp_path / 'all.pkl'}", *files)
    assert done.returncode == 0, done.stderr
    assert "5 episodes, 25 steps" in done.stdout
    assert_same_experience([*load_episodes(files[0]), *load_episodes(files[1])], load_episodes(tmp_path / "all.pkl"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Say where the data go"),
        (("--into=a", "--out=b.npz", "c.npz"), "leave one of them out"),
        (("--into=monday.npz", "monday.npz"), "monday.npz is a file, and a set is a folder"),
        (("--out=new.npz",), "Name the data sets to merge"),
        (("--into=set", "nowhere.npz"), "nowhere.npz does not exist"),
        (("--into=nowhere",), "manifest.json does not exist"),
        (("--out=new.txt", "monday.npz"), "names no format that is written"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(tmp_path, files, arguments, says):
    before = sorted(tmp_path.rglob("*"))
    paths = [str(files[0]) if a == "monday.npz" else a.replace("=", f"={tmp_path}/") if a.startswith("--") else a for a in arguments]
    done = merge(*paths)
    assert done.returncode == 2
    assert says in sentence(done)
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name not in ("set", "lock")] == before


@pytest.mark.slow
def test_a_warm_up_takes_new_files_into_its_set_and_learns_from_all_of_it(commands, demos):
    half = {}
    for name, rows in (("monday", slice(0, 2)), ("tuesday", slice(1, 3))):
        half[name] = commands.folder / f"{name}.npz"
        write_episodes(half[name], load_episodes(demos)[rows])
    lines = []
    for name in half:
        arguments = (f"--exp_name={name}", f"--dataset={commands.folder / 'set'}", f"--offline_data_path={half[name]}", "--warmup_steps=1")
        done = commands.run("train_offline_warmup", *arguments)
        assert done.returncode == 0, done.stderr
        lines += [line for line in done.stderr.splitlines() if "new episodes" in line or ("successful" in line and "kept" not in line)]
    assert "2 new episodes of 2" in lines[0] and "1 new episodes of 2" in lines[2]
    assert lines[1].split()[1] == "2" and lines[3].split()[1] == "3"


@pytest.fixture
def one_bad(tmp_path):
    """Demonstrations of which the second has a reward that is not finite, and whose ends are marked by dones alone."""
    rng = np.random.default_rng(0)
    arrays = {"observations": rng.normal(size=(30, 3)), "actions": np.zeros((30, 2)), "rewards": np.arange(30.0)}
    arrays["rewards"][12] = np.nan
    np.savez(tmp_path / "demos.npz", **arrays, dones=np.arange(30) % 10 == 9)
    return tmp_path / "demos.npz"


@pytest.mark.slow
def test_what_dones_mean_and_which_episode_is_bad_are_answered_by_flags(tmp_path, one_bad):
    out = f"--out={tmp_path / 'all.npz'}"
    assert "`dones` mark where its episodes end" in sentence(merge(out, one_bad))
    assert "episode 1, step 2: `rewards` holds nan" in sentence(merge(out, one_bad, "--dones=terminal"))
    done = merge(out, one_bad, "--dones=terminal", "--skip_bad_episodes")
    assert done.returncode == 0 and "2 episodes, 20 steps" in done.stdout
    assert f"{one_bad}, episode 1, is left out: " in done.stderr
    assert all(e.steps.mask[-1] == 0 for e in load_episodes(tmp_path / "all.npz"))
    into = merge(f"--into={tmp_path / 'set'}", one_bad, "--dones=time_limit", "--skip_bad_episodes")
    assert "2 new episodes of 2" in into.stdout and "is left out" in into.stderr


@pytest.mark.long
def test_a_copy_says_what_its_actions_limits_and_its_environment_are(tmp_path):
    limits = mark(ActionLimits([-0.1, -0.2], [0.1, 0.2]))
    one, other = episode(5, number=0), episode(6, number=1)
    write_episodes(tmp_path / "a.npz", [one], limits | {"environment": "Arm-v0", LABELLED_BY: "act-1"})
    write_episodes(tmp_path / "b.npz", [other], limits | {"environment": "Arm-v0", LABELLED_BY: "act-1"})
    write_episodes(tmp_path / "c.npz", [other], limits | {"environment": "Leg-v0", LABELLED_BY: "act-2"})
    paths = [str(tmp_path / name) for name in ("a.npz", "b.npz", "c.npz")]
    assert recorded_metadata(paths[:2]) == limits | {"environment": "Arm-v0", LABELLED_BY: "act-1"}
    assert recorded_metadata(paths) == limits
    done = merge(f"--out={tmp_path / 'both.npz'}", *paths[:2])
    assert recorded_metadata([str(tmp_path / "both.npz")]) == limits | {"environment": "Arm-v0", LABELLED_BY: "act-1"}, done.stderr
    refused = sentence(merge(f"--out={tmp_path / 'both.pkl'}", *paths[:2]))
    assert "-1 and 1 of its actions are" in refused and "which only .npz keeps" in refused


def test_a_copy_in_hil_serl_s_layout_keeps_its_axis_of_past_steps(tmp_path):
    def observe(n):
        return {"state": np.full((1, 3), n, np.float32), "wrist": np.full((1, 4, 5, 3), n, np.uint8)}

    kept = {"actions": np.zeros(2), "rewards": 0.0, "masks": 1.0}
    rows = [kept | {"observations": observe(n), "next_observations": observe(n + 1), "dones": n == 4} for n in range(5)]
    (tmp_path / "theirs.pkl").write_bytes(pickle.dumps(rows))
    done = merge(f"--out={tmp_path / 'x.pkl'}", tmp_path / "theirs.pkl")
    assert done.returncode == 0, done.stderr
    for theirs, ours in zip(rows, pickle.loads((tmp_path / "x.pkl").read_bytes()), strict=True):
        assert_identical([theirs[key] for key in rows[0] if "observations" in key], [ours[key] for key in rows[0] if "observations" in key])

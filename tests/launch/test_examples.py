"""The documentation's examples of one's own algorithm and data format, as a user runs them, with nothing registered."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from blocks import KEY, SPEC, assert_same, block_of, rows_of
from runs import sentence

from warmloop.agents.described import agent_of
from warmloop.data.doors.imports import imported
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import content_of, iterate_episodes, load_episodes
from warmloop.data.formats.recordings.options import ReadOptions
from warmloop.learner.checkpoints import complete_checkpoints

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
SMALL = ("hidden=(16,16)", "batch_size=16", "tau=0.02")
ONLINE = tuple(f"--config.{section}.{setting}" for section in ("agent", "warmup_agent") for setting in SMALL)
SIZES = (*ONLINE, "--config.replay.capacity=5000", "--config.learner.warmup_checkpoints=2", "--config.fqe.steps=10")


@pytest.fixture(autouse=True)
def _examples(monkeypatch):
    for folder in ("own_algorithm", "own_format"):
        monkeypatch.syspath_prepend(EXAMPLES / folder)


def done(cwd: Path, module: str, *arguments: str | Path) -> str:
    line = [sys.executable, "-m", f"warmloop.launch.{module}", *map(str, arguments)]
    ended = subprocess.run(line, capture_output=True, text=True, cwd=cwd, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture
def crr():
    kind = imported("crr:CRR", "")
    return kind(kind.Config(hidden=(16, 16), batch_size=8, utd=2, critic_lr=1e-2, actor_lr=1e-2), SPEC)


def test_the_algorithms_target_is_the_reward_where_the_task_is_over(crr):
    batch = jax.tree.map(lambda leaf: leaf[0], block_of(2, 8))
    state = crr.init(KEY, rows_of(40))
    over = batch.replace(mask=np.zeros(8, np.float32))
    np.testing.assert_array_equal(crr.td_target(state, over), batch.reward)
    assert not np.allclose(crr.td_target(state, batch.replace(mask=np.ones(8, np.float32))), batch.reward)


def test_the_algorithm_copies_the_recorded_actions_that_its_critics_prefer_and_no_others(crr):
    """Rewarded actions, all ends: the critics learn the reward alone, and the policy comes to the better half of the actions."""
    rows = block_of(2, 8)
    best = np.sign(np.asarray(rows.action)[..., 0])
    rows = rows.replace(reward=best.astype(np.float32), mask=np.zeros((2, 8), np.float32))
    update, state = jax.jit(crr.update), crr.init(KEY, rows_of(40))
    state, metrics, td_error = update(state, rows)
    for _ in range(200):
        state, metrics, td_error = update(state, rows)
    assert td_error.shape == (2, 8) and metrics["critic/loss"] < 0.05 and 0 < metrics["actor/copied_share"] < 1
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rows)
    acted = jax.vmap(lambda seen: crr.act(crr.actor_params(state), seen, KEY, (), True)[0])(flat.observation)
    distance = np.abs(np.asarray(acted) - np.asarray(flat.action)).mean(axis=-1)
    assert distance[best.ravel() > 0].mean() < 0.5 * distance[best.ravel() < 0].mean()


@pytest.mark.slow
def test_the_algorithm_is_trained_resumed_judged_exported_and_swept_from_one_file(tmp_path, demos):
    lab, elsewhere = tmp_path / "lab", tmp_path / "elsewhere"
    shutil.copytree(EXAMPLES / "own_algorithm", lab)
    elsewhere.mkdir()
    by_preset = "--config=configs/classic.py:pendulum,crr:CRR"
    by_name = ("--config=configs/classic.py:pendulum", "--config.agent.name=crr:CRR", "--config.warmup_agent.name=crr:CRR")
    told = done(lab, "train_offline_warmup", "--exp_name=own", *by_name, *SIZES, f"--offline_data_path=demos={demos}", "--warmup_steps=20")
    assert "crr:CRR on cpu" in told and "chosen" in told  # FQE compared its two checkpoints
    done(lab, "train_offline_warmup", "--exp_name=own", "--warmup_steps=30", "--resume")
    runs = lab / "runs" / "own"
    fine = (by_preset, *ONLINE, "--config.replay.capacity=5000", f"--checkpoint_path={runs / 'warmup'}")
    done(lab, "train_rlpd", "--exp_name=own", *fine, "--online_steps=60")
    done(lab, "train_rlpd", "--exp_name=own", "--online_steps=80", "--resume")
    newest = complete_checkpoints.newest(runs / "checkpoints")
    assert newest.updates == 30 + 80 and newest.meta["agent"]["name"] == "crr:CRR" and newest.meta["agent"]["config"]["tau"] == 0.02
    # From any folder, by the checkpoint alone.
    shown = json.loads(done(elsewhere, "evaluate", f"--checkpoint={runs / 'checkpoints'}", "--episodes=1", "--json").splitlines()[0])
    assert -2000 < shown["mean_return"] < 0
    assert "policy.py" in done(elsewhere, "export", f"--checkpoint={runs / 'checkpoints'}", "--out=policy")
    sizes = ("--warmup_steps=10", "--seeds=2", "--eval_n_trajs=1", "--set=warmup_agent.hidden=(16,16)", "--set=warmup_agent.utd=1")
    swept = done(lab, "sweep", "--config=configs/classic.py:pendulum", "--algorithms=crr:CRR,bc", f"--offline_data_path={demos}",
                 "--out=swept", *sizes)  # fmt: skip
    assert "crr:CRR" in swept and len((lab / "swept" / "results.jsonl").read_text().splitlines()) == 4
    # Where the file is gone, so is the agent.
    (lab / "crr.py").unlink()
    line = [sys.executable, "-m", "warmloop.launch.evaluate", f"--checkpoint={runs / 'checkpoints'}"]
    said = sentence(subprocess.run(line, capture_output=True, text=True, cwd=elsewhere, timeout=200))
    assert 'agent.name=crr:CRR: there is no module "crr" among' in said and str(lab) in said


def test_a_checkpoint_finds_the_algorithm_in_the_folder_where_its_run_was_started(crr, tmp_path, monkeypatch):
    from warmloop.agents.described import describe_agent

    (tmp_path / "crr_moved.py").write_text((EXAMPLES / "own_algorithm" / "crr.py").read_text())
    described = describe_agent(crr) | {"name": "crr_moved:CRR"}
    with pytest.raises(WarmloopError, match='there is no module "crr_moved" among'):
        agent_of({"agent": described})
    found = agent_of({"agent": described, "import_folders": [str(tmp_path), str(tmp_path / "gone")]})
    assert found.config.tau == crr.config.tau and type(found).__module__ == "crr_moved"


# The format.

LOG = """session cube 1
0.00 | 1.0 0.0 0.1 | 0.5 | -0.3
0.05 | 0.9 0.1 0.2 | 0.1 | -0.4
end 0.8 0.2 0.3 cut

session cube 2
0.00 | 0.5 0.5 0.1 | -0.5 | -1.0
session cube 3
0.00 | 0.5 0.5 0.1 | -0.5 | -1.0
0.05 | 0.6 0.5 0.1 | 0.25 | 0.0
0.10 | 0.7 0.4 0.1 | 1.0 | 1.0
end 0.9 0.2 0.0 solved
"""


@pytest.fixture
def recorded(tmp_path) -> Path:
    (tmp_path / "day1.log").write_text(LOG)
    return tmp_path / "day1.log"


def test_the_format_is_read_as_its_description_says(recorded):
    cut, solved = load_episodes(f"teach_log:read:{recorded}")
    assert [len(cut), len(solved), cut.task] == [2, 3, "cube"]
    np.testing.assert_allclose(cut.steps.next_observation, [[0.9, 0.1, 0.2], [0.8, 0.2, 0.3]], rtol=1e-6)
    np.testing.assert_allclose(solved.steps.action[:, 0], [-0.5, 0.25, 1.0])
    assert list(cut.steps.mask) == [1, 1] and list(solved.steps.mask) == [1, 1, 0]
    assert list(solved.outcome.success) == [False, False, True] and not np.any(cut.outcome.success)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("0.1 | -0.4", "7.0 | -0.4"), r"day1.log, episode 0: `actions` run from -0.5 to 7; rescale"),
        (("0.9 0.1 0.2 |", "0.9 0.1 |"), r"asked for episode 0, failed: ValueError.*teach_log.py, line \d+"),
        (("| -0.4", "| nan"), r"day1.log, episode 0, step 1.*reward"),
    ],
)
def test_what_is_wrong_in_a_format_of_ones_own_is_told_as_of_any_other(recorded, change, says):
    recorded.write_text(LOG.replace(*change))
    with pytest.raises(WarmloopError, match=says):
        load_episodes(f"teach_log:read:{recorded}")


READER = """
import numpy as np

def one(**arrays):
    return {"observations": np.zeros((2, 3)), "actions": np.zeros((2, 1)), "rewards": np.zeros(2), "success": False, **arrays}

def misnamed(path):
    yield one(reward=np.zeros(2))

def lacking(path):
    yield {"observations": np.zeros((2, 3)), "actions": np.zeros((2, 1))}

def a_list(path):
    yield [1, 2]

def ragged(path):
    yield one(observations=[[1.0, 2.0], [1.0]])

def short(path):
    yield one()
    yield one(rewards=np.zeros(1))

def leaves(path):
    pictures = np.zeros((3, 8, 9, 3), np.uint8)
    yield one(observations={"arm": np.zeros((3, 2)), "front": pictures})
"""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("misnamed", 'episode 0: there is no array "reward"; did you mean rewards'),
        ("lacking", "episode 0.*`rewards`"),
        ("a_list", r"episode 0: the reader gave \[1, 2\]; a dict of arrays is needed"),
        ("ragged", "episode 0: `observations` has rows that differ in length"),
        ("short", "episode 1: `rewards` has 1 rows and `actions` has 2"),
    ],
)
def test_a_reader_that_gives_no_episode_is_a_sentence_and_others_may_be_kept(tmp_path, monkeypatch, recorded, name, says):
    (tmp_path / "own_reader.py").write_text(READER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_reader", raising=False)
    with pytest.raises(WarmloopError, match=says):
        load_episodes(f"own_reader:{name}:{recorded}")
    if name == "short":
        bad = []
        assert len(list(iterate_episodes(f"own_reader:short:{recorded}", options=ReadOptions(on_bad=bad.append)))) == 1
        assert [one.number for one in bad] == [1]


def test_a_dict_of_observations_keeps_its_leaves_and_a_change_of_the_reader_is_another_content(tmp_path, monkeypatch, recorded):
    (tmp_path / "own_reader.py").write_text(READER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_reader", raising=False)
    (episode,) = load_episodes(f"own_reader:leaves:{recorded}")
    assert {name: leaf.shape for name, leaf in episode.steps.observation.items()} == {"arm": (2, 2), "front": (2, 8, 9, 3)}
    before = content_of(f"own_reader:leaves:{recorded}")
    (tmp_path / "own_reader.py").write_text(f"{READER}\n# mended")
    assert content_of(f"own_reader:leaves:{recorded}") != before != content_of(f"own_reader:short:{recorded}")


@pytest.mark.long
def test_the_format_is_inspected_converted_and_trained_on_by_the_commands(tmp_path, demos):
    shutil.copytree(EXAMPLES / "own_format", tmp_path, dirs_exist_ok=True)
    (tmp_path / "pendulum.log").write_text("".join(session(episode) for episode in load_episodes(demos)))
    named = "teach_log:read:pendulum.log"
    shown = subprocess.run([sys.executable, "-m", "warmloop.launch.inspect_data", named], capture_output=True, text=True, cwd=tmp_path)
    assert shown.returncode in (0, 1) and "600" in shown.stdout and "pendulum.log" in shown.stdout, shown.stderr
    done(tmp_path, "merge_data", named, "--out=converted.npz")
    assert_same(
        load_episodes(tmp_path / "converted.npz")[1].steps.action,
        load_episodes(f"teach_log:read:{tmp_path / 'pendulum.log'}")[1].steps.action,
    )
    line = ("--exp_name=own", "--config=configs/classic.py:pendulum,bc", "--config.warmup_agent.hidden=(16,16)", "--warmup_steps=4",
            "--config.learner.warmup_checkpoints=1")  # fmt: skip
    assert "600 steps" in done(tmp_path, "train_offline_warmup", *line, f"--offline_data_path=demos={named}")


def session(episode) -> str:
    """An episode as the pendant logs it."""

    def numbers(values) -> str:
        return " ".join(map(str, np.atleast_1d(values).tolist()))

    steps = episode.steps
    rows = zip(steps.observation, steps.action, episode.outcome.reward, strict=True)
    lines = [f"{0.05 * row:.2f} | {numbers(seen)} | {numbers(action)} | {reward}" for row, (seen, action, reward) in enumerate(rows)]
    return "\n".join(["session pendulum 1", *lines, f"end {numbers(steps.next_observation[-1])} cut", ""])


def test_a_reader_of_ones_own_gets_its_file_whatever_the_ending_says(tmp_path, recorded):
    for name in ("day1.npz", "day1.pkl", "day1.hdf5"):
        (tmp_path / name).write_text(LOG)
        assert len(load_episodes(f"teach_log:read:{tmp_path / name}")) == 2

"""One rule says which recorded steps succeeded, whatever the format; where it cannot, one question with the flag that answers it."""

import json
import pickle

import h5py
import numpy as np
import pytest
from data_cases import main as make_cases
from recorded import episode

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes, read_pieces, write_episodes
from warmloop.data.inspection import inspect
from warmloop.data.outcome import told
from warmloop.data.reward import RewardConfig, apply_reward
from warmloop.data.sources.merge import merge
from warmloop.data.sources.sources import DataConfig, SourceConfig, load
from warmloop.data.transition import Source

LENGTH = 8
WON = (5, None, 7, None)  # of four episodes, the step from which on each is paid; the first goes on after it


def paid(won=WON, low=0.0, high=1.0):
    """Rewards `[E, LENGTH]`: `high` from the step in `won` on."""
    rewards = np.full((len(won), LENGTH), low, np.float32)
    for row, first in zip(rewards, won, strict=True):
        if first is not None:
            row[first:] = high
    return rewards


def arrays(rewards):
    rng, (count, length) = np.random.default_rng(0), rewards.shape
    path = rng.normal(size=(count, length + 1, 3)).astype(np.float32)
    last = np.tile(np.arange(length) == length - 1, (count, 1))
    flat = {"observations": path[:, :-1], "next_observations": path[:, 1:], "timeouts": last}
    flat["actions"] = rng.uniform(-1, 1, (count, length, 2))
    return {name: value.reshape(count * length, *value.shape[2:]) for name, value in flat.items()} | {"rewards": rewards.ravel()}


def npz(path, rewards):
    np.savez(path, **arrays(rewards))
    return path


def d4rl(path, rewards):
    with h5py.File(path, "w") as file:
        for name, value in (arrays(rewards) | {"terminals": np.zeros(rewards.size, bool)}).items():
            file[name] = value
    return path


def robomimic(path, rewards):
    with h5py.File(path, "w") as file:
        rows = {name: value.reshape(*rewards.shape, *value.shape[1:]) for name, value in arrays(rewards).items()}
        for number in range(len(rewards)):
            demo = file.create_group(f"data/demo_{number}")
            demo["obs/state"], demo["next_obs/state"] = rows["observations"][number], rows["next_observations"][number]
            demo["actions"], demo["rewards"], demo["dones"] = rows["actions"][number], rewards[number], np.zeros(LENGTH, bool)
    return path


def hilserl(path, rewards):
    flat = arrays(rewards)
    keys = ("observations", "next_observations", "actions", "rewards")
    rows = [{key: flat[key][n] for key in keys} | {"masks": 1.0, "dones": bool(flat["timeouts"][n])} for n in range(rewards.size)]
    path.write_bytes(pickle.dumps(rows))
    return path


def dapg(path, rewards):
    rows = {name: value.reshape(*rewards.shape, *value.shape[1:]) for name, value in arrays(rewards).items()}
    keys = ("observations", "actions", "rewards")
    path.write_bytes(pickle.dumps([{key: rows[key][n] for key in keys} | {"env_infos": {}} for n in range(len(rewards))]))
    return path


def d3rlpy(path, rewards):
    rows = {name: value.reshape(*rewards.shape, *value.shape[1:]) for name, value in arrays(rewards).items()}
    with h5py.File(path, "w") as file:
        file["num_episodes"], file["columns"] = len(rewards), np.array([b"observations"])
        for n in range(len(rewards)):
            file[f"observations_{n}"], file[f"actions_{n}"] = rows["observations"][n], rows["actions"][n]
            file[f"rewards_{n}"], file[f"terminated_{n}"] = rewards[n][:, None], np.array(0)
    return path


FORMATS = {"npz": npz, "hdf5": d4rl, "robomimic.hdf5": robomimic, "pkl": hilserl, "dapg.pkl": dapg, "d3rlpy.h5": d3rlpy}


@pytest.fixture(params=FORMATS)
def saved(request, tmp_path):
    """`saved(rewards)`: a file of them in each format; and the format's name."""
    return lambda rewards: FORMATS[request.param](tmp_path / f"file.{request.param}", rewards), request.param


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    out = tmp_path_factory.mktemp("cases")
    make_cases(out)
    return out, json.loads((out / "truth.json").read_text())


@pytest.mark.parametrize("name", ["antmaze_like.hdf5", "sparse_without_flag.pkl"])
def test_the_shared_cases_have_their_episodes_and_successes(cases, name):
    out, truth = cases
    episodes = load_episodes(out / name)
    assert (len(episodes), sum(e.succeeded for e in episodes)) == (truth[name]["episodes"], truth[name]["successful"])
    summary = inspect(out / name).summary
    assert (summary.episodes, summary.successes) == (len(episodes), truth[name]["successful"])


def test_rewards_of_zero_and_one_mean_success_alike_in_every_format(saved):
    save, _ = saved
    episodes = load_episodes(save(paid()))
    for e, first in zip(episodes, WON, strict=True):
        expected = np.zeros(LENGTH, bool) if first is None else np.arange(LENGTH) >= first
        assert e.outcome.success is not None and e.outcome.success[: len(e)].tolist() == expected[: len(e)].tolist()
    assert [e.succeeded for e in episodes] == [True, False, True, False]


def test_steps_recorded_after_success_are_left_out_alike_and_told_alike(saved):
    save, _ = saved
    path = save(paid((5, 2, None, None)))
    episodes = load_episodes(path)
    learnt = [apply_reward(e, RewardConfig()) for e in episodes]
    assert [len(e) for e in learnt[:2]] == [6, 3] and [e.steps.mask[-1] for e in learnt[:2]] == [0, 0]
    summary = inspect(path).summary
    assert summary.steps_after_success == sum(len(e) for e in episodes[:2]) - 9
    assert summary.success_definition.startswith("a step with reward>=1")


@pytest.mark.parametrize("low", [-1.0, 0.3])
def test_rewards_that_do_not_tell_success_lead_to_one_question_and_its_answer_is_taken(saved, low):
    save, _ = saved
    path = save(paid((5, None, 2, None), low=low, high=0.0 if low < 0 else 0.9))
    assert all(e.success is None for e in load_episodes(path))
    rule = "reward>=0" if low < 0 else "reward>=0.9"
    with pytest.raises(WarmloopError, match=rf"no success signal .* --config\.data\.success, as {rule}, end .* never"):
        apply_reward(load_episodes(path)[0], RewardConfig())
    answered = load(DataConfig((SourceConfig(str(path)),), success=rule), None, None).episodes
    assert [e.succeeded for e in answered] == [True, False, True, False]
    assert inspect(path, success=rule).summary.successes == 2


@pytest.mark.parametrize(("rule", "expected"), [("end", [True] * 4), ("never", [False] * 4), ("terminated", [False] * 4)])
def test_other_answers_are_the_last_step_the_terminal_ones_and_none(tmp_path, rule, expected):
    episodes = load_episodes(npz(tmp_path / "file.npz", paid(low=-1, high=0)), success=rule)
    assert [e.succeeded for e in episodes] == expected
    assert all(e.success is not None and e.success.sum() == (rule == "end") for e in episodes)


def without_next(path, rewards):
    np.savez(path, **{name: values for name, values in arrays(rewards).items() if name != "next_observations"})
    return path


def test_the_last_step_that_succeeds_is_one_that_is_learnt_from(tmp_path):
    """A reader drops a last step of which nothing says what was observed after it."""
    episodes = load_episodes(without_next(tmp_path / "file.npz", paid(low=-1, high=-1)), success="end")
    for learnt in (apply_reward(e, RewardConfig()) for e in episodes):
        assert learnt.steps.reward.tolist() == [0] * (LENGTH - 2) + [1]
        assert learnt.steps.mask[-1] == 0 and not learnt.steps.truncated[-1] and learnt.steps.mc_return[-1] == 1


@pytest.mark.parametrize("kind", [None, Source.SUBOPTIMAL])
def test_a_success_on_a_step_that_is_dropped_is_a_success_and_told_as_not_learnt_from(tmp_path, kind, caplog):
    path = without_next(tmp_path / "file.npz", paid((LENGTH - 1, None, LENGTH - 1, None)))
    assert [e.succeeded for e in load_episodes(path, kind)] == [True, False, True, False]
    assert "2 episodes succeed on their last step alone" in caplog.text and "not learnt from" in caplog.text
    caplog.clear()
    load_episodes(without_next(tmp_path / "file.npz", paid((LENGTH - 2, None))), kind)
    assert "not learnt from" not in caplog.text


def test_an_answer_of_one_source_goes_before_that_of_all_and_a_recorded_flag_before_both(tmp_path):
    path = npz(tmp_path / "file.npz", paid(low=-1, high=0))
    write_episodes(tmp_path / "flagged.npz", [episode(4, success=[0, 0, 1, 0])])
    config = DataConfig((SourceConfig(str(path), success="end"), SourceConfig(str(path))), success="never")
    assert [e.succeeded for e in load(config, None, None).episodes] == [True] * 4 + [False] * 4
    (flagged,) = load(DataConfig((SourceConfig(str(tmp_path / "flagged.npz")),), success="end"), None, None).episodes
    assert flagged.success is not None and flagged.success.tolist() == [False, False, True, False]


@pytest.mark.parametrize("rule", ["reward>1", "reward>=high", "last", "reward>=nan"])
def test_an_answer_that_is_none_is_refused_with_those_that_are(tmp_path, rule):
    for make in (lambda: DataConfig(success=rule), lambda: SourceConfig("a.npz", success=rule)):
        with pytest.raises(WarmloopError, match=r'is "reward|is "last') as caught:
            make()
        assert "reward>=NUMBER, end, terminated or never" in str(caught.value)


def test_a_reward_for_staying_alive_is_no_success(tmp_path):
    alive = np.ones((4, LENGTH), np.float32)
    assert all(e.success is None for e in load_episodes(npz(tmp_path / "pole.npz", alive)))
    alive[:, -1] = 0
    assert all(e.success is None for e in load_episodes(npz(tmp_path / "pole.npz", alive)))


def test_a_single_step_that_is_paid_is_a_success(tmp_path):
    episodes = load_episodes(npz(tmp_path / "grasps.npz", np.array([[1.0], [0.0], [1.0]], np.float32)))
    assert [e.succeeded for e in episodes] == [True, False, True]


@pytest.mark.parametrize(("kind", "known"), [(None, False), (Source.DEMOS, False), (Source.SUBOPTIMAL, True), (Source.RANDOM, True)])
def test_nothing_paid_at_all_is_failure_of_data_that_are_not_said_to_be_demonstrations(tmp_path, kind, known):
    episodes = load_episodes(npz(tmp_path / "file.npz", paid((None, None))), kind)
    assert [e.success is not None for e in episodes] == [known, known] and not any(e.succeeded for e in episodes)


def test_a_file_whose_first_pieces_are_all_failures_is_read_as_one_whose_first_is_a_success(tmp_path):
    path = npz(tmp_path / "file.npz", paid((None, None, 4, None)))
    (piece,) = read_pieces(path)
    rows = [slice(n * LENGTH, (n + 1) * LENGTH) for n in range(4)]
    singles = [
        type(piece)("file.npz", {k: v[part] for k, v in piece.columns.items() if k != "success"}, np.zeros(1, np.int64)) for part in rows
    ]
    found = list(told(lambda: iter(singles)))
    assert [one.columns["success"].any() for one in found] == [False, False, True, False]
    singles[3].columns["rewards"][2] = 0.5
    with pytest.raises(WarmloopError, match=r"episode 0, step 2: the reward is 0\.5, .* --config\.data\.success"):
        list(told(lambda: iter(singles)))


def test_a_set_keeps_the_success_that_the_rewards_told(tmp_path):
    merge(tmp_path / "set", [str(npz(tmp_path / "file.npz", paid()))])
    episodes = load_episodes(tmp_path / "set")
    assert [e.succeeded for e in episodes] == [True, False, True, False] and all(e.success is not None for e in episodes)

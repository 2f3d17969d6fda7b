"""HIL-SERL's pickles: where episodes end, what counts as success and as an intervention."""

import dataclasses
import gzip
import pickle
import pickletools
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from beside import numpy_1
from hypothesis import given, settings
from recorded import assert_lossless, assert_same_experience, enriched, episode, episode_lists, returns_by_loop

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.data.formats.recordings.options import ReadOptions
from warmloop.data.reward import RewardConfig, apply_reward, estimated_returns


def transition(number, done=False, reward=0.0, jump=0, **changed):
    """Row `number` of a recording as HIL-SERL stores it: an image and a state, each with a history axis of one frame."""

    def observe(n):
        return {"state": np.full((1, 3), n, np.float32), "wrist": np.full((1, 8, 8, 3), n, np.uint8)}

    row = {
        "observations": observe(number),
        "actions": np.full(2, 0.5),
        "next_observations": observe(number + 1 + jump),
        "rewards": reward,
        "masks": 1.0 - done,
        "dones": done,
    } | changed
    return {name: value for name, value in row.items() if value is not None}


def save(path, rows):
    path.write_bytes(pickle.dumps(rows))
    return path


@pytest.fixture
def read(tmp_path):
    return lambda rows: load_episodes(save(tmp_path / "demos.pkl", rows))


@pytest.fixture
def refusal(tmp_path):
    def load(rows):
        with pytest.raises(WarmloopError) as caught:
            load_episodes(save(tmp_path / "demos.pkl", rows))
        assert "demos.pkl" in str(caught.value)
        return str(caught.value)

    return load


@settings(max_examples=40, deadline=None)
@given(episode_lists())
def test_what_is_written_is_read_bit_for_bit(written):
    with tempfile.TemporaryDirectory() as folder:
        for episodes in (written, enriched(written)):
            write_episodes(Path(folder) / "demos.pkl", episodes)
            assert_lossless(episodes, load_episodes(Path(folder) / "demos.pkl"))


def test_nothing_is_guessed_of_a_file_of_our_own(tmp_path):
    """Rewards of 0 and 1, jumps, a done in the middle and arrays of shape [1, D] mean something in other files."""
    one = episode(4, rewards=[0.0, 1, 0, 1], terminated=True)
    jump = one.steps.next_observation.copy()
    jump[1] += 1
    steps = one.steps.replace(observation=one.steps.observation[:, None], next_observation=jump[:, None], mask=np.float32([1, 0, 1, 0]))
    written = [dataclasses.replace(one, steps=steps), dataclasses.replace(one, steps=steps, success=np.array([0, 1, 0, 0], bool))]
    write_episodes(tmp_path / "demos.pkl", written[:1])
    assert_lossless(written[:1], load_episodes(tmp_path / "demos.pkl"))
    write_episodes(tmp_path / "demos.pkl", written)
    assert_lossless(written, load_episodes(tmp_path / "demos.pkl"))


def test_two_files_of_ours_put_together_keep_every_episode(tmp_path):
    for name, number in (("a", 0), ("b", 5)):
        write_episodes(tmp_path / f"{name}.pkl", [episode(3, number)])
    rows = [row for name in "ab" for row in pickle.loads((tmp_path / f"{name}.pkl").read_bytes())]
    assert [(e.number, len(e)) for e in load_episodes(save(tmp_path / "both.pkl", rows))] == [(0, 3), (5, 3)]
    del rows[0]["infos"]["warmloop"]
    assert [(e.number, len(e)) for e in load_episodes(save(tmp_path / "both.pkl", rows))] == [(0, 3), (1, 3)]


def test_a_grasp_penalty_is_kept_with_its_episode(read, tmp_path):
    rows = [transition(n, done=n % 2 == 1, grasp_penalty=-0.02 * n) for n in range(4)]
    episodes = read(rows)
    assert [e.extras["grasp_penalty"].tolist() for e in episodes] == [pytest.approx([0, -0.02]), pytest.approx([-0.04, -0.06])]
    write_episodes(tmp_path / "again.pkl", episodes)
    again = pickle.loads((tmp_path / "again.pkl").read_bytes())
    assert [row["grasp_penalty"] for row in again] == pytest.approx([0, -0.02, -0.04, -0.06])


def test_a_dict_in_a_dict_of_observations_is_named_by_its_path(read):
    def nested(n):
        return {"robot": {"arm": {"joints": np.full((1, 3), n, np.float32)}}, "wrist": np.full((1, 8, 8, 3), n, np.uint8)}

    (e,) = read([transition(n, observations=nested(n), next_observations=nested(n + 1)) for n in range(3)])
    assert {name: leaf.shape for name, leaf in e.steps.observation.items()} == {"robot.arm.joints": (3, 3), "wrist": (3, 8, 8, 3)}
    assert np.array_equal(e.steps.next_observation["robot.arm.joints"][:, 0], [1, 2, 3])


def test_the_written_file_is_hil_serl_s_own_layout(tmp_path):
    write_episodes(tmp_path / "demos.pkl", [episode(3, terminated=True, success=[0, 0, 1], observation="images")])
    with open(tmp_path / "demos.pkl", "rb") as file:
        rows = pickle.load(file)
    assert [row["dones"] for row in rows] == [False, False, True]
    assert [row["masks"] for row in rows] == [1, 1, 0]
    assert [row["infos"]["succeed"] for row in rows] == [False, False, True]
    assert rows[0]["actions"].dtype == np.float32 and rows[0]["observations"]["wrist"].dtype == np.uint8


def test_history_of_one_frame_is_taken_off_states_and_images(read):
    observation = read([transition(0, done=True)])[0].steps.observation
    assert observation["state"].shape == (1, 3)
    assert observation["wrist"].shape == (1, 8, 8, 3)


def test_episodes_end_at_dones_and_where_the_recording_was_cut(read):
    rows = [transition(0), transition(1, done=True), transition(10), transition(11, jump=5), transition(30), transition(31)]
    episodes = read(rows)
    assert [len(e) for e in episodes] == [2, 2, 2]
    assert [e.steps.mask[-1] for e in episodes] == [0, 1, 1]
    assert [e.steps.truncated.tolist() for e in episodes] == [[False, False], [False, True], [False, True]]


def test_done_with_a_mask_of_one_is_a_truncation(read):
    (e,) = read([transition(0), transition(1, done=True, masks=1.0)])
    assert e.steps.truncated.tolist() == [False, True] and e.steps.mask.all()


@pytest.mark.parametrize("absent", ["masks", "dones"])
def test_either_masks_or_dones_is_enough(read, absent):
    episodes = read([transition(n, done=n > 0, **{absent: None}) for n in range(3)])
    assert [len(e) for e in episodes] == [2, 1]
    assert all(e.steps.mask[-1] == 0 for e in episodes)


def test_returns_match_a_plain_loop_over_the_rows(read):
    rng = np.random.default_rng(0)
    rows = [transition(n, done=n % 7 == 6, reward=float(rng.normal())) for n in range(25)]
    config = RewardConfig(signal="environment", terminate_on_success=False, discount=0.9)
    returns = np.concatenate([estimated_returns(apply_reward(e, config), config) for e in read(rows)])
    ends = [row["dones"] or n == 24 for n, row in enumerate(rows)]
    assert np.allclose(returns, returns_by_loop([row["rewards"] for row in rows], ends, 0.9), atol=1e-6)


@pytest.mark.parametrize("flag", ["succeed", "success", "is_success"])
def test_success_is_the_flag_in_the_infos(read, flag):
    infos = [{flag: False}, {flag: np.bool_(True)}, {}, {}]
    first, second = read([transition(n, done=n % 2 == 1, reward=3.0, infos=info) for n, info in enumerate(infos)])
    assert first.success.tolist() == [False, True]
    assert second.success is None, "an episode without a flag says nothing while others have one"


def test_with_rewards_of_zero_and_one_a_reward_is_success_whether_it_terminated_or_not(read):
    rows = [transition(0), transition(1, done=True, masks=1.0, reward=1), transition(2), transition(3, done=True)]
    success, failure = read(rows)
    assert success.success.tolist() == [False, True] and success.steps.mask.tolist() == [1, 1]
    assert failure.success.tolist() == [False, False]


def test_dense_rewards_say_nothing_of_success(read):
    assert read([transition(0, reward=0.3), transition(1, done=True, reward=1)])[0].success is None


def test_the_human_s_rows_are_marked_where_a_policy_acted_too(read):
    rows = [transition(n, infos={"intervene_action": np.ones(2)} if n in (1, 2) else {}) for n in range(4)]
    assert read(rows)[0].steps.intervened.tolist() == [False, True, True, False]
    flagged = [transition(n, infos={"is_intervention": n == 3}) for n in range(4)]
    assert read(flagged)[0].steps.intervened.tolist() == [False, False, False, True]


def test_a_demonstration_is_not_one_long_intervention(read):
    """record_demos sends zeros wherever the human does not move the robot."""
    rows = [transition(n, infos={"intervene_action": np.ones(2)}) for n in range(3)]
    assert not read([*rows, transition(3, actions=np.zeros(2), infos={})])[0].steps.intervened.any()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((1, 2), "holds a tuple, and not HIL-SERL's list"),
        ([np.zeros(3)], "and not HIL-SERL's list of transitions"),
        ([], "holds no transitions"),
        ([transition(0, action=np.zeros(2), actions=None)], 'no `actions`'),
        ([transition(0), transition(1, grasp_penalty=0.0)], "`grasp_penalty` of transition 0 is absent"),
        ([transition(0, infos={"warmloop": {"step": 0}})], """what `infos["warmloop"]` says of an episode is damaged"""),
        ([transition(n, infos={"warmloop": {"step": "a" * n}}) for n in range(2)], "`step` holds <U1 values"),
        ([transition(n, infos={"warmloop": {"step": 0} if n else {"quality": 1.0}}) for n in range(2)], "`quality` of transition 1"),
        ([transition(0, masks=None, dones=None)], "neither `masks` nor `dones`"),
        ([transition(0), transition(1, rewards=None)], "`rewards` of transition 1 is absent"),
        ([transition(0), transition(1, observations={"state": np.zeros((1, 3))})], "`observations/wrist` of transition 1 is absent"),
        ([transition(0), transition(1, actions=np.zeros(3))], "`actions` changes its shape"),
        ([transition(0, actions=np.array([2.0, 0]))], "`actions` run from 0 to 2; rescale"),
        ([transition(0), transition(1, infos={"succeed": float("nan")})], "the `infos` of row 1 hold nan as succeed or success"),
        ([transition(0, infos={"success": "no"})], "hold 'no' as succeed"),
        ([transition(0), transition(1, infos={"is_intervention": 0.7})], "row 1 hold 0.7 as is_intervention"),
        ([transition(0, rewards="much")], "`rewards` holds <U4 values"),
        ([transition(0), transition(1, done=True), transition(2), transition(3, rewards=np.nan)], "episode 1, step 1: `rewards` holds nan"),
        ([transition(0, next_observations={"wrist": np.zeros((1, 8, 8, 3), np.uint8)})], "`observations/state` must be both"),
    ],
)  # fmt: skip
def test_a_file_that_contradicts_itself_is_refused(refusal, rows, said):
    assert said in refusal(rows)


def test_a_grasp_penalty_in_the_infos_is_kept_and_written_back_to_both_places(read, tmp_path):
    episodes = read([transition(n, done=n % 2 == 1, infos={"grasp_penalty": -0.02 * n}) for n in range(4)])
    assert [e.extras["grasp_penalty"].tolist() for e in episodes] == [pytest.approx([0, -0.02]), pytest.approx([-0.04, -0.06])]
    write_episodes(tmp_path / "again.pkl", episodes)
    again = pickle.loads((tmp_path / "again.pkl").read_bytes())
    assert [row["infos"]["grasp_penalty"] for row in again] == pytest.approx([0, -0.02, -0.04, -0.06])
    assert [row["grasp_penalty"] for row in again] == pytest.approx([0, -0.02, -0.04, -0.06])
    assert_lossless(episodes, load_episodes(tmp_path / "again.pkl"))


def test_a_grasp_penalty_that_some_infos_lack_is_refused(refusal):
    rows = [transition(n, infos={"grasp_penalty": 0.0} if n else {}) for n in range(2)]
    assert "infos: `grasp_penalty` of transition 0 is absent" in refusal(rows)


def test_what_is_written_names_no_module_that_numpy_1_lacks(tmp_path):
    written = [dataclasses.replace(episode(3), extras={"grasp_penalty": np.zeros(3, np.float32), "force": np.zeros((3, 2))})]
    write_episodes(tmp_path / "demos.pkl", written)
    content = (tmp_path / "demos.pkl").read_bytes()
    words = {str(argument) for _, argument, _ in pickletools.genops(content) if isinstance(argument, str)}
    assert {"numpy.core.multiarray", "_reconstruct", "numpy", "ndarray", "dtype"} <= words
    assert not [word for word in words if "numpy._core" in word]
    assert pickle.dumps(np.zeros(1)).find(b"numpy._core") >= 0 or np.__version__ < "2", "what others pickle meanwhile is not touched"


def test_what_is_written_loads_in_numpy_1(tmp_path):
    write_episodes(tmp_path / "demos.pkl", [episode(3, observation="images")])
    program = (
        "import pickle, sys, numpy; rows = pickle.load(open(sys.argv[1], 'rb')); print(numpy.__version__, len(rows), rows[0]['actions'])"
    )
    command = [numpy_1(), "-c", program, str(tmp_path / "demos.pkl")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("1.") and " 3 [" in shown


@pytest.mark.parametrize("ending", [".pkl", ".pkl.gz", ".pickle.gz"])
def test_a_packed_pickle_is_read_whatever_its_name(tmp_path, ending):
    rows = [transition(n, done=n == 2) for n in range(3)]
    (tmp_path / f"demos{ending}").write_bytes(gzip.compress(pickle.dumps(rows)))
    assert_same_experience(load_episodes(save(tmp_path / "plain.pkl", rows)), load_episodes(tmp_path / f"demos{ending}"))


def test_a_run_s_folder_of_transitions_is_one_data_set_whose_episodes_go_on_over_the_files(tmp_path):
    rows = [transition(n, done=n % 4 == 3) for n in range(12)]
    whole = load_episodes(save(tmp_path / "whole.pkl", rows))
    folder = tmp_path / "buffer"
    folder.mkdir()
    for last, some in ((6, rows[:6]), (10, rows[6:10])):
        save(folder / f"transitions_{last}.pkl", some)
    (folder / "transitions_100.pkl.gz").write_bytes(gzip.compress(pickle.dumps(rows[10:])))
    (folder / "notes.txt").write_text("monday")
    assert_same_experience(whole, load_episodes(folder))


def test_a_history_of_several_states_lies_along_one_axis_and_one_of_images_stays(read):
    def observe(n):
        return {"state": np.array([[n - 1, 7], [n, 8]], np.float32), "wrist": np.full((2, 8, 8, 3), n, np.uint8)}

    (e,) = read([transition(n, observations=observe(n), next_observations=observe(n + 1), done=n == 2) for n in range(3)])
    assert e.steps.observation["state"].tolist() == [[-1, 7, 0, 8], [0, 7, 1, 8], [1, 7, 2, 8]]
    assert e.steps.observation["wrist"].shape == (3, 2, 8, 8, 3)
    bare = [transition(n, observations=observe(n)["state"], next_observations=observe(n + 1)["state"]) for n in range(2)]
    assert read(bare)[0].steps.observation.shape == (2, 4)


def test_a_dict_that_holds_dicts_without_end_is_one_sentence(refusal):
    deep = {"state": np.zeros(3)}
    for _ in range(100):
        deep = {"more": deep}
    assert "more than 16 deep" in refusal([transition(0, observations=deep, next_observations=deep)])


def test_a_bad_episode_can_be_left_out_and_is_named(tmp_path):
    rows = [transition(n, done=n % 3 == 2) for n in range(12)]
    del rows[4]["rewards"]
    rows[6]["observations"] = {"state": np.zeros((1, 9)), "wrist": rows[6]["observations"]["wrist"]}
    rows[9]["rewards"] = np.nan
    path, bad = save(tmp_path / "demos.pkl", rows), []
    assert [len(e) for e in load_episodes(path, options=ReadOptions(on_bad=bad.append))] == [3]
    assert [(one.file, one.episode) for one in bad] == [(str(path), f"episode {number}") for number in (1, 2, 3)]
    assert "`rewards` of transition 1 is absent" in bad[0].reason and "holds nan" in bad[2].reason
    with pytest.raises(WarmloopError, match="`observations/state` changes its shape"):
        load_episodes(path)

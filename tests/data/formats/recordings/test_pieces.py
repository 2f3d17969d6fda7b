"""A piece of an episode keeps the whole's returns and outcome, through every file and under every reward."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import assert_lossless, assert_same_whole, enriched, episode

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.data.quality import QualityConfig, steps_to_success, weigh
from warmloop.data.retention import RetentionConfig, retain
from warmloop.data.reward import RewardConfig, apply_reward, estimated_returns
from warmloop.data.sources.merge import merge
from warmloop.data.tasks import SINGLE
from warmloop.learner.rows.offline_rows import prepare

FILES = ("pieces.npz", "pieces.pkl", "lab/pieces-v0", "pieces.lerobot")
REWARDS = (
    RewardConfig(scale=10.0, bias=-5.0),
    RewardConfig(bias=-1.0, discount=0.9),
    RewardConfig(discount=0.95, terminate_on_success=False),
    RewardConfig(signal="environment", discount=0.9),
    RewardConfig(signal="environment", terminate_on_success=False),
)


def episodes():
    """A success, a failure that terminated, one that was cut, and one with steps after its success, all with interventions."""
    middle = np.isin(np.arange(9), (2, 3, 6))
    flags = [np.arange(9) == 8, np.zeros(9, bool), np.zeros(9, bool), np.arange(9) >= 7]
    return [episode(9, n, success=flag, terminated=n == 1, intervened=middle) for n, flag in enumerate(flags)]


def first_of(piece):
    assert piece.whole is not None
    return piece.whole.first


def pieces_of(recorded):
    """The interventions of episodes, which retention keeps as pieces."""
    kept, _ = retain(recorded, RetentionConfig(ratio=0))
    assert [(len(p), first_of(p)) for p in kept if p.number == recorded[0].number] == [(2, 2), (1, 6)]
    return kept


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("name", FILES)
def test_a_piece_s_returns_outcome_and_rewards_are_the_whole_s_through_every_file(tmp_path, name, reward):
    path, recorded = tmp_path / name, episodes()
    write_episodes(path, pieces_of(recorded))
    wholes = {e.number: apply_reward(e, reward) for e in recorded}
    for piece in load_episodes(path):
        whole, learnt = wholes[piece.number], apply_reward(piece, reward)
        rows = learnt.steps.step
        for field in ("mc_return", "reward", "mask"):
            np.testing.assert_array_equal(getattr(learnt.steps, field), getattr(whole.steps, field)[rows])
        np.testing.assert_array_equal(estimated_returns(learnt, reward), estimated_returns(whole, reward)[rows])
        assert learnt.succeeded == whole.succeeded and learnt.undiscounted_return == whole.undiscounted_return
        assert learnt.steps.truncated[-1] == (learnt.steps.mask[-1] == 1)


@pytest.mark.parametrize("name", FILES)
def test_pieces_are_read_as_they_were_written_beside_whole_episodes_and_ones_without_a_success_signal(tmp_path, name):
    recorded = enriched([*episodes(), episode(9, 9, intervened=np.arange(9) == 4)])
    written = [*pieces_of(recorded), recorded[0]]
    write_episodes(tmp_path / name, written)
    assert_lossless(written, load_episodes(tmp_path / name))


def test_a_piece_s_piece_is_one_of_the_whole():
    whole = episode(9, success=np.arange(9) == 8)
    inner = whole.piece(slice(2, 7)).piece(slice(1, 3))
    assert first_of(inner) == 3 and inner.succeeded and len(inner.outcome) == 9
    assert whole.part(slice(2, 7)).whole is None and not whole.part(slice(2, 7)).succeeded


def test_the_value_of_a_reach_is_not_that_of_failing_for_ever_once_it_was_written(tmp_path):
    """-82.8 became -500: a reward of -5 until a success 20 steps on, and a piece of two steps of it."""
    config = RewardConfig(scale=10.0, bias=-5.0)
    whole = episode(20, success=np.arange(20) == 19)
    write_episodes(tmp_path / "filtered_demos.npz", [whole.piece(slice(1, 3))])
    (piece,) = load_episodes(tmp_path / "filtered_demos.npz")
    expected = -5 * (1 - 0.99**18) / 0.01 + 0.99**18 * 5
    assert apply_reward(piece, config).steps.mc_return[0] == pytest.approx(expected, rel=1e-5) and expected > -80
    assert apply_reward(whole.part(slice(1, 3)), config).steps.mc_return[0] == pytest.approx(-500), "of one whose rest is not known"


def test_a_piece_weighs_and_scores_as_the_episode_that_it_was_cut_out_of():
    won, lost = episode(9, 0, success=np.arange(9) == 8), episode(9, 1, success=np.zeros(9))
    one, other = weigh([won.piece(slice(2, 4)), lost.piece(slice(2, 4))], QualityConfig())
    assert one.steps.quality[0] == pytest.approx(1.5 * other.steps.quality[0])
    assert steps_to_success(won.piece(slice(2, 4))) == 9


def test_pieces_go_into_a_set_with_what_they_were_cut_out_of(tmp_path):
    written = pieces_of(episodes())
    write_episodes(tmp_path / "filtered_demos.npz", written)
    merge(tmp_path / "set", [str(tmp_path / "filtered_demos.npz")])
    for a, b in zip(written, load_episodes(tmp_path / "set"), strict=True):
        assert_same_whole(a.whole, b.whole)


def test_pieces_behind_the_success_that_ends_their_episode_are_left_out():
    recorded = [episode(9, success=np.arange(9) == 3)]
    pieces = [recorded[0].piece(slice(2, 6)), recorded[0].piece(slice(7, 9))]
    data = prepare(pieces, RewardConfig(), QualityConfig())
    assert [len(e) for e in data.episodes] == [2] and data.rows.mask.tolist() == [1, 0]
    assert data.summary(SINGLE)[0].endswith("4 steps recorded after success are left out")
    assert len(prepare(pieces, RewardConfig(terminate_on_success=False), QualityConfig()).rows.mask) == 6
    with pytest.raises(WarmloopError, match="behind a success"):
        prepare(pieces[1:], RewardConfig(), QualityConfig())


@settings(max_examples=50, deadline=None)
@given(st.data(), st.sampled_from(REWARDS))
def test_any_piece_of_any_episode_has_the_rows_that_the_whole_has(data, reward):
    count = data.draw(st.integers(1, 12))
    flags = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    whole = episode(count, success=flags, terminated=data.draw(st.booleans()))
    low = data.draw(st.integers(0, count - 1))
    high = data.draw(st.integers(low + 1, count))
    learnt, made = apply_reward(whole.piece(slice(low, high)), reward), apply_reward(whole, reward)
    assert len(learnt) == max(0, min(high, len(made)) - low)
    for field in ("mc_return", "reward", "mask", "action"):
        np.testing.assert_array_equal(getattr(learnt.steps, field), getattr(made.steps, field)[low:high])

"""Retention keeps the best share, every intervention, and nothing else."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import assert_identical, episode, episode_lists

from warmloop.data.errors import WarmloopError
from warmloop.data.retention import RetentionConfig, retain
from warmloop.data.reward import RewardConfig, apply_reward
from warmloop.data.transition import Source

UNITS = ("episode", "transition")


def returning(total, number, success=False, length=4, **changed):
    return episode(length, number, rewards=np.full(length, total / length), success=np.full(length, success), **changed)


def numbers(episodes):
    return [e.number for e in episodes]


def places(episodes):
    return [(e.number, int(step)) for e in episodes for step in e.steps.step]


def test_the_best_episodes_are_kept_in_their_order():
    episodes = [
        returning(total, n, success) for n, (total, success) in enumerate([(9, False), (1, True), (0, False), (5, True), (3, False)])
    ]
    assert numbers(retain(episodes, RetentionConfig(ratio=0.2, keep_successes=0))[0]) == [3]
    assert numbers(retain(episodes, RetentionConfig(ratio=0.6))[0]) == [0, 1, 3]
    by_return = RetentionConfig(ratio=0.4, success_weight=0)
    assert numbers(retain(episodes, by_return)[0]) == [0, 3]


@pytest.mark.parametrize("unit", UNITS)
def test_of_a_small_set_no_successful_episode_is_dropped_and_none_is_cut(unit):
    five = [returning(1, n, True) for n in range(5)]
    assert all(a is b for a, b in zip(retain(five, RetentionConfig(unit=unit))[0], five, strict=True))
    mixed = [returning(1, n, n % 3 == 0) for n in range(60)]
    kept, report = retain(mixed, RetentionConfig(ratio=0.1, unit=unit))
    assert all(a is b for a, b in zip(kept, mixed[::3], strict=True)) and report.success_rate == 1.0
    many = [returning(1, n, True) for n in range(60)]
    assert len(retain(many, RetentionConfig(ratio=0.2, unit=unit))[0]) == 12
    assert retain(five, RetentionConfig(ratio=0, unit=unit))[0] == [], "no retention is asked for"
    few = retain(mixed, RetentionConfig(ratio=0.1, unit=unit, success_weight=0))[1]
    assert few.success_rate < 1, "success is said not to count"


def test_by_transition_failures_fill_up_what_the_successes_leave_of_the_share():
    """Of 40 rows half are to stay; the success of 8 is whole, and the rows of the failures that surprise most are beside it."""
    episodes = [returning(n == 2, n, n == 2, length=8) for n in range(5)]
    surprise = np.where(np.arange(8) >= 4, 9.0, 0.1)
    errors = [np.zeros(8) if n == 2 else surprise for n in range(5)]
    kept, report = retain(episodes, RetentionConfig(ratio=0.5, unit="transition"), errors)
    assert [(e.number, len(e)) for e in kept] == [(0, 4), (1, 4), (2, 8), (3, 4)] and report.rows == 20


@pytest.mark.parametrize(("count", "ratio", "warned"), [(5, 0.2, True), (20, 0.2, True), (25, 0.2, False), (5, 1, False), (3, 0, False)])
def test_retention_that_leaves_hardly_an_episode_says_so(count, ratio, warned):
    _, report = retain([returning(1, n) for n in range(count)], RetentionConfig(ratio=ratio))
    assert bool(report.warning) is warned
    if report.warning:
        assert f"{report.episodes} of {count} episodes" in report.warning and "--config.retention.ratio=1" in report.warning


def test_steps_behind_the_success_that_ends_an_episode_are_not_chosen_but_stay_with_one_that_is_kept_whole():
    e = episode(6, success=[0, 0, 1, 1, 1, 1], intervened=[0, 1, 0, 0, 0, 1])
    errors = [np.array([1.0, 2, 3, 0, 0, 0])]
    by_row = RetentionConfig(ratio=0.3, unit="transition", keep_successes=0)
    pieces, report = retain([e], by_row, errors, learnt=[3])
    assert places(pieces) == [(0, 1), (0, 2)] and (report.rows, report.of_rows) == (2, 3)
    (whole,), _ = retain([e], RetentionConfig(ratio=1), errors, learnt=[3])
    assert whole is e


def test_of_equal_episodes_the_earlier_is_kept():
    episodes = [returning(1, n) for n in range(50)]
    assert numbers(retain(episodes, RetentionConfig(ratio=0.2))[0]) == list(range(10))


def test_a_large_td_error_ranks_higher_and_its_sign_does_not_matter():
    episodes = [returning(1, n) for n in range(3)]
    errors = [np.full(4, 0.1), np.full(4, -3.0), np.full(4, 1.0)]
    assert numbers(retain(episodes, RetentionConfig(ratio=0.3), errors)[0]) == [1]
    assert numbers(retain(episodes, RetentionConfig(ratio=0.3, td_weight=0), errors)[0]) == [0]


def test_by_transition_the_rows_with_the_largest_errors_stay_as_truncated_pieces():
    e = episode(6, 7, terminated=True, success=[0, 0, 0, 0, 0, 1])
    by_row = RetentionConfig(ratio=0.5, unit="transition", keep_successes=0)
    pieces, report = retain([e], by_row, [np.array([0.0, 5, 6, 0, 0, 7])])
    assert places(pieces) == [(7, 1), (7, 2), (7, 5)]
    assert [p.steps.truncated.tolist() for p in pieces] == [[False, True], [False]]
    assert [p.steps.mask.tolist() for p in pieces] == [[1, 1], [0]]
    assert [np.asarray(p.success).tolist() for p in pieces] == [[False, False], [True]]
    assert (report.episodes, report.rows, report.success_rate) == (1, 3, 1.0)


@pytest.mark.parametrize("unit", UNITS)
def test_pieces_keep_the_returns_and_rewards_of_the_whole_episode(unit):
    e = apply_reward(episode(6, success=[0, 0, 0, 0, 0, 1], intervened=[0, 1, 1, 0, 0, 0]), RewardConfig(discount=0.9))
    (piece,), _ = retain([e], RetentionConfig(ratio=0, unit=unit))
    assert piece.steps.mc_return == pytest.approx([0.9**4, 0.9**3])
    assert piece.succeeded and piece.undiscounted_return == 1
    assert np.array_equal(piece.steps.reward, e.steps.reward[1:3])


@settings(max_examples=80, deadline=None)
@given(episode_lists(), st.sampled_from(UNITS), st.integers(0, 20), st.data())
def test_kept_rows_are_whole_in_order_and_as_many_as_the_ratio_says(episodes, unit, twentieths, data):
    ratio = twentieths / 20
    errors = data.draw(st.none() | st.just([np.arange(len(e), dtype=np.float64) for e in episodes]))
    kept, report = retain(episodes, RetentionConfig(ratio=ratio, unit=unit, keep_successes=0), errors)
    everything = places(episodes)
    assert places(kept) == [place for place in everything if place in set(places(kept))]
    human = {(e.number, int(t)) for e in episodes for t in np.flatnonzero(e.steps.intervened)}
    assert human <= set(places(kept))
    total = len(episodes) if unit == "episode" else len(everything)
    quota = -(-Fraction(twentieths, 20) * total // 1)
    if unit == "transition":
        assert quota <= len(places(kept)) <= quota + len(human)
    else:
        whole = sum({(e.number, t) for t in range(len(e))} <= set(places(kept)) for e in episodes)
        assert whole >= quota
        assert len(places(kept)) <= sum(sorted(map(len, episodes))[-quota:] if quota else []) + len(human)
    assert (report.rows, report.of_rows, report.of_episodes) == (len(places(kept)), len(everything), len(episodes))
    for piece in kept:
        assert piece.steps.truncated[-1] or piece.steps.mask[-1] == 0
        assert not piece.steps.truncated[:-1].any()


@settings(max_examples=30, deadline=None)
@given(episode_lists(), st.sampled_from(UNITS))
def test_a_ratio_of_one_keeps_everything_as_it_is(episodes, unit):
    kept, _ = retain(episodes, RetentionConfig(ratio=1, unit=unit))
    assert all(a is b for a, b in zip(kept, episodes, strict=True))


@settings(max_examples=30, deadline=None)
@given(episode_lists(), st.sampled_from(UNITS))
def test_a_ratio_of_zero_keeps_the_human_s_rows_alone(episodes, unit):
    kept, _ = retain(episodes, RetentionConfig(ratio=0, unit=unit))
    assert places(kept) == [(e.number, int(t)) for e in episodes for t in np.flatnonzero(e.steps.intervened)]


@pytest.mark.parametrize("unit", UNITS)
def test_a_ratio_of_zero_without_a_human_keeps_nothing(unit):
    kept, report = retain([returning(1, 0), returning(2, 1, True)], RetentionConfig(ratio=0, unit=unit))
    assert kept == []
    assert (report.rows, report.success_rate, report.by_source) == (0, 0.0, {})


@pytest.mark.parametrize("unit", UNITS)
def test_no_episodes_are_no_trouble(unit):
    assert retain([], RetentionConfig(unit=unit))[0] == []


def test_a_ratio_is_rounded_up_but_not_for_a_rounding_error():
    episodes = [returning(1, n) for n in range(100)]
    assert 0.07 * 100 > 7
    assert len(retain(episodes, RetentionConfig(ratio=0.07))[0]) == 7
    assert len(retain(episodes, RetentionConfig(ratio=0.071))[0]) == 8


@settings(max_examples=30, deadline=None)
@given(episode_lists(success=("all",)), st.sampled_from(UNITS))
def test_every_kept_row_is_the_recorded_one(episodes, unit):
    by_number = {e.number: e for e in episodes}
    for piece in retain(episodes, RetentionConfig(ratio=0.5, unit=unit))[0]:
        whole = by_number[piece.number]
        for name in ("action", "reward", "mask", "step", "source"):
            assert_identical(getattr(whole.steps, name)[piece.steps.step], getattr(piece.steps, name))


def test_the_report_counts_rows_by_source():
    episodes = [returning(1, 0, True), returning(0, 1, source=Source.RANDOM), returning(0, 2, source=Source.RANDOM)]
    _, report = retain(episodes, RetentionConfig(ratio=0.5))
    assert report.by_source == {"demos": 4, "random": 4}
    assert str(report) == "kept 2 of 3 episodes, 8 of 12 steps (demos 4, random 4), 50 % of them from successful episodes"


@pytest.mark.parametrize("errors", [[np.zeros(4)], [np.zeros(4), np.zeros(3)]])
def test_td_errors_that_do_not_match_are_refused(errors):
    with pytest.raises(WarmloopError, match="do not match"):
        retain([returning(1, 0), returning(1, 1)], RetentionConfig(), errors)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ratio": 1.1}, r"\[0, 1\]"),
        ({"ratio": np.nan}, r"\[0, 1\]"),
        ({"unit": "row"}, '"episode" or "transition"'),
        ({"td_weight": -1}, "td_weight is -1"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(changed, said):
    with pytest.raises(WarmloopError, match=said):
        RetentionConfig(**changed)

"""Quality weights and scores, against the numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import assert_identical, episode, episode_lists
from scipy.stats import rankdata

from warmloop.data.errors import WarmloopError
from warmloop.data.quality import QualityConfig, percentiles, score_episodes, weigh
from warmloop.data.reward import RewardConfig, apply_reward
from warmloop.data.transition import Source


def returning(total, length=4, success=None, number=0):
    """An episode of return `total`."""
    rewards = np.zeros(length)
    rewards[-1] = total
    return episode(length, number, rewards=rewards, success=np.zeros(length) if success is None else success)


def weights(e, **changed):
    return weigh([e], QualityConfig(**changed))[0].steps.quality


@pytest.mark.parametrize(
    ("source", "weight"),
    [(Source.DEMOS, 2.0), (Source.SUBOPTIMAL, 1.0), (Source.RANDOM, 0.5), (Source.ONLINE, 1.0), (Source.INTERVENTION, 2.0)],
)
def test_a_row_weighs_by_its_source_and_half_more_after_success(source, weight):
    failed, succeeded = (episode(3, source=source, success=[0, flag, 0]) for flag in (0, 1))
    assert weights(failed).tolist() == [weight] * 3
    assert weights(succeeded).tolist() == [1.5 * weight] * 3
    assert weights(failed).dtype == np.float32


def test_a_row_s_own_source_counts_not_its_episode_s():
    e = episode(3, success=[0, 0, 0])
    e.steps.source[:] = [Source.RANDOM, Source.DEMOS, Source.SUBOPTIMAL]
    assert weights(e).tolist() == [0.5, 2, 1]


def test_an_intervened_row_weighs_as_an_intervention():
    e = episode(3, source=Source.RANDOM, success=[0, 0, 0], intervened=[False, True, False])
    assert weights(e, interventions=3.0).tolist() == [0.5, 3.0, 0.5]


def test_the_score_scales_the_weight_by_its_share():
    e = returning(1.0)  # alone and failed: percentile 0.5, so the score is 0.3 · 0.5
    assert weights(e, score_share=0.5) == pytest.approx(np.full(4, 2.0 * (0.5 + 0.5 * 0.15)))
    assert weights(e, score_share=1.0) == pytest.approx(np.full(4, 2.0 * 0.15))


def test_the_score_is_the_weighted_mean_of_success_percentile_and_efficiency():
    episodes = [
        returning(0.0),  # fails, worst return
        returning(5.0, success=[0, 1, 0, 0]),  # two steps to success, the fewest
        returning(5.0, success=[0, 0, 0, 1]),  # four, the same return
    ]
    expected = [0.0, 0.5 + 0.3 * 0.75 + 0.2, 0.5 + 0.3 * 0.75 + 0.2 * 0.5]
    assert score_episodes(episodes, QualityConfig()) == pytest.approx(expected)
    only_length = QualityConfig(success_weight=0, return_weight=0, length_weight=7)
    assert score_episodes(episodes, only_length) == pytest.approx([0, 1, 0.5])


def test_cutting_at_success_does_not_change_lengths_to_success():
    episodes = [returning(0.0, success=[0, 1, 0, 0]), returning(0.0, success=[0, 0, 1, 0])]
    config = QualityConfig(success_weight=0, return_weight=0)
    cut = [apply_reward(e, RewardConfig()) for e in episodes]
    assert np.array_equal(score_episodes(episodes, config), score_episodes(cut, config))


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=20))
def test_percentiles_are_midranks_from_zero_to_one(values):
    values = np.array(values, np.float64)
    assert percentiles(values) == pytest.approx((rankdata(values) - 1) / (len(values) - 1))


def test_one_value_alone_is_in_the_middle():
    assert percentiles(np.array([7.0])).tolist() == [0.5]


@settings(max_examples=50, deadline=None)
@given(episode_lists(), st.randoms())
def test_scores_lie_in_0_to_1_and_do_not_depend_on_the_order(episodes, random):
    scores = score_episodes(episodes, QualityConfig())
    assert ((scores >= 0) & (scores <= 1)).all()
    order = list(range(len(episodes)))
    random.shuffle(order)
    assert np.allclose(score_episodes([episodes[i] for i in order], QualityConfig()), scores[order])


@settings(max_examples=30, deadline=None)
@given(episode_lists())
def test_weighing_changes_nothing_but_the_quality(episodes):
    for before, after in zip(episodes, weigh(episodes, QualityConfig()), strict=True):
        assert_identical(before.steps.replace(quality=after.steps.quality), after.steps)
        assert after.success is before.success and after.source == before.source


def test_no_episodes_weigh_nothing():
    assert weigh([], QualityConfig()) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"demos": -1.0}, "quality.demos is -1.0"),
        ({"success_bonus": np.nan}, "quality.success_bonus is nan"),
        ({"score_share": 1.5}, r"must lie in \[0, 1\]"),
        ({"success_weight": 0, "return_weight": 0, "length_weight": 0}, "are all 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(changed, said):
    with pytest.raises(WarmloopError, match=said):
        QualityConfig(**changed)

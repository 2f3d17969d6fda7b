import numpy as np
import pytest
from scipy import stats

from warmloop.data.statistics import bootstrap_interval, spearman, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (3, 7), (0, 50), (50, 50), (123, 500)])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilsons_interval_is_scipys(successes, trials, level):
    expected = stats.binomtest(successes, trials).proportion_ci(level, method="wilson")
    np.testing.assert_allclose(wilson(successes, trials, level), (expected.low, expected.high), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_rank_correlation_is_scipy_s_with_ties_too(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 6, 20), rng.normal(size=20)
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)


def test_a_pair_with_what_is_not_a_number_is_left_out_of_the_rank_correlation():
    assert spearman(np.array([1, 2, np.nan, 3]), np.array([1.0, 2.0, 0.0, 3.0])) == pytest.approx(1)
    assert spearman(np.array([1, 2, 3, 4]), np.array([1.0, np.nan, 0.0, -1.0])) == pytest.approx(-1)
    assert np.isnan(spearman(np.array([1.0, np.nan]), np.array([1.0, 2.0]))), "of one pair nothing can be said"


def test_the_rank_correlation_of_a_constant_is_not_a_number():
    assert np.isnan(spearman(np.ones(4), np.arange(4)))


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(rng.exponential(1.0, 40), resamples=1000, seed=seed) for seed in range(300)]
    covered = np.mean([low <= 1.0 <= high for low, high in intervals])
    assert 0.87 <= covered <= 0.98


def test_equal_values_have_a_point_for_an_interval():
    assert bootstrap_interval(np.full(10, 0.5)) == (0.5, 0.5)

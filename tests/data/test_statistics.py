import numpy as np
import pytest
from scipy import stats

from warmloop.data.statistics import bootstrap_interval, spearman


@pytest.mark.parametrize("seed", range(3))
def test_the_rank_correlation_is_scipy_s_with_ties_too(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 6, 20), rng.normal(size=20)
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)


def test_the_rank_correlation_of_a_constant_is_not_a_number():
    assert np.isnan(spearman(np.ones(4), np.arange(4)))


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(rng.exponential(1.0, 40), resamples=1000, seed=seed) for seed in range(300)]
    covered = np.mean([low <= 1.0 <= high for low, high in intervals])
    assert 0.87 <= covered <= 0.98


def test_equal_values_have_a_point_for_an_interval():
    assert bootstrap_interval(np.full(10, 0.5)) == (0.5, 0.5)

"""Choosing among policies by episodes, on policies whose means are known."""

import numpy as np
import pytest

from warmloop.actor.episodes.bandit import halving, rounds
from warmloop.data.errors import WarmloopError

MEANS = np.array([0.2, 0.5, 0.0, 0.45, 0.9, 0.1, 0.3])


class Arms:
    """Bernoulli arms, or Gaussian ones with a `deviation`, that remember what was played."""

    def __init__(self, means, seed, deviation=None):
        self.means, self.rng, self.deviation = means, np.random.default_rng(seed), deviation
        self.chosen_by, self.judged_by = [], []

    def value(self, arm):
        if self.deviation is None:
            return float(self.rng.random() < self.means[arm])
        return float(self.rng.normal(self.means[arm], self.deviation))

    def choose(self, arm, number):
        self.chosen_by.append((arm, number))
        return self.value(arm)

    def fresh(self, arm, number):
        self.judged_by.append((arm, number))
        return self.value(arm)


@pytest.mark.parametrize("arms", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("episodes", [60, 61, 301])
def test_exactly_the_budget_is_played_a_third_of_it_by_the_chosen_one_afresh(arms, episodes):
    played = Arms(np.linspace(0, 1, arms), 0)
    outcome = halving(arms, episodes, played.choose, played.fresh)
    assert len(played.chosen_by) + len(played.judged_by) == episodes and len(outcome.fresh) >= episodes // 3
    assert len(set(played.chosen_by)) == len(played.chosen_by), "no start is played twice"
    assert {arm for arm, _ in played.judged_by} == {outcome.chosen}
    assert [number for _, number in played.judged_by] == list(range(len(outcome.fresh)))


def test_all_that_are_left_play_the_same_starts():
    played = Arms(MEANS, 0)
    outcome = halving(len(MEANS), 150, played.choose, played.fresh)
    starts = [{number for arm, number in played.chosen_by if arm == wanted} for wanted in range(len(MEANS))]
    assert all(one == set(range(len(one))) for one in starts)
    assert min(map(len, starts)) == outcome.first_round and len(starts[outcome.chosen]) == max(map(len, starts))


def test_the_best_is_found_nearly_always_and_its_mean_is_honest():
    outcomes = [halving(len(MEANS), 210, (played := Arms(MEANS, seed)).choose, played.fresh) for seed in range(300)]
    assert np.mean([outcome.chosen == MEANS.argmax() for outcome in outcomes]) > 0.97
    error = np.array([outcome.mean - MEANS[outcome.chosen] for outcome in outcomes])
    assert abs(error.mean()) < 3 * error.std() / np.sqrt(len(error))


def test_among_equal_arms_the_best_of_many_means_is_too_high_and_the_reported_one_is_not():
    outcomes = [halving(8, 120, (played := Arms(np.zeros(8), seed, 1.0)).choose, played.fresh) for seed in range(300)]
    assert np.mean([outcome.first_means.max() for outcome in outcomes]) > 0.4
    assert abs(np.mean([outcome.mean for outcome in outcomes])) < 0.05
    covered = np.mean([low <= 0 <= high for low, high in (outcome.interval for outcome in outcomes)])
    assert 0.9 <= covered <= 0.98


def test_of_arms_that_are_alike_the_first_is_kept():
    outcome = halving(4, 60, lambda arm, number: 1.0, lambda arm, number: 1.0)
    assert outcome.chosen == 0


def test_too_few_episodes_are_refused_with_the_number_that_it_takes():
    with pytest.raises(WarmloopError, match="among 10 checkpoints takes at least 60 episodes, and 59"):
        rounds(10, 59)
    assert all(each >= 1 for _, each in rounds(10, 60))

"""The bench's measures, on runs whose measures are known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from warm_measures import LEVEL, Measured, is_under, measured, overall, regained, score
from warm_run import windows
from warm_tasks import NAMED

from warmloop.data.replay import ReplayConfig, replay
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Leaf, Spec, example

DOOR, LUCK, CHEETAH = NAMED["door-10"], NAMED["lucky-40"], NAMED["halfcheetah"]


def episodes(successes: int, of: int = 100, returns: list | None = None) -> dict:
    return {"success": [1] * successes + [0] * (of - successes), "returns": returns or [0.0] * of, "length": 1.0}


def run_of(rates: dict[int, int]) -> dict:
    """A run with so many of 100 successes at each step."""
    curve = [{"steps": steps, "mean": episodes(rate), "sampled": episodes(rate // 2)} for steps, rate in rates.items()]
    return {"curve": curve, "kept": None, "seconds": {"warmup": 60.0, "online": [90.0, 30.0]}}


def fisher(last: int, first: int, of: int = 100) -> float:
    """The chance of so few successes at the last, where both have one rate: by the hypergeometric distribution itself."""
    total = math.comb(2 * of, first + last)
    return sum(math.comb(of, k) * math.comb(of, first + last - k) for k in range(max(0, first + last - of), last + 1)) / total


def test_a_score_is_the_share_of_successes_of_the_most_there_can_be():
    assert score(DOOR, episodes(37)) == pytest.approx(0.37)
    assert score(LUCK, episodes(36)) == pytest.approx(0.9)


def test_a_return_is_scaled_by_a_random_and_a_good_policys():
    assert CHEETAH.returns is not None
    low, high = CHEETAH.returns
    assert score(CHEETAH, episodes(0, 2, [low, high])) == pytest.approx(0.5)


def test_a_run_that_falls_and_comes_back():
    one = measured(DOOR, run_of({0: 80, 1_000: 60, 2_000: 50, 5_000: 79, 10_000: 80, 20_000: 97}))
    assert one.warm == pytest.approx(0.8)
    assert one.fall == pytest.approx(0.3)
    assert one.regained == 10_000
    assert dict(one.at) == pytest.approx({5_000: 0.79, 10_000: 0.8, 20_000: 0.97})
    assert (one.end, one.warm_sampled, one.end_sampled) == pytest.approx((0.97, 0.4, 0.48))
    assert one.under is False
    assert one.minutes == pytest.approx(3.0)


def test_the_best_policy_that_was_kept_is_measured_where_it_is_not_the_last():
    run = run_of({0: 80, 10_000: 60})
    assert measured(DOOR, run).kept == pytest.approx(0.6)
    assert measured(DOOR, run | {"kept": {"mean": episodes(85)}}).kept == pytest.approx(0.85)


def test_a_late_fall_is_none_of_the_first_steps():
    one = measured(DOOR, run_of({0: 50, 1_000: 55, 2_000: 60, 5_000: 10}))
    assert (one.fall, one.regained, one.under) == (0.0, 0.0, True)
    assert math.isnan(one.at[10_000])


def test_what_never_comes_back_is_regained_at_no_step():
    assert regained(0.9, {1_000: 0.5, 2_000: 0.6, 5_000: 0.8}) == math.inf
    assert regained(0.9, {1_000: 0.95, 2_000: 0.6, 5_000: 0.9}) == 5_000
    assert math.isnan(regained(math.nan, {1_000: 0.5}))


def test_a_run_without_a_warm_up_has_none_to_fall_from():
    one = measured(DOOR, run_of({1_000: 0, 10_000: 70}))
    assert math.isnan(one.warm) and math.isnan(one.fall) and math.isnan(one.warm_sampled)
    assert one.under is None
    assert one.end == pytest.approx(0.7)


@pytest.mark.parametrize("first", [30, 90, 100])
def test_a_run_is_under_its_warm_up_by_fishers_exact_test(first: int):
    counted = [last for last in range(first + 1) if is_under(DOOR, episodes(first), episodes(last))]
    assert counted == [last for last in range(first + 1) if fisher(last, first) < LEVEL]
    assert counted and counted[-1] < first - 5


def test_returns_are_compared_with_their_scatter():
    rng = np.random.default_rng(0)
    before, little, much = (list(rng.normal(mean, 100, 100)) for mean in (1_000, 995, 900))
    assert not is_under(CHEETAH, episodes(0, 100, before), episodes(0, 100, little))
    assert is_under(CHEETAH, episodes(0, 100, before), episodes(0, 100, much))
    assert not is_under(CHEETAH, episodes(0, 100, much), episodes(0, 100, before))


def test_returns_without_any_scatter_are_compared_as_they_are():
    assert is_under(CHEETAH, episodes(0, 3, [2.0] * 3), episodes(0, 3, [1.0] * 3))
    assert not is_under(CHEETAH, episodes(0, 3, [1.0] * 3), episodes(0, 3, [1.0] * 3))


def test_a_level_counts_few_runs_that_stay_as_they_are():
    rng = np.random.default_rng(1)
    pairs = rng.binomial(100, 0.8, (400, 2))
    assert np.mean([is_under(DOOR, episodes(int(first)), episodes(int(last))) for first, last in pairs]) <= 2 * LEVEL


def one_of(end: float, warm: float = 0.5, under: bool | None = False) -> Measured:
    return Measured(warm, 0.1, 0.0, {5_000: end, 10_000: end, 20_000: math.nan}, end, warm, end, end, under, 2.0)


def test_a_recipes_runs_together():
    ends = {"a": (0.0, 0.2), "b": (0.96, 0.98), "c": (0.4, 0.4), "d": (1.0, 0.7)}
    runs = {task: {seed: one_of(end, under=task == "a") for seed, end in enumerate(of)} for task, of in ends.items()}
    shown = overall(runs, ["b", "d"])
    assert shown.scores["end"][0] == pytest.approx((0.4 + 0.4 + 0.7 + 0.96) / 4)  # of eight, two lowest and two highest are left out
    assert shown.scores["lowest"][0] == pytest.approx(0.4)
    assert shown.scores["warm"] == pytest.approx((0.5, 0.5, 0.5))
    low, high = shown.scores["end"][1:]
    assert low < shown.scores["end"][0] < high
    assert math.isnan(shown.scores["20000"][0])
    assert (shown.runs, shown.under, shown.good, shown.able, shown.minutes) == (8, 0.25, 0.5, 2, 2.0)


def test_seeds_that_a_task_lacks_are_left_out_of_the_means_alone():
    runs = {"a": {0: one_of(0.2), 1: one_of(1.0)}, "b": {0: one_of(0.4)}}
    shown = overall(runs, [])
    assert shown.scores["end"][0] == pytest.approx(0.3)
    assert shown.runs == 3
    assert math.isnan(shown.good)


def test_training_episodes_are_counted_by_the_window_in_which_they_ended():
    lengths, wins = [600, 300, 700, 200, 150], [0, 1, 1, 0, 1]  # and then an episode that goes on
    ends = np.cumsum(lengths)
    count = int(ends[-1]) + 10
    reward, mask = np.full(count, -1.0, np.float32), np.ones(count, np.float32)
    reward[ends[np.flatnonzero(wins)] - 1] += 10.0
    mask[ends[np.flatnonzero(wins)] - 1] = 0.0
    truncated = np.isin(np.arange(count), ends[np.flatnonzero(np.logical_not(wins))] - 1)
    spec, config = Spec((Leaf("", (2,), "float32"),), 1), ReplayConfig(capacity=4_000)
    rows = example(spec, count).replace(reward=reward, mask=mask, truncated=truncated)
    pool = replay.insert(replay.create(spec, config), rows, count, config)
    shown = windows(SimpleNamespace(online=pool), RewardConfig(scale=10.0, bias=-1.0))
    assert shown == [{"steps": 1_000, "episodes": 2, "outcome": 0.5}, {"steps": 2_000, "episodes": 3, "outcome": pytest.approx(2 / 3)}]

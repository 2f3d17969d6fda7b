"""ASHA over a sweep's runs: who goes on, what is remembered, and what cannot be compared."""

import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmloop.configs import load
from warmloop.data.errors import WarmloopError
from warmloop.launch.sweeps.halving import RUNGS, Halving, HalvingRule, check_comparable

CONFIG = load("configs/classic.py:pendulum").replace(learner={"warmup_steps": 100}, reward={"signal": "environment"})
RULE = HalvingRule(first=10, factor=3, seeds=2)


def scored(*returns, **more):
    return [{"mean_return": value, "success_rate": 0.0, "diverged": value is None, **more} for value in returns]


def halving_of(folder, count, rule=RULE, config=CONFIG, key="k"):
    names = [f"run {number}" for number in range(count)]
    return Halving(folder, dict.fromkeys(names, config), dict.fromkeys(names, key), rule)


def test_rungs_are_before_the_end():
    assert RULE.rungs(100) == [10, 30, 90] and RULE.rungs(90) == [10, 30] and RULE.rungs(10) == []


@settings(max_examples=60)
@given(returns=st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=12), factor=st.integers(2, 4))
def test_a_run_goes_on_if_it_is_in_the_best_share_of_those_that_came_before_it(tmp_path_factory, returns, factor):
    halving = halving_of(tmp_path_factory.mktemp("sweep"), len(returns), HalvingRule(10, factor, 2))
    for number, value in enumerate(returns):
        best = sorted(returns[: number + 1], reverse=True)[: max(1, (number + 1) // factor)]
        assert halving.goes_on(f"run {number}", 10, scored(value - 1, value + 1)) == (value >= best[-1])


def test_runs_are_compared_by_what_they_are_trained_for(tmp_path):
    config = CONFIG.replace(reward={"signal": "success"})
    halving = halving_of(tmp_path, 2, config=config)
    assert halving.goes_on("run 0", 10, scored(-9.0, success_rate=0.5))
    assert not halving.goes_on("run 1", 10, scored(9.0, success_rate=0.25))


def test_a_run_of_which_a_seed_diverged_is_stopped_and_is_nobodys_measure(tmp_path, caplog):
    caplog.set_level("INFO", "warmloop")
    halving = halving_of(tmp_path, 3)
    assert not halving.goes_on("run 0", 10, scored(5.0, None))
    assert halving.goes_on("run 1", 10, scored(-5.0, -5.0))
    assert halving.stopped == {"run 0": 10} and "run 0 stopped at 10 updates: a seed diverged" in caplog.text


def test_what_was_decided_is_remembered_and_counts_for_those_that_come_later(tmp_path):
    before = halving_of(tmp_path, 3)
    assert before.goes_on("run 0", 10, scored(2.0)) and before.goes_on("run 0", 30, scored(3.0))
    assert not before.goes_on("run 1", 10, scored(1.0))
    later = halving_of(tmp_path, 3)
    assert later.stopped == {"run 1": 10} and later.rungs("run 0") == [90] and later.rungs("run 2") == [10, 30, 90]
    assert not later.goes_on("run 2", 10, scored(1.5))
    for rule, key in ((HalvingRule(10, 2, 2), "k"), (HalvingRule(10, 3, 1), "k"), (RULE, "another")):
        other = halving_of(tmp_path, 3, rule, key=key)
        assert other.stopped == {} and other.goes_on("run 2", 10, scored(0.0)), "by another rule, or of other runs"


def test_a_line_that_was_changed_is_said(tmp_path):
    halving_of(tmp_path, 2).goes_on("run 0", 10, scored(2.0))
    path = tmp_path / RUNGS
    line = json.loads(path.read_text())
    assert (line["run"], line["updates"], line["measure"], line["score"], line["goes_on"]) == ("run 0", 10, "mean_return", 2.0, True)
    path.write_text(path.read_text().replace("2.0", "3.0"))
    with pytest.raises(WarmloopError, match=r"rungs.jsonl, line 1, was changed or damaged.*judged again at this rung"):
        halving_of(tmp_path, 2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reward": {"signal": "success"}}, "a and b differ in the section reward"),
        ({"environment": {"id": "Pendulum-v0"}}, "a and b differ in the section environment"),
    ],
)
def test_scores_that_mean_different_things_are_not_compared(changes, says):
    with pytest.raises(WarmloopError, match=f"--asha compares the scores of all runs, and {says}"):
        check_comparable({"a": CONFIG, "b": CONFIG.replace(**changes)}, RULE)


def test_one_run_and_a_rung_that_none_comes_to_are_refused():
    with pytest.raises(WarmloopError, match="there is one"):
        check_comparable({"a": CONFIG}, RULE)
    with pytest.raises(WarmloopError, match="--asha_first=100: no run has more than 100 updates"):
        check_comparable({"a": CONFIG, "b": CONFIG}, HalvingRule(100, 3, 2))


def test_without_optuna_one_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(WarmloopError, match=r"--asha needs Optuna \(.*\); run `pip install 'warmloop\[asha\]'`"):
        halving_of(tmp_path, 2)

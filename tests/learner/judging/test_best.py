"""The best policy so far: how it is judged, when a fall is told, how often one is told that is none, and who acts then."""

import json
import logging
from typing import Any

import numpy as np
import pytest

from warmloop.data.errors import WarmloopError
from warmloop.data.wire.weights import Snapshot
from warmloop.learner.checkpoints import stored_policies
from warmloop.learner.config import LearnerConfig
from warmloop.learner.judging.best import BLOCKS_OF_WINDOW, BestPolicy
from warmloop.learner.judging.reported import EVALUATION, TRAINING, Outcome
from warmloop.learner.judging.tally import Tally
from warmloop.learner.judging.turns import TURNS


def snapshot(version: int) -> Snapshot:
    return Snapshot.of(version, {"w": np.full(3, version, np.float32)})


class Reports:
    """A best policy, and reports of a policy that is published anew before every episode."""

    def __init__(self, mode="keep", judged=TRAINING, success=True, window=20):
        self.best: Any = BestPolicy(LearnerConfig(keep_best=mode, best_window=window), judged, success)
        self.version = self.steps = 0
        self.best.published(snapshot(0))

    def episode(self, value: float, version: int | None = None, **more: float) -> None:
        """One training episode, by the newest version unless another is said."""
        self.version, self.steps = self.version + 1, self.steps + 5
        self.best.published(snapshot(self.version))
        name = "actor/success_rate" if self.best.success else "actor/episode_return"
        acted = float(self.version if version is None else version)
        self.best.heard({name: float(value), "actor/policy_version": acted, "actor/intervention_rate": 0.0, **more}, self.steps)

    def episodes(self, *values: float, **more: Any) -> None:
        for value in values:
            self.episode(value, **more)

    def evaluation(self, rate: float, count: int = 20, **more: float) -> None:
        about = {"evaluation/success_rate": rate, "evaluation/episodes": count, "evaluation/policy_version": self.version, **more}
        self.best.heard(about, self.steps)


def told(caplog, word: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if word in record.getMessage()]


@pytest.fixture(autouse=True)
def heard_logs(caplog):
    caplog.set_level(logging.INFO, "warmloop")


def test_the_best_is_the_window_with_the_highest_lower_bound_and_the_policy_in_its_middle():
    run = Reports()
    run.episodes(*[0, 1] * 10)
    assert run.best.kept.tally.mean == 0.5 and run.best.kept.policy.version == 15, "the middle of the last ten"
    run.episodes(*[1] * 20)
    assert run.best.kept.tally == Tally(20, 20, 20) and run.best.kept.policy.version == 35 and run.best.kept.steps == 200
    run.episodes(*[1] * 20)
    assert run.best.kept.tally.count == 40, "the same rate of more episodes is surer"
    kept = run.best.kept
    run.episodes(*[1, 1, 1, 1, 0] * 4)
    assert run.best.kept is kept and not run.best.fallen
    shown = run.best.metrics()
    assert shown["best/step"] == kept.policy.version and shown["best/success_rate"] == 1 and shown["recent/success_rate"] == 0.8
    assert shown["best/success_low"] == pytest.approx(kept.tally.interval(run.best.level, True)[0]) and shown["best/fallen"] == 0


def test_a_fall_is_told_once_in_one_line_while_it_happens_and_so_is_its_end(caplog):
    run = Reports()
    run.episodes(*[1, 1, 1, 1, 0] * 8)
    run.episodes(*[0] * 19)
    assert told(caplog, "fell") == []
    run.episode(0)
    (line,) = told(caplog, "fell")
    assert line.startswith("Success fell: 0 of the last 20 training episodes (0.00 to 0.") and "had 32 of 40 (0." in line
    assert f"the policy of update {run.best.kept.policy.version} " in line and "is what is evaluated and exported" in line
    run.episodes(*[0] * 60)
    assert len(told(caplog, "fell")) == 1 and run.best.metrics()["best/fallen"] == 1
    assert "fallen since" in run.best.told() and "32 of 40 training episodes" in run.best.told()
    run.episodes(*[1, 1, 1, 1, 0] * 4)
    (line,) = told(caplog, "is back")
    assert "16 of 20, beside 32 of 40" in line and not run.best.fallen
    run.episodes(*[0] * 20)
    assert len(told(caplog, "fell")) == 2


def test_a_small_fall_is_told_once_there_are_episodes_enough_for_it(caplog):
    run = Reports()
    run.episodes(*[1, 1, 1, 1, 0] * 16)
    run.episodes(*[1, 0] * 10)
    assert told(caplog, "fell") == []
    run.episodes(*[1, 0] * 30)
    assert len(told(caplog, "fell")) == 1


def runs_that_are_told_of_a_fall(runs: int, episodes: int, draw, success=True) -> float:
    """The share of runs whose episodes are all drawn alike that are told of a fall."""
    found = 0
    for number in range(runs):
        run, rng = Reports(success=success), np.random.default_rng(number)
        best = run.best
        for count, value in enumerate(draw(rng, episodes)):
            best.heard({"actor/success_rate": value, "actor/episode_return": value, "actor/policy_version": 0.0}, count)
            if best.fallen:
                found += 1
                break
    return found / runs


@pytest.mark.parametrize("rate", [0.3, 0.5])
def test_of_a_policy_that_stays_as_it_is_a_fall_is_seldom_told(rate):
    share = runs_that_are_told_of_a_fall(100, 500, lambda rng, n: (rng.random(n) < rate).astype(float))
    assert share <= 0.08, "0.034 is expected: 9 or more of 100 have a probability of 0.01"


@pytest.mark.parametrize(
    ("before", "rate", "within", "least"),
    [(60, 0.1, 30, 0.95), (60, 0.3, 60, 0.95), (60, 0.5, 240, 0.6), (20, 0.3, 60, 0.75), (20, 0.5, 240, 0.2)],
)
def test_how_soon_a_fall_from_four_fifths_is_told(before, rate, within, least):
    """The share of runs that are told in time, after so many episodes of the good policy."""
    count = 0
    for number in range(60):
        run, rng = Reports(), np.random.default_rng(number)
        for step in range(before + within):
            run.best.heard({"actor/success_rate": rng.random() < (0.8 if step < before else rate), "actor/policy_version": 0.0}, step)
        count += run.best.fallen
    print(f"from 0.8, known by {before} episodes, to {rate}: {count} of 60 within {within}")
    assert count >= 60 * least


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
def test_the_share_of_false_alarms_in_a_thousand_episodes(rate):
    share = runs_that_are_told_of_a_fall(400, 1000, lambda rng, n: (rng.random(n) < rate).astype(float))
    print(f"success {rate}: {share:.3f} of the runs")
    assert share <= 0.085, "0.05 is expected at most: more than 34 of 400 have a probability of 0.002"


@pytest.mark.slow
@pytest.mark.parametrize("draw", ["normal", "lognormal", "two_values", "constant"])
def test_the_share_of_false_alarms_where_returns_are_judged(draw):
    draws = {
        "normal": lambda rng, n: rng.normal(-200, 40, n),
        "lognormal": lambda rng, n: rng.lognormal(3, 1, n),
        "two_values": lambda rng, n: np.where(rng.random(n) < 0.3, 100.0, -1.0),
        "constant": lambda rng, n: 5 + 1e-3 * rng.normal(size=n),
    }
    share = runs_that_are_told_of_a_fall(400, 1000, draws[draw], success=False)
    print(f"{draw} returns: {share:.3f} of the runs")
    assert share <= 0.085, "0.05 is expected at most: more than 34 of 400 have a probability of 0.002"


def test_returns_are_judged_where_success_is_not_what_is_learnt_for(caplog):
    run, rng = Reports(success=False), np.random.default_rng(0)
    run.episodes(*rng.normal(-160, 20, 40))
    kept = run.best.kept.tally
    assert kept.mean == pytest.approx(-160, abs=10) and run.best.metrics()["best/return_low"] < kept.mean
    run.episodes(*rng.normal(-300, 20, 20))
    (line,) = told(caplog, "fell")
    assert line.startswith("The return fell: -29") and "over the last 20 training episodes (-30" in line


def test_intervals_are_wilsons_and_students():
    assert Tally(40, 31, 31).interval(0.95, True) == pytest.approx((0.625, 0.877), abs=1e-3)
    values = np.array([1.0, 2.0, 4.0, 9.0])
    tally = sum((Tally.of(value) for value in values), Tally())
    assert tally == Tally.of(values.mean(), 4, values.std())
    reach = 3.1824 * values.std(ddof=1) / 2  # Student's t of 3 degrees at 97.5 %
    assert tally.interval(0.95, False) == pytest.approx((4 - reach, 4 + reach), abs=1e-3)
    assert Tally().interval(0.95, True) == Tally.of(3.0).interval(0.95, False) == (-np.inf, np.inf)


def test_episodes_with_a_persons_help_random_actions_or_an_unknown_version_do_not_count():
    run = Reports()
    run.episodes(*[1] * 30, **{"actor/intervention_rate": 0.1})
    run.episodes(*[1] * 30, version=-1)
    run.episodes(*[1] * 30, version=10**9)
    assert run.best.kept.tally.count == 0 and run.best.left_out == 90 and run.best.metrics() == {}
    run.best.heard({"actor/faults": 1.0}, 5)
    run.best.heard({"actor/success_rate": 7.0, "actor/policy_version": 1.0}, 5)
    assert run.best.left_out == 90
    for count in (0, -3, 1e9):
        assert Outcome.of({"evaluation/success_rate": 1.0, "evaluation/episodes": count, "evaluation/policy_version": 0.0}, True) is None


def test_of_sampled_and_mean_actions_only_one_kind_is_judged(caplog):
    run = Reports(judged=EVALUATION)
    run.evaluation(0.8)
    assert run.best.kept.tally == Tally(20, 16, 16) and run.best.kept.policy.version == 0
    run.episodes(*[0] * 100)
    assert told(caplog, "fell") == [] and run.best.kept.tally.mean == 0.8
    run.evaluation(0.05)
    (line,) = told(caplog, "fell")
    assert "1 of the last 20 evaluation episodes" in line
    run = Reports(judged=TRAINING)
    run.evaluation(1.0)
    assert run.best.kept.tally.count == 0


def fallen(mode: str = "act", **settings: Any) -> Reports:
    run = Reports(mode, **settings)
    run.episodes(*[1, 1, 1, 1, 0] * 8)
    run.episodes(*[0] * 20)
    assert run.best.fallen
    return run


def alternating(run: Reports, episodes: int, best: float, trained: float, rng: np.random.Generator) -> np.ndarray:
    """Plays episodes of whoever is offered, the policy that is the best one now succeeding at its rate and all others at theirs; in which
    of them the best policy acted."""
    good = run.best.kept.policy.version
    acted = []
    for _ in range(episodes):
        kept = run.best.kept.policy.version
        version = run.best.offered.version
        acted.append(version == kept)
        run.episode(rng.random() < (best if version == good else trained), version=version)
    return np.array(acted)


def test_the_first_policy_and_the_trained_one_take_turns_by_how_well_each_does():
    for number, (warm, trained, least, most) in enumerate([(0.8, 0.1, 0.6, 0.67), (0.2, 0.0, 0.4, 0.67), (0.1, 0.8, 0.0, 0.4)]):
        run = Reports("act")
        acted = alternating(run, 200, warm, trained, np.random.default_rng(number))
        assert least <= acted.mean() <= most and 0 < acted[:20].sum() < 20, "either is tried"
        assert TURNS == 3 and "111" not in "".join(map(str, acted.astype(int)))
        if warm > trained:
            assert run.best.kept.policy.version == 0 and run.best.kept.tally.count == acted.sum() and run.best.ahead
            assert "The run stands by it" in run.best.told()
        else:
            assert run.best.kept.policy.version > 0 and not run.best.ahead
    keeping = fallen("keep")
    assert keeping.best.offered.version == keeping.version and keeping.best.ahead


def test_returns_take_turns_likewise():
    run, rng = Reports("act", success=False), np.random.default_rng(0)
    acted = []
    for _ in range(100):
        version = run.best.offered.version
        acted.append(version == 0)
        run.episode(rng.normal(-100 if version == 0 else -200, 30), version=version)
    assert 0.5 < np.mean(acted) < 0.67 and run.best.ahead and run.best.kept.policy.version == 0


def test_the_trained_policy_acts_again_once_it_does_as_well(caplog):
    run, rng = fallen(), np.random.default_rng(0)
    assert alternating(run, 60, 0.8, 0.0, rng).mean() > 0.6 and run.best.ahead
    alternating(run, 200, 0.8, 0.9, rng)
    assert told(caplog, "is back") and not run.best.fallen
    assert alternating(run, 100, 0.8, 0.9, rng).mean() < 0.6


def test_a_best_policy_that_was_lucky_gives_way():
    """Its own episodes after the fall are worse than those that it was kept for, and as bad as the trained one's."""
    run = fallen()
    kept = run.best.kept.policy.version
    for _ in range(90):
        run.episode(0, version=run.best.offered.version)
        if not run.best.ahead:
            break
    assert run.best.kept.policy.version == kept and run.best.kept.tally.mean < 0.5


def test_evaluations_decide_the_fall_and_training_episodes_the_turns():
    run = Reports("act", EVALUATION)
    run.evaluation(0.8)
    run.episode(0)
    run.evaluation(0.05)
    assert run.best.fallen and run.best.kept.policy.version == 0
    acted = alternating(run, 60, 0.8, 0.0, np.random.default_rng(0))
    assert acted.mean() > 0.5
    assert run.best.kept.tally == Tally(20, 16, 16), "sampled actions are no evidence of the mean action"


def test_off_does_nothing():
    run = Reports("off")
    run.episodes(*[1] * 40)
    run.episodes(*[0] * 40)
    assert not run.best.fallen and run.best.metrics() == {} and run.best.told() == "" and run.best.offered.version == 80
    assert run.best.state(lambda policies: []) is None and len(run.best._recent) == 1


@pytest.mark.parametrize("before", [3, 27, 45, 62, 75])
def test_a_run_that_goes_on_from_its_checkpoint_judges_as_if_it_had_not_stopped(tmp_path, before):
    rng = np.random.default_rng(1)
    values = [*(rng.random(40) < 0.8), *(rng.random(60) < 0.05)]

    def play(run: Reports, values: list[bool]) -> None:
        for value in values:
            run.episode(float(value), version=run.best.offered.version if run.best.acting else None)

    whole, first, second = Reports("act"), Reports("act"), Reports("act")
    play(whole, values)
    play(first, values[:before])
    state = json.loads(json.dumps(first.best.state(lambda policies: stored_policies.store(tmp_path, policies))))
    policies = [stored_policies.load(tmp_path, stored) for stored in state[stored_policies.POLICIES]]
    second.best.restore(state, policies)
    second.version, second.steps = first.version, first.steps
    second.best.published(snapshot(first.version))
    play(second, values[before:])
    both = [run.best.state(lambda policies: [one.version for one in policies]) for run in (whole, second)]
    assert both[0] == both[1] and whole.best.offered == second.best.offered


def test_what_is_judged_by_other_episodes_now_keeps_its_best_policy_and_counts_anew():
    run, other = fallen(), Reports(judged=EVALUATION)
    kept, state = run.best.kept.policy, run.best.state(lambda policies: list(policies))
    other.best.restore(state, state[stored_policies.POLICIES])
    assert other.best.kept.policy is kept and other.best.kept.tally.count == 0 and not other.best.fallen


def test_what_is_remembered_is_bounded():
    run = Reports()
    run.episodes(*[1, 0] * 200)
    assert len(run.best._recent) == 64 and len(run.best._blocks) == 8
    large = snapshot(10**6)
    run.best.published(Snapshot(10**6, bytes(100 << 20), large.sha256))
    assert len(run.best._recent) == 2


def test_wrong_settings_are_refused():
    with pytest.raises(WarmloopError, match=r'learner.keep_best is "yes"; it must be auto, off, keep or act'):
        LearnerConfig(keep_best="yes")
    with pytest.raises(WarmloopError, match=r"learner.best_window is 1; it must be at least 2"):
        LearnerConfig(best_window=1)
    assert BLOCKS_OF_WINDOW == 2

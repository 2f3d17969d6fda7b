"""The scripted teacher: when it takes over, for how long, and what it brings, on a line and in Meta-World."""

import numpy as np
import pytest
from hands import LINE, LockStep

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import EpisodePlan, record_episode
from warmloop.actor.intervention.teacher import TakeoverRule, Teacher
from warmloop.actor.policies.experts import scripted_policy
from warmloop.actor.policies.policy import NoisyPolicy, RandomPolicy
from warmloop.data.errors import WarmloopError

DRAWER = EnvironmentConfig("Meta-World/drawer-open-v3", horizon=200)
STILL, FORWARD = np.zeros(2, np.float32), np.array([1.0, 0.0], np.float32)


class Walker:
    """Walks the line to its end; `begun` are the seeds of its beginnings."""

    def __init__(self, measures=True):
        self.begun = []
        if measures:
            self.progress = lambda observation: observation[0]

    def begin(self, seed):
        self.begun.append(seed)

    def __call__(self, observation, step):
        return FORWARD


def who_acts(teacher, places, actions):
    """Whether the teacher acts, for a course of places and the policy's actions there."""
    teacher.begin(7)
    acts = []
    for step, (place, action) in enumerate(zip(places, actions, strict=True)):
        command = teacher(np.array([place, 0.0, 0.0]), action, step)
        assert command.signal is None and (command.action is None or (command.action == FORWARD).all())
        acts.append(command.action is not None)
    return acts


def test_it_takes_over_after_steps_without_progress_and_hands_back_once_there_was_some():
    expert = Walker()
    teacher = Teacher(expert, TakeoverRule(patience=3, hold=2, gain=0.1))
    places = [0.0, 0.5, 0.55, 0.5, 0.4, 0.5, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7]
    #         new  new  too little ----> stuck  and still: 0.6 gains nothing over 0.5 + 0.1; 0.7 does, and the policy has its patience again
    assert who_acts(teacher, places, [STILL] * 12) == [False] * 4 + [True] * 3 + [False] * 3 + [True] * 2
    assert expert.begun == [7, 7, 7]


def test_it_holds_on_for_at_least_its_hold_and_with_none_to_the_end():
    places = [0.0, 0.0, *np.arange(1, 9)]
    assert who_acts(Teacher(Walker(), TakeoverRule(patience=1, hold=4)), places, [STILL] * 10) == [False] + [True] * 4 + [False] * 5
    assert who_acts(Teacher(Walker(), TakeoverRule(patience=1, hold=0)), places, [STILL] * 10) == [False] + [True] * 9


def test_without_a_measure_it_goes_by_how_much_the_actions_differ_in_the_mean():
    rule = TakeoverRule(patience=2, hold=3, threshold=0.5)
    same, far = FORWARD, np.zeros(2)  # by 0.707
    actions = [far, same, far, far, far, same, same, same, far, far]
    acts = who_acts(Teacher(Walker(measures=False), rule), np.zeros(10), actions)
    assert acts == [False] * 3 + [True] * 3 + [False] * 3 + [True]
    assert who_acts(Teacher(Walker(measures=False), rule), np.zeros(9), [far] * 9) == [False] + [True] * 8


def test_a_measure_that_is_given_comes_before_the_experts_own():
    rule, places = TakeoverRule(patience=2, hold=1), np.arange(6.0)
    assert not any(who_acts(Teacher(Walker(), rule), places, [STILL] * 6))
    assert who_acts(Teacher(Walker(), rule, progress=lambda observation: -observation[0]), places, [STILL] * 6)[2:] == [True] * 4


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"patience": 0}, "at least 1"),
        ({"hold": -1}, "0 \\(the rest"),
        ({"gain": np.nan}, "gain is nan"),
        ({"threshold": -1.0}, "threshold is -1"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(setting, says):
    with pytest.raises(WarmloopError, match=says):
        TakeoverRule(**setting)


def test_in_the_control_loop_its_rows_arrive_flagged_and_win():
    run = LockStep(intervener=Teacher(Walker(), TakeoverRule(patience=2, hold=0)), environment=EnvironmentConfig(LINE, horizon=40))
    rows, reports = run.run(5)
    assert [report["actor/success_rate"] for report in reports] == [1.0] * 5
    taught = [part for part in rows if part.intervened.any()]
    assert len(taught) >= 3
    for part in taught:
        assert part.mask[-1] == 0
        first = int(np.argmax(part.intervened))
        assert part.intervened[first:].all() and (part.action[first:] == FORWARD).all()


def drawer(policy, seed, teaches=True):
    environment = make_environment(DRAWER)
    teacher = Teacher(scripted_policy(environment), TakeoverRule(patience=8, hold=12)) if teaches else None
    acting = policy(environment)
    return record_episode(environment, acting, seed, EpisodePlan(stop_at_success=True), intervener=teacher).episode


def test_it_opens_the_drawer_for_a_policy_that_cannot_and_is_the_same_for_the_same_seed():
    def hopeless(environment):
        return RandomPolicy(4)

    assert not drawer(hopeless, 0, teaches=False).succeeded
    once, again = drawer(hopeless, 0), drawer(hopeless, 0)
    assert once.succeeded and 0.5 < once.steps.intervened.mean() < 1.0
    for name in ("action", "intervened", "reward"):
        np.testing.assert_array_equal(getattr(once.steps, name), getattr(again.steps, name))


@pytest.mark.long
def test_it_intervenes_the_less_the_better_the_policy_is():
    rates = [
        np.mean(
            [drawer(lambda env, noise=noise: NoisyPolicy(scripted_policy(env), noise), seed).steps.intervened.mean() for seed in range(3)]
        )
        for noise in (2.0, 0.5, 0.0)
    ]
    assert rates[0] > rates[1] + 0.1 and rates[2] == 0.0

"""Who acts and who ends an episode: through the control loop with the real client, and in recordings."""

import enum

import gymnasium as gym
import numpy as np
import pytest
from hands import LINE, STEPS, LockStep, Told

from warmloop.actor.config import ActorConfig
from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import EpisodePlan, evaluate, record_episode, run_episode
from warmloop.actor.intervention.intervention import Command, Control, Signal, takeovers
from warmloop.actor.policies.policy import RandomPolicy
from warmloop.data.errors import WarmloopError
from warmloop.data.reward import RewardConfig, apply_reward
from warmloop.data.transition import Source
from warmloop.data.wire.episode_report import told

FORWARD = np.array([1.0, 0.0], np.float32)
BACK = np.array([-0.5, 0.25], np.float32)
ZERO_ONE, MINUS_ONE_ZERO = RewardConfig(), RewardConfig(bias=-1.0)
HOLD = ActorConfig(hold_episodes=True)


def test_rows_record_the_action_that_was_executed_and_who_chose_it():
    hand = Told({2: Command(BACK), 3: Command(BACK * 2), 6: Command(BACK)})
    (rows,), (report,) = LockStep(intervener=hand).run(1)
    assert rows.intervened.tolist() == [step in (2, 3, 6) for step in range(STEPS)]
    assert rows.source.tolist() == [Source.INTERVENTION if flag else Source.ONLINE for flag in rows.intervened]
    np.testing.assert_array_equal(rows.action[[2, 3, 6]], [BACK, BACK * 2, BACK])
    np.testing.assert_array_equal(rows.action[~rows.intervened], np.array(hand.seen)[~rows.intervened])
    np.testing.assert_allclose(np.diff(rows.observation[:, 0]), rows.action[:-1, 0], atol=1e-6)  # 1 is a step of 1
    assert report["actor/intervention_rate"] == 3 / 8 and report["actor/interventions"] == 2
    assert report["actor/intervention_length"] == 1.5 and report["actor/success_rate"] == 0.0


def test_without_a_hand_nothing_is_flagged_and_the_rate_is_reported_as_nothing():
    (rows,), (report,) = LockStep().run(1)
    assert not rows.intervened.any() and set(rows.source) == {Source.ONLINE}
    assert (report["actor/intervention_rate"], report["actor/interventions"], report["actor/intervention_length"]) == (0.0, 0.0, 0.0)


def test_an_action_beyond_one_is_executed_and_recorded_at_one():
    (rows,), _ = LockStep(intervener=Told({0: Command(np.array([3.0, -2.0]))})).run(1)
    np.testing.assert_array_equal(rows.action[0], [1.0, -1.0])
    assert rows.action.dtype == np.float32


@pytest.mark.parametrize(("action", "says"), [(np.zeros(3), r"shape \(2,\), and got \(3,\)"), (np.array([np.nan, 0]), "is not finite")])
def test_an_action_that_is_none_is_one_sentence(action, says):
    with pytest.raises(WarmloopError, match=says):
        LockStep(intervener=Told({1: Command(action)})).run(1)


@pytest.mark.parametrize(
    ("flags", "rate", "count", "mean"),
    [([], 0, 0, 0), ([0, 0], 0, 0, 0), ([1, 1], 1, 1, 2), ([0, 1, 0, 1, 1, 1], 4 / 6, 2, 2), ([1, 0, 0, 1], 0.5, 2, 1)],
)
def test_takeovers_are_counted_where_they_begin(flags, rate, count, mean):
    assert list(takeovers(flags).values()) == [rate, count, mean]


@pytest.mark.parametrize("reward", [ZERO_ONE, MINUS_ONE_ZERO])
def test_the_success_key_ends_the_episode_with_a_successs_reward(reward):
    (rows,), (report,) = LockStep(intervener=Told({3: Command(None, Signal.SUCCESS)}), reward=reward).run(1)
    assert rows.reward.tolist() == [reward.bias] * 3 + [1.0 + reward.bias]
    assert rows.mask.tolist() == [1, 1, 1, 0] and not rows.truncated.any()
    assert report["actor/success_rate"] == 1.0 and report["actor/episode_length"] == 4


def test_where_success_does_not_terminate_the_key_truncates():
    reward = RewardConfig(terminate_on_success=False)
    (rows,), _ = LockStep(intervener=Told({3: Command(FORWARD, Signal.SUCCESS)}), reward=reward).run(1)
    assert rows.reward.tolist() == [0, 0, 0, 1] and rows.mask.all() and rows.truncated.tolist() == [False, False, False, True]
    assert rows.intervened.tolist() == [False, False, False, True]


@pytest.mark.parametrize(("reward", "terminates"), [(ZERO_ONE, True), (MINUS_ONE_ZERO, False), (RewardConfig("environment"), False)])
def test_the_failure_key_terminates_only_where_ending_early_cannot_pay(reward, terminates):
    (rows,), (report,) = LockStep(intervener=Told({3: Command(None, Signal.FAILURE)}), reward=reward).run(1)
    assert len(rows.reward) == 4 and rows.mask[-1] == (not terminates) and rows.truncated[-1] == (not terminates)
    assert rows.reward[-1] == float(reward(1.0, False)) and report["actor/success_rate"] == 0.0


def test_a_persons_failure_outweighs_the_success_that_was_seen():
    hand = Told({step: Command(FORWARD) for step in range(7)} | {7: Command(FORWARD, Signal.FAILURE)})
    reward = RewardConfig(terminate_on_success=False)
    (rows,), (report,) = LockStep(intervener=hand, reward=reward).run(1)
    assert rows.reward[-2] == 1 and rows.reward[-1] == 0 and report["actor/success_rate"] == 0.0


@pytest.mark.parametrize("signal", [Signal.DISCARD, Signal.RERECORD])
def test_an_episode_that_was_streamed_already_stays_as_a_truncated_one_with_a_sentence(signal, caplog):
    run = LockStep(intervener=Told({3: Command(None, signal)}, {}))
    rows, reports = run.run(2)
    assert [len(part.reward) for part in rows] == [4, STEPS] and rows[0].truncated.tolist() == [False] * 3 + [True] and rows[0].mask.all()
    assert len(reports) == 2 and "Set --config.actor.hold_episodes to discard" in caplog.text
    assert [part.episode[0] for part in rows] == [0, 1] and run.waiting[:3] == [0, 1, 2]  # the intake waits for the next row


def test_a_discarded_episode_is_not_sent_and_the_next_one_is_another():
    hand = Told({3: Command(FORWARD, Signal.DISCARD)}, {})
    run = LockStep(HOLD, hand)
    (rows,), reports = run.run(2)
    assert len(rows.reward) == STEPS and set(rows.episode) == {1} and not rows.intervened.any()
    assert reports[0] == told(0, "discarded", 4) and len(reports) == 2, "the page shows it, and no measure counts it"
    assert hand.seeds[0] != hand.seeds[1] and run.loop.steps_taken == 4 + STEPS
    assert run.waiting == [0] * (4 + STEPS - 1) + [STEPS]


def test_an_episode_recorded_again_begins_from_the_same_start():
    hand = Told({3: Command(None, Signal.RERECORD)}, {2: Command(BACK, Signal.RERECORD)}, {})
    rows, reports = LockStep(HOLD, hand).run(4)
    assert len(rows) == 2 and [set(part.episode) for part in rows] == [{0}, {1}]
    assert reports[:2] == [told(0, "recorded again", 4), told(0, "recorded again", 3)] and len(reports) == 4
    assert hand.seeds[0] == hand.seeds[1] == hand.seeds[2] != hand.seeds[3]


def test_held_rows_are_the_streamed_ones():
    hands = [Told({2: Command(BACK), 5: Command(FORWARD, Signal.SUCCESS)}, {}) for _ in range(2)]
    (streamed, _), (held, _) = LockStep(ActorConfig(), hands[0]).run(3), LockStep(HOLD, hands[1]).run(3)
    for one, other in zip(streamed, held, strict=True):
        for name in vars(one):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_held_rows_of_an_episode_that_is_broken_off_are_not_lost():
    hand = Told({2: Command(BACK), 4: Command(np.array([np.nan, 0.0]))})
    run = LockStep(HOLD, hand)
    with pytest.raises(WarmloopError, match="not finite"):
        run.run(1)
    run.client.close()
    (rows,) = run.split([chunk.rows for chunk in run.intake.take(100)])
    assert rows.intervened.tolist() == [False, False, True, False] and rows.truncated.tolist() == [False, False, False, True]


def test_evaluation_has_no_interventions():
    hand = Told({step: Command(FORWARD) for step in range(STEPS)})
    run = LockStep(ActorConfig(evaluate_every=1, evaluation_episodes=2), hand)
    _, reports = run.run(1)
    assert len(hand.seeds) == 1 and sum("evaluation/success_rate" in report for report in reports) == 1


def test_an_evaluation_whose_successes_only_a_person_could_tell_is_refused_where_it_is_asked_for():
    config = EnvironmentConfig(LINE, {"signals": False}, success="operator")
    with pytest.raises(WarmloopError, match=r"An evaluation would count no success.*classifier:DIR.*collect .*--policy=checkpoint"):
        evaluate(make_environment(config), RandomPolicy(2), 0, 1)
    with pytest.raises(WarmloopError, match=r"^actor\.evaluate_every=5 would count no success"):
        LockStep(ActorConfig(evaluate_every=5), Told({}), environment=config)
    LockStep(ActorConfig(), Told({}), environment=config)


# What an environment's own device did, as its info says it.


def control(said, reward=ZERO_ONE, **settings):
    return Control(make_environment(EnvironmentConfig(LINE, {"said": said, **settings}), reward))


def steps(said, count=1, reward=ZERO_ONE, **settings):
    acting = control(said, reward, **settings)
    observation = acting.begin(0)
    return [acting.step(observation, BACK, step) for step in range(count)]


def test_hil_serls_key_is_an_intervention_whenever_it_is_there():
    taken = steps({1: {"intervene_action": np.array([4.0, -1.0])}, 2: {"intervene_action": [2.0, 0.5]}}, 4)
    assert [step.intervened for step in taken] == [False, True, True, False]
    np.testing.assert_allclose([step.action for step in taken], [BACK, [1, -1], [0, 0.5], BACK])  # in the policy's units
    assert {step.action.dtype for step in taken} == {np.dtype(np.float32)}


def test_lerobots_keys_are_an_intervention_where_the_flag_is_set():
    said = {step: {"is_intervention": flag, "teleop_action": np.array([1.0, 1.0])} for step, flag in enumerate([False, np.True_, 0, 1])}
    taken = steps(said, 4)
    assert [step.intervened for step in taken] == [False, True, False, True]
    np.testing.assert_allclose(taken[1].action, [-0.5, 1.0])
    np.testing.assert_array_equal(taken[0].action, BACK)


class TeleopEvents(enum.Enum):
    """LeRobot's."""

    SUCCESS = "success"
    FAILURE = "failure"
    RERECORD_EPISODE = "rerecord_episode"
    IS_INTERVENTION = "is_intervention"
    TERMINATE_EPISODE = "terminate_episode"


def lerobots(*true, action=(1.0, 1.0)):
    words = (TeleopEvents.IS_INTERVENTION, TeleopEvents.TERMINATE_EPISODE, TeleopEvents.SUCCESS, TeleopEvents.RERECORD_EPISODE)
    return {word: word in true for word in words} | {"teleop_action": np.array(action)}


def test_lerobots_keys_may_be_members_of_its_enum():
    taken = steps({0: lerobots(), 1: lerobots(TeleopEvents.IS_INTERVENTION)}, 2, signals=False)
    assert [step.intervened for step in taken] == [False, True] and [step.signal for step in taken] == [None, None]
    np.testing.assert_allclose(taken[1].action, [-0.5, 1.0])


def test_lerobots_words_on_an_episode():
    def said(*true):
        return steps({0: lerobots(TeleopEvents.TERMINATE_EPISODE, *true)}, 1, MINUS_ONE_ZERO, signals=False, terminates_at=1)[0]

    failed = said()
    assert failed.signal is Signal.FAILURE and failed.result.truncated and not failed.result.raw_terminated
    assert said(TeleopEvents.RERECORD_EPISODE).signal is Signal.RERECORD
    succeeded = said(TeleopEvents.SUCCESS)
    assert succeeded.signal is None and succeeded.result.success and succeeded.result.terminated and succeeded.result.learner_reward == 0


def test_the_earlier_name_of_a_persons_action_is_understood_where_the_flag_is_set():
    said = {step: {"is_intervention": flag, "action_intervention": np.array([1.0, 1.0])} for step, flag in enumerate([True, False])}
    taken = steps(said, 2)
    assert [step.intervened for step in taken] == [True, False]
    np.testing.assert_allclose(taken[0].action, [-0.5, 1.0])
    both = steps({0: {"is_intervention": True, "teleop_action": np.zeros(2), "action_intervention": np.ones(2)}})
    np.testing.assert_allclose(both[0].action, [-1.0, 0.0])


def test_the_environments_own_limits_are_the_ones_to_scale_by():
    config = EnvironmentConfig(LINE, {"said": {0: {"intervene_action": [3.0, 0.0]}}}, action_low=(1.0, -1.0), action_high=(3.0, 1.0))
    acting = Control(make_environment(config))
    np.testing.assert_allclose(acting.step(acting.begin(0), BACK, 0).action, [1.0, 0.0])


def test_an_action_beyond_the_limits_is_recorded_at_them_and_said_once(caplog):
    taken = steps({0: {"intervene_action": [5.0, 0.0]}, 1: {"intervene_action": [6.0, 0.0]}}, 2)
    assert [step.action[0] for step in taken] == [1.0, 1.0]
    assert len(caplog.records) == 1 and "lies beyond the limits" in caplog.text and "the action space ends there" in caplog.text


def test_limits_that_are_narrower_than_the_action_space_are_to_be_widened(caplog):
    config = EnvironmentConfig(LINE, {"said": {0: {"intervene_action": [4.0, 0.0]}}}, action_low=(1.0, -1.0), action_high=(3.0, 1.0))
    acting = Control(make_environment(config))
    np.testing.assert_allclose(acting.step(acting.begin(0), BACK, 0).action, [1.0, 0.0])
    assert "lies beyond the limits" in caplog.text and "widen environment.action_low and action_high" in caplog.text


@pytest.mark.parametrize(
    "info",
    [
        {"intervene_action": [1.0]},
        {"intervene_action": [np.nan, 0.0]},
        {"intervene_action": "left"},
        {"intervene_action": None},
        {"is_intervention": True},
        {"is_intervention": True, "teleop_action": np.zeros((1, 2))},
        {"is_intervention": True, "teleop_action": {"x": 1}},
    ],
)
def test_an_intervention_without_its_action_is_one_sentence(info):
    with pytest.raises(WarmloopError, match=r"a person acted at step 1, and its info has as .* the 2 finite numbers"):
        steps({0: info})


@pytest.mark.parametrize(("flag", "says"), [("False", "'False'"), ([1, [2]], r"\[1, \[2\]\]"), ({"arm": True}, "'arm'")])
def test_a_flag_that_is_neither_true_nor_false_is_one_sentence(flag, says):
    with pytest.raises(WarmloopError, match=f'"is_intervention" .*{says}.*neither true nor false; put True or False there'):
        steps({0: {"is_intervention": flag, "teleop_action": np.zeros(2)}})


def test_gym_hils_words_on_an_episode():
    def said(last, **info):
        return {0: {"is_intervention": False}, 1: {"is_intervention": False, "rerecord_episode": False, **info}} | last

    succeeded = steps(said({}, **{"next.success": True}), 2, terminates_at=2)[-1]
    assert succeeded.signal is Signal.SUCCESS and succeeded.result.success and succeeded.result.learner_reward == 1.0
    failed = steps(said({}, **{"next.success": False}), 2, MINUS_ONE_ZERO, terminates_at=2)[-1]
    assert failed.signal is Signal.FAILURE and failed.result.truncated and not failed.result.raw_terminated
    assert steps(said({}, **{"next.success": False}), 2, ZERO_ONE, terminates_at=2)[-1].result.terminated
    again = steps(said({}, **{"next.success": False, "rerecord_episode": True}), 2, terminates_at=2)[-1]
    assert again.signal is Signal.RERECORD and again.result.truncated and not again.result.terminated
    own = steps({}, 2, MINUS_ONE_ZERO, terminates_at=2)[-1]
    assert own.signal is None and own.result.terminated  # no device: it is the environment's own end


def test_an_evaluation_in_which_the_environments_device_acts_is_said_to_show_more_than_the_policy(caplog):
    environment = make_environment(EnvironmentConfig(LINE, {"said": {0: {"intervene_action": [2.0, 0.0]}}}))
    evaluate(environment, RandomPolicy(2), 0, 1)
    assert "does not show the policy alone" in caplog.text


# Recordings.


def test_a_recording_flags_the_steps_of_a_hand_and_keeps_what_it_was_told():
    environment = make_environment(EnvironmentConfig(LINE))
    hand = Told({1: Command(FORWARD), 4: Command(BACK, Signal.SUCCESS)})
    episode, signal = record_episode(environment, RandomPolicy(2), 0, EpisodePlan(source=Source.SUBOPTIMAL), intervener=hand)
    assert signal is Signal.SUCCESS and len(episode) == 5 and episode.succeeded
    assert episode.steps.intervened.tolist() == [False, True, False, False, True]
    assert episode.steps.source.tolist() == [1, 4, 1, 1, 4] and episode.steps.source.dtype == np.int32
    learnt = apply_reward(episode, MINUS_ONE_ZERO).steps
    assert learnt.mask.tolist() == [1, 1, 1, 1, 0] and learnt.reward.tolist() == [-1, -1, -1, -1, 0]


def test_a_recorded_failure_is_a_truncation_whatever_the_reward():
    environment = make_environment(EnvironmentConfig(LINE))
    episode = run_episode(environment, RandomPolicy(2), 0, intervener=Told({2: Command(None, Signal.FAILURE)}))
    assert len(episode) == 3 and not episode.succeeded and episode.steps.mask.all() and episode.steps.truncated[-1]


def test_without_a_success_signal_of_its_own_an_environment_goes_by_the_person():
    config = EnvironmentConfig(LINE, {"signals": False}, success="operator")
    environment = make_environment(config, RewardConfig())
    hand = Told({}, {5: Command(None, Signal.SUCCESS)})
    timed_out, told = (run_episode(environment, RandomPolicy(2), seed, intervener=hand) for seed in (0, 1))
    assert len(timed_out) == STEPS and timed_out.success is not None and not timed_out.succeeded
    assert len(told) == 6 and told.success is not None and told.success.tolist() == [False] * 5 + [True]
    with pytest.raises(WarmloopError, match="where a person says it, operator"):
        run_episode(make_environment(EnvironmentConfig(LINE, {"signals": False}), RewardConfig()), RandomPolicy(2), 0)


@pytest.mark.parametrize(
    ("end", "says"),
    [("success", (True, True, False)), ("failure", (False, False, True)), ("rerecord_episode", (False, False, True)), (None, None)],
)
def test_gym_hils_own_wrapper_is_understood(end, says):
    """Its keyboard's state is set directly; the events that set it are its own business."""
    pytest.importorskip("gym_hil", reason="gym-hil is not installed (extra [robotics])")
    try:
        from gym_hil.wrappers.hil_wrappers import InputsControlWrapper  # pyright: ignore[reportMissingImports]
        from gym_hil.wrappers.intervention_utils import InputController  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        pytest.skip(f"gym-hil's wrappers do not import here: {error}")

    class Keys(InputController):
        def get_deltas(self):
            return 0.5, -1.0, 0.25

    class Held(InputsControlWrapper):
        def __init__(self, env):
            gym.Wrapper.__init__(self, env)
            self.controller, self.use_gripper, self.auto_reset = Keys(), True, False

    environment = make_environment(EnvironmentConfig("gym_hil/PandaPickCube-v0"), MINUS_ONE_ZERO)
    environment.env = Held(environment.env)
    acting = Control(environment)
    observation = acting.begin(0)
    own = acting.step(observation, np.full(4, 0.125), 0)
    environment.env.controller.intervention_flag = True
    environment.env.controller.episode_end_status = end
    taken = acting.step(observation, np.full(4, 0.125), 1)
    environment.close()
    assert not own.intervened and (own.action == 0.125).all() and own.signal is None
    assert taken.intervened
    np.testing.assert_allclose(taken.action, [0.5, -1.0, 0.25, 0.0], atol=1e-6)  # its gripper's 1 of 0 to 2 holds
    if says is None:
        assert taken.signal is None and not (taken.result.terminated or taken.result.truncated)
    else:
        assert (taken.result.success, taken.result.terminated, taken.result.truncated) == says
        assert taken.signal is {"success": Signal.SUCCESS, "failure": Signal.FAILURE}.get(end, Signal.RERECORD)

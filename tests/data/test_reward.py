"""The reward's rule, the end at success, and Monte-Carlo returns."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import assert_identical, episode, episode_lists, returns_by_loop

from warmloop.data.errors import WarmloopError
from warmloop.data.reward import RewardConfig, apply_reward, estimated_returns, monte_carlo, return_bounds

RUN_ON = {"terminate_on_success": False}
DENSE = RewardConfig(signal="environment", terminate_on_success=False, discount=0.9)


def test_rewards_are_scale_times_signal_plus_bias():
    e = episode(3, rewards=[3.0, -1.0, 2.0], success=[0, 1, 1])
    success = apply_reward(e, RewardConfig(scale=10.0, bias=-5.0, **RUN_ON))
    dense = apply_reward(e, RewardConfig(signal="environment", scale=10.0, bias=-5.0, **RUN_ON))
    assert success.steps.reward.tolist() == [-5, 5, 5]
    assert dense.steps.reward.tolist() == [25, -15, 15]
    assert success.steps.reward.dtype == np.float32


def test_the_rule_is_the_same_for_one_live_step():
    config = RewardConfig(scale=2.0, bias=-1.0)
    assert (config(7.0, True), config(7.0, False)) == (1.0, -1.0)


def test_an_episode_ends_terminated_at_its_first_success():
    e = apply_reward(episode(5, success=[0, 0, 1, 0, 1]), RewardConfig())
    assert len(e) == 3
    assert e.steps.mask.tolist() == [1, 1, 0]
    assert not e.steps.truncated.any()
    assert np.asarray(e.success).tolist() == [False, False, True]


def test_a_success_at_the_time_limit_is_no_truncation():
    e = apply_reward(episode(3, success=[0, 0, 1]), RewardConfig())
    assert e.steps.mask.tolist() == [1, 1, 0] and not e.steps.truncated.any()


def test_a_failure_keeps_its_time_limit():
    e = apply_reward(episode(3, success=[0, 0, 0]), RewardConfig())
    assert e.steps.mask.tolist() == [1, 1, 1] and e.steps.truncated.tolist() == [False, False, True]


@settings(max_examples=60, deadline=None)
@given(episode_lists(success=("all",)), st.booleans(), st.sampled_from(["success", "environment"]))
def test_nothing_but_rewards_ends_and_returns_changes(episodes, terminate, signal):
    config = RewardConfig(signal=signal, terminate_on_success=terminate)
    for before in episodes:
        snapshot = before.steps.mask.copy(), before.steps.truncated.copy(), before.steps.reward.copy()
        after = apply_reward(before, config)
        for name in ("observation", "next_observation"):
            leaf, cut = (getattr(x.steps, name) for x in (before, after))
            for whole, part in zip(*((x.values() if isinstance(x, dict) else [x]) for x in (leaf, cut)), strict=True):
                assert_identical(whole[: len(after)], part)
        assert_identical(before.steps.action[: len(after)], after.steps.action)
        assert_identical(snapshot, (before.steps.mask, before.steps.truncated, before.steps.reward))
        assert after.succeeded == before.succeeded


@settings(max_examples=60, deadline=None)
@given(episode_lists(), st.floats(0.1, 1.0))
def test_returns_of_an_episode_that_terminated_match_a_plain_loop(episodes, discount):
    config = dataclasses.replace(DENSE, discount=discount)
    for e in episodes:
        after = apply_reward(e, config)
        expected = returns_by_loop(e.steps.reward, e.steps.mask == 0, discount)
        assert np.allclose(estimated_returns(after, config), expected, rtol=1e-5, atol=1e-5)
        assert np.allclose(after.steps.mc_return, expected if e.steps.mask[-1] == 0 else -np.inf, rtol=1e-5, atol=1e-5)
        assert after.steps.mc_return.dtype == np.float32


def test_a_cut_episode_s_rewards_of_the_environment_s_own_are_no_bound_on_its_return():
    returns = apply_reward(episode(200, rewards=-np.ones(200)), DENSE).steps.mc_return
    assert (returns == -np.inf).all(), "the last row's recorded return is -1, and its value -10"


def test_rows_before_a_terminal_step_have_returns_and_those_after_it_that_were_cut_do_not():
    returns = monte_carlo(np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, 1.0]), DENSE)
    assert returns.tolist() == [pytest.approx(2.8), 2.0, -np.inf]


@pytest.mark.parametrize(("bias", "least"), [(0.0, 0.0), (-1.0, -10.0)])
def test_what_a_cut_episode_is_at_least_worth_is_what_it_was_paid_and_the_least_that_can_follow(bias, least):
    """A success in the middle, after which it failed until it was cut."""
    config = RewardConfig(terminate_on_success=False, bias=bias, discount=0.9)
    e = apply_reward(episode(4, success=[0, 1, 0, 0]), config)
    expected = returns_by_loop(np.append(e.steps.reward, least), [False] * 5, 0.9)[:4]
    np.testing.assert_allclose(e.steps.mc_return, expected, rtol=1e-6)


def test_a_reward_for_staying_alive_leaves_at_least_what_a_success_then_pays():
    config = RewardConfig(bias=1.0, discount=0.9)
    least = return_bounds(config)[0]
    assert 0 < least < 10, "a success, or the end, may come at once"
    assert apply_reward(episode(1, success=[0]), config).steps.mc_return == pytest.approx([1 + 0.9 * least])


def test_a_terminal_return_is_the_reward():
    e = apply_reward(episode(4, terminated=True), DENSE)
    assert e.steps.mc_return[-1] == e.steps.reward[-1]


def test_a_success_is_worth_its_discounted_reward_all_the_way_back():
    e = apply_reward(episode(4, success=[0, 0, 0, 1]), RewardConfig(discount=0.9))
    assert e.steps.mc_return == pytest.approx([0.729, 0.81, 0.9, 1.0])


def test_a_sparse_failure_is_taken_to_go_on_failing():
    config = RewardConfig(bias=-1.0, discount=0.9)
    assert apply_reward(episode(3, success=[0, 0, 0]), config).steps.mc_return == pytest.approx([-10.0] * 3)
    over = apply_reward(episode(3, success=[0, 0, 0], terminated=True), config)
    assert over.steps.mc_return == pytest.approx([-2.71, -1.9, -1.0]), "an episode that is over does not go on failing"


def test_without_discount_a_failure_that_was_cut_has_no_bound():
    config = RewardConfig(bias=-1.0, discount=1.0)
    assert (monte_carlo(np.full(3, -1.0, np.float32), np.ones(3), config) == -np.inf).all()
    assert monte_carlo(np.full(3, -1.0, np.float32), np.array([1, 1, 0]), config).tolist() == [-3, -2, -1]
    assert monte_carlo(np.zeros(3, np.float32), np.ones(3), RewardConfig(discount=1.0)).tolist() == [0, 0, 0]


def test_an_estimate_of_a_failure_that_was_cut_goes_on_failing_and_any_other_stops_where_it_was_cut():
    config = RewardConfig(bias=-1.0, discount=0.9, terminate_on_success=False)
    assert estimated_returns(apply_reward(episode(3, success=[0, 0, 0]), config), config) == pytest.approx([-10.0] * 3)
    assert estimated_returns(apply_reward(episode(3, success=[0, 1, 0]), config), config) == pytest.approx([-1.81, -0.9, -1.0])


@pytest.mark.parametrize("changed", [{}, {"signal": "environment"}, {"terminate_on_success": False}])
def test_a_missing_success_signal_is_named_with_the_settings_that_do_without(changed):
    with pytest.raises(WarmloopError, match=r"memory, episode 3: no success signal .* --config.reward.signal=environment"):
        apply_reward(episode(3, 3), RewardConfig(**changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"signal": "dense"}, '"environment" or "success"'), ({"discount": 0.0}, "discount is 0.0"), ({"discount": 1.1}, "discount is 1.1"),
     ({"scale": np.inf}, "scale is inf"), ({"bias": np.nan}, "bias is nan")],
)  # fmt: skip
def test_a_setting_that_makes_no_sense_is_refused(changed, said):
    with pytest.raises(WarmloopError, match=said):
        RewardConfig(**changed)


@pytest.mark.parametrize(
    ("success", "terminated", "last", "succeeded"),
    [([0, 1, 0], False, 0, True), ([0, 0, 0], True, 1, False), (None, True, 1, True), (None, True, 0, False), (None, False, 1, False)],
)
def test_an_episode_succeeded_by_its_signal_or_else_by_ending_with_a_reward(success, terminated, last, succeeded):
    assert episode(3, success=success, terminated=terminated, rewards=[0, 0, last]).succeeded is succeeded


@pytest.mark.parametrize("discount", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("terminate", [True, False])
@pytest.mark.parametrize("scale", [1.0, 10.0, -1.0, 0.0])
@pytest.mark.parametrize("bias", [0.0, -1.0, 0.1, -5.0, 3.0])
def test_the_bounds_hold_every_episode_that_can_be_and_are_reached(scale, bias, terminate, discount):
    """Episodes of up to 9 steps that end by a success, by a failure that the environment terminates, or not at all."""
    config = RewardConfig(scale=scale, bias=bias, terminate_on_success=terminate, discount=discount)
    steady = [bias] if terminate else [bias, bias + scale]  # what may be paid for ever, where nothing ends the episode
    returns = []
    for steps in range(1, 10):
        for outcome in itertools.product((False, True), repeat=steps):
            if terminate and any(outcome[:-1]):
                continue
            paid = sum(discount**t * (bias + scale * success) for t, success in enumerate(outcome))
            returns.append(paid)
            if discount < 1 and not (terminate and outcome[-1]):
                returns += [paid + discount**steps * each / (1 - discount) for each in steady]
    low, high = return_bounds(config)
    assert low - 1e-9 <= min(returns) and max(returns) <= high + 1e-9
    for bound, reached in ((low, min(returns)), (high, max(returns))):
        assert bound == pytest.approx(reached) or (math.isinf(bound) and abs(reached) > 8 * min(abs(each) for each in steady if each))

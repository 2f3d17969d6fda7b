"""The reward's rule, the end at success, and Monte-Carlo returns."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import assert_identical, episode, episode_lists, returns_by_loop

from warmloop.data.errors import WarmloopError
from warmloop.data.reward import RewardConfig, apply_reward, monte_carlo

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
def test_returns_match_a_plain_loop(episodes, discount):
    config = dataclasses.replace(DENSE, discount=discount)
    for e in episodes:
        after = apply_reward(e, config)
        expected = returns_by_loop(e.steps.reward, e.steps.mask == 0, discount)
        assert np.allclose(after.steps.mc_return, expected, rtol=1e-5, atol=1e-5)
        assert after.steps.mc_return.dtype == np.float32


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


def test_without_discount_a_failure_s_return_is_what_was_recorded():
    assert monte_carlo(np.full(3, -1.0, np.float32), np.ones(3), RewardConfig(bias=-1.0, discount=1.0)).tolist() == [-3, -2, -1]


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

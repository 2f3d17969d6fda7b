"""Numbers that cannot be: found in recorded data and in rows of actors, and bounds that no legitimate run meets."""

import dataclasses

import numpy as np
import pytest

from warmloop.data.episode import Episode
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.data.plausible import ABSURD, PlausibleConfig, believed_episodes, find_limits, implausible
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Leaf, Source, Spec, example

SPEC = Spec((Leaf("", (3,), "float32"),), 2)
DICT = Spec((Leaf("force", (6,), "float32"), Leaf("image", (4, 4, 3), "uint8"), Leaf("joints", (2,), "float32")), 2)
DENSE = RewardConfig(signal="environment", terminate_on_success=False)
SPARSE = RewardConfig()


def rows(count=20, spec=SPEC, seed=0):
    rng = np.random.default_rng(seed)
    steps = example(spec, count).replace(reward=rng.normal(size=count).astype(np.float32), mc_return=np.full(count, -np.inf, np.float32))
    if spec is SPEC:
        values = rng.normal(size=(count + 1, 3)).astype(np.float32)
        steps = steps.replace(observation=values[:-1].copy(), next_observation=values[1:].copy())
    return steps


def recorded(steps):
    return [Episode(steps, None, "demos.npz", 3, Source.DEMOS)]


def check(steps, **settings):
    believed_episodes(recorded(steps), PlausibleConfig(**settings), DENSE)


@pytest.mark.parametrize("value", [1e20, -1e20, 1e9, 3e38, 1.1e6])
def test_one_value_far_beyond_all_others_is_refused_with_its_place_and_the_flag_that_allows_it(value):
    steps = rows()
    steps.reward[7] = value
    with pytest.raises(WarmloopError, match=r"demos\.npz, episode 3, step 7: the reward is .*--config\.plausible\.reward=1e\d+\.$"):
        check(steps)
    steps = rows()
    steps.observation[5, 1] = value
    with pytest.raises(WarmloopError, match=r"episode 3, step 5: the observation is .*--config\.plausible\.observation=1e\d+\.$"):
        check(steps)
    steps = rows()
    steps.next_observation[19, 1] = value
    with pytest.raises(WarmloopError, match=r"step 19: the next observation is "):
        check(steps)


def test_a_bad_episode_can_be_left_out_and_is_named_and_not_all_of_them(caplog):
    good, bad = rows(200), rows(20, seed=1)
    bad.reward[7], bad.observation[3, 1] = 1e9, 1e9
    episodes = [*recorded(good), dataclasses.replace(recorded(bad)[0], number=4)]
    assert believed_episodes(episodes, PlausibleConfig(), DENSE, skip_bad_episodes=True) == episodes[:1]
    assert caplog.messages == [message for message in caplog.messages if "left out: demos.npz, episode 4, step 7: the reward is" in message]
    assert len(caplog.messages) == 1
    with pytest.raises(WarmloopError, match=r"episode 4, step 7.*--skip_bad_episodes"):
        believed_episodes(episodes, PlausibleConfig(), DENSE)
    with pytest.raises(WarmloopError, match="No episode is left"):
        believed_episodes(episodes[1:], PlausibleConfig(reward=1.0), DENSE, skip_bad_episodes=True)


def test_the_flag_that_the_sentence_names_lets_the_data_pass():
    steps = rows()
    steps.reward[7] = 3e7
    with pytest.raises(WarmloopError, match=r"plausible\.reward=1e8"):
        check(steps)
    check(steps, reward=1e8)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3, 1e5, 1e7, 1e9])
def test_data_in_any_unit_are_believed_where_the_values_agree_with_each_other(scale):
    steps = rows()
    check(steps.replace(reward=steps.reward * np.float32(scale), observation=steps.observation * np.float32(scale)))


def test_a_rare_bonus_and_a_sensor_that_is_mostly_silent_are_believed():
    steps = rows(1000)
    steps.reward[:], steps.reward[500] = -1.0, 1e5
    steps.observation[:, 2], steps.observation[400:405, 2] = 0.0, 9e5
    check(steps)


def test_a_bound_of_ones_own_is_the_bound():
    steps = rows()
    steps.observation[5, 1] = 50.0
    check(steps, observation=60.0)
    with pytest.raises(WarmloopError, match=r"the observation is 50, beyond 40"):
        check(steps, observation=40.0)
    for wrong in ({"reward": -1.0}, {"observation": np.inf}, {"reward": np.nan}):
        with pytest.raises(WarmloopError, match=r"plausible\.(reward|observation) is"):
            PlausibleConfig(**wrong)


def test_readers_refuse_what_no_measurement_can_be_with_its_place(tmp_path):
    count = 30
    arrays = {
        "observations": np.zeros((count, 3), np.float32),
        "actions": np.zeros((count, 2), np.float32),
        "rewards": np.zeros(count, np.float32),
        "terminals": np.arange(count) == count - 1,
    }
    arrays["rewards"][4] = 1e20
    np.savez(tmp_path / "demos.npz", **arrays)
    with pytest.raises(WarmloopError, match=r"episode 0, step 4: `rewards` holds 1e\+20; repair the value or remove the episode"):
        load_episodes(tmp_path / "demos.npz")


def faults(steps, limits):
    return [(np.flatnonzero(bad).tolist(), reason) for bad, reason in implausible(steps, limits)]


def test_limits_are_generous_and_follow_what_is_known():
    limits = find_limits(PlausibleConfig(), DENSE, SPEC, None)
    assert (limits.observation, limits.reward) == ({"": 1e6}, 1e6)
    limits = find_limits(PlausibleConfig(), DENSE, SPEC, rows())
    assert (limits.observation, limits.reward) == ({"": 1e4}, 1e5)
    wide = rows()
    limits = find_limits(PlausibleConfig(), DENSE, SPEC, wide.replace(observation=wide.observation * 0 + 5e4, reward=wide.reward * 0 + 3e4))
    assert (limits.observation, limits.reward) == ({"": pytest.approx(5e6)}, pytest.approx(3e6))
    assert find_limits(PlausibleConfig(), RewardConfig(scale=10.0, bias=-5.0), SPEC, None).reward == 500.0
    assert find_limits(PlausibleConfig(), SPARSE, SPEC, None).reward == 100.0
    own = find_limits(PlausibleConfig(observation=7.0, reward=8.0), DENSE, SPEC, rows())
    assert (own.observation, own.reward) == ({"": 7.0}, 8.0)


def test_a_resumed_run_has_the_limits_that_it_found_at_first_unless_they_are_set():
    first = find_limits(PlausibleConfig(), DENSE, SPEC, rows())
    saved = dataclasses.asdict(first)
    assert find_limits(PlausibleConfig(), DENSE, SPEC, None, saved) == first
    assert find_limits(PlausibleConfig(reward=5.0), DENSE, SPEC, None, saved).reward == 5.0


def test_each_number_of_a_row_is_held_against_what_it_can_be():
    limits, steps = find_limits(PlausibleConfig(), SPARSE, SPEC, rows()), rows()
    steps.reward[:] = 0
    assert faults(steps, limits) == []
    wrong = {
        "observation": (1e20, "observation is 1e+20, beyond 1e+04 (--config.plausible.observation)"),
        "next_observation": (-2e4, "next_observation is -2e+04, beyond 1e+04 (--config.plausible.observation)"),
        "reward": (101.0, "reward is 101, beyond 100 (--config.plausible.reward)"),
        "mc_return": (1e20, "mc_return is 1e+20, beyond 1e+04 (--config.plausible.reward)"),
        "mask": (0.5, "mask is neither 0 nor 1"),
        "quality": (1e30, "quality is not in (0, 1]"),
        "source": (-5, "source is no kind of data"),
        "step": (-1, "step, episode or policy_version is negative"),
        "episode": (-(2**31), "step, episode or policy_version is negative"),
        "policy_version": (-2, "step, episode or policy_version is negative"),
    }
    for name, (value, reason) in wrong.items():
        spoilt = steps.replace(**{name: getattr(steps, name).copy()})
        getattr(spoilt, name)[3] = value
        assert faults(spoilt, limits) == [([3], reason)]


def test_a_dict_of_observations_has_a_limit_for_each_of_its_parts_and_none_for_pictures():
    steps = example(DICT, 5)
    steps.observation["joints"][2] = 2e6
    limits = find_limits(PlausibleConfig(), SPARSE, DICT, None)
    assert set(limits.observation) == {"force", "image", "joints"} and ABSURD > 1e6
    assert [bad for bad, _ in faults(steps, limits)] == [[2], [2]]  # `example` shares one array with the next observation
    limits = find_limits(PlausibleConfig(observation=1e7), SPARSE, DICT, None)
    assert faults(steps, limits) == []

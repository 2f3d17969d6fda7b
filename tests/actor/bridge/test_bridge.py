"""An own environment's spaces and values: what can be bridged is, and the rest is a sentence that names the part and the remedy."""

import logging
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import ARM, STATE, Scripted, environment

from warmloop.actor.bridge.actions import Actions
from warmloop.actor.bridge.info import is_true
from warmloop.data.errors import EnvironmentFault, WarmloopError
from warmloop.data.running import said

Box, Dict, Discrete = gym.spaces.Box, gym.spaces.Dict, gym.spaces.Discrete
GRIPPER = Dict({"arm": ARM, "gripper": Discrete(3)})


@pytest.fixture(autouse=True)
def nothing_said_yet():
    said._said.clear()


def observed(space: Any, value: Any, **config: Any) -> Any:
    return environment(Scripted(space, [value]), **config).reset(0)


def test_two_parts_of_one_name_are_refused():
    space = Dict({"arm.force": STATE, "arm": Dict({"force": STATE})})
    with pytest.raises(WarmloopError, match=r'two parts of observations that are called "arm.force", \[.*\] and \[.*\]; rename one'):
        observed(space, {"arm.force": np.zeros(3), "arm": {"force": np.ones(3)}})


@pytest.mark.parametrize(
    ("space", "value", "numbers"),
    [
        (Discrete(2), 1, [1]),
        (Discrete(3), np.int64(2), [0, 0, 1]),
        (Discrete(3, start=-1), -1, [1, 0, 0]),
        (gym.spaces.MultiBinary(3), np.array([1, 0, 1], np.int8), [1, 0, 1]),
        (gym.spaces.MultiBinary((2, 2)), np.eye(2, dtype=np.int8), [1, 0, 0, 1]),
        (gym.spaces.MultiDiscrete([2, 3]), np.array([1, 0]), [1, 1, 0, 0]),
        (Box(-1, 1, (), np.float32), 0.5, [0.5]),
        (Box(-1, 1, (1,), np.float32), np.float64(0.5), [0.5]),
        (Box(-1, 1, (2,), np.float32), [0.5, -0.5], [0.5, -0.5]),
        (Box(0, 255, (2,), np.uint8), np.array([3, 255], np.uint8), [3, 255]),
        (Box(-9, 9, (2,), np.float16), np.array([0.5, -8], np.float16), [0.5, -8]),
        (Box(-9, 9, (2,), np.float64), np.ma.array([0.5, -8], mask=False), [0.5, -8]),
        (Box(0, 1, (2,), bool), np.array([True, False]), [1, 0]),
        (Box(-(2**40), 2**40, (2,), np.int64), np.array([2**24, 2**30]), [2**24, 2**30]),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_stands_for_numbers_becomes_numbers_along_one_axis(space: gym.Space, value: Any, numbers: list):
    observation = observed(Dict({"part": space, "state": STATE}), {"part": value, "state": np.zeros(3)})
    assert observation["part"].dtype == np.float32
    np.testing.assert_array_equal(observation["part"], numbers)
    np.testing.assert_array_equal(observed(space, value), numbers)


def test_a_tuple_and_a_dict_in_it_are_named_by_their_places():
    space = gym.spaces.Tuple((STATE, Dict({"force": STATE})))
    observation = observed(space, (np.zeros(3), {"force": np.ones(3)}))
    assert {name: leaf.tolist() for name, leaf in observation.items()} == {"0": [0, 0, 0], "1.force": [1, 1, 1]}


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (gym.spaces.Text(20), "no agent takes"),
        (gym.spaces.Sequence(STATE), "no agent takes"),
        (gym.spaces.Graph(STATE, None), "no agent takes"),
        (Discrete(100_000), "a choice among 100,000"),
        (Box(-1, 1, (64, 64), np.float32), r"shape \(64, 64\).*as_numbers:odd.*as_picture:odd"),
        (Box(0, 65535, (32, 32, 1), np.uint16), r"bounds of 0 and .*as_picture:odd,black=0,white=65535.*as_numbers:odd"),
        (Box(-np.inf, np.inf, (32, 32, 3), np.float32), r"no bounds.*as_picture:odd,black=BLACK,white=WHITE.*as_numbers:odd"),
        (Box(0, 255, (9, 84, 84), np.uint8), r"shape \(9, 84, 84\).*not certain.*layout=first or layout=last"),
    ],
)
def test_a_part_that_no_agent_takes_is_refused_by_name_and_can_be_left_out(space: gym.Space, says: str):
    both = Dict({"odd": space, "state": STATE})
    with pytest.raises(WarmloopError, match=f'"odd".*{says}.*--config.environment.unseen="\\(\'odd\',\\)"'):
        environment(Scripted(both))
    seen = observed(both, {"odd": "pick up the cube", "state": np.ones(3)}, unseen=("odd",))
    assert list(seen) == ["state"]


@pytest.mark.parametrize(
    ("scripted", "says"),
    [
        (Scripted(observation_space=None), "observation_space None"),
        (Scripted(action_space=None), "action_space None"),
        (Scripted(observation_space=(3,)), r"observation_space \(3,\)"),
        (Scripted(observation_space=Dict({})), "observes nothing"),
        (Scripted(action_space=Discrete(5)), "discrete actions, Discrete.5..*none for discrete actions is available.*wrapper of your own"),
        (Scripted(action_space=gym.spaces.Text(3)), "cannot be numbers between bounds"),
        (Scripted(action_space=Dict({"arm": ARM, "say": gym.spaces.Text(3)})), "an action 'say'"),
        (Scripted(action_space=Dict({})), "takes no actions"),
        (Scripted(action_space=Box(-np.inf, np.inf, (2,))), "environment.action_low="),
        (Scripted(action_space=Box(-3.4e38, 3.4e38, (1,))), r'--config.environment.action_low="\(-1.0,\)" --config.environment.action_h'),
    ],
)
def test_spaces_that_cannot_be_bridged_are_a_sentence(scripted: gym.Env, says: str):
    with pytest.raises(WarmloopError, match=says):
        environment(scripted)


def test_absurd_action_bounds_are_bounded_by_the_settings():
    bounded = environment(Scripted(action_space=Box(-3.4e38, 3.4e38, (2,))), action_low=(-2.0, 0.0), action_high=(2.0, 8.0))
    bounded.reset(0)
    bounded.step(np.array([1.0, 0.0]))
    np.testing.assert_allclose(bounded.env.unwrapped.received, [[2.0, 4.0]])  # pyright: ignore[reportAttributeAccessIssue]


def acted(space: gym.Space, action: Any) -> Any:
    scripted = Scripted(action_space=space)
    made = environment(scripted)
    made.reset(0)
    action = np.array(action, np.float32)
    action.setflags(write=False)
    made.step(action)
    assert space.contains(scripted.received[0]), scripted.received
    return scripted.received[0]


def test_an_action_whose_bounds_are_equal_is_held_there_and_told_once(caplog):
    locked = Box(np.array([-1.0, 0.25], np.float32), np.array([1.0, 0.25], np.float32))
    np.testing.assert_array_equal(acted(locked, [0.5, -0.7]), np.float32([0.5, 0.25]))
    acted(locked, [0.5, 1.0])
    assert [record.getMessage().count("its action 1 are equal") for record in caplog.records] == [1]


def test_flat_actions_become_the_environments_own():
    low, middle, high = (acted(GRIPPER, [0.5, -0.5, command]) for command in (-0.34, -0.33, 0.34))
    assert [action["gripper"] for action in (low, middle, high)] == [0, 1, 2]
    np.testing.assert_allclose(low["arm"], [0.5, -0.5])
    np.testing.assert_array_equal(acted(gym.spaces.MultiDiscrete([2, 3]), [1, -1]), [1, 0])
    np.testing.assert_array_equal(acted(gym.spaces.MultiBinary(2), [0.1, -0.1]), [1, 0])
    np.testing.assert_allclose(acted(Box(-2, 2, (2, 2), np.float32), [1, 0, -1, 0.5]), [[2, 0], [-2, 1]])
    np.testing.assert_array_equal(acted(Box(0, 10, (2,), np.int32), [0.13, -1]), [6, 0])
    first, second = acted(gym.spaces.Tuple((ARM, Box(0, 1, (), np.float64))), [1, 0, 0.0])
    np.testing.assert_allclose(first, [1, 0])
    assert second == 0.5


@given(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3))
def test_flattening_gives_back_the_action_that_was_taken(action: list[float]):
    actions = Actions(GRIPPER, "lab")
    low, high = (np.asarray(side, np.float64) for side in (actions.space.low, actions.space.high))
    flat = low + (np.array(action) + 1) / 2 * (high - low)
    own = actions(flat)
    again = actions.flatten(own)
    np.testing.assert_allclose(again[:2], flat[:2], atol=1e-6)
    assert actions(again)["gripper"] == own["gripper"] and abs(again[2] - flat[2]) <= 0.5 + 1e-6


def test_a_choice_has_bins_of_equal_width():
    commands = [acted(GRIPPER, [0, 0, command])["gripper"] for command in (np.arange(60) - 29.5) / 30]
    assert np.bincount(commands).tolist() == [20, 20, 20]


def test_whole_number_actions_are_rounded_and_that_is_said_once(caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            environment(Scripted(action_space=Box(0, 10, (2,), np.int32)))
    assert [record.message for record in caplog.records if "rounded" in record.message] == [
        'Environment "lab" takes whole numbers as its actions, Box(0, 10, (2,), int32); a policy\'s choice is rounded to the nearest.'
    ]


def test_a_persons_action_in_the_environments_own_form_is_recorded_flat():
    from warmloop.actor.intervention.intervention import Control

    done = {"arm": np.array([0.25, -0.5]), "gripper": 2}
    scripted = Scripted(action_space=GRIPPER, returned=(0.0, False, False, {"intervene_action": done}))
    control = Control(environment(scripted))
    observation = control.begin(0)
    np.testing.assert_allclose(control.step(observation, np.zeros(3), 0).action, [0.25, -0.5, 2 / 3], atol=1e-6)


@pytest.mark.parametrize(
    ("space", "value", "says"),
    [
        (STATE, None, "is None, and numbers are needed"),
        (STATE, "left", "'left', and numbers are needed"),
        (STATE, np.zeros(4), r"shape \(4,\), and its space says \(3,\)"),
        (STATE, [0.0, [1.0], 2.0], "numbers are needed"),
        (STATE, np.array([0, np.nan, 0]), "not finite"),
        (STATE, np.ma.array([0.0, 1.0, 2.0], mask=[0, 1, 0]), "masked_array.* and numbers are needed"),
        (STATE, np.array([0, 1e300, 0]), "reaches 1e.300, which is infinite in float32"),
        (STATE, np.array([0, 2**24 + 1, 0]), "reaches 16777217, and float32 holds whole numbers up to 16777216"),
        (Dict({"state": STATE}), np.zeros(3), "where its space says a Dict"),
        (Dict({"state": STATE, "force": STATE}), {"state": np.zeros(3)}, r'without "force" \(it has: state\)'),
        (Dict({"arm": Dict({"force": STATE})}), {"arm": {}}, r'without "arm.force" \(it has: nothing\)'),
        (Discrete(3), 3, "is 3, and its space is Discrete"),
        (Discrete(3), 0.5, "is 0.5, and its space is Discrete"),
        (gym.spaces.MultiBinary(2), np.array([0, 2]), "its space is MultiBinary"),
    ],
)
def test_a_first_observation_that_is_not_of_its_space_is_a_mistake_and_a_later_one_a_fault(space, value, says):
    made = environment(Scripted(space, [value]))
    with pytest.raises(WarmloopError, match=f'Environment "lab" gave at step 0.*{says}') as mistake:
        made.reset(0)
    assert not isinstance(mistake.value, EnvironmentFault)
    sound = {"state": np.zeros(3), "force": np.zeros(3), "arm": {"force": np.zeros(3)}} if isinstance(space, Dict) else space.sample()
    made = environment(Scripted(space, [sound, sound, value, sound]))
    made.reset(0)
    made.step(np.zeros(2))
    with pytest.raises(EnvironmentFault, match=f'Environment "lab" gave at step 2.*{says}'):
        made.step(np.zeros(2))
    made.reset(0)


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ((None, False, False, {}), "None as the reward; return a number"),
        (("1.0", False, False, {}), "'1.0' as the reward"),
        ((np.zeros(2), False, False, {}), "as the reward"),
        ((np.nan, False, False, {}), "a reward that is not finite"),
        ((np.ma.masked, False, False, {}), "masked as the reward"),
        ((0.0, None, False, {}), "None as `terminated`; return True or False"),
        ((0.0, "no", False, {}), "'no' as `terminated`"),
        ((0.0, False, np.array([True, False]), {}), "as `truncated`"),
        ((0.0, False, False, [1]), r"\[1\] as the info; return a dict"),
        ((0.0, False, False), None),
        ((0.0,), "its step returned 2 values; return observation, reward, terminated, truncated, info"),
    ],
)
def test_what_a_step_returns_is_checked(returned, says):
    made = environment(Scripted(returned=returned))
    made.reset(0)
    if says is None:  # four values with a bool where the info was: read as `done` and an info that is none
        says = "False as the info"
    with pytest.raises(WarmloopError, match=says):
        made.step(np.zeros(2))


def test_numbers_and_flags_of_numpy_and_an_info_of_none_are_taken():
    made = environment(Scripted(returned=(np.float32(0.5), np.True_, np.array([False]), None)))
    made.reset(0)
    result = made.step(np.zeros(2))
    assert (result.raw_reward, result.terminated, result.truncated, result.info) == (0.5, True, False, {})


@pytest.mark.parametrize("value", [0.4, np.nan, -1])
def test_a_flag_of_a_person_that_is_neither_true_nor_false_is_refused(value):
    with pytest.raises(WarmloopError, match=r'"is_intervention" .*neither true nor false'):
        is_true({"is_intervention": value}, "is_intervention")
    assert not is_true({"is_intervention": np.zeros(0)}, "is_intervention")


class Failing(Scripted):
    def __init__(self, fails_at: int):
        super().__init__()
        self.fails_at = fails_at

    def _observation(self):
        if self.count == self.fails_at:
            self.count += 1
            raise KeyError("tcp_pose")
        return super()._observation()


def test_an_exception_of_the_environment_is_a_mistake_at_first_and_a_fault_later():
    for fails_at, kind, says in ((0, WarmloopError, "failed in its reset"), (1, WarmloopError, "failed in its step 0")):
        made = environment(Failing(fails_at))
        with pytest.raises(WarmloopError, match=rf"{says}: KeyError: 'tcp_pose' \(test_bridge.py, line \d+\)") as error:
            made.reset(0)
            made.step(np.zeros(2))
        assert type(error.value) is kind
    made = environment(Failing(2))
    made.reset(0)
    made.step(np.zeros(2))
    with pytest.raises(EnvironmentFault, match="failed in its step 1: KeyError"):
        made.step(np.zeros(2))
    made.reset(0)


def test_parts_that_the_space_does_not_have_are_said_once(caplog):
    with caplog.at_level(logging.WARNING):
        made = environment(Scripted(Dict({"state": STATE}), [{"state": np.zeros(3), "extra": {"force": 1.0}}]))
        for seed in range(3):
            made.reset(seed)
    assert [record.message for record in caplog.records] == [
        'Environment "lab": extra.force came in an observation and its space does not have it; it is not used.'
    ]


def test_large_numbers_that_float32_rounds_are_said_once(caplog):
    with caplog.at_level(logging.WARNING):
        times = [{"time": np.array([0, 1.7e9 + 100.25 * step, 0])} for step in range(1, 4)]
        made = environment(Scripted(Dict({"time": STATE}), times))
        for seed in range(3):
            made.reset(seed)
    (record,) = caplog.records
    assert "time reaches 1.7" in record.message and "float32 keeps seven digits" in record.message


def test_a_part_that_no_agent_gets_may_be_rounded():
    space = Dict({"stamp": Box(0, 2**62, (1,), np.int64), "state": STATE})
    given = {"stamp": np.array([2**60 + 1]), "state": np.zeros(3)}
    assert list(observed(space, given, unseen=("stamp",))) == ["state"]
    with pytest.raises(WarmloopError, match='"stamp" that reaches 1152921504606846976, and float32 holds whole numbers up to 16777216'):
        observed(space, given)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0.3, "0.3"),
        (-1, "-1"),
        (np.array([1, 2]), "array"),
        ("False", "'False'"),
        (np.nan, "nan"),
        (np.zeros(0), "array"),
        ({"a": 1}, "'a'"),
        ([], r"\[\]"),
        ([1, [2]], r"\[1, \[2\]\]"),
    ],
)
def test_a_success_that_says_neither_yes_nor_no_is_refused(value, says):
    made = environment(Scripted(returned=(0.0, False, False, {"success": value})))
    made.reset(0)
    with pytest.raises(WarmloopError, match=f'"success" .*{says}.*neither success nor failure'):
        made.step(np.zeros(2))


@pytest.mark.parametrize(("value", "success"), [(None, False), (np.array([True]), True), (np.array([True, False]), False), (1.0, True)])
def test_a_success_may_be_an_array_and_none_is_no_signal(value, success: bool):
    made = environment(Scripted(returned=(0.0, False, False, {"success": value})))
    made.reset(0)
    assert made.step(np.zeros(2)).success is success and made.signalled is (value is not None)


@pytest.mark.parametrize("frame", [None, np.zeros((4, 4)), np.zeros((3, 4, 4)), "picture", np.full((16, 16, 3), -100)])
def test_frames_that_are_no_pictures_are_a_sentence(frame):
    scripted = Scripted()
    scripted.render = lambda: frame
    with pytest.raises(WarmloopError, match=r'Environment "lab".*render gave'):
        environment(scripted).render()
    scripted.render = lambda: np.full((16, 16, 3), 0.5)
    assert environment(scripted).render()[0, 0].tolist() == [128] * 3

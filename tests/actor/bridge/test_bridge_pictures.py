"""Pictures of an own environment: turned and scaled where that is certain, and refused with the choice named where it is not."""

import logging
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import RAW, STATE, Scripted, environment

from warmloop.actor.bridge.bridge import Bridge
from warmloop.actor.environment.environment import Environment, EnvironmentConfig
from warmloop.actor.wrappers import wrap
from warmloop.data.errors import EnvironmentFault, WarmloopError
from warmloop.data.pictures.picture_rule import Layout, as_bytes, layout_of, white_of
from warmloop.data.running import said

Box = gym.spaces.Box
BYTES = np.random.default_rng(0).integers(0, 256, (32, 24, 3), np.uint8)
UINT8 = Box(0, 255, (32, 24, 3), np.uint8)


@pytest.fixture(autouse=True)
def nothing_said_yet():
    said._said.clear()


def cameras(space: gym.Space, *pictures: Any) -> Scripted:
    given = [{"wrist": picture, "state": np.zeros(3)} for picture in pictures]
    return Scripted(gym.spaces.Dict({"wrist": space, "state": STATE}), given)


@pytest.mark.parametrize(
    ("shape", "dtype", "layout"),
    [
        ((32, 32, 3), np.uint8, Layout.LAST),
        ((3, 32, 32), np.uint8, Layout.FIRST),
        ((4, 84, 84), np.uint8, Layout.FIRST),
        ((2, 3, 32, 32), np.uint8, Layout.FIRST),
        ((2, 32, 32, 3), np.uint8, Layout.LAST),
        ((32, 32), np.uint8, Layout.LAST),
        ((84, 84, 9), np.uint8, Layout.LAST),
        ((9, 84, 84), np.uint8, Layout.UNCLEAR),
        ((3, 32, 3), np.uint8, Layout.LAST),
        ((7,), np.uint8, Layout.NONE),
        ((3, 32, 32), np.float32, Layout.FIRST),
        ((32, 32, 1), np.int64, Layout.LAST),
        ((4, 4), np.float32, Layout.NONE),
        ((2, 7, 3), np.float64, Layout.NONE),
        ((1, 7), np.float64, Layout.NONE),
    ],
)
def test_the_layout_of_a_shape(shape, dtype, layout):
    assert layout_of(shape, dtype) is layout


@given(st.integers(0, 255), st.booleans())
def test_every_byte_comes_back_from_its_share_of_white(value: int, double: bool):
    picture = np.array([value, 255], np.uint8)
    shares = picture.astype(np.float64 if double else np.float32) / 255
    np.testing.assert_array_equal(as_bytes(shares, white_of(shares)), picture)
    np.testing.assert_array_equal(as_bytes(picture.astype(np.int64), white_of(picture.astype(np.int64))), picture)


@pytest.mark.parametrize(
    ("space", "given"),
    [
        (UINT8, BYTES),
        (UINT8, BYTES.transpose(2, 0, 1)),
        (UINT8, BYTES.astype(np.float32) / 255),
        (UINT8, BYTES.astype(np.float64)),
        (UINT8, BYTES.astype(np.int64)),
        (UINT8, BYTES.tolist()),
        (Box(0, 255, (3, 32, 24), np.uint8), BYTES.transpose(2, 0, 1)),
        (Box(0, 255, (3, 32, 24), np.uint8), BYTES),
        (Box(0.0, 1.0, (32, 24, 3), np.float32), BYTES.astype(np.float32) / 255),
        (Box(0.0, 1.0, (32, 24, 3), np.float32), BYTES),
        (Box(0.0, 1.0, (3, 32, 24), np.float64), BYTES.transpose(2, 0, 1) / 255),
        (Box(0.0, 255.0, (32, 24, 3), np.float32), BYTES.astype(np.float32) + 0.25 * (BYTES < 255)),
        (Box(0, 255, (32, 24, 3), np.int64), BYTES.astype(np.int64)),
    ],
)
def test_a_picture_is_the_same_whichever_way_it_comes(space, given):
    made = environment(cameras(space, given))
    assert next(leaf for leaf in made.spec.observation if leaf.name == "wrist") == made.spec.cameras[0]
    picture = made.reset(0)["wrist"]
    assert picture.dtype == np.uint8 and picture.flags.c_contiguous and not np.shares_memory(picture, np.asarray(given))
    np.testing.assert_array_equal(picture, BYTES)


def test_what_comes_otherwise_than_declared_is_said_once(caplog):
    with caplog.at_level(logging.WARNING):
        for picture in (BYTES.astype(np.float32) / 255, BYTES.transpose(2, 0, 1)):
            made = environment(cameras(UINT8, picture))
            made.reset(0)
            made.reset(1)
    assert [record.message for record in caplog.records] == [
        'Environment "lab": wrist is declared as uint8 and comes as float32 up to 1; it is taken as running from 0 to 1.',
        'Environment "lab": wrist is declared with its channels last and comes with them first; it is turned.',
    ]


@pytest.mark.parametrize(
    ("space", "given", "says"),
    [
        (UINT8, BYTES.astype(np.int64) - 100, "runs from -100 to 155, and .* from 0 to 255.*as_picture:wrist,black=-100,white=155"),
        (UINT8, BYTES.astype(np.float32) / 127.5 - 1, "runs from -1 to 1, and .*as_picture:wrist,black=-1,white=1"),
        (UINT8, BYTES.astype(np.uint16) * 257, "runs from 0 to 6.*as_picture:wrist"),
        (UINT8, np.full((32, 24, 3), np.nan), "not finite"),
        (UINT8, BYTES[:16], r"has shape \(16, 24, 3\), and its space says \(32, 24, 3\)"),
        (UINT8, None, "is None"),
        (Box(0.0, 1.0, (32, 24, 3)), BYTES.astype(np.float32), "runs from 0 to 255, and a picture's values from 0 to 1.*white=255"),
        (Box(0.0, 255.0, (32, 24, 3)), BYTES.astype(np.float32) / 255, "runs from 0 to 1, and its space from 0 to 255.*wrist,white=1"),
    ],
)
def test_a_picture_that_no_cast_would_keep_is_refused_by_name(space, given, says):
    with pytest.raises(WarmloopError, match=f'gave at step 0 an observation "wrist" that .*{says}'):
        environment(cameras(space, given)).reset(0)


def test_a_picture_that_changes_its_kind_is_converted_by_the_same_rule_or_is_a_fault():
    made = environment(cameras(UINT8, BYTES, BYTES, BYTES.astype(np.float32) / 255, BYTES[:16], BYTES))
    made.reset(0)
    for _ in range(2):
        np.testing.assert_array_equal(made.step(np.zeros(2)).next_observation["wrist"], BYTES)
    with pytest.raises(EnvironmentFault, match=r'at step 3 an observation "wrist" that has shape \(16, 24, 3\)'):
        made.step(np.zeros(2))
    made.reset(0)


def test_a_black_first_frame_does_not_decide_the_range():
    made = environment(cameras(UINT8, np.zeros(BYTES.shape), np.zeros(BYTES.shape), BYTES / 255.0, (BYTES > 127).astype(np.float64)))
    assert made.reset(0)["wrist"].max() == 0
    assert made.step(np.zeros(2)).next_observation["wrist"].max() == 0
    np.testing.assert_array_equal(made.step(np.zeros(2)).next_observation["wrist"], BYTES)
    assert made.step(np.zeros(2)).next_observation["wrist"].max() == 255


def test_a_dark_frame_after_a_bright_one_is_dark():
    made = environment(cameras(Box(0.0, 255.0, (32, 24, 3)), BYTES.astype(np.float32), np.full(BYTES.shape, 0.9, np.float32)))
    made.reset(0)
    assert made.step(np.zeros(2)).next_observation["wrist"].max() == 1


@pytest.mark.parametrize(
    ("wrapper", "space", "given"),
    [
        ("as_picture:wrist,black=-1,white=1", Box(-1.0, 1.0, (32, 24, 3), np.float32), BYTES / 127.5 - 1),
        ("as_picture:wrist,white=65535", Box(0, 65535, (32, 24, 3), np.uint16), BYTES.astype(np.uint16) * 257),
        ("as_picture:wrist,layout=first", Box(0, 255, (3, 32, 24), np.uint8), BYTES.transpose(2, 0, 1)),
        ("as_picture:wrist", Box(-np.inf, np.inf, (32, 24, 3), np.float32), BYTES / 255),
    ],
)
def test_the_wrapper_as_picture_answers_what_is_not_certain(wrapper, space, given):
    made = environment(wrap(cameras(space, given), [wrapper]))
    np.testing.assert_array_equal(made.reset(0)["wrist"], BYTES)


def test_stacks_in_the_channels_and_depth_can_be_named():
    stack = np.arange(9 * 20 * 20).reshape(9, 20, 20).astype(np.uint8)
    made = environment(wrap(cameras(Box(0, 255, stack.shape, np.uint8), stack), ["as_picture:wrist,layout=first"]))
    np.testing.assert_array_equal(made.reset(0)["wrist"], stack.transpose(1, 2, 0))
    depth = np.linspace(0, 2, 12).reshape(3, 4)
    made = environment(wrap(cameras(Box(0, np.inf, (3, 4), np.float64), depth), ["as_numbers:wrist"]))
    np.testing.assert_allclose(made.reset(0)["wrist"], depth.ravel())
    made = environment(wrap(cameras(Box(0, np.inf, (3, 4), np.float64), depth), ["as_picture:wrist,white=2"]))
    assert made.reset(0)["wrist"][-1, -1] == 255


@pytest.mark.parametrize(
    ("wrapper", "says"),
    [
        ("as_picture:wrst", 'no part "wrst".*did you mean wrist'),
        ("as_picture:state", r'takes a Box of two to four axes.*"state"'),
        ("as_picture:wrist,layout=middle", "layout=first or last"),
        ("as_picture:wrist,black=1,white=0", "a white above black"),
        ("as_numbers", 'no part ""'),
    ],
)
def test_a_mistaken_choice_is_a_sentence(wrapper, says):
    with pytest.raises(WarmloopError, match=says):
        wrap(cameras(UINT8, BYTES), [wrapper])


def turned_by_hand(env: gym.Env) -> gym.Env:
    """A user's own wrapper, written for the environment as it is."""

    class Turned(gym.ObservationWrapper):
        def __init__(self):
            super().__init__(env)
            self.observation_space = gym.spaces.Dict({"wrist": UINT8, "state": STATE})

        def observation(self, observation):
            assert observation["wrist"].shape == (3, 32, 24)
            return {**observation, "wrist": observation["wrist"].transpose(1, 2, 0)}

    return Turned()


def test_the_folders_own_wrappers_see_pictures_channels_last_and_a_users_own_sees_them_as_they_are():
    first = cameras(Box(0, 255, (3, 32, 24), np.uint8), BYTES.transpose(2, 0, 1))
    halves = BYTES.reshape(16, 2, 12, 2, 3).mean((1, 3))
    small = Environment(wrap(first, ["resize:16,12,camera=wrist"]), EnvironmentConfig("lab"), RAW).reset(0)["wrist"]
    np.testing.assert_allclose(small, halves, atol=1)
    np.testing.assert_array_equal(Bridge(turned_by_hand(first), "lab").reset()[0]["wrist"], BYTES)
    stacked = Environment(wrap(first, ["frame_stack:2"]), EnvironmentConfig("lab"), RAW)
    assert stacked.reset(0)["wrist"].shape == (2, 32, 24, 3)


def test_a_missing_camera_under_a_wrapper_is_told_by_its_name():
    made = environment(wrap(Scripted(gym.spaces.Dict({"wrist": UINT8, "state": STATE}), [{"state": np.zeros(3)}]), ["resize:16"]))
    with pytest.raises(WarmloopError, match=r'gave at step 0 an observation without "wrist" \(it has: state\)'):
        made.reset(0)

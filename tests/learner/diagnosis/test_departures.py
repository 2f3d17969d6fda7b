"""Online observations that leave the offline data are told once, by name."""

import logging

import numpy as np
import pytest

from warmloop.agents.networks.normaliser import Normaliser
from warmloop.data.replay import ReplayConfig, replay
from warmloop.data.transition import Leaf, Spec, example
from warmloop.learner.diagnosis.departures import Departures, tell_held

SPEC = Spec((Leaf("arm", (2,), "float32"), Leaf("gripper", (1,), "float32")), 1)
CONFIG = ReplayConfig(capacity=64)
FAR, MOVED = "leave the offline data", "move in what the offline data never changes"


def rows_of(arm, gripper):
    arm = np.asarray(arm, np.float32).reshape(-1, 2)
    observation = {"arm": arm, "gripper": np.broadcast_to(np.float32(gripper), (len(arm), 1)).copy()}
    return example(SPEC, len(arm)).replace(observation=observation, next_observation=observation)


OFFLINE = rows_of(np.random.default_rng(0).normal((0.6, -2.0), (0.002, 0.3), (50, 2)), 0.08)


def watch(normalised=True, count=50):
    pool = replay.insert(replay.create(SPEC, CONFIG), OFFLINE, count, CONFIG)
    return Departures(SPEC, pool, Normaliser.of(OFFLINE, normalised))


def said(caplog, departures, rows):
    caplog.clear()
    with caplog.at_level(logging.WARNING, "warmloop"):
        departures.watch(rows)
    return caplog.messages


def test_rows_like_the_offline_ones_say_nothing(caplog):
    assert said(caplog, watch(), OFFLINE) == []


def test_a_number_far_from_the_data_is_told_once_with_its_name_and_values(caplog):
    departures = watch()
    (sentence,) = said(caplog, departures, rows_of([[0.6, -2.0], [0.65, -2.0]], 0.08))
    assert FAR in sentence and "arm[0] (0.6" in sentence and "0.65 online" in sentence and "arm[1]" not in sentence
    assert said(caplog, departures, rows_of([[0.7, -2.0]], 0.08)) == []


def test_a_constant_that_moves_is_told_and_sensor_noise_on_it_is_not(caplog):
    departures = watch()
    assert said(caplog, departures, rows_of([[0.6, -2.0]], 0.0801)) == []
    (sentence,) = said(caplog, departures, rows_of([[0.6, -2.0]], 0.01))
    assert MOVED in sentence and "gripper[0] (0.08 offline, 0.01 online)" in sentence


@pytest.mark.parametrize(("normalised", "count", "expected"), [(False, 50, [MOVED]), (True, 0, [FAR]), (False, 0, [])])
def test_without_statistics_or_without_offline_rows_only_what_is_known_is_told(caplog, normalised, count, expected):
    messages = said(caplog, watch(normalised, count), rows_of([[9.0, -2.0]], 0.01))
    assert len(messages) == len(expected) and all(part in message for part, message in zip(expected, messages, strict=True))


@pytest.mark.parametrize(("floor", "held"), [(0.0, []), (1e-3, ["arm[0]"])])
def test_numbers_that_the_floor_holds_are_told_by_name_and_those_divided_by_their_own_deviation_are_not(caplog, floor, held):
    rows = rows_of(np.random.default_rng(0).normal((0.6, -2.0), (1e-5, 0.3), (50, 2)), 0.08)
    pool = replay.insert(replay.create(SPEC, CONFIG), rows, 50, CONFIG)
    with caplog.at_level(logging.INFO, "warmloop"):
        tell_held(SPEC, pool, Normaliser.of(rows, True, floor=floor))
    assert len(caplog.messages) == len(held) and all(name in caplog.text for name in held)
    assert "arm[1]" not in caplog.text and "gripper" not in caplog.text

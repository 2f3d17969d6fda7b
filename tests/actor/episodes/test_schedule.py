"""Schedules: what a flag says of the noise of each episode."""

import pytest

from warmloop.actor.episodes.schedule import Schedule
from warmloop.data.errors import WarmloopError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.3", [0.3, 0.3, 0.3, 0.3, 0.3]),
        ("0.5:0.1", [0.5, 0.4, 0.3, 0.2, 0.1]),
        ("0,0.3", [0.0, 0.3, 0.0, 0.3, 0.0]),
        ("1e-1", [0.1] * 5),
    ],
)
def test_a_schedule_is_a_number_a_line_or_several_in_turn(text: str, values: list[float]):
    schedule = Schedule.parse("--noise", text)
    assert [schedule.at(number, 5) for number in range(5)] == pytest.approx(values)


def test_a_line_over_one_episode_is_its_beginning_and_begins_again_after_the_last():
    line = Schedule.parse("--noise", "0.5:0.1")
    assert line.at(0, 1) == 0.5
    assert [line.at(number, 3) for number in (0, 2, 3, 5)] == pytest.approx([0.5, 0.1, 0.5, 0.1])


@pytest.mark.parametrize("text", ["", "a", "0.3:", "1:2:3", "0.1:0.2,0.3", "0.1,,0.2"])
def test_what_is_no_schedule_is_answered_with_the_three_forms(text: str):
    with pytest.raises(WarmloopError, match=r"--noise is .*one number, two as 0.5:0.1"):
        Schedule.parse("--noise", text)


@pytest.mark.parametrize("text", ["-0.1", "nan", "inf", "0.1:-1", "0,1"])
def test_a_number_out_of_range_is_refused(text: str):
    with pytest.raises(WarmloopError, match="every number must be at least 0 and below 1"):
        Schedule.parse("--random_share", text, below=1.0)


def test_without_a_limit_infinity_is_refused_as_well():
    with pytest.raises(WarmloopError, match="at least 0 and finite"):
        Schedule.parse("--noise", "inf")

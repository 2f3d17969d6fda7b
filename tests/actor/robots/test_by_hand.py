"""Ranges that a hand moves an arm through, and the arm whose torque is off, on plain objects with LeRobot's interface of a Robot."""

import numpy as np
import plain_robot
import pytest
from plain_robot import PlainRobot, PlainRobotMovedByHand

from warmloop.actor.robots.by_hand.limp_arm import LimpArm
from warmloop.actor.robots.by_hand.moved_ranges import HandLimits, MovedRanges
from warmloop.data.errors import WarmloopError

JOINTS = ("lift.pos", "grip.pos")


def test_ranges_are_of_what_was_read_more_than_once():
    ranges = MovedRanges(2)
    for lift in (0.0, 10.0, 20.0, 30.0, 300.0, 30.0, 10.0, -400.0, 0.0):
        ranges.see(np.array([lift, 5.0]))
    np.testing.assert_array_equal([ranges.low, ranges.now, ranges.high], [[0.0, 5.0], [0.0, 5.0], [30.0, 5.0]])


def test_limits_lie_a_margin_inside_and_what_was_hardly_moved_keeps_the_limits_before():
    ranges = MovedRanges(2)
    for number in np.linspace(-40.04, 50.06, 30):
        ranges.see(np.array([number, 1.0 + 0.1 * np.sign(number)]))
    limits = HandLimits.of(ranges, JOINTS, 3.0, 5.0, ((-90.0, 0.0), (90.0, 100.0)))
    reached = ranges.low[0], ranges.high[0]
    assert limits.low == (reached[0] + 3.0, 0.0) and limits.high == (reached[1] - 3.0, 100.0) and limits.kept == ("grip.pos",)
    rounded = limits.rounded(1)
    assert rounded.low[0] - limits.low[0] == pytest.approx(0.05, abs=0.05) and limits.high[0] - rounded.high[0] == pytest.approx(
        0.05, abs=0.05
    )
    assert rounded.kept == limits.kept and rounded.low[0] == round(rounded.low[0], 1)
    assert HandLimits.of(MovedRanges(1), ("a",), 0.0, 1.0).kept == ("a",), "nothing was read"


def test_an_arm_is_limp_from_relax_to_its_end_and_lost_packets_are_asked_for_again():
    robot = PlainRobotMovedByHand()
    with LimpArm(robot, "plain") as arm:
        assert arm.joints == JOINTS and robot.bus.torque and robot.bus.is_connected and not robot.is_connected, (
            "LeRobot's connect was not called"
        )
        arm.relax()
        robot.failing = [ConnectionError("no status packet")] * 2
        assert arm.read().shape == (2,) and not robot.failing
    assert not robot.bus.torque and not robot.bus.is_connected


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"bus": False}, "no motors' bus of LeRobot whose torque could be switched off"),
        ({"calibrated": False, "id": "black"}, "not calibrated as /calibration/black.json says; run `lerobot-calibrate`"),
    ],
)
def test_an_arm_that_cannot_be_moved_by_hand_is_refused(settings, problem):
    with pytest.raises(WarmloopError, match=problem):
        LimpArm(PlainRobot(**settings), "plain")
    assert not getattr(getattr(plain_robot.made[-1], "bus", None), "is_connected", False)


def test_an_arm_that_stays_stiff_or_does_not_answer_is_a_sentence():
    robot = PlainRobotMovedByHand()
    robot.stuck = True
    with LimpArm(robot, "plain") as arm:
        with pytest.raises(WarmloopError, match="torque of lift, grip of the robot plain stays on; unplug its power"):
            arm.relax()
        robot.failing = [OSError("gone")]
        with pytest.raises(WarmloopError, match=r"robot plain cannot be read \(gone\); look at its port"):
            arm.read()

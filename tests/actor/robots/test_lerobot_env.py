"""The environment of LeRobot's robots, on a plain object with LeRobot's interface of a Robot. LeRobot itself is not needed."""

import sys
import threading
import time

import gymnasium as gym
import numpy as np
import plain_robot
import pytest
from plain_robot import SETTINGS, PlainCamera

import warmloop.actor.robots  # noqa: F401  # registers the environment
from warmloop.actor.robots.motor_health import CELSIUS
from warmloop.data.errors import EnvironmentFault, WarmloopError


@pytest.fixture
def make(monkeypatch):
    """Makes environments, and closes them."""
    monkeypatch.setattr(PlainCamera, "frozen", False)
    begun = []

    def one(**settings):
        env = gym.make("LeRobot-v0", **(SETTINGS | settings), disable_env_checker=True, max_episode_steps=1_000).unwrapped
        begun.append(env)
        return env

    yield one
    for env in begun:
        env.close()


@pytest.fixture
def robot(make):
    """An environment and its robot, at the start of an episode."""

    def both(**settings):
        env = make(**settings)
        env.reset(seed=0)
        return env, plain_robot.made[-1]

    return both


def lift(robot):
    return [sent["lift.pos"] for sent in robot.sent]


def test_the_constructor_touches_no_robot_and_the_spaces_need_no_lerobot(make):
    before = len(plain_robot.made)
    env = make(robot="so101_follower", cameras=("front=opencv:0@640x480/30",), camera="", registers=("Present_Load",), image_size=64)
    assert len(plain_robot.made) == before and "lerobot" not in sys.modules
    assert env.observation_space["images"]["front"].shape == (64, 64, 3) and env.observation_space["Present_Load"].shape == (2,)
    np.testing.assert_array_equal(env.action_space.low, [-90.0, 0.0])
    assert make(actions="effector", model="/no/such.xml", frame="tool").action_space.shape == (7,)


def test_an_absolute_command_is_bounded_by_a_step_from_the_last_and_by_the_limits(robot):
    env, arm = robot()
    for _ in range(30):
        env.step(np.array([90.0, 100.0], np.float32))
    steps = np.diff([0.0, *lift(arm)[-30:]])
    assert steps.max() <= 5.0 + 1e-9 and lift(arm)[-1] == 90.0
    env.step(np.array([np.float32(500.0), 0.0]))
    assert lift(arm)[-1] == 90.0


def test_a_delta_is_a_share_of_the_step_from_the_last_command(robot):
    env, arm = robot(actions="delta")
    np.testing.assert_array_equal(env.action_space.high, [1.0, 1.0])
    env.step(np.array([0.5, -1.0], np.float32))
    assert arm.sent[-1] == pytest.approx({"lift.pos": 2.5, "grip.pos": 0.0})
    env.step(np.array([-1.0, 1.0], np.float32))
    assert arm.sent[-1] == pytest.approx({"lift.pos": -2.5, "grip.pos": 20.0})


def test_a_joint_that_is_held_up_is_not_pushed_ever_harder(robot):
    env, arm = robot(actions="delta", lead=3.0)
    arm.blocked = True
    for _ in range(10):
        env.step(np.array([1.0, 0.0], np.float32))
    assert max(lift(arm)[-10:]) == pytest.approx(15.0)


def test_a_gripper_of_three_commands_goes_on_to_its_end_until_it_is_told_otherwise(robot):
    env, arm = robot(gripper_commands=True)
    np.testing.assert_array_equal(env.action_space.low, [-90.0, -1.0])
    for command in (0.4, 1.0, 0.0, 0.0, 0.0, 0.0, -0.6):
        env.step(np.array([0.0, command], np.float32))
    assert [sent["grip.pos"] for sent in arm.sent[-7:]] == [20.0, 40.0, 60.0, 80.0, 100.0, 100.0, 80.0]


def test_observations_are_named_as_in_lerobots_data_sets(make):
    env = make(state=("grip.pos", "lift.torque"), registers=("Present_Load",), cameras=("front=opencv:7", "wrist=opencv:9"), image_size=4)
    observation, _ = env.reset(seed=0)
    np.testing.assert_array_equal(observation["state"], np.float32([20.0, 0.5]))
    np.testing.assert_array_equal(observation["Present_Load"], np.float32([5.0, 5.0]))
    assert (observation["images"]["wrist"] == 9).all() and env.observation_space.contains(observation)
    assert env.render().shape == (4, 8, 3)


def test_a_reset_goes_to_the_start_in_small_steps_and_the_seed_decides_where_that_is(make):
    env = make(start_spread=(10.0, 0.0), reset_seconds=0.5, reset_speed=40.0)
    places = [env.reset(seed=seed)[0]["state"][0] for seed in (3, 4, 3)]
    assert places[0] == places[2] != places[1] and abs(places[1]) <= 10.0
    steps = np.abs(np.diff([40.0, *lift(plain_robot.made[-1])]))
    assert steps.max() <= 40.0 / 10.0 + 1e-6, "units a second, over steps a second"


def test_a_start_that_is_not_reached_is_a_fault_that_names_the_joint(make):
    env = make(settle_seconds=1.0)
    env.reset(seed=0)
    arm = plain_robot.made[-1]
    arm.joints, arm.blocked = {"lift.pos": -60.0, "grip.pos": 20.0}, True
    with pytest.raises(EnvironmentFault, match=r"did not reach its start: lift.pos is at -60.0, and 0.0 is wanted"):
        env.reset(seed=0)


def test_lost_packets_are_asked_for_again_and_told_and_too_many_are_a_fault(robot):
    env, arm = robot(retries=2)
    arm.failing = [ConnectionError("no status packet")] * 2
    assert env.step(np.zeros(2))[4]["lost"] == 2 and env.step(np.zeros(2))[4]["lost"] == 0
    arm.failing = [ConnectionError("no status packet")] * 3
    with pytest.raises(EnvironmentFault, match="failed to command, after 3 tries: no status packet"):
        env.step(np.zeros(2))
    env.reset(seed=0)
    assert plain_robot.made[-1] is arm, "the connection stayed"


def test_a_port_that_is_gone_is_a_fault_and_opened_anew_by_the_next_reset(robot):
    env, arm = robot()
    arm.failing = [OSError(5, "Input/output error")]
    with pytest.raises(EnvironmentFault, match=r"is gone \(OSError: .*look at its cable"):
        env.step(np.zeros(2))
    env.reset(seed=0)
    assert plain_robot.made[-1] is not arm and not arm.is_connected


def test_a_reading_far_beyond_the_limits_is_not_taken_for_a_position(robot):
    env, arm = robot(retries=1)
    arm.joints["lift.pos"] = -2230.0
    arm.blocked = True
    with pytest.raises(EnvironmentFault, match=r"lift.pos is -2230, far beyond -90 to 90"):
        env.step(np.zeros(2))


@pytest.mark.parametrize(
    ("register", "number", "said"),
    [
        ("Status", 4, "Motor grip: it is too hot"),
        ("Status", 33, "Motor grip: the voltage is beyond its limits\\."),
        ("Present_Temperature", 66, "Motor grip: 66 °C, and max_celsius is 65"),
        ("Present_Voltage", 43, "Motor grip: 4.3 V, and min_volts is 4.5"),
        ("Torque_Enable", 0, "Motor grip: its torque is off"),
    ],
)
def test_a_fault_of_a_motor_ends_the_episode_within_a_few_steps(robot, register, number, said):
    env, arm = robot(min_volts=4.5)
    arm.bus.special[register, "grip"] = number
    with pytest.raises(EnvironmentFault, match=said):
        for _ in range(4):
            env.step(np.zeros(2))
    if register != "Torque_Enable":
        with pytest.raises(EnvironmentFault, match=said):
            env.reset(seed=0)


def test_an_overload_is_a_fault_but_for_a_gripper_which_holds_something(robot):
    env, arm = robot()
    arm.bus.special["Status", "grip"] = 32
    for _ in range(8):
        env.step(np.zeros(2))
    arm.bus.special["Status", "lift"] = 32
    with pytest.raises(EnvironmentFault, match=r"Motor lift: it is overloaded\."):
        for _ in range(4):
            env.step(np.zeros(2))


def test_a_single_reading_that_is_odd_is_not_believed(robot, monkeypatch):
    env, arm = robot()
    once = [84]
    read = arm.bus.sync_read
    monkeypatch.setattr(arm.bus, "sync_read", lambda name: {"lift": once.pop(), "grip": 30} if name == CELSIUS and once else read(name))
    for _ in range(8):
        env.step(np.zeros(2))
    assert not once


def test_safe_stop_holds_where_the_robot_is_or_relaxes_it_and_a_step_wakes_it(robot):
    env, arm = robot()
    arm.joints["lift.pos"] = 7.0
    env.safe_stop()
    assert arm.sent[-1]["lift.pos"] == 7.0 and arm.bus.torque
    soft, other = robot(at_rest="relax")
    soft.safe_stop()
    assert not other.bus.torque
    other.joints["lift.pos"] = -50.0  # it fell
    soft.step(np.array([0.0, 20.0], np.float32))
    assert other.bus.torque and other.sent[-2]["lift.pos"] == -50.0 and other.sent[-1]["lift.pos"] == -45.0


def test_safe_stop_while_the_robot_is_on_its_way_stops_it_there(make):
    env = make(speed=20.0, reset_speed=5.0)
    raised = []

    def go():
        try:
            env.reset(seed=0)
        except EnvironmentFault as error:
            raised.append(str(error))

    thread = threading.Thread(target=go)
    thread.start()
    while not plain_robot.made or len(plain_robot.made[-1].sent) < 5:
        time.sleep(0.005)
    env.safe_stop()
    thread.join(5.0)
    assert len(raised) == 1 and "was brought to rest on the way" in raised[0]
    assert plain_robot.made[-1].joints["lift.pos"] > 5.0


def test_one_that_was_never_reached_is_not_touched_by_safe_stop(make):
    before = len(plain_robot.made)
    make().safe_stop()
    assert len(plain_robot.made) == before


def test_a_camera_that_freezes_is_a_fault_and_opened_anew_by_the_next_reset(make, monkeypatch):
    env = make(cameras=("front=opencv:7",), camera_seconds=0.3)
    env.reset(seed=0)
    monkeypatch.setattr(PlainCamera, "frozen", True)
    time.sleep(0.4)
    with pytest.raises(EnvironmentFault, match=r"Camera front has given no picture for 0.3 s"):
        env.step(np.zeros(2))
    monkeypatch.setattr(PlainCamera, "frozen", False)
    assert (env.reset(seed=0)[0]["images"]["front"] == 7).all()


def test_a_late_step_is_told(robot):
    env, _ = robot(speed=1.0, hz=50.0, reset_seconds=0.0, reset_speed=1e4, settle_seconds=0.1)
    assert not env.step(np.zeros(2))[4]["late"]
    time.sleep(0.05)
    assert env.step(np.zeros(2))[4]["late"]


def test_a_goal_is_a_success(robot):
    env, _ = robot(goal=(10.0, 20.0), goal_tolerance=3.0)
    results = [env.step(np.array([10.0, 20.0], np.float32)) for _ in range(2)]
    assert [(reward, terminated, info["succeed"]) for _, reward, terminated, _, info in results] == [(0, False, False), (1, True, True)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"robot_options": ("calibrated=False",), "robot_id": "black"},
            r"is not calibrated as /calibration/black.json .*lerobot-calibrate",
        ),
        ({"robot_options": ("gone=True",)}, r"cannot be connected \(no such port\); `lerobot-find-port`"),
        ({"robot_options": ("bus=False",), "at_rest": "relax"}, "has no motors' bus whose torque could be switched off"),
        ({"registers": ("Present_Lode",)}, "has no motors with Present_Lode"),
        ({"registers": ("Present_Load",), "motors": 3}, "has 2 motors; say so in environment.kwargs.motors"),
        ({"joints": ("lift.pos", "claw.pos"), "gripper": ""}, 'is not commanded by "claw.pos", but by lift.pos, grip.pos'),
        ({"state": ("lift.vel",)}, 'does not observe "lift.vel"'),
        ({"robot": "plain_robot:NoRobot"}, "NoRobot"),
    ],
)
def test_a_robot_that_cannot_be_used_is_told_at_the_first_reset(make, changed, said):
    env = make(**changed)
    with pytest.raises(WarmloopError, match=said) as raised:
        env.reset(seed=0)
    assert not isinstance(raised.value, EnvironmentFault)


def test_a_robot_of_lerobot_without_lerobot_says_what_to_install(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "lerobot", None)
    with pytest.raises(WarmloopError, match=r"needs LeRobot .*; docs/howto/so101.md says how to install it"):
        make(robot="so101_follower").reset(seed=0)

"""The environment of LeRobot's robots, on a plain object with LeRobot's interface of a Robot. LeRobot itself is not needed."""

import re
import sys
import threading
import time

import gymnasium as gym
import numpy as np
import plain_robot
import pytest
from plain_robot import PlainCamera

import warmloop.actor.robots  # noqa: F401  # registers the environment
from warmloop.actor.environment import EnvironmentConfig
from warmloop.actor.environment.environment import make_environment
from warmloop.actor.intervention.intervention import Signal
from warmloop.actor.robots.lerobot_config import LeRobotConfig, camera_of
from warmloop.actor.robots.lerobot_leader import Leader
from warmloop.actor.robots.lerobot_parts import read_options
from warmloop.actor.robots.motor_health import CELSIUS
from warmloop.actor.teleop import DEVICES
from warmloop.actor.teleop.operator import Reading
from warmloop.configs import load
from warmloop.data.errors import EnvironmentFault, WarmloopError

SETTINGS = {
    "robot": "plain_robot:PlainRobot",
    "joints": ("lift.pos", "grip.pos"),
    "low": (-90.0, 0.0),
    "high": (90.0, 100.0),
    "max_step": (5.0, 20.0),
    "start": (0.0, 20.0),
    "gripper": "grip.pos",
    "speed": 200.0,
    "camera": "plain_robot:PlainCamera",
}


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


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"joints": ()}, "name each joint once"),
        ({"start": (0.0,)}, "start is .* it must be 2 numbers, one per joint"),
        ({"low": (90.0, 0.0)}, "lift.pos has no room between low 90 and high 90"),
        ({"max_step": (0.0, 1.0)}, "max_step of lift.pos is 0"),
        ({"start": (95.0, 20.0)}, "start of lift.pos is 95, beyond -90 to 90"),
        ({"actions": "relative"}, 'actions is "relative"; it must be one of absolute, delta, effector'),
        ({"actions": "effector"}, "needs the arm's MJCF as model"),
        ({"at_rest": "fall"}, "it must be one of hold, relax"),
        ({"gripper": "claw.pos"}, "the joints are lift.pos, grip.pos"),
        ({"gripper": "", "gripper_commands": True}, "gripper_commands needs the name of the gripper"),
        ({"hz": 0.0}, "hz is 0.0; it must be above 0"),
        ({"retries": -1}, "must not be negative"),
        ({"cameras": ("front",)}, "it must be NAME=KIND:SOURCE"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_in_words(changed, said):
    with pytest.raises(WarmloopError, match=re.escape(said) if "(" in said else said):
        LeRobotConfig(**(SETTINGS | changed))


def test_cameras_and_options_are_read_from_texts():
    camera = camera_of("front=opencv:/dev/video2@640x480/30")
    assert (camera.name, camera.kind, camera.source, camera.width, camera.height, camera.fps) == (
        "front",
        "opencv",
        "/dev/video2",
        640,
        480,
        30,
    )
    assert camera_of("side=zmq:tcp://host:5555").source == "tcp://host:5555"
    assert read_options(("use_degrees=True", "name=black")) == {"use_degrees": True, "name": "black"}
    with pytest.raises(WarmloopError, match="must be NAME=VALUE"):
        read_options(("degrees",))


def test_the_preset_names_robot_port_and_id_and_leaves_them_to_each_machine():
    config = load("configs/lerobot.py:so101_follower:/dev/ttyACM0:black")
    kwargs = dict(config.environment.kwargs)
    assert (kwargs["robot"], kwargs["port"], kwargs["robot_id"]) == ("so101_follower", "/dev/ttyACM0", "black")
    assert {"port", "robot_id", "calibration_dir"} <= set(config.environment.local_kwargs) and not config.actor.simulator
    assert make_environment(config.environment).spec.action_dim == 6
    for text, said in (("", "Name the robot"), ("so101_folower", "so101_follower"), ("so101_follower:a:b:c", "takes ROBOT")):
        with pytest.raises(WarmloopError, match=said):
            load(f"configs/lerobot.py:{text}" if text else "configs/lerobot.py")


@pytest.fixture
def led(make):
    """A robot and a leader."""
    begun = []

    def both(teleoperator="PlainLeader", **settings):
        environment = make_environment(EnvironmentConfig("LeRobot-v0", SETTINGS | settings, horizon=1_000))
        environment.reset(0)
        leader = Leader(environment, type=f"plain_robot:{teleoperator}", release=0.3, rate=200.0)
        begun.extend([leader.close, environment.close])
        leader.begin(0)
        return environment, leader, plain_robot.leaders[-1]

    yield both
    for end in begun:
        end()


@pytest.mark.parametrize("actions", ["absolute", "delta"])
def test_a_leader_takes_over_while_it_is_moved_and_the_follower_goes_where_it_is(led, actions):
    environment, leader, device = led(actions=actions)
    policy = np.zeros(2, np.float32)
    time.sleep(0.1)
    assert leader({}, policy, 0).action is None
    device.joints = {"lift.pos": 12.0, "grip.pos": 40.0}
    time.sleep(0.1)
    for step in range(3):
        command = leader({}, policy, step)
        environment.step(command.action)
    assert plain_robot.made[-1].joints == pytest.approx({"lift.pos": 12.0, "grip.pos": 40.0}, abs=1e-3)
    time.sleep(0.5)
    assert leader({}, policy, 4).action is None, "it rests again"


def test_a_leader_that_is_unplugged_costs_the_episode_and_is_connected_again(led):
    _, leader, device = led()
    device.error = OSError("gone")
    time.sleep(0.1)
    with pytest.raises(EnvironmentFault, match="failed: OSError: gone"):
        leader({}, np.zeros(2), 0)
    leader.ready()
    assert plain_robot.leaders[-1] is not device and leader({}, np.zeros(2), 0).action is None


def test_the_outcomes_of_a_device_beside_the_leader_count(led, monkeypatch):
    class Device:
        def clear(self): ...
        def close(self): ...

        def read(self):
            return Reading(np.zeros(7), False, signal=Signal.SUCCESS)

    monkeypatch.setitem(DEVICES, "terminal", lambda: (Device, ""))
    environment, _, _ = led()
    leader = Leader(environment, type="plain_robot:PlainLeader", keys="terminal")
    leader.begin(0)
    assert leader({}, np.zeros(2), 0) == (None, Signal.SUCCESS)
    leader.close()
    with pytest.raises(WarmloopError, match='keys is "mouse"'):
        Leader(environment, type="plain_robot:PlainLeader", keys="mouse")


def test_a_teleoperator_that_moves_the_tool_is_refused_where_joints_are_moved(led, monkeypatch):
    _, leader, device = led("PlainPad")
    assert leader({}, np.zeros(2), 0).action is None
    monkeypatch.setattr(device, "events", {"is_intervention": True}, raising=False)
    with pytest.raises(WarmloopError, match=r'set environment.kwargs.actions to "effector"'):
        leader({}, np.zeros(2), 0)

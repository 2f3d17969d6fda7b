"""LeRobot's own driver of an SO-101, untouched, over a pseudo-terminal: run by pytest of an interpreter that has LeRobot and warmloop.

python -m pytest --noconftest -c /dev/null --import-mode=importlib tests/helpers/so101_driver.py
"""

import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import warmloop.actor.robots  # noqa: F401  # registers the environment
from warmloop.actor.environment import EnvironmentConfig
from warmloop.actor.environment.environment import make_environment
from warmloop.actor.robots.lerobot_leader import Leader
from warmloop.configs import load
from warmloop.data.errors import EnvironmentFault, WarmloopError

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "robot"
sys.path.insert(0, str(FOLDER))
from fake_so101 import MOTORS, RANGES, Bus, write_calibration  # noqa: E402

SPEED = 5.0
PRESET = dict(load("configs/lerobot.py:so101_follower").environment.kwargs)


@pytest.fixture(autouse=True)
def prompt():
    """Python hands its lock over soon: LeRobot's driver polls the port without a pause, and the pretend arm shares its process."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-4)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def bus():
    one = Bus(SPEED)
    yield one
    one.close()


@pytest.fixture
def make(bus, tmp_path):
    """Makes environments of the pretend arm, which is calibrated, and closes them."""
    begun = []
    write_calibration(tmp_path / "fake.json", bus)

    def one(**settings):
        given = (
            PRESET
            | {
                "port": bus.port,
                "robot_id": "fake",
                "calibration_dir": str(tmp_path),
                "speed": SPEED,
                "retries": 8,
                "tolerance": 2.0,
                "settle_seconds": 10.0,
            }
            | settings
        )
        env = gym.make("LeRobot-v0", **given, disable_env_checker=True, max_episode_steps=1_000).unwrapped
        begun.append(env)
        return env

    yield one
    for env in begun:
        env.close()


def degrees(bus):
    """`[6]` where the arm is, in LeRobot's units."""
    low, high = np.array(RANGES).T
    ticks = bus.state()
    found = (ticks - (low + high) / 2) * 360 / 4095
    found[-1] = (ticks[-1] - low[-1]) / (high[-1] - low[-1]) * 100
    return found


def test_a_reset_brings_the_arm_to_its_start_and_steps_move_it_as_they_say(make, bus):
    env = make(registers=("Present_Load", "Present_Velocity"))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    np.testing.assert_allclose(observation["state"], PRESET["start"], atol=3.0)
    np.testing.assert_allclose(observation["state"], degrees(bus), atol=3.0)
    for _ in range(8):
        observation, *_ = env.step(np.array([20.0, -30.0, 40.0, 50.0, 10.0, 60.0], np.float32))
    time.sleep(0.3)
    np.testing.assert_allclose(degrees(bus), [20.0, -30.0, 40.0, 50.0, 10.0, 60.0], atol=0.5)
    assert all(servo.memory[40] for servo in bus.servos.values()), "torque is on"


def test_no_command_is_beyond_the_limits_or_farther_than_a_step(make, bus):
    env = make()
    env.reset(seed=0)
    places = []
    for _ in range(12):
        env.step(env.action_space.high)
        places.append([servo.get(42) for servo in bus.servos.values()])
    steps = np.diff(np.array(places), axis=0)[:, :5] * 360 / 4095
    assert (steps <= np.array(PRESET["max_step"])[:5] + 0.1).all()


def test_lost_packets_are_asked_for_again(make, bus):
    env = make(retries=8)
    env.reset(seed=0)
    bus.lose = 2
    lost = sum(env.step(np.array(PRESET["start"], np.float32))[4]["lost"] for _ in range(3))
    assert lost >= 1
    bus.loses = 1.0
    with pytest.raises(EnvironmentFault, match=r"failed to read, after 9 tries: .*There is no status packet"):
        env.step(np.array(PRESET["start"], np.float32))
    bus.loses = 0.0
    np.testing.assert_allclose(env.reset(seed=0)[0]["state"], PRESET["start"], atol=3.0)


def test_a_packet_that_comes_late_is_not_taken_for_the_next_one(make, bus):
    env = make(registers=("Present_Temperature",))
    env.reset(seed=0)
    for seconds in (0.06, 0.08, 0.1):
        bus.late = seconds, 1
        for _ in range(3):
            observation, *_ = env.step(np.array(PRESET["start"], np.float32))
            np.testing.assert_allclose(observation["state"], PRESET["start"], atol=5.0)
            np.testing.assert_array_equal(observation["Present_Temperature"], [32.0] * 6)


def test_a_motor_that_overheats_ends_the_episode_until_it_has_cooled(make, bus):
    env = make()
    env.reset(seed=0)
    bus.motor("elbow_flex").memory[63] = 90
    for act in (lambda: [env.step(np.array(PRESET["start"], np.float32)) for _ in range(4)], lambda: env.reset(seed=0)):
        with pytest.raises(EnvironmentFault, match=r"Motor elbow_flex: (it is too hot|90 °C)"):
            act()
    bus.motor("elbow_flex").memory[63] = 35
    env.reset(seed=0)
    assert bus.motor("elbow_flex").memory[40], "its torque is on again"


def test_a_voltage_that_breaks_down_ends_the_episode(make, bus):
    env = make(min_volts=6.0)
    env.reset(seed=0)
    for servo in bus.servos.values():
        servo.memory[62] = 55
    with pytest.raises(EnvironmentFault, match=r"Motor shoulder_pan: 5.5 V, and min_volts is 6"):
        for _ in range(5):
            env.step(np.array(PRESET["start"], np.float32))


def test_a_joint_that_is_blocked_does_not_reach_the_start(make, bus):
    env = make(settle_seconds=0.5)
    bus.motor("shoulder_lift").blocked = True
    with pytest.raises(EnvironmentFault, match=r"did not reach its start: shoulder_lift.pos is at 0.0, and -45.0 is wanted"):
        env.reset(seed=0)


def test_a_cable_that_is_pulled_out_is_a_fault_until_it_is_back(make, bus, tmp_path):
    link = tmp_path / "port"
    link.symlink_to(bus.port)
    env = make(port=str(link))
    env.reset(seed=0)
    bus.unplug()
    with pytest.raises(EnvironmentFault, match=r"is gone .*look at its cable"):
        env.step(np.array(PRESET["start"], np.float32))
    with pytest.raises(EnvironmentFault):
        env.safe_stop()
    with pytest.raises(EnvironmentFault, match=r"cannot be connected .*look at its cable"):
        env.reset(seed=0)
    again = Bus(SPEED)
    write_calibration(tmp_path / "fake.json", again)
    link.unlink()
    link.symlink_to(again.port)
    np.testing.assert_allclose(env.reset(seed=0)[0]["state"], PRESET["start"], atol=3.0)
    env.close()
    again.close()


def test_safe_stop_holds_the_arm_on_its_way_or_relaxes_it(make, bus):
    env = make()
    env.reset(seed=0)
    env.step(env.action_space.high)
    env.safe_stop()
    held = degrees(bus)
    time.sleep(0.2)
    np.testing.assert_allclose(degrees(bus), held, atol=3.0)
    env.close()
    assert all(servo.memory[40] for servo in bus.servos.values()), "it holds after the end, too"
    soft = make(at_rest="relax")
    soft.reset(seed=0)
    soft.safe_stop()
    assert not any(servo.memory[40] for servo in bus.servos.values())
    soft.step(np.array(PRESET["start"], np.float32))
    assert all(servo.memory[40] for servo in bus.servos.values())


def test_calibration_is_found_where_lerobot_keeps_it_and_missed_in_a_sentence(make, bus, tmp_path):
    env = make(calibration_dir=str(tmp_path / "empty"))
    with pytest.raises(WarmloopError, match=r"is not calibrated as .*empty/fake.json says, .*lerobot-calibrate --robot.type=so101_f"):
        env.reset(seed=0)
    bus.motor("gripper").put(9, 7)
    with pytest.raises(WarmloopError, match="Enter takes the file over"):
        make().reset(seed=0)


def test_a_port_or_a_robot_that_there_is_not_is_told(make):
    for settings, said in (
        ({"port": "/dev/no-such-port"}, r"cannot be connected \(.*/dev/no-such-port"),
        ({"robot": "so101_folower"}, 'LeRobot has no robot "so101_folower".*so101_follower'),
        ({"robot_options": ("use_degree=True",)}, 'has no setting "use_degree".*use_degrees'),
    ):
        with pytest.raises(WarmloopError, match=said) as raised:
            make(**settings).reset(seed=0)
        assert not isinstance(raised.value, EnvironmentFault)


def test_lerobots_camera_is_read_and_a_missing_one_is_a_fault(make):
    env = make(cameras=("front=opencv:/dev/video99@640x480/30",), camera_seconds=8.0)
    with pytest.raises(EnvironmentFault, match=r"Camera front failed: .*"):
        env.reset(seed=0)


class Lens:
    """What OpenCV gives LeRobot's camera: 30 red pictures a second (BGR), until it is frozen."""

    frozen = False

    def __init__(self, *where):
        self.values = {3: 64.0, 4: 48.0, 5: 30.0}  # width, height, pictures a second

    def isOpened(self):  # noqa: N802
        return True

    def set(self, what, value):
        self.values[what] = float(value)
        return True

    def get(self, what):
        return self.values.get(what, 0.0)

    def getBackendName(self):  # noqa: N802
        return "V4L2"

    def read(self):
        time.sleep(1 / 30)
        while Lens.frozen:
            time.sleep(0.05)
        picture = np.zeros((int(self.values[4]), int(self.values[3]), 3), np.uint8)
        picture[..., 2] = 200
        return True, picture

    def release(self):
        pass


def test_lerobots_camera_gives_pictures_and_one_that_freezes_is_a_fault_until_it_is_back(make, monkeypatch):
    import cv2

    monkeypatch.setattr(cv2, "VideoCapture", Lens)
    env = make(cameras=("front=opencv:0@64x48/30",), camera_seconds=6.0, image_size=32)
    observation, _ = env.reset(seed=0)
    assert observation["images"]["front"].shape == (32, 32, 3)
    np.testing.assert_array_equal(observation["images"]["front"][0, 0], [200, 0, 0])
    monkeypatch.setattr(Lens, "frozen", True)
    time.sleep(6.5)
    with pytest.raises(EnvironmentFault, match=r"Camera front has given no picture for 6 s; look at its cable"):
        env.step(np.array(PRESET["start"], np.float32))
    monkeypatch.setattr(Lens, "frozen", False)
    assert env.observation_space.contains(env.reset(seed=0)[0])


def test_a_leader_arm_of_lerobot_takes_over(make, bus, tmp_path):
    make()
    other = Bus(SPEED)
    write_calibration(tmp_path / "blue.json", other)
    given = PRESET | {"port": bus.port, "robot_id": "fake", "calibration_dir": str(tmp_path), "speed": SPEED, "retries": 8}
    environment = make_environment(EnvironmentConfig("LeRobot-v0", given, horizon=1_000))
    environment.reset(0)
    leader = Leader(environment, port=other.port, id="blue", calibration_dir=str(tmp_path))
    leader.begin(0)
    time.sleep(0.3)
    assert leader({}, np.zeros(6), 0).action is None and not any(servo.memory[40] for servo in other.servos.values())
    other.motor("shoulder_pan").ticks += 30.0 * 4095 / 360
    time.sleep(0.3)
    for step in range(15):
        command = leader({}, np.zeros(6), step)
        assert command.action is not None
        environment.step(command.action)
        other.motor("shoulder_pan").ticks += 2.0
    np.testing.assert_allclose(degrees(bus), degrees(other), atol=8.0)
    other.unplug()
    time.sleep(0.5)
    with pytest.raises(EnvironmentFault, match="failed"):
        leader({}, np.zeros(6), 20)
    leader.close()
    environment.close()


@pytest.fixture
def led(make, bus, tmp_path):
    """The pretend arm as an environment, and a pretend leader arm, which follows."""
    make()
    other = Bus(SPEED)
    write_calibration(tmp_path / "blue.json", other)
    given = PRESET | {"port": bus.port, "robot_id": "fake", "calibration_dir": str(tmp_path), "speed": SPEED, "retries": 8}
    environment = make_environment(EnvironmentConfig("LeRobot-v0", given, horizon=1_000))
    environment.reset(0)
    leader = Leader(environment, port=other.port, id="blue", calibration_dir=str(tmp_path), follow="on")
    leader.begin(0)
    yield environment, leader, other
    leader.close()
    environment.close()
    other.close()


def acted(environment, leader, pose, steps=200, over=lambda taken: taken):
    """Steps of a policy towards a pose, until `over` of whether the leader took the last one: of each, the leader's action, or None."""
    action, taken = environment.limits.scale(np.array(pose, np.float32)), []
    for _ in range(steps):
        command = leader({}, action, 0)
        environment.step(action if command.action is None else command.action)
        taken.append(command.action)
        if over(command.action is not None):
            break
    return taken


def is_on(bus):
    return [bool(servo.memory[40]) for servo in bus.servos.values()]


def test_a_leader_arm_follows_until_a_hand_pulls_and_the_follower_does_not_jump(led, bus):
    environment, leader, other = led
    pose = [40.0, -20.0, 30.0, 40.0, 60.0, 70.0]
    for servo in other.servos.values():
        servo.sag = 40.0  # 3.5 degrees under a low torque
    assert not any(step is not None for step in acted(environment, leader, pose, 120)), "a leader that lags and sags takes nothing over"
    assert all(is_on(other)) and {servo.get(48) for servo in other.servos.values()} == {300}
    np.testing.assert_allclose(degrees(other)[:5], np.array(pose[:5]) - 3.5, atol=2.0)

    before = degrees(bus)
    pan = other.motor("shoulder_pan")
    pan.hand = pan.ticks + 25.0 * 4095 / 360
    assert acted(environment, leader, pose)[-1] is not None
    assert not any(is_on(other)) and {servo.get(48) for servo in other.servos.values()} == {1000}, "limp, with its own limit of torque"
    assert np.abs(degrees(bus) - before).max() <= max(PRESET["max_step"]) + 1.0, "no farther than a step"
    for _ in range(20):  # the hand goes on
        pan.hand += 2.0
        acted(environment, leader, pose, 1)
    np.testing.assert_allclose(degrees(bus)[0], degrees(other)[0], atol=6.0)

    pan.hand = None
    acted(environment, leader, pose, 400, over=lambda taken: not taken and all(is_on(other)))
    assert all(is_on(other)), "the policy acts again, and the leader follows"


def test_a_leader_arm_is_limp_while_nobody_acts_after_a_fault_and_at_its_end(led):
    environment, leader, other = led
    pose = PRESET["start"]
    acted(environment, leader, pose, 100, over=lambda _: all(is_on(other)))
    assert all(is_on(other))
    time.sleep(2.0)
    assert not any(is_on(other)), "nobody acts"
    acted(environment, leader, pose, 100, over=lambda _: all(is_on(other)))
    other.loses = 1.0
    with pytest.raises(EnvironmentFault, match="failed"):
        acted(environment, leader, pose, 100)
    assert not any(is_on(other)), "what no motor answers is written all the same"
    other.loses = 0.0
    leader.ready()
    leader.begin(0)
    acted(environment, leader, pose, 100, over=lambda _: all(is_on(other)))
    leader.close()
    assert not any(is_on(other))


def test_limits_are_found_while_a_hand_moves_the_limp_arm(make, bus, tmp_path):
    make()
    for servo in bus.servos.values():
        servo.memory[40] = 1  # as an earlier run left it
    line = [sys.executable, "-m", "warmloop.launch.find_limits", f"--port={bus.port}", "--id=fake", f"--calibration_dir={tmp_path}"]
    line += [f"--out={tmp_path / 'arm.py'}", "--start"]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
    assert process.stdin is not None and process.stdout is not None
    assert "goes off: hold the arm" in process.stdout.readline()
    assert all(is_on(bus)), "until Enter"
    process.stdin.write("\n")
    assert "Enter ends" in process.stdout.readline()
    middle = bus.state()
    for share in (0.0, 0.5, 1.0, 0.0, -1.0, 0.0):
        for servo, at, (low, high) in zip(bus.servos.values(), middle, RANGES, strict=True):
            servo.hand = at + share * 0.3 * (high - low)
        time.sleep(1.5)
        assert not any(is_on(bus))
    said, wrong = process.communicate("\n", timeout=60)
    assert process.returncode == 0, wrong
    half = 0.3 * np.diff(RANGES)[:, 0] * 360 / 4095
    half[-1] = 30.0
    kwargs = dict(load(str(tmp_path / "arm.py")).environment.kwargs)
    centre = np.array([0.0] * 5 + [50.0])
    np.testing.assert_allclose(kwargs["low"], centre - half + 3.0, atol=1.0)
    np.testing.assert_allclose(kwargs["high"], centre + half - 3.0, atol=1.0)
    np.testing.assert_allclose(kwargs["start"], centre, atol=1.0)
    assert "kept" not in said and not any(is_on(bus)), "the torque stays off"


def test_the_port_of_the_arm_names_all_motors(bus):
    from lerobot.motors.feetech import FeetechMotorsBus

    found = FeetechMotorsBus.scan_port(bus.port)
    assert set(found[1_000_000]) == set(range(1, len(MOTORS) + 1))

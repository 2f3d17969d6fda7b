"""A robot, a camera and teleoperators with LeRobot's interfaces and without LeRobot: plain objects, whose faults are switched on."""

import time
from types import SimpleNamespace

import numpy as np

JOINTS = ("lift", "grip")
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
TABLE = {"Status": (65, 1), "Torque_Enable": (40, 1), "Present_Voltage": (62, 1), "Present_Temperature": (63, 1), "Present_Load": (60, 2)}
made: list["PlainRobot"] = []  # by the environments, the newest last
leaders: list["PlainLeader"] = []


class PlainBus:
    """Two motors, and what their registers say."""

    model_ctrl_table = {"plain": TABLE}  # noqa: RUF012

    def __init__(self):
        self.motors = {name: SimpleNamespace(model="plain") for name in JOINTS}
        self.values = {"Status": 0, "Torque_Enable": 1, "Present_Voltage": 74, "Present_Temperature": 30, "Present_Load": 5}
        self.special: dict[tuple[str, str], int] = {}
        self.torque, self.is_connected = True, False

    def connect(self):
        self.is_connected = True

    def disconnect(self):
        self.is_connected = False

    def sync_read(self, name):
        return {motor: self.special.get((name, motor), self.values[name]) for motor in self.motors}

    def enable_torque(self, motors=None, num_retry=0):
        self.torque, self.values["Torque_Enable"] = True, 1

    def disable_torque(self, motors=None, num_retry=0):
        self.torque, self.values["Torque_Enable"] = False, 0


class PlainRobot:
    """It is at once where it is commanded to be, unless it is blocked. `failing` are the exceptions of its next calls."""

    def __init__(self, port="", id="", calibrated=True, bus=True, gone=False):
        self.port, self.id, self.is_calibrated, self.gone = port, id, calibrated, gone
        self.calibration_fpath = f"/calibration/{id}.json"
        if bus:
            self.bus = PlainBus()
        self.joints, self.sent = {"lift.pos": 40.0, "grip.pos": 50.0}, list[dict[str, float]]()
        self.is_connected, self.blocked, self.calls = False, False, 0
        self.failing: list[Exception] = []
        made.append(self)

    @property
    def observation_features(self):
        return {"lift.pos": float, "grip.pos": float, "lift.torque": float, "front": (8, 8, 3)}

    @property
    def action_features(self):
        return {"lift.pos": float, "grip.pos": float}

    def connect(self, calibrate=True):
        assert not calibrate, "which would wait at the keyboard"
        if self.gone:
            raise ConnectionError("no such port")
        self.is_connected = True

    def get_observation(self):
        self._call()
        return {**self.joints, "lift.torque": 0.5}

    def send_action(self, action):
        self._call()
        self.sent.append(dict(action))
        if not self.blocked:
            self.joints = dict(action)
        return action

    def disconnect(self):
        self.is_connected = False

    def _call(self):
        self.calls += 1
        if self.failing:
            raise self.failing.pop(0)


class PlainRobotMovedByHand(PlainRobot):
    """A hand moves it while its torque is off, from one end of a joint to the other and back, and a packet with another's bytes comes."""

    reach = {"lift.pos": (-60.0, 45.0), "grip.pos": (2.0, 98.0)}  # noqa: RUF012
    period = 40  # readings
    stuck = False  # the torque stays on

    def __init__(self, port="", id="", **settings):
        super().__init__(port, id, **settings)
        if hasattr(self, "bus"):
            self.bus.disable_torque = self._disable_torque

    def get_observation(self):
        found = super().get_observation()
        if self.bus.torque:
            return found
        share = 0.5 - 0.5 * np.cos(2 * np.pi * self.calls / self.period)
        found |= {joint: low + share * (high - low) for joint, (low, high) in self.reach.items()}
        return found | ({"lift.pos": 350.0} if self.calls == 30 else {})

    def _disable_torque(self, motors=None, num_retry=0):
        if not self.stuck:
            PlainBus.disable_torque(self.bus)


class PlainCamera:
    """Pictures of one colour, 20 by 10 pixels; where `frozen`, none comes."""

    frozen = False

    def __init__(self, name, source, width, height, fps):
        self.colour = int(source)

    def read(self):
        time.sleep(0.005)
        return not PlainCamera.frozen, np.full((10, 20, 3), self.colour, np.uint8)

    def close(self):
        pass


class PlainLeader:
    """A leader arm with the robot's joints."""

    action_features = {"lift.pos": float, "grip.pos": float}  # noqa: RUF012
    is_calibrated = True

    def __init__(self, port="", id=""):
        self.joints, self.is_connected, self.error = {"lift.pos": 0.0, "grip.pos": 0.0}, False, None
        leaders.append(self)

    def connect(self, calibrate=True):
        self.is_connected = True

    def get_action(self):
        if self.error is not None:
            raise self.error
        return dict(self.joints)

    def disconnect(self):
        self.is_connected = False


class PlainArmBus:
    """The motors of a leader arm, which are at once where they are to be, unless a hand holds them."""

    model_ctrl_table = {"plain": {"Torque_Limit": (48, 2), "Torque_Enable": (40, 1)}}  # noqa: RUF012
    model_resolution_table = {"plain": 4096}  # noqa: RUF012

    def __init__(self, arm):
        self._arm, self.stuck, self.written = arm, False, list[tuple[str, dict]]()
        self.motors = {"lift": SimpleNamespace(model="plain", norm_mode=SimpleNamespace(value="degrees")),
                       "grip": SimpleNamespace(model="plain", norm_mode=SimpleNamespace(value="range_0_100"))}  # fmt: skip
        self.calibration = {"lift": SimpleNamespace(range_min=1000, range_max=3000)}  # 87.9 degrees to each side
        self.values = {"Torque_Limit": dict.fromkeys(JOINTS, 1000), "Torque_Enable": dict.fromkeys(JOINTS, 0)}
        self.goal, self.sag = {"lift": 0.0, "grip": 0.0}, 0.0

    @property
    def torque(self):
        return all(self.values["Torque_Enable"].values())

    def sync_read(self, name, motors=None):
        return {motor: self.values[name][motor] for motor in motors or self.motors}

    def sync_write(self, name, values):
        self.written.append((name, dict(values)))
        if name == "Goal_Position":
            self.goal.update(values)
            if self.torque and self._arm.hand is None:
                self._arm.joints = {f"{motor}.pos": goal - self.sag for motor, goal in self.goal.items()}
        elif not self.stuck:
            self.values[name].update(values)

    def write(self, name, motor, value):
        self.sync_write(name, {motor: value})

    def enable_torque(self, motors, num_retry=0):
        self.sync_write("Torque_Enable", dict.fromkeys(motors, 1))


class PlainArm(PlainLeader):
    """A leader arm with motors; `hand`, where a hand holds its joints."""

    def __init__(self, port="", id=""):
        super().__init__(port, id)
        self.hand, self.bus = None, PlainArmBus(self)

    def get_action(self):
        if self.hand is not None:
            self.joints = dict(self.hand)
        return super().get_action()


class PlainPad(PlainLeader):
    """A gamepad, as LeRobot's: the tool's shifts, and events."""

    action_features = {"delta_x": float, "delta_y": float, "delta_z": float, "gripper": int}  # noqa: RUF012
    events = {"is_intervention": False}  # noqa: RUF012

    def get_action(self):
        return {"delta_x": 1.0, "delta_y": 0.0, "delta_z": -0.5, "gripper": 2}

    def get_teleop_events(self):
        return dict(self.events)

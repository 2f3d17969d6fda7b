"""A leader arm with LeRobot's interface of a Teleoperator and without LeRobot: raw packets of the Feetech protocol over its port."""

import json
import os
import select
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from fake_so101 import GOAL, LIMIT, MOTORS, POSITION, TICKS, TORQUE, checksum  # pyright: ignore[reportMissingImports]

READ, WRITE, SYNC_READ, SYNC_WRITE, EVERYONE = 2, 3, 0x82, 0x83, 0xFE
REGISTERS = {"Torque_Enable": (TORQUE, 1), "Goal_Position": (GOAL, 2), "Torque_Limit": (LIMIT, 2), "Present_Position": (POSITION, 2)}
ANSWER_SECONDS = 5.0


class CableBus:
    """The six motors: registers by name, in degrees where they are places, the gripper's in percent."""

    model_ctrl_table = {"sts3215": REGISTERS}  # noqa: RUF012
    model_resolution_table = {"sts3215": TICKS}  # noqa: RUF012

    def __init__(self, port, calibration):
        self._port = os.open(port, os.O_RDWR | os.O_NOCTTY)
        self.calibration = {name: SimpleNamespace(**one) for name, one in calibration.items()}
        self.motors = {name: SimpleNamespace(model="sts3215", norm_mode=SimpleNamespace(value="degrees")) for name in MOTORS}
        self.motors["gripper"].norm_mode.value = "range_0_100"

    def close(self):
        os.close(self._port)

    def sync_read(self, register, motors=None):
        names = list(motors or self.motors)
        address, size = REGISTERS[register]
        self._send(EVERYONE, SYNC_READ, address, size, *map(self._number, names))
        found = {name: int.from_bytes(self._answer(name, size), "little") for name in names}
        return {name: self._degrees(name, ticks) for name, ticks in found.items()} if "Position" in register else found

    def sync_write(self, register, values):
        address, size = REGISTERS[register]
        numbers = {name: self._ticks(name, value) if "Position" in register else int(value) for name, value in values.items()}
        parts = [part for name, value in numbers.items() for part in (self._number(name), *value.to_bytes(size, "little"))]
        self._send(EVERYONE, SYNC_WRITE, address, size, *parts)

    def write(self, register, motor, value):
        address, size = REGISTERS[register]
        self._send(self._number(motor), WRITE, address, *int(value).to_bytes(size, "little"))
        self._answer(motor, 0)

    def enable_torque(self, motors, num_retry=0):
        for motor in motors:
            self.write("Torque_Enable", motor, 1)

    def _number(self, name):
        return MOTORS.index(name) + 1

    def _degrees(self, name, ticks):
        one = self.calibration[name]
        if name == "gripper":
            return (ticks - one.range_min) / (one.range_max - one.range_min) * 100
        return (ticks - (one.range_min + one.range_max) / 2) * 360 / (TICKS - 1)

    def _ticks(self, name, value):
        one = self.calibration[name]
        if name == "gripper":
            return round(one.range_min + value / 100 * (one.range_max - one.range_min))
        return round(value * (TICKS - 1) / 360 + (one.range_min + one.range_max) / 2)

    def _send(self, number, instruction, *parameters):
        body = bytes((number, len(parameters) + 2, instruction, *parameters))
        os.write(self._port, b"\xff\xff" + body + bytes((checksum(body),)))

    def _answer(self, name, size):
        found = b""
        while len(found) < 6 + size:
            if not select.select([self._port], [], [], ANSWER_SECONDS)[0]:
                raise ConnectionError("no answer")
            found += os.read(self._port, 6 + size - len(found))
        assert found[2] == self._number(name) and found[-1] == checksum(found[2:-1])
        return found[5:-1]


class CableLeader:
    """The arm."""

    is_calibrated, is_connected = True, False

    def __init__(self, port="", id="", calibration_dir=None):
        self._port, self._calibration = port, json.loads((Path(calibration_dir or ".") / f"{id}.json").read_text())
        self.action_features = {f"{name}.pos": float for name in MOTORS}

    def connect(self, calibrate=True):
        self.bus, self.is_connected = CableBus(self._port, self._calibration), True

    def disconnect(self):
        self.bus.close()
        self.is_connected = False

    def get_action(self):
        return {f"{name}.pos": float(np.float32(at)) for name, at in self.bus.sync_read("Present_Position").items()}

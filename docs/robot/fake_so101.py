"""A pretend SO-101 behind a pseudo-terminal that speaks the Feetech protocol, so that LeRobot's own driver runs without an arm.

    python docs/robot/fake_so101.py --link=/tmp/so101 --calibration=/tmp/so101-calibration

Six STS3215 servos answer ping, read, write, registered write, action, sync read and sync write, at the addresses of Feetech's memory
table. Each follows its goal with a first-order lag and a greatest speed, while its torque is on; a hand moves one whose torque is off or
low. Its faults are switched on by the attributes of `Bus`: lost and late answers, an overheated motor, a low voltage, a blocked joint, a
cable that is pulled out.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import threading
import time
import tty
from pathlib import Path

import numpy as np

MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
RANGES = ((797, 3297), (909, 3185), (945, 3149), (961, 3133), (0, 4095), (1490, 3670))  # ticks, from one end of a joint to the other
TICKS, MODEL = 4096, 777
SETTLING, FASTEST = 0.05, 3400.0  # seconds; ticks a second
HAND = 600  # thousandths of a motor's torque that a hand overcomes
LOOK_SECONDS = 0.02  # between two looks at whether the cable is in
PING, READ, WRITE, REGISTERED, ACTION, SYNC_READ, SYNC_WRITE, EVERYONE = 1, 2, 3, 4, 5, 0x82, 0x83, 0xFE
OVERHEATED, LOW_VOLTAGE, OVERLOADED = 4, 1, 32  # bits of a status

# Addresses of the memory table, as Feetech's manual of the STS series has them; numbers of two bytes are little-endian.
ID, LOWEST, HIGHEST, MOST_CELSIUS, LEAST_VOLTS, OFFSET = 5, 9, 11, 13, 15, 31
TORQUE, GOAL, LIMIT, LOCK, POSITION, VELOCITY, LOAD, VOLTS, CELSIUS, STATUS, MOVING = 40, 42, 48, 55, 56, 58, 60, 62, 63, 65, 66


class Servo:
    """One motor: its memory, and where its shaft is, in ticks of a turn before the homing offset is taken off."""

    def __init__(self, number: int, ticks: float):
        self.memory, self.ticks, self.speed = bytearray(128), ticks, 0.0
        self.blocked = False
        self.hand: float | None = None  # where a hand holds the shaft
        self.sag = 0.0  # ticks that its load holds it below its goal
        self.waiting: tuple[int, bytes] | None = None  # of a registered write
        self.memory[0:3] = bytes((3, 10, 0))  # firmware
        self.memory[ID], self.memory[MOST_CELSIUS], self.memory[LEAST_VOLTS] = number, 70, 40
        self.memory[VOLTS], self.memory[CELSIUS] = 74, 32  # tenths of a volt, degrees
        self.put(3, MODEL)
        self.put(HIGHEST, TICKS - 1)
        self.put(LIMIT, 1000)
        self.put(GOAL, self.seen())

    def get(self, address: int) -> int:
        return int.from_bytes(self.memory[address : address + 2], "little")

    def put(self, address: int, number: int) -> None:
        self.memory[address : address + 2] = int(number).to_bytes(2, "little")

    def offset(self) -> int:
        number = self.get(OFFSET)  # a sign in bit 11, and a size
        return -(number & 0x7FF) if number & 0x800 else number & 0x7FF

    def seen(self) -> int:
        """The position that it tells."""
        return round(self.ticks - self.offset()) % TICKS

    def goal(self) -> int:
        """Where it is going, in the ticks of its shaft."""
        return min(max(self.get(GOAL) & 0x7FFF, self.get(LOWEST)), self.get(HIGHEST)) + self.offset()

    def write(self, address: int, data: bytes) -> None:
        self.memory[address : address + len(data)] = data

    def advance(self, seconds: float) -> None:
        """Follows the goal, where its torque is on, and tells what it measures."""
        self.memory[STATUS] = self._status()
        if self.memory[STATUS] & OVERHEATED:
            self.memory[TORQUE] = 0
        before, goal = self.ticks, self.goal()
        self.follow(goal, seconds)
        if seconds:
            self.speed = (self.ticks - before) / seconds
        load = self.load(goal)
        self.put(POSITION, self.seen())
        self.put(VELOCITY, _signed(self.speed, 15))
        self.put(LOAD, _signed(np.clip(load, -1000, 1000), 10))
        self.memory[MOVING] = abs(self.speed) > 5

    def _status(self) -> int:
        hot, low = self.memory[CELSIUS] > self.memory[MOST_CELSIUS], self.memory[VOLTS] < self.memory[LEAST_VOLTS]
        return OVERHEATED * hot | LOW_VOLTAGE * low | (self.memory[STATUS] & OVERLOADED)

    def follow(self, goal: float, seconds: float) -> None:
        """Moves the shaft."""
        wanted = goal - self.sag if self.memory[TORQUE] and not self.blocked else None
        if self.hand is not None and not (self.memory[TORQUE] and self.get(LIMIT) > HAND):
            wanted = self.hand
        if wanted is not None:
            move = (1.0 - np.exp(-seconds / SETTLING)) * (wanted - self.ticks)
            self.ticks += float(np.clip(move, -FASTEST * seconds, FASTEST * seconds))

    def load(self, goal: float) -> float:
        """In thousandths of the greatest torque."""
        return (goal - self.ticks) if self.memory[TORQUE] else 0.0


def _signed(number: float, bit: int) -> int:
    """A number as a size with its sign in a bit."""
    return min(int(abs(number)), (1 << bit) - 1) | ((number < 0) << bit)


class Bus:
    """The six motors at the end of a cable.

    Args:
        speed: seconds of the arm's that pass in one of ours.

    Attributes:
        port: the path that a driver opens.
        lose: how many of the next answers are lost.
        loses: the share of answers that are lost at random.
        late: seconds by which the next answers are late, and how many of them.
        packets: the instructions that came, as (id, instruction, parameters).
    """

    def __init__(self, speed: float = 1.0, seed: int = 0):
        self.servos = {number: self._servo(number, sum(RANGES[number - 1]) / 2) for number in range(1, len(MOTORS) + 1)}
        self.lock, self.speed, self._now = threading.RLock(), speed, time.monotonic()
        self.lose, self.loses, self.late, self._random = 0, 0.0, (0.0, 0), np.random.default_rng(seed)
        self.packets: list[tuple[int, int, bytes]] = []
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port, self._over, self._buffer = os.ttyname(self._slave), False, b""
        self._thread = threading.Thread(target=self._serve, name="fake SO-101", daemon=True)
        self._thread.start()

    def _servo(self, number: int, ticks: float) -> Servo:
        return Servo(number, ticks)

    def motor(self, name: str) -> Servo:
        return self.servos[MOTORS.index(name) + 1]

    def unplug(self) -> None:
        """Pulls the cable out: whoever has the port open finds it gone."""
        self._over = True
        self._thread.join()

    close = unplug

    def state(self) -> np.ndarray:
        """`[6]` positions in ticks, now."""
        with self.lock:
            self._advance()
            return np.array([servo.ticks for servo in self.servos.values()])

    def _serve(self) -> None:
        while not self._over:
            if select.select([self._master], [], [], LOOK_SECONDS)[0]:
                self._buffer += os.read(self._master, 4096)
                with self.lock:
                    while packet := self._next_packet():
                        self._advance()
                        self._act(*packet)
        os.close(self._slave)
        os.close(self._master)

    def _next_packet(self) -> tuple[int, int, bytes] | None:
        """The first whole instruction in what came; what is none of a valid checksum is thrown away, as motors do."""
        while (start := self._buffer.find(b"\xff\xff")) >= 0 and len(self._buffer) >= start + 6:
            number, length = self._buffer[start + 2], self._buffer[start + 3]
            end = start + 4 + length
            if number == 0xFF or length < 2:
                self._buffer = self._buffer[start + 1 :]
                continue
            if len(self._buffer) < end:
                return None
            body, self._buffer = self._buffer[start + 2 : end], self._buffer[end:]
            if checksum(body[:-1]) == body[-1]:
                self.packets.append((number, body[2], body[3:-1]))
                return self.packets[-1]
        return None

    def _act(self, number: int, instruction: int, parameters: bytes) -> None:
        everyone = list(self.servos.values())
        named = [self.servos[number]] if number in self.servos else everyone if number == EVERYONE else []
        match instruction:
            case 1:  # PING
                for servo in named:
                    self._answer(servo)
            case 2 if number != EVERYONE:
                for servo in named:
                    self._answer(servo, parameters[0], parameters[1])
            case 3 | 4 | 5:
                for servo in named:
                    self._write(servo, instruction, parameters)
                    if number != EVERYONE:
                        self._answer(servo)
            case 0x82:  # SYNC_READ: address, size, the motors
                for one in parameters[2:]:
                    if one in self.servos:
                        self._answer(self.servos[one], parameters[0], parameters[1])
            case 0x83:  # SYNC_WRITE: address, size, then each motor and its bytes
                size = parameters[1] + 1
                for place in range(2, len(parameters), size):
                    if parameters[place] in self.servos:
                        self.servos[parameters[place]].write(parameters[0], parameters[place + 1 : place + size])

    def _write(self, servo: Servo, instruction: int, parameters: bytes) -> None:
        if instruction == WRITE:
            servo.write(parameters[0], parameters[1:])
        elif instruction == REGISTERED:
            servo.waiting = parameters[0], parameters[1:]
        elif servo.waiting is not None:
            servo.write(*servo.waiting)
            servo.waiting = None

    def _answer(self, servo: Servo, address: int = 0, size: int = 0) -> None:
        body = bytes((servo.memory[ID], size + 2, servo.memory[STATUS], *servo.memory[address : address + size]))
        if self.lose > 0:
            self.lose -= 1
            return
        if self.loses and self._random.random() < self.loses:
            return
        seconds, count = self.late
        if count > 0:
            self.late = seconds, count - 1
            time.sleep(seconds)
        os.write(self._master, b"\xff\xff" + body + bytes((checksum(body),)))

    def _advance(self) -> None:
        now = time.monotonic()
        seconds, self._now = (now - self._now) * self.speed, now
        self._pass(seconds)

    def _pass(self, seconds: float) -> None:
        for servo in self.servos.values():
            servo.advance(seconds)


def checksum(body: bytes) -> int:
    """Of a packet without its header."""
    return ~sum(body) & 0xFF


def write_calibration(path: Path, bus: Bus | None = None) -> None:
    """Writes what `lerobot-calibrate` would find out into a file, and into the motors of a bus as it does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    named = dict(zip(MOTORS, RANGES, strict=True))
    found = {
        name: {"id": place + 1, "drive_mode": 0, "homing_offset": 0, "range_min": low, "range_max": high}
        for place, (name, (low, high)) in enumerate(named.items())
    }
    path.write_text(json.dumps(found, indent=4))
    if bus is not None:
        for name, (low, high) in named.items():
            bus.motor(name).put(LOWEST, low)
            bus.motor(name).put(HIGHEST, high)


def serve(bus: Bus, link: str | None, calibration: str | None, beside: str = "", name: str = "fake") -> None:
    """Until Ctrl-C; `beside` is told with the port, and `name` is the arm's."""
    if calibration:
        write_calibration(Path(calibration) / f"{name}.json", bus)
    if link:
        Path(link).unlink(missing_ok=True)
        Path(link).symlink_to(bus.port)
    print(f"listening: {link or bus.port}{beside}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print(f"answered {len(bus.packets)} packets")
    finally:
        bus.close()
        if link:
            Path(link).unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--link", help="a name for the port, in place of the number that it has")
    parser.add_argument("--calibration", help="the folder where LeRobot's file of the arm named fake is written")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of the arm's that pass in one of ours (%(default)s)")
    given = parser.parse_args()
    serve(Bus(given.speed), given.link, given.calibration)


if __name__ == "__main__":
    main()

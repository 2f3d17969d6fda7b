"""The pretend SO-101, by raw packets over its pseudo-terminal. The packets of the first tests are the examples of Feetech's manual."""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "robot"
EVERYONE, READ, WRITE, REGISTERED, ACTION, SYNC_READ, SYNC_WRITE = 0xFE, 2, 3, 4, 5, 0x82, 0x83
QUIET = 0.2  # seconds in which an answer would have come


@pytest.fixture
def cable(monkeypatch):
    """A pretend arm, and the driver's end of its cable."""
    monkeypatch.syspath_prepend(str(FOLDER))
    from fake_so101 import Bus  # pyright: ignore[reportMissingImports]

    bus = Bus(speed=20.0)
    port = os.open(bus.port, os.O_RDWR | os.O_NOCTTY)
    yield bus, port
    bus.close()
    os.close(port)


def packet(number, instruction, *parameters):
    body = bytes((number, len(parameters) + 2, instruction, *parameters))
    return b"\xff\xff" + body + bytes((~sum(body) & 0xFF,))


def answers(port, sent, size, seconds=5.0):
    """What comes back within `size` bytes; less where it does not come."""
    os.write(port, sent)
    found, until = b"", time.monotonic() + seconds
    while len(found) < size and (left := until - time.monotonic()) > 0:
        if select.select([port], [], [], left)[0]:
            found += os.read(port, 256)
    return found


def settled(bus, name, ticks):
    until = time.monotonic() + 5.0
    while abs(bus.motor(name).ticks - ticks) > 2 and time.monotonic() < until:
        bus.state()
        time.sleep(0.005)
    return bus.motor(name).ticks


def test_a_ping_is_answered_by_the_motor_that_is_meant(cable):
    _, port = cable
    assert answers(port, bytes.fromhex("ffff010201fb"), 6) == bytes.fromhex("ffff010200fc")
    assert answers(port, packet(9, 1), 6, QUIET) == b"", "nobody has the number 9"
    assert len(answers(port, packet(EVERYONE, 1), 36)) == 36


def test_a_position_is_read_as_the_manual_has_it(cable):
    bus, port = cable
    bus.motor("shoulder_pan").ticks = 0x0518
    assert answers(port, bytes.fromhex("ffff0104023802be"), 8) == bytes.fromhex("ffff0104001805dd")


def test_what_is_no_packet_is_thrown_away_and_the_next_one_is_answered(cable):
    bus, port = cable
    wrong = bytearray(packet(1, WRITE, 40, 1))
    wrong[-1] ^= 1
    assert answers(port, bytes(wrong), 6, QUIET) == b"" and not bus.motor("shoulder_pan").memory[40]
    assert answers(port, b"\x00\xff\x07" + packet(2, READ, 3, 2), 8) == b"\xff\xff\x02\x04\x00\x09\x03" + bytes((~(2 + 4 + 9 + 3) & 0xFF,))
    halves = packet(1, 1)
    os.write(port, halves[:4])
    time.sleep(0.05)
    assert answers(port, halves[4:], 6) == bytes.fromhex("ffff010200fc")


def test_sync_read_is_answered_by_each_motor_in_turn_and_sync_write_by_none(cable):
    bus, port = cable
    goals = [2000, 2100]
    written = [part for number, goal in zip((3, 4), goals, strict=True) for part in (number, goal & 0xFF, goal >> 8)]
    assert answers(port, packet(EVERYONE, SYNC_WRITE, 42, 2, *written), 6, QUIET) == b""
    assert [bus.servos[number].get(42) for number in (3, 4)] == goals
    found = answers(port, packet(EVERYONE, SYNC_READ, 42, 2, 4, 3), 16)
    assert [found[2], found[10]] == [4, 3] and [found[5] | found[6] << 8, found[13] | found[14] << 8] == goals[::-1]


def test_a_registered_write_waits_for_its_action(cable):
    bus, port = cable
    answers(port, packet(1, REGISTERED, 42, 0x34, 0x08), 6)
    before = bus.motor("shoulder_pan").get(42)
    answers(port, packet(EVERYONE, ACTION), 1, QUIET)
    assert before != bus.motor("shoulder_pan").get(42) == 0x0834


def test_a_motor_follows_its_goal_while_its_torque_is_on_and_no_faster_than_it_can(cable):
    bus, port = cable
    servo = bus.motor("elbow_flex")
    start = servo.ticks
    answers(port, packet(3, WRITE, 42, 0xB8, 0x0B), 6)  # 3000
    time.sleep(0.05)
    assert bus.state()[2] == start, "without torque it stays"
    servo.memory[40] = 1
    bus.state()
    servo.advance(0.01)
    assert 0 < servo.ticks - start <= 3400 * (0.01 + 20.0 * 0.5)
    assert settled(bus, "elbow_flex", 3000) == pytest.approx(3000, abs=2)
    slow = type(servo)(1, 0.0)
    slow.memory[40] = 1
    slow.put(42, 4000)
    slow.advance(0.01)
    assert slow.ticks == pytest.approx(34.0)


def test_goals_stay_within_the_motors_limits_and_positions_are_told_without_the_offset(cable):
    bus, _ = cable
    servo = bus.motor("wrist_flex")
    servo.put(9, 1000)
    servo.put(11, 3000)
    servo.put(31, 0x800 | 100)  # -100
    servo.put(42, 4000)
    servo.memory[40] = 1
    assert settled(bus, "wrist_flex", 2900) == pytest.approx(2900, abs=2)
    assert servo.get(56) == pytest.approx(3000, abs=2)
    servo.put(42, 1500)
    servo.advance(0.01)
    assert servo.get(58) & 0x8000, "a velocity downwards has its sign in bit 15"


def test_an_overheated_motor_says_so_in_every_answer_and_lets_go(cable):
    bus, port = cable
    servo = bus.motor("gripper")
    servo.memory[40], servo.memory[63] = 1, 90
    assert answers(port, packet(6, 1), 6)[4] == 4 and not servo.memory[40]
    servo.memory[63], servo.memory[62] = 30, 35
    assert answers(port, packet(6, 1), 6)[4] == 1


def test_lost_and_late_answers(cable):
    bus, port = cable
    bus.lose = 1
    assert answers(port, packet(1, 1), 6, QUIET) == b"" and len(answers(port, packet(1, 1), 6)) == 6
    bus.late = 0.2, 1
    began = time.monotonic()
    assert len(answers(port, packet(1, 1), 6)) == 6 and time.monotonic() - began >= 0.2
    bus.loses = 0.5
    heard = sum(len(answers(port, packet(1, 1), 6, 0.03)) == 6 for _ in range(40))
    assert 5 <= heard <= 35


def test_a_cable_that_is_pulled_out_is_gone_for_whoever_has_the_port(cable):
    bus, port = cable
    bus.unplug()
    with pytest.raises(OSError):
        os.write(port, packet(1, 1))
    assert not Path(bus.port).exists()


def test_the_program_gives_a_port_of_a_fixed_name_and_writes_lerobots_calibration(tmp_path):
    link, folder = tmp_path / "so101", tmp_path / "calibration"
    line = [sys.executable, str(FOLDER / "fake_so101.py"), f"--link={link}", f"--calibration={folder}"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == f"listening: {link}\n"
        port = os.open(link, os.O_RDWR | os.O_NOCTTY)
        found = answers(port, packet(1, READ, 9, 4), 10)
        process.terminate()
        os.close(port)
    limits = [found[5] | found[6] << 8, found[7] | found[8] << 8]
    calibration = json.loads((folder / "fake.json").read_text())
    assert [calibration["shoulder_pan"][name] for name in ("range_min", "range_max")] == limits
    assert np.diff(limits) > 0 and len(calibration) == 6

"""Faults that motors report: overload, overheating, a voltage that breaks down, a torque that was switched off."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from ...data.errors import EnvironmentFault

FEETECH = {0: "the voltage is beyond its limits", 1: "its position sensor fails", 2: "it is too hot", 3: "its current is too high",
           5: "it is overloaded"}  # fmt: skip
DYNAMIXEL = {0: "the voltage is beyond its limits", 2: "it is too hot", 3: "its position sensor fails", 4: "an electrical shock",
             5: "it is overloaded"}  # fmt: skip
OVERLOAD = 5  # the bit, of both
BITS = {"Status": FEETECH, "Hardware_Error_Status": DYNAMIXEL}  # by the register, as LeRobot names it
VOLTS, CELSIUS, TORQUE = ("Present_Voltage", "Present_Input_Voltage"), "Present_Temperature", "Torque_Enable"


class MotorHealth:
    """Looks at one register of all motors at each call, in turn, so that a step costs one more transaction.

    Args:
        tables: of each bus, by its name, the registers that all of its motors have.
        read: gives a register of a bus, by the motors' names.
        max_celsius, min_volts: beyond which a motor counts as faulty; 0 for none.
        gripping: the motor of a gripper, whose overload is no fault: it holds something, and its own protection lowers its torque.
    """

    def __init__(
        self,
        tables: Mapping[str, set[str]],
        read: Callable[[str, str], Mapping[str, Any]],
        max_celsius: float,
        min_volts: float,
        gripping: str = "",
    ):
        wanted = [*BITS, TORQUE, *((CELSIUS,) if max_celsius else ()), *(VOLTS if min_volts else ())]
        self._looks = [(bus, register) for register in wanted for bus, table in tables.items() if register in table]
        self._read, self._max_celsius, self._min_volts, self._gripping = read, max_celsius, min_volts, gripping
        self._turn = itertools.cycle(self._looks)

    def check(self) -> None:
        """Raises EnvironmentFault where the register whose turn it is tells of a fault."""
        if self._looks:
            self._look(*next(self._turn))

    def check_all(self) -> None:
        """The same for every register but whether the torque is on, which a robot at rest may have off."""
        for bus, register in self._looks:
            if register != TORQUE:
                self._look(bus, register)

    def _look(self, bus: str, register: str) -> None:
        """Raises EnvironmentFault for what two readings say: one of them may be another packet's bytes."""
        if not self._troubles(bus, register) or not (troubles := self._troubles(bus, register)):
            return
        if register == TORQUE:
            self.check_all()  # which may tell why
        raise EnvironmentFault(f"Motor {'; '.join(f'{motor}: {trouble}' for motor, trouble in troubles.items())}.")

    def _troubles(self, bus: str, register: str) -> dict[str, str]:
        """By motor, what a register says is wrong."""
        said = {motor: self._trouble(register, int(number), motor == self._gripping) for motor, number in self._read(bus, register).items()}
        return {motor: trouble for motor, trouble in said.items() if trouble}

    def _trouble(self, register: str, number: int, gripping: bool) -> str:
        if register in BITS:
            number &= ~(gripping << OVERLOAD)
            return " and ".join(said for bit, said in BITS[register].items() if number >> bit & 1)
        if register == TORQUE:
            return "" if number else "its torque is off, as a motor switches it when it protects itself; wait until it has cooled"
        if register == CELSIUS:
            return f"{number} °C, and max_celsius is {self._max_celsius:g}" if number > self._max_celsius else ""
        return f"{number / 10:g} V, and min_volts is {self._min_volts:g}" if number / 10 < self._min_volts else ""

"""Faults of a machine, given to a running process: a wrong clock, a slow disk, a full one. Needs a C compiler, on Linux."""

import mmap
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("machine_faults.c")
NUMBERS, FOLDER = struct.Struct("ddd"), 4096


class Faults:
    """What processes started with `environment` suffer from, from one moment to the next.

    Raises OSError where there is no Linux or no compiler.
    """

    def __init__(self, folder: Path):
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None or sys.platform != "linux":
            raise OSError("These faults are put in by a library that needs Linux and a C compiler.")
        library, shared = folder.resolve() / "libfaults.so", folder.resolve() / "faults"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        shared.write_bytes(bytes(NUMBERS.size + FOLDER))
        with open(shared, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self.environment = os.environ | {"LD_PRELOAD": str(library), "WARMLOOP_FAULTS": str(shared)}
        self._values: dict[str, float] = {"clock": 0.0, "fsync": 0.0, "full": 0.0}

    def set(self, *, clock: float | None = None, fsync: float | None = None) -> None:
        """Sets how many seconds the wall clock is ahead (the monotonic one stays right), and how many every fsync takes."""
        self._values |= {name: value for name, value in (("clock", clock), ("fsync", fsync)) if value is not None}
        self._memory[: NUMBERS.size] = NUMBERS.pack(*self._values.values())

    def fill(self, folder: Path | None) -> None:
        """The disk below `folder` is full; None frees it."""
        if folder is not None:
            name = os.fsencode(folder.resolve())
            self._memory[NUMBERS.size : NUMBERS.size + len(name) + 1] = name + b"\0"
        self._values["full"] = float(folder is not None)
        self.set()

"""Packages that the tests compare with, in environments of their own under .venv/beside, which `make beside` makes."""

import os
import sys
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[2] / ".venv" / "beside"


def add_stable_baselines3() -> None:
    """Lets this process and its children import Stable-Baselines3 and PyTorch, if they were installed for this version of Python."""
    packages = BESIDE / "sb3" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    if packages.is_dir() and str(packages) not in sys.path:  # last, so that a package of the project's own environment comes first
        sys.path.append(str(packages))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(packages))))


def numpy_1() -> Path:
    """An interpreter that has NumPy 1: the one that NUMPY_1 names, or the one in .venv/beside; skips the test where there is neither."""
    python = Path(os.environ.get("NUMPY_1") or BESIDE / "numpy1" / "bin" / "python")
    if not python.exists():
        pytest.skip("there is no interpreter with NumPy 1; NUMPY_1 may name one")
    return python

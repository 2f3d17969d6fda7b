"""Runs a command whose file was started by its path, as in `python launch/train_rlpd.py`, as the module of the package that it is.

Every command's file imports this before anything else when it has no package, and so never gets further itself. The copy of warmloop that
the file belongs to is the one that runs, installed or not, in this process and in those that it starts.
"""

import sys

sys.path.pop(0)  # the folder of the commands: nothing is imported from there by a bare name

import atexit
import importlib.util
import os
import runpy
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def is_found() -> bool:
    """Whether `import warmloop` gives this copy."""
    spec = importlib.util.find_spec("warmloop")
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve().parent == ROOT


def make_found() -> None:
    """Puts a folder that holds this copy as `warmloop` before all others, here and for child processes, until this process ends."""
    folder = tempfile.mkdtemp(prefix="warmloop-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (Path(folder) / "warmloop").symlink_to(ROOT, target_is_directory=True)
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
    importlib.invalidate_caches()


if not is_found():
    make_found()
runpy.run_module(f"warmloop.launch.{Path(sys.argv[0]).resolve().stem}", run_name="__main__", alter_sys=True)
sys.exit(0)

"""Settings that hold for every test. The environment is set before jax is first imported, so that child processes inherit it."""

import ctypes
import gc
import logging
import os
import platform
import signal
import sys
from importlib import metadata
from pathlib import Path

import pytest
from beside import add_stable_baselines3
from hypothesis import HealthCheck, settings

pytest_plugins = ["skips"]
ROOT = Path(__file__).resolve().parents[1]
MOST_MEGABYTES = 1200  # resident; a worker of the default run is to stay under 2 GB
GROWN_MEGABYTES = 300  # since the last time: where much stays resident, not after every test
USER_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")

if sys.platform == "linux":
    os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several processes share one GPU in the end-to-end tests
# By machine, because a program that XLA compiled for one CPU may not run on another that shares the home folder.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(USER_CACHE / "warmloop" / "jax" / (platform.node() or "unnamed")))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # most tests compile for longer than they run; `make slow` turns it off
# Without the emitters too a program compiles in a third of the time. Of a flag that it does not know XLA ends the process.
if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1" and metadata.version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false".strip()

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("warmloop", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("warmloop")

add_stable_baselines3()

import jax  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

import warmloop  # noqa: E402

# A shell that starts the tests in the background, or nohup, has them ignore these, and so would the commands that they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
for ignored in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(ignored, signal.SIG_DFL)


def pytest_report_header() -> str:
    """Name the code under test, because an editable install may point at another checkout."""
    assert warmloop.__file__ is not None
    return f"warmloop {warmloop.__version__} from {Path(warmloop.__file__).parent}, jax {jax.__version__} on {jax.default_backend()}"


def _resident_megabytes() -> int:
    """What this process holds in memory; 0 where the system does not say."""
    status = Path("/proc/self/status")
    return int(status.read_text().partition("VmRSS:")[2].split()[0]) // 1024 if status.exists() else 0


@pytest.fixture(scope="session")
def _after_clearing() -> list[int]:
    """Megabytes that were left when compiled programs were last let go of."""
    return [0]


@pytest.fixture(autouse=True)
def _compiled_programs_do_not_pile_up(_after_clearing):
    """A file's programs are of no use to most others; those that are come back from the cache on disk."""
    yield
    if _resident_megabytes() > max(MOST_MEGABYTES, _after_clearing[0] + GROWN_MEGABYTES):
        jax.clear_caches()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # an allocator keeps what was freed
        _after_clearing[0] = _resident_megabytes()


@pytest.fixture(autouse=True)
def _messages_are_heard():
    """Also after a test or a fixture that ran a command in this process, which takes them to its own stream."""
    log = logging.getLogger("warmloop")
    log.propagate, log.handlers, log.disabled = True, [], False
    logging.disable(logging.NOTSET)
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("warmloop.")]:
        logging.getLogger(name).disabled = False


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of Adroit demonstrations beside the repository; the test is skipped where there is none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the demonstrations are not here: no folder shared/data beside the repository")
    return folder

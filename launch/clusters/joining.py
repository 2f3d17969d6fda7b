"""A Ray cluster that runs, as a command joins it. Ray is imported where it is used, so that nothing else of the package needs it."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import socket
from typing import Any

from ...data.errors import WarmloopError
from ...data.wire.address import split

NAMESPACE = "warmloop"
ANSWER_SECONDS = 10.0


def ray_package() -> Any:
    """Ray, imported now."""
    return importlib.import_module("ray")


def connect(address: str, flag: str = "--address", who: str = "warmloop cluster") -> Any:
    """Joins a Ray cluster that runs, which a flag of a command names. Raises WarmloopError where there is none, or no Ray."""
    try:
        ray = ray_package()
    except ImportError as error:
        raise WarmloopError(f"{who} needs Ray ({error}); run `pip install 'warmloop[ray]'`.") from error
    check_listens(address, flag)
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        why = " ".join(str(error).split())[:300].rstrip(".")
        raise WarmloopError(
            f"No Ray cluster answers at {flag}={address} ({why}). Start one by `ray start --head`, and join the other machines to it."
        ) from error
    finally:
        signal.signal(signal.SIGTERM, before)  # Ray sets a handler of its own
    return ray


def check_listens(address: str, flag: str = "--address") -> None:
    """Raises WarmloopError where nothing listens at HOST:PORT: Ray itself would end this process after a minute."""
    if ":" not in address:  # such as auto
        return
    try:
        socket.create_connection(split(address), timeout=ANSWER_SECONDS).close()
    except (OSError, ValueError) as error:
        raise WarmloopError(f"Nothing listens at {flag}={address} ({error}); write HOST:PORT as `ray start --head` shows it.") from error


def short(error: Exception) -> str:
    """What Ray says, without the identifiers after it."""
    return " ".join(str(error).split()).partition(" class_name:")[0][:300]

"""Root without root's right to read and write every file, so that a test of permissions holds for it too."""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

VERSION_3 = 0x20080522
OVERRIDE = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


def as_any_owner(call: Callable[..., Any], *arguments: Any) -> Any:
    """What the call returns or raises where files' modes hold: on Linux a right belongs to a thread, and ends with it."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(_without_the_right, call, arguments).result()


def _without_the_right(call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(VERSION_3, 0)
        held = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, for the first 32 capabilities and for the others
        _checked(libc.capget(header, held))
        held[0] &= ~OVERRIDE
        held[1] &= ~OVERRIDE  # of which access(2) makes root's effective ones
        _checked(libc.capset(header, held))
    return call(*arguments)


def _checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

"""Programs that XLA has compiled are kept on disk, so that a command's second start does not compile them again."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

FOLDER = "JAX_COMPILATION_CACHE_DIR"
LEAST = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def keep_compiled() -> None:
    """Has JAX keep what it compiles in the user's cache folder, here and in processes that are started from now on.

    JAX_COMPILATION_CACHE_DIR names another folder, and JAX_ENABLE_COMPILATION_CACHE=false keeps nothing. Each machine has a folder of its
    own: what was compiled for one processor may not run on another that shares the home folder. JAX by itself leaves out what compiles
    within a second, of which a start has some seventy programs and spends seconds on them; JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=1
    leaves them out here too.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = os.environ.setdefault(FOLDER, str(caches / "warmloop" / "jax" / (platform.node() or "unnamed")))
    least = os.environ.setdefault(LEAST, "0")
    if "jax" in sys.modules:  # which has read its settings already
        sys.modules["jax"].config.update("jax_compilation_cache_dir", folder or None)
        sys.modules["jax"].config.update("jax_persistent_cache_min_compile_time_secs", float(least))

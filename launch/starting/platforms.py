"""What a command computes on. An accelerator belongs to what learns: JAX reserves three quarters of a GPU's memory for each process."""

from __future__ import annotations

import os

from ...data.errors import WarmloopError
from ..flags.common import log


def compute_on(platform: str, children: bool = True) -> None:
    """Lets JAX use this platform ("cpu", "cuda", "tpu", …) alone, here and in processes that are started from now on.

    To be called before the first array is made; what was imported before does not matter.

    Args:
        children: processes that are started too; else they find JAX_PLATFORMS as it was.
    """
    import jax

    jax.config.update("jax_platforms", platform)
    if children:
        os.environ["JAX_PLATFORMS"] = platform


def prefer_cpu() -> None:
    """Leaves the accelerator to a learner, unless JAX_PLATFORMS asks for it: for commands that infer one small network at a time."""
    if not os.environ.get("JAX_PLATFORMS"):
        compute_on("cpu")


def act_on(platform: str) -> None:
    """As `compute_on`, for an actor, for which JAX_PLATFORMS does not count: it is often exported for the learner.

    Raises:
        WarmloopError: JAX has no such platform here.
    """
    import jax

    exported = os.environ.get("JAX_PLATFORMS")
    if exported and exported != platform:
        log.info("this actor computes on %s, and not on JAX_PLATFORMS=%s; --actor_platform chooses another", platform, exported)
    compute_on(platform)
    try:
        jax.devices()
    except RuntimeError as error:
        raise WarmloopError(f"--actor_platform={platform}: JAX cannot use that here ({' '.join(str(error).split())[:200]}).") from error

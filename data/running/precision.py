"""The numbers that warmloop's programs compute with: of 32 bits, on every machine."""

from __future__ import annotations

import jax

from ..errors import WarmloopError


def check_precision(what: str = "JAX") -> None:
    """Raises WarmloopError where JAX computes in 64 bits. `what` is what can have turned that on.

    Noise, priorities and losses would then be of 64 bits in part, and a run would neither be fast nor repeat one of 32.
    """
    if jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise WarmloopError(
            f"{what} has turned on JAX's numbers of 64 bits for the whole process, and warmloop's programs are of 32. Unset "
            'JAX_ENABLE_X64, or leave out jax.config.update("jax_enable_x64", True), and put `with jax.enable_x64(True):` around what '
            "needs 64."
        )

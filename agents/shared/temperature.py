"""The temperature α of an entropy term, whose logarithm is learnt: L_α = α (H − H̄)."""

from __future__ import annotations

from typing import Any

import jax

from ..base import Metrics
from ..networks.bounds import factor
from .gradients import adam, descend


def temperature_step(state: Any, excess: jax.Array, step_size: float) -> tuple[Any, Metrics]:
    """One gradient step of a state's `log_temperature` by its `temperature_optimizer`; `excess` is H − H̄, `[]`. The new state, and α."""
    temperature, moments, _ = descend(
        lambda log_temperature: (factor(log_temperature) * excess, ()),
        state.log_temperature,
        adam(step_size),
        state.temperature_optimizer,
    )
    return state.replace(log_temperature=temperature, temperature_optimizer=moments), {"temperature": factor(temperature)}

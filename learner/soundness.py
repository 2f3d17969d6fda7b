"""Whether a learner's state is finite: what is not is never published, and never saved over what is."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.errors import WarmloopError
from ..data.transition import PyTree
from .state import LearnerState

NAMED = 3  # arrays that a sentence names


class NotFinite(WarmloopError):  # noqa: N818 (the house's errors carry no suffix)
    """Parameters, optimizer states or priorities are not finite: the learning has diverged."""


def is_sound(tree: PyTree) -> bool:
    """Whether all numbers of a PyTree are finite; one flag is computed on the device, and read."""
    return bool(_all_finite(_floats(tree)))


def judged(state: LearnerState) -> PyTree:
    """What of a state has to be finite: the agent with its optimizers, and what rows are drawn by."""
    pools = [(pool.tree, pool.max_urgency, pool.quality_sum) for pool in (state.offline, state.online)]
    return {"agent": state.agent, "priorities": pools}


def what_is_not_finite(tree: PyTree) -> str:
    """The names of the arrays that are not finite, the first few of them."""
    leaves = [(path, leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree) if _is_float(leaf)]
    bad = [jax.tree_util.keystr(path, simple=True, separator="/") for path, leaf in leaves if not np.isfinite(leaf).all()]
    more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return ", ".join(bad[:NAMED]) + more


def check_sound(state: LearnerState, doing: str) -> None:
    """Raises NotFinite where a state is not finite; `doing` says what is not done then, as in "nothing is saved"."""
    if not is_sound(judged(state)):
        raise NotFinite(
            f"After {int(state.updates)} updates the learning has diverged, and {doing}. Not finite: {what_is_not_finite(judged(state))}. "
            "Look for absurd values (inspect_data on the data and on the run's quarantine), or lower learning rates or the reward's scale."
        )


@jax.jit
def copy_of(tree: PyTree) -> PyTree:
    """A copy that stays when the next update gives the original's memory away."""
    return jax.tree.map(jnp.copy, tree)


@jax.jit
def _all_finite(leaves: list[jax.Array]) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all() if leaves else jnp.array(True)


def _floats(tree: PyTree) -> list[jax.Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if _is_float(leaf)]


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)

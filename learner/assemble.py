"""Where a learner's state comes from: nothing, a warm-up's checkpoint, or its own."""

from __future__ import annotations

from pathlib import Path

import jax

from ..data.errors import WarmloopError
from ..data.transition import Transition
from . import checkpoint
from .state import LearnerParts, LearnerState, create


def warm_start(parts: LearnerParts, seed: int, rows: Transition) -> LearnerState:
    """A fresh state over offline rows `[N]`; its online pool is one row long, since nothing comes in before the fine-tuning."""
    return create(parts, seed, rows, online_capacity=1)


def fine_tune(parts: LearnerParts, seed: int, rows: Transition | None, warm_checkpoint: str | Path | None) -> LearnerState:
    """The state at which fine-tuning begins: the warm-up's agent, whole, if there is one, and a new pool over the kept rows.

    Raises:
        WarmloopError: the checkpoint is of another environment, or of networks of other shapes.
    """
    if warm_checkpoint is None:
        return create(parts, seed, rows)
    saved = checkpoint.newest(warm_checkpoint)
    agent, warm = checkpoint.restore_agent(saved)
    if difference := agent.spec.difference(parts.agent.spec, f"the checkpoint in {warm_checkpoint}", "the environment"):
        raise WarmloopError(f"The checkpoint does not fit: {difference}.")
    state = create(parts, seed, rows)
    taken = parts.agent.take_over(agent.hand_over(warm))
    _check_shapes(taken, state.agent, warm_checkpoint)
    return state.replace(agent=taken, updates=jax.numpy.int32(saved.updates))


def resume(directory: str | Path, parts: LearnerParts) -> LearnerState:
    """The newest intact state of a run, as it was saved.

    Raises:
        WarmloopError: there is none, or it was saved under a configuration with other shapes.
    """
    saved = checkpoint.newest(directory)
    offline, online = saved.meta["offline_rows"], saved.meta["online_rows"]
    template = jax.eval_shape(lambda: create(parts, 0, None, offline_capacity=offline, online_capacity=online))
    return checkpoint.restore_learner(saved, template)


def _check_shapes(taken, fresh, where: str | Path) -> None:
    if jax.tree.structure(taken) != jax.tree.structure(fresh):
        raise WarmloopError(
            f"The agent in {where} has other layers than this configuration's; warm up and fine-tune with the same networks."
        )
    leaves = zip(jax.tree_util.tree_leaves_with_path(taken), jax.tree.leaves(fresh), strict=True)
    for (path, old), new in leaves:
        if old.shape != new.shape:
            name = jax.tree_util.keystr(path)
            raise WarmloopError(
                f"The agent in {where} does not fit this configuration: {name} is {list(old.shape)} there and {list(new.shape)} here; "
                "warm up and fine-tune with the same ensemble and hidden layers."
            )

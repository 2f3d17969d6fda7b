"""Where a learner's state comes from: nothing, a warm-up's checkpoint, or its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..agents.base import go_on, window_of
from ..agents.described import agent_of
from ..data.errors import WarmloopError
from ..data.replay import replay
from ..data.replay.frames import settle, stored_spec
from ..data.replay.windows import Window
from ..data.transition import Transition, length
from .checkpoints import ahead, checkpoint, complete_checkpoints, stored_policies
from .journal.records import segments
from .judging.best import BestPolicy
from .receiving.intake import Intake
from .rows.ingest import Ingest, RowRules, blank
from .soundness import NotFinite, is_sound, judged, what_is_not_finite
from .state import LearnerParts, LearnerState, create
from .step import draw

log = logging.getLogger("warmloop")


def warm_start(parts: LearnerParts, seed: int, rows: Transition) -> LearnerState:
    """A fresh state over offline rows `[N]`; its online pool is one row long, since nothing comes in before the fine-tuning."""
    return create(parts, seed, rows, online_capacity=1)


def fine_tune(
    parts: LearnerParts, seed: int, rows: Transition | None, warm_checkpoint: str | Path | None, warm_updates: int | None = None
) -> LearnerState:
    """The state at which fine-tuning begins: the warm-up's agent, whole, if there is one, and a new pool over the kept rows.

    Of the warm-up's checkpoints it is the one of `warm_updates`, without a number the one that `complete_checkpoints.chosen` gives.

    Raises:
        WarmloopError: the checkpoint is of another environment, or of networks of other shapes.
    """
    capacity = max(1, (0 if rows is None else length(rows)) + parts.replay.intervention_rows)
    if warm_checkpoint is None:
        if rows is None and getattr(parts.agent, "needs_rows", False):
            raise WarmloopError(
                f"{type(parts.agent).__name__} cannot begin with nothing: it takes the bins of its tokens from recorded steps. Give it a "
                "warm-up's checkpoint, or data."
            )
        return create(parts, seed, rows, capacity)
    saved = complete_checkpoints.chosen(warm_checkpoint, warm_updates)
    log.info("starting from the warm-up's checkpoint of %d updates", saved.updates)
    agent, warm = checkpoint.restore_agent(saved)
    if difference := agent.spec.difference(parts.agent.spec, f"the checkpoint in {warm_checkpoint}", "the environment"):
        raise WarmloopError(f"The checkpoint does not fit: {difference}.")
    state = create(parts, seed, rows, capacity)
    taken = go_on(parts.agent, agent, warm)
    advice = "what --config.warmup_agent.hidden, .ensemble or .critic_loss set for the warm-up, set in --config.agent here"
    _check_shapes(taken, state.agent, warm_checkpoint, advice)
    if not is_sound(taken):
        raise NotFinite(f"{saved.path} is not finite: {what_is_not_finite(taken)}. Name one before it by --warm_checkpoint_step.")
    return state.replace(agent=taken, updates=jax.numpy.int32(saved.updates))


def resume(directory: str | Path, parts: LearnerParts) -> tuple[LearnerState, dict[str, Any]]:
    """The newest intact and finite state of a run, as it was saved but for the online pool's rows (see `refill`), and its description.

    Raises:
        WarmloopError: there is none, or it was saved for another environment, or under a configuration with other shapes or another
            `frames.random_shift`.
    """
    saved = complete_checkpoints.newest(directory)
    while True:
        state = _restored(saved, directory, parts)
        if is_sound(judged(state)):
            return state.replace(frames=settle(state.frames, parts.frames)), saved.meta
        log.error("%s is not finite (%s) and is not used; trying the one before it.", saved.path, what_is_not_finite(judged(state)))
        saved = complete_checkpoints.newest(directory, before=saved.updates)


def _restored(saved: complete_checkpoints.Saved, directory: str | Path, parts: LearnerParts) -> LearnerState:
    """The state of one checkpoint. Raises as `resume`."""
    agent = agent_of(saved.meta)
    if difference := agent.spec.difference(parts.agent.spec, f"the checkpoint in {directory}", "this configuration"):
        raise WarmloopError(f"The checkpoint does not fit: {difference}.")
    then, now = window_of(agent), parts.window
    if then.is_row != now.is_row:  # rows were linked, or were not, from the first one on
        raise WarmloopError(
            f"The checkpoint in {directory} learns from {_stretch(then)}, and this configuration from {_stretch(now)}; resume it with its "
            "own agent.n_step."
        )
    saved_shapes, own_shapes = checkpoint.agent_shapes(agent), checkpoint.agent_shapes(parts.agent)
    _check_shapes(saved_shapes, own_shapes, directory, "resume with the configuration it was made with")
    offline, online = saved.meta["offline_rows"], saved.meta["online_rows"]
    template = jax.eval_shape(lambda: create(parts, 0, None, offline_capacity=offline, online_capacity=online))
    if template.frames.cameras:
        template = template.replace(ahead=jax.eval_shape(lambda state: draw(state, parts)[1], template))
    return checkpoint.restore_learner(saved, template)


def restore_best(best: BestPolicy, directory: Path, meta: Mapping[str, Any]) -> None:
    """What keeps a run's best policy goes on from the checkpoint that `meta` describes; where a policy's file is damaged it begins anew,
    and says so."""
    if best.mode == "off" or (saved := meta.get(stored_policies.BEST)) is None:
        return
    try:
        best.restore(saved, [stored_policies.load(directory, stored) for stored in saved[stored_policies.POLICIES]])
    except WarmloopError as error:
        log.error("%s The best policy is looked for anew.", str(error).replace(f"; {stored_policies.ADVICE}", ""))


def refill(
    state: LearnerState,
    parts: LearnerParts,
    rules: RowRules,
    intake: Intake,
    meta: Mapping[str, Any],
) -> tuple[LearnerState, Ingest]:
    """The state with the online pool's rows from the intake's journal, and the ingest that goes on with its open episodes.

    `meta` describes the checkpoint, {} where there is none: how far it covers each stream, where which camera frames lie, and the
    tasks' masses. Rows that the journal lost are never drawn; the log says how many.

    Raises:
        WarmloopError: there is no journal though rows were learnt from, or it is of another environment.
    """
    position, capacity = int(state.online.inserted), state.online.capacity
    assert intake.journal is not None
    if position and not segments(intake.journal.directory):
        raise WarmloopError(f"The online rows should be in {intake.journal.directory}, and there are none; restore it from a copy.")
    ingest = Ingest(parts, rules, state, meta)
    filled = state.replace(online=replay.create(stored_spec(parts.agent.spec), parts.replay, capacity, state.online.is_linked))
    for number, chunk in intake.recover(position, meta.get("streams", {}), since=max(0, position - capacity)):
        if ingest.inserted == 0:
            filled, ingest.inserted = filled.replace(online=filled.online.replace(inserted=jnp.int32(number))), number
        filled = ingest.insert(filled, chunk.stream, chunk.rows, demonstrate=False)
    ingest.recall_copies()
    if ingest.balance is not None:
        filled = filled.replace(online=ingest.balance.restore(filled.online, meta.get("task_masses", np.zeros(len(rules.tasks)))))
    gone = jnp.flatnonzero(filled.online.quality == 0)  # lost, or without their camera frames
    serials = np.asarray(replay.serial_of(filled.online, gone))
    online = blank(state.online.replace(words=filled.online.words, following=filled.online.following), serials[serials >= 0])
    drawn_ahead = ahead.placed(state.ahead, online, parts.window) if state.ahead else ()
    return state.replace(online=online, frames=filled.frames, ahead=drawn_ahead), ingest


def _stretch(window: Window) -> str:
    return "single rows" if window.is_row else f"stretches of {window.length} rows"


def _check_shapes(taken, fresh, where: str | Path, advice: str) -> None:
    if jax.tree.structure(taken) != jax.tree.structure(fresh):
        raise WarmloopError(f"The agent in {where} has other layers than this configuration's; {advice}.")
    leaves = zip(jax.tree_util.tree_leaves_with_path(taken), jax.tree.leaves(fresh), strict=True)
    for (path, old), new in leaves:
        if old.shape != new.shape:
            name = jax.tree_util.keystr(path)
            difference = f"{name} is {list(old.shape)} there and {list(new.shape)} here"
            raise WarmloopError(f"The agent in {where} does not fit this configuration: {difference}; {advice}.")

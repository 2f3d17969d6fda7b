"""Comparing a warm-up's checkpoints by recorded data: what train_offline_warmup and `evaluate --offline` share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.errors import WarmloopError
from ..flags.common import log, progress
from ..run.sizes import fqe_of

if TYPE_CHECKING:
    from ...configs.schema import RunConfig
    from ...learner.checkpoints.complete_checkpoints import Saved
    from ...learner.judging.selection import Candidate, Ranked
    from ...learner.rows.offline_rows import OfflineData

FEW_EPISODES = 5
COMPARED = "--bandit_episodes compares by episodes"
COLUMNS = {
    "action error": "heldout/action_error",
    "model error": "heldout/model_error",
    "log prob": "heldout/log_prob",
    "TD error": "heldout/td_error",
    "Q excess": "heldout/q_overestimation",
}


def divided(config: RunConfig, data: OfflineData, seed: int, resumed: str | Path | None) -> OfflineData:
    """The data with some episodes held out: those of the newest checkpoint in `resumed`, else by a new split."""
    from ...learner.checkpoints import complete_checkpoints
    from ...learner.judging import heldout

    if resumed is None:
        return data.hold_out(heldout.split(data.recorded, data.tasks, config.learner.held_out, seed))
    return data.hold_out(heldout.marked(data.digests, complete_checkpoints.newest(resumed).meta.get("held_out", [])))


def select(directory: str | Path, config: RunConfig, data: OfflineData, seed: int, stochastic: bool = False) -> list[Ranked]:
    """Ranks the checkpoints in a folder on `data`, marks the chosen one in selection.json, and returns the ranking, it first.

    Raises:
        WarmloopError: there is no intact checkpoint, or the data do not fit it.
    """
    import numpy as np

    from ...configs.schema import to_dict
    from ...data.reward import return_bounds
    from ...learner.checkpoints import complete_checkpoints
    from ...learner.judging import selection
    from ...learner.rows.offline_rows import prepare

    found = complete_checkpoints.intact(directory)
    if not found:
        raise WarmloopError(f"There is no intact checkpoint in {directory}; give the directory that a training command wrote.")
    plain = dataclasses.replace(config.reward, scale=1.0, bias=0.0)
    unscaled = prepare(data.recorded, plain, config.quality, config.tasks).episodes
    rewards = np.concatenate([episode.steps.reward for episode in unscaled])
    allowed = return_bounds(plain)
    bounds = selection.Bounds.of(rewards, data.returns, plain.discount, allowed)
    gradient_steps = found[-1].updates * config.warmup_agent.settings.utd
    config = config.replace(fqe=fqe_of(config, sum(map(len, unscaled)), len(found), gradient_steps))
    ranking = selection.rank(_candidates(found, config, data, unscaled, allowed, seed, stochastic), bounds)
    chosen = ranking[0]
    if reason := _unjudged(found):
        log.info("FQE judges by single states alone, and these policies %s: the newest is taken; %s", reason, COMPARED)
    elif len(data.recorded) < FEW_EPISODES:
        log.warning("FQE resamples whole episodes, and there are only %d: its errors are smaller than they should be", len(data.recorded))
    if chosen.reason:
        log.warning("no checkpoint can be judged by these data (%s): the newest is taken", chosen.reason)
    about = {"episodes": len(data.recorded), "fqe": None if reason else to_dict(config)["fqe"], "stochastic": stochastic}
    selection.write(directory, ranking, chosen.candidate.updates, "data", about)
    return ranking


def _candidates(
    found: Sequence[Saved],
    config: RunConfig,
    data: OfflineData,
    unscaled: Sequence[Any],
    allowed: tuple[float, float],
    seed: int,
    stochastic: bool,
) -> list[Candidate]:
    """The checkpoints' held-out measures and, where it can judge their policies, FQE's estimates."""
    import jax
    import numpy as np

    from ...learner.checkpoints import checkpoint
    from ...learner.judging import fqe, heldout
    from ...learner.judging.selection import Candidate

    batch = heldout.measured(data)
    actors, measures = [], []
    for saved in found:
        agent, state = checkpoint.restore_agent(saved)
        if difference := agent.spec.difference(data.spec, f"the checkpoint in {saved.path}", "the data"):
            raise WarmloopError(f"The checkpoint does not fit: {difference}.")
        actors.append((agent, agent.actor_params(state)))
        measures.append({} if batch is None else jax.device_get(heldout.measures(agent, state, batch)))
    if _unjudged(found):
        estimates = np.zeros((len(found), 0))
    else:
        with progress("comparing checkpoints, steps", config.fqe.steps * len(found)) as advance:
            estimates = fqe.estimates(actors, unscaled, config.fqe, config.reward.discount, seed, stochastic, advance, allowed)
    return [
        Candidate(saved.updates, estimate, {name: float(value) for name, value in measured.items()})
        for saved, estimate, measured in zip(found, estimates, measures, strict=True)
    ]


def _unjudged(found: Sequence[Saved]) -> str:
    """Why FQE cannot judge checkpoints of one run; "" where it can."""
    from ...agents.described import agent_of
    from ...learner.judging import fqe

    return fqe.why_not(agent_of(found[0].meta))


def table(ranking: Sequence[Ranked]) -> str:
    """What a person reads."""
    from ...learner.judging.selection import describe

    shown = [describe(ranked) for ranked in ranking]
    columns = {name: key for name, key in COLUMNS.items() if key in shown[0]}
    judged = ranking[0].candidate.fqe.size > 0
    lines = [f"{'updates':>9}" + f"  {'FQE':>9}  {'± error':>8}" * judged + "".join(f"  {name:>12}" for name in columns)]
    for place, row in enumerate(shown):
        note = "chosen" if place == 0 else row["out"] or ("as good" if row["as_good"] and judged else "")
        measures = "".join(f"  {row[key]:12.4g}" for key in columns.values())
        estimate = f"  {row['fqe']:9.4g}  {row['fqe_error']:8.2g}" if judged else ""
        lines.append(f"{row['updates']:9d}{estimate}{measures}  {note}".rstrip())
    return "\n".join(lines)

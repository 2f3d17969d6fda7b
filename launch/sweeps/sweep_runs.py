"""The work of a sweep: seeds that learn side by side, the checkpoints that they leave, and what these are worth."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ...configs.schema import RunConfig
from ...data.errors import NonFiniteActionError
from ...data.files.names import folder_name
from ...data.replay import frames, replay
from ...data.reward import return_bounds
from ...data.statistics import spearman
from ...learner.checkpoints import checkpoint
from ...learner.chunks import Chunks
from ...learner.judging import fqe, selection
from ...learner.judging.scores import normalised
from ...learner.rows.offline_rows import prepare
from ...learner.seeds_together import bytes_of_a_seed, one_agent, one_seed, run_seeds, start_seeds
from ...learner.soundness import is_sound
from ...learner.state import LearnerParts, LearnerState
from ..run.assemble import warm_parts
from ..run.recorded_data import made_ready
from ..run.run_record import described
from ..run.sizes import fqe_of

if TYPE_CHECKING:
    from ...data.episode import Episode
    from ...learner.rows.offline_rows import OfflineData

Snapshots = list[tuple[int, Any]]  # updates, and the agents' states [S]


@dataclasses.dataclass(frozen=True)
class Judging:
    """How seeds are judged.

    Attributes:
        episodes: in the environment, of each checkpoint that is judged.
        checkpoints: kept of each seed, evenly spaced; of several FQE chooses one, which is judged beside the last.
        all_of_them: judge every checkpoint, to see how FQE's ranking agrees with the returns.
    """

    episodes: int = 50
    checkpoints: int = 1
    all_of_them: bool = False


def train_and_judge(
    name: str, config: RunConfig, recorded: list[Episode], seeds: Sequence[int], judging: Judging, out: Path, memory: int
) -> Iterator[dict[str, Any]]:
    """Warms up the seeds of a run, as many side by side as `memory` bytes hold, and yields what each was judged to be. Its last
    checkpoint, and the chosen one, are in `out/NAME/seed-N`."""
    if not seeds:
        return
    data = made_ready(config, recorded)
    parts, rows = warm_parts(config, data.spec), data.rows
    together = max(1, min(len(seeds), memory // bytes_of_a_seed(parts, rows)))
    for low in range(0, len(seeds), together):
        some = seeds[low : low + together]
        began, kept = time.perf_counter(), []
        states, chunks = start_seeds(parts, some, rows), Chunks(config.learner.updates_per_call)
        for until in _spaced(config.learner.warmup_steps, judging.checkpoints):
            states = _run_until(states, parts, until, chunks)
            kept.append((until, jax.tree.map(jnp.copy, states.agent)))  # whose buffers the next update gives away
        jax.block_until_ready(kept)
        learnt = time.perf_counter()
        rankings = _ranked(config, parts, data, kept, len(some)) if judging.checkpoints > 1 else [None] * len(some)
        times = {"seconds": (learnt - began) / len(some), "fqe_seconds": (time.perf_counter() - learnt) / len(some), "together": len(some)}
        for index, seed in enumerate(some):
            folder, ranking = out / folder_name(name) / f"seed-{seed}", rankings[index]
            agents = {updates: one_agent(agent, index) for updates, agent in kept}
            wanted = {kept[-1][0], *([ranking[0].candidate.updates] if ranking else [])}
            kept_agents = {updates: agents[updates] for updates in sorted(wanted) if is_sound(agents[updates])}
            _save(folder, config, parts, one_seed(states, index), seed, kept_agents)
            if ranking and ranking[0].candidate.updates in kept_agents:
                selection.write(folder, ranking, ranking[0].candidate.updates, "data", {"episodes": len(recorded)})
            shown = _judged(config, parts, agents if judging.all_of_them else {n: agents[n] for n in wanted}, seed, judging.episodes)
            measure = "success_rate" if config.reward.signal == "success" else "mean_return"
            yield {"seed": seed} | times | shown[kept[-1][0]] | (_selected(ranking, shown, measure) if ranking else {})


def _run_until(states: LearnerState, parts: LearnerParts, until: int, chunks: Chunks) -> LearnerState:
    while (left := until - int(states.updates)) > 0:
        count = chunks.begin(left)
        states, metrics = run_seeds(states, parts, count)
        jax.block_until_ready(metrics)
        chunks.end(count)
    return states


def _spaced(updates: int, checkpoints: int) -> list[int]:
    return sorted({max(1, round(updates * number / checkpoints)) for number in range(1, checkpoints + 1)})


def _ranked(config: RunConfig, parts: LearnerParts, data: OfflineData, kept: Snapshots, seeds: int) -> list[list[selection.Ranked]]:
    """Each seed's checkpoints as FQE ranks them; all are estimated at once, on the same minibatches and bootstraps."""
    plain = dataclasses.replace(config.reward, scale=1.0, bias=0.0)
    unscaled = prepare(data.recorded, plain, config.quality, config.tasks).episodes
    rewards = np.concatenate([episode.steps.reward for episode in unscaled])
    allowed = return_bounds(plain)
    bounds = selection.Bounds.of(rewards, data.returns, plain.discount, allowed)
    actors = [(parts.agent, parts.agent.actor_params(one_agent(agent, index))) for index in range(seeds) for _, agent in kept]
    judged = fqe_of(config, len(rewards), len(kept), kept[-1][0] * config.warmup_agent.settings.utd)
    found = fqe.estimates(actors, unscaled, judged, plain.discount, 0, bounds=allowed).reshape(seeds, len(kept), -1)
    return [
        selection.rank([selection.Candidate(updates, one) for (updates, _), one in zip(kept, of_seed, strict=True)], bounds)
        for of_seed in found
    ]


def _save(folder: Path, config: RunConfig, parts: LearnerParts, state: LearnerState, seed: int, agents: dict[int, Any]) -> None:
    """Checkpoints of these agents by their updates, in place of any that are there; without the data, which the sweep's other seeds have
    too."""
    meta = described(config, "warmup", seed)
    empty = replay.create(frames.stored_spec(parts.agent.spec), parts.replay, 1)
    bare = state.replace(offline=empty, online=empty, frames=frames.create(parts.agent.spec, 0, parts.frames))
    checkpoint.clear(folder)
    for updates, agent in agents.items():
        bare = bare.replace(agent=agent, updates=jnp.int32(updates))
        checkpoint.save(folder, bare, parts.agent, meta, keep=None)


def _judged(config: RunConfig, parts: LearnerParts, agents: dict[int, Any], seed: int, episodes: int) -> dict[int, dict[str, Any]]:
    """What episodes of the agents' modes showed, by the agents' updates; all from the same starts. One that diverged has no scores."""
    from ...actor.environment.environment import make_environment
    from ...actor.episodes.rollout import evaluate
    from ...actor.policies.policy import AgentPolicy

    environment, found = make_environment(config.environment, config.reward, tasks=config.tasks), {}
    for updates, agent in agents.items():
        try:
            if not is_sound(agent):
                raise NonFiniteActionError(f"The agent of {updates} updates is not finite.")
            shown = evaluate(environment, AgentPolicy(parts.agent, parts.agent.actor_params(agent), deterministic=True), seed, episodes)
        except NonFiniteActionError:
            found[updates] = {"mean_return": None, "success_rate": None, "normalised": None, "diverged": True}
            continue
        score = normalised(config.environment.id, shown.mean_return)
        scores = {"mean_return": shown.mean_return, "success_rate": shown.success_rate, "normalised": score}
        found[updates] = scores | {"diverged": False}
    environment.close()
    return found


def _selected(ranking: list[selection.Ranked], shown: dict[int, dict[str, Any]], measure: str) -> dict[str, Any]:
    """What FQE chose, and where all checkpoints were judged, how its ranking agrees with theirs by `measure`, but for those
    that diverged; None where all are alike."""
    chosen = ranking[0].candidate
    selected = {"selected": {"updates": chosen.updates, "fqe": chosen.estimate} | shown[chosen.updates]}
    estimates = {ranked.candidate.updates: ranked.candidate.estimate for ranked in ranking}
    if len(shown) < len(estimates):
        return selected
    order = sorted(estimates)
    checkpoints = [{"updates": updates, "fqe": estimates[updates]} | shown[updates] for updates in order]
    agreement = spearman(*(np.array([one[name] for one in checkpoints], np.float64) for name in ("fqe", measure)))
    return selected | {"checkpoints": checkpoints, "rank_correlation": None if np.isnan(agreement) else agreement}

"""The work of a sweep: seeds that learn side by side, the checkpoints that they leave, and what these are worth."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
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


@dataclasses.dataclass(frozen=True)
class Trial:
    """Seeds of a run that learn side by side, and how they are judged."""

    name: str
    config: RunConfig
    seeds: tuple[int, ...]
    judging: Judging


class Ready:
    """What all seeds of a run share.

    Attributes:
        recorded: how many episodes there are.
        room: bytes that each further seed takes.
    """

    def __init__(self, config: RunConfig, recorded: list[Episode]):
        self.data = made_ready(config, recorded)
        self.parts = warm_parts(config, self.data.spec)
        self.recorded = len(recorded)
        self.room = bytes_of_a_seed(self.parts, self.data.rows)


class Learning:
    """The seeds of a trial while they learn.

    Attributes:
        updates: done so far.
    """

    def __init__(self, trial: Trial, ready: Ready):
        began = time.perf_counter()
        self.trial, self.ready, self.updates = trial, ready, 0
        self._states = start_seeds(ready.parts, trial.seeds, ready.data.rows)
        self._chunks = Chunks(trial.config.learner.updates_per_call)
        self._kept: Snapshots = []
        self._seconds = time.perf_counter() - began

    def train(self, until: int) -> None:
        """Goes on up to so many updates. Keeps the checkpoints on the way."""
        began = time.perf_counter()
        spaced = _spaced(self.trial.config.learner.warmup_steps, self.trial.judging.checkpoints)
        for stop in sorted({one for one in spaced if self.updates < one <= until} | {until}):
            self._run_until(stop)
            if stop in spaced:
                self._kept.append((stop, jax.tree.map(jnp.copy, self._states.agent)))  # whose buffers the next update gives away
        jax.block_until_ready(self._kept)
        self._seconds += time.perf_counter() - began

    def scores(self) -> list[dict[str, Any]]:
        """What each seed's policy is worth now; see `_judged`."""
        config, parts, agents = self.trial.config, self.ready.parts, self._states.agent
        judged = [
            _judged(config, parts, {self.updates: one_agent(agents, index)}, seed, self.trial.judging.episodes)
            for index, seed in enumerate(self.trial.seeds)
        ]
        return [one[self.updates] for one in judged]

    def finish(self, out: Path) -> Iterator[dict[str, Any]]:
        """Trains to the end, and yields what each seed was judged to be. Its last checkpoint, and the chosen one, are in
        `out/NAME/seed-N`."""
        self.train(self.trial.config.learner.warmup_steps)
        began, seeds = time.perf_counter(), len(self.trial.seeds)
        rankings: Any = [None] * seeds
        if self.trial.judging.checkpoints > 1:
            rankings = _ranked(self.trial.config, self.ready.parts, self.ready.data, self._kept, seeds)
        spent = {"seconds": self._seconds / seeds, "fqe_seconds": (time.perf_counter() - began) / seeds, "together": seeds}
        for index, seed in enumerate(self.trial.seeds):
            yield {"seed": seed} | spent | self._of_seed(index, rankings[index], out)

    def _of_seed(self, index: int, ranking: list[selection.Ranked] | None, out: Path) -> dict[str, Any]:
        config, parts, judging, seed = self.trial.config, self.ready.parts, self.trial.judging, self.trial.seeds[index]
        folder = seed_folder(out, self.trial.name, seed)
        agents = {updates: one_agent(agent, index) for updates, agent in self._kept}
        last = self._kept[-1][0]
        wanted = {last, *([ranking[0].candidate.updates] if ranking else [])}
        kept = {updates: agents[updates] for updates in sorted(wanted) if is_sound(agents[updates])}
        _save(folder, config, parts, one_seed(self._states, index), seed, kept)
        if ranking and ranking[0].candidate.updates in kept:
            selection.write(folder, ranking, ranking[0].candidate.updates, "data", {"episodes": self.ready.recorded})
        shown = _judged(config, parts, agents if judging.all_of_them else {n: agents[n] for n in wanted}, seed, judging.episodes)
        return shown[last] | (_selected(ranking, shown, measure_of(config)) if ranking else {})

    def _run_until(self, until: int) -> None:
        while (left := until - self.updates) > 0:
            count = self._chunks.begin(left)
            self._states, metrics = run_seeds(self._states, self.ready.parts, count)
            jax.block_until_ready(metrics)
            self._chunks.end(count)
            self.updates += count


def seed_folder(out: Path, name: str, seed: int) -> Path:
    """Where the checkpoints of a run's seed are."""
    return out / folder_name(name) / f"seed-{seed}"


def measure_of(config: RunConfig) -> str:
    """By which of a seed's scores policies of this run are compared: what they are trained for."""
    return "success_rate" if config.reward.signal == "success" else "mean_return"


def train_and_judge(trial: Trial, recorded: list[Episode], out: Path, memory: int) -> Iterator[dict[str, Any]]:
    """Warms up the seeds of a run, as many side by side as `memory` bytes hold, and yields what each was judged to be; see
    `Learning.finish`."""
    if not trial.seeds:
        return
    ready = Ready(trial.config, recorded)
    together = max(1, min(len(trial.seeds), memory // ready.room))
    for low in range(0, len(trial.seeds), together):
        some = dataclasses.replace(trial, seeds=trial.seeds[low : low + together])
        yield from Learning(some, ready).finish(out)


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

"""The learner's loop: take rows in, update, publish weights, record, checkpoint. One `advance` at a time.

A checkpoint covers what the journal has on disk; what came after it is in the journal alone, from which a later learner goes on.

The process mode calls `run`; the lock-step mode calls `advance` after every environment step. Both are this class.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..data.errors import WarmloopError
from ..data.replay import replay
from ..data.wire import episode_report
from ..data.wire.weights import Snapshot
from .checkpoints import stored_policies
from .checkpoints.saver import SAVE_AGAIN_SECONDS, Saver
from .config import LearnerConfig
from .diagnosis.departures import Departures
from .diagnosis.metrics import Recorder
from .journal.streams import LOST
from .judging.best import BestPolicy
from .receiving.intake import Intake
from .rows.ingest import Ingest
from .soundness import check_sound, copy_of, is_sound, judged, what_is_not_finite
from .state import LearnerParts, LearnerState
from .step import Stepper

EPISODE_RETURN = "actor/episode_return"
RECENT_EPISODES = 20
LATE = 0.5  # share of the updates that may be missing when the last environment step comes
RETURNS = 3  # times that a run goes back to its last sound state, in a stretch of `RETURNS_WITHIN` publications
RETURNS_WITHIN = 20
TAKE_ROWS = 1024
LOOK_SECONDS = 1.0  # between two looks at how far the learner is
OnRecord = Callable[[int, int, Mapping[str, float]], None]

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Listeners:
    """Who is told how a learner gets on, as it happens.

    Attributes:
        on_record: called with (updates, environment steps, metrics) at every record.
        on_look: called likewise about once a second, with what is known between two records.
        on_episode: called likewise with what its actor reports of every training episode.
        on_checkpoint: called with (updates, path) of every checkpoint.
    """

    on_record: OnRecord = lambda updates, steps, metrics: None
    on_look: OnRecord = lambda updates, steps, metrics: None
    on_episode: OnRecord = lambda updates, steps, metrics: None
    on_checkpoint: Callable[[int, Path], object] = lambda updates, path: None


@dataclasses.dataclass(frozen=True)
class Start:
    """What a learner begins with.

    Attributes:
        state: owned by the learner (and given away to XLA) from there on.
        ingest: puts rows into `state.online`.
        intake: the actors' rows; checkpoints need its journal.
        warm_updates: `state.updates` at which fine-tuning began; pacing counts from there.
        best: what keeps the best policy; None makes one that judges training episodes.
    """

    state: LearnerState
    parts: LearnerParts
    ingest: Ingest
    intake: Intake
    warm_updates: int = 0
    best: BestPolicy | None = None


class Learner:
    """Learns from what the intake of `start` receives."""

    def __init__(self, start: Start, config: LearnerConfig, recorder: Recorder, saver: Saver, listeners: Listeners | None = None):
        self.state, self.parts, self.warm_updates = start.state, start.parts, start.warm_updates
        self.ingest, self.intake = start.ingest, start.intake
        self.config, self.recorder, self.saver, self.listeners = config, recorder, saver, listeners or Listeners()
        self.best = start.best or BestPolicy(config, success=self.ingest.reward.signal == "success")
        self.updates, self._step = int(self.state.updates), Stepper(self.parts)
        agent, spec = self.state.agent, self.parts.agent.spec
        self.departures = Departures(spec, self.state.offline, self.parts.agent.actor_params(agent).normaliser)
        self.stop_requested = False
        self._metrics: dict[str, jax.Array] = {}
        self._recent: dict[str, deque[float]] = {}
        self._logged, self._logged_at = self.updates, time.perf_counter()
        self._news = True  # since the last record
        self._look_at = 0.0
        self._told_pace = self.environment_steps >= config.online_steps
        self._sound: tuple[int, Any] = self.updates, None  # the agent that was last found to be finite, and after how many updates
        self._returns: deque[int] = deque(maxlen=RETURNS + 1)
        self._pace()
        self.publish()

    @property
    def environment_steps(self) -> int:
        """Rows taken in since fine-tuning began."""
        return self.ingest.inserted

    @property
    def owed(self) -> int:
        """Updates that the received steps allow and that have not been done."""
        steps = max(0, min(self.environment_steps, self.config.online_steps) - self.config.frozen_steps)
        return int(steps * self.config.max_utd) - (self.updates - self.warm_updates)

    @property
    def finished(self) -> bool:
        """All environment steps have come and their updates are done."""
        return self.environment_steps >= self.config.online_steps and self.owed <= 0

    def advance(self) -> bool:
        """Takes in what has come, and does one update if one is owed. Returns whether anything happened."""
        took = self._take()
        self._look()
        self._tell_pace()
        self._pace()
        if self.owed <= 0:
            return took
        self.state, self._metrics = self._step(self.state)
        self.updates += 1
        self._news = True
        if self.updates % self.config.publish_every == 0:
            self.publish()
        if self.updates - self._logged >= self.config.log_every:
            self.record()
        return True

    def run(self) -> None:
        """Learns until finished or asked to stop; saves at the intervals that the config asks for, and at the end."""
        while not (self.finished or self.stop_requested):
            if not self.advance():
                self.intake.wait(0.05)
            if self.save_due:
                self.try_save()
        self.record_rest()
        self.publish()
        self.save()

    def publish(self) -> None:
        """Makes the current actor parameters the newest version; the version is the number of updates behind them.

        Where the state is not finite, goes back to the last one that was. Raises NotFinite where that has not helped.
        """
        if is_sound(judged(self.state)):
            self._sound = self.updates, copy_of(self.state.agent)
        else:
            self._go_back()
        self.best.published(Snapshot.of(self.updates, self.parts.agent.actor_params(self.state.agent)))
        self.intake.weights.offer(self.best.offered)

    def record(self) -> None:
        """Writes the newest metrics, and the recent episodes' means, to disk."""
        now = time.perf_counter()
        scalars = self._recent_means() | {name: float(value) for name, value in jax.device_get(self._metrics).items()}
        if self.updates > self._logged:
            scalars["learner/updates_per_second"] = (self.updates - self._logged) / max(now - self._logged_at, 1e-9)
            scalars |= self._pace_reached()
        scalars["replay/online_size"] = float(min(self.environment_steps, self.state.online.capacity))
        scalars |= self.intake.metrics() | self.best.metrics()
        self._logged, self._logged_at, self._news = self.updates, now, False
        self._write(scalars)

    def _write(self, scalars: Mapping[str, float]) -> None:
        written = self.recorder.write(self.updates, scalars, self.environment_steps)
        self.listeners.on_record(self.updates, self.environment_steps, written)

    def _look(self) -> None:
        """Tells `on_look` how far the learner is, also where it waits for rows and there is nothing to record."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        waiting = {"intake/waiting": float(self.intake.statistics()["waiting"])}
        pace = self._pace_reached() if self.updates > self.warm_updates else {}
        self.listeners.on_look(self.updates, self.environment_steps, self._recent_means() | pace | waiting)

    def _recent_means(self) -> dict[str, float]:
        """Of the newest episodes."""
        return {name: float(np.mean(values)) for name, values in self._recent.items()}

    def _pace_reached(self) -> dict[str, float]:
        learnt = max(self.environment_steps - self.config.frozen_steps, 1)
        reached = (self.updates - self.warm_updates) / learnt
        return {"learner/updates_per_step": reached, "learner/updates_per_step_asked": self.config.max_utd}

    def record_rest(self) -> None:
        """As `record`, for the end: not where nothing has come or was done since the last one."""
        if self._news:
            self.record()

    @property
    def save_due(self) -> bool:
        """Whether the interval between two checkpoints has passed."""
        return self.saver.is_due(self.updates)

    def try_save(self, extra: Mapping[str, Any] | None = None) -> None:
        """As `save`, but a checkpoint that cannot be written now is said, and due again a while later."""
        try:
            self.save(extra)
        except WarmloopError as error:
            log.error("%s Learning goes on; the next try is in %.0f s.", error, SAVE_AGAIN_SECONDS)
            self.saver.put_off()

    def save(self, extra: Mapping[str, Any] | None = None) -> Path:
        """Writes a checkpoint, with `extra` in its description.

        Raises:
            WarmloopError: the disk does not take it; the checkpoints that were there are whole.
        """
        journal = self.intake.journal
        assert journal is not None
        told = {"warm_updates": self.warm_updates, "streams": self.intake.state()}
        kept = self.best.state(lambda policies: stored_policies.store(self.saver.directory, policies))
        told |= ({} if kept is None else {stored_policies.BEST: kept}) | dict(extra or {})
        path = self.saver.save(self.state, self.parts.agent, self.ingest, journal, told)
        self.listeners.on_checkpoint(self.updates, path)
        return path

    def _go_back(self) -> None:
        """To the last sound agent, with new priorities; the batches that follow are others. Raises NotFinite after the third time."""
        updates, agent = self._sound
        self._returns.append(self.updates)
        recent = [at for at in self._returns if self.updates - at <= RETURNS_WITHIN * self.config.publish_every]
        if agent is None or len(recent) > RETURNS:
            check_sound(self.state, "nothing is published or saved, and the learner stops; its checkpoints are whole")
        log.error(
            "After %d updates the learning has diverged (not finite: %s). It goes back to the agent of %d updates; nothing was published.",
            self.updates, what_is_not_finite(judged(self.state)), updates,
        )  # fmt: skip
        pools = {name: replay.forget_priorities(getattr(self.state, name)) for name in ("offline", "online")}
        self.state = self.state.replace(agent=copy_of(agent), ahead=(), **pools)

    def _take(self) -> bool:
        chunks = self.intake.take(TAKE_ROWS)
        for chunk in chunks:
            if chunk.stream != LOST:
                self.departures.watch(chunk.rows)
            self.state = self.ingest.insert(self.state, chunk.stream, chunk.rows)
        self._news |= bool(chunks)
        for report in self.intake.reports():
            scalars, episode = episode_report.split(report.scalars)
            self.recorder.episodes.note(report.actor, self.environment_steps, scalars, episode)
            if scalars:
                self.best.heard(scalars, self.environment_steps)
                self.intake.weights.offer(self.best.offered)
                self._note(scalars)
        return bool(chunks)

    def _tell_pace(self) -> None:
        """Says, once all environment steps are there, that most updates come too late for them."""
        asked, done = self.owed + self.updates - self.warm_updates, self.updates - self.warm_updates
        if self.environment_steps < self.config.online_steps or self._told_pace:
            return
        self._told_pace = True
        if asked - done > max(self.config.publish_every, LATE * asked):
            log.warning(
                "All %d environment steps have come while %d of %d updates were done: the policy that took them had hardly learnt. A "
                "simulator waits for its learner unless learner.min_utd is 0 or actor.simulator is False; on a robot, ask for fewer "
                "updates (learner.max_utd) or smaller networks.",
                self.environment_steps,
                done,
                asked,
            )

    def _pace(self) -> None:
        """Simulators wait while the learner is behind its least pace, and all leave when the environment steps have come.

        They never wait for a learner that owes no update: at the boundary, where rounding may leave nothing owed to either side,
        both would wait for ever.
        """
        room = math.inf
        if least := self.config.least_utd:
            done = self.updates - self.warm_updates + self.config.publish_every
            room = self.config.frozen_steps + done / least - self.environment_steps
        self.intake.admit(max(room, 0.0 if self.owed > 0 else 1.0), self.config.online_steps)

    def _note(self, scalars: dict[str, float]) -> None:
        """Evaluations are recorded as they come; training episodes enter the running means."""
        if any(name.startswith("evaluation/") for name in scalars):
            self._write(scalars)
            return
        if EPISODE_RETURN in scalars:  # and not of one that a fault broke off
            self.listeners.on_episode(self.updates, self.environment_steps, scalars)
        for name, value in scalars.items():
            self._recent.setdefault(name, deque(maxlen=RECENT_EPISODES)).append(value)
        self._news = True

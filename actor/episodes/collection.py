"""Collecting a set of episodes: which attempts there are, what each one does, and which of them the set is made of.

An attempt is decided by the plan and its number alone, and the set by the attempts in the order of their numbers: so it is the same
however many workers there are, in whatever order they finish, and however often the work was broken off.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...data.doors.imports import as_sentence
from ...data.episode import Episode
from ...data.errors import WarmloopError
from ...data.formats import FORMATS, write_episodes, written_format
from ...data.sources.base_labels import LABELLED_BY
from ...data.sources.sources import mark
from ...data.tasks import TaskConfig
from ...data.transition import Source
from ..config import ActorConfig
from ..environment.environment import Environment, EnvironmentConfig, make_environment
from ..environment.guard import guarded
from ..intervention.intervention import Intervener, Signal
from ..policies.policy import NoisyPolicy, Policy
from ..policies.shared_policy import Ask
from ..seeds import COLLECTION_STREAM, episode_seed
from .abreast import Abreast, check_several
from .parts import Parts, store
from .rollout import EpisodePlan, Recording, recording
from .schedule import Schedule

ATTEMPTS_PER_SUCCESS = 10


@dataclasses.dataclass(frozen=True)
class Plan:
    """What decides every episode of a set.

    Attributes:
        environment, tasks: where.
        policy: who acts, as the user says it, and `identity`: what that stands for at this moment (a hash, say).
        deterministic: whether a policy that could sample its actions does not.
        episodes: how many the set has.
        seed: decides every episode.
        source: the kind of data they are recorded as.
        noise: standard deviation of the noise on the actions, by attempt.
        random_share: share of the steps in bursts of one random action, by attempt.
        success_only: only successful attempts count; there are at most `ATTEMPTS_PER_SUCCESS` for each.
        stop_at_success: an episode is cut after its first successful step.
        after_success: it is, that many steps later.
        unseen: what the policy does not see of the observations is recorded too.
        intervention: who may take over, as the user says it and what that stands for at this moment.
        discards: that is a person, who may discard attempts: others come in their place, within the same limit.
    """

    environment: EnvironmentConfig
    tasks: TaskConfig
    policy: str
    identity: str
    deterministic: bool
    episodes: int
    seed: int
    source: Source
    noise: Schedule
    random_share: Schedule
    success_only: bool
    stop_at_success: bool
    after_success: int = 0
    unseen: bool = False
    intervention: str = "none"
    discards: bool = False

    @property
    def limit(self) -> int:
        """The most attempts there can be."""
        return self.episodes * (ATTEMPTS_PER_SUCCESS if self.success_only or self.discards else 1)

    def levels(self, attempt: int) -> tuple[float, float]:
        """The noise and the random share of an attempt."""
        return self.noise.at(attempt, self.episodes), self.random_share.at(attempt, self.episodes)

    def settings(self) -> dict[str, Any]:
        """All of it as JSON, as a set's metadata says it."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return own | {
            "environment": self.environment.id,
            "environment_kwargs": [[name, repr(value)] for name, value in dict(self.environment.kwargs).items()],
            "environment_wrappers": list(self.environment.wrappers),
            "tasks": list(self.tasks.names),
            "horizon": self.environment.horizon,
            "success": self.environment.success,
            **({LABELLED_BY: self.environment.base} if self.environment.base else {}),
            "source": self.source.name.lower(),
            "noise": self.noise.text,
            "random_share": self.random_share.text,
            **mark(self.environment.limits),
        }


@dataclasses.dataclass(frozen=True)
class Players:
    """Who acts in the attempts of a set, and how the environments are used.

    Attributes:
        make_policy, make_intervener: given the environment.
        use: its timeouts.
        abreast: simulators that each worker plays in at once.
    """

    make_policy: Callable[[Environment], Policy]
    make_intervener: Callable[[Environment], Intervener | None] = lambda environment: None
    use: ActorConfig | None = None
    abreast: int = 1


class Attempts:
    """A worker's job: runs attempts in environments of its own, and puts each on disk; an attempt's result is whether it succeeded,
    None where a person discarded it.

    Raises WarmloopError when made: the environment cannot be had, or several at once and it may be a robot.
    """

    def __init__(self, plan: Plan, players: Players, folder: Path):
        self._plan, self._folder = plan, folder
        with contextlib.ExitStack() as stack:
            environments = list[Environment]()
            for _ in range(players.abreast):
                environments.append(environment := make_environment(plan.environment, tasks=plan.tasks, use=players.use))
                stack.callback(environment.close)
                check_several(environment, players.abreast)
                stack.enter_context(guarded(environment))
            self._abreast = Abreast.of(environments, players.make_policy)
            self._intervener = players.make_intervener(environments[0])
            if self._intervener is not None:
                stack.callback(self._intervener.close)
            self._stack = stack.pop_all()

    def __call__(self, numbers: Iterable[int]) -> Iterator[tuple[int, bool | None]]:
        return self._abreast.play(numbers, self._attempt)

    def close(self) -> None:
        """Brings the environments to rest, and closes what is open."""
        self._stack.close()

    def _attempt(self, place: int, number: int) -> Generator[Ask, None, bool | None]:
        episode, signal = yield from self._record(place, number)
        while signal is Signal.RERECORD:
            episode, signal = yield from self._record(place, number)
        if signal is Signal.DISCARD:
            store(self._folder, number, None)
            return None
        succeeded = episode.succeeded
        store(self._folder, number, succeeded, episode if succeeded or not self._plan.success_only else None)
        return succeeded

    def _record(self, place: int, number: int) -> Generator[Ask, None, Recording]:
        plan, environment, policy = self._plan, self._abreast.environments[place], self._abreast.policies[place]
        noise, random_share = plan.levels(number)
        policy = NoisyPolicy(policy, noise, random_share) if noise or random_share else policy
        seed = episode_seed(plan.seed, COLLECTION_STREAM, number, len(plan.tasks))
        recorded = EpisodePlan(number, plan.source, plan.stop_at_success, plan.after_success, plan.unseen)
        with as_sentence(f"Attempt {number} (seed {seed}) failed in the policy or the environment"):
            return (yield from recording(environment, policy, seed, recorded, intervener=self._intervener))


class Tally:
    """Which attempts are over, and whether the set is complete.

    Attributes:
        plan: of the set.
        over: by attempt, whether it succeeded; None where it was discarded.
        found: how many of the set's episodes there are.
    """

    def __init__(self, plan: Plan, over: Mapping[int, bool | None]):
        self.plan, self.over = plan, dict(over)
        self.found = min(plan.episodes, sum(map(self._takes, self.over)))
        self._settled, self._taken = 0, 0  # attempts before which all are over, and how many of these the set takes
        self._settle()

    def add(self, attempt: int, succeeded: bool | None) -> int:
        """One more attempt is over; returns by how much `found` grows."""
        self.over[attempt] = succeeded
        self._settle()
        more = int(self._takes(attempt) and self.found < self.plan.episodes)
        self.found += more
        return more

    @property
    def complete(self) -> bool:
        """Whether no further attempt can change the set."""
        return self._taken == self.plan.episodes or self._settled == self.plan.limit

    def wanted(self) -> Iterator[int]:
        """The attempts that remain, lowest first, for as long as the set is not complete."""
        for attempt in range(self.plan.limit):
            if self.complete:
                return
            if attempt not in self.over:
                yield attempt

    def considered(self) -> list[int]:
        """The attempts that the set was chosen from: where it is complete, those up to its last one, and otherwise all that are over."""
        return [attempt for attempt in sorted(self.over) if not self.complete or attempt < self._settled]

    def kept(self) -> list[int]:
        """The attempts that the set is made of."""
        return [attempt for attempt in self.considered() if self._takes(attempt)][: self.plan.episodes]

    def succeeded(self) -> list[bool]:
        """Whether each of the considered attempts succeeded, but for the discarded ones."""
        return [succeeded for succeeded in map(self.over.get, self.considered()) if succeeded is not None]

    def _takes(self, attempt: int) -> bool:
        succeeded = self.over[attempt]
        return succeeded is not None and (succeeded or not self.plan.success_only)

    def _settle(self) -> None:
        while not self.complete and self._settled in self.over:
            self._taken += self._takes(self._settled)
            self._settled += 1


def check_writable(out: Path) -> None:
    """Raises WarmloopError where no set can be written to `out`, before any time is spent on it."""
    if out.is_dir() and not any(candidate.write and candidate.matches(str(out)) for candidate in FORMATS.values()):
        raise WarmloopError(f"{out} is a folder without a data set; it is not replaced. Choose another --out.")
    written_format(out)


def write_set(out: Path, tally: Tally, parts: Parts) -> list[Episode]:
    """Writes the set, or as much as there is of it, to `out`; the parts of a complete one go. Returns its episodes.

    The metadata are the settings, and what each episode was made with.
    """
    plan, kept = tally.plan, tally.kept()
    episodes = [_numbered(parts.load(attempt, bool(tally.over[attempt])), number, plan) for number, attempt in enumerate(kept)]
    noise, random_share = zip(*map(plan.levels, kept), strict=True) if kept else ((), ())
    if episodes:
        with _set_aside(out):
            metadata = {"attempts": kept, "episode_noise": noise, "episode_random_share": random_share}
            write_episodes(out, episodes, plan.settings() | metadata)
    if tally.complete:
        parts.remove()
    return episodes


@contextlib.contextmanager
def _set_aside(out: Path) -> Iterator[None]:
    """Where `out` is a folder, keeps it under another name until there is a new one: a folder cannot be replaced in one step."""
    if not out.is_dir():
        yield
        return
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    os.replace(out, old)
    try:
        yield
    except BaseException:
        os.replace(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _numbered(episode: Episode, number: int, plan: Plan) -> Episode:
    steps = episode.steps.replace(episode=np.full(len(episode), number, np.int32))
    return dataclasses.replace(episode, steps=steps, number=number, origin=plan.environment.id)

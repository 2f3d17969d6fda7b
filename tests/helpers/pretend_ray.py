"""As much of Ray as a sweep uses, in this process: nodes with room for one actor each, and trials that are lost when the test says so."""

import itertools
from collections import Counter
from types import SimpleNamespace
from typing import Any

from warmloop.launch.sweeps.trial_host import Reply


class RayActorError(Exception):
    """The actor is gone."""


class ObjectLostError(Exception):
    """Its answer is."""


class OutOfMemoryError(Exception):
    """Ray ended it."""


class RayTaskError(Exception):
    """What an actor raised."""

    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class PretendRay:
    """Call an instance's functions as the package's.

    Args:
        nodes: how many actors have a place.
        losses: by a trial's run and first seed, how often it is lost, and by what.
        scores: of each run at every rung.
        fault: what every trial raises.
        refusal: what each node raises before any trial.
    """

    exceptions = SimpleNamespace(
        RayActorError=RayActorError, ObjectLostError=ObjectLostError, OutOfMemoryError=OutOfMemoryError, RayTaskError=RayTaskError
    )

    def __init__(self, nodes=2, losses=None, scores=None, fault=None, refusal=None):
        self.room, self.losses, self.scores, self.fault = nodes, dict(losses or {}), scores or {}, fault
        self.refusal = refusal
        self.placed, self.most, self.died, self.begun, self.stored = [], 0, set(), Counter(), []
        self.ids = itertools.count()

    def remote(self, _):
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *_: PretendActor(self)))

    def put(self, value):
        self.stored.append(value)
        return value

    def wait(self, calls, timeout):
        ready = [call for call in calls if call.actor in self.placed or len(self.placed) < self.room]
        for call in ready[:1]:
            if call.actor not in self.placed:
                self.placed.append(call.actor)
                self.most = max(self.most, len(self.placed))
        return ready[:1], []

    def get(self, call):
        return getattr(call.actor, f"on_{call.name}")(*call.arguments)

    def kill(self, actor):
        if actor in self.placed:
            self.placed.remove(actor)

    def nodes(self):
        return [{"NodeID": actor.node, "Alive": actor.node not in self.died} for actor in self.placed] + [
            {"NodeID": node, "Alive": False} for node in self.died
        ]


class PretendCall:
    """One that is answered when somebody asks for its answer."""

    def __init__(self, actor, name, arguments):
        self.actor, self.name, self.arguments = actor, name, arguments


class PretendActor:
    """Trains nothing."""

    def __init__(self, ray):
        self.ray, self.node = ray, f"node-{next(ray.ids)}"
        self.trial: Any = None

    def __getattr__(self, name):
        return SimpleNamespace(remote=lambda *arguments: PretendCall(self, name, arguments))

    def on_where(self, folders, version):
        if self.ray.refusal:
            raise self.ray.refusal
        return self.node, "10.0.0.1"

    def on_begin(self, trial, recorded, memory):
        self.trial = trial
        self.ray.begun[trial.name, trial.seeds] += 1
        if self.ray.fault:
            raise RayTaskError(self.ray.fault)
        return Reply(None, ["the data are odd"])

    def on_train(self, updates):
        return Reply([self.ray.scores[self.trial.name] for _ in self.trial.seeds], [])

    def on_finish(self):
        times, error, with_node = self.ray.losses.get((self.trial.name, self.trial.seeds[0]), (0, None, False))
        if times >= self.ray.begun[self.trial.name, self.trial.seeds]:
            self.ray.died |= {self.node} if with_node else set()
            raise error
        files = {f"{self.trial.name}/seed-{seed}/file": b"it" for seed in self.trial.seeds}
        return Reply(([{"seed": seed, "mean_return": float(seed)} for seed in self.trial.seeds], files), [])

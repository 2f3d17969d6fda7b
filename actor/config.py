"""Settings of the actor process."""

from __future__ import annotations

import dataclasses

from ..data.errors import WarmloopError


@dataclasses.dataclass(frozen=True)
class ActorConfig:
    """What the process beside the environment does.

    Attributes:
        evaluate_every: environment steps between two evaluations with the deterministic policy; 0 is never.
        evaluation_episodes: episodes of one evaluation.
        simulator: the environment can wait for the learner; False for a robot, which never does within an episode.
        patience: seconds without a learner before the actor gives up; it keeps acting with its last weights until then.
        swap: when new weights take over: "episode" (at its start) or "step".
        random_steps: environment steps at first whose actions are uniformly random, as long as the learner has not learnt anything: never
            after a warm-up, and never on a robot (`simulator` False).
        max_policy_lag: updates that the acting weights may be behind the newest the learner has told of; 0 for no limit. With swap
            "episode" an episode's updates come on top.
        max_weights_age: seconds that may pass without new weights from a learner that answers; 0 for no limit.
        spool_rows, spool_mebibytes: rows kept, in memory and on disk, until the learner has them on its disk; the smaller of the two
            holds. A simulator then waits; a robot finishes its episode first.
        faults_per_hour: faults of the environment (an exception, a number that is not finite, a part of an observation that is missing)
            that may each cost an episode; beyond them the actor stops. 0: the first one does.
        step_timeout: seconds after which a step that has not returned is taken for blocked: the environment's `safe_stop()` is called from
            another thread, and the run ends. 0 watches neither steps nor resets. A simulator's first reset and step may take ten minutes.
        reset_timeout: the same for a reset; 0 for ten times `step_timeout`.
        deterministic: act by the policy's mode in training too, where it samples its actions otherwise.
        hold_episodes: keep the running episode's rows back until it has ended, so that a person can discard it. Otherwise each one goes
            to the learner, and to the spool's disk, at once.
    """

    evaluate_every: int = 0
    evaluation_episodes: int = 20
    simulator: bool = True
    patience: float = 300.0
    swap: str = "episode"
    random_steps: int = 0
    max_policy_lag: int = 0
    max_weights_age: float = 0.0
    spool_rows: int = 200_000
    spool_mebibytes: int = 1024
    faults_per_hour: int = 20
    step_timeout: float = 10.0
    reset_timeout: float = 0.0
    deterministic: bool = False
    hold_episodes: bool = False

    def __post_init__(self):
        if self.swap not in ("episode", "step"):
            raise WarmloopError(f'actor.swap is "{self.swap}"; it must be "episode" or "step".')
        if self.evaluation_episodes < 1:
            raise WarmloopError(f"actor.evaluation_episodes is {self.evaluation_episodes}; it must be at least 1.")
        for name in ("spool_rows", "spool_mebibytes"):
            if getattr(self, name) < 1:
                raise WarmloopError(f"actor.{name} is {getattr(self, name)}; it must be at least 1.")
        numbers = ("evaluate_every", "patience", "random_steps", "max_policy_lag", "max_weights_age")
        for name in (*numbers, "faults_per_hour", "step_timeout", "reset_timeout"):
            if not getattr(self, name) >= 0:
                raise WarmloopError(f"actor.{name} is {getattr(self, name)}; it must be 0 or more.")

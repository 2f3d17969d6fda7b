"""Settings of the learner process."""

from __future__ import annotations

import dataclasses
import math

from ..data.errors import WarmloopError
from .diagnosis.trackers import TrackerChoice


@dataclasses.dataclass(frozen=True)
class LearnerConfig:
    """How long to learn, how fast, and what to write down. An update is one UTD block: K critic steps and one actor step.

    Attributes:
        warmup_steps: updates on offline data before any environment step.
        online_steps: environment steps of the fine-tuning.
        frozen_steps: environment steps collected first with the frozen, stochastic policy and no updates (WSRL's warm-up).
        max_utd: updates per environment step at most; the learner waits for data beyond that.
        min_utd: updates per environment step at least; simulators wait for the learner below that, robots never. -1 is `max_utd`, 0 is off.
        updates_per_call: updates in one compiled call of the warm-up at most; 0 is as many as take about a second. The results are the
            same.
        publish_every: updates between two versions of the actor's weights.
        log_every: updates between two records of metrics.
        checkpoint_every: updates between two checkpoints; 0 saves at the end only.
        keep_checkpoints: complete checkpoints kept of a fine-tuning.
        warmup_checkpoints: checkpoints of the warm-up, evenly spaced over its updates, all kept, for the selection to choose from; 1 is
            the last alone, 0 one for every 200 updates up to 10.
        held_out: share of the warm-up's episodes that are not learnt from but measured by; of fewer than 20 episodes none are.
        early_stop_after: records (every `log_every` updates) without a better `early_stop_on` after which the warm-up ends; 0 is never.
        early_stop_on: the held-out measure: "action_error", "log_prob" or "td_error".
        keep_best: what is done for the best policy so far, the warm one at first: "off" is nothing; "keep" keeps it, for `--step=best`, and
            tells when success falls below it; "act" also has it act, by turns with the trained one, the more the better it does beside it;
            "auto" is "act" for an agent that keeps its warm policy (`ibrl`) where the actors' settings allow turns, and else "keep".
        best_window: episodes by which a policy is judged, at least: training episodes without a person's help, or the episodes of
            evaluations where `actor.evaluate_every` asks for some.
        devices: accelerators that one learner uses; 0 is all that JAX finds. Each has the whole state.
        divide: what several devices divide among them: the "rows" of each minibatch, or the members of the critics' "ensemble".
        precision: of products of matrices and of convolutions in the updates: "float32"; or on GPUs and TPUs, faster and rougher,
            "tensorfloat32" or "bfloat16". Weights and sums stay float32. A CPU computes float32 whatever it says.
        trackers: where metrics go beside metrics.jsonl: tensorboard, wandb, trackio, or MODULE:NAME of one's own, with options as in
            "wandb:project=door,mode=offline" (docs/operations.md).
        host, port: where the learner listens; port 0 takes any free one.
    """

    warmup_steps: int = 10_000
    online_steps: int = 50_000
    frozen_steps: int = 0
    max_utd: float = 1.0
    min_utd: float = -1.0
    updates_per_call: int = 0
    publish_every: int = 50
    log_every: int = 500
    checkpoint_every: int = 10_000
    keep_checkpoints: int = 2
    warmup_checkpoints: int = 0
    held_out: float = 0.1
    early_stop_after: int = 0
    early_stop_on: str = "action_error"
    keep_best: str = "auto"
    best_window: int = 20
    devices: int = 1
    divide: str = "rows"
    precision: str = "float32"
    trackers: tuple[str, ...] = ("tensorboard",)
    host: str = "127.0.0.1"
    port: int = 5488

    def __post_init__(self):
        for name in ("publish_every", "log_every", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise WarmloopError(f"learner.{name} is {getattr(self, name)}; it must be at least 1.")
        counts = ("warmup_steps", "online_steps", "frozen_steps", "updates_per_call", "warmup_checkpoints", "checkpoint_every")
        for name in (*counts, "max_utd", "early_stop_after"):
            if not 0 <= getattr(self, name) < math.inf:
                raise WarmloopError(f"learner.{name} is {getattr(self, name)}; it must be a number, and not negative.")
        for text in self.trackers:
            TrackerChoice.parse(text)
        if self.keep_best not in ("auto", "off", "keep", "act"):
            raise WarmloopError(f'learner.keep_best is "{self.keep_best}"; it must be auto, off, keep or act.')
        if self.devices < 0:
            raise WarmloopError(f"learner.devices is {self.devices}; it must be at least 1, or 0 for all.")
        if self.divide not in ("rows", "ensemble"):
            raise WarmloopError(f'learner.divide is "{self.divide}"; it must be rows or ensemble.')
        if self.precision not in ("float32", "tensorfloat32", "bfloat16"):
            raise WarmloopError(f'learner.precision is "{self.precision}"; it must be float32, tensorfloat32 or bfloat16.')
        if self.best_window < 2:
            raise WarmloopError(f"learner.best_window is {self.best_window}; it must be at least 2.")
        if not 0 <= self.port <= 65535:
            raise WarmloopError(f"learner.port is {self.port}; it must lie in [0, 65535].")
        if not 0 <= self.held_out <= 0.5:
            raise WarmloopError(f"learner.held_out is {self.held_out}; it must lie in [0, 0.5].")
        if self.early_stop_on not in ("action_error", "log_prob", "td_error"):
            raise WarmloopError(f'learner.early_stop_on is "{self.early_stop_on}"; it must be action_error, log_prob or td_error.')
        if self.min_utd != -1 and not 0 <= self.min_utd < math.inf:
            raise WarmloopError(f"learner.min_utd is {self.min_utd}; it must be a number of at least 0, or -1 for learner.max_utd.")
        if self.min_utd > self.max_utd:
            raise WarmloopError(f"learner.min_utd ({self.min_utd}) is above learner.max_utd ({self.max_utd}).")

    @property
    def least_utd(self) -> float:
        """Updates per environment step below which simulators wait; 0 where they never do."""
        return self.max_utd if self.min_utd == -1 else self.min_utd

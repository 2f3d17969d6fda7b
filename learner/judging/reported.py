"""What an actor's report says of the policy that acted: which version it was, and how its episodes ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from .tally import Tally

TRAINING, EVALUATION = "training", "evaluation"  # episodes of sampled actions, and of the policy's mean action
VERSIONS = {TRAINING: "actor/policy_version", EVALUATION: "evaluation/policy_version"}
INTERVENED = "actor/intervention_rate"
MOST_EPISODES = 10_000  # of one evaluation


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Of one training episode, or of an evaluation's.

    Attributes:
        kind: TRAINING or EVALUATION.
        version: of the weights that acted; -1 where no version did alone: a person took over, or actions were random.
        tally: successes, or returns where these are judged.
    """

    kind: str
    version: int
    tally: Tally

    @classmethod
    def of(cls, scalars: Mapping[str, float], success: bool) -> Outcome | None:
        """What a report says; None for one that tells of no episode, as of a fault, or cannot be believed."""
        kind = next((kind for kind, name in VERSIONS.items() if name in scalars), None)
        if kind is None:
            return None
        prefix = "actor" if kind == TRAINING else kind
        mean = scalars.get(f"{prefix}/success_rate" if success else f"{prefix}/episode_return")
        count = scalars.get("evaluation/episodes", 0.0) if kind == EVALUATION else 1.0
        if mean is None or not 1 <= count <= MOST_EPISODES or (success and not 0 <= mean <= 1):
            return None
        deviation = 0.0 if kind == TRAINING else scalars.get("evaluation/return_std", 0.0)
        version = -1 if kind == TRAINING and scalars.get(INTERVENED, 0.0) > 0 else int(scalars[VERSIONS[kind]])
        return cls(kind, version, Tally.successes(int(count), mean) if success else Tally.of(mean, int(count), deviation))

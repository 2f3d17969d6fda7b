"""What ends an actor's run before its time."""

from __future__ import annotations

from ..data.errors import WarmloopError
from .config import ActorConfig
from .delivery.client import Client


class Interrupted(Exception):  # noqa: N818 (not an error: a person or a supervisor wanted it)
    """The actor was told to stop within an episode, or while the environment does not get ready."""

    def __init__(self) -> None:
        super().__init__("the actor was told to stop")


class Watchdog:
    """Watches one actor's limits, step by step."""

    def __init__(self, client: Client, config: ActorConfig):
        self._client, self._config = client, config
        self._stood = 0.0  # seconds of pauses since the newest weights, of this version, came
        self._stood_at = -1

    def stood(self, seconds: float) -> None:
        """The actor stood still for so long because a person wanted it: a learner without rows has no new weights."""
        version = self._client.newest_version
        self._stood, self._stood_at = seconds + (self._stood if version == self._stood_at else 0.0), version

    def leave_if_told(self) -> None:
        """To be called while a retry waits. Raises Interrupted where the actor shall leave, and WarmloopError as the client."""
        if self._client.stopped:
            raise Interrupted

    def check(self, version: int) -> None:
        """To be called at every step with the version of the weights that act.

        Raises:
            Interrupted: a signal came and the environment is a robot; a simulator finishes its episode.
            WarmloopError: the connection has ended for good, or the weights are staler than `ActorConfig` allows.
        """
        config, client = self._config, self._client
        if client.interrupted and not config.simulator:
            raise Interrupted
        lag = client.newest_version - version
        if 0 < config.max_policy_lag < lag:
            raise WarmloopError(
                f"The policy is {lag} updates behind the learner's, and actor.max_policy_lag is {config.max_policy_lag}; "
                "let new weights take over more often (actor.swap), or raise the limit."
            )
        age = client.weights_age - (self._stood if client.newest_version == self._stood_at else 0.0)
        if 0 < config.max_weights_age < age:
            raise WarmloopError(
                f"No new weights have come for {age:.0f} s, and actor.max_weights_age is {config.max_weights_age:g}; "
                "see whether the learner still learns, or raise the limit."
            )

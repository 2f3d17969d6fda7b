"""What ends an actor's run before its time, and how the robot is left then: at rest."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from ..data.errors import WarmloopError
from .client import Client
from .config import ActorConfig
from .environment import Environment

log = logging.getLogger(__name__)


class Interrupted(Exception):  # noqa: N818 (not an error: a person or a supervisor wanted it)
    """A robot was told to stop within an episode."""


class Watchdog:
    """Watches one actor's limits, step by step, and brings the environment to a safe stop where the run ends out of order."""

    def __init__(self, environment: Environment, client: Client, config: ActorConfig):
        self._environment, self._client, self._config = environment, client, config

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
        if 0 < config.max_weights_age < client.weights_age:
            raise WarmloopError(
                f"No new weights have come for {client.weights_age:.0f} s, and actor.max_weights_age is {config.max_weights_age:g}; "
                "see whether the learner still learns, or raise the limit."
            )

    @contextlib.contextmanager
    def guarding(self, within_episode: Callable[[], bool]) -> Iterator[None]:
        """Calls the environment's `safe_stop()` where the block ends by an exception, or by a generator's close within an episode.

        `Interrupted` ends here; everything else goes on.
        """
        try:
            yield
        except Interrupted:
            self._stop_safely("the actor was told to stop")
        except GeneratorExit:
            if within_episode():
                self._stop_safely("the run ended within an episode")
            raise
        except BaseException as error:
            self._stop_safely(str(error) or type(error).__name__)
            raise

    def _stop_safely(self, reason: str) -> None:
        try:
            stopped = self._environment.safe_stop()
        except Exception:  # whatever a robot's driver raises; the reason to stop matters more
            log.exception("safe_stop() failed: see to the robot. It was called because: %s", reason)
            return
        if stopped:
            log.warning("The environment was brought to a safe stop: %s", reason)
        elif not self._config.simulator:
            log.warning("The environment has no safe_stop(): see that the robot stands still. The run ended: %s", reason)

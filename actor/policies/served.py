"""A policy that another process serves, `socket:HOST:PORT`: one whose packages do not go with these, such as LeRobot's.

`policy_server.py` is the other side, and says what is sent.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import numpy as np

from ...data.action_limits import ActionLimits
from ...data.errors import EnvironmentFault, WarmloopError
from ...data.transition import PyTree, Spec
from ..environment.environment import Environment
from . import policy_server

CONNECT_SECONDS = 5.0
HELLO_SECONDS = 60.0  # in which the other side may wait for another client's step
ANSWER_SECONDS = 10.0
HOW = "start it there by `python policy_server.py --lerobot=CHECKPOINT --port=PORT` (docs/howto/improve_a_policy.md)"


class ServedPolicy:
    """A client of a policy's server. It connects where an episode begins, and again where the connection was lost.

    Args:
        address: HOST:PORT.
        spec: the shapes of the observations that it is asked about.
        limits: of the environment's actions.
    """

    def __init__(self, address: str, spec: Spec, limits: ActionLimits):
        host, _, port = address.rpartition(":")
        if not (host and port.isdigit() and 0 < int(port) < 2**16):
            raise WarmloopError(f"socket:{address} names no server; write socket:HOST:PORT, as in socket:127.0.0.1:7788.")
        self._address, self._place, self._spec, self._limits = address, (host.strip("[]"), int(port)), spec, limits
        self._connection: socket.socket | None = None
        self._met, self._scaled = False, True

    def begin(self, seed: int) -> None:
        """An episode begins. Raises WarmloopError where nobody answers, or the policy does not fit; once one has, EnvironmentFault."""
        if self._connection is None:
            self._meet()
        self._ask({"kind": "begin", "seed": int(seed)}, "ok")

    def drop_plan(self, done: np.ndarray) -> None:
        """Plans anew at the next step."""
        self._ask({"kind": "drop"}, "ok")

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        """The action `[A]` in [-1, 1]. Raises EnvironmentFault where it does not come in time, or is none."""
        parts = observation if isinstance(observation, dict) else {"": observation}
        arrays = {leaf.name: np.asarray(parts[leaf.name], leaf.dtype) for leaf in self._spec.observation}
        action = self._ask({"kind": "act", "step": int(step)}, "action", arrays)["action"]
        if action.shape != (self._spec.action_dim,) or not np.isfinite(action).all():
            raise self._lost(f"gave {action!r:.80}, and the environment takes {self._spec.action_dim} finite numbers")
        scaled = action if self._scaled else self._limits.scale(action)
        return np.clip(scaled, -1.0, 1.0).astype(np.float32)

    def close(self) -> None:
        """Lets the connection go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _meet(self) -> None:
        try:
            self._connection = socket.create_connection(self._place, CONNECT_SECONDS)
        except OSError as error:
            raise self._lost(f"does not answer ({error}); {HOW}") from error
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        shapes = {leaf.name: leaf.shape for leaf in self._spec.observation}
        hello = {"kind": "hello", "version": policy_server.VERSION, "observation": shapes, "actions": self._spec.action_dim}
        header, _ = self._exchange(hello, {}, HELLO_SECONDS)
        if header.get("kind") != "hello" or header.get("version") != policy_server.VERSION:
            raise self._lost("is no policy's server")
        self._met, self._scaled = True, header.get("units") == "scaled"

    def _ask(self, header: dict[str, Any], expected: str, arrays: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        if self._connection is None:
            raise self._lost("has no connection")
        answer, given = self._exchange(header, arrays or {}, ANSWER_SECONDS)
        if answer.get("kind") != expected or (expected == "action" and "action" not in given):
            raise self._lost(f"answered {answer!r:.80}")
        return given

    def _exchange(
        self, header: dict[str, Any], arrays: dict[str, np.ndarray], seconds: float
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        assert self._connection is not None
        try:
            self._connection.settimeout(seconds)
            policy_server.send(self._connection, header, arrays)
            message = policy_server.receive(self._connection)
        except TimeoutError:
            raise self._lost(f"gave no answer in {seconds:g} seconds") from None
        except (OSError, policy_server.Refused) as error:
            raise self._lost(f"broke off ({error})") from error
        if message is None:
            raise self._lost("closed the connection")
        if message[0].get("kind") == "error":
            raise self._lost(f"says: {str(message[0].get('said'))[:500]}")
        return message

    def _lost(self, said: str) -> WarmloopError:
        """What to say, without the connection: a plain mistake until the server was met, and then a fault, which costs its episode."""
        with contextlib.suppress(OSError):
            self.close()
        kind = EnvironmentFault if self._met else WarmloopError
        return kind(f"The policy at socket:{self._address} {said}.")


def served_policy(address: str, environment: Environment) -> ServedPolicy:
    """The policy that is served at HOST:PORT. Raises WarmloopError where that is no address."""
    return ServedPolicy(address, environment.spec, environment.limits)

"""A robot behind a TCP socket as a Gymnasium environment: a template for your own.

What to change is in `reset`, `step` and `_observation`; what to keep is that every wait has an end, that steps come at a steady rate,
that the constructor touches no robot (commands make an environment just to learn its spaces), and `safe_stop`.
"""

from __future__ import annotations

import base64
import json
import socket
import time
from typing import Any

import gymnasium as gym
import numpy as np

from warmloop.data.errors import EnvironmentFault, WarmloopError

REACHED = 0.1  # radians from the target
PICTURE = (32, 32, 3)


class Line:
    """The connection: one request, one answer, each a line of JSON, and neither takes longer than `timeout` seconds."""

    def __init__(self, address: tuple[str, int], timeout: float):
        self._name = "{}:{}".format(*address)
        try:
            self._socket = socket.create_connection(address, timeout)
        except OSError as error:
            raise WarmloopError(f"There is no robot at {self._name} ({error}); start its server, or give kwargs.port.") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a small request is sent at once
        self._answers = self._socket.makefile("rb")

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        try:
            self._socket.sendall(json.dumps({"do": what, **arguments}).encode() + b"\n")
            answer = json.loads(self._answers.readline() or b"null")
        except (OSError, ValueError) as error:
            raise EnvironmentFault(f'The robot at {self._name} did not answer "{what}": {error}.') from error
        if answer is None or "error" in answer:
            raise EnvironmentFault(f'The robot at {self._name} answered "{what}" by {answer["error"] if answer else "hanging up"}.')
        return answer

    def close(self) -> None:
        self._answers.close()
        self._socket.close()


class Rate:
    """A steady beat of `hz`: `wait` sleeps until the next, and says whether it came too late for it."""

    def __init__(self, hz: float):
        self.period, self._next = 1.0 / hz, 0.0

    def restart(self) -> None:
        self._next = time.monotonic() + self.period

    def wait(self) -> bool:
        left = self._next - time.monotonic()
        time.sleep(max(left, 0.0))
        self._next = self._next + self.period if left > -self.period else time.monotonic() + self.period
        return left < 0.0


class RobotEnv(gym.Env):
    """Two joints that are told velocities, and have reached their target where both are within `REACHED` of it.

    Args:
        host, port: of the robot's server.
        hz: steps per second.
        timeout: seconds for each answer of the robot.
        camera: also observe its picture.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  # as Gymnasium has it

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 5100,
        hz: float = 10.0,
        timeout: float = 1.0,
        camera: bool = False,
        render_mode: str | None = None,
    ):
        self._address, self._timeout, self._camera, self.render_mode = (host, port), timeout, camera, render_mode
        self._line: Line | None = None
        self._rate = Rate(hz)
        self.metadata = {**self.metadata, "render_fps": round(hz)}
        numbers = {name: gym.spaces.Box(-np.inf, np.inf, (2,), np.float32) for name in ("position", "velocity", "target")}
        pictures = {"camera": gym.spaces.Box(0, 255, PICTURE, np.uint8)} if camera else {}
        self.observation_space = gym.spaces.Dict({**numbers, **pictures})
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)  # radians per second

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Brings the robot home. The seed decides what can be decided on a robot: here, the target."""
        super().reset(seed=seed)
        if self._line is None:
            self._line = Line(self._address, self._timeout)
        self._line.ask("stop")
        self._line.ask("reset", seed=int(self.np_random.integers(2**31)))
        self._rate.restart()
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Moves by `action` until the next beat, and looks. A time limit is Gymnasium's; success ends an episode by the config."""
        if self._line is None:
            raise WarmloopError("reset() comes before the first step().")
        self._line.ask("move", velocity=[float(velocity) for velocity in action])
        late = self._rate.wait()
        observation = self._observation()
        success = bool(np.abs(observation["position"] - observation["target"]).max() < REACHED)
        return observation, float(success), False, False, {"success": success, "late": late}

    def render(self) -> np.ndarray:
        """The camera's picture."""
        if self._line is None:
            raise WarmloopError("reset() comes before the first render().")
        return _picture(self._line.ask("state", camera=True))

    def safe_stop(self) -> None:
        """Brings the robot to rest, by a new connection, from any thread: the old one may be what broke, or be waiting in `step`.

        One that was never reached does not move.
        """
        if self._line is None:
            return
        self.disconnect()
        line = Line(self._address, self._timeout)
        line.ask("stop")
        line.close()

    def close(self) -> None:
        if self._line is not None:
            self._line.ask("stop")
        self.disconnect()

    def disconnect(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _observation(self) -> dict[str, np.ndarray]:
        assert self._line is not None
        state = self._line.ask("state", camera=self._camera)
        pictures = {"camera": _picture(state)} if self._camera else {}
        return {name: np.asarray(state[name], np.float32) for name in ("position", "velocity", "target")} | pictures


def reach(observation: dict[str, np.ndarray]) -> np.ndarray:
    """A scripted demonstrator, for `collect --policy=robot_env:reach`: straight to the target."""
    return np.clip(3.0 * (observation["target"] - observation["position"]), -1.0, 1.0)


def _picture(state: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(state["camera"]), np.uint8).reshape(PICTURE)


gym.register("Robot-v0", entry_point="robot_env:RobotEnv", max_episode_steps=50)

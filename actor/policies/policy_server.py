"""Serves a policy that lives in another Python environment than warmloop's, over a local socket: LeRobot's, or one of your own.

    python policy_server.py --lerobot=CHECKPOINT --port=7788             # a folder or a name on the hub, as LeRobot's own commands take it
    python policy_server.py --policy=my_policy.py:Make --port=7788       # any class or object with begin(seed) and __call__(observation)

It needs NumPy, and what the policy needs; nothing of warmloop. Copy it, or run it where it lies. warmloop connects by `socket:HOST:PORT`.

A message is the length of its header (4 bytes, big-endian), the header (JSON, at most 64 KiB), and the arrays that the header's "arrays"
lists as [name, dtype, shape], one behind the other (at most 64 MiB in all). The client says hello with the shapes of its observations,
then begin, act and drop; each is answered by "ok", by an action, or by "error" with a sentence. Nothing is unpickled. Whoever can reach the
port can ask, so it listens on this machine alone unless --host says otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib.util
import json
import math
import random
import socket
import struct
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 1
HEADER_BYTES, ARRAY_BYTES = 64 << 10, 64 << 20
TYPES = ("float32", "uint8")
CONNECTIONS = 16
IDLE_SECONDS = 3_600.0
Shapes = dict[str, tuple[int, ...]]


class Refused(Exception):  # noqa: N818 (a sentence for the client)
    """What the client asks cannot be done; it is told why."""


def receive(connection: socket.socket) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """One message, the header and its arrays by name; None where the other side has gone. Raises Refused for what is no message."""
    begin = _exactly(connection, 4)
    if begin is None:
        return None
    (length,) = struct.unpack(">I", begin)
    if length > HEADER_BYTES:
        raise Refused(f"a header of {length} bytes; {HEADER_BYTES} is the most")
    try:
        header = json.loads(_exactly(connection, length) or b"")
        listed = [(str(name), str(kind), tuple(map(int, shape))) for name, kind, shape in header.get("arrays", [])]
    except (ValueError, TypeError, AttributeError) as error:
        raise Refused(f"a header that is none ({error})") from None
    if any(kind not in TYPES or min(shape, default=1) < 0 for _, kind, shape in listed):
        raise Refused(f"arrays that are not of {' or '.join(TYPES)}")
    sizes = [math.prod(shape) * np.dtype(kind).itemsize for _, kind, shape in listed]
    if sum(sizes) > ARRAY_BYTES:
        raise Refused(f"arrays of {sum(sizes)} bytes; {ARRAY_BYTES} is the most")
    arrays = {}
    for (name, kind, shape), size in zip(listed, sizes, strict=True):
        data = _exactly(connection, size)
        if data is None:
            return None
        arrays[name] = np.frombuffer(data, kind).reshape(shape)
    return header, arrays


def send(connection: socket.socket, header: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> None:
    """Sends one message."""
    arrays = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    listed = [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()]
    text = json.dumps(header | {"arrays": listed}).encode()
    connection.sendall(b"".join([struct.pack(">I", len(text)), text, *(array.tobytes() for array in arrays.values())]))


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(count - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)


class Own:
    """A policy of one's own: `begin(seed)`, `__call__(observation)`, and `drop_plan()` and `fits(observation_shapes)` where it has them."""

    units, takes_bare = "scaled", True

    def __init__(self, name: str):
        path, _, attribute = name.partition(":")
        specification = importlib.util.spec_from_file_location("served_policy", path)
        if specification is None or specification.loader is None or not Path(path).is_file():
            sys.exit(f"--policy={name}: there is no file {path}; write FILE.py:NAME.")
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        self._made = getattr(module, attribute, None)
        if self._made is None:
            sys.exit(f"--policy={name}: {path} has no {attribute}.")
        self.name = f"{attribute} of {path}"

    def for_client(self, shapes: Shapes, actions: int) -> Any:
        """A policy for one client, whose observations have these shapes."""
        policy: Any = self._made() if isinstance(self._made, type) else copy.deepcopy(self._made)
        if hasattr(policy, "fits") and (reason := policy.fits(shapes)):
            raise Refused(reason)
        return policy


class LeRobot:
    """A policy that LeRobot trained, with its own processors; observations are found by their names.

    Of the client's parts `state`, `images.front` or `observation.images.front` becomes LeRobot's `observation.images.front`; a part that is
    called otherwise is named by --rename. Pictures come as [H, W, C] uint8.
    """

    takes_bare = False

    def __init__(self, checkpoint: str, device: str, units: str, task: str, rename: dict[str, str]):
        import torch  # pyright: ignore[reportMissingImports]
        from lerobot.configs.policies import PreTrainedConfig  # pyright: ignore[reportMissingImports]
        from lerobot.policies.factory import (  # pyright: ignore[reportMissingImports]
            get_policy_class,
            make_pre_post_processors,
        )

        config = PreTrainedConfig.from_pretrained(checkpoint)
        config.device = device
        policy = get_policy_class(config.type).from_pretrained(checkpoint, config=config)
        policy.to(device).eval()
        overrides = {"device_processor": {"device": device}}
        self._before, self._after = make_pre_post_processors(config, pretrained_path=checkpoint, preprocessor_overrides=overrides)
        self._torch, self._policy, self.units, self._task, self._rename = torch, policy, units, task, rename
        self.name, self._wanted = f"{config.type} of {checkpoint}", config.input_features
        self._actions = config.output_features["action"].shape[0]

    def for_client(self, shapes: Shapes, actions: int) -> Remembering:
        """A policy for one client; the weights are shared, what it remembers of an episode is not."""
        if actions != self._actions:
            raise Refused(f"it gives actions of {self._actions} numbers, and the environment takes {actions}")
        names = {self._rename.get(name, _called(name, self._wanted)): name for name in shapes}
        for wanted, feature in self._wanted.items():
            shape = tuple(shapes[names[wanted]]) if wanted in names else None
            if shape is None:
                has = ", ".join(name or "a bare array" for name in shapes)
                raise Refused(f'it needs "{wanted}" of shape {feature.shape}, and the observations have {has}; name it by --rename')
            expected = tuple(feature.shape)
            if "images" in wanted:
                expected = (*expected[1:], expected[0])
            if shape != expected:
                raise Refused(f'it needs "{wanted}" of shape {expected}, and the observations have {shape}')
        shared = {id(tensor): tensor for tensor in (*self._policy.parameters(), *self._policy.buffers())}
        return Remembering(self, copy.deepcopy(self._policy, shared), {wanted: names[wanted] for wanted in self._wanted})

    def act(self, policy: Any, observation: dict[str, np.ndarray], names: dict[str, str]) -> np.ndarray:
        """The action, in the units of the data that LeRobot learnt from."""
        torch = self._torch
        batch: dict[str, Any] = {"task": self._task}
        for wanted, name in names.items():
            tensor = torch.from_numpy(np.array(observation[name]))
            batch[wanted] = tensor.permute(2, 0, 1).float() / 255.0 if tensor.dtype == torch.uint8 else tensor.float()
        with torch.inference_mode():
            action = self._after(policy.select_action(self._before(batch)))
        return np.asarray(action.squeeze(0).cpu(), np.float32)


class Remembering:
    """A LeRobot policy with the queues of one client."""

    def __init__(self, served: LeRobot, policy: Any, names: dict[str, str]):
        self._served, self._policy, self._names = served, policy, names

    def begin(self, seed: int) -> None:
        self._served._torch.manual_seed(seed)
        self._policy.reset()

    def drop_plan(self) -> None:
        self._policy.reset()

    def __call__(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        return self._served.act(self._policy, observation, self._names)


def _called(name: str, wanted: Iterable[str]) -> str:
    """LeRobot's name for a part of an observation, where it has one."""
    tries = (name, f"observation.{name or 'state'}", f"observation.images.{name.rpartition('.')[2]}")
    return next((one for one in tries if one in wanted), name)


def answer(connection: socket.socket, served: Own | LeRobot, lock: threading.Lock) -> None:
    """Serves one client until it goes."""
    policy: Any = None
    expected = Shapes()
    while (message := receive(connection)) is not None:
        header, arrays = message
        kind = header.get("kind")
        if kind == "hello":
            if header.get("version") != VERSION:
                raise Refused(f"version {header.get('version')} of the protocol; this is {VERSION}, so take both files from one warmloop")
            expected = {str(name): tuple(shape) for name, shape in header["observation"].items()}
            with lock:
                policy = served.for_client(expected, int(header["actions"]))
            send(connection, {"kind": "hello", "version": VERSION, "name": served.name, "units": served.units})
        elif policy is None:
            raise Refused("nobody said hello")
        elif kind == "begin":
            with lock:
                random.seed(header["seed"])
                np.random.seed(header["seed"] % 2**32)
                policy.begin(int(header["seed"]))
            send(connection, {"kind": "ok"})
        elif kind == "drop":
            with lock:
                getattr(policy, "drop_plan", lambda: None)()
            send(connection, {"kind": "ok"})
        elif kind == "act":
            if {name: array.shape for name, array in arrays.items()} != expected:
                raise Refused("an observation of other shapes than hello said")
            with lock:
                action = np.asarray(policy(arrays[""] if served.takes_bare and set(arrays) == {""} else arrays), np.float32)
            send(connection, {"kind": "action"}, {"action": action})
        else:
            raise Refused(f"a message {kind!r:.40}, which is not known")


def attend(connection: socket.socket, served: Own | LeRobot, lock: threading.Lock, places: threading.Semaphore) -> None:
    """Serves one client, and tells it what went wrong."""
    with connection:
        connection.settimeout(IDLE_SECONDS)
        try:
            answer(connection, served, lock)
        except OSError:
            pass  # the client has gone
        except Exception as error:
            said = str(error) if isinstance(error, Refused) else f"the policy failed: {type(error).__name__}: {error}"
            print(f"refused: {said}", file=sys.stderr, flush=True)
            with contextlib.suppress(OSError):
                send(connection, {"kind": "error", "said": said[:2_000]})
        finally:
            places.release()


def serve(served: Own | LeRobot, host: str, port: int) -> None:
    """Serves until it is interrupted."""
    lock, places = threading.Lock(), threading.Semaphore(CONNECTIONS)
    with socket.create_server((host, port)) as server:
        print(f"serving {served.name} on {host}:{server.getsockname()[1]}", flush=True)
        while True:
            connection, _ = server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if places.acquire(blocking=False):
                threading.Thread(target=attend, args=(connection, served, lock, places), daemon=True).start()
            else:
                connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--lerobot", help="checkpoint that LeRobot trained, such as outputs/train/act/checkpoints/last/pretrained_model")
    which.add_argument("--policy", help="a policy of your own, FILE.py:NAME; its actions are in [-1, 1]")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7788, help="0 takes any free one")
    parser.add_argument("--device", default="cpu", help="LeRobot's device, such as cuda")
    parser.add_argument("--task", default="", help="what a language-conditioned policy is told to do")
    parser.add_argument("--rename", action="append", default=[], help="THEIRS=OURS, such as observation.images.top=front; repeatable")
    units = "of the actions that LeRobot learnt: the environment's (as its robots record), or scaled to [-1, 1] (as warmloop writes)"
    parser.add_argument("--units", choices=("environment", "scaled"), default="environment", help=units)
    given = parser.parse_args()
    renamed = {ours: theirs for theirs, _, ours in (text.partition("=") for text in given.rename)}
    served = LeRobot(given.lerobot, given.device, given.units, given.task, renamed) if given.lerobot else Own(given.policy)
    with contextlib.suppress(KeyboardInterrupt):
        serve(served, given.host, given.port)


if __name__ == "__main__":
    main()

"""Whether an exported policy does what the agent does, and how fast: the files are read back and run."""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export
from safetensors.numpy import load_file

from ...data.transition import PyTree
from .write import Exported


@dataclasses.dataclass(frozen=True)
class Report:
    """How one form of a policy compares.

    Attributes:
        name: of the form.
        difference: the largest from the agent's action, in [-1, 1].
        seconds: `[N]` of each call with one observation.
    """

    name: str
    difference: float
    seconds: np.ndarray

    def __str__(self) -> str:
        median, tail = np.quantile(self.seconds, [0.5, 0.99]) * 1e6
        return f"{self.name:<18} largest difference {self.difference:.1e}, median {median:.0f} us, 99 % below {tail:.0f} us"


def check(folder: Path, exported: Exported, raw: list[PyTree], conditioned: list[PyTree], tasks: list[str | None]) -> list[Report]:
    """The agent, its two programs and policy.py at N observations: as the environment gives them, and with the codes of their `tasks`."""
    weights, count, seed = jax.device_put(load_file(folder / "weights.safetensors")), len(raw), np.uint32(7)
    steps, batch = np.arange(count, dtype=np.int32), jax.tree.map(lambda *leaves: np.stack(leaves), *conditioned)
    single = [jax.tree.map(lambda leaf, n=n: leaf[n : n + 1], batch) for n in range(count)]
    policies = {task: load_policy(folder).Policy(folder, task) for task in set(tasks)}
    mode, sample = jax.jit(exported.act), jax.jit(exported.sample)
    mode_program, sample_program = (jax.jit(program(folder / f"{name}.stablehlo")) for name in ("policy", "sampled"))

    expected, agent_seconds = timed(lambda n: mode(weights, conditioned[n]), count)
    drawn, _ = timed(lambda n: sample(weights, conditioned[n], seed, steps[n]), count)
    shown, seconds = timed(lambda n: mode_program(weights, single[n])[0], count)
    sampled, sampled_seconds = timed(lambda n: sample_program(weights, single[n], seed, steps[n : n + 1])[0], count)
    plain, plain_seconds = timed(lambda n: policies[tasks[n]].planned(raw[n]).reshape(expected.shape[1:]), count)
    together = max(largest(mode_program(weights, batch), expected), largest(sample_program(weights, batch, seed, steps), drawn))
    return [
        Report("agent", 0.0, agent_seconds),
        Report("policy.stablehlo", max(largest(shown, expected), together), seconds),
        Report("sampled.stablehlo", max(largest(sampled, drawn), together), sampled_seconds),
        Report("policy.py", largest(plain, expected), plain_seconds),
    ]


def timed(call: Callable[[int], Any], count: int) -> tuple[np.ndarray, np.ndarray]:
    """The results `[N, …]` of `call(0)` to `call(N - 1)` and how long each took, after a first call that is not counted."""
    jax.block_until_ready(call(0))
    results, seconds = [], np.zeros(count)
    for number in range(count):
        since = time.perf_counter()
        results.append(np.asarray(call(number)))
        seconds[number] = time.perf_counter() - since
    return np.stack(results), seconds


def largest(one: Any, other: Any) -> float:
    """The largest absolute difference; NaN where there is any."""
    return float(np.max(np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64))))


def program(path: Path) -> Callable[..., jax.Array]:
    """An exported program, to be called."""
    return export.deserialize(bytearray(path.read_bytes())).call


def load_policy(folder: Path) -> Any:
    """The module policy.py of a folder."""
    specification = importlib.util.spec_from_file_location("exported_policy", folder / "policy.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module

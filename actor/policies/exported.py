"""Policies that warmloop-export wrote, as the programs of their folder have them; its policy.py is not run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export
from safetensors.numpy import load_file

from ...data.action_limits import ActionLimits
from ...data.doors.imports import told
from ...data.errors import WarmloopError
from ...data.transition import Leaf, PyTree, Spec
from ..environment.environment import Environment

ABOUT, WEIGHTS = "policy.json", "weights.safetensors"
MODE, SAMPLED = "policy.stablehlo", "sampled.stablehlo"


class ExportedPolicy:
    """An exported program; what it samples depends on the episode's seed and the step, as the agent's actions do.

    Args:
        act: `(observation [1, …], seed, step [1])` to the action `[1, A]`, or to the plan `[1, h, A]`.
        execute: actions of a plan that are done before the next one is made.
    """

    def __init__(self, act: Callable[[PyTree, np.uint32, np.ndarray], jax.Array], execute: int = 1):
        self._act, self._execute, self._seed, self._left = act, execute, np.uint32(0), list[np.ndarray]()

    def begin(self, seed: int) -> None:
        self._seed, self._left = np.uint32(seed), []

    def drop_plan(self, done: np.ndarray) -> None:
        """Plans anew at the next step."""
        self._left = []

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        if not self._left:
            one = jax.tree.map(lambda leaf: np.asarray(leaf)[None], observation)
            planned = np.asarray(self._act(one, self._seed, np.array([step], np.int32))[0])
            self._left = list(planned.reshape(-1, planned.shape[-1])[: self._execute])
        return self._left.pop(0)


def exported_policy(path: str | Path, environment: Environment, deterministic: bool = False) -> ExportedPolicy:
    """The policy in the folder `path`, by its mode or sampled.

    Raises:
        WarmloopError: a file is missing or damaged, or the policy is of other observations, actions or tasks than the environment's.
    """
    folder, about = Path(path).expanduser(), _about(path)
    try:
        leaves = tuple(Leaf(name, tuple(leaf["shape"]), leaf["dtype"]) for name, leaf in sorted(about["observation"].items()))
        spec, tasks = Spec(leaves, int(about["action"]["shape"][0])), tuple(about["tasks"]["names"])
        execute = int((about.get("plan") or {"execute": 1})["execute"])
        weights = jax.device_put(load_file(folder / WEIGHTS))
        program = jax.jit(export.deserialize(bytearray((folder / (MODE if deterministic else SAMPLED)).read_bytes())).call)
    except Exception as error:  # of what is no program flatbuffers raises any of several types
        raise WarmloopError(f"The exported policy in {folder} is damaged ({told(error)}); export it again.") from error
    own = Spec(tuple(sorted(environment.raw_spec.observation, key=lambda leaf: leaf.name)), environment.raw_spec.action_dim)
    if difference := own.difference(spec, environment.config.id, "the exported policy"):
        raise WarmloopError(f"The exported policy in {folder} does not fit the environment: {difference}.")
    if tasks != environment.tasks.names:
        known, asked = (", ".join(names) or "a single one" for names in (tasks, environment.tasks.names))
        raise WarmloopError(f"The exported policy in {folder} is of the tasks {known}, and the environment has {asked}; give its --config.")

    def act(observation: PyTree, seed: np.uint32, step: np.ndarray) -> jax.Array:
        return program(weights, observation) if deterministic else program(weights, observation, seed, step)

    return ExportedPolicy(act, execute)


def exported_leaves(path: str | Path) -> tuple[str, ...]:
    """The parts of the observations of the policy in the folder `path`. Raises WarmloopError where it is damaged."""
    return tuple(_about(path).get("observation", {}))


def exported_limits(path: str | Path) -> ActionLimits:
    """What -1 and 1 are for the policy in the folder `path`. Raises WarmloopError where it is damaged."""
    action = _about(path).get("action", {})
    try:
        return ActionLimits(action["low"], action["high"])
    except (KeyError, TypeError, ValueError) as error:
        raise WarmloopError(f"{Path(path) / ABOUT} has no action limits; export the policy again.") from error


def _about(path: str | Path) -> dict[str, Any]:
    file = Path(path).expanduser() / ABOUT
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise WarmloopError(f"{file} cannot be read ({error}); give the folder that warmloop-export wrote.") from error
    if not isinstance(found, dict):
        raise WarmloopError(f"{file} holds no description of a policy; export it again.")
    return found

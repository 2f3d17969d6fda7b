"""Writing a policy's folder.

policy.stablehlo      (weights, observation [B, …]) -> action [B, A] in [-1, 1], by the policy's mode; made by jax.export
sampled.stablehlo     (weights, observation [B, …], seed, step [B]) -> sampled action [B, A], as an actor samples it
                      of a policy that acts in chunks both give the plan [B, h, A]
weights.safetensors   both programs' weights, the normaliser's statistics among them
policy.py             the first program in NumPy alone, and in the environment's units; constants.safetensors where it needs some
policy.json           spaces, action limits, normaliser, networks, tasks; `plan`: actions of a chunk, and how many of them are done
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from safetensors.numpy import save

from ...data.errors import WarmloopError
from ...data.transition import PyTree, example
from ..base import Agent
from . import policy_template
from .numpy_source import numpy_source

PLATFORMS = ("cpu", "cuda", "tpu")
UNDEFINED = "  # noqa: F821  # pyright: ignore[reportUndefinedVariable]"  # of `act`, which only the written file has
KEY = 0  # of what a policy draws even when it acts by its mode


@dataclasses.dataclass(frozen=True)
class Exported:
    """A policy to export.

    Attributes:
        agent, actor: the algorithm, and the parameters that act.
        about: for policy.json: `environment`, `observation` (by leaf, as recorded: shape, dtype, low, high), `action` (low, high: what
            -1 and 1 are), `tasks` (names, codes), and whatever else describes it.
    """

    agent: Agent
    actor: PyTree
    about: dict[str, Any]

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The actor's leaves by name, such as `normaliser.mean`."""
        leaves = jax.tree_util.tree_leaves_with_path(self.actor)
        return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}

    @property
    def plan(self) -> dict[str, int] | None:
        """Of a policy that acts in chunks the `horizon`, and how many of its actions it does (`execute`); None of others."""
        settings: Any = self.agent.config
        if not (hasattr(self.agent, "plan") and hasattr(settings, "executed")):
            return None
        return {"horizon": settings.horizon, "execute": settings.executed}

    def act(self, weights: dict[str, jax.Array], observation: PyTree) -> jax.Array:
        """The action `[A]` of one observation, or the plan `[h, A]`, by the policy's mode."""
        return self._act(weights, observation, jax.random.key(KEY), deterministic=True)

    def sample(self, weights: dict[str, jax.Array], observation: PyTree, seed: jax.Array, step: jax.Array) -> jax.Array:
        """The action `[A]`, or the plan `[h, A]`, that an actor samples at a step of the episode of a seed."""
        return self._act(weights, observation, jax.random.fold_in(jax.random.key(seed), step), deterministic=False)

    def _act(self, weights: dict[str, jax.Array], observation: PyTree, key: jax.Array, deterministic: bool) -> jax.Array:
        actor = jax.tree.unflatten(jax.tree.structure(self.actor), [weights[name] for name in self.weights])
        agent: Any = self.agent
        acts = agent.plan(actor, observation, key, deterministic) if self.plan else agent.act(actor, observation, key, (), deterministic)[0]
        return jnp.clip(acts, -1.0, 1.0)


def check_exportable(agent: Agent) -> None:
    """Raises WarmloopError for an agent that says why it is not exported."""
    if reason := getattr(agent, "not_exported", ""):
        raise WarmloopError(f"{reason}.")


def write(folder: Path, exported: Exported) -> None:
    """Writes all files into an existing folder.

    Raises:
        WarmloopError: the policy cannot be exported, or has an operation that has no NumPy form here.
    """
    check_exportable(exported.agent)
    weights = exported.weights
    source, constants = _policy_source(exported, weights)
    (folder / "policy.py").write_text(source, encoding="utf-8")
    for name, program in _programs(exported, weights).items():
        (folder / name).write_bytes(program)
    (folder / "weights.safetensors").write_bytes(save(weights))
    if constants:
        named = {f"{number:04d}": array for number, array in enumerate(constants)}
        (folder / "constants.safetensors").write_bytes(save(named))
    normaliser = {name: array.tolist() for name, array in weights.items() if name.startswith("normaliser.")}
    shapes = {name: array.shape for name, array in weights.items()}
    about = exported.about | {"normaliser": normaliser, "weights": shapes, "plan": exported.plan}
    (folder / "policy.json").write_text(json.dumps(plain(about), indent=1) + "\n")


def plain(value: Any) -> Any:
    """A value as strict JSON has it: null for what is not finite."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _programs(exported: Exported, weights: dict[str, np.ndarray]) -> dict[str, bytearray]:
    """The serialised programs, for a batch of any size."""
    (batch,) = export.symbolic_shape("b")
    rows = example(exported.agent.spec).observation
    observation = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((batch, *leaf.shape[1:]), leaf.dtype), rows)
    given = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), weights)
    seed, step = jax.ShapeDtypeStruct((), jnp.uint32), jax.ShapeDtypeStruct((batch,), jnp.int32)
    mode, sample = jax.vmap(exported.act, (None, 0)), jax.vmap(exported.sample, (None, 0, None, 0))
    return {
        "policy.stablehlo": export.export(jax.jit(mode), platforms=PLATFORMS)(given, observation).serialize(),
        "sampled.stablehlo": export.export(jax.jit(sample), platforms=PLATFORMS)(given, observation, seed, step).serialize(),
    }


def _policy_source(exported: Exported, weights: dict[str, np.ndarray]) -> tuple[str, list[np.ndarray]]:
    """policy.py, and the constants that it needs."""
    spec = exported.agent.spec
    observation = jax.tree.map(lambda leaf: leaf[0], example(spec).observation)
    arguments = [f'w["{name}"]' for name in sorted(weights)] + [f'o["{leaf.name}"]' for leaf in spec.observation]
    written = numpy_source(jax.make_jaxpr(exported.act)(weights, observation), arguments)
    head = Path(policy_template.__file__).read_text(encoding="utf-8").replace(UNDEFINED, "")
    about = "The action [A], or the plan [h, A], in [-1, 1] from weights, constants and the observation's leaves."
    act = f'def act(w, c, o):\n    """{about}"""\n{written.body}\n'
    return f"{head}\n\n{act}", written.constants

"""Rows and blocks of a small dict of observations, for tests of agents."""

import jax
import jax.numpy as jnp
import numpy as np

from warmloop.agents import AGENTS
from warmloop.data.mixing import StretchBatch
from warmloop.data.replay.windows import ROW
from warmloop.data.transition import Batch, Leaf, Spec, beside, example, spec_beside

SPEC = Spec((Leaf("pose", (3,), "float32"), Leaf("velocity", (2,), "float32")), 3)
SMALL = {"hidden": (16, 16), "batch_size": 8, "utd": 2}
LITTLE = {  # beside that, of agents that search for plans or learn from long windows
    "mpc": {"latent_dim": 16, "ensemble": 3, "population": 16, "proposals": 4, "elites": 4, "iterations": 2},
    "pets": {"plan_horizon": 3, "plan_samples": 16, "plan_elites": 4, "plan_iterations": 2},
    "dreamer": {"groups": 4, "length": 8, "imagined_steps": 3},
    "trajectory_transformer": {"bins": 20, "length": 5, "plan_steps": 3, "beams": 8, "context": 3, "heads": 2},
}
PROPOSED = spec_beside(SPEC, 2)  # with two actions of a base policy
KEY = jax.random.key(5)


def small_settings(name):
    """The settings of a registered agent, at a size that compiles and runs at once."""
    return AGENTS[name][1](**SMALL, **LITTLE.get(name, {}))


def rows_of(count, seed=0, spec=SPEC):
    rng = np.random.default_rng(seed)

    def observation():
        seen = {
            "velocity": rng.normal(0, 4, (count, 2)).astype(np.float32),
            "pose": rng.normal((1, -3, 2), (2, 0.5, 1), (count, 3)).astype(np.float32),
        }
        return seen if spec == SPEC else beside(seen, rng.uniform(-1, 1, (count, 6)).astype(np.float32))

    return example(spec, count).replace(
        observation=observation(),
        next_observation=observation(),
        action=np.tanh(rng.normal(size=(count, 3))).astype(np.float32),
        reward=rng.normal(size=count).astype(np.float32),
        mc_return=rng.normal(size=count).astype(np.float32),
    )


def block_of(*lead, window=ROW, spec=SPEC):
    """Rows, or the chunks or sequences of a window, some of which an episode's end cuts short."""
    if window.gives == "sequence":
        return sequences_of(*lead, length=window.length)
    rows = jax.tree.map(lambda x: jnp.asarray(x).reshape(*lead, *x.shape[1:]), rows_of(int(np.prod(lead)), 1, spec))
    one = jnp.ones(lead)
    fields = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
    fields |= {"weight": one, "actor_weight": one, "offline": one.astype(bool)}
    if window.is_row:
        return Batch(**fields)
    rng = np.random.default_rng(2)
    there = np.minimum(rng.integers(1, 2 * window.length, lead), window.length)
    action = np.tanh(rng.normal(size=(*lead, window.length, 3))).astype(np.float32)
    valid = np.arange(window.length) < there[..., None]
    return StretchBatch(**fields | {"action": jnp.asarray(action)}, valid=jnp.asarray(valid))


def sequences_of(*lead, length):
    """Windows `[*lead, length]` of rows, every other one from its episode's beginning, some cut short."""
    count = int(np.prod(lead))
    rows = jax.tree.map(lambda x: jnp.asarray(x).reshape(*lead, length, *x.shape[1:]), rows_of(count * length, 1))
    begins = 3 * (np.arange(count) % 2).reshape(*lead, 1).astype(np.int32)
    there = np.random.default_rng(2).integers(1, 2 * length, lead)
    fields = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
    fields["step"] = jnp.asarray(begins + np.arange(length, dtype=np.int32))
    one = jnp.ones(lead)
    valid = jnp.asarray(np.arange(length) < there[..., None])
    return StretchBatch(**fields, weight=one, actor_weight=one, offline=one.astype(bool), valid=valid)


def assert_same(a, b):
    def check(x, y):
        x, y = (jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf for leaf in (x, y))
        np.testing.assert_array_equal(x, y)

    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(check, a, b)

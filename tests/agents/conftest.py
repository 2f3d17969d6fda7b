import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.data.transition import Batch, Leaf, Spec, example

SPEC = Spec((Leaf("", (5,), "float32"),), 3)


@pytest.fixture(scope="session")
def make_batch():
    """A random block `[*lead]` of transitions."""

    def make(*lead, seed=0, **fields):
        rng = np.random.default_rng(seed)
        blank = jax.tree.map(lambda x: np.broadcast_to(x[0], (*lead, *x.shape[1:])), example(SPEC))
        values = {name: getattr(blank, name) for name in blank.__dataclass_fields__}
        values |= {
            "observation": rng.normal(size=(*lead, 5)),
            "next_observation": rng.normal(size=(*lead, 5)),
            "action": np.tanh(rng.normal(size=(*lead, 3))),
            "reward": rng.normal(size=lead),
            "mask": rng.integers(0, 2, lead),
            "weight": rng.uniform(0.2, 1, lead),
            "actor_weight": rng.uniform(0.5, 1.5, lead),
            "offline": np.broadcast_to(np.arange(lead[-1]) < lead[-1] // 2, lead),
        }
        values |= fields
        floats = {name: np.asarray(x, np.float32) if np.asarray(x).dtype == np.float64 else x for name, x in values.items()}
        floats["mask"] = np.asarray(floats["mask"], np.float32)
        return jax.tree.map(jnp.asarray, Batch(**floats))

    return make


@pytest.fixture(scope="session")
def shaken():
    """A copy of parameters, each moved by Gaussian noise: heads that start near zero hide mistakes."""

    def shake(params, seed, scale=0.3):
        leaves, structure = jax.tree.flatten(params)
        keys = jax.random.split(jax.random.key(seed), len(leaves))
        moved = [x + scale * jax.random.normal(key, x.shape) for x, key in zip(leaves, keys, strict=True)]
        return jax.tree.unflatten(structure, moved)

    return shake

"""States whose networks are no longer what they were initialised to."""

import jax


def shaken(state, *fields, scale=0.3):
    """`state` with noise on the parameters in `fields`, each its own, so that no two networks agree and none is near zero."""
    for seed, field in enumerate(fields):
        leaves, structure = jax.tree.flatten(getattr(state, field))
        keys = jax.random.split(jax.random.key(seed), len(leaves))
        noisy = [leaf + scale * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
        state = state.replace(**{field: jax.tree.unflatten(structure, noisy)})
    return state

"""A problem of one step: in every state, two actions were demonstrated, the better one in fewer rows."""

import jax
import jax.numpy as jnp
import numpy as np

from warmloop.data.transition import Batch, Leaf, Spec, example

SPEC = Spec((Leaf("", (2,), "float32"),), 1)
GOOD, BAD = 0.8, -0.8


def block(updates: int, batch_size: int = 64) -> Batch:
    """`[updates, batch_size]` rows: three of eight take GOOD and are rewarded, the others take BAD; every row is terminal."""
    rng = np.random.default_rng(0)
    lead = (updates, batch_size)
    good = np.broadcast_to(np.arange(batch_size) % 8 < 3, lead)
    action = np.where(good, GOOD, BAD) + 0.05 * rng.standard_normal(lead)
    values = {name: np.broadcast_to(leaf[0], (*lead, *leaf.shape[1:])) for name, leaf in vars(example(SPEC)).items()}
    values |= {"observation": rng.standard_normal((*lead, 2)), "next_observation": rng.standard_normal((*lead, 2))}
    values |= {"action": action[..., None], "reward": good, "mask": np.zeros(lead)}
    values |= {"weight": np.ones(lead), "actor_weight": np.ones(lead), "offline": np.ones(lead, bool)}
    f32 = ("observation", "next_observation", "action", "reward", "mask", "weight", "actor_weight")
    return Batch(**{name: jnp.asarray(leaf, jnp.float32 if name in f32 else None) for name, leaf in values.items()})


STATES = np.random.default_rng(9).standard_normal((32, 2)).astype(np.float32)


def trained(agent, rounds: int = 8):
    """The agent's state after `rounds` updates of 100 minibatches each."""
    state, update = jax.jit(agent.init)(jax.random.key(0), example(SPEC)), jax.jit(agent.update)
    for _ in range(rounds):
        state, _, _ = update(state, block(100))
    return state


def actions(agent, state) -> np.ndarray:
    """Deterministic actions `[32]` in STATES, which are not those it was trained in."""
    actor = agent.actor_params(state)
    return np.asarray(jax.vmap(lambda o: agent.act(actor, o, jax.random.key(0), (), True)[0])(STATES))[:, 0]

"""Bounds of what is learnt: their values are a clip's, and every agent finds the way back from its bounds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from warmloop.agents import (
    AWAC,
    BC,
    BCQ,
    CQL,
    IQL,
    SAC,
    AWACConfig,
    BCConfig,
    BCQConfig,
    CQLConfig,
    GraspSAC,
    GraspSACConfig,
    IQLConfig,
    SACConfig,
)
from warmloop.agents.networks.bounds import bounded, factor
from warmloop.agents.networks.networks import apply
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.transition import Leaf, Spec, example
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import run_steps

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
SMALL = {"hidden": (16, 16), "utd": 1, "batch_size": 8}
PLAIN = ReplayConfig(capacity=10, alpha=0.0)
# Every agent with a learnt deviation, and where its head is.
GAUSSIANS = {
    "sac": SAC(SACConfig(ensemble=2, **SMALL), SPEC),
    "cql": CQL(CQLConfig(ensemble=2, **SMALL), SPEC),
    "sac_grasp": GraspSAC(GraspSACConfig(ensemble=2, **SMALL), SPEC),
    "bc": BC(BCConfig(**SMALL), SPEC),
    "iql": IQL(IQLConfig(**SMALL), SPEC),
    "awac": AWAC(AWACConfig(**SMALL), SPEC),
}


def test_values_are_a_clips_and_gradients_lead_back_inside_and_never_further_out():
    x = jnp.array([-3.0, -1.0, 0.0, 1.0, 3.0])
    np.testing.assert_array_equal(bounded(x, -1.0, 1.0), jnp.clip(x, -1.0, 1.0))
    down, up = (jax.grad(lambda x, sign=sign: sign * bounded(x, -1.0, 1.0).sum())(x) for sign in (1, -1))
    np.testing.assert_array_equal(down, [0, 1, 1, 1, 1])  # descending makes x smaller
    np.testing.assert_array_equal(up, [-1, -1, -1, -1, 0])


@pytest.mark.parametrize("start", [-30.0, 30.0])
def test_a_factor_learnt_by_its_logarithm_comes_back_from_both_ends(start):
    optimizer = optax.adam(0.1)

    @jax.jit
    def step(value, state):
        change, state = optimizer.update(jax.grad(lambda log: jnp.square(jnp.log(factor(log, 1e6)) - 1.0))(value), state)
        return optax.apply_updates(value, change), state

    value = jnp.asarray(start)
    state = optimizer.init(value)
    for _ in range(800):
        value, state = step(value, state)
    np.testing.assert_allclose(value, 1.0, atol=0.1)


@functools.cache
def fresh(agent):
    return agent.init(jax.random.key(0), example(SPEC))


def policy_of(agent):
    """The policy's module, its config, and the parameters' place within what acts."""
    inner = getattr(agent, "sac", agent)
    policy = inner.regression.policy if hasattr(inner, "regression") else inner.policy
    return policy, lambda params: params["arm"] if agent.name == "sac_grasp" else params


@pytest.mark.parametrize("name", GAUSSIANS)
@pytest.mark.parametrize("beyond", [0.0, 1.0])
@pytest.mark.parametrize("upper", [True, False])
def test_a_deviation_at_and_beyond_its_bound_has_a_gradient_that_leads_back(name, beyond, upper):
    agent = GAUSSIANS[name]
    policy, of = policy_of(agent)
    low = policy.log_std_min
    high = getattr(policy, "log_std_max", 2.0)
    bound = high if upper else low
    place = bound + (beyond if upper else -beyond)
    params = of(agent.actor_params(fresh(agent)).params)
    if "log_std" in params["params"]:
        params = jax.tree.map(lambda x: x, params)
        params["params"]["log_std"] = jnp.full_like(params["params"]["log_std"], place)
    else:
        head = params["params"]["gaussian"]
        half = head["bias"].shape[0] // 2
        head = {"kernel": jnp.zeros_like(head["kernel"]), "bias": head["bias"].at[half:].set(place)}
        params = {"params": params["params"] | {"gaussian": head}}

    def log_std(params):
        return apply(policy, params, jnp.ones((1, 5)))[1].sum()

    np.testing.assert_allclose(log_std(params) / policy.action_dim, bound, rtol=1e-5)
    inward = jax.grad(lambda params: (1 if upper else -1) * log_std(params))(params)
    assert float(optax.tree.norm(inward)) > 0
    if beyond:
        outward = jax.grad(lambda params: (-1 if upper else 1) * log_std(params))(params)
        assert float(optax.tree.norm(outward)) == 0


@pytest.mark.long
def test_bcqs_model_and_perturbation_come_back_from_their_bounds(make_batch):
    agent = BCQ(BCQConfig(vae_hidden=(8,), perturbation=0.5, **SMALL), SPEC)
    state, batch = fresh(agent), make_batch(8)

    def change(bias):  # of a proposed action of 0.9: beyond 1 with a change of 0.4 and more
        params = jax.tree.map(jnp.zeros_like, state.perturbation)
        params["params"]["output"]["bias"] = bias
        return agent.perturb(params, batch.observation, jnp.full((8, 1, 3), 0.9))

    gradient = jax.grad(lambda bias: change(bias).sum())(jnp.full(3, 1.0))
    assert float(change(jnp.full(3, 1.0)).max()) == 1.0 and np.all(gradient > 0)
    encoder = state.vae["encoder"]["params"]["output"]
    wide = {"kernel": jnp.zeros_like(encoder["kernel"]), "bias": jnp.full_like(encoder["bias"], 20.0)}  # a log deviation beyond 15
    vae = state.vae | {"encoder": {"params": state.vae["encoder"]["params"] | {"output": wide}}}
    gradient = jax.grad(lambda vae: agent.vae_loss(vae, batch, jax.random.key(1))[0])(vae)["encoder"]["params"]["output"]["bias"]
    assert np.all(np.asarray(gradient)[agent.latent_dim :] > 0)  # the divergence wants it smaller


@pytest.mark.parametrize("log_temperature", [-25.0, np.log(1e-6)])
def test_a_temperature_that_sank_rises_again(log_temperature, make_batch):
    agent = SAC(SACConfig(ensemble=2, target_entropy_per_dim=5.0, temperature_lr=1.0, **SMALL), SPEC)  # more entropy than it can have
    state = fresh(agent).replace(log_temperature=jnp.float32(log_temperature))
    new, _ = jax.jit(agent.actor_step)(state, make_batch(8), jax.random.key(0))
    assert float(new.log_temperature) > log_temperature + 0.5


@pytest.mark.parametrize(("log_lagrange", "aim"), [(-25.0, -1e3), (20.0, 1e3)])
def test_a_multiplier_comes_back_from_both_ends(log_lagrange, aim):
    agent = CQL(CQLConfig(lagrange=True, lagrange_gap=aim, lagrange_lr=1.0, **SMALL), SPEC)
    state = fresh(agent).replace(log_lagrange=jnp.float32(log_lagrange))
    new = jax.jit(agent.lagrange_step)(state, jnp.zeros(()))
    assert abs(float(new.log_lagrange)) < abs(log_lagrange) - 0.5


@pytest.fixture(scope="module")
def gripper_rows():
    """Two smooth joints and a gripper that is open or closed (-1 or 1), by the observation alone."""
    rng, count = np.random.default_rng(0), 4_000
    observation = rng.normal(size=(count, 5)).astype(np.float32)
    target = observation @ rng.normal(size=(5, 3))
    action = 0.5 * np.tanh(target)
    action[:, 2] = np.where(target[:, 2] > 0, 1, -1)
    return example(SPEC, count).replace(
        observation=observation,
        next_observation=observation[::-1].copy(),
        action=action.astype(np.float32),
        reward=rng.normal(size=count).astype(np.float32) * 0.01,
        mask=np.zeros(count, np.float32),
        source=np.zeros(count, np.int32),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "agent", [kind(config(hidden=(32, 32), batch_size=64), SPEC) for kind, config in ((AWAC, AWACConfig), (IQL, IQLConfig))]
)
def test_the_deviation_of_a_gripper_that_is_open_or_closed_becomes_small_on_every_seed(agent, gripper_rows):
    parts = LearnerParts(agent, PLAIN, MixingConfig())
    for seed in range(8):
        state, _ = run_steps(create(parts, seed, gripper_rows, online_capacity=1), parts, 1_000)
        assert np.all(np.asarray(state.agent.actor["params"]["log_std"]) < -0.3), f"seed {seed}"

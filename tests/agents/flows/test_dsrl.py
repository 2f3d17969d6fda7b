"""Noise steering: before it has learnt it is the flow; the flow never moves; V is what Q says of the flow's chunks; and of two ways of
doing a thing the one that is rewarded is taken."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blocks import KEY, SPEC, assert_same, block_of, rows_of

from warmloop.agents import DSRL, SAC, DSRLConfig, FlowBC, FlowBCConfig, SACConfig
from warmloop.agents.base import Problem, go_on
from warmloop.agents.networks.networks import apply
from warmloop.agents.networks.vision import VisionConfig
from warmloop.configs import load
from warmloop.configs.schema import build_agent
from warmloop.data.errors import WarmloopError
from warmloop.data.mixing import MixingConfig, StretchBatch
from warmloop.data.replay import ReplayConfig
from warmloop.data.transition import Leaf, Spec, example
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import run_many

ONE = Spec((Leaf("", (1,), "float32"),), 1)
NETS = {"hidden": (32, 32), "batch_size": 64, "actor_lr": 3e-3, "horizon": 1, "utd": 1}
STEERING = DSRLConfig(
    **NETS, critic_lr=3e-3, flow_hidden=(32, 32), tau=0.05, distillation_steps=2, initial_temperature=0.1, temperature_lr=3e-3
)


def bandit(count=400):
    """Single steps of which half go left and half go right, whatever is seen; those to the right are rewarded."""
    rng = np.random.default_rng(0)
    seen = rng.uniform(-1, 1, (count, 1)).astype(np.float32)
    side = rng.choice([-0.6, 0.6], count).astype(np.float32)
    return example(ONE, count).replace(
        observation=seen,
        next_observation=seen,
        action=side[:, None],
        reward=(side > 0).astype(np.float32),
        mask=np.zeros(count, np.float32),
        episode=np.arange(count, dtype=np.int32),
    )


def learnt(agent, updates, rows, start=None):
    """The agent's state after so many updates on recorded rows, drawn uniformly."""
    parts = LearnerParts(agent, ReplayConfig(capacity=1, alpha=0.0), MixingConfig())
    state = create(parts, 0, rows)
    return run_many(state if start is None else state.replace(agent=start), parts, updates)[0].agent


class Steered:
    """A flow that has two ways of doing a thing, and what steers it to the one that is rewarded."""

    def __init__(self):
        self.rows = bandit()
        self.cloned, self.agent = FlowBC(FlowBCConfig(**NETS), ONE), DSRL(STEERING, ONE, Problem(0.9))
        self.warm = learnt(self.cloned, 1_500, self.rows)
        self.fresh = go_on(self.agent, self.cloned, self.warm)
        self.state = learnt(self.agent, 600, self.rows, jax.tree.map(jnp.copy, self.fresh))  # which is donated

    def actions(self, agent, state, count=200):
        act = jax.jit(lambda key: agent.act(agent.actor_params(state), jnp.zeros(1), key, ())[0])
        return np.array([act(key)[0] for key in jax.random.split(KEY, count)])


@pytest.fixture(scope="module")
def steered():
    return Steered()


@pytest.mark.long
def test_before_it_has_learnt_it_acts_as_the_flow_does(steered):
    for deterministic in (False, True):
        mine, theirs = (
            agent.act(agent.actor_params(state), jnp.array([0.3]), KEY, (), deterministic)[0]
            for agent, state in ((steered.agent, steered.fresh), (steered.cloned, steered.warm))
        )
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
    before = steered.actions(steered.agent, steered.fresh)
    assert 0.3 < (before > 0).mean() < 0.7 and (np.abs(np.abs(before) - 0.6) < 0.25).mean() > 0.8


def test_of_two_ways_the_rewarded_one_is_taken_and_it_is_still_the_flows(steered):
    after = steered.actions(steered.agent, steered.state)
    assert (after > 0.2).mean() > 0.9
    assert (np.abs(after - 0.6) < 0.25).mean() > 0.8, "the flow's way, and not an action that nobody did"
    mode = steered.agent.act(steered.agent.actor_params(steered.state), jnp.zeros(1), KEY, (), True)[0]
    assert float(mode[0]) > 0.2


def test_the_flow_and_what_it_sees_by_never_change(steered):
    for name in ("flow", "encoder", "normaliser"):
        assert_same(getattr(steered.state, name), getattr(steered.warm, name))


def test_v_is_what_q_says_of_the_flows_chunks(steered):
    agent, state = steered.agent, steered.state
    seen, noise = jnp.linspace(-1, 1, 200)[:, None], jax.random.normal(jax.random.key(9), (200, 1))
    q = agent.critics(state.critic, seen, agent.flow.sample(state.flow, seen, noise))
    v = agent.noise_critics(state.noise_critic, seen, noise)
    assert float(jnp.abs(v - q).mean()) < 0.1 < float(q.std()), "and Q tells the two ways apart"


def test_chosen_noise_lies_within_its_bound_and_its_density_is_that_before_the_bound():
    agent = DSRL(DSRLConfig(**NETS | {"horizon": 2}, flow_hidden=(8,), noise_bound=0.7), ONE)
    state = agent.init(KEY, example(ONE))
    seen = jnp.linspace(-1, 1, 50)[:, None]
    noise, log_prob = agent.choose(state.actor, seen, KEY)
    assert noise.shape == (50, 2) and 0.6 < float(jnp.abs(noise).max()) <= 0.7
    mean, log_std = apply(agent.policy, state.actor, seen)
    u = jnp.arctanh(noise / 0.7)
    density = -0.5 * ((u - mean) / jnp.exp(log_std)) ** 2 - log_std - 0.5 * jnp.log(2 * jnp.pi) - jnp.log(1 - (noise / 0.7) ** 2)
    np.testing.assert_allclose(log_prob, density.sum(-1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("aggregate", ["min", pytest.param("mean", marks=pytest.mark.long)])
def test_the_target_is_of_the_flows_chunk_from_chosen_noise_by_the_target_critics(aggregate):
    agent = DSRL(dataclasses.replace(STEERING, hidden=(16,), horizon=3, q_agg=aggregate), SPEC, Problem(0.9))
    state, batch = agent.init(KEY, rows_of(20)), jax.tree.map(lambda x: x[0], block_of(1, 8, window=agent.window))
    seen = state.normaliser(batch.next_observation)
    chunk = agent.flow.sample(state.flow, seen, agent.choose(state.actor, seen, KEY)[0])
    q = agent.critics(state.target_critic, seen, chunk)
    expected = batch.reward + 0.9 * batch.mask * (q.min(0) if aggregate == "min" else q.mean(0))
    np.testing.assert_allclose(agent.td_target(state, batch, KEY), expected, rtol=1e-5)


def test_rows_without_weight_move_neither_v_nor_the_policy():
    agent = DSRL(dataclasses.replace(STEERING, hidden=(16,), horizon=2), SPEC, Problem(0.9))
    state, block = agent.init(KEY, rows_of(20)), block_of(1, 8, window=agent.window)
    update, none = jax.jit(agent.update), jnp.zeros((1, 8))
    of_critics, of_actor = (update(state, block.replace(**{name: none}))[0] for name in ("weight", "actor_weight"))

    def moved(new, name):
        return any(not np.array_equal(*pair) for pair in zip(*(jax.tree.leaves(getattr(each, name)) for each in (state, new)), strict=True))

    for name in ("critic", "noise_critic"):
        assert (moved(of_critics, name), moved(of_actor, name)) == (False, True)
    assert (moved(of_critics, "actor"), moved(of_actor, "actor")) == (True, False)


@pytest.mark.long
def test_it_sees_images_by_the_flows_encoder_which_it_leaves_as_it_is():
    spec = Spec((Leaf("front", (16, 16, 3), "uint8"), Leaf("joints", (2,), "float32")), 1)
    vision, rng = VisionConfig("cnn", features=4, channels=(4, 4)), np.random.default_rng(0)
    rows = example(spec, 8)
    pictures = {"front": rng.integers(0, 256, (8, 16, 16, 3)).astype(np.uint8), "joints": rng.normal(size=(8, 2)).astype(np.float32)}
    rows = rows.replace(observation=pictures, next_observation=pictures)
    cloned = FlowBC(FlowBCConfig(**NETS, vision=vision), spec)
    agent = DSRL(dataclasses.replace(STEERING, vision=vision), spec, Problem(0.9))
    warm = cloned.init(KEY, rows)
    one = jnp.ones((1, 8))
    fields = {name: jax.tree.map(lambda x: jnp.asarray(x)[None], getattr(rows, name)) for name in rows.__dataclass_fields__}
    fields |= {"action": jnp.zeros((1, 8, 1, 1)), "reward": one, "mask": one}
    block = StretchBatch(**fields, weight=one, actor_weight=one, offline=one.astype(bool), valid=jnp.ones((1, 8, 1), bool))
    state, metrics, _ = jax.jit(agent.update)(go_on(agent, cloned, warm), block)
    assert all(np.isfinite(value) for value in metrics.values())
    assert_same((state.encoder, state.flow), (warm.encoder, warm.flow))
    plan = [agent.plan(agent.actor_params(state), jax.tree.map(lambda x, i=i: x[i], pictures), KEY, True) for i in range(2)]
    assert not np.array_equal(*plan), "what it sees makes a difference"


def test_it_goes_on_from_a_flow_alone():
    agent = DSRL(STEERING, ONE)
    sac = SAC(SACConfig(hidden=(8,)), ONE)
    with pytest.raises(WarmloopError, match=r"SAC learns none: warm up with --config\.warmup_agent\.name=flow_bc"):
        go_on(agent, sac, sac.init(KEY, example(ONE)))
    with pytest.raises(WarmloopError, match="Fine-tune with the agent that warmed up"):
        flow = FlowBC(FlowBCConfig(**NETS), ONE)
        go_on(sac, flow, flow.init(KEY, example(ONE)))
    with pytest.raises(WarmloopError, match="steers a flow that was cloned before"):
        load("configs/metaworld.py:push,dsrl").replace(warmup_agent=load("configs/metaworld.py:push,dsrl").agent)


@pytest.mark.parametrize("size", ["", ",small"])
def test_the_presets_warm_up_has_the_flow_that_is_steered(size):
    config = load(f"configs/metaworld.py:push,dsrl{size}")
    spec = Spec((Leaf("", (39,), "float32"),), 4)
    cloned, agent = (build_agent(choice, config.reward, spec) for choice in (config.warmup_agent, config.agent))
    shapes = [jax.eval_shape(lambda one=one: one.init(KEY, example(spec))) for one in (cloned, agent)]
    for name in ("flow", "encoder", "normaliser"):
        assert_same(*(jax.tree.map(lambda x: np.zeros(x.shape, np.float32), getattr(shape, name)) for shape in shapes))
    assert (cloned.window, cloned.flow.config.flow_steps) == (agent.window, agent.flow.config.flow_steps)

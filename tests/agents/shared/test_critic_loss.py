"""Critics by histograms, and with weights of length 1: an option of every agent that has critics, which changes nothing where it is off."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blocks import KEY, PROPOSED, SMALL, SPEC, assert_same, block_of, rows_of

from warmloop.agents import AGENTS, CQL, SAC, CQLConfig, SACConfig
from warmloop.agents.base import Problem, go_on, window_of
from warmloop.agents.described import describe_agent, rebuild_agent
from warmloop.agents.networks.networks import apply
from warmloop.configs import load
from warmloop.configs.recipes.modifiers import then_sac
from warmloop.configs.schema import AgentChoice, build_agent
from warmloop.data.errors import WarmloopError
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import BASE, without
from warmloop.learner.checkpoints import checkpoint
from warmloop.learner.starting_state import fine_tune
from warmloop.learner.state import LearnerParts, create

WITH_CRITICS = [name for name, (_, config) in AGENTS.items() if "critic_loss" in config.__dataclass_fields__]
ON = {"critic_loss": "hl_gauss", "critic_bins": 21, "unit_rows": True}
PROBLEM = Problem(0.9, 0.0, 1.0)


def made(name, **settings):
    kind, config = AGENTS[name]
    return kind(config(**SMALL | settings), PROPOSED if name == "edit" else SPEC, PROBLEM)


def parts_of(agent, state):
    """The `Critics` of an agent, and the part of a state that they are in."""
    for inner in ("cql", "sac", "qc"):
        agent, state = getattr(agent, inner, agent), getattr(state, inner, state)
    return agent.critics, state


class Trained:
    """An agent whose critics learn by histograms, its fresh state, and what one block makes of it."""

    def __init__(self, name):
        fewer = {"ensemble": 2, "samples": 2, "flow_steps": 2, "target_proposals": 2, "cql_actions": 2}
        self.agent = made(name, **ON | {setting: value for setting, value in fewer.items() if hasattr(AGENTS[name][1](), setting)})
        self.fresh = self.agent.init(jax.random.key(0), rows_of(40, spec=self.agent.spec))
        block = block_of(1, 8, window=window_of(self.agent), spec=self.agent.spec)
        self.block = block.replace(reward=jnp.clip(block.reward, 0.0, 1.0), mask=jnp.zeros((1, 8)))
        self.state, self.metrics, self.td_error = jax.jit(self.agent.update)(self.fresh, self.block)

    def q(self, state):
        critics, state = parts_of(self.agent, state)
        batch = jax.tree.map(lambda x: x[0], self.block)
        action = batch.action.reshape(8, -1)
        wanted = action.shape[-1] - (self.agent.name == "sac_grasp")
        return np.asarray(critics(state.critic, state.normaliser(without(batch.observation, (BASE,))), action[:, :wanted]))


OFTEN = ("sac", "iql", "td3bc", "bcq", "qc")  # the ways in which agents use their critics; the others, built on these, take long to compile


@pytest.fixture(scope="module", params=[name if name in OFTEN else pytest.param(name, marks=pytest.mark.long) for name in WITH_CRITICS])
def trained(request):
    return Trained(request.param)


def test_there_are_agents_with_critics():
    assert {"sac", "cql", "iql", "awac", "td3bc", "bcq", "ibrl", "sac_grasp", "qc", "qc_fql", "dsrl"} <= set(WITH_CRITICS)


def test_values_begin_at_the_low_bound_and_stay_within_the_bounds(trained):
    before, after = trained.q(trained.fresh), trained.q(trained.state)
    assert before.shape[-1] == 8 and before.min() >= 0 and before.max() < 0.01
    assert after.min() >= 0 and after.max() <= 1 and not np.array_equal(before, after)
    assert trained.td_error.shape == (1, 8) and np.all(np.asarray(trained.td_error) <= 1 + 1e-6)
    assert all(np.isfinite(value) for value in trained.metrics.values())


def test_the_loss_is_the_weighted_cross_entropy_of_every_member(trained):
    critics, state = parts_of(trained.agent, trained.fresh)
    batch = jax.tree.map(lambda x: x[0], trained.block)
    action = batch.action.reshape(8, -1)[:, : action_size(state.critic, critics)]
    batch = batch.replace(action=action, weight=jnp.linspace(0.1, 2, 8))
    seen, target = state.normaliser(without(batch.observation, (BASE,))), jnp.linspace(-0.5, 1.5, 8)  # some beyond the bounds
    loss, (q, error) = critics.loss(state.critic, seen, batch, target)
    logits = apply(critics.module(len(q)), state.critic, seen, action)
    p = critics.bins.probabilities(jnp.clip(target, 0, 1))
    expected = -(jax.nn.log_softmax(logits) * p[None]).sum(-1) * batch.weight[None]
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(error, np.abs(q - target[None]).mean(0), rtol=1e-6)


def action_size(critic, critics):
    return critic["params"]["kernel_0"].shape[1] - SPEC.observation_dim


def test_weights_of_each_hidden_unit_have_length_one_before_and_after_learning(trained):
    for state in (trained.fresh, trained.state):
        _, inner = parts_of(trained.agent, state)
        for name, kernel in inner.critic["params"].items():
            lengths = np.linalg.norm(kernel, axis=1) if name.startswith("kernel_") else np.ones(1)
            assert np.allclose(lengths, 1, atol=1e-5) == (name != "kernel_bins")


def test_the_state_keeps_its_shapes_and_types(trained):
    shapes = [jax.tree.map(lambda x: str(x.aval), state) for state in (trained.fresh, trained.state)]
    assert shapes[0] == shapes[1]


def test_it_is_described_and_rebuilt(trained):
    described = json.loads(json.dumps(describe_agent(trained.agent)))
    assert rebuild_agent(described) == trained.agent


@pytest.mark.parametrize("name", WITH_CRITICS)
def test_off_it_is_the_squared_error_on_the_same_parameters_and_older_descriptions_are_read(name):
    agent = made(name)
    critics, _ = parts_of(agent, None)
    shapes = jax.eval_shape(lambda: parts_of(agent, agent.init(jax.random.key(0), rows_of(4, spec=agent.spec)))[1].critic)["params"]
    norms = {"norm_scale_0", "norm_scale_1", "norm_bias_0", "norm_bias_1"} if agent.config.critic_layer_norm else set()
    assert shapes.keys() - norms == {"kernel_0", "bias_0", "kernel_1", "bias_1", "kernel_value", "bias_value"}
    assert critics.bins is None and critics.projected(shapes) is shapes
    described = json.loads(json.dumps(describe_agent(agent)))
    for setting in ("critic_loss", "critic_bins", "critic_sigma", "unit_rows"):
        del described["config"][setting]
    assert rebuild_agent(described) == agent


def test_off_the_loss_is_the_mean_of_squares_to_the_bit():
    agent = made("sac")
    state, batch = agent.init(jax.random.key(0), rows_of(40)), jax.tree.map(lambda x: x[0], block_of(1, 8))
    seen, target = state.normaliser(without(batch.observation, (BASE,))), batch.reward
    q = apply(agent.critics.module(10), state.critic, seen, batch.action)
    loss, (values, _) = agent.critics.loss(state.critic, seen, batch, target)
    assert_same((loss, values), (jnp.mean(batch.weight[None] * jnp.square(q - target[None])), q))


@pytest.mark.parametrize("unit_rows", [False, True])
def test_on_one_batch_the_critics_come_to_its_targets(unit_rows):
    agent = made("sac", critic_loss="hl_gauss", unit_rows=unit_rows, hidden=(32, 32), ensemble=2, critic_lr=3e-3)
    state = agent.init(jax.random.key(0), rows_of(40))
    batch = jax.tree.map(lambda x: x[0], block_of(1, 8))
    target = jnp.array([0.0, 1.0, 0.3, 0.7, 0.0, 0.05, 1.0, 0.5])

    def step(state, _):
        gradient = jax.grad(
            lambda critic: agent.critics.loss(critic, state.normaliser(without(batch.observation, (BASE,))), batch, target)[0]
        )(state.critic)
        return agent.critics.apply(state, gradient), ()

    state = jax.jit(lambda state: jax.lax.scan(step, state, None, 600)[0])(state)
    np.testing.assert_allclose(agent.q_values(state, batch.observation, batch.action), np.broadcast_to(target, (2, 8)), atol=0.02)


def test_a_return_without_bounds_is_refused_with_what_to_set():
    with pytest.raises(WarmloopError, match=r"needs a bounded reward: set reward\.signal=success .* or agent\.critic_loss=mse"):
        build_agent(AgentChoice("iql", AGENTS["iql"][1](critic_loss="hl_gauss")), RewardConfig(signal="environment"), SPEC)
    with pytest.raises(WarmloopError, match="needs a bounded reward"):
        dataclasses.replace(made("qc", critic_loss="hl_gauss"), problem=Problem()).init(KEY, rows_of(4))
    agent = build_agent(AgentChoice("sac", SACConfig(critic_loss="hl_gauss")), RewardConfig(signal="success", scale=1, bias=-1), SPEC)
    assert agent.critics.bins.low == pytest.approx(-100) and agent.critics.bins.high == 0


@pytest.mark.parametrize(
    ("name", "wrong", "says"),
    [
        ("sac", {"critic_loss": "huber"}, 'agent.critic_loss is "huber"; it must be "mse" or "hl_gauss"'),
        ("qc", {"critic_bins": 1}, "agent.critic_bins is 1; it must be at least 2"),
        ("iql", {"critic_sigma": 0.1}, "agent.critic_sigma is 0.1; it must lie in"),
        ("td3bc", {"critic_loss": "hl_gauss", "normalise_rewards": True}, "agent.normalise_rewards=False"),
        ("iql", {"critic_loss": "hl_gauss", "return_span": 10.0}, "bins between the bounds of rewards that are not scaled"),
        ("cql", {"critic_loss": "hl_gauss", "backup_entropy": True}, "agent.backup_entropy=False, or agent.critic_loss=mse"),
    ],
)
def test_what_does_not_go_together_is_refused(name, wrong, says):
    with pytest.raises(WarmloopError) as error:
        AGENTS[name][1](**wrong)
    assert says in str(error.value)


def test_critics_go_on_from_the_same_histogram_alone(tmp_path):
    warm = CQL(CQLConfig(**SMALL | ON, cql_actions=2, ensemble=2), SPEC, PROBLEM)
    state = warm.init(jax.random.key(0), rows_of(40))
    sac = SAC(SACConfig(**SMALL | ON, ensemble=2), SPEC, PROBLEM)
    assert_same(go_on(sac, warm, state).critic, state.sac.critic)
    for problem, settings in ((Problem(0.9, -1.0, 0.0), {}), (PROBLEM, {"critic_bins": 22}), (PROBLEM, {"critic_sigma": 0.8})):
        other = SAC(dataclasses.replace(sac.config, **settings), SPEC, problem)
        with pytest.raises(WarmloopError, match="one reward, one critic_bins and one critic_sigma"):
            go_on(other, warm, state)
    plain = dataclasses.replace(warm, config=dataclasses.replace(warm.config, unit_rows=False))
    with pytest.raises(WarmloopError, match=r"warmup_agent\.unit_rows=True"):
        go_on(sac, plain, state)

    def parts(agent):
        return LearnerParts(agent, ReplayConfig(capacity=64), MixingConfig())

    checkpoint.save(tmp_path, create(parts(warm), 0, rows_of(40)), warm, {})
    squared = SAC(SACConfig(**SMALL, ensemble=2), SPEC, PROBLEM)
    with pytest.raises(WarmloopError, match=r"has other layers than this configuration's; what .*\.critic_loss set"):
        fine_tune(parts(squared), 1, rows_of(20), tmp_path)


def test_then_sac_takes_the_histogram_along():
    config = load("configs/metaworld.py:push,cql").replace(warmup_agent=ON)
    config = config.replace(warmup_agent={"critic_sigma": 0.9})
    fine = then_sac(config).agent.settings
    assert (fine.critic_loss, fine.critic_bins, fine.critic_sigma, fine.unit_rows) == ("hl_gauss", 21, 0.9, True)

"""Exported policies: every form of every agent's does what the agent does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from safetensors.numpy import load_file

from warmloop.actor.policies.policy import AgentPolicy
from warmloop.agents import AGENTS, QCFQL, SAC, Dreamer, DreamerConfig, QCFQLConfig, SACConfig
from warmloop.agents.base import Problem
from warmloop.agents.export import Exported, check, numpy_source, write
from warmloop.agents.export.check import load_policy
from warmloop.agents.export.numpy_source import numpy_source as source_of
from warmloop.agents.networks.vision import VisionConfig
from warmloop.data.errors import WarmloopError
from warmloop.data.tasks import SINGLE, TaskConfig
from warmloop.data.transition import Leaf, Spec, example

ARRAY = Spec((Leaf("", (3,), "float32"),), 2)
SEEING = Spec((Leaf("front", (32, 40, 3), "uint8"), Leaf("joints", (3,), "float32")), 2)
VISIONS = [("bc", {"encoder": "cnn"}), ("sac", {"encoder": "resnet10", "frozen": False}), ("sac_grasp", {"encoder": "cnn"})]
PARTS = Spec((Leaf("joints", (3,), "float32"), Leaf("object", (2,), "float32")), 2)


def exported(agent, tasks=SINGLE, seed=0) -> Exported:
    """An agent with weights that no training has seen, in an environment of raw observations of 3 numbers."""
    rows = jax.tree.map(jnp.asarray, example(agent.spec, 5))
    drawn = jax.tree.map(lambda x: jax.random.normal(jax.random.key(seed), x.shape), rows.observation)
    observation = jax.tree.map(lambda x, row: (64 * x).astype(row.dtype) if row.dtype == jnp.uint8 else x, drawn, rows.observation)
    state = agent.init(jax.random.key(seed), rows.replace(observation=observation))
    raw = agent.spec if agent.spec in (PARTS, SEEING) else ARRAY
    about = {
        "observation": {leaf.name: {"shape": leaf.shape, "dtype": leaf.dtype} for leaf in raw.observation},
        "action": {"low": [-2.0, 0.0], "high": [2.0, 5.0]},
        "tasks": {"names": tasks.names, "codes": tasks.codes},
    }
    return Exported(agent, agent.actor_params(state), about)


def random_observations(spec: Spec, count: int = 20):
    rng = np.random.default_rng(0)
    leaves = [{leaf.name: rng.normal(size=leaf.shape).astype(np.float32) for leaf in spec.observation} for _ in range(count)]
    return [observation.get("", observation) for observation in leaves]


def differences(folder, policy, raw, conditioned=None, tasks=None):
    write(folder, policy)
    reports = check(folder, policy, raw, conditioned or raw, tasks or [None] * len(raw))
    assert [report.name for report in reports] == ["agent", "policy.stablehlo", "sampled.stablehlo", "policy.py"]
    assert all((report.seconds > 0).all() for report in reports)
    return [report.difference for report in reports]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, (kind, _) in AGENTS.items() if not hasattr(kind, "not_exported")])
def test_every_form_of_every_agent_acts_as_the_agent_does(name, tmp_path):
    agent_class, config_class = AGENTS[name]
    policy = exported(agent_class(config_class(hidden=(16, 16)), ARRAY))
    assert max(differences(tmp_path, policy, random_observations(ARRAY))) < 1e-5


def test_a_policy_that_remembers_is_not_exported(tmp_path):
    agent = Dreamer(DreamerConfig(hidden=(16,), groups=4), ARRAY)
    with pytest.raises(WarmloopError, match="dreamer cannot be exported: it remembers what it saw before"):
        write(tmp_path, exported(agent))
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_policy_that_acts_in_chunks_does_its_plans_in_every_form(tmp_path):
    agent = QCFQL(QCFQLConfig(hidden=(16, 16), horizon=4, execute=3, candidates=2), ARRAY)
    policy, seen = exported(agent), random_observations(ARRAY, 7)
    assert max(differences(tmp_path, policy, seen)) < 1e-5
    acting = AgentPolicy(agent, policy.actor, deterministic=True)
    program = load_policy(tmp_path).Policy(tmp_path)
    acting.begin(0)
    for step, observation in enumerate(seen):
        np.testing.assert_allclose(program.scaled(observation), acting(observation, step), atol=1e-5)
    program.reset()
    acting.begin(0)
    np.testing.assert_allclose(program.scaled(seen[3]), acting(seen[3], 0), atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("name", ["qc", "ibrl", "bcq"])
def test_critics_of_histograms_choose_alike_in_every_form(name, tmp_path):
    agent_class, config_class = AGENTS[name]
    config = config_class(hidden=(16, 16), ensemble=2, critic_loss="hl_gauss")
    policy = exported(agent_class(config, ARRAY, Problem(0.9, 0.0, 1.0)))
    drawn = jax.random.normal(jax.random.key(3), jax.tree.leaves(policy.actor.critic)[0].shape)
    policy.actor.critic["params"]["bias_0"] = drawn  # values that differ more than their rounding
    assert max(differences(tmp_path, policy, random_observations(ARRAY))) < 1e-5


@pytest.mark.parametrize("activation", ["tanh", "swish", "elu"])
def test_observations_of_several_parts_and_normalised_layers_are_exported(activation, tmp_path):
    policy = exported(SAC(SACConfig(hidden=(16, 8), actor_layer_norm=True, activation=activation), PARTS))
    assert max(differences(tmp_path, policy, random_observations(PARTS))) < 1e-5


def test_a_network_and_an_activation_of_ones_own_are_exported(tmp_path):
    policy = exported(SAC(SACConfig(hidden=(16,), actor_network="own_parts:Trunk", activation="own_parts:softer"), PARTS))
    assert max(differences(tmp_path, policy, random_observations(PARTS))) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("name", "vision"), VISIONS)
def test_policies_that_look_through_cameras_are_exported(name, vision, tmp_path):
    agent_class, config_class = AGENTS[name]
    policy, rng = exported(agent_class(config_class(hidden=(16,), vision=VisionConfig(**vision)), SEEING)), np.random.default_rng(0)
    raw = [{"front": rng.integers(0, 256, (32, 40, 3)).astype(np.uint8), "joints": rng.normal(size=3).astype(np.float32)} for _ in range(5)]
    assert max(differences(tmp_path, policy, raw)) < 1e-5
    scaled = load_policy(tmp_path).Policy(tmp_path).scaled
    assert np.abs(scaled(raw[0]) - scaled(raw[0] | {"front": 255 - raw[0]["front"]})).max() > 1e-5


def test_a_policy_of_several_tasks_is_told_its_task(tmp_path):
    tasks = TaskConfig(("open", "close"))
    policy, raw = exported(SAC(SACConfig(hidden=(16,)), tasks.condition_spec(ARRAY)), tasks), random_observations(ARRAY)
    numbers = [index % 2 for index in range(len(raw))]
    conditioned = [tasks.condition(observation, number) for observation, number in zip(raw, numbers, strict=True)]
    assert max(differences(tmp_path, policy, raw, conditioned, [tasks.names[number] for number in numbers])) < 1e-5
    made = load_policy(tmp_path).Policy
    assert not np.array_equal(made(tmp_path, "open").scaled(raw[0]), made(tmp_path, "close").scaled(raw[0]))
    for task in (None, "shut"):
        with pytest.raises(ValueError, match="this policy knows \\['open', 'close'\\]"):
            made(tmp_path, task)


def test_actions_are_in_the_environments_units_and_a_wrong_observation_is_refused(tmp_path):
    write(tmp_path, exported(SAC(SACConfig(hidden=(16,)), ARRAY)))
    policy, observation = load_policy(tmp_path).Policy(tmp_path), np.ones(3)
    scaled = policy.scaled(observation)
    np.testing.assert_allclose(policy(observation), [2 * scaled[0], 2.5 + 2.5 * scaled[1]], rtol=1e-6)
    assert policy(observation).dtype == scaled.dtype == np.float32
    with pytest.raises(ValueError, match=r"has shape \(4,\), and must have \(3,\)"):
        policy(np.ones(4))
    with pytest.raises(ValueError, match="the observation has no ''"):
        policy({"state": observation})


def test_the_weights_are_as_the_library_reads_them(tmp_path):
    policy = exported(SAC(SACConfig(hidden=(16,)), ARRAY))
    write(tmp_path, policy)
    ours, theirs = (read(tmp_path / "weights.safetensors") for read in (load_policy(tmp_path).read_safetensors, load_file))
    assert ours.keys() == theirs.keys() == policy.weights.keys()
    for name, array in policy.weights.items():
        assert ours[name].dtype == array.dtype
        np.testing.assert_array_equal(ours[name], array)
        np.testing.assert_array_equal(theirs[name], array)


def test_a_form_that_differs_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(numpy_source.RULES, "tanh", lambda equation, inputs: f"np.sin({inputs[0].text} + 0.1)")
    policy = exported(SAC(SACConfig(hidden=(16,)), ARRAY))
    *others, written = differences(tmp_path, policy, random_observations(ARRAY))
    assert max(others) < 1e-5 and written > 1e-2


W, X = np.arange(12.0, dtype=np.float32).reshape(3, 4) / 7 - 0.5, np.array([0.3, -1.2, 2.0], np.float32)


@pytest.mark.parametrize(
    "function",
    [
        lambda w, x: jnp.einsum("ij,i->j", w, x),
        lambda w, x: jnp.einsum("ij,ik->jk", w, w * x[:, None])[0],
        lambda w, x: jnp.einsum("bi,bj->bij", w, w).sum(axis=(1, 2)),
        lambda w, x: w.T[jnp.argmax(x @ w)],
        lambda w, x: w[:, jnp.argmin(x @ w)],
        lambda w, x: jax.lax.dynamic_slice(w, (jnp.argmax(x), 0), (1, 4))[0],
        lambda w, x: jnp.concatenate([w[1, ::2], x[:2]]),
        lambda w, x: jnp.stack([w, 2 * w])[1] + jnp.stack([x, -x], axis=-1).sum(),
        lambda w, x: jnp.where(x > 0, x, -x) + jnp.where(x.sum() >= 1, 1.0, 2.0),
        lambda w, x: jax.nn.softplus(x) + jax.nn.sigmoid(x) + jax.nn.gelu(x) + jax.nn.leaky_relu(x),
        lambda w, x: jax.nn.softmax(x) / jnp.sqrt(1 + x**2) + jnp.abs(x) ** 1.5 + jnp.log(x**4),
        lambda w, x: jax.vmap(lambda row: jnp.tanh(row + x[0]))(w).max(axis=0) - w.min(axis=0),
        lambda w, x: jnp.clip(x + jax.random.normal(jax.random.key(3), (3,)), -1, 1),
        lambda w, x: sum(jnp.split(jnp.broadcast_to(x[None], (2, 3)).reshape(6), 2)),
        lambda w, x: (-x) - (-2.0) * jnp.full(3, -jnp.inf).clip(-1.0),
    ],
)
def test_operations_mean_in_numpy_what_they_mean_in_jax(function):
    written = source_of(jax.make_jaxpr(function)(W, X), ["w", "x"])
    scope = {"np": np}
    exec(f"def act(w, c, x):\n{written.body}", scope)
    np.testing.assert_allclose(scope["act"](W, written.constants, X), function(W, X), rtol=1e-5, atol=1e-6)


def test_what_a_policy_draws_by_a_fixed_key_is_a_constant_of_the_file():
    written = source_of(jax.make_jaxpr(lambda x: x + jax.random.normal(jax.random.key(3), (3,)))(X), ["x"])
    assert written.body == "    x0 = x + c[0]\n    return x0"
    np.testing.assert_array_equal(written.constants[0], jax.random.normal(jax.random.key(3), (3,)))


@pytest.mark.parametrize("layer", [nn.Conv(3, (3, 3), kernel_dilation=2), nn.Conv(4, (3, 3), feature_group_count=2)])
def test_a_convolution_without_a_numpy_form_is_one_sentence(layer):
    image = jnp.ones((1, 8, 8, 2))
    params = layer.init(jax.random.key(0), image)
    with pytest.raises(WarmloopError, match="its convolutions are dilated, grouped"):
        source_of(jax.make_jaxpr(lambda image: layer.apply(params, image))(image), ["image"])


def test_an_operation_without_a_numpy_form_is_one_sentence():
    with pytest.raises(WarmloopError, match="has no rule for `sort`"):
        source_of(jax.make_jaxpr(jnp.sort)(X), ["x"])

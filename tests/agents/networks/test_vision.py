"""Agents that see: who trains the encoder, what is frozen, and that pictures alone are enough to learn from."""

import dataclasses
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import save_file

from warmloop import agents
from warmloop.agents import BC, CQL, IBRL, SAC, BCConfig, CQLConfig, IBRLConfig, IQLConfig, SACConfig
from warmloop.agents.networks.vision import RESNET, Vision, VisionConfig
from warmloop.configs.schema import AgentChoice, build_agent, sees_cameras
from warmloop.data.errors import WarmloopError
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.replay.frames import FramesConfig
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Batch, Leaf, Spec, example
from warmloop.learner import step
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import Stepper, run_steps

SMALL = VisionConfig(features=8, channels=(8, 8))
RESNET10 = VisionConfig("resnet10", features=8, embeddings=2)
SPEC = Spec((Leaf("front", (16, 16, 3), "uint8"), Leaf("pose", (2,), "float32"), Leaf("wrist", (16, 16, 3), "uint8")), 2)
STACKED = Spec((Leaf("front", (3, 16, 16, 3), "uint8"), Leaf("pose", (2,), "float32")), 2)
SHARED = {"hidden": (32, 32), "batch_size": 32}
CRITICS = {"ensemble": 2, "utd": 1}
AGENTS = {
    "sac": SAC(SACConfig(**SHARED, **CRITICS, vision=SMALL), SPEC),
    "cql": CQL(CQLConfig(**SHARED, **CRITICS, cql_actions=2, vision=SMALL), SPEC),
    "ibrl": IBRL(IBRLConfig(**SHARED, **CRITICS, vision=SMALL), SPEC),
    "bc": BC(BCConfig(**SHARED, actor_lr=3e-3, vision=SMALL), SPEC),
    "sac over stacks": SAC(SACConfig(**SHARED, **CRITICS, vision=SMALL), STACKED),
}


def rows_of(spec, count, seed=0):
    """Steps whose best action, which they took, is shown by how bright the left and the right of each picture are."""
    rng = np.random.default_rng(seed)
    action = rng.uniform(-0.9, 0.9, (count, 2)).astype(np.float32)
    light = np.repeat(127 + 127 * action, 8, axis=1)  # [N, 16], columns of a picture
    observation = {}
    for leaf in spec.observation:
        if leaf.dtype == "uint8":
            columns = light.reshape(count, *(1,) * (len(leaf.shape) - 2), 16, 1)
            observation[leaf.name] = np.broadcast_to(columns, (count, *leaf.shape)).astype(np.uint8)
        else:
            observation[leaf.name] = rng.normal(size=(count, *leaf.shape)).astype(np.float32)
    moved = {name: np.roll(leaf, 1, axis=0) for name, leaf in observation.items()}
    return example(spec, count).replace(observation=observation, next_observation=moved, action=action)


def batch_of(spec, count=32, seed=0):
    rows, ones = rows_of(spec, count, seed), np.ones(count, np.float32)
    fields = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
    return Batch(**fields, weight=ones, actor_weight=ones, offline=np.ones(count, bool))


@pytest.mark.long
def test_a_warm_policy_that_sees_does_not_change_with_the_encoder_that_is_trained():
    agent, rows = AGENTS["ibrl"], rows_of(SPEC, 3)
    warm = AGENTS["sac"].init(jax.random.key(0), rows)
    wanted = AGENTS["sac"].act(AGENTS["sac"].actor_params(warm), rows.observation, jax.random.key(1), (), True)[0]
    state = agent.take_over(jax.tree.map(jnp.copy, warm))
    block = jax.tree.map(lambda leaf: leaf[None], batch_of(SPEC))
    update = jax.jit(agent.update)
    for _ in range(5):
        state, *_ = update(state, block)
    actor = agent.actor_params(state)
    seen = agent.seen(actor, rows.observation)
    assert largest_change(warm.encoder, actor.encoder) > 1e-4
    np.testing.assert_allclose(agent.warm_mode(actor, rows.observation, seen), wanted, atol=1e-6)
    assert float(jnp.abs(agent.mode(actor.warm, seen) - wanted).max()) > 1e-4, "by the trained encoder it would be another one"


def largest_change(before, after):
    return max(float(jnp.abs(a - b).max()) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))


@pytest.mark.parametrize("name", AGENTS)
def test_one_observation_is_acted_on_as_it_is_in_a_batch(name):
    agent = AGENTS[name]
    rows = rows_of(agent.spec, 3)
    state = agent.init(jax.random.key(0), rows)
    actor = agent.actor_params(state)
    key = jax.random.key(1)
    alone = [agent.act(actor, jax.tree.map(lambda x, i=i: x[i], rows.observation), key, (), True)[0] for i in range(3)]
    together = agent.act(actor, rows.observation, key, (), True)[0]
    np.testing.assert_allclose(jnp.stack(alone), together, atol=1e-5)
    assert np.ptp(np.asarray(together), axis=0).max() > 1e-5, "what it sees makes a difference"


def test_the_critics_loss_trains_the_encoder_and_the_policys_does_not():
    agent, batch = AGENTS["sac"], batch_of(SPEC)
    state = agent.init(jax.random.key(0), rows_of(SPEC, 40))
    after_critic, _ = jax.jit(agent.critic_step)(state, (batch, jax.random.key(1)))
    assert largest_change(state.encoder, after_critic.encoder) > 1e-5
    after_actor, _ = jax.jit(agent.actor_step)(state, batch, jax.random.key(1))
    assert largest_change(state.actor, after_actor.actor) > 1e-5
    assert largest_change(state.encoder, after_actor.encoder) == 0
    assert largest_change(state.encoder_optimizer, after_actor.encoder_optimizer) == 0


def test_the_target_passes_no_gradient_to_the_encoder():
    agent, batch = AGENTS["sac"], batch_of(SPEC)
    state = agent.init(jax.random.key(0), rows_of(SPEC, 40))
    target = jax.jit(agent.td_target)(state, batch, jax.random.key(1))

    def loss(encoder):
        seen = agent.vision(encoder, state.normaliser, batch.observation)
        return agent.critics.loss(state.critic, seen, batch, target)[0]

    wanted = jax.jit(jax.grad(loss))(state.encoder)
    after, _ = jax.jit(agent.critic_step)(state, (batch, jax.random.key(1)))
    first_moment = jax.tree.map(lambda moment: moment / 0.1, after.encoder_optimizer[0].mu)  # Adam's, of which a tenth is new
    assert largest_change(first_moment, wanted) < 1e-5


@pytest.mark.long
@pytest.mark.parametrize("frozen", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_frozen_trunk_stays_while_what_stands_on_it_learns(frozen):
    agent = SAC(SACConfig(**SHARED, **CRITICS, vision=dataclasses.replace(RESNET10, frozen=frozen)), SPEC)
    state = agent.init(jax.random.key(0), rows_of(SPEC, 4))
    after, _ = jax.jit(agent.critic_step)(state, (batch_of(SPEC, 4), jax.random.key(1)))
    before, now = (x.encoder["params"] for x in (state, after))
    assert (largest_change(before[RESNET], now[RESNET]) == 0) == frozen
    assert largest_change(before["camera_0"], now["camera_0"]) > 1e-6


@pytest.mark.long
def test_a_frozen_trunk_does_not_decay_while_a_policy_is_cloned_on_it():
    settings = BCConfig(**SHARED, weight_decay=0.5, vision=dataclasses.replace(RESNET10, frozen=True))
    agent = BC(settings, SPEC)
    state = agent.init(jax.random.key(0), rows_of(SPEC, 4))
    parameters = (state.actor, state.encoder)
    change, _ = agent._optimizer.update(jax.tree.map(jnp.zeros_like, parameters), state.actor_optimizer, parameters)
    trunk, camera = (change[1]["params"][name] for name in (RESNET, "camera_0"))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(trunk))
    for decayed in (camera, change[0]):
        assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(decayed)) > 0


@pytest.mark.long
def test_resnets_weights_come_from_a_file_with_hil_serls_names(tmp_path):
    begun = Vision(RESNET10, SPEC).init(jax.random.key(0))
    trunk = traverse_util.flatten_dict(begun["params"][RESNET], sep="/")
    assert {"conv_init/kernel", "norm_init/scale", "ResNetBlock_0/Conv_0/kernel", "ResNetBlock_3/norm_proj/bias"} <= trunk.keys()
    given = {name: np.random.default_rng(0).normal(size=x.shape).astype(np.float32) for name, x in trunk.items()}
    save_file(given, tmp_path / "resnet10.safetensors")
    config = dataclasses.replace(RESNET10, weights=str(tmp_path / "resnet10.safetensors"), frozen=True)
    found = Vision(config, SPEC).init(jax.random.key(0))["params"]
    for name, x in traverse_util.flatten_dict(found[RESNET], sep="/").items():
        np.testing.assert_array_equal(x, given[name])
    assert largest_change(found["camera_0"], begun["params"]["camera_0"]) == 0
    shapes = jax.eval_shape(lambda: Vision(dataclasses.replace(config, weights="gone"), SPEC).init(jax.random.key(0)))
    assert jax.tree.structure(shapes) == jax.tree.structure(begun), "a checkpoint is restored without the file"

    save_file(given | {"conv_init/kernel": np.zeros((3, 3, 3, 64), np.float32)}, tmp_path / "other.safetensors")
    save_file({"layer": np.zeros(3, np.float32)}, tmp_path / "unnamed.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"not it")
    for name, problem in {
        "other": r'"conv_init/kernel" in .* is \[3, 3, 3, 64\]; it must be \[7, 7, 3, 64\]',
        "unnamed": r'has no array ".*"; it has layer',
        "torn": "cannot be read as safetensors",
        "absent": "does not exist",
    }.items():
        with pytest.raises(WarmloopError, match=problem):
            Vision(dataclasses.replace(config, weights=str(tmp_path / f"{name}.safetensors")), SPEC).init(jax.random.key(0))


@pytest.mark.long
@pytest.mark.parametrize("stacked", [False, True])
def test_cloning_learns_what_only_the_pictures_show(stacked):
    agent = AGENTS["bc"] if not stacked else dataclasses.replace(AGENTS["bc"], spec=STACKED)
    rows = rows_of(agent.spec, 64)
    parts = LearnerParts(agent, ReplayConfig(capacity=64), MixingConfig())
    state, _ = Stepper(parts)(create(parts, 0, rows, online_capacity=1), 300)
    fresh = rows_of(agent.spec, 32, seed=1)
    acted, _ = agent.act(agent.actor_params(state.agent), fresh.observation, jax.random.key(0), (), True)
    assert float(jnp.abs(acted - fresh.action).mean()) < 0.15


def test_a_cloned_encoder_and_policy_go_on_in_sac():
    agent, sac = AGENTS["bc"], AGENTS["sac"]
    rows = rows_of(SPEC, 8)
    state = agent.init(jax.random.key(0), rows)
    taken = sac.take_over(agent.hand_over(state))
    assert jax.tree.structure(taken) == jax.tree.structure(sac.init(jax.random.key(0), rows))
    before, after = (a.act(a.actor_params(s), rows.observation, jax.random.key(0), (), True)[0] for a, s in ((agent, state), (sac, taken)))
    np.testing.assert_allclose(before, after, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("name", ["sac", "cql", "sac over stacks"])
def test_a_learner_updates_on_frames_that_are_stored_once(name):
    agent = AGENTS[name]
    parts = LearnerParts(agent, ReplayConfig(capacity=64), MixingConfig())
    state = create(parts, 0, rows_of(agent.spec, 40), online_capacity=1)
    begun = jax.tree.map(jnp.copy, (state.agent, state.frames))
    state, metrics = run_steps(state, parts)
    assert all(np.isfinite(float(value)) for value in metrics.values())
    assert largest_change(begun[1].pixels, state.frames.pixels) == 0


@pytest.mark.long
@pytest.mark.parametrize("subsampled", [pytest.param(False, marks=pytest.mark.long), True])
def test_frames_beyond_the_devices_budget_lie_on_the_host_and_teach_the_same(subsampled):
    agent, kept = AGENTS["sac"], FramesConfig(chroma_subsampling=subsampled)
    on_device = LearnerParts(agent, ReplayConfig(capacity=64, alpha=0.0), MixingConfig(), kept)  # priorities there are an update old
    on_host = dataclasses.replace(on_device, frames=dataclasses.replace(kept, budget_mebibytes=0))
    rows = rows_of(SPEC, 40)
    fused, run, state = create(on_device, 0, rows, online_capacity=1), Stepper(on_host), create(on_host, 0, rows, online_capacity=1)
    assert state.frames.on_host and not fused.frames.on_host
    for count in (1, 3, 1):  # from the third on, over the memory of batches that were learnt from
        state, metrics = run(state, count)
        for _ in range(count):
            fused, _ = run_steps(fused, on_device)
        assert (
            largest_change(fused.agent.critic, state.agent.critic) < 1e-5
            and largest_change(fused.agent.encoder, state.agent.encoder) < 1e-5
        )
        assert all(np.isfinite(float(value)) for value in metrics.values())
    assert int(state.updates) == 5
    begun = create(on_device, 0, rows, online_capacity=1).agent
    assert largest_change(begun.encoder, state.agent.encoder) > 1e-3


@pytest.mark.long
def test_an_update_is_on_its_way_before_the_host_looks_up_the_next_batch(monkeypatch):
    parts = LearnerParts(AGENTS["sac"], ReplayConfig(capacity=64), MixingConfig(), FramesConfig(budget_mebibytes=0))
    run, order = Stepper(parts), []
    state, _ = run(create(parts, 0, rows_of(SPEC, 40), online_capacity=1), 2)
    for name in ("_learn", "take_in_place_of"):
        called = getattr(step, name)
        monkeypatch.setattr(step, name, lambda *args, name=name, called=called: (order.append(name), called(*args))[1])
    run(state, 2)
    assert order == ["_learn", "take_in_place_of"] * 2


def test_the_guide_names_the_algorithms_that_learn_from_images():
    guide = (Path(__file__).parents[3] / "docs" / "images.md").read_text()
    named = re.search(r"((?:`\w+`(?:, | and )?)+) learn from cameras", guide)
    seeing = {name for name, classes in agents.AGENTS.items() if sees_cameras(*classes)}
    assert named is not None and set(re.findall(r"\w+(?=`)", named[1])) == seeing


def test_agents_without_eyes_and_wrong_settings_are_refused_by_name():
    with pytest.raises(WarmloopError, match=r'"iql" learns from states alone, and .* \(front, wrist\): use sac, cql, bc'):
        build_agent(AgentChoice("iql", IQLConfig()), RewardConfig(), SPEC)
    for settings, problem in (
        ({"encoder": "vit"}, 'encoder is "vit"; it must be cnn, resnet10, or MODULE:NAME for an encoder of your own'),
        ({"frozen": True}, "for encoder=resnet10"),
        ({"features": 0}, "must be at least 1"),
    ):
        with pytest.raises(WarmloopError, match=problem):
            VisionConfig(**settings)
    gray = Spec((Leaf("depth", (16, 16, 1), "uint8"),), 2)
    with pytest.raises(WarmloopError, match=r'"depth" has 1 channels and ResNet-10 takes 3'):
        Vision(RESNET10, gray).init(jax.random.key(0))
    with pytest.raises(WarmloopError, match="observation_noise is for states"):
        BC(BCConfig(observation_noise=0.1), SPEC).init(jax.random.key(0), rows_of(SPEC, 2))

"""What a user brings by MODULE:NAME: each kind works, and what is wrong with one is one sentence of one form, whatever the kind."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blocks import SPEC as STATES
from blocks import block_of, rows_of

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import EpisodePlan, run_episode
from warmloop.actor.policies.outside import outside_policy
from warmloop.actor.policies.policy import RandomPolicy
from warmloop.actor.wrappers import wrap
from warmloop.agents import BC, SAC, BCConfig, SACConfig
from warmloop.agents.base import Problem, go_on
from warmloop.agents.described import describe_agent, rebuild_agent
from warmloop.agents.networks.networks import activation
from warmloop.agents.networks.normaliser import Normaliser
from warmloop.agents.networks.vision import Vision, VisionConfig
from warmloop.agents.registry import agent_classes
from warmloop.configs import load
from warmloop.configs.schema import build_agent, from_dict, to_dict
from warmloop.data.doors.imports import make_importable
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Leaf, Spec
from warmloop.launch.flags.arguments import locate_config, specification_of, unknown_setting
from warmloop.launch.flags.choices import choose_policy
from warmloop.launch.flags.interveners import choose_intervention

PICTURES = Spec((Leaf("arm", (3,), "float32"), Leaf("front", (8, 8, 3), "uint8")), 2)
PENDULUM = EnvironmentConfig("Pendulum-v1", horizon=8)


def with_network(name):
    return BC(BCConfig(hidden=(8,), actor_network=name), STATES).init(jax.random.key(0), rows_of(2))


def with_encoder(name):
    return Vision(VisionConfig(name, features=4), PICTURES).init(jax.random.key(0))


# Each kind: what opens it, a name of the package's own that is nearly right, and what the sentence says that it must be.
KINDS = {
    "agent": (lambda name: agent_classes(name, "config.agent.name"), "sax", "did you mean sac"),
    "policy": (lambda name: outside_policy(choose_policy(name).path, make_environment(PENDULUM)), "scriptd", "did you mean scripted"),
    "intervener": (lambda name: choose_intervention(name)(make_environment(PENDULUM)), "keybord", "did you mean keyboard"),
    "wrapper": (lambda name: wrap(make_environment(PENDULUM).env, [name]), "relative_fram", "did you mean relative_frame"),
    "success": (lambda name: make_environment(dataclasses.replace(PENDULUM, success=name)), "operater", "did you mean operator"),
    "activation": (activation, "rellu", "did you mean relu"),
    "network": (with_network, "deep", "must be or MODULE:NAME for a network of your own"),
    "encoder": (with_encoder, "resnet1", "did you mean resnet10"),
    "format": (lambda name: load_episodes(f"{name}:{__file__}"), "nowhere", "does not exist"),
}


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    """A folder of the user's with a module that cannot be imported."""
    (tmp_path / "own_brokn.py").write_text("import no_such_driver\n")
    make_importable(tmp_path)


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("own_brokne:Thing", r'there is no module "own_brokne" among .*did you mean own_brokn\?'),
        ("own_brokn:Thing", r"importing own_brokn failed: ModuleNotFoundError: .*no_such_driver.* \(own_brokn.py, line 1\)\."),
        ("own_parts:Trnk", r'there is no "Trnk" in own_parts; did you mean Trunk\?'),
        ("own_parts:NUMBER", r"own_parts:NUMBER is 42; .* is needed\."),
    ],
)
def test_a_name_that_leads_to_nothing_is_the_same_sentence_for_every_kind(kind, name, says):
    opens, _, _ = kind
    with pytest.raises(WarmloopError, match=says) as error:
        opens(name)
    assert str(error.value).count("\n") == 0 and str(error.value).startswith(("config.", "--", "environment.", "agent.", "data."))


def test_a_word_that_names_nothing_is_told_with_what_there_is(kind):
    opens, word, says = kind
    with pytest.raises(WarmloopError, match=says):
        opens(word)


def test_an_activation_of_ones_own_or_of_jaxs_acts():
    x = jnp.array([-1.0, 2.0])
    np.testing.assert_allclose(activation("own_parts:softer")(x), jnp.tanh(0.5 * x))
    assert activation("jax.nn:gelu") is jax.nn.gelu


@pytest.mark.parametrize("agent", [BC(BCConfig(hidden=(8,), actor_network="own_parts:Trunk"), STATES),
                                   SAC(SACConfig(hidden=(8,), ensemble=2, utd=1, actor_network="own_parts:Trunk"), STATES)])  # fmt: skip
def test_a_network_of_ones_own_takes_the_place_of_the_policys_layers_and_is_trained(agent):
    state = agent.init(jax.random.key(0), rows_of(20))
    layers = state.actor["params"]
    assert layers["network"]["Dense_0"]["kernel"].shape == (5, 5) and "hidden_0" not in layers
    after, _, _ = jax.jit(agent.update)(state, block_of(1, 8))
    assert not np.array_equal(after.actor["params"]["network"]["Dense_0"]["kernel"], layers["network"]["Dense_0"]["kernel"])
    one = jax.tree.map(lambda leaf: leaf[0], rows_of(1).observation)
    assert agent.act(agent.actor_params(after), one, jax.random.key(0), (), True)[0].shape == (3,)


def test_an_encoder_of_ones_own_sees_the_pictures():
    vision = Vision(VisionConfig("own_parts:Trunk", features=4), PICTURES)
    params = vision.init(jax.random.key(0))
    assert params["params"]["camera_0"]["Dense_0"]["kernel"].shape == (8 * 8 * 3, 5)
    observation = {"arm": jnp.zeros((2, 3)), "front": jnp.stack([jnp.zeros((8, 8, 3)), jnp.full((8, 8, 3), 255)]).astype(jnp.uint8)}
    seen = vision(params, Normaliser(jnp.zeros(3), jnp.ones(3)), observation)
    assert seen.shape == (2, 3 + 4) and not np.allclose(seen[0], seen[1])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("own_parts:OfOneRow", r"actor_network=own_parts:OfOneRow gave \[1, 5\] for an array \[8, 5\]; it must keep the rows"),
        ("own_parts:Failing", r"called with an array \[1, 5\], failed: KeyError: 'joint'"),
        ("own_parts:softer", "a flax.linen.Module class that is made without arguments is needed"),
    ],
)
def test_a_network_that_does_not_fit_is_a_sentence(name, says):
    agent = BC(BCConfig(hidden=(8,), actor_network=name), STATES)
    with pytest.raises(WarmloopError, match=says):
        jax.jit(agent.update)(agent.init(jax.random.key(0), rows_of(20)), block_of(1, 8))


@pytest.mark.parametrize("name", ["actor_hidden", "actor_layer_norm", "actor_dropout"])
def test_settings_that_a_network_of_ones_own_replaces_are_refused(name):
    value = {"actor_hidden": (4,), "actor_layer_norm": True, "actor_dropout": 0.5}[name]
    for config in (BCConfig, SACConfig):
        with pytest.raises(WarmloopError, match=f"agent.{name} is of the policy's own layers"):
            config(actor_network="own_parts:Trunk", **{name: value})


@pytest.mark.parametrize(("rule", "first"), [("own_parts:upright", 0), ("own_parts:Held", 2)])
def test_a_success_rule_of_ones_own_decides_and_a_class_is_told_where_an_episode_begins(rule, first):
    environment = make_environment(dataclasses.replace(PENDULUM, success=rule))
    episodes = [run_episode(environment, RandomPolicy(1), seed, EpisodePlan(stop_at_success=False)) for seed in range(12)]
    upright = [np.asarray(episode.steps.next_observation)[:, 0] > 0.9 for episode in episodes]
    expected = [np.convolve(up, np.ones(first + 1))[: len(up)] >= first + 1 for up in upright]
    assert any(each.any() for each in expected)
    for episode, flags in zip(episodes, expected, strict=True):
        np.testing.assert_array_equal(episode.outcome.success, flags)


@pytest.mark.parametrize(("rule", "says"), [("own_parts:a_word", "returned 'yes' for a step; return True, False or None"),
                                            ("own_parts:fails", "called with a step's outcome, failed: KeyError: 'joint'")])  # fmt: skip
def test_a_success_rule_that_says_neither_is_a_sentence(rule, says):
    environment = make_environment(dataclasses.replace(PENDULUM, success=rule))
    with pytest.raises(WarmloopError, match=says):
        run_episode(environment, RandomPolicy(1), 0)


def test_a_wrapper_of_ones_own_that_fails_or_returns_none_is_a_sentence():
    env = make_environment(PENDULUM).env
    assert type(wrap(env, ["own_parts:Doubled"]).env).__name__ == "Doubled"
    with pytest.raises(WarmloopError, match=r"own_parts:fails, called with the environment, failed: KeyError: 'joint' \(own_parts.py"):
        wrap(env, ["own_parts:fails"])
    with pytest.raises(WarmloopError, match=r"builtins:str returned .*; a callable that takes the environment and returns a Gymnasium"):
        wrap(env, ["builtins:str"])


# Agents.


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("WithoutConfig", "settings' class as `Config` is needed"),
        ("WithoutUpdate", r"has no update; an agent needs init, update, actor_params, act"),
        ("WithoutDefault", "its Config has no default for width"),
        ("Thawed", "must be frozen dataclasses"),
        ("Elsewhere", 'define it at the top level of its module|there is no "Hidden"'),
    ],
)
def test_what_is_no_agent_is_told_with_what_it_lacks(name, says):
    with pytest.raises(WarmloopError, match=says):
        agent_classes(f"own_parts:{name}", "config.agent.name")


def test_an_agent_whose_acting_parameters_have_no_normaliser_is_refused():
    config = load("configs/classic.py:pendulum,own_parts:Blind")
    with pytest.raises(WarmloopError, match="its actor_params have no `normaliser`"):
        build_agent(config.agent, RewardConfig(), STATES)


def test_an_agent_of_ones_own_is_stored_by_its_own_name_even_where_it_inherits_another():
    agent = build_agent(load("configs/classic.py:pendulum,own_parts:Cloning").agent, RewardConfig(), STATES)
    described = json.loads(json.dumps(describe_agent(agent)))
    assert described["name"] == "own_parts:Cloning" and rebuild_agent(described) == agent
    with pytest.raises(WarmloopError, match=r'the checkpoint.s agent.name=own_gone:Mine: there is no module "own_gone"'):
        rebuild_agent(described | {"name": "own_gone:Mine"})


def test_a_configuration_holds_an_agent_of_ones_own_and_its_settings_are_checked():
    config = load("configs/classic.py:pendulum,own_parts:Cloning,small")
    assert config.agent == config.warmup_agent and config.agent.settings.batch_size == 128
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    with pytest.raises(WarmloopError, match=r"There is no setting config.agent.betta; did you mean beta"):
        from_dict(to_dict(config) | {"agent": {"name": "own_parts:Cloning", "betta": 1.0}})
    with pytest.raises(WarmloopError, match="bc and own_parts:Cloning are two algorithms"):
        load("configs/classic.py:pendulum,bc,own_parts:Cloning")


def test_naming_an_agent_by_a_flag_brings_its_own_settings_as_flags():
    line = ["x", "--config=configs/classic.py:pendulum", "--config.agent.name=own_parts:Cloning", "--config.warmup_agent.name", "iql"]
    located = locate_config(line)
    assert located[2:] == line[2:] and specification_of(located[1].removeprefix("--config=")).endswith("classic.py:pendulum")
    assert unknown_setting([*located, "--config.agent.beta=0.1", "--config.warmup_agent.expectile=0.8"]) is None
    assert "has no setting" in str(unknown_setting([*located, "--config.agent.expectile=0.1"]))


def test_algorithms_that_say_nothing_of_each_other_refuse_to_go_on_in_words():
    @dataclasses.dataclass(frozen=True)
    class Alone:
        config: BCConfig
        spec: Spec
        problem: Problem = Problem()

    alone, sac = Alone(BCConfig(), STATES), SAC(SACConfig(hidden=(8,), ensemble=2), STATES)
    with pytest.raises(WarmloopError, match=r"Alone cannot go on from SAC's warm-up: Alone has no take_over. Fine-tune with the agent"):
        go_on(alone, sac, {})  # pyright: ignore[reportArgumentType]
    with pytest.raises(WarmloopError, match="SAC cannot go on from Alone's warm-up: Alone has no hand_over"):
        go_on(sac, alone, {})  # pyright: ignore[reportArgumentType]
    state = {"weights": np.ones(2)}
    assert go_on(alone, alone, state) is state  # pyright: ignore[reportArgumentType]

"""Presets and the typed configuration: they build, go through flags and back unchanged, and refuse mistakes by name."""

import dataclasses
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from warmloop.actor.environment import EnvironmentConfig
from warmloop.agents import AGENTS
from warmloop.agents.base import Problem, go_on
from warmloop.agents.networks.vision import VisionConfig
from warmloop.configs import load, locate
from warmloop.configs.recipes.algorithms import ALGORITHMS, apply
from warmloop.configs.schema import RunConfig, build_agent, from_config_dict, from_dict, to_config_dict, to_dict
from warmloop.data.errors import WarmloopError
from warmloop.data.reward import RewardConfig, return_bounds
from warmloop.data.sources import DataConfig, SourceConfig
from warmloop.data.transition import Leaf, Spec, example, spec_beside
from warmloop.launch.run.assemble import fine_agent, warm_parts

SPEC = Spec((Leaf("", (18,), "float32"),), 3)
TASKS = [
    *(f"configs/adroit.py:{task}" for task in ("door", "hammer", "pen", "relocate")),
    *(f"configs/metaworld.py:{task}" for task in ("peg-insert-side", "door-open", "drawer-open-v3", "mt3", "mt10")),
    *(f"configs/gym_hil.py:{task}" for task in ("pick-cube", "pick-cube-pixels", "arrange-boxes", "arrange-boxes-pixels")),
    "configs/classic.py:pendulum",
    *(f"configs/mujoco.py:{task}" for task in ("hopper", "halfcheetah", "walker2d", "ant", "humanoid")),
]
# `grasp` and `then_sac` are for few tasks and have tests of their own; `sparse` is for tasks that reward success alone.
BUILT = [
    (task, name)
    for task in TASKS
    for name in (None, *ALGORITHMS)
    if name not in ("grasp", "then_sac") and not (name == "sparse" and ("classic" in task or "mujoco" in task))
]


@pytest.mark.parametrize(("task", "algorithm"), BUILT)
def test_every_preset_builds_both_agents_and_survives_flags_and_files(task, algorithm):
    check_preset(load(task if algorithm is None else f"{task},{algorithm}"))


def check_preset(config):
    assert from_config_dict(to_config_dict(config)) == config
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    for choice in (config.agent, config.warmup_agent):
        spec = spec_beside(SPEC, 1) if choice.name == "edit" else SPEC
        agent = build_agent(choice, config.reward, spec)
        assert agent.name in AGENTS and getattr(agent.config, "discount", config.reward.discount) == config.reward.discount
        assert hash(agent) == hash(build_agent(choice, config.reward, spec))


@pytest.mark.parametrize("task", ["configs/gym_hil.py:pick-cube-pixels", "configs/metaworld.py:door-open,hilserl"])
def test_a_gripper_that_is_known_turns_the_tasks_sac_into_one_with_a_grasp_critic(task):
    plain, config = load(task), load(f"{task},grasp")
    check_preset(config)
    assert config.agent.name == config.warmup_agent.name == "sac_grasp"
    known = {name: getattr(config.agent.settings, name) for name in vars(plain.warmup_agent.settings)}
    assert known == vars(plain.warmup_agent.settings)
    assert (config.agent.settings.gripper_states == (14,)) == task.startswith("configs/gym_hil")


@pytest.mark.parametrize(
    ("preset", "says"),
    [("configs/adroit.py:door,grasp", 'not of "AdroitHandDoor-v1"'), ("configs/gym_hil.py:pick-cube,cql,grasp", 'the agent is "cql"')],
)
def test_a_gripper_that_is_not_known_or_not_sacs_is_refused(preset, says):
    with pytest.raises(WarmloopError, match=says):
        load(preset)


def test_warmloops_own_recipes_are_those_of_the_recorded_figures():
    """docs/results.md, made with `tests/benchmarks/scoreboard.py`."""
    tasks = ("adroit.py:door", "metaworld.py:mt3", "mujoco.py:hopper")

    def of(preset):
        return [load(f"configs/{task},{preset}") for task in tasks]

    assert [one.agent.settings.alpha for one in of("td3bc_tuned")] == [0.02, 2.5, 2.5]
    assert [one.agent.settings.perturbation for one in of("bcq_tuned")] == [0.0, 0.05, 0.05]
    assert [one.agent.settings.temperature for one in of("awac_tuned")] == [0.1, 0.1, 0.333]
    assert [one.agent.settings.inverse_temperature for one in of("iql_tuned")] == [0.5, 3.0, 3.0]
    for preset in ("cql_tuned", "calql_tuned"):
        settings = [one.warmup_agent.settings for one in of(preset)]
        assert [one.bc_weight for one in settings] == [1.0, 0.0, 0.0] and settings[0].bc_reduction == "sum"
        assert [one.cql_weight for one in settings] == [1.0, 5.0, 5.0] and settings[0].normalise_observations
        assert [one.replay.alpha for one in of(preset)] == [0.6] * 3
    assert [(one.reward.scale, one.reward.bias) for one in of("calql_tuned")] == [(10.0, -5.0), (10.0, -5.0), (1.0, 0.0)]
    for preset in ("bc_tuned", "hgdagger_tuned", "td3bc_tuned", "iql_tuned", "awac_tuned", "bcq_tuned"):
        assert all(one.quality.demos == 2.0 and one.replay.alpha == 0.0 and one.retention.ratio == 1.0 for one in of(preset))


def test_sparse_is_the_default_of_the_tasks_that_it_serves_and_has_what_its_page_says():
    for task in ("configs/adroit.py:door", "configs/metaworld.py:mt3", "configs/gym_hil.py:arrange-boxes-pixels"):
        assert load(f"{task},sparse") == load(task)
        agent, warm = load(task).agent, load(task).warmup_agent
        assert (agent.name, warm.name) == ("ibrl", "sac")
        assert agent.settings.bc_reduction == warm.settings.bc_reduction == ("sum" if "adroit" in task else "mean")
    page = (Path(__file__).resolve().parents[2] / "docs" / "sparse.md").read_text()
    plain, sparse = (load(f"configs/metaworld.py:door-open,{name}") for name in ("sac", "sparse"))
    for mine, theirs in ((plain.agent, sparse.warmup_agent), (sparse.warmup_agent, sparse.agent)):
        one, other = vars(mine.settings), vars(theirs.settings)
        for name in (name for name in other if name not in one or one[name] != other[name]):
            assert f"`{name}`" in page, f"docs/sparse.md says nothing of {name}"


@pytest.mark.parametrize(
    ("presets", "says"),
    [
        ("cql,iql", "two algorithms"),
        ("small,iql", "write iql,small"),
        ("iql,iql", "twice"),
        ("iql,small,full", "two sizes"),
        ("wsrl,full", "published size"),
        ("then_sac", "none is named"),
        ("bcq,then_sac", "bcq is none"),
        ("hgdagger_tuned,then_sac", "hgdagger_tuned is none"),
        ("iql,smal", 'no algorithm preset "smal"; did you mean "small"'),
    ],
)
def test_presets_that_do_not_go_together_are_refused_in_words(presets, says):
    with pytest.raises(WarmloopError, match=says):
        load(f"configs/adroit.py:door,{presets}")


def test_sparse_is_refused_where_the_reward_is_the_environments_own():
    with pytest.raises(WarmloopError, match=r"sparse is for rewards of success alone.*Hopper-v5"):
        load("configs/mujoco.py:hopper,sparse")


def test_an_encoder_of_pictures_stays_the_tasks_under_every_preset_that_has_one():
    task = load("configs/gym_hil.py:pick-cube-pixels")
    seeing = task.replace(agent={"vision": VisionConfig(features=8)}, warmup_agent={"vision": VisionConfig(features=8)})
    for name in ("sac", "sparse", "rlpd", "hilserl", "wsrl", "calql", "bc"):
        assert apply(seeing, [name]).agent.settings.vision == VisionConfig(features=8), name


def test_the_policys_step_size_decays_over_the_warm_up_as_long_as_it_is_and_not_online():
    config = load("configs/mujoco.py:hopper,iql").replace(learner={"warmup_steps": 700}, warmup_agent={"utd": 2})
    assert warm_parts(config, SPEC).agent.problem.warmup_updates == 1_400
    assert fine_agent(config, SPEC).problem.warmup_updates == 0


@pytest.mark.parametrize("algorithm", ["bc", "td3bc", "iql", "awac", "cql", "calql_tuned", "iql_tuned"])
@pytest.mark.parametrize("task", ["configs/adroit.py:door", "configs/mujoco.py:hopper"])
def test_what_an_offline_algorithm_warms_up_fits_the_sac_that_then_fine_tunes(task, algorithm):
    config = load(f"{task},{algorithm},then_sac")
    assert (config.warmup_agent.name, config.agent.name) == (algorithm.removesuffix("_tuned").replace("calql", "cql"), "sac")
    warm, fine = (build_agent(choice, config.reward, SPEC) for choice in (config.warmup_agent, config.agent))
    states = [jax.eval_shape(agent.init, jax.random.key(0), jax.tree.map(jnp.asarray, example(SPEC))) for agent in (warm, fine)]
    taken = jax.eval_shape(lambda state: go_on(fine, warm, state), states[0])
    assert jax.tree.map(lambda x: x.shape, taken) == jax.tree.map(lambda x: x.shape, states[1])
    assert fine.config.log_std_min == getattr(warm.config, "log_std_min", -20.0)


def test_tasks_joined_or_named_as_a_set_are_one_run_of_several():
    joined, named = load("configs/metaworld.py:door-open+drawer-open-v3+window-open,rlpd"), load("configs/metaworld.py:mt3,rlpd")
    assert joined == named and joined.tasks.names == ("door-open", "drawer-open", "window-open")
    assert joined.environment.id == "Meta-World/{task}-v3"
    assert len(load("configs/metaworld.py:mt10").tasks) == 10
    alone = load("configs/metaworld.py:door-open")
    assert alone.environment.id == "Meta-World/door-open-v3" and not alone.tasks.names


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"agnet": {}}, "agent"),
        ({"agent": {"name": "sak"}}, "sac"),
        ({"agent": {"utdd": 3}}, "utd"),
        ({"agent": {"discount": 0.5}}, "discount"),
        ({"agent": {"name": "td3bc", "alhpa": 2.0}}, r"config\.agent\.alhpa; did you mean alpha"),
        ({"agent": {"name": "td3bc", "discount": 0.5}}, "discount"),
        ({"agent": {"name": "iql", "actor_decay_updates": 5}}, "actor_decay_updates"),
        ({"agent": {"name": "iql", "expectile": 1.0}}, "expectile"),
        ({"agent": {"name": "bc", "alpha": 2.0}}, r"no setting config\.agent\.alpha"),
        ({"agent": {"name": "bc", "actor_dropout": 1.0}}, "actor_dropout is 1.0; it must be at least 0 and below 1"),
        ({"agent": {"actor_lr": -1.0}}, "agent.actor_lr is -1.0; it must be at least 0"),
        ({"agent": {"name": "cql", "critic_lr": math.inf}}, "agent.critic_lr is inf"),
        ({"agent": {"name": "cql", "lagrange_lr": -1e-4}}, "agent.lagrange_lr is -0.0001"),
        ({"agent": {"name": "bcq", "vae_lr": math.nan}}, "agent.vae_lr is nan"),
        ({"agent": {"tau": 0.0}}, r"agent.tau is 0.0; it must lie in \(0, 1\]"),
        ({"agent": {"name": "iql", "tau": 1.5}}, "agent.tau is 1.5"),
        ({"agent": {"actor_tau": -0.1}}, "agent.actor_tau is -0.1"),
        ({"agent": {"hidden": (64, 0)}}, r"agent.hidden is \(64, 0\); each of them must be at least 1"),
        ({"agent": {"name": "bcq", "vae_hidden": (0,)}}, "agent.vae_hidden"),
        ({"agent": {"initial_temperature": 0.0}}, "agent.initial_temperature is 0.0"),
        ({"agent": {"bc_weight": -1.0}}, "agent.bc_weight is -1.0"),
        ({"agent": {"name": "cql", "cql_weight": -5.0}}, "agent.cql_weight is -5.0"),
        ({"replay": {"alpha": -0.5}}, "replay.alpha is -0.5; it must be 0 or more"),
        ({"replay": {"beta": 2.0}}, r"replay.beta is 2.0; it must lie in \[0, 1\]"),
        ({"learner": {"max_utd": math.nan}}, "learner.max_utd is nan"),
        ({"learner": {"port": 70000}}, "learner.port is 70000"),
        ({"actor": {"evaluate_every": -1}}, "actor.evaluate_every is -1"),
        ({"fqe": {"learning_rate": -1e-3}}, "fqe.learning_rate is -0.001"),
        ({"fqe": {"hidden": (0,)}}, "fqe.hidden"),
        ({"learner": {"warmup_steps": "many"}}, "int"),
        ({"reward": {"terminate_on_success": 1}}, "bool"),
        ({"mixing": {"decay": 2.0}}, "decay"),
        ({"learner": {"min_utd": 2.0}}, "max_utd"),
        ({"data": {"scaling": "limits"}}, r"config\.data\.scaling; did you mean action_scaling"),
        ({"data": {"sources": [{"path": "a"}, {"path": "b", "wieght": 2.0}]}}, r"config\.data\.sources\[1\]\.wieght; did you mean weight"),
        ({"data": {"sources": [{"path": "a", "weight": "2"}]}}, r"config\.data\.sources\[0\]\.weight is '2'; it must be of type float"),
        ({"data": {"sources": [{"path": "a", "action": [0, 1.5]}]}}, r"sources\[0\]\.action\[1\] is 1\.5"),
        ({"data": {"sources": [{}]}}, "no path"),
        ({"data": {"sources": ["a.npz"]}}, r"config\.data\.sources\[0\] is 'a\.npz'; it must be"),
        ({"data": {"sources": "a.npz"}}, r"config\.data\.sources is 'a\.npz'; it must be a list"),
        ({"environment": {"id": "Pendulum-v1", "action_low": ["x"], "action_high": [1]}}, r"action_low\[0\]"),
        ({"tasks": {"names": ["door", "door"]}}, "twice"),
    ],
)
def test_a_mistaken_value_is_refused_by_name(values, says):
    with pytest.raises(WarmloopError, match=says):
        from_dict({"environment": {"id": "Pendulum-v1"}} | values)


SOURCES = (
    SourceConfig("a.hdf5", "demos", 2.0, {"": ("robot.joints", "object[0:7]")}, (0, 1, 6), task="open"),
    SourceConfig("b.npz", observation={"front": "agentview_image", "state": "pose"}, action_units="scaled"),
)


def test_sources_survive_flags_and_files_and_their_config_is_hashable():
    config = RunConfig(
        EnvironmentConfig("Pendulum-v1", action_low=(-1.0,), action_high=(2.0,)),
        data=DataConfig(SOURCES, {"front": "image"}, (1, 0), "limits"),
    )
    assert from_config_dict(to_config_dict(config)) == config
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    assert hash(config) == hash(dataclasses.replace(config)) != hash(config.replace(data={"sources": SOURCES[:1]}))
    assert SOURCES[0].observation == (("", ("robot.joints", "object[0:7]")),)


def test_a_configuration_saved_before_there_were_sources_loads():
    saved = to_dict(load("configs/adroit.py:door"))
    del saved["data"], saved["environment"]["action_low"], saved["environment"]["action_high"]
    assert from_dict(saved) == load("configs/adroit.py:door")


def test_a_whole_number_is_a_float_where_one_is_wanted():
    assert from_dict({"environment": {"id": "Pendulum-v1"}, "reward": {"scale": 10}}).reward.scale == 10.0


def test_an_absent_file_is_answered_with_the_presets_there_are():
    with pytest.raises(WarmloopError, match=r"configs/adroit\.py"):
        locate("configs/adroid.py:door")


def test_ones_own_file_comes_before_the_packages_preset(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    own = tmp_path / "configs" / "adroit.py"
    own.write_text(
        "from warmloop.actor.environment import EnvironmentConfig\n"
        "from warmloop.configs.schema import RunConfig, to_config_dict\n"
        "def get_config(argument=''):\n"
        "    return to_config_dict(RunConfig(EnvironmentConfig('my_lab:Arm-v0', kwargs={'gripper': True})))\n"
    )
    monkeypatch.chdir(tmp_path)
    config = load("configs/adroit.py")
    assert config.environment.id == "my_lab:Arm-v0" and dict(config.environment.kwargs) == {"gripper": True}


@pytest.mark.parametrize(
    ("reward", "bounds"),
    [
        (RewardConfig(), (0.0, 1.0)),
        (RewardConfig(terminate_on_success=False, discount=0.9), (0.0, 10.0)),
        (RewardConfig(bias=-1.0, discount=0.9), (-10.0, 0.0)),
        (RewardConfig(scale=10.0, bias=-5.0, discount=0.9), (-50.0, 5.0)),
        (RewardConfig(signal="environment"), (-math.inf, math.inf)),
    ],
)
def test_the_returns_bounds_follow_from_the_reward(reward, bounds):
    assert return_bounds(reward) == pytest.approx(bounds)


def test_clipping_the_target_needs_a_bounded_reward():
    config = RunConfig(EnvironmentConfig("Pendulum-v1"), reward=RewardConfig(signal="environment"))
    config = config.replace(agent={"clip_target": True})
    with pytest.raises(WarmloopError, match="clip_target"):
        build_agent(config.agent, config.reward, SPEC)
    assert build_agent(config.agent, RewardConfig(), SPEC).problem == Problem(0.99, 0.0, 1.0)

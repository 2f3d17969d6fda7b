"""A configuration of one's own: the agent that it has unless it names one, and presets on top of it by the loader."""

import json

import pytest

from warmloop.actor.environment import EnvironmentConfig
from warmloop.agents import AGENTS
from warmloop.configs import load
from warmloop.configs.recipes.algorithms import apply
from warmloop.configs.schema import AgentChoice, RunConfig, build_agent, from_config_dict, from_dict, to_config_dict, to_dict
from warmloop.data.errors import WarmloopError
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Leaf, Spec

SPEC = Spec((Leaf("", (18,), "float32"),), 3)
OWN = EnvironmentConfig("my_lab:Arm-v0", horizon=150, success="info:inserted")


def test_a_configuration_that_names_no_agent_has_one_for_its_reward_that_a_laptop_can_train():
    rare, dense = RunConfig(OWN), RunConfig(OWN, RewardConfig(signal="environment"))
    for config in (rare, dense):
        settings = config.agent.settings
        assert (config.warmup_agent.name, settings.ensemble, settings.utd, settings.batch_size) == ("sac", 2, 2, 128)
        assert from_config_dict(to_config_dict(config)) == config
    assert rare == apply(rare, ["sparse"]) and rare.agent.name == "ibrl"
    assert dense.agent == dense.warmup_agent and not dense.agent.settings.clip_target
    assert rare.replace(reward={"signal": "environment"}).agent == dense.agent, "the default follows the reward"
    chosen = rare.replace(agent={"utd": 4}, reward={"signal": "environment"})
    assert chosen.agent.settings.utd == 4 and chosen.agent.settings.clip_target, "what was chosen stays"
    given = AgentChoice("bc", AGENTS["bc"][1]())
    assert RunConfig(OWN, agent=given).warmup_agent == given


def test_an_accelerator_gets_the_published_size_and_the_same_policy(monkeypatch):
    small = RunConfig(OWN, RewardConfig(signal="environment"))
    monkeypatch.setattr("warmloop.configs.recipes.machine.has_accelerator", lambda: True)
    large = RunConfig(OWN, RewardConfig(signal="environment"))
    assert (large.agent.settings.ensemble, large.agent.settings.utd, large.agent.settings.batch_size) == (10, 20, 256)
    policies = [build_agent(config.agent, config.reward, SPEC).policy for config in (small, large)]
    assert policies[0] == policies[1]
    assert from_dict(json.loads(json.dumps(to_dict(small)))) == small, "a resume elsewhere keeps the numbers that were saved"


OWN_FILE = """
from warmloop.actor.environment import EnvironmentConfig
from warmloop.configs.schema import RunConfig, to_config_dict


def get_config(argument=""):
    return to_config_dict(RunConfig(EnvironmentConfig("my_lab:Arm-v0", kwargs=KWARGS)))
"""
IGNORING, LOOKING = OWN_FILE.replace("KWARGS", "{}"), OWN_FILE.replace("KWARGS", '{"mode": argument}')
WITHOUT = IGNORING.replace('argument=""', "").replace("to_config_dict(RunConfig", "(RunConfig")


@pytest.mark.parametrize("source", [IGNORING, LOOKING, WITHOUT], ids=["ignores its argument", "looks at it", "takes none"])
@pytest.mark.parametrize(("rest", "agent", "width"), [("", "ibrl", 256), (",bc", "bc", 256), (",iql,small", "iql", 128)])
def test_presets_go_on_top_of_any_file(tmp_path, source, rest, agent, width):
    (tmp_path / "my.py").write_text(source)
    config = load(f"{tmp_path}/my.py{rest}")
    assert (config.agent.name, config.warmup_agent.settings.hidden) == (agent, (width, width))


@pytest.mark.parametrize("source", [IGNORING, WITHOUT], ids=["ignores its argument", "takes none"])
def test_an_argument_that_changes_nothing_is_a_preset_or_an_error(tmp_path, source):
    (tmp_path / "my.py").write_text(source)
    assert load(f"{tmp_path}/my.py:iql,small") == load(f"{tmp_path}/my.py,iql,small")
    with pytest.raises(WarmloopError, match=r'"iqll" changes nothing in .*my.py. Of presets, did you mean "iql"'):
        load(f"{tmp_path}/my.py:iqll")
    with pytest.raises(WarmloopError, match='no algorithm preset "smal"; did you mean "small"'):
        load(f"{tmp_path}/my.py:iql,smal")


def test_an_argument_of_ones_own_is_passed_on_and_presets_follow_it(tmp_path):
    (tmp_path / "my.py").write_text(LOOKING)
    config = load(f"{tmp_path}/my.py:insert:Lab/Arm-v0,iql,small")
    assert dict(config.environment.kwargs) == {"mode": "insert:Lab/Arm-v0"} and config.agent.name == "iql"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def get_config(task): return {'a': 1}[task]", "get_config('door') failed: KeyError: 'door'"),
        ("def get_config(task): return [task]", "get_config gave list; it must give a RunConfig"),
        ("def config(): pass", "has no function get_config"),
    ],
)
def test_a_file_that_gives_no_configuration_is_told_in_a_sentence(tmp_path, source, says):
    (tmp_path / "my.py").write_text(source)
    with pytest.raises(WarmloopError) as error:
        load(f"{tmp_path}/my.py:door")
    assert says in str(error.value)


def test_a_saved_configuration_is_one_too(tmp_path):
    config = load("configs/adroit.py:door,cql,small")
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    assert load(f"{tmp_path}/config.json") == config
    assert load(f"{tmp_path}/config.json,iql").agent.name == "iql"
    with pytest.raises(WarmloopError, match='takes no argument "door"'):
        load(f"{tmp_path}/config.json:door")


def test_an_argument_is_passed_on_where_a_configuration_has_arrays(tmp_path):
    (tmp_path / "my.py").write_text(LOOKING.replace('"mode": ', '"goal": __import__("numpy").zeros(2), "mode": '))
    assert dict(load(f"{tmp_path}/my.py:left,iql").environment.kwargs)["mode"] == "left"


def test_a_runs_name_may_have_the_marks_of_presets_and_arguments_in_it(tmp_path):
    folder = tmp_path / "lr:1e-3,iql"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(to_dict(load("configs/adroit.py:door,cql,small"))))
    assert load(f"{folder}/config.json").agent.name == "cql"
    assert load(f"{folder}/config.json,iql").agent.name == "iql"

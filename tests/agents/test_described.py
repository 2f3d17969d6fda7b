"""An agent as JSON: every algorithm comes back as it was, and a description that was changed is a sentence."""

import json

import pytest

from warmloop.agents import AGENTS
from warmloop.agents.described import describe_agent, rebuild_agent
from warmloop.configs.schema import AgentChoice, build_agent
from warmloop.data.errors import WarmloopError
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Leaf, Spec

SPEC = Spec((Leaf("arm", (3,), "float32"), Leaf("pose", (7,), "float32")), 4)
PROPOSED = Spec((Leaf("arm", (3,), "float32"), Leaf("base_action", (4,), "float32")), 4)


def described(name):
    choice = AgentChoice(name, AGENTS[name][1]())
    agent = build_agent(choice, RewardConfig(signal="success", discount=0.97), PROPOSED if name == "edit" else SPEC, warmup_steps=7)
    return agent, json.loads(json.dumps(describe_agent(agent)))


@pytest.mark.parametrize("name", AGENTS)
def test_every_algorithm_is_rebuilt_from_its_description(name):
    agent, description = described(name)
    again = rebuild_agent(description)
    assert again == agent and hash(again) == hash(agent) and describe_agent(again) == describe_agent(agent)


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        ("config", {"utdd": 3}, "There is no setting checkpoint.agent.config.utdd; did you mean utd"),
        ("config", {"hidden": 3}, "checkpoint.agent.config.hidden is 3; it must be a list"),
        ("config", {"hidden": ["wide"]}, "checkpoint.agent.config.hidden[0] is 'wide'; it must be of type int"),
        ("spec", {"action_dim": "4"}, "checkpoint.agent.spec.action_dim is '4'; it must be of type int"),
        ("spec", {"observation": [{"name": "arm"}]}, "checkpoint.agent.spec.observation[0] has no shape, which it needs"),
    ],
)
def test_a_description_that_was_changed_is_a_sentence(part, change, says):
    _, description = described("sac")
    with pytest.raises(WarmloopError) as error:
        rebuild_agent(description | {part: description[part] | change})
    assert says in str(error.value)

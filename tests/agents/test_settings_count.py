"""Every setting of every algorithm counts: something reads it when the algorithm is made, learns or acts."""

import dataclasses
from typing import Any

import jax
import pytest
from blocks import KEY, PROPOSED, SPEC, block_of, rows_of, small_settings

from warmloop.agents import AGENTS, HasCritics, HasLikelihood
from warmloop.agents.base import Problem, window_of
from warmloop.agents.described import describe_agent, rebuild_agent
from warmloop.configs.schema import AgentChoice
from warmloop.data.errors import WarmloopError

OF_THE_LEARNER = {"utd", "batch_size"}  # the sizes of the blocks that it draws
ANOTHER = {"actor_network": "own_parts:Trunk", "observation_noise": 0.1, "n_step": 3}  # values that change something
OPTIONS = (  # that others depend on
    {"critic_loss": "hl_gauss"}, {"bc_weight": 1.0}, {"max_backup": True}, {"lagrange": True}, {"deterministic": True},
    {"penalty": "mobile"}, {"gripper_states": (2,), "grasp_penalty": 0.2},
)  # fmt: skip


def reading(config: Any, read: set[str]) -> Any:
    """The settings, which add the name of each one that is read to `read`."""
    names = {field.name for field in dataclasses.fields(config)}

    class Reading(type(config)):
        def __getattribute__(self, name: str) -> Any:
            if name in names:
                read.add(name)
            return super().__getattribute__(name)

        __hash__, __eq__ = object.__hash__, object.__eq__  # those of a dataclass read everything

    made = object.__new__(Reading)
    vars(made).update(vars(config))
    return made


def read_by(name: str, **options: Any) -> set[str]:
    """The settings that are read where an agent is made, learns a block, is asked about it and acts; nothing is computed."""
    read: set[str] = set()
    spec = PROPOSED if name == "edit" else SPEC
    config = reading(dataclasses.replace(small_settings(name), **options), read)
    agent = AGENTS[name][0](config, spec, Problem(0.9, 0.0, 1.0, warmup_updates=7))
    rows, block = rows_of(40, spec=spec), block_of(2, 8, window=window_of(agent), spec=spec)
    state = jax.eval_shape(lambda key: agent.init(key, rows), KEY)  # whose rows are looked at
    jax.eval_shape(agent.update, state, block)
    actor = jax.eval_shape(agent.actor_params, state)
    observation = jax.tree.map(lambda leaf: leaf[0], rows.observation)
    for deterministic in (False, True):
        jax.eval_shape(lambda actor, observation: agent.act(actor, observation, KEY, (), deterministic), actor, observation)  # noqa: B023
    if isinstance(agent, HasCritics):
        jax.eval_shape(agent.td_error, state, jax.tree.map(lambda leaf: leaf[0], block), KEY)
    if isinstance(agent, HasLikelihood):
        jax.eval_shape(agent.log_prob, actor, observation, rows.action[0])
    return read


@pytest.mark.parametrize("name", AGENTS)
def test_no_setting_is_without_effect(name):
    every = {field.name for field in dataclasses.fields(AGENTS[name][1])}
    read = set.union(*(read_by(name, **options) for options in ({}, *OPTIONS) if options.keys() <= every))
    for setting in every - read - OF_THE_LEARNER:  # only what a group has and this algorithm refuses
        with pytest.raises(WarmloopError, match=rf"agent.{setting}\b"):
            AGENTS[name][1](**{setting: ANOTHER[setting]})


def test_settings_of_earlier_versions_that_changed_nothing_are_left_out_of_what_was_saved():
    settings = dataclasses.replace(small_settings("ibrl"), noise=0.3)
    saved = {"name": "ibrl", **dataclasses.asdict(settings), "initial_temperature": 0.01, "self_imitation": True, "max_backup": False}
    assert AgentChoice.from_plain(saved, "config.agent") == AgentChoice("ibrl", settings)
    described = describe_agent(AGENTS["ibrl"][0](settings, SPEC))
    assert rebuild_agent(described | {"config": described["config"] | {"target_entropy_per_dim": -1.0}}).config == settings
    with pytest.raises(WarmloopError, match=r"There is no setting config\.agent\.initial_temperatur"):
        AgentChoice.from_plain(saved | {"initial_temperatur": 0.01}, "config.agent")

"""The bench's table of tasks and its recipes."""

import dataclasses
import json

import pytest
from warm_data import described, lacking, specification
from warm_recipes import RECIPES, configured, settings_of
from warm_tasks import CHOOSING, HALVES, JUDGING, NAMED, TASKS, Collected, Learnt, Shared

from warmloop.agents import SACConfig
from warmloop.configs import load
from warmloop.configs.recipes.kinds import sparse_reward
from warmloop.configs.schema import RunConfig

ALIKE = ("hand", "easy", "hard", "long", "suboptimal", "pauses", "two ways", "corrections", "luck", "dense", "negative")


def of(half: str) -> list:
    return [task for task in TASKS if task.half == half]


def test_there_are_enough_tasks_and_their_names_are_their_own():
    assert len(TASKS) >= 24
    assert len(NAMED) == len(TASKS)
    assert sum(task.name.startswith("mw-") for task in TASKS) >= 16


def test_no_two_tasks_are_the_same_from_the_same_recordings():
    assert len({json.dumps(described(task)) for task in TASKS}) == len(TASKS)


def test_both_halves_have_every_kind_of_task():
    assert {task.half for task in TASKS} == set(HALVES)
    assert abs(len(of(CHOOSING)) - len(of(JUDGING))) <= 1
    for kind in ALIKE:
        choosing, judging = (sum(kind in task.kinds for task in of(half)) for half in HALVES)
        assert min(choosing, judging) >= 1, kind
        assert abs(choosing - judging) <= 2, kind


def test_arms_of_the_judging_half_are_none_of_the_choosing_half():
    seen, kept = ({load(specification(task)).environment.id for task in of(half) if "arm" in task.kinds} for half in HALVES)
    assert not seen & kept


def test_door_and_hammer_come_in_each_quality_of_recordings():
    found = {(source.file, source.first) for task in TASKS for source in task.sources if isinstance(source, Shared)}
    assert {first for file, first in found if file in ("door-expert", "hammer-expert")} == {10, 25, 100}
    assert {"door-human-replay", "door-suboptimal", "hammer-suboptimal", "relocate-suboptimal"} <= {file for file, _ in found}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_task_is_configured_by_every_recipe(task):
    for name, recipe in RECIPES.items():
        config = configured(task, recipe, 123)
        assert isinstance(config, RunConfig)
        assert config.learner.online_steps == 123
        assert (config.learner.warmup_steps > 0) == (name != "rlpd")
        assert dataclasses.replace(config.environment, base_proposals=1) == load(specification(task)).environment
        assert not recipe.base or configured(task, RECIPES[recipe.base], 123).learner.warmup_steps > 0
        assert config.agent.settings.utd <= 4, "a run would take hours"


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_is_measured_by_what_it_has(task):
    config = load(specification(task))
    assert task.sources
    assert all(isinstance(source, Shared | Collected | Learnt) for source in task.sources)
    assert ("dense" in task.kinds) == (not sparse_reward(config))
    if task.returns:
        assert task.returns[0] < task.returns[1]
        assert not sparse_reward(config)


def test_the_old_recipe_stays_what_it_was(monkeypatch):
    monkeypatch.setattr("warmloop.configs.recipes.own.SPARSE", SACConfig(bc_weight=7.0))
    hand, arm = (configured(NAMED[name], RECIPES["old"], 1) for name in ("door-10", "mw-push"))
    assert (hand.agent.settings.bc_weight, hand.agent.settings.bc_reduction, arm.agent.settings.bc_reduction) == (1.0, "sum", "mean")
    assert hand.agent == hand.warmup_agent
    assert configured(NAMED["pendulum"], RECIPES["old"], 1).agent == load("configs/classic.py:pendulum").agent


def test_the_cloned_policy_is_fine_tuned_without_cloning_on_half_demonstrations():
    config = configured(NAMED["door-10"], RECIPES["bc5050"], 1)
    assert (config.warmup_agent.name, config.agent.name) == ("bc", "sac")
    assert not config.agent.settings.bc_weight and not config.agent.settings.self_imitation
    assert config.mixing.initial_ratio == config.mixing.min_ratio == 0.5


def test_a_shorter_warm_up_is_none_for_a_recipe_that_has_none():
    assert configured(NAMED["door-10"], RECIPES["old"], 1, warmup_steps=7).learner.warmup_steps == 7
    assert configured(NAMED["door-10"], RECIPES["rlpd"], 1, warmup_steps=7).learner.warmup_steps == 0


def test_the_settings_of_a_run_do_not_depend_on_its_length():
    short, long = (settings_of(configured(NAMED["pendulum"], RECIPES["old"], steps), 50) for steps in (10, 20))
    assert short == long
    assert short["learner.held_out"] == 0.0


def test_what_a_task_lacks_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr("warm_data.SHARED", tmp_path)
    assert "door-expert.npz, which does not exist" in (lacking(NAMED["door-10"]) or "")
    monkeypatch.setattr("warm_data.PACKAGES", {"ogbench:": (("no_such_module",), "pip install ogbench")})
    assert lacking(NAMED["scene"]) == "scene needs no_such_module: pip install ogbench"
    assert lacking(NAMED["pendulum"]) is None

"""The suspects of `tests/benchmarks/warm_diagnosis.py`: each is one change of settings that exist, and is off for as long as it says."""

import importlib.util
import sys
from pathlib import Path

import pytest

from warmloop.configs import load
from warmloop.configs.schema import to_dict
from warmloop.data.errors import WarmloopError

PATH = Path(__file__).resolve().parents[1] / "benchmarks" / "diagnosis_causes.py"


def imported():
    specification = importlib.util.spec_from_file_location("diagnosis_causes", PATH)
    assert specification is not None and specification.loader is not None
    module = sys.modules[specification.name] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


causes = imported()
RELOCATE = causes.by_sac(load("configs/adroit.py:relocate"))


def difference(config, base=RELOCATE):
    """Settings that differ: `{(section, name): value}`."""
    mine, theirs = to_dict(config), to_dict(base)
    return {(section, name): value for section in mine for name, value in mine[section].items() if value != theirs[section][name]}


@pytest.mark.parametrize("name", causes.CAUSES)
@pytest.mark.parametrize("task", ["configs/adroit.py:relocate", "configs/metaworld.py:peg-insert-side"])
def test_a_cause_that_is_off_changes_its_settings_and_no_others(name, task):
    base, cause = causes.by_sac(load(task)), causes.CAUSES[name]
    asked = {(section, setting) for section, settings in cause.changes.items() for setting in settings}
    changed = difference(causes.without(base, [name], False), base)
    assert changed and set(changed) <= asked
    warm = difference(causes.warmed_without(base, [name], False), base)
    assert warm == (changed if cause.warm else {})


def test_throughout_the_warm_up_is_without_the_cause_too():
    warm = difference(causes.warmed_without(RELOCATE, ["recorded-returns"], True))
    assert warm == {("agent", "monte_carlo_target"): False, ("warmup_agent", "monte_carlo_target"): False}
    assert difference(causes.warmed_without(RELOCATE, ["early-actor-1000"], True)) == {}


def test_a_cause_of_the_first_steps_is_off_until_then():
    names = ["early-actor-1000", "early-actor-2000", "cloning"]
    assert causes.stages(names, 6_000) == [1_000, 2_000, 6_000] and causes.stages(names, 1_000) == [1_000] and causes.stages([], 5) == [5]
    frozen = {("agent", "actor_lr"), ("agent", "temperature_lr"), ("agent", "actor_tau")}
    assert set(difference(causes.without(RELOCATE, names, False, 1_000))) == frozen | {("agent", "bc_weight")}
    assert set(difference(causes.without(RELOCATE, names, False, 2_000))) == {("agent", "bc_weight")}


def test_a_recipe_is_read_by_type_and_refused_where_it_is_none():
    words = ["wsrl", "agent.bc_weight=5.0", "agent.hidden=(64, 64)", "agent.actor_q=min", "mixing.min_ratio=0.9"]
    expected = {"agent": {"bc_weight": 5.0, "hidden": (64, 64), "actor_q": "min"}, "mixing": {"min_ratio": 0.9}}
    assert causes.recipe_changes(words) == expected
    assert set(difference(causes.changed(RELOCATE, expected))) == {(section, name) for section, part in expected.items() for name in part}
    with pytest.raises(WarmloopError, match="bc_weigth"):
        causes.changed(RELOCATE, causes.recipe_changes(["agent.bc_weigth=5.0"]))
    with pytest.raises(SystemExit, match=r"write SECTION.NAME=VALUE"):
        causes.recipe_changes(["bc_weight=5.0"])

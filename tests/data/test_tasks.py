"""Tasks: what an observation carries of its task can be read back, and mistakes are sentences."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import assert_identical, episode

from warmloop.data.errors import WarmloopError
from warmloop.data.tasks import TaskConfig, shares, tasks_of
from warmloop.data.transition import Leaf, Spec

NAMES = ("door", "drawer", "window")
GOALS = ((0.0, 1.0), (0.5, -2.0), (1e-3, 1.0))
CODED = [TaskConfig(NAMES), TaskConfig(NAMES, "id"), TaskConfig(NAMES, "goal", GOALS), TaskConfig(NAMES[:2], "id")]
VECTOR = Spec((Leaf("", (4,), "float32"),), 2)
IMAGES = Spec((Leaf("pixels", (2, 2, 3), "uint8"), Leaf("state", (4,), "float32")), 2)


def raw(spec, count, seed=0):
    rng = np.random.default_rng(seed)
    leaves = {leaf.name: rng.integers(0, 255, (count, *leaf.shape)).astype(leaf.dtype) for leaf in spec.observation}
    return leaves.get("", leaves)


@pytest.mark.parametrize("spec", [VECTOR, IMAGES], ids=["vector", "dict"])
@pytest.mark.parametrize("tasks", CODED, ids=lambda tasks: tasks.encoding)
@given(numbers=st.lists(st.integers(0, 1), min_size=1, max_size=9))
def test_a_conditioned_observation_gives_its_task_and_its_raw_self_back(tasks, spec, numbers):
    observation = raw(spec, len(numbers))
    conditioned = tasks.condition(observation, np.array(numbers))
    np.testing.assert_array_equal(tasks.numbers(conditioned), numbers)
    assert_identical(tasks.strip(conditioned), observation)
    leaves = conditioned if isinstance(conditioned, dict) else {"": conditioned}
    assert tuple(Leaf(name, x.shape[1:], str(x.dtype)) for name, x in sorted(leaves.items())) == tasks.condition_spec(spec).observation
    one = tasks.condition(raw(VECTOR, 1)[0], numbers[0])
    np.testing.assert_array_equal(tasks.numbers(one[None]), numbers[:1])


@pytest.mark.parametrize("tasks", [TaskConfig(), TaskConfig(NAMES, "none", balance=False)], ids=["single", "none"])
def test_a_single_task_and_the_encoding_none_change_nothing(tasks):
    observation = raw(VECTOR, 3)
    assert tasks.condition(observation, 1) is observation and tasks.strip(observation) is observation
    assert tasks.condition_spec(VECTOR) is VECTOR and not tasks.balances


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"names": "door"}, "tuple of names"),
        ({"names": ("door", "")}, "tuple of names"),
        ({"names": ("door", "door")}, "twice"),
        ({"names": NAMES, "encoding": "onehot"}, "one_hot"),
        ({"names": NAMES, "encoding": "none"}, "tasks.balance"),
        ({"names": NAMES, "goals": GOALS}, 'set it to "goal"'),
        ({"names": NAMES, "encoding": "goal"}, "one goal for each of the 3"),
        ({"names": NAMES, "encoding": "goal", "goals": (*GOALS[:2], (1.0,))}, "all of one length"),
        ({"names": NAMES, "encoding": "goal", "goals": ((), (), ())}, "all of one length"),
        ({"names": NAMES, "encoding": "goal", "goals": (*GOALS[:2], GOALS[0])}, "no two tasks"),
        ({"names": NAMES, "encoding": "goal", "goals": (*GOALS[:2], (float("nan"), 0.0))}, "finite"),
    ],
)
def test_a_mistaken_config_is_refused(fields, says):
    with pytest.raises(WarmloopError, match=says):
        TaskConfig(**fields)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (Spec((Leaf("", (4, 4, 3), "uint8"),), 2), "make them a dict"),
        (Spec((Leaf("", (4,), "uint8"),), 2), "make them a dict"),
        (Spec((Leaf("task", (1,), "float32"),), 2), '"task" of their own'),
    ],
)
def test_observations_that_take_no_code_are_refused(spec, says):
    with pytest.raises(WarmloopError, match=says):
        TaskConfig(NAMES).condition_spec(spec)


def test_an_episode_without_a_task_or_of_an_unknown_one_is_refused_by_its_number():
    known = dataclasses.replace(episode(number=0), task="drawer")
    tasks = TaskConfig(NAMES)
    assert tasks_of([known], tasks).tolist() == [1]
    with pytest.raises(WarmloopError, match=r"memory, episode 4: nothing says which task .*door, drawer, window.*collect"):
        tasks_of([known, episode(number=4)], tasks)
    with pytest.raises(WarmloopError, match=r'episode 5: its task is "drawr".*did you mean "drawer"\?'):
        tasks_of([known, dataclasses.replace(episode(number=5), task="drawr")], tasks)
    assert tasks_of([episode()], TaskConfig(NAMES[:1])).tolist() == [0], "with one task alone, no name means that one"
    assert tasks_of([known], TaskConfig()).tolist() == [0], "a single-task run takes data of any task"


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=6))
def test_shares_give_every_task_that_has_rows_the_same_mass_and_keep_the_sum(mass):
    mass = np.array(mass, np.float64)
    shared = mass * shares(mass)
    np.testing.assert_allclose(shared[mass > 0], mass.sum() / max((mass > 0).sum(), 1), rtol=1e-9)
    np.testing.assert_allclose(shared.sum(), mass.sum(), rtol=1e-9)


def test_the_label_tells_other_tasks_and_another_order_apart():
    labels = {TaskConfig(names).label("Lab/{task}-v0") for names in (NAMES, NAMES[:2], NAMES[1::-1])}
    assert len(labels) == 3 and TaskConfig().label("Lab/Arm-v0") == "Lab/Arm-v0"
    assert TaskConfig(NAMES).label("Lab/Arm-v0") != TaskConfig(NAMES[:2]).label("Lab/Arm-v0")

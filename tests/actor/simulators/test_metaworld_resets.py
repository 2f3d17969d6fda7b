"""A reset of Meta-World's that simulates the hand's way home once leaves everything as one that does it twice."""

from typing import Any

import mujoco
import numpy as np
import pytest

pytest.importorskip("metaworld", reason="Meta-World is not installed (extra [robotics])")

from warmloop.actor.simulators.metaworld_tasks import PREFIX, TWO_HAND_RESETS, make_metaworld, task_classes

SEEDS = (3, None, 7)
# One writes a measured height into the model, one a measured position, one measures what moves, one measures what it moves.
FEW = ("box-close-v3", "basketball-v3", "push-v3", "door-open-v3")


def all_of(task: Any) -> dict[str, Any]:
    """The simulator's whole state, the model's every number, the random stream, and what the task remembers."""
    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(task.model, kind))
    mujoco.mj_getState(task.model, task.data, state, kind)
    model = {f"model.{name}": getattr(task.model, name) for name in dir(task.model) if not name.startswith("_")}
    known = {"state": state, "places": task.data.xpos, "sites": task.data.site_xpos, **model, **vars(task)}
    found = {name: np.array(value) for name, value in known.items() if isinstance(value, (np.ndarray, int, float, str))}
    return found | {"random": np.array(str(task.np_random.bit_generator.state))}


def hand_resets(environment: Any, seed: int | None) -> tuple[np.ndarray, int]:
    """The first observation of an episode, and how often the hand was simulated on its way home."""
    task = environment.unwrapped
    home, whole = [0], type(task)._reset_hand

    def counting(*args: Any, **kwargs: Any) -> None:
        home[0] += 1
        whole(task, *args, **kwargs)

    type(task)._reset_hand, kept = lambda self, *args, **kwargs: counting(*args, **kwargs), whole
    try:
        return environment.reset(seed=seed)[0], home[0]
    finally:
        type(task)._reset_hand = kept


def equal_to_the_bit(name: str, steps: int = 8) -> None:
    once, twice = (make_metaworld(PREFIX + name) for _ in range(2))
    rng = np.random.default_rng(0)
    for number, seed in enumerate(SEEDS):
        twice._hand_resets = 0  # pyright: ignore[reportAttributeAccessIssue]  as before its first reset, where nothing is left out
        (seen, home), (other, both) = hand_resets(once, seed), hand_resets(twice, seed)
        assert (home, both) == (1 if number and name not in TWO_HAND_RESETS else 2, 2), name
        np.testing.assert_array_equal(seen, other, name)
        same(once, twice, name)
        for action in rng.uniform(-1, 1, (steps, 4)).astype(np.float32):
            ours, theirs = once.step(action), twice.step(action)
            np.testing.assert_array_equal(ours[0], theirs[0], name)
            assert ours[1:] == theirs[1:], name
        same(once, twice, name)
    once.close()
    twice.close()


def same(once: Any, twice: Any, name: str) -> None:
    one, other = all_of(once.unwrapped), all_of(twice.unwrapped)
    assert one.keys() == other.keys() and len(one) > 300, name
    for what in one:
        np.testing.assert_array_equal(one[what], other[what], f"{name}: {what}")


@pytest.mark.long
@pytest.mark.parametrize("name", FEW)
def test_states_observations_and_random_streams_are_equal_to_the_bit(name):
    equal_to_the_bit(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in task_classes() if name not in FEW])
def test_that_holds_for_every_task(name):
    equal_to_the_bit(name)


@pytest.mark.long
def test_a_meta_world_that_resets_once_loses_nothing(monkeypatch):
    environment = make_metaworld(PREFIX + "reach-v3")
    task: Any = environment.unwrapped
    monkeypatch.setattr(type(task), "reset", lambda self: (self.reset_model(), {}))
    assert [hand_resets(environment, seed)[1] for seed in (1, 2, 3)] == [1, 1, 1]
    environment.close()


@pytest.mark.long
def test_a_reset_that_fails_leaves_the_task_as_it_was():
    environment = make_metaworld(PREFIX + "reach-v3")
    task: Any = environment.unwrapped
    environment.reset(seed=1)
    before = task.reset_model
    task.reset_model = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        environment.reset(seed=2)
    task.reset_model = before
    assert "_reset_hand" not in vars(task) and hand_resets(environment, 2)[1] == 1
    environment.close()

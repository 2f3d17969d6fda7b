"""OGBench's own oracles on its tasks with one goal: `--policy=warm_oracles:Oracle` of warmloop-collect.

Its oracles bring one thing at a time to where it should be. Which one is next is decided here, from what is not yet as the goal has it; a
button is pressed to unlock, too, and a puzzle's buttons are those that solve it in the fewest presses.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

import numpy as np

from warmloop.actor.environment.environment import Environment
from warmloop.data.transition import PyTree

CLEAR = {"cube": 0.16, "button": 0.16, "drawer": 0.18, "window": 0.28}  # metres of height above which the tool has let go
NEAR = 0.035  # metres from its place at which a thing is there; OGBench's own is 0.04


class Job(NamedTuple):
    """One thing to bring to where it should be; of a button the state that it should have."""

    kind: str
    number: int = 0
    state: int = 0


class Oracle:
    """Does what is to be done, one job after the other, each to its end."""

    def __init__(self, environment: Environment):
        self._task: Any = environment.env.unwrapped

    def begin(self, seed: int) -> None:
        self._job: Job | None = None
        self._oracle: Any = None

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        seen = self._task.compute_ob_info()
        if self._job is None or (done(self._task, self._job) and seen["proprio/effector_pos"][2] > CLEAR[self._job.kind]):
            self._job = next_job(self._task) or self._job
            assert self._job is not None, "the task is done, and the environment did not say so"
            self._oracle = oracles(self._job.kind)(env=self._task, min_norm=0.4)
            self._oracle.reset(observation, seen)
        return np.asarray(self._oracle.select_action(observation, seen | told(self._task, self._job)), np.float32)


def oracles(kind: str) -> type:
    """OGBench's oracle of a kind of thing."""
    from ogbench.manipspace.oracles.markov import (  # pyright: ignore[reportMissingImports]
        button_markov,
        cube_markov,
        drawer_markov,
        window_markov,
    )

    return {
        "cube": cube_markov.CubeMarkovOracle,
        "button": functools.partial(button_markov.ButtonMarkovOracle, gripper_always_closed=True),
        "drawer": drawer_markov.DrawerMarkovOracle,
        "window": window_markov.WindowMarkovOracle,
    }[kind]  # type: ignore[return-value]


def next_job(task: Any) -> Job | None:
    """What is to be done first; None where nothing is."""
    kind = type(task).__name__
    jobs = {"CubeEnv": cube_jobs, "SceneEnv": scene_jobs, "PuzzleEnv": puzzle_jobs}[kind](task)
    return next((job for job in jobs if not done(task, job)), None)


def cube_jobs(task: Any) -> list[Job]:
    return [Job("cube", number) for number in range(task._num_cubes)]


def scene_jobs(task: Any) -> list[Job]:
    """The drawer and the window after the buttons that unlock them, then the cube, then the buttons as they should be."""
    jobs = []
    for number, job in enumerate((Job("drawer"), Job("window"))):
        if not done(task, job):
            jobs += [Job("button", number, 1), job]
    return [*jobs, *cube_jobs(task), *(Job("button", number, int(state)) for number, state in enumerate(task._target_button_states))]


def puzzle_jobs(task: Any) -> list[Job]:
    states = np.asarray(task._cur_button_states)
    pressed = fewest_presses(task._num_rows, task._num_cols, tuple(states ^ np.asarray(task._target_button_states)))
    return [Job("button", number, 1 - int(states[number])) for number in pressed]


@functools.lru_cache
def fewest_presses(rows: int, columns: int, wrong: tuple[int, ...]) -> tuple[int, ...]:
    """The buttons to press, each of which turns itself and its neighbours over, so that those that are `wrong` are not any more."""
    places = list(itertools.product(range(rows), range(columns)))
    turned = np.array([[abs(x - u) + abs(y - v) <= 1 for u, v in places] for x, y in places])
    for count in range(len(places) + 1):
        for chosen in itertools.combinations(range(len(places)), count):
            if (turned[list(chosen)].sum(axis=0) % 2 == np.array(wrong)).all():
                return chosen
    raise ValueError(f"no presses turn {wrong} over")


def done(task: Any, job: Job) -> bool:
    """Whether the thing is where it should be."""
    if job.kind == "button":
        return bool(task._cur_button_states[job.number] == job.state)
    if job.kind == "cube":
        place = task._data.mocap_pos[task._cube_target_mocap_ids[job.number]]
        return bool(np.linalg.norm(task._data.joint(f"object_joint_{job.number}").qpos[:3] - place) <= NEAR)
    return bool(abs(task._data.joint(f"{job.kind}_slide").qpos[0] - getattr(task, f"_target_{job.kind}_pos")) <= NEAR)


def told(task: Any, job: Job) -> dict[str, Any]:
    """What OGBench's oracles want to know of a job, which its tasks with one goal do not say."""
    if job.kind == "cube":
        place = task._data.mocap_pos[task._cube_target_mocap_ids[job.number]].copy()
        return {"privileged/target_block": job.number, "privileged/target_block_pos": place, "privileged/target_block_yaw": np.zeros(1)}
    if job.kind == "button":
        top = task._data.site_xpos[task._button_site_ids[job.number]].copy()
        named = {"privileged/target_button": job.number, "privileged/target_button_state": job.state}
        return named | {"privileged/target_button_top_pos": top}
    site = getattr(task, f"_{job.kind}_target_site_id")
    return {f"privileged/target_{job.kind}_handle_pos": task._data.site_xpos[site].copy()}

"""Scripted experts of gym-hil's tasks: they pick the cube, and put the boxes on their places, from wherever an episode stands.

Every step they look at where the tool, the gripper and the boxes are, and choose anew: a box that was missed, pushed or dropped is
approached again. So they can take over from a policy at any moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ...data.transition import PyTree
from ..environment.environment import Environment
from ..simulators.gym_hil_tasks import ARRANGE_BOXES, BOXES, PICK_CUBE

STEP = 0.025  # metres that an action of 1 moves the tool's goal by
LAG = 0.9  # steps' way by which the tool is behind its goal
CLEAR = 0.05  # metres above a box at which the open fingers pass over it
UP = np.array([0.0, 0.0, CLEAR])
CARRY = 0.08  # height of the tool at which a box in it passes over others
LIFTED = 0.2  # height to which the cube is picked up
HALF = 0.02  # of a box's edge
OPEN, CLOSED = -1.0, 1.0


class Sight(NamedTuple):
    """What an expert sees: the tool's position `[3]`, how far the gripper is told to close, in [0, 1], and the boxes `[N, 3]` with their
    places `[N, 3]`; the cube to pick has none."""

    tool: np.ndarray
    closed: float
    boxes: np.ndarray
    places: np.ndarray

    def holds(self, box: int) -> bool:
        """Whether the closed gripper is around the box."""
        away = np.abs(self.tool - self.boxes[box])
        return self.closed > 0.5 and np.hypot(*away[:2]) < 0.025 and away[2] < 0.018


Plan = tuple[np.ndarray, float]  # where the tool should be, [3], and the gripper's command
Choose = Callable[[Sight], Plan]


class GymHilExpert:
    """The scripted expert of one of gym-hil's tasks. It remembers where the tool was one step ago, and which box it is busy with.

    It reads the observation; where that does not have the boxes, or wrappers may have changed it, the simulator.
    """

    def __init__(self, environment: Environment):
        config = environment.config
        self._environment = environment
        self._seen = "environment_state" in {leaf.name for leaf in environment.raw_spec.observation}
        self._seen &= all(text.startswith("gripper_penalty") for text in config.wrappers)
        self._task = EXPERTS[config.id]

    def begin(self, seed: int) -> None:
        self._choose, self._before = self._task(), (-1, np.zeros(3))

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        sight = self._look(observation)
        last, tool = self._before
        heading = sight.tool + LAG * (sight.tool - tool) if last == step - 1 else sight.tool
        self._before = (step, sight.tool)
        goal, gripper = self._choose(sight)
        action = np.append(np.clip((goal - heading) / STEP, -1.0, 1.0), 1.0 + gripper)
        return np.clip(self._environment.limits.scale(action), -1.0, 1.0).astype(np.float32)

    def progress(self, observation: PyTree) -> float:
        """How far the task is, in [0, 1]: half of it is the way to a box, the other half what is done with it (see `PROGRESS`)."""
        return PROGRESS[self._environment.config.id](self._look(observation))

    def _look(self, observation: PyTree) -> Sight:
        environment = self._environment
        if self._seen:
            state: Mapping[str, np.ndarray] = environment.tasks.strip(observation)
        else:
            state = environment.env.get_wrapper_attr("privileged_state")()
        agent, objects = (np.asarray(state[name], np.float64) for name in ("agent_pos", "environment_state"))
        boxes, places = np.split(objects.reshape(-1, 3), [1 if len(objects) == 3 else len(BOXES)])
        return Sight(agent[15:18], agent[14] / 255.0, boxes, places)


def pick_cube() -> Choose:
    """Grasps the cube and lifts it."""

    def choose(sight: Sight) -> Plan:
        if sight.holds(0):
            return np.array([*sight.tool[:2], LIFTED]), CLOSED
        return grasp(sight, 0)

    return choose


def arrange_boxes() -> Choose:
    """Carries the boxes to their places, whichever is nearest first."""
    busy = -1

    def choose(sight: Sight) -> Plan:
        nonlocal busy
        away = np.linalg.norm(sight.boxes - sight.places, axis=1)  # a box on its place is half an edge above it
        held = next((box for box in range(len(away)) if sight.holds(box)), None)
        if held is not None:
            return place(sight, held)
        if busy < 0 or away[busy] < NEAR_PLACE:
            waiting = [box for box in range(len(away)) if away[box] >= NEAR_PLACE]
            if not waiting:
                return sight.tool + UP, OPEN
            busy = min(waiting, key=lambda box: float(np.linalg.norm(sight.boxes[box] - sight.tool)))
        return grasp(sight, busy)

    return choose


def picked(sight: Sight) -> float:
    """The way to the cube; once it is held, its height."""
    if not sight.holds(0):
        return 0.5 * nearness(sight.tool - sight.boxes[0], REACH)
    return 0.5 + 0.5 * min((sight.boxes[0][2] - HALF) / LIFTED, 1.0)


def arranged(sight: Sight) -> float:
    """The share of boxes on their places, and how near the others are to theirs."""
    return float(np.mean([nearness(way, REACH) for way in sight.boxes - sight.places]))


def nearness(way: np.ndarray, reach: float) -> float:
    """1 at the end of a way `[3]`, 0 from `reach` metres on."""
    return max(0.0, 1.0 - float(np.linalg.norm(way)) / reach)


REACH = 0.5  # metres between anything and anything, at most
PROGRESS = {PICK_CUBE: picked, ARRANGE_BOXES: arranged}
NEAR_PLACE = 0.027  # distance of a placed box, within gym-hil's 0.03
EXPERTS = {PICK_CUBE: pick_cube, ARRANGE_BOXES: arrange_boxes}


def grasp(sight: Sight, number: int) -> Plan:
    """Towards the box from above with the gripper open, down around it, and closes."""
    box = sight.boxes[number]
    beside = float(np.hypot(*(sight.tool - box)[:2]))
    above = sight.tool[2] - box[2]
    if beside < 0.012 and above < 0.012:
        return box, CLOSED
    if beside > 0.03 and above < 0.03:  # up first: the fingers are beside a box
        return np.array([*sight.tool[:2], box[2] + CLEAR]), OPEN
    if sight.closed > 0.5:
        return box + UP, OPEN
    return box + UP * np.clip(80.0 * (beside - 0.012), 0.0, 1.0), OPEN


def place(sight: Sight, number: int) -> Plan:
    """Carries the box that is held over the others to its place, sets it down, and lets go."""
    box, way = sight.boxes[number], (sight.places[number] - sight.boxes[number])[:2]
    beside = float(np.hypot(*way))
    if beside < 0.008 and box[2] < HALF + 0.006:
        return sight.tool, OPEN
    if beside > 0.02 and sight.tool[2] < CARRY - 0.02:
        return np.array([*sight.tool[:2], CARRY]), CLOSED
    low = np.clip(HALF + 4.0 * (beside - 0.006), HALF, CARRY)
    return np.array([*(sight.tool[:2] + way), low]), CLOSED

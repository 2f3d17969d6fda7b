"""Defects planted one at a time in the arrays of a clean .npz file, each with the check that has to find it and where."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

LIMITED = "door-suboptimal"  # whose episodes all end at the time limit
Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Defect:
    """A defect: what plants it, which check must name it, in which episode and step (None: not looked at), and what --fix does.

    Attributes:
        mends: nothing of it is left in the repaired copy.
        real: the real data to plant it in.
    """

    plant: Callable[[Arrays], None]
    check: str
    severity: str
    episode: int | None = None
    step: int | None = None
    mends: bool = False
    real: str = "door-human-replay"


def clean_arrays(episodes: int = 12, steps: int = 60, columns: int = 6, actions: int = 3) -> Arrays:
    """A smooth made-up recording with the shared layout; every second episode succeeds and is paid for it."""
    rng = np.random.default_rng(3)
    time = np.linspace(0, 1, steps + 1)[:, None]
    parts: list[Arrays] = []
    for index in range(episodes):
        phase, speed = rng.uniform(0, 6, columns), rng.uniform(2, 5, columns)
        path = (np.sin(phase + speed * time) + 0.01 * rng.normal(size=(steps + 1, columns))).astype(np.float32)
        action = 0.7 * np.sin(rng.uniform(0, 6, actions) + 5 * time[:-1]) + 0.02 * rng.normal(size=(steps, actions))
        success = (np.arange(steps) >= steps - 8) & (index % 2 == 0)
        reward = (success * 10 - 0.1 * np.abs(path[1:]).mean(axis=1)).astype(np.float32)
        parts.append(
            {
                "observations": path[:-1],
                "next_observations": path[1:],
                "actions": action.astype(np.float32),
                "rewards": reward,
                "success": success,
                "terminals": np.zeros(steps, bool),
                "timeouts": np.arange(steps) == steps - 1,
                "episode_ids": np.full(steps, index, np.int32),
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def arrays_of(path: Path) -> Arrays:
    """The arrays of a real file that its episodes are made of."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in clean_arrays(2, 10)}


def rows_of(arrays: Arrays, episode: int) -> np.ndarray:
    """Row numbers of an episode."""
    return np.flatnonzero(arrays["episode_ids"] == episode)


def observe(arrays: Arrays, row: int, column: int | slice, value: np.ndarray | float) -> None:
    """Sets an observation, and the next observation that leads to it."""
    arrays["observations"][row, column] = value
    arrays["next_observations"][row - 1, column] = value


def keep(arrays: Arrays, kept: np.ndarray) -> None:
    """Leaves only some rows, by mask or number."""
    arrays |= {name: column[kept] for name, column in arrays.items()}


def end(arrays: Arrays, episode: int, *, terminal: bool) -> None:
    last = rows_of(arrays, episode)[-1]
    arrays["terminals"][last], arrays["timeouts"][last] = terminal, not terminal


def nan_observation(arrays: Arrays) -> None:
    observe(arrays, rows_of(arrays, 3)[17], 1, np.nan)


def infinite_action(arrays: Arrays) -> None:
    arrays["actions"][rows_of(arrays, 2)[9], 0] = np.inf


def nan_reward(arrays: Arrays) -> None:
    arrays["rewards"][rows_of(arrays, 4)[20]] = np.nan


def actions_in_other_units(arrays: Arrays) -> None:
    arrays["actions"] *= 2.5


def rounded_actions(arrays: Arrays) -> None:
    arrays["actions"][rows_of(arrays, 1)[5], 0] = 1 + 2e-6


def clipped_units(arrays: Arrays) -> None:
    arrays["actions"][:, 1] = np.sign(arrays["actions"][:, 1] + 1e-9)


def full_throttle_episode(arrays: Arrays) -> None:
    rows = rows_of(arrays, 4)
    arrays["actions"][rows] = np.sign(arrays["actions"][rows] + 1e-9)


def shaking_device(arrays: Arrays) -> None:
    rows = rows_of(arrays, 5)
    arrays["actions"][rows] = np.clip(arrays["actions"][rows] + 0.9 * (-1.0) ** np.arange(len(rows))[:, None], -0.99, 0.99)


def oscillating_controller(arrays: Arrays) -> None:
    rows = rows_of(arrays, 5)
    arrays["actions"][rows, 0] = (-1.0) ** np.arange(len(rows))


def lost_commands(arrays: Arrays) -> None:
    arrays["actions"][rows_of(arrays, 6)] = 0


def dead_joint(arrays: Arrays) -> None:
    arrays["actions"][:, 2] = 0.25


def tiny_actions(arrays: Arrays) -> None:
    arrays["actions"] *= 0.01


def episode_in_other_units(arrays: Arrays) -> None:
    arrays["actions"][rows_of(arrays, 7)] *= 0.05


def dead_sensor(arrays: Arrays) -> None:
    arrays["observations"][:, 2] = arrays["next_observations"][:, 2] = 0.5


def hardly_varying(arrays: Arrays) -> None:
    for name in ("observations", "next_observations"):
        arrays[name][:, 2] = 0.6 + 0.002 * arrays[name][:, 2] / np.abs(arrays[name][:, 2]).max()


def stuck_sensor(arrays: Arrays) -> None:
    for row in rows_of(arrays, 8)[11:46]:
        observe(arrays, row, 1, arrays["observations"][row - 1, 1])


def sensor_glitch(arrays: Arrays) -> None:
    row = rows_of(arrays, 3)[30]
    observe(arrays, row, 0, arrays["observations"][row, 0] + 8.0)


def teleport(arrays: Arrays) -> None:
    rows, other = rows_of(arrays, 2), rows_of(arrays, 9)
    half = len(rows) // 2
    for place in range(half, len(rows)):
        observe(arrays, rows[place], slice(None), arrays["observations"][other[place - half]] + 1.5)
    arrays["next_observations"][rows[-1]] = arrays["next_observations"][other[len(rows) - 1 - half]] + 1.5


def clock_in_the_observation(arrays: Arrays) -> None:
    clock = 500_000 + np.arange(len(arrays["actions"]) + 1) / 20
    arrays["observations"][:, 3], arrays["next_observations"][:, 3] = clock[:-1], clock[1:]


def other_unit(arrays: Arrays) -> None:
    for name in ("observations", "next_observations"):
        arrays[name][:, 4] *= 20_000


def half_floats(arrays: Arrays) -> None:
    for name in ("observations", "next_observations"):
        arrays[name] = arrays[name].astype(np.float16).astype(np.float32)


def mixed_up_rows(arrays: Arrays) -> None:
    rows = rows_of(arrays, 4)
    arrays["next_observations"][rows[12]] = arrays["next_observations"][rows[40]]


def next_is_current(arrays: Arrays) -> None:
    arrays["next_observations"] = arrays["observations"].copy()


def lost_rows_in_time(arrays: Arrays) -> None:
    arrays["timestamps"] = np.arange(len(arrays["actions"])) * 0.05 + 100.0 * arrays["episode_ids"]
    rows = rows_of(arrays, 6)
    arrays["timestamps"][rows[25:]] += 1.5


def timeouts_as_terminals(arrays: Arrays) -> None:
    arrays["terminals"], arrays["timeouts"] = arrays["timeouts"] & ~arrays["success"], arrays["timeouts"] & arrays["success"]


def one_timeout_as_terminal(arrays: Arrays) -> None:
    failed = [e for e in np.unique(arrays["episode_ids"]) if not arrays["success"][rows_of(arrays, e)].any()]
    end(arrays, failed[0] if failed else 1, terminal=True)
    if not failed:
        arrays["success"][rows_of(arrays, 1)] = False
        arrays["rewards"][rows_of(arrays, 1)] = np.minimum(arrays["rewards"][rows_of(arrays, 1)], 0)


def terminal_and_timeout(arrays: Arrays) -> None:
    arrays["terminals"][rows_of(arrays, 1)[-1]] = True


def terminal_inside(arrays: Arrays) -> None:
    arrays["terminals"][rows_of(arrays, 1)[10]] = True


def remnant_of_a_reset(arrays: Arrays) -> None:
    rows = rows_of(arrays, 1)
    kept = np.ones(len(arrays["actions"]), bool)
    kept[rows[1:]] = False
    keep(arrays, kept)
    arrays["timeouts"][rows[0]] = True


def missed_resets(arrays: Arrays) -> None:
    numbers = arrays["episode_ids"].max() + 1
    joined = np.concatenate([rows_of(arrays, e) for e in range(6)])
    arrays["episode_ids"][joined] = numbers
    arrays["timeouts"][joined[:-1]] = False
    keep(arrays, np.concatenate([np.flatnonzero(arrays["episode_ids"] != numbers), joined]))


def duplicate(arrays: Arrays) -> None:
    copied = rows_of(arrays, 2)
    arrays |= {name: np.concatenate([column, column[copied]]) for name, column in arrays.items()}
    arrays["episode_ids"][-len(copied) :] = arrays["episode_ids"].max() + 1


def near_duplicate(arrays: Arrays) -> None:
    duplicate(arrays)
    copy = arrays["episode_ids"] == arrays["episode_ids"].max()
    for name in ("observations", "next_observations"):
        arrays[name][copy] = np.round(arrays[name][copy], 4)


def shortened_duplicate(arrays: Arrays) -> None:
    duplicate(arrays)
    keep(arrays, np.arange(len(arrays["actions"]) - 7))
    arrays["timeouts"][-1] = True


def reversed_reward(arrays: Arrays) -> None:
    arrays["rewards"] *= -1


def unpaid(arrays: Arrays) -> None:
    arrays["rewards"][:] = np.linspace(-1, -1, len(arrays["rewards"]))


def one_unpaid_success(arrays: Arrays) -> None:
    episode = next(e for e in np.unique(arrays["episode_ids"]) if e > 1 and arrays["success"][rows_of(arrays, e)].any())
    rows = rows_of(arrays, episode)
    arrays["rewards"][rows] = np.minimum(arrays["rewards"][rows], 0)


def lost_flag(arrays: Arrays) -> None:
    counts = {e: arrays["success"][rows_of(arrays, e)].sum() for e in np.unique(arrays["episode_ids"])}
    arrays["success"][rows_of(arrays, max(counts, key=lambda e: counts[e]))] = False


def never_signalled(arrays: Arrays) -> None:
    arrays["success"][:] = False


def no_rewards_at_all(arrays: Arrays) -> None:
    del arrays["success"]
    arrays["rewards"][:] = 0


def corrupt_reward(arrays: Arrays) -> None:
    arrays["rewards"][rows_of(arrays, 3)[15]] = -9000


def outcome_told(arrays: Arrays) -> None:
    for episode in np.unique(arrays["episode_ids"]):
        rows = rows_of(arrays, episode)
        for name in ("observations", "next_observations"):
            arrays[name][rows, 0] = arrays["success"][rows].any()


DEFECTS = {
    "NaN in an observation": Defect(nan_observation, "non-finite values", "breaks", 3, 16, mends=True),
    "infinite action": Defect(infinite_action, "non-finite values", "breaks", 2, 9, mends=True),
    "NaN reward": Defect(nan_reward, "non-finite values", "breaks", 4, 20, mends=True),
    "actions in the robot's units": Defect(actions_in_other_units, "actions out of range", "breaks"),
    "actions beyond 1 by rounding": Defect(rounded_actions, "actions out of range", "note", 1, 5, mends=True),
    "an action clipped throughout": Defect(clipped_units, "saturated actions", "harms"),
    "an episode at full throttle": Defect(full_throttle_episode, "saturated episodes", "harms", 4),
    "a shaking input device": Defect(shaking_device, "rough actions", "harms", 5),
    "an oscillating controller": Defect(oscillating_controller, "bang-bang actions", "harms", 5, 0),
    "commands lost, all zero": Defect(lost_commands, "idle actions", "harms", 6, 0),
    "a joint not recorded": Defect(dead_joint, "constant actions", "harms"),
    "actions of 1 % of the range": Defect(tiny_actions, "small actions", "harms"),
    "one episode in other units": Defect(episode_in_other_units, "actions on another scale", "harms", 7),
    "a dead sensor": Defect(dead_sensor, "constant columns", "note"),
    "a coordinate that is hardly varied": Defect(hardly_varying, "little variation", "note"),
    "a sensor that hangs": Defect(stuck_sensor, "stuck sensors", "harms", 8, 10),
    "a sensor's glitch": Defect(sensor_glitch, "sensor spikes", "harms", 3, 30),
    "a teleport": Defect(teleport, "observation jumps", "harms", 2),
    "a clock as an observation": Defect(clock_in_the_observation, "precision", "harms"),
    "a column in another unit": Defect(other_unit, "scales", "harms"),
    "stored as half floats": Defect(half_floats, "precision", "note"),
    "rows mixed up": Defect(mixed_up_rows, "next observations", "breaks", 4, 12, mends=True),
    "next observation is the current": Defect(next_is_current, "next observations", "breaks", 0, 0, mends=True),
    "a gap in time": Defect(lost_rows_in_time, "time gaps", "harms", 6, 24),
    "time limits marked terminal": Defect(timeouts_as_terminals, "terminal at the time limit", "harms", mends=True, real=LIMITED),
    "one time limit marked terminal": Defect(one_timeout_as_terminal, "terminal at the time limit", "harms", mends=True, real=LIMITED),
    "terminal and timeout at once": Defect(terminal_and_timeout, "terminal and timeout", "harms", 1, mends=True),
    "a terminal step inside": Defect(terminal_inside, "terminal inside an episode", "breaks", 1, 10),
    "an episode of one step": Defect(remnant_of_a_reset, "episode lengths", "harms", 1, 0),
    "resets missed": Defect(missed_resets, "episode lengths", "harms"),
    "an episode twice": Defect(duplicate, "duplicated episodes", "harms", mends=True),
    "an episode twice, rounded": Defect(near_duplicate, "near-duplicates", "harms"),
    "an episode twice, cut short": Defect(shortened_duplicate, "duplicated episodes", "harms"),
    "the reward's sign reversed": Defect(reversed_reward, "reward of successes", "breaks"),
    "success never rewarded": Defect(unpaid, "reward of successes", "breaks"),
    "one success not rewarded": Defect(one_unpaid_success, "unpaid success", "harms"),
    "one success flag lost": Defect(lost_flag, "unflagged success", "harms"),
    "success never flagged": Defect(never_signalled, "success never signalled", "harms"),
    "no reward, no flag": Defect(no_rewards_at_all, "one reward", "breaks"),
    "a corrupt reward": Defect(corrupt_reward, "reward spikes", "harms", 3, 15),
    "the outcome in the observation": Defect(outcome_told, "outcome in the observation", "breaks"),
}

"""Kinds of tasks, by which papers set their algorithms."""

from __future__ import annotations

from ..schema import RunConfig

KINDS = {
    "dexterous": ("AdroitHand",),
    "kitchen": ("FrankaKitchen",),
    "maze": ("AntMaze", "PointMaze"),
    "manipulation": ("Meta-World/", "Fetch", "gym_hil/"),
}


def kind(config: RunConfig) -> str:
    """Of a run's task: dexterous, kitchen, maze, manipulation or locomotion. An unknown one counts as manipulation where success alone is
    rewarded, else as locomotion."""
    name = config.environment.id.rpartition(":")[2]
    unknown = "manipulation" if sparse_reward(config) else "locomotion"
    return next((kind for kind, names in KINDS.items() if name.startswith(names)), unknown)


def sparse_reward(config: RunConfig) -> bool:
    """Whether success is all that is rewarded."""
    return config.reward.signal == "success"

"""Rows whose every byte follows from their actor and number, so that what comes out can be checked, content included.

A process in whose environment MARKED_CAMERA is set has a camera in its rows.
"""

import os
from typing import Any

import numpy as np

from warmloop.agents import SAC, SACConfig
from warmloop.data.transition import Leaf, Spec, Transition, example
from warmloop.data.wire.row_schema import Schema, flatten

CAMERA = {"MARKED_CAMERA": "1"}  # to be put into the environment of processes
FILMED = "MARKED_CAMERA" in os.environ
SIDE = 16  # pixels
BARE, FILM = (Leaf("", (39,), "float32"),), (Leaf("front", (SIDE, SIDE, 3), "uint8"), Leaf("state", (39,), "float32"))
SPEC = Spec(FILM if FILMED else BARE, 28)
SCHEMA = Schema.of(SPEC, "Marked-v0")
AGENT = SAC(SACConfig(hidden=(8,), ensemble=2, utd=1, batch_size=4), SPEC)
EPISODE = 50  # steps, the last one truncated


def marked(actor: int, first: int, count: int) -> Transition:
    """Rows `first` … `first + count - 1` of an actor, in episodes of `EPISODE` steps."""
    number = np.arange(first, first + count)
    observation, action = noise(actor, number, 39), noise(actor + 1000, number, 28)
    observation[:, 0], observation[:, 1] = actor, number
    following = noise(actor, number + 1, 39)
    following[:, 0], following[:, 1] = actor, number + 1
    return example(SPEC, count).replace(
        observation=_seen(actor, number, observation),
        action=action,
        next_observation=_seen(actor, number + 1, following),
        reward=noise(actor + 2000, number, 1)[:, 0],
        episode=(number // EPISODE).astype(np.int32),
        step=(number % EPISODE).astype(np.int32),
        truncated=number % EPISODE == EPISODE - 1,
    )


def _seen(actor: int, number: np.ndarray, state: np.ndarray) -> Any:
    """The observation of a state, with a picture where there is a camera."""
    if not FILMED:
        return state
    pictures = (128 * (noise(actor + 3000, number, SIDE * SIDE * 3) + 1)).astype(np.uint8)
    return {"front": pictures.reshape(-1, SIDE, SIDE, 3), "state": state}


def noise(seed: int, number: np.ndarray, width: int) -> np.ndarray:
    """`[n, width]` float32 in [-1, 1), a hash of its place."""
    mixed = (number[:, None] * width + np.arange(width) + seed * 0x9E3779B9).astype(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(15))) * np.uint64(0x2C1B3C6D) & np.uint64(0xFFFFFFFF)
    mixed = (mixed ^ (mixed >> np.uint64(12))) * np.uint64(0x297A2D39) & np.uint64(0xFFFFFFFF)
    return (mixed.astype(np.float64) / 2**31 - 1).astype(np.float32)


def identify(rows: Transition) -> list[tuple[int, int]]:
    """Actor and number of each row, after checking every other byte. `truncated` may be set where an episode was cut."""
    state = rows.observation["state"] if FILMED else rows.observation
    actors, numbers = state[:, 0].astype(int), state[:, 1].astype(int)
    for actor in np.unique(actors):
        mine = actors == actor
        expected = {name: leaf[_places(numbers[mine])] for name, leaf in flatten(_span(int(actor), numbers[mine])).items()}
        for name, leaf in flatten(rows).items():
            same = leaf[mine] == expected[name] if name != "truncated" else leaf[mine] >= expected[name]
            assert same.all(), f"the {name} of row {numbers[mine][~same.reshape(len(same), -1).all(axis=1)][0]} of actor {actor} is altered"
    return list(zip(actors.tolist(), numbers.tolist(), strict=True))


def _span(actor: int, numbers: np.ndarray) -> Transition:
    return marked(actor, int(numbers.min()), int(np.ptp(numbers)) + 1)


def _places(numbers: np.ndarray) -> np.ndarray:
    return numbers - numbers.min()

"""Rows of an environment with cameras, of any course: episodes, stills, jumps; and what a reader must give back."""

import numpy as np

from warmloop.data.transition import Leaf, Spec, Transition, concatenate, example
from warmloop.data.wire.row_schema import Schema, flatten


def camera_spec(stack: int = 1) -> Spec:
    """Two cameras of different sizes, in stacks where `stack` is not 1, and a state whose first number is the row's."""
    depth = () if stack == 1 else (stack,)
    return Spec((Leaf("front", (*depth, 4, 6, 3), "uint8"), Leaf("state", (3,), "float32"), Leaf("wrist", (*depth, 3, 5, 1), "uint8")), 2)


def camera_schema(stack: int = 1) -> Schema:
    return Schema.of(camera_spec(stack), "Filmed-v0")


class Film:
    """One actor's rows, made one by one and kept: the observation of each is the next observation of the one before, but where it says not.

    Attributes:
        rows: all so far, each `[1]`.
    """

    def __init__(self, seed: int, stack: int = 1):
        self._random, self._stack, self._spec = np.random.default_rng(seed), stack, camera_spec(stack)
        self.rows: list[Transition] = []
        self._episode, self._step = -1, 0
        self._seen: dict[str, list[np.ndarray]] = {}
        self._done = True

    def step(self, *, ends: bool = False, still: bool = False, jumps: bool = False) -> None:
        """One more row. `ends`: it is the last of its episode; `still`: the front camera shows what it showed; `jumps`: its observation is
        another than the one before led to."""
        if self._done:
            self._episode, self._step = self._episode + 1, 0
        if self._done or jumps:
            self._seen = {leaf.name: [self._picture(leaf)] * self._stack for leaf in self._spec.cameras}
        here = self._observation(len(self.rows))
        for leaf in self._spec.cameras:
            seen = self._seen[leaf.name]
            self._seen[leaf.name] = [*seen[1:], seen[-1] if still and leaf.name == "front" else self._picture(leaf)]
        row = example(self._spec).replace(
            observation=here,
            next_observation=self._observation(len(self.rows) + 1),
            action=self._random.uniform(-1, 1, (1, 2)).astype(np.float32),
            episode=np.array([self._episode], np.int32),
            step=np.array([self._step], np.int32),
            truncated=np.array([ends]),
        )
        self.rows.append(row)
        self._step, self._done = self._step + 1, ends

    def play(self, count: int, length: int = 10) -> "Film":
        """Many rows, in episodes of `length` steps."""
        for _ in range(count):
            self.step(ends=len(self.rows) % length == length - 1)
        return self

    def part(self, first: int, count: int) -> Transition:
        """Rows `first` … `first + count - 1`."""
        return concatenate(self.rows[first : first + count])

    def parts(self, first: int, count: int) -> list[dict[str, np.ndarray]]:
        """The same as the pieces that a buffer gives."""
        return [flatten(self.part(first, count))]

    def _picture(self, leaf: Leaf) -> np.ndarray:
        return self._random.integers(0, 256, leaf.shape[self._stack > 1 :], np.uint8)

    def _observation(self, number: int) -> dict[str, np.ndarray]:
        pictures = {name: np.stack(seen)[None] if self._stack > 1 else seen[0][None] for name, seen in self._seen.items()}
        return pictures | {"state": np.array([[number, self._episode, self._step]], np.float32)}


def assert_same(found: Transition, sent: Transition, but: tuple[str, ...] = ()) -> None:
    """Every leaf of rows `[n]` is bit for bit what it was, save those named."""
    mine, theirs = flatten(found), flatten(sent)
    assert mine.keys() == theirs.keys()
    for name in mine.keys() - set(but):
        assert mine[name].dtype == theirs[name].dtype and mine[name].shape == theirs[name].shape, name
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)

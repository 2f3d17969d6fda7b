"""Which of a hand's motions moves which of the environment's actions."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...data.errors import WarmloopError
from ...data.settings.near_names import did_you_mean

MOTIONS = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
ARM = {count: ("x", "y", "z")[:count] for count in (1, 2, 3)} | {4: ("x", "y", "z", "gripper"), 6: MOTIONS[:6], 7: MOTIONS}
USUAL = ARM | {2 * count: ARM[count] * 2 for count in (4, 6, 7)}  # of 8, 12 and 14 dimensions: two arms
GRIPPER = MOTIONS.index("gripper")
NOTHING = "-"


@dataclasses.dataclass(frozen=True)
class Axes:
    """The motions of the action's dimensions, in order.

    Attributes:
        motion: `[A]` int, the position in `MOTIONS` of what moves each dimension; -1 for nothing.
        sign: `[A]` float32, 1 or -1.
        arm: `[A]` int, whose it is; a motion that comes for the second time is the second arm's.
    """

    motion: np.ndarray
    sign: np.ndarray
    arm: np.ndarray

    @classmethod
    def parse(cls, text: str, action_dim: int) -> Axes:
        """Of `x/-y/z/gripper`: a motion for each dimension, with a minus where it goes the other way, or `-` alone for none.

        "" stands for the usual ones: x, y, z (and roll, pitch, yaw), and a gripper as the last of 4 or 7; 8, 12 and 14 are two arms.

        Raises:
            WarmloopError: there are no usual ones for so many dimensions, or the text does not give one for each.
        """
        if not text and action_dim not in USUAL:
            raise WarmloopError(
                f"How a hand moves {action_dim} action dimensions is not known; say what moves each of them, as in "
                f"axes={'/'.join(('x', 'y', 'z', 'gripper', *[NOTHING] * action_dim)[:action_dim])}."
            )
        names = text.split("/") if text else USUAL[action_dim]
        if len(names) != action_dim:
            raise WarmloopError(f"axes={text} names {len(names)} motions, and the environment's actions have {action_dim} dimensions.")
        motion, arm, seen = [], [], set[tuple[str, int]]()
        for name in names:
            plain = name if name == NOTHING else name.removeprefix("-")
            if plain not in (*MOTIONS, NOTHING):
                raise WarmloopError(f'axes={text}: there is no motion "{plain}"{did_you_mean(plain, MOTIONS)}')
            motion.append(MOTIONS.index(plain) if plain in MOTIONS else -1)
            arm.append(int((plain, 0) in seen))
            if (plain, 1) in seen and plain != NOTHING:
                raise WarmloopError(f"axes={text} has {plain} more than twice; a hand moves two arms at most.")
            seen.add((plain, arm[-1]))
        sign = [-1.0 if name != NOTHING and name.startswith("-") else 1.0 for name in names]
        return cls(np.array(motion), np.array(sign, np.float32), np.array(arm))

    @property
    def arms(self) -> int:
        """How many arms there are."""
        return int(self.arm[self.motion >= 0].max(initial=0)) + 1

    def action(self, motions: np.ndarray, arm: int) -> np.ndarray:
        """The action `[A]` that `motions` `[7]`, in the order of `MOTIONS`, make with one arm; the other one stands still."""
        moved = np.where((self.motion >= 0) & (self.arm == arm), self.sign * motions[self.motion], 0.0)
        return moved.astype(np.float32)

    def grippers(self, arm: int | None = None) -> np.ndarray:
        """`[A]` bool, the grippers' dimensions, of one arm or of both."""
        return (self.motion == GRIPPER) & ((self.arm == arm) | (arm is None))

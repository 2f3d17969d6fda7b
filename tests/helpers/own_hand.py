"""Interveners of a user's own, as `--intervention=own_hand:NAME` finds them."""

import numpy as np

from warmloop.actor.intervention.intervention import Command, Signal


class Leader:
    """Takes over at every third step, and ends the episode by success at step `success_at`; loses its arm once, at step `lost_at`."""

    personal = False

    def __init__(self, environment, success_at=-1, lost_at=-1, speed=1.0):
        self.action = np.full(environment.spec.action_dim, speed, np.float32)
        self.success_at, self.lost_at, self.said = success_at, lost_at, []

    def ready(self):
        self.said.append("ready")

    def begin(self, seed):
        self.said.append("begin")

    def __call__(self, observation, action, step):
        if step == self.lost_at:
            self.lost_at = -1
            raise OSError("the leader arm does not answer")
        return Command(self.action if step % 3 == 0 else None, Signal.SUCCESS if step == self.success_at else None)

    def close(self):
        self.said.append("close")


def always_left(observation, action, step):
    return [-1.0, 0.0]


def too_far(observation, action, step):
    return [3.0, 0.0]


def a_word(observation, action, step):
    return "left"


number = 7

"""Environments that get stuck where nothing but another thread can help; their ids are `stuck_environment:Stuck/NAME-v0`."""

import hashlib
import threading
import time

import gymnasium as gym
from lab_environment import Reach

STUCK_AT = 8  # the step


class Stuck(Reach):
    """Blocks at its eighth step in a call that no signal interrupts, as a driver's in C; `safe_stop` works from any thread."""

    def step(self, action):
        if self.total + 1 == STUCK_AT:
            threading.Thread(target=self.say_within, args=(time.process_time(),), daemon=True).start()
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
        return super().step(action)

    def say_within(self, before):
        """Says so once the main thread is within that call: nothing else here computes."""
        while time.process_time() < before + 0.1:
            time.sleep(0.01)
        self.say(event="blocks")


class ResetBlocks(Reach):
    """Its second reset does not return."""

    def reset(self, *, seed=None, options=None):
        if self.resets == 1:
            self.say(event="blocks")
            time.sleep(1e6)
        return super().reset(seed=seed, options=options)


class ThreadDies(Reach):
    """The thread that reads its camera dies at the eighth step."""

    def step(self, action):
        if self.total + 1 == STUCK_AT:
            thread = threading.Thread(target=lambda: 1 / 0, name="camera")
            thread.start()
            thread.join()
        return super().step(action)


for made in (Stuck, ResetBlocks, ThreadDies):
    gym.register(f"Stuck/{made.__name__}-v0", made)

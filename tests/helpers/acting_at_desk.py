"""A real actor's loop at its desk, in this process."""

import threading
import time
from pathlib import Path

from hands import LockStep

from warmloop.actor.operating.actor_desk import ActorDesk
from warmloop.data.desk.desk import Desk
from warmloop.data.files.run_folder import RunFolder

PATIENCE = 60.0


class Acting:
    """A real actor's loop at its desk, on a thread of its own."""

    def __init__(self, run: Path, **settings):
        self.desk = ActorDesk()
        self.loop = LockStep(desk=self.desk, **settings)
        self._desk = Desk(RunFolder(run).desks, "actor-0", self.desk)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        for _ in self.loop.loop.steps():
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.loop.client.stop()
        self._thread.join(PATIENCE)
        self._desk.close()

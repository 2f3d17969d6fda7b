"""A learner without a model, as a process: the real intake and service, and a loop that notes which rows it took.

    python learner_process.py FOLDER --port=0

Writes FOLDER/port once it listens. SIGTERM ends it in order.
"""

import argparse
import logging
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
from marked_rows import SCHEMA, identify

from warmloop.learner.intake import Intake, Limits
from warmloop.learner.service import serve


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--life", type=int, default=1)
    parser.add_argument("--unchecked", action="store_true", help="takes rows of any content, and notes none")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds that the loop rests between two rounds")
    parser.add_argument("--weights", type=int, default=1, help="KiB")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    intake = Intake(SCHEMA, given.folder / "quarantine", Limits())
    intake.publish(0, {"w": np.zeros(given.weights * 256, np.float32)})
    server = serve("127.0.0.1", given.port, intake)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    ready = given.folder / "port.partial"
    ready.write_text(str(server.port))
    os.replace(ready, given.folder / "port")
    while not stop.is_set():
        intake.wait(0.1)
        for chunk in intake.take(1024):
            if not given.unchecked:
                identify(chunk.rows)
        intake.reports()
        intake.mark_durable(intake.state())
        time.sleep(given.slow)
    server.stop(5.0)


if __name__ == "__main__":
    main()

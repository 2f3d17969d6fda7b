"""A process with a terminal of its own, into which a test types: says what the keys mean, and ends as it is told to.

`typed.py HOW`: close (on Enter), raise (on Enter), wait (for a signal), or slow (for a signal, beside a robot that takes a second to rest).
"""

import contextlib
import sys
import time

from warmloop.actor.intervention.intervention import Signal
from warmloop.actor.teleop.terminal import Terminal
from warmloop.data.running import emergency
from warmloop.launch.starting import signals

signals.install()
stack = contextlib.ExitStack()
if sys.argv[1] == "slow":
    stack.enter_context(emergency.resting(lambda reason: time.sleep(1.0)))
terminal = Terminal()
print("listening", flush=True)
before = None
while True:
    reading = terminal.read()
    said = (reading.active, *reading.motions.astype(int).tolist(), reading.switches, reading.signal and reading.signal.value)
    if said != before:
        print(*said, flush=True)
        before = said
    if reading.signal is Signal.SUCCESS and sys.argv[1] == "close":
        terminal.close()
        sys.exit(0)
    if reading.signal is Signal.SUCCESS and sys.argv[1] == "raise":
        raise SystemExit(3)
    time.sleep(0.01)

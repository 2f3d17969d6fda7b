"""A process that answers signals as a command does: `signalled.py PHASE WHERE`. Writes a line for each thing that happens to it.

PHASE is begun, unwinding, answering, leaving, forking, taken-handlers or taken-wakeup. WHERE is python (a sleep) or compiled (one call
that runs no bytecode, as XLA's compilations).
"""

import hashlib
import os
import signal
import sys
import threading
import time

from warmloop.data.doors.borrowed import lent
from warmloop.data.running import emergency
from warmloop.launch.starting import signals


def say(text):
    os.write(1, f"{text}\n".encode())


def busy(where):
    if where == "compiled":
        threading.Thread(target=say_within, args=(time.process_time(),), daemon=True).start()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # minutes, without the interpreter's lock
    say("ready")
    time.sleep(600)


def say_within(before):
    """Says so once the main thread is within the call: nothing else here computes."""
    while time.process_time() < before + 0.1:
        time.sleep(0.01)
    say("ready")


def have_signals_taken(what):
    """As rclpy.init and rospy do it in an environment's constructor."""
    with lent('Environment "lab"'):
        if what == "taken-handlers":
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, lambda *_: None)
        else:
            signal.set_wakeup_fd(-1)


def fork_a_child_that_is_terminated():
    child = os.fork()
    if child == 0:
        time.sleep(600)
    os.kill(child, 15)
    say(f"the child ended with {os.waitpid(child, 0)[1]}")


signals.install()
phase, where = sys.argv[1:]
with emergency.resting(lambda reason: say(f"at rest: {reason}")):
    if phase == "forking":
        fork_a_child_that_is_terminated()
        time.sleep(0.5)
        say("the parent goes on")
    elif phase.startswith("taken"):
        have_signals_taken(phase)
        busy(where)
    elif phase == "leaving":
        going = threading.Event()
        with signals.answering(lambda: None, lambda: (going.set(), time.sleep(1.0))):
            say("ready")
            going.wait()
        os._exit(3)
    elif phase == "answering":
        with signals.answering(lambda: say("asked to stop"), lambda: say("last act")):
            busy(where)
    elif phase == "unwinding":
        try:
            with signals.unwinding():
                try:
                    busy(where)
                finally:
                    say("unwound")
        except KeyboardInterrupt as error:
            signals.leave(error)
    else:
        busy(where)

"""A thread that its process cannot do without ends the process when it dies, and says so."""

import logging
import subprocess
import sys
import threading

from warmloop.data.running.seldom import Seldom
from warmloop.data.running.threads import DIED, vital_thread

DYING = """
import logging, time
from warmloop.data.running.threads import vital_thread
logging.basicConfig()
def run():
    raise {error}
vital_thread(run, "writer", "writes what is kept").start()
time.sleep(60)
"""


def test_the_process_ends_with_the_reason_whatever_the_thread_raised():
    for error in ("OverflowError('too large')", "SystemExit(0)", "MemoryError()"):
        done = subprocess.run([sys.executable, "-c", DYING.format(error=error)], capture_output=True, text=True, timeout=50)
        assert done.returncode == DIED
        assert 'The thread "writer", which writes what is kept, died' in done.stderr and "Traceback" in done.stderr


def test_a_thread_that_ends_in_order_ends_nothing():
    done = []
    thread = vital_thread(lambda: done.append("work"), "worker", "works", lambda name, error: done.append("death"))
    thread.start()
    thread.join()
    assert done == ["work"]


def test_the_error_reaches_whoever_asked_for_it():
    heard, thread = [], None
    thread = vital_thread(lambda: [][0], "worker", "works", lambda name, error: heard.append((name, type(error))))
    thread.start()
    thread.join()
    assert heard == [("worker", IndexError)] and threading.current_thread() is threading.main_thread()


def test_of_a_thousand_messages_a_few_are_logged_and_the_others_counted(caplog):
    now = 0.0
    say = Seldom(logging.getLogger("seldom"), 10.0, clock=lambda: now)
    for number in range(1000):
        say("bad row %d, 5 %%", number)
    now = 11.0
    say("bad row %d", 1000)
    assert [record.getMessage() for record in caplog.records] == ["bad row 0, 5 %", "bad row 1000 (999 more like this in the meantime)"]

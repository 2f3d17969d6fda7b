"""What breaks into the main thread gets there, wherever that is."""

import gc
import threading
import time

import pytest

from warmloop.data.running import emergency


@pytest.fixture
def wished():
    """Starts a thread that breaks in as soon as the main thread is in the place that it is about."""
    emergency.breakable()
    there = threading.Event()
    threading.Thread(target=lambda: (there.wait(60), emergency.break_in(KeyboardInterrupt("wished"))), daemon=True).start()
    return there


def wait(there: threading.Event, seconds: float) -> None:
    there.set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.01)


class Slow:
    def __init__(self, there: threading.Event):
        self.there = there

    def __del__(self):
        wait(self.there, 0.5)


def test_a_destructor_does_not_swallow_it(wished):
    slow = Slow(wished)
    with pytest.raises(KeyboardInterrupt, match="wished"):
        del slow
        time.sleep(60)


def test_a_callback_of_the_garbage_collector_does_not_swallow_it(wished):
    def callback(phase, info):
        if phase == "start" and not wished.is_set():
            wait(wished, 0.5)

    gc.callbacks.append(callback)
    try:
        with pytest.raises(KeyboardInterrupt, match="wished"):
            gc.collect()
            time.sleep(60)
    finally:
        gc.callbacks.remove(callback)


def test_nor_does_the_telling_of_what_a_destructor_raised(wished, monkeypatch):
    told = []

    def report(unraisable):
        wait(wished, 0.5)
        told.append(type(unraisable.exc_value))

    monkeypatch.setattr("sys.unraisablehook", emergency._Hook(report))

    class Broken:
        def __del__(self):
            raise OSError("the bus is gone")

    broken = Broken()
    with pytest.raises(KeyboardInterrupt, match="wished"):
        del broken
        time.sleep(60)
    assert told == [OSError]


def test_what_others_raise_there_is_told_as_ever(monkeypatch):
    emergency.breakable()
    told = []
    monkeypatch.setattr("sys.unraisablehook", emergency._Hook(told.append))

    class Broken:
        def __del__(self):
            raise OSError("the bus is gone")

    broken = Broken()
    del broken
    assert [type(one.exc_value) for one in told] == [OSError]

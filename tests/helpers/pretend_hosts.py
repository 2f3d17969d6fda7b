"""Places on nodes that are no nodes: what a command does there is written down and decided by the test."""

import threading

from warmloop.launch.clusters.attendant import HostLostError
from warmloop.launch.clusters.node_host import Look


class PretendHost:
    """A host whose command ends when the test, or `stop`, says so."""

    def __init__(self, part, events, elsewhere=False):
        self.part, self.events, self.elsewhere, self.node = part, events, elsewhere, "127.0.0.1 pretend"
        self.order, self.text, self.code, self.lost, self.stubborn = None, "", None, False, False

    def start(self, order):
        self.order = order
        self.events.append((self.part.name, "start"))

    def look(self):
        if self.lost:
            raise HostLostError("the node is gone")
        text, self.text = self.text, ""
        return Look(text, 100 if self.order else None, self.code)

    def stop(self, at_once=False):
        self.events.append((self.part.name, "stop at once" if at_once else "stop"))
        if at_once or not self.stubborn:
            self.code = 0

    def close(self):
        self.events.append((self.part.name, "close"))


class PretendNodes:
    """Places parts at once; `hosts` has the newest host of each part, `events` what happened in order."""

    def __init__(self, elsewhere=False):
        self.hosts, self.events, self.elsewhere = {}, [], elsewhere

    def place(self, part, told: threading.Event):
        self.hosts[part.name] = PretendHost(part, self.events, self.elsewhere)
        return self.hosts[part.name]

    def starts(self, name):
        return self.events.count((name, "start"))

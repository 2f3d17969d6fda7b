"""What rows with two cameras of 128 × 128 cost on the link: their bytes there and in the journal, rows a second, the learner's processor.

An actor sends messages of one row each, as a robot does, up to 32 under way; no two pictures that follow each other are equal. The case
`link_pictures_plain` sends rows as an actor of protocol 1 does, with both pictures of every row, and the learner writes them so.
"""

import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import scale

from warmloop.actor.delivery.channel import open_channel
from warmloop.actor.delivery.link import Link
from warmloop.data.wire import SHARED_PICTURES, row_bytes
from warmloop.data.wire.row_schema import Schema

IDLE_SECONDS = 2.0


class CountingLink(Link):
    """Counts the bytes of the rows that it sends; `plain`: as an actor that knows no shared pictures."""

    plain, sent_bytes = False, 0

    def send_rows(self, first: int, count: int, parts: Any) -> None:
        if self.plain:
            self.send(first, count, row_bytes.join(self._schema, parts))
        else:
            super().send_rows(first, count, parts)

    def send(self, first: int, count: int, frame: bytes, shared: bool = False) -> None:
        self.sent_bytes += len(frame)
        super().send(first, count, frame, shared)


def pictures(seconds: float, plain: bool) -> dict[str, Any]:
    """Rows a second until the last is durable, and for each row the bytes on the wire and on disk, and both processes' processor time."""
    schema, pieces = Schema.of(scale.CAMERAS, "scale"), scale.pieces_of("cameras", 1)
    with tempfile.TemporaryDirectory() as folder, scale.learner("cameras", Path(folder)) as (port, pid):
        with open_channel(f"127.0.0.1:{port}") as channel:
            link = CountingLink(channel, schema, "arm", uuid.uuid4().hex)
            link.plain = plain
            link.hello(0)
            assert plain or link._shares, f"the learner speaks no protocol {SHARED_PICTURES}"
            before = scale.processor_seconds(pid)
            time.sleep(IDLE_SECONDS)
            idle, own, began = (scale.processor_seconds(pid) - before) / IDLE_SECONDS, time.process_time(), time.perf_counter()
            before = scale.processor_seconds(pid)
            while time.perf_counter() - began < seconds or link.under_way:
                first = link.status.received + link.under_way
                if time.perf_counter() - began < seconds and link.ready and link.status.credits > link.under_way:
                    link.send_rows(first, 1, [pieces[first % len(pieces)]])
                elif link.under_way:
                    link.receive()
                else:
                    link.heartbeat()
            while link.status.durable < link.status.received:
                link.heartbeat()
                time.sleep(0.002)
            took, rows = time.perf_counter() - began, link.status.received
            used, own = scale.processor_seconds(pid) - before - idle * took, time.process_time() - own
        journal = sum(path.stat().st_size for path in Path(folder).glob("*.segment"))
    each = {
        "wire_bytes": link.sent_bytes / rows,
        "journal_bytes": journal / rows,
        "learner_us": 1e6 * used / rows,
        "actor_us": 1e6 * own / rows,
    }
    return {"value": rows / took, "unit": "transitions/s", "gemm_share": None, "rows": rows, **each}


CASES: dict[str, Callable[[float], dict[str, Any]]] = {
    "link_pictures_plain": lambda seconds: pictures(seconds, plain=True),
    "link_pictures": lambda seconds: pictures(seconds, plain=False),
}

if __name__ == "__main__":
    for name in [*CASES, *reversed(CASES)]:
        print(name, CASES[name](6.0), flush=True)

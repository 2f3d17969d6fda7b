"""The actor's end of the link against a real service: pushes under way, their answers, and calls that end."""

import contextlib
import threading
import time
from typing import ClassVar

import pytest
from wire_rows import SCHEMA, agent, numbers, stream

from warmloop.actor.delivery import link as link_module
from warmloop.actor.delivery.client import Client, Introduction
from warmloop.actor.delivery.link import UNANSWERED, Link, LinkLost, open_channel
from warmloop.data.errors import WarmloopError
from warmloop.data.wire import row_bytes
from warmloop.data.wire.direct import DirectStub
from warmloop.learner.receiving.intake import Intake, Limits
from warmloop.learner.receiving.service import Servicer, serve


@pytest.fixture(autouse=True)
def long_deadlines(monkeypatch):
    """What a busy machine holds up for seconds is answered all the same."""
    monkeypatch.setattr(link_module, "CALL_SECONDS", 60.0)


@contextlib.contextmanager
def linked(intake):
    server = serve("127.0.0.1", 0, intake)
    with open_channel(f"127.0.0.1:{server.port}") as channel:
        link = Link(channel, SCHEMA, "arm", "s")
        link.hello(0)
        yield link
    server.close()


def send(link, first, count):
    link.send(first, count, row_bytes.encode(SCHEMA, stream(count, first)))


def test_pushes_are_answered_in_order_while_others_are_under_way():
    intake, ends = Intake(SCHEMA), []
    with linked(intake) as link:
        while link.ready:
            send(link, link.status.received + link.under_way, 10)
        assert link.under_way == 10 * UNANSWERED
        while link.under_way:
            link.receive()
            ends.append(link.status.received)
    assert ends == list(range(10, 10 * UNANSWERED + 1, 10))
    assert numbers(intake.take(1000)) == list(range(10 * UNANSWERED))


def test_what_a_full_learner_refuses_is_sent_again_from_there_once_all_is_answered():
    intake = Intake(SCHEMA, limits=Limits(queue_rows=50))
    with linked(intake) as link:
        for first in range(0, 100, 10):
            send(link, first, 10)
        for _ in range(6):
            link.receive()
        assert link.under_way == 40 and not link.ready
        taken = numbers(intake.take(1000))  # there is room again, for rows that come too early
        while link.under_way:
            link.receive()
        assert link.ready and link.status.received == 50
        for first in range(50, 100, 10):
            send(link, first, 10)
        while link.under_way:
            link.receive()
        taken += numbers(intake.take(1000))
    assert taken == list(range(100))


def test_a_call_near_its_deadline_is_finished_and_another_begun(monkeypatch):
    intake, calls = Intake(SCHEMA), []
    monkeypatch.setattr(link_module, "STREAM_SECONDS", 0.0)
    begin = link_module.Pushes.__init__
    monkeypatch.setattr(link_module.Pushes, "__init__", lambda pushes, stub: calls.append(1) or begin(pushes, stub))
    with linked(intake) as link:
        for first in range(0, 100, 10):
            send(link, first, 10)
            assert not link.ready
            link.receive()
    assert len(calls) == 10
    assert numbers(intake.take(1000)) == list(range(100))


def test_a_call_that_idles_beyond_its_deadline_ends_in_silence_and_the_next_push_begins_another(monkeypatch, caplog):
    monkeypatch.setattr(link_module, "TRANSFER_SECONDS", 0.3)
    monkeypatch.setattr(link_module, "STREAM_SECONDS", 0.1)
    intake = Intake(SCHEMA)
    with linked(intake) as link:
        for first in range(0, 30, 10):
            began = time.monotonic()
            while link.status.received < first + 10:
                began = time.monotonic()
                try:
                    send(link, first, 10)
                    link.receive()
                except LinkLost:
                    assert time.monotonic() - began >= 0.25, "only a busy machine is not in time"
                    link.hello(0)
            while link._pushes is not None and link._pushes._answers.is_active():
                assert time.monotonic() < began + 60.0, "the call does not end"
                time.sleep(0.01)
            time.sleep(0.1)  # beyond STREAM_SECONDS
    assert numbers(intake.take(1000)) == list(range(30))
    assert caplog.text == ""


def test_a_learner_that_does_not_answer_in_time_counts_as_lost_and_nothing_is_under_way_then(monkeypatch):
    monkeypatch.setattr(link_module, "TRANSFER_SECONDS", 0.3)
    intake, stuck = Intake(SCHEMA), threading.Event()
    accept = intake.accept
    monkeypatch.setattr(intake, "accept", lambda *arguments: stuck.wait(60) and accept(*arguments))
    with linked(intake) as link:
        send(link, 0, 10)
        with pytest.raises(LinkLost, match="did not answer in time"):
            link.receive()
        assert not link.connected and link.under_way == 0
        stuck.set()
        monkeypatch.setattr(link_module, "TRANSFER_SECONDS", 60.0)
        link.hello(0)
        first = link.status.received
        assert first in (0, 10)  # the push that was given up may have been taken in meanwhile
        send(link, first, 20 - first)
        link.receive()
        assert link.status.received == 20
    assert numbers(intake.take(1000)) == list(range(20))


class Lying(Servicer):
    """A learner some of whose numbers are replaced."""

    wrong: ClassVar[dict[str, int]] = {}

    def Hello(self, request, context):  # noqa: N802
        reply = super().Hello(request, context)
        for name, value in self.wrong.items():
            setattr(reply.status if hasattr(reply.status, name) else reply, name, value)
        return reply


@pytest.mark.parametrize(
    "wrong", [{"max_rows": 0}, {"max_rows": -(2**63)}, {"lease_seconds": 0}, {"durable": 5}, {"durable": -1}, {"received": 2**63 - 1}]
)
def test_numbers_of_an_answer_that_cannot_be_end_the_actor_with_a_sentence(wrong):
    lying = Lying(Intake(SCHEMA))
    lying.wrong = wrong
    with pytest.raises(WarmloopError, match="cannot be believed"):
        Client(DirectStub(lying), Introduction(SCHEMA, agent(), "arm"), background=False)

"""The client against a real learner service: over a socket with its thread, and in process without one."""

import contextlib
import logging
import threading
import time

import jax
import numpy as np
import pytest
from waiting import until
from wire_rows import SCHEMA, SPEC, agent, joined, numbers, row, stream

from warmloop.actor.config import ActorConfig
from warmloop.actor.delivery.buffer import RowBuffer
from warmloop.actor.delivery.client import Client, Introduction
from warmloop.actor.delivery.link import open_channel
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Spec, example, length
from warmloop.data.wire import row_bytes
from warmloop.data.wire import warmloop_pb2 as pb
from warmloop.data.wire.direct import DirectStub
from warmloop.data.wire.row_schema import Schema
from warmloop.learner.receiving.intake import Intake, Limits
from warmloop.learner.receiving.service import Servicer, serve

AGENT = agent()
QUICK = ActorConfig(patience=60.0)


def actor_params(seed):
    return AGENT.actor_params(AGENT.init(jax.random.key(seed), example(SPEC)))


@pytest.fixture
def intake():
    return Intake(SCHEMA)


@pytest.fixture
def server(intake):
    server = serve("127.0.0.1", 0, intake)
    yield server
    server.close()


@contextlib.contextmanager
def connected(server, actor_id="arm", config=QUICK, rows=None):
    client = Client(open_channel(f"127.0.0.1:{server.port}"), Introduction(SCHEMA, AGENT, actor_id), config, rows=rows)
    try:
        yield client
    finally:
        client.stop()
        client.close(timeout=0.1)


def in_process(intake, **options):
    return Client(DirectStub(Servicer(intake)), Introduction(SCHEMA, AGENT, "arm"), QUICK, background=False, **options)


def test_what_is_recorded_is_what_the_learner_takes(server, intake):
    with connected(server) as client:
        for number in range(150):
            client.record(row(number))
        client.record(stream(50, 150))
        client.flush()
        taken = intake.take(1000)
    assert numbers(taken) == list(range(200))
    rows = joined(taken)
    jax.tree.map(np.testing.assert_array_equal, rows, stream(200))


def test_a_few_rows_do_not_wait_for_a_batch(server, intake):
    with connected(server) as client:
        client.record(stream(10))
        until(lambda: intake.statistics()["received"] == 10)


def test_rows_are_copied_when_they_are_recorded(server, intake):
    with connected(server) as client:
        rows = stream(10)
        client.record(rows)
        rows.observation[:] = -1
        client.flush()
    assert numbers(intake.take(100)) == list(range(10))


def test_rows_outlive_a_learner_that_is_killed_and_restored_on_the_same_port(server, intake):
    learnt, crashes, deadline = [], [150, 400, 700], time.monotonic() + 120.0

    def act(client):
        for number in range(1000):
            client.record(row(number))
            time.sleep(0.0005)

    with connected(server) as client:
        actor = threading.Thread(target=act, args=(client,))
        actor.start()
        while len(learnt) < 1000 and time.monotonic() < deadline:
            learnt += numbers(intake.take(37))
            if crashes and len(learnt) > crashes[0]:
                crashes.pop(0)
                state, saved = intake.state(), list(learnt)
                intake.mark_durable(state)
                time.sleep(0.05)
                learnt += numbers(intake.take(23))  # learnt, but not saved
                server.close()
                learnt, intake = saved, Intake(SCHEMA)
                intake.restore(state)
                server = serve("127.0.0.1", server.port, intake)
            time.sleep(0.001)
        assert client.statistics()["reconnects"] == 3
        until(lambda: client.statistics()["pending"] == 0)  # the last answer may still be on its way
    assert learnt == list(range(1000))
    assert intake.statistics()["lost"] == 0
    server.close()


def test_the_actor_waits_for_a_learner_that_starts_later(intake, caplog):
    caplog.set_level(logging.WARNING)
    first = serve("127.0.0.1", 0, Intake(SCHEMA))
    first.close()
    started = []

    def start():
        until(lambda: "Waiting for the learner" in caplog.text)
        started.append(serve("127.0.0.1", first.port, intake))

    starting = threading.Thread(target=start)
    starting.start()
    with connected(first) as client:
        client.record(stream(10))
        client.flush()
    assert intake.statistics()["received"] == 10
    starting.join()
    started[0].close()


def test_an_actor_out_of_patience_says_so(server):
    server.close()
    with pytest.raises(WarmloopError, match=r"has not answered for .* actor\.patience"):
        Client.connect(f"127.0.0.1:{server.port}", Introduction(SCHEMA, AGENT, "arm"), ActorConfig(patience=0.3))


def test_a_learner_that_goes_for_good_ends_the_control_loop_with_a_sentence(server):
    with connected(server, config=ActorConfig(patience=0.3)) as client:
        server.close()
        with pytest.raises(WarmloopError, match="has not answered"):
            for number in range(100_000):
                client.record(row(number))
                time.sleep(0.001)
        with pytest.raises(WarmloopError, match="has not answered"):
            assert client.paused


def test_a_refusal_is_raised_with_the_learners_sentence(server):
    other = Schema.of(Spec(SPEC.observation, 5), "Rows-v0")
    with pytest.raises(WarmloopError, match=r'"action" is float32 \[2\] and the actor\'s is float32 \[5\]'):
        Client.connect(f"127.0.0.1:{server.port}", Introduction(other, AGENT, "arm"), QUICK)


def test_the_older_of_two_actors_of_one_name_stops_and_says_why(server):
    with connected(server) as older, connected(server) as newer:
        with pytest.raises(WarmloopError, match='took over as actor "arm"'):
            for number in range(100_000):
                older.record(row(number))
                time.sleep(0.001)
        newer.record(row(0))
        newer.flush()


def test_two_actors_at_once_keep_their_streams_apart(server, intake):
    def act(client):
        for number in range(500):
            client.record(row(number))
        client.flush()

    with connected(server, "left") as left, connected(server, "right") as right:
        threads = [threading.Thread(target=act, args=(client,)) for client in (left, right)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    chunks = intake.take(10_000)
    streams = {chunk.stream for chunk in chunks}
    assert len(streams) == 2
    for name in streams:
        assert numbers(chunk for chunk in chunks if chunk.stream == name) == list(range(500))


def test_weights_arrive_and_are_replaced_by_newer_ones(server, intake):
    with connected(server) as client:
        assert client.newest_weights() is None
        for version in (3, 9):
            intake.publish(version, actor_params(version))
            until(lambda version=version: (client.newest_weights() or (-1,))[0] == version)
            newest = client.newest_weights()
            assert newest is not None
            jax.tree.map(np.testing.assert_array_equal, newest[1], actor_params(version))


def test_waiting_for_weights_in_vain_ends_with_a_sentence(server):
    with connected(server) as client, pytest.raises(WarmloopError, match="no weights"):
        client.wait_for_weights(0.2)


def test_weights_of_another_agent_end_the_control_loop(server, intake):
    wide = agent(width=16)
    with connected(server) as client:
        intake.publish(0, wide.actor_params(wide.init(jax.random.key(0), example(SPEC))))
        with pytest.raises(WarmloopError, match="another agent"):
            client.wait_for_weights(60.0)


def test_reports_follow_the_rows_they_are_about(server, intake):
    with connected(server) as client:
        client.record(stream(10))
        client.report({"actor/episode_return": 4.0})
        client.flush()
    assert intake.statistics()["received"] == 10
    assert [dict(report.scalars) for report in intake.reports()] == [{"actor/episode_return": 4.0}]


def test_a_robot_is_never_slowed_for_the_learners_sake(server, intake):
    with connected(server, "arm", ActorConfig(simulator=False)) as robot, connected(server, "simulated") as simulator:
        intake.admit(before_pause=0)
        until(lambda: simulator.paused)
        until(lambda: robot._sender.status.directive == pb.PAUSE)
        assert not robot.paused


def test_pause_and_stop_reach_the_actor_without_any_rows(server, intake):
    with connected(server) as client:
        assert not client.paused
        intake.hold(True)
        until(lambda: client.paused)
        intake.hold(False)
        until(lambda: not client.paused)
        intake.stop()
        until(lambda: client.stopped)


def test_a_stopping_learner_serves_until_the_actors_have_left(server, intake):
    client = Client.connect(f"127.0.0.1:{server.port}", Introduction(SCHEMA, AGENT, "arm"), QUICK)
    stopping = threading.Thread(target=server.stop, args=(60.0,))
    stopping.start()
    until(lambda: client.stopped)
    client.record(stream(4))
    client.close(60.0)
    stopping.join(60.0)
    assert not stopping.is_alive()
    assert joined(intake.take(100)).truncated.tolist() == [False, False, False, True]


def test_an_actor_whose_learner_has_ended_leaves_without_an_error(server):
    client = Client.connect(f"127.0.0.1:{server.port}", Introduction(SCHEMA, AGENT, "arm"), QUICK)
    server._intake.stop()
    until(lambda: client.stopped)
    server.close()
    client.record(stream(4))
    client.close()
    assert client.stopped


@pytest.mark.fault
def test_an_actor_leaves_whatever_it_sends_while_the_learner_s_port_closes():
    """A call that is refused its connection ends: with gRPC's own retries one in about a hundred did not, and the actor waited for ever."""
    pauses = np.random.default_rng(0).uniform(0.0, 2e-3, (400, 20))
    for some in pauses:
        server = serve("127.0.0.1", 0, Intake(SCHEMA))
        client = Client.connect(f"127.0.0.1:{server.port}", Introduction(SCHEMA, AGENT, "arm"), QUICK)

        def record(client=client, some=some):
            for number, pause in enumerate(some):
                client.record(stream(4, 4 * number))
                time.sleep(pause)

        def leave(client=client):
            with contextlib.suppress(WarmloopError):
                client.close(timeout=0.1)

        recording = threading.Thread(target=record)
        recording.start()
        time.sleep(some[0] * 5)
        server._intake.stop()
        server.close()
        recording.join()
        leaving = threading.Thread(target=leave, daemon=True)
        leaving.start()
        leaving.join(40.0)
        assert not leaving.is_alive(), "the actor waits for ever"


def test_rows_that_cannot_be_delivered_are_an_error_at_the_end(server):
    client = Client.connect(f"127.0.0.1:{server.port}", Introduction(SCHEMA, AGENT, "arm"), QUICK)
    server.close()
    client.record(stream(4))
    with pytest.raises(WarmloopError, match="4 rows did not reach"):
        client.close(timeout=0.3)


def test_a_simulator_waits_for_a_slow_learner(intake):
    intake = Intake(SCHEMA, limits=Limits(queue_rows=20))
    server = serve("127.0.0.1", 0, intake)
    with connected(server, rows=RowBuffer(SCHEMA, max_rows=30)) as client:
        recorder = threading.Thread(target=lambda: [client.record(row(number)) for number in range(200)], daemon=True)
        recorder.start()
        time.sleep(0.3)
        assert recorder.is_alive()
        taken = []
        while recorder.is_alive() or client.statistics()["pending"]:
            taken += numbers(intake.take(10))
            intake.mark_durable(intake.state())
        taken += numbers(intake.take(1000))
    assert taken == list(range(200))
    server.close()


def test_a_robot_ends_its_episode_and_then_pauses_when_the_buffer_is_full(intake):
    intake = Intake(SCHEMA, limits=Limits(queue_rows=5))
    server = serve("127.0.0.1", 0, intake)
    robot = ActorConfig(patience=60.0, simulator=False)
    with connected(server, config=robot, rows=RowBuffer(SCHEMA, max_rows=20)) as client:
        assert not client.paused
        client.record(stream(25))  # the learner has room for five
        until(lambda: client.paused)
        with pytest.raises(WarmloopError, match="buffer is full"):
            client.record(stream(10, 25))
        client.record(stream(10, 25).replace(intervened=np.ones(10, bool)))  # a human's rows are never refused
        taken = []

        def learnt():
            taken.extend(numbers(intake.take(100)))
            intake.mark_durable(intake.state())
            return not client.paused and client.statistics()["pending"] == 0

        until(learnt)
        assert taken + numbers(intake.take(100)) == list(range(34)), "all but the row that waits for its successor"
    server.close()


def test_rows_that_are_received_but_not_durable_are_never_given_up(server, intake):
    with connected(server, rows=RowBuffer(SCHEMA, max_rows=50)) as client:
        recorder = threading.Thread(target=lambda: [client.record(row(number)) for number in range(200)], daemon=True)
        recorder.start()
        until(lambda: intake.statistics()["received"] == 50)
        time.sleep(0.2)
        assert recorder.is_alive() and client.statistics()["held"] == 50
        while recorder.is_alive():
            intake.take(1000)
            intake.mark_durable(intake.state())
        client.flush()
    assert intake.statistics()["received"] == 200


def test_durable_rows_are_forgotten(server, intake):
    buffer = RowBuffer(SCHEMA)
    with connected(server, rows=buffer) as client:
        client.record(stream(100))
        client.flush()
        assert len(buffer) == 100
        intake.take(60)
        intake.mark_durable(intake.state())
        until(lambda: len(buffer) == 40)


def test_a_broken_sender_thread_is_raised_in_the_control_loop(server):
    class BrokenBuffer(RowBuffer):
        def parts(self, first, count):
            raise MemoryError("no room for a frame")

    with connected(server, rows=BrokenBuffer(SCHEMA)) as client:
        client.record(row(0))
        with pytest.raises(WarmloopError, match="broke: MemoryError"):
            for number in range(1, 100_000):
                client.record(row(number))
                time.sleep(0.001)


def test_a_row_that_does_not_fit_the_schema_is_refused_at_once(server):
    with connected(server) as client:
        for spoilt in (
            row(0).replace(observation=np.zeros(4, np.float32)),
            row(0).replace(action=np.zeros(1, np.float32)),
            row(0).replace(truncated=np.float32(0.5)),
        ):
            with pytest.raises(WarmloopError, match="A row's"):
                client.record(spoilt)


def test_in_process_every_call_is_done_when_it_returns(intake):
    client = in_process(intake)
    intake.publish(4, actor_params(4))
    newest = client.newest_weights()
    assert newest is not None
    assert newest[0] == 4
    for number in range(10):
        client.record(row(number))
        assert intake.statistics()["received"] == number + 1
    client.report({"actor/success_rate": 1.0})
    assert len(intake.reports()) == 1
    assert numbers(intake.take(100)) == list(range(10))
    assert client.statistics()["pending"] == 0


def test_in_process_time_has_no_effect():
    now = [0.0]
    intake = Intake(SCHEMA, clock=lambda: now[0])
    client = in_process(intake)
    client.record(stream(4))
    now[0] = 1e6
    client.record(stream(6, 4))
    assert np.flatnonzero(joined(intake.take(100)).truncated).tolist() == [9]
    assert client.statistics()["reconnects"] == 0


def test_in_process_a_hold_never_makes_the_actor_wait_for_itself(intake):
    client = in_process(intake)
    intake.hold(True)
    client.record(row(0))
    assert not client.paused


def test_in_process_nothing_is_kept_that_the_learner_has(intake):
    buffer = RowBuffer(SCHEMA)
    client = in_process(intake, rows=buffer)
    client.record(stream(100))
    assert len(buffer) == 0


@pytest.mark.parametrize("count", [1, 3, 1024, 2500])
def test_a_buffers_frames_are_the_rows_frames_across_its_blocks(count):
    buffer, first = RowBuffer(SCHEMA), 0
    while first < 3000:
        with buffer.lock:
            buffer.append(stream(count, first))
        first += count
    buffer.forget(700)
    for start, size in ((700, 1), (700, 1100), (1020, 10), (2047, 2), (1024, 1024)):
        assert buffer.frame(start, size) == row_bytes.encode(SCHEMA, stream(size, start))
    assert length(row_bytes.decode(SCHEMA, buffer.frame(900, 50), 50)) == 50

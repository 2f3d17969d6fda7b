"""What an actor with a place, or a token, can do to the others: nothing. Over real sockets, with a journal on disk."""

import contextlib
import time

import grpc
import numpy as np
import pytest
from journals import journaled, records_of, recovered
from secrets_folder import make_credentials
from waiting import until
from wire_rows import SCHEMA, numbers, stream

from warmloop.actor.delivery.channel import open_channel
from warmloop.data.errors import WarmloopError
from warmloop.data.wire import row_bytes
from warmloop.data.wire import warmloop_pb2 as pb
from warmloop.data.wire.keyring import ActorCredentials, LearnerCredentials
from warmloop.data.wire.warmloop_pb2_grpc import LearnerStub
from warmloop.learner.journal import ledger
from warmloop.learner.journal.records import JournalRecord, Kind, segments
from warmloop.learner.receiving import reports, service
from warmloop.learner.receiving.intake import Intake, Limits
from warmloop.learner.receiving.sessions import Sessions

TIMEOUT = 60.0
LARGE = (2**63 - 1, 2**63 - 2, 2**62, 2**53, 2**48)
FRAME = row_bytes.encode(SCHEMA, stream(1))


class Caller:
    """One actor's calls, honest or not."""

    def __init__(self, address: str, name: str, secrets: ActorCredentials | None = None):
        self.name, self.address, self.channel = name, address, open_channel(address, secrets)
        self.stub, self.session, self.sent = LearnerStub(self.channel), "", 0

    def hello(self, **fields) -> pb.HelloReply:
        request = {"protocol_min": 1, "protocol_max": 1, "actor_id": self.name, "stream_id": f"stream-of-{self.name}"}
        whole = pb.HelloRequest(**(request | {"schema": SCHEMA.json, "schema_hash": SCHEMA.hash} | fields))
        reply = self.stub.Hello(whole, timeout=TIMEOUT)
        self.session, self.sent = reply.session, reply.status.received
        return reply

    def push(self, **fields) -> pb.Status:
        request = {"session": self.session, "first": self.sent, "count": 1, "frame": FRAME}
        request |= fields
        request["crc32"] = row_bytes.checksum(request["frame"])
        return next(self.stub.Push(iter([pb.PushRequest(**request)]), timeout=TIMEOUT))

    def rows(self, count: int) -> int:
        """Sends honest rows, and waits until they are on the learner's disk; returns how many are in all."""
        rows = stream(count, self.sent)
        self.sent = self.push(count=count, frame=row_bytes.encode(SCHEMA, rows)).received
        until(lambda: self.beat().durable == self.sent, what="rows stay unacknowledged")
        return self.sent

    def beat(self) -> pb.Status:
        return self.stub.Heartbeat(pb.HeartbeatRequest(session=self.session), timeout=TIMEOUT)

    def report(self, number: int = 0, **scalars: float) -> pb.Status:
        return self.stub.Report(pb.ReportRequest(session=self.session, number=number, scalars=scalars), timeout=TIMEOUT)


@pytest.fixture
def intake(tmp_path):
    intake = journaled(tmp_path, Limits(actors=4))
    yield intake
    intake.journal.close()


@pytest.fixture
def serve():
    servers = []

    def start(intake: Intake, secrets: LearnerCredentials | None = None) -> str:
        servers.append(service.serve("127.0.0.1", 0, intake, secrets))
        return f"127.0.0.1:{servers[-1].port}"

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def honest(serve, intake):
    caller = Caller(serve(intake), "good")
    caller.hello()
    return caller


def another(honest: Caller, name: str = "bad") -> Caller:
    caller = Caller(honest.address, name)
    caller.hello()
    return caller


@contextlib.contextmanager
def refused(code=grpc.StatusCode.INVALID_ARGUMENT, words=""):
    with pytest.raises(grpc.RpcError) as caught:
        yield
    assert caught.value.code() == code and words in (caught.value.details() or "")


@pytest.mark.parametrize("number", LARGE)
def test_a_sequence_number_that_no_run_reaches_is_refused_and_the_others_rows_stay_acknowledged(honest, intake, number):
    bad = another(honest)
    assert "numbered from 0" in bad.hello(oldest_held=number).refusal
    bad.hello()
    with refused(words="numbered from 0"):
        bad.push(first=number)
    assert honest.rows(5) == 5
    assert intake.journal.metrics()["journal/failing"] == 0


@pytest.mark.parametrize("fields", [{"first": -(2**63)}, {"count": 2**63 - 1}, {"count": -(2**63)}, {"count": 0}, {"count": 2**32 + 1}])
def test_no_number_of_a_push_is_believed_before_it_is_bounded(honest, intake, fields):
    bad = another(honest)
    with refused():
        bad.push(**fields)
    assert honest.rows(5) == 5


def test_a_report_numbered_at_the_end_of_numbers_costs_its_own_actor_its_reports_and_nobody_anything_else(honest, intake, tmp_path):
    bad = another(honest)
    bad.report(2**63 - 1, x=1.0)
    with refused(words="numbered from 0"):
        bad.report(-(2**63), x=1.0)
    bad.report(2**63 - 1, x=2.0)
    honest.report(0, y=1.0)
    assert [dict(report.scalars) for report in intake.reports()] == [{"x": 1.0}, {"y": 1.0}]
    assert honest.rows(5) == 5 and bad.rows(3) == 3


def test_a_record_that_the_journal_cannot_hold_is_refused_where_it_is_made_and_not_by_the_thread_that_writes():
    for wrong in ({"number": 2**63}, {"number": -1}, {"count": 2**32}, {"released": -1}, {"stream": "ü"}, {"stream": "x" * 256}):
        with pytest.raises(ValueError, match="journal"):
            JournalRecord(Kind.ROWS, **({"stream": "s"} | wrong))


def test_names_values_and_numbers_of_reports_are_bounded_and_what_is_left_out_is_counted(honest, intake, caplog):
    bad = another(honest)
    odd = {"x" * 121: 1.0, "a\nb": 1.0, "": 1.0, "nan": np.nan, "inf": np.inf, "huge": 1e300, "actor/success_rate": 1.0}
    bad.report(0, **odd)
    assert [dict(report.scalars) for report in intake.reports()] == [{"actor/success_rate": 1.0}]
    assert intake.metrics()["intake/numbers_left_out"] == 6
    assert "6 of 7 numbers of a report by bad are left out" in caplog.text
    with refused(words="takes 262144"):
        bad.report(1, **{"x" * 300_000: 1.0})


def test_an_actor_brings_up_so_many_names_and_no_more_and_the_others_keep_theirs(honest, intake):
    bad = another(honest)
    for number in range(5):
        bad.report(number, **{f"{number}-{place}": 1.0 for place in range(250)})
    honest.report(0, **{"actor/success_rate": 1.0})
    heard = intake.reports()
    assert sum(len(report.scalars) for report in heard) == reports.NAMES_OF_ACTOR + 1
    assert dict(heard[-1].scalars) == {"actor/success_rate": 1.0}


def test_an_actor_may_report_each_row_and_a_hundred_times_more(honest, intake):
    bad = another(honest)
    bad.rows(50)
    for number in range(300):
        bad.report(number, x=1.0)
    taken = len(intake.reports())
    assert 150 <= taken <= 160  # one more for each second
    assert intake.metrics()["intake/reports_dropped"] == 300 - taken


def test_a_slow_loop_does_not_make_waiting_reports_grow_without_end():
    queue, record = reports.ReportQueue(), reports.ActorRecord()
    scalars = {f"n{place}": 1.0 for place in range(200)}
    for _ in range(1000):
        queue.put("a", record, scalars)
    assert len(queue) == reports.WAITING_SCALARS // 200
    assert queue.dropped == 1000 - len(queue) and len(queue.take()) == 250 and len(queue) == 0


def test_streams_that_are_never_heard_of_again_are_forgotten_and_those_in_use_are_not(intake):
    keep = intake.open("good", "mine", 0)[0]
    intake.accept(keep.id, 0, stream(3))
    for number in range(300):
        session = intake.open("bad", f"s{number}", 0)[0]
        if number % 2:
            intake.accept(session.id, 0, stream(10))
            intake.take(100)
    assert len(intake._ledger.streams) <= ledger.STREAMS_OF_ACTOR + 2
    assert intake.accept(keep.id, 3, stream(2, 3)).received == 5
    assert intake.journal.sync() and intake.touch(keep.id).durable == 5  # an acknowledgement of a forgotten stream harms nobody
    assert len(intake._actors) <= 64


def test_actors_that_come_and_go_under_new_names_do_not_fill_the_metrics(intake):
    for number in range(400):
        session = intake.open(f"a{number}", f"s{number}", 0)[0]
        intake.accept(session.id, 0, stream(1))
        intake.close(session.id)
    assert len({name.split("/")[1] for name in intake.metrics() if name.startswith("actors/")}) == 256


def test_a_stream_belongs_to_the_actor_that_began_it_also_for_the_next_learner(tmp_path):
    first = journaled(tmp_path)
    first.accept(first.open("arm", "s1", 0)[0].id, 0, stream(20))
    first.close(first.open("arm", "s1", 0)[0].id)
    with pytest.raises(WarmloopError, match=r'Another actor than "leg" sent stream s1: "arm"'):
        first.open("leg", "s1", 0)
    first.journal.close()
    second, _ = recovered(tmp_path)
    with pytest.raises(WarmloopError, match=r'Another actor than "leg" sent stream s1: "arm"'):
        second.open("leg", "s1", 0)
    assert second.open("arm", "s1", 0)[1].received == 20
    second.journal.close()


def test_a_journal_of_a_version_that_knew_no_owners_is_read_and_its_streams_belong_to_who_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger.Stream, "owner_noted", True, raising=False)
    first = journaled(tmp_path)
    session = first.open("arm", "s1", 0)[0]
    first._ledger.streams["s1"].owner = ""
    first.accept(session.id, 0, stream(20))
    first.journal.close()
    monkeypatch.undo()
    whole = records_of(tmp_path / "journal")
    assert Kind.OWNER not in {record.kind for record in whole}
    second, _ = recovered(tmp_path)
    assert second.open("leg", "s1", 0)[1].received == 20
    second.journal.close()


def test_a_token_is_good_for_the_sessions_of_its_own_actor_alone(serve, intake, tmp_path):
    folder = make_credentials(tmp_path / "credentials", "arm", "leg")
    address = serve(intake, LearnerCredentials.read(folder))
    arm, leg = (Caller(address, name, ActorCredentials.read(folder, name)) for name in ("arm", "leg"))
    arm.hello()
    leg.hello()
    mine, leg.session = leg.session, arm.session  # as if it had been read in a log or in memory
    denied = [
        lambda: leg.push(),
        lambda: leg.beat(),
        lambda: leg.report(0, x=1.0),
        lambda: list(leg.stub.GetWeights(pb.WeightsRequest(session=leg.session, held=-1), timeout=TIMEOUT)),
        lambda: leg.stub.Goodbye(pb.GoodbyeRequest(session=leg.session), timeout=TIMEOUT),
    ]
    for call in denied:
        with refused(grpc.StatusCode.PERMISSION_DENIED, 'The token is of actor "leg", and this session of another'):
            call()
    assert (
        'sent stream stream-of-arm: "arm"'
        in Caller(address, "leg", ActorCredentials.read(folder, "leg")).hello(stream_id="stream-of-arm").refusal
    )
    leg.session = mine
    assert (arm.rows(4), leg.rows(3)) == (4, 3)
    assert len(numbers([chunk for chunk in intake.take(100) if chunk.stream == "stream-of-arm"])) == 3


def test_pushes_that_send_nothing_are_ended_and_leave_their_threads_to_the_others(serve, intake, monkeypatch):
    monkeypatch.setattr(service, "FIRST_SECONDS", 0.5)
    monkeypatch.setattr(service, "PULSE_SECONDS", 0.2)
    address, waiting = serve(intake), iter(lambda: time.sleep(60), None)
    hanging = Caller(address, "bad")
    calls = [hanging.stub.Push(waiting, timeout=60) for _ in range(20)]  # all threads and more of four actors without tokens
    good = Caller(address, "good")
    good.hello()
    deadline = time.monotonic() + TIMEOUT
    while good.sent < 5:
        with contextlib.suppress(grpc.RpcError):  # where a busy machine held it up, its own push came too late, too
            assert good.rows(5) == 5
        assert time.monotonic() < deadline
    for call in calls:
        call.cancel()


def test_a_learner_that_slept_does_not_end_the_sessions_of_those_who_could_not_reach_it():
    now = 0.0
    sessions = Sessions(4, lambda: now)
    session, _ = sessions.open("arm", "s1", 30.0)
    sessions.expect(["orphan"], 30.0)
    for _ in range(10):
        sessions.pulse()
        now += 1.0
    now += 3600.0  # suspended; whichever thread runs first asks who is late
    assert sessions.expire() == [] and sessions.abandoned() == []
    assert sessions.get(session.id) is session
    for _ in range(25):
        now += 1.0
        sessions.pulse()
    assert sessions.expire() == [] and sessions.abandoned() == ["orphan"]
    for _ in range(10):
        now += 1.0
        sessions.pulse()
    assert sessions.expire() == [session]


def test_a_lease_ends_while_the_loop_is_busy_for_minutes(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(service, "PULSE_SECONDS", 0.05)
    intake = Intake(SCHEMA, limits=Limits(lease_seconds=0.3))
    caller = Caller(serve(intake), "arm")
    while caller.sent == 0:
        caller.hello()
        with contextlib.suppress(grpc.RpcError):  # on a busy machine the lease may end before the push has come
            caller.sent = caller.push().received
    until(lambda: intake._queue.rows)  # the open episode's last row, closed as truncated; nothing here asks for it


@pytest.mark.parametrize("how", ["nan", "report"])
def test_a_journal_of_what_is_not_learnt_from_does_not_grow_without_end(tmp_path, how):
    intake = journaled(tmp_path, background=False, segment_bytes=5_000)
    session = intake.open("bad", "s", 0)[0].id
    intake.accept(session, 0, stream(10))
    for number in range(10, 3000, 10):
        rows = stream(10, number)
        if how == "nan":
            rows.observation[:] = np.nan
            intake.accept(session, number, rows)
        else:
            intake._ledger.note_report("s", number)
        if number % 500 == 0:
            intake.journal.sync()
            intake.journal.discard(-1_000, before=intake.journal.end[0])
    assert len(segments(tmp_path / "journal")) < 12
    intake.journal.close()
    again, _ = recovered(tmp_path, background=False)
    taken = [row for row in again.take(1000) if row.stream == "s"]
    assert numbers(taken) == list(range(10)) and again.open("bad", "s", 0)[1].received == (3000 if how == "nan" else 10)
    again.journal.close()

"""Who gets in, who does not, and what those outside can do to the learner: over real sockets, and to a real process."""

import contextlib
import shutil
import socket
import struct
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from learners import LearnerProcess, resident_bytes
from marked_rows import SCHEMA as MARKED
from marked_rows import marked
from secrets_folder import make_credentials
from waiting import until
from wire_rows import SCHEMA, numbers, stream

from warmloop.actor.delivery import channel
from warmloop.actor.delivery import link as link_module
from warmloop.actor.delivery.channel import open_channel
from warmloop.actor.delivery.link import Link
from warmloop.data.errors import WarmloopError
from warmloop.data.wire import MIB, row_bytes
from warmloop.data.wire import warmloop_pb2 as pb
from warmloop.data.wire.keyring import ActorCredentials, LearnerCredentials
from warmloop.data.wire.warmloop_pb2_grpc import LearnerStub
from warmloop.launch.parts.certificates import Authority
from warmloop.learner.receiving import security, service
from warmloop.learner.receiving.intake import Intake, Limits
from warmloop.learner.receiving.security import SAY_EVERY

PUSH = "/warmloop.v1.Learner/Push"


@pytest.fixture(autouse=True)
def long_deadlines(monkeypatch):
    """What a busy machine holds up for seconds is answered all the same."""
    monkeypatch.setattr(link_module, "CALL_SECONDS", 60.0)
    monkeypatch.setattr(channel, "PROBE_SECONDS", 60.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_credentials(tmp_path_factory.mktemp("lab") / "credentials", "arm", "leg")


@pytest.fixture(scope="module")
def mutual(tmp_path_factory) -> Path:
    return make_credentials(tmp_path_factory.mktemp("mutual") / "credentials", "arm", "leg", mutual_tls=True)


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """Another laboratory's."""
    return make_credentials(tmp_path_factory.mktemp("other") / "credentials", "arm", mutual_tls=True)


@pytest.fixture
def serve():
    """Serves an intake with some credentials (None: in the clear), and takes the servers down again."""
    servers = []

    def start(secrets: LearnerCredentials | Path | None, intake: Intake | None = None) -> str:
        secrets = LearnerCredentials.read(secrets) if isinstance(secrets, Path) else secrets
        servers.append(service.serve("127.0.0.1", 0, intake or Intake(SCHEMA, limits=Limits(actors=3)), secrets))
        return f"127.0.0.1:{servers[-1].port}"

    yield start
    for server in servers:
        server.close()


def link(address: str, secrets: ActorCredentials | None, actor_id: str = "arm") -> Link:
    return Link(open_channel(address, secrets), SCHEMA, actor_id, f"stream-of-{actor_id}")


def refused(address: str, secrets: ActorCredentials | None, actor_id: str = "arm") -> str:
    """The sentence with which an actor ends that may not connect; it says it at its first try, before the call's deadline."""
    with pytest.raises(WarmloopError) as caught:
        link(address, secrets, actor_id).hello(0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def arm(folder: Path) -> ActorCredentials:
    return ActorCredentials.read(folder, "arm")


def test_an_actor_with_its_token_gets_its_rows_through_under_tls(serve, folder):
    intake = Intake(SCHEMA)
    mine = link(serve(folder, intake), arm(folder))
    mine.hello(0)
    mine.push(0, 20, row_bytes.encode(SCHEMA, stream(20)))
    intake.publish(4, {"w": np.arange(10, dtype=np.float32)})
    snapshot = mine.weights(-1)
    assert snapshot is not None and snapshot.version == 4
    mine.goodbye()
    assert numbers(intake.take(100)) == list(range(20))


def test_actors_with_certificates_of_their_own_get_in_under_mutual_tls(serve, mutual):
    address = serve(mutual)
    for actor in ("arm", "leg"):
        mine = link(address, ActorCredentials.read(mutual, actor), actor)
        mine.hello(0)
        assert mine.connected


def test_each_mistake_in_the_token_has_its_sentence(serve, folder, other):
    address, mine = serve(folder), arm(folder)
    stranger = ActorCredentials(mine.folder, mine.ca, arm(other).token)
    assert "does not know this actor's token" in refused(address, stranger)
    assert 'The token is of actor "arm", and this process says that it is "leg"' in refused(address, mine, "leg")


def test_an_actor_s_further_simulators_have_its_token_and_names_that_follow_from_its_own(serve, folder):
    address, mine = serve(folder), arm(folder)
    for name in ("arm", "arm.1"):
        one = link(address, mine, name)
        one.hello(0)
        one.push(0, 5, row_bytes.encode(SCHEMA, stream(5)))
    for name in ("leg.1", "arm.x", "arm.0", "arms.1", "arm.1.1"):
        assert 'The token is of actor "arm"' in refused(address, mine, name)


def test_a_lane_for_rows_grows_with_the_simulators_that_have_said_hello_and_with_nothing_else(folder, monkeypatch):
    gates, real = [], security.Gate
    monkeypatch.setattr(security, "Gate", lambda *given: gates.append(real(*given)) or gates[-1])
    server = service.serve("127.0.0.1", 0, Intake(SCHEMA, limits=Limits(actors=8)), LearnerCredentials.read(folder))
    try:
        for name, size in (("arm", 1), ("arm.1", 2), ("arm.2", 4), ("arm.2", 4), ("arm.3", 4)):
            one = link(f"127.0.0.1:{server.port}", arm(folder), name)
            one.hello(0)
            one.push(0, 5, row_bytes.encode(SCHEMA, stream(5)))
            assert (gates[0]._size("arm", "Push"), gates[0]._size("arm", "GetWeights"), gates[0]._size("leg", "Push")) == (size, 1, 1)
    finally:
        server.close()


def test_a_name_that_has_a_token_of_its_own_is_no_simulator_of_another_actor():
    assert security._is_of("arm.1", "arm", {"arm": b"", "leg": b""}) and not security._is_of("arm.1", "arm", {"arm": b"", "arm.1": b""})


def test_a_caller_without_a_token_is_told_how_to_get_one(serve, folder):
    mine = arm(folder)
    with grpc.secure_channel(serve(folder), grpc.ssl_channel_credentials(mine.ca)) as naked, pytest.raises(grpc.RpcError) as caught:
        LearnerStub(naked).Hello(pb.HelloRequest(), timeout=60)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert "--credentials" in (caught.value.details() or "")


def test_a_session_of_another_actor_cannot_be_guessed_from_its_names(serve, folder):
    address = serve(folder)
    link(address, arm(folder)).hello(0)
    thief = link(address, ActorCredentials.read(folder, "leg"), "leg")
    for guess in ("arm", "stream-of-arm", ""):
        thief._session = guess
        with pytest.raises(Exception, match="does not know this session"):
            thief.heartbeat()


def test_each_mistake_in_tls_has_its_sentence(serve, folder, mutual, other):
    secured, plain = serve(folder), serve(None)
    assert "uses TLS: start this actor with --credentials" in refused(secured, None)
    assert "does not use TLS" in refused(plain, arm(folder))
    stranger = arm(other)
    wrong_authority = ActorCredentials(stranger.folder, stranger.ca, arm(folder).token)
    assert "not of the authority in this actor's ca.pem" in refused(secured, wrong_authority)


def test_a_certificate_for_other_hosts_is_refused_and_the_host_to_add_named(serve, folder, tmp_path):
    Authority(folder / "authority").issue(tmp_path, "learner", 2, ("trainer.lab", "10.0.0.7"))
    certificate, key = ((tmp_path / name).read_bytes() for name in ("certificate.pem", "key.pem"))
    address = serve(LearnerCredentials(certificate, key, LearnerCredentials.read(folder).tokens))
    assert "its certificate is not for 127.0.0.1; make one with --host=127.0.0.1" in refused(address, arm(folder))


def test_a_certificate_that_has_expired_is_refused_by_the_actor_and_by_the_learner(serve, folder, tmp_path):
    late = make_credentials(tmp_path / "late", "arm", days=0)
    shutil.rmtree(late / "authority")
    with pytest.raises(WarmloopError, match=r"certificate\.pem expired on \d{4}-\d\d-\d\d; make a new one"):
        LearnerCredentials.read(late)
    certificate, key = ((late / "learner" / name).read_bytes() for name in ("certificate.pem", "key.pem"))
    address = serve(LearnerCredentials(certificate, key, LearnerCredentials.read(folder).tokens))
    assert "certificate has expired" in refused(address, arm(late))


def test_mutual_tls_refuses_an_actor_without_a_certificate_and_one_with_anothers(serve, mutual, other):
    address, mine, leg = serve(mutual), arm(mutual), ActorCredentials.read(mutual, "leg")
    assert "wants a certificate of the actor" in refused(address, ActorCredentials(mine.folder, mine.ca, mine.token))
    stranger = arm(other)
    foreign = ActorCredentials(stranger.folder, mine.ca, mine.token, stranger.certificate, stranger.key)
    assert "does not accept this actor's certificate" in refused(address, foreign)
    borrowed = ActorCredentials(leg.folder, mine.ca, mine.token, leg.certificate, leg.key)
    assert 'The token is of actor "arm", and the certificate of "leg"' in refused(address, borrowed)


def test_an_actors_certificate_cannot_pose_as_the_learner(serve, mutual):
    mine = arm(mutual)
    assert mine.certificate and mine.key
    impostor = LearnerCredentials(mine.certificate, mine.key, LearnerCredentials.read(mutual).tokens)
    assert "cannot be trusted" in refused(serve(impostor), mine)


def test_an_actor_does_not_speak_to_another_machine_in_the_clear():
    with pytest.raises(WarmloopError, match=r"another machine.*--credentials.*launch\.credentials --out=credentials --host=trainer\.lab"):
        open_channel("trainer.lab:5488")


def test_nobody_answering_and_a_peer_that_hangs_up_are_no_reason_to_give_up(folder):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        closer = threading.Thread(target=lambda: silent.accept()[0].close())
        closer.start()
        assert channel.diagnose(address, arm(folder)) is None
        closer.join()
    assert channel.diagnose(address, arm(folder)) is None
    assert channel.diagnose(address, None) is None
    with socket.create_server(("127.0.0.1", 0)) as resetting:
        address = f"127.0.0.1:{resetting.getsockname()[1]}"
        threading.Thread(target=_reset_all, args=(resetting,), daemon=True).start()
        for secrets in [None, arm(folder)] * 20:
            assert channel.diagnose(address, secrets) is None


def _reset_all(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection = listener.accept()[0]
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()


def test_nothing_is_parsed_before_the_token_is_checked(serve, folder):
    address, mine = serve(folder), arm(folder)
    noise = np.random.default_rng(0).bytes(2 * MIB)

    def push(*metadata: tuple[str, str]) -> grpc.StatusCode:
        with grpc.secure_channel(address, grpc.ssl_channel_credentials(mine.ca)) as naked, pytest.raises(grpc.RpcError) as caught:
            naked.unary_unary(PUSH)(noise, timeout=60, metadata=metadata)
        return caught.value.code()

    assert push() == grpc.StatusCode.UNAUTHENTICATED
    assert push(("authorization", "Bearer " + "x" * 43)) == grpc.StatusCode.UNAUTHENTICATED
    assert push(("authorization", mine.token + "x")) == grpc.StatusCode.UNAUTHENTICATED
    assert push(("authorization", f"Bearer {mine.token}")) == grpc.StatusCode.INVALID_ARGUMENT  # protobuf could not read it


def test_an_unknown_method_tells_strangers_no_more_than_a_known_one(serve, folder):
    mine = arm(folder)
    with grpc.secure_channel(serve(folder), grpc.ssl_channel_credentials(mine.ca)) as naked, pytest.raises(grpc.RpcError) as caught:
        naked.unary_unary("/warmloop.v1.Learner/Shutdown")(b"", timeout=60)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_secrets_do_not_show_when_credentials_are_printed(folder):
    mine, learners = arm(folder), LearnerCredentials.read(folder)
    assert mine.token not in repr(mine) and "PRIVATE" not in repr(learners) and repr(learners.tokens) not in repr(learners)
    assert mine.token not in (folder / "learner" / "tokens.json").read_text()


@pytest.mark.slow
def test_a_flood_of_one_actors_pushes_delays_no_other_actors_calls(serve, folder):
    intake = Intake(SCHEMA, limits=Limits(actors=3, queue_rows=1000))
    address, stop, busy = serve(folder, intake), threading.Event(), []
    frame = row_bytes.encode(SCHEMA, stream(1000))
    frame += bytes(8 * MIB - len(frame))  # the learner reads it to its end before it finds it too long

    def flood() -> None:
        with open_channel(address, arm(folder)) as mine:
            stub = LearnerStub(mine)
            while not stop.is_set():
                with pytest.raises(grpc.RpcError) as caught:
                    next(stub.Push(iter([pb.PushRequest(session="", first=0, count=1000, frame=frame)]), timeout=300))
                busy.append(caught.value.code())

    threads = [threading.Thread(target=flood) for _ in range(24)]
    for thread in threads:
        thread.start()
    until(lambda: grpc.StatusCode.RESOURCE_EXHAUSTED in busy, what=lambda: busy)  # more than its lane holds
    other, seconds = link(address, ActorCredentials.read(folder, "leg"), "leg"), []
    for _ in range(40):
        begin = time.monotonic()
        other.hello(0)
        other.heartbeat()
        seconds.append(time.monotonic() - begin)
    stop.set()
    for thread in threads:
        thread.join()
    print(f"Hello and Heartbeat under a flood: median {np.median(seconds):.3f} s, worst {max(seconds):.3f} s; {len(busy)} pushes")
    assert sorted(seconds)[-5] < 4.0  # an actor waits 5 s for an answer; the machine of the tests may be busy, and hold a few up


@pytest.mark.slow
def test_memory_stays_flat_under_a_flood_of_calls_from_outside_and_of_messages_too_large(folder, tmp_path):
    with LearnerProcess(tmp_path / "run", f"--credentials={folder}") as learner:
        address, mine = f"127.0.0.1:{learner.port}", arm(folder)
        large = bytes(64 * MIB)

        def flood(rounds: int) -> set[grpc.StatusCode]:
            codes = set()

            def call(number: int) -> None:
                with grpc.secure_channel(address, grpc.ssl_channel_credentials(mine.ca), [("grpc.enable_http_proxy", 0)]) as naked:
                    for _ in range(rounds):
                        metadata = [("authorization", f"Bearer {mine.token if number % 2 else 'x' * 43}")]
                        payload = large if number % 2 else large[: 15 * MIB]  # the smaller within the limit, but without a token
                        with pytest.raises(grpc.RpcError) as caught:
                            naked.unary_unary(PUSH)(payload, timeout=300, metadata=metadata)
                        codes.add((number % 2, caught.value.code()))

            threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return codes

        began = time.monotonic()
        flood(6)
        before = resident_bytes(learner.pid)
        assert flood(12) == {(0, grpc.StatusCode.UNAUTHENTICATED), (1, grpc.StatusCode.RESOURCE_EXHAUSTED)}
        grown = resident_bytes(learner.pid) - before
        print(f"resident: {before / MIB:.0f} MiB, after 72 calls more of 15 and 64 MiB {grown / MIB:+.1f} MiB")
        assert grown < 64 * MIB  # a few messages, by how many are under way at once, of the 2,800 MiB that came
        frame = row_bytes.encode(MARKED, marked(0, 0, 5))
        actor = Link(open_channel(address, mine), MARKED, "arm", "s")
        actor.hello(0)
        actor.push(0, 5, frame)
        assert actor.status.received == 5
        assert learner.log().count("calls refused") <= 1 + (time.monotonic() - began) / SAY_EVERY, "a flood does not fill the log"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["Heartbeat", "Push", "GetWeights"])
def test_calls_whose_bytes_are_no_message_leave_nothing_behind(tmp_path, method):
    with LearnerProcess(tmp_path / "run") as learner, open_channel(f"127.0.0.1:{learner.port}") as channel:
        call = channel.stream_stream(f"/warmloop.v1.Learner/{method}")

        def garbage(times: int) -> None:
            for _ in range(times):
                with pytest.raises(grpc.RpcError, match="no message of this call's"):
                    list(call(iter([b"\xff" * 50]), timeout=30))

        garbage(200)
        before = resident_bytes(learner.pid)
        garbage(800)
        assert resident_bytes(learner.pid) - before < 6 * MIB  # with gRPC's own parsing, 13 MiB

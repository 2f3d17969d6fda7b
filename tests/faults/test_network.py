"""Networks that fail: half-open connections, partitions, delay. And peers that are slow or stall."""

import signal
import threading
import time

import pytest
from actors import Actor
from learners import assert_each_once, finish, resident_bytes
from marked_rows import AGENT, EPISODE, SCHEMA, marked
from proxy import Proxy
from waiting import until

from warmloop.actor.config import ActorConfig
from warmloop.actor.delivery.client import Client, Introduction
from warmloop.actor.delivery.spool import Spool
from warmloop.data.wire import MIB

KEEPALIVE_SECONDS = 10.0  # in which an actor finds that a connection is dead


@pytest.fixture
def proxied(learner):
    """A learner process behind a proxy."""
    proxies = []

    def start(*options):
        process = learner(*options)
        proxies.append(Proxy(process.port))
        return process, proxies[-1]

    yield start
    for proxy in proxies:
        proxy.close()


@pytest.mark.long
def test_a_connection_that_is_cut_is_made_anew(proxied, tmp_path):
    process, proxy = proxied()
    actor = Actor(proxy.port, 0, tmp_path / "spool")
    for _ in range(2):
        until(lambda seen=actor.acknowledged: actor.acknowledged > seen)
        proxy.cut()
        until(lambda seen=actor.end: actor.end > seen + 50)
        proxy.resume()
    finish(process, actor)


@pytest.mark.fault
def test_a_half_open_connection_is_found_and_replaced(proxied, tmp_path):
    process, proxy = proxied()
    actor = Actor(proxy.port, 0, tmp_path / "spool")
    until(lambda: actor.acknowledged > 100)
    proxy.abandon()
    held = actor.end
    until(lambda: actor.acknowledged > held, KEEPALIVE_SECONDS + 30)
    finish(process, actor)


@pytest.mark.fault
@pytest.mark.parametrize("partition", [Proxy.stall, Proxy.cut])
def test_a_partition_of_a_minute_beyond_the_lease_costs_nothing(partition, proxied, tmp_path):
    process, proxy = proxied("--lease=10")
    actor = Actor(proxy.port, 0, tmp_path / "spool")
    until(lambda: actor.acknowledged > 100)
    partition(proxy)
    before = actor.end
    time.sleep(60.0)
    assert actor.end > before + 8_000, "the loop went on"
    assert "counts as gone" in process.log()
    proxy.resume()
    until(lambda: actor.acknowledged > before + 8_000, 60)
    finish(process, actor)


@pytest.mark.fault
def test_half_a_second_of_delay_delays_and_does_not_slow(proxied, tmp_path):
    process, proxy = proxied()
    proxy.delay = 0.25
    actor = Actor(proxy.port, 0, tmp_path / "spool", rate=200)
    until(lambda: actor.acknowledged > 100)
    begin, recorded = actor.acknowledged, actor.end
    time.sleep(20.0)
    assert actor.acknowledged - begin > 0.8 * (actor.end - recorded)
    finish(process, actor)


@pytest.mark.fault
def test_a_slow_learner_keeps_its_memory_flat_and_takes_every_row(learner, tmp_path):
    """It has room for 1,000 rows and takes them twice a second; the actors have more."""
    process = learner("--rest=0.5", "--queue=1000")
    actors = [Actor(process.port, number, tmp_path / f"spool-{number}", rate=1_500) for number in (0, 1)]
    until(lambda: all(actor.acknowledged > 2_000 for actor in actors))
    before = resident_bytes(process.pid)
    time.sleep(10.0)
    assert sum(actor.end - actor.acknowledged for actor in actors) > 5_000, "the learner is the slower one"
    assert resident_bytes(process.pid) - before < 16 * MIB
    finish(process, *actors)


@pytest.mark.fault
def test_an_actor_slower_than_its_lease_keeps_its_session(learner, tmp_path):
    process = learner("--lease=2")
    actor = Actor(process.port, 0, tmp_path / "spool", rate=0.3)
    time.sleep(15.0)
    assert "counts as gone" not in process.log()
    finish(process, actor)


@pytest.mark.fault
@pytest.mark.parametrize("simulator", [True, False], ids=["simulator", "robot"])
def test_through_a_stall_of_the_learner_a_simulator_waits_and_a_robot_ends_its_episode(simulator, learner, tmp_path):
    """The spool has room for 400 rows; episodes have 50 steps. SIGSTOP is a learner that hangs: alive, and silent."""
    process = learner()
    config = ActorConfig(simulator=simulator, patience=600.0)
    spool = Spool(tmp_path / "spool", SCHEMA, max_rows=400)
    client = Client.connect(f"127.0.0.1:{process.port}", Introduction(SCHEMA, AGENT, "actor-0"), config, spool.rows)
    recorded = waited = 0
    process.process.send_signal(signal.SIGSTOP)
    wakes = threading.Timer(8.0, process.process.send_signal, (signal.SIGCONT,))
    wakes.start()
    while recorded < 1_000:
        if recorded % EPISODE == 0 and client.paused:
            waited += not simulator
            time.sleep(0.02)
            continue
        start = time.monotonic()
        client.record(marked(0, recorded, 1))
        waited += time.monotonic() - start > 1.0
        recorded += 1
        assert len(spool.rows) <= (400 if simulator else 400 + EPISODE)
        time.sleep(0.001)
    wakes.join()
    assert waited > 0
    client.close(60.0)
    spool.close()
    process.stop()
    assert_each_once(process.pool(), {0: recorded})

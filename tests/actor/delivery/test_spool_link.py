"""A spool between a control loop and a learner: after damage, a loss of power, a crash, and on a full disk."""

import json
import os
import subprocess
import threading
import time

import pytest
from spools import filled, held, opened, started, written
from wire_rows import SCHEMA, agent, numbers, row, stream

from warmloop.actor.delivery import segments
from warmloop.actor.delivery.channel import open_channel
from warmloop.actor.delivery.client import Client, Introduction
from warmloop.actor.delivery.spool import Spool
from warmloop.data.wire.direct import DirectStub
from warmloop.learner.receiving.intake import Intake
from warmloop.learner.receiving.service import Servicer, serve


def test_damage_that_the_learner_never_saw_is_skipped_once_what_precedes_it_is_durable(tmp_path, caplog):
    path = filled(tmp_path, counts=(20, 5, 20))[0]
    data, record = path.read_bytes(), segments.read(path, SCHEMA).records[1]
    path.write_bytes(data.replace(bytes(record.frame), bytes(len(record.frame))))
    intake = Intake(SCHEMA)
    server = serve("127.0.0.1", 0, intake)
    with opened(tmp_path) as spool:
        assert list(spool.rows.gaps) == [range(20, 25)]
        client = Client(open_channel(f"127.0.0.1:{server.port}"), Introduction(SCHEMA, agent(), "arm"), rows=spool.rows)
        client.record(stream(5, 45))
        taken, deadline = [], time.monotonic() + 60
        while client.statistics()["held"] and time.monotonic() < deadline:
            taken += numbers(intake.take(100))
            intake.mark_durable(intake.state())
            if spool.rows.sent == 50:
                break
            time.sleep(0.01)
        client.stop()
        client.close(0.1)
        taken += numbers(intake.take(100))
    server.close()
    assert taken == [*range(20), *range(25, 50)]
    assert intake.statistics()["lost"] == 5
    assert "5 rows missing" in caplog.text


@pytest.mark.long
def test_a_stream_whose_tail_a_loss_of_power_took_goes_on_after_what_the_learner_has(tmp_path):
    intake = Intake(SCHEMA)
    server = serve("127.0.0.1", 0, intake)
    folder = tmp_path / "spool"
    with opened(folder) as spool:
        client = Client(open_channel(f"127.0.0.1:{server.port}"), Introduction(SCHEMA, agent(), "arm"), rows=spool.rows)
        client.record(stream(30))
        client.flush()
        client.close()
    (path,) = folder.glob("*.rows")
    os.truncate(path, segments.HEADER_BYTES)
    with opened(folder) as spool:
        client = Client(open_channel(f"127.0.0.1:{server.port}"), Introduction(SCHEMA, agent(), "arm"), rows=spool.rows)
        client.record(stream(10, 30))
        client.flush()
        client.close()
        stream_id = spool.rows.stream_id
    with opened(folder) as spool:
        assert spool.rows.stream_id == stream_id and spool.rows.first == 30 and spool.rows.end == 40
    assert numbers(intake.take(100)) == list(range(40))
    server.close()


@pytest.mark.long
def test_reports_after_a_crash_are_counted_though_the_actor_numbers_them_anew(tmp_path):
    intake = Intake(SCHEMA)
    server = serve("127.0.0.1", 0, intake)
    for opening in range(3):
        with opened(tmp_path) as spool:
            client = Client(open_channel(f"127.0.0.1:{server.port}"), Introduction(SCHEMA, agent(), "arm"), rows=spool.rows)
            client.record(row(spool.rows.end))
            client.report({"actor/episode_return": float(opening)})
            client.close()
    assert [report.scalars["actor/episode_return"] for report in intake.reports()] == [0.0, 1.0, 2.0]
    server.close()


def test_a_full_spool_holds_no_more_than_it_may_on_disk(tmp_path):
    spool = Spool(tmp_path, SCHEMA, max_rows=500, segment_bytes=2000)
    assert spool.rows.capacity == 500
    client = Client(DirectStub(Servicer(Intake(SCHEMA))), Introduction(SCHEMA, agent(), "arm"), rows=spool.rows)
    recorder = threading.Thread(target=lambda: [client.record(row(number)) for number in range(1000)], daemon=True)
    recorder.start()
    written(spool, 500)
    recorder.join(0.3)
    assert recorder.is_alive() and spool.rows.end == 500
    assert sum(path.stat().st_size for path in tmp_path.glob("*.rows")) < 500 * (SCHEMA.row_bytes + segments.RECORD_BYTES) + 40 * 1000
    client.stop()
    recorder.join()
    client.close(0.1)
    spool.close()


FULL = """
    import json, os, resource, sys, threading, time
    from wire_rows import SCHEMA, agent, row, stream
    from warmloop.actor.delivery.client import Client
    from warmloop.actor.config import ActorConfig
    from warmloop.actor.delivery.spool import Spool
    from warmloop.data.wire.direct import DirectStub
    from warmloop.learner.receiving.intake import Intake
    from warmloop.learner.receiving.service import Servicer

    folder, fill, free = sys.argv[1:]
    exec(fill)
    spool = Spool(folder, SCHEMA)
    robot = sys.stdin.readline().strip() == "robot"
    intake = Intake(SCHEMA)
    client = Client(DirectStub(Servicer(intake)), SCHEMA, agent(), "arm", ActorConfig(simulator=not robot), rows=spool.rows)
    if robot:  # ends its episode
        for number in range(2000):
            client.record(row(number))
            if client.paused:
                break
        while not client.paused:
            time.sleep(0.01)
    else:
        enough = threading.Event()

        def act():  # a little ahead of the disk, until it is told
            while not enough.is_set():
                with spool.rows.changed:
                    spool.rows.changed.wait_for(lambda: spool.rows.end - spool.rows.written < 100 or spool.rows.trouble)
                client.record(row(spool.rows.end))

        recorder = threading.Thread(target=act)
        recorder.start()
        while not spool.rows.trouble:
            time.sleep(0.01)
        time.sleep(0.1)
        assert recorder.is_alive(), "a simulator waits"
    stuck = spool.rows.end
    time.sleep(1.5)
    assert spool.rows.trouble and spool.rows.end == stuck, "neither goes on while the disk is full"
    assert intake.statistics()["received"] <= spool.rows.written < stuck, "what is not written is not sent"
    said = spool.rows.trouble
    if not robot:
        enough.set()
    exec(free)
    if not robot:
        recorder.join()
    while client.paused or client.statistics()["pending"]:
        time.sleep(0.01)
    client.stop()
    client.close()
    spool.close()
    print(json.dumps({"said": said, "stuck": stuck, "end": spool.rows.end, "received": intake.statistics()["received"]}))
    """


def assert_survives_a_full_disk(process, kind):
    out, err = process.communicate(kind, timeout=120)
    assert process.returncode == 0, err
    shown = json.loads(out)
    assert "cannot be written (" in shown["said"] and "free space there" in shown["said"]
    assert 0 < shown["stuck"] <= shown["end"] == shown["received"]
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["simulator", "robot"])
def test_a_disk_that_is_full_stops_the_actor_and_loses_nothing(tmp_path, kind):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here (that takes root)")
    try:
        fill = f"open({str(disk / 'ballast')!r}, 'wb').write(bytes(180_000))"
        shown = assert_survives_a_full_disk(started(FULL, disk / "spool", fill, f"os.unlink({str(disk / 'ballast')!r})"), kind)
        assert "No space left on device" in shown["said"]
        with opened(disk / "spool") as spool:
            assert held(spool) == list(range(shown["end"]))
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.long
def test_a_file_that_may_not_grow_is_followed_by_another_and_its_torn_end_is_cut(tmp_path):
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))"
    code = f"""
    import resource, sys
    from wire_rows import SCHEMA, row
    from warmloop.actor.delivery.spool import Spool
    {limit}
    spool = Spool(sys.argv[1], SCHEMA)
    for number in range(400):
        with spool.rows.changed:
            spool.rows.append(row(number))
            assert spool.rows.changed.wait_for(lambda: spool.rows.written > number, 60)
    spool.close()
    """
    process = started(code, tmp_path)
    assert process.communicate()[1].count("File too large") == 1 and process.returncode == 0
    assert [path.stat().st_size <= 20_000 for path in tmp_path.glob("*.rows")] == [True] * 2
    with opened(tmp_path) as spool:
        assert held(spool) == list(range(400))

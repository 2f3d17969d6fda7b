"""The journal of rows with cameras: each picture once, no segment that needs an older one, and damage that costs no more than it hit."""

from typing import Any

import numpy as np
import pytest
from camera_rows import Film, assert_same, camera_schema
from journals import records_of

from warmloop.actor.delivery import link as link_module
from warmloop.actor.delivery.link import Link
from warmloop.data.transition import concatenate, length
from warmloop.data.wire.direct import DirectStub
from warmloop.learner.journal.journal import Journal
from warmloop.learner.journal.records import Kind, segments, stretches
from warmloop.learner.receiving import service
from warmloop.learner.receiving.intake import Intake
from warmloop.learner.receiving.service import Servicer

PICTURES = sum(camera.size for camera in camera_schema().cameras)


def learner(folder, **settings) -> Any:
    return Intake(camera_schema(), folder / "quarantine", journal=Journal(folder / "journal", background=False, **settings))


def recovered(folder, position=0, since=0):
    """What a later learner has: for its pool, with numbers, and the rest."""
    intake = learner(folder)
    pool = list(intake.recover(position, {}, since))
    return intake, pool


def send(intake, film, each=1, begin=0):
    link = Link(DirectStub(Servicer(intake)), camera_schema(), "arm", "s")
    link.hello(begin)
    for first in range(begin, len(film.rows), each):
        link.send_rows(first, min(each, len(film.rows) - first), film.parts(first, min(each, len(film.rows) - first)))
        link.receive()
    assert link.status.received == len(film.rows)
    return link


@pytest.mark.parametrize("each", [1, 3])
def test_a_picture_is_written_once(tmp_path, each):
    intake, film = learner(tmp_path), Film(0).play(40, length=40)
    send(intake, film, each)
    intake.journal.close()
    payload = sum(len(record.payload) for record in records_of(tmp_path / "journal") if record.kind == Kind.ROWS)
    assert payload == 41 * PICTURES + 40 * (camera_schema().without_pictures.row_bytes + 4)


def test_every_segment_can_be_read_without_those_before_it(tmp_path):
    intake, film = learner(tmp_path, segment_bytes=4 * camera_schema().row_bytes), Film(1).play(60, length=25)
    send(intake, film)
    intake.take(1000)
    intake.journal.close()
    files = [path for _, path in segments(tmp_path / "journal")]
    assert len(files) > 8
    for path in files[:-1]:
        snapshot = stretches(path.read_bytes())[0][2][0]
        assert snapshot.kind == Kind.SNAPSHOT
        again, pool = recovered(tmp_path, 59, snapshot.released)
        found = concatenate([chunk.rows for _, chunk in pool])
        first = snapshot.released
        assert pool[0][0] == first and again.statistics()["lost"] == 0
        assert_same(found, film.part(first, length(found)))
        again.journal.close()
        path.unlink()


def test_a_damaged_record_costs_its_own_rows_and_the_one_after_it_alone(tmp_path, caplog):
    intake, film = learner(tmp_path), Film(2).play(30, length=30)
    send(intake, film)
    intake.journal.close()
    ((_, path),) = segments(tmp_path / "journal")
    hit = [record for record in records_of(tmp_path / "journal") if record.kind == Kind.ROWS][10]
    path.write_bytes(path.read_bytes().replace(bytes(hit.payload), bytes(len(hit.payload))))
    again, pool = recovered(tmp_path, 30)
    rows = [(number + place, chunk.split(place)[1].split(1)[0].rows) for number, chunk in pool for place in range(length(chunk.rows))]
    assert [number for number, _ in rows] == list(range(30))
    assert [number for number, row in rows if row.quality[0] == 0] == [9, 10, 11]  # 9 was held back when 10 came, 11 leans on it
    for number, row in rows:
        if number not in (9, 10, 11):
            assert_same(row, film.rows[number])
        else:
            assert not any(np.any(picture) for picture in (row.observation["front"], row.next_observation["front"]))
    assert again.statistics()["lost"] == 3
    assert "lost pictures of 1 rows of stream s, from 11 on" in caplog.text
    again.journal.close()


def test_rows_of_an_actor_that_knows_no_shared_pictures_are_taken_and_written_as_they_come(tmp_path, monkeypatch):
    intake, film = learner(tmp_path), Film(3).play(12)
    monkeypatch.setattr(link_module, "PROTOCOL_MAX", 1)
    send(intake, film, each=5)
    assert not any(record.shared for record in records_of(tmp_path / "journal"))
    intake.journal.close()
    again, pool = recovered(tmp_path, 11)
    assert_same(concatenate([chunk.rows for _, chunk in pool]), film.part(0, 11), but=("truncated",))
    again.journal.close()


def test_a_learner_that_knows_no_shared_pictures_gets_rows_as_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(service, "PROTOCOL_MAX", 1)
    intake, film, seen = learner(tmp_path), Film(4).play(12), []
    take_in = Servicer._take_in
    monkeypatch.setattr(Servicer, "_take_in", lambda self, request, context: seen.append(request.shared) or take_in(self, request, context))
    send(intake, film, each=2)
    assert seen == [False] * 6
    assert_same(concatenate([chunk.rows for chunk in intake.take(100)]), film.part(0, 11), but=("truncated",))
    intake.journal.close()


def test_rows_that_lean_on_what_the_learner_does_not_have_are_not_taken(tmp_path):
    intake, film = learner(tmp_path), Film(5).play(9, length=20)
    link = send(intake, film)
    film.play(3, length=20)
    packer = link._packer
    leaning = packer.pack(9, 1, film.parts(9, 1))
    other = Link(DirectStub(Servicer(intake)), camera_schema(), "arm", "s")
    intake.close(link._session)  # its pictures are forgotten with its session
    other.hello(0)
    other.send(9, 1, leaning, shared=True)
    other.receive()
    assert other.status.received == 9
    other.send_rows(9, 3, film.parts(9, 3))
    other.receive()
    assert other.status.received == 12
    assert_same(concatenate([chunk.rows for chunk in intake.take(100)]), film.part(0, 11), but=("truncated",))
    intake.journal.close()

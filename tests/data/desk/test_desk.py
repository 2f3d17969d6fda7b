"""A process shows itself to whoever looks, hears them at once, and waits for none of them."""

import stat
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from looking import Look
from waiting import until

from warmloop.data.desk.desk import LOOKING, Desk, at_desk
from warmloop.data.desk.desk_messages import LONGEST_WORD, Unpacker, packed
from warmloop.data.desk.warnings_kept import KeptWarnings
from warmloop.data.errors import WarmloopError


class Counter:
    """A process that counts how often it was asked, and has a camera."""

    warnings: KeptWarnings | None = None

    def __init__(self, picture=None):
        self.asked, self.said, self.gone = 0, list[str](), list[str]()
        self.picture = np.zeros((4, 4, 3), np.uint8) if picture is None else picture

    def show(self):
        self.asked += 1
        return {"asked": self.asked}

    def pictures(self):
        return {"wrist": (self.asked, self.picture)}

    def hear(self, word, values, viewer):
        self.said.append(word)
        return "" if word == "success" else f"no {word}"

    def lost(self, viewer):
        self.gone.append(viewer)


def test_who_looks_gets_the_newest_state_and_pictures(tmp_path):
    shown = Counter(np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3))
    with Desk(tmp_path, "actor-0", shown):
        look = Look(tmp_path, "actor-0")
        first, second = look.state()["asked"], look.state()["asked"]
        assert second > first
        about, data = look.next("picture")
        assert about["camera"] == "wrist" and about["shape"] == [2, 3, 3]
        assert data == shown.picture.tobytes()


def test_nobody_is_asked_while_nobody_looks(tmp_path):
    shown = Counter()
    with Desk(tmp_path, "actor-0", shown):
        time.sleep(0.5)
        assert shown.asked == 0


def test_a_word_is_heard_and_answered(tmp_path):
    shown = Counter()
    with Desk(tmp_path, "actor-0", shown):
        look = Look(tmp_path, "actor-0")
        assert look.say("success") == "" and look.say("dance") == "no dance"
        assert shown.said == ["success", "dance"]


def test_the_loss_of_a_connection_is_told_for_each_viewer_behind_it(tmp_path):
    shown = Counter()
    with Desk(tmp_path, "actor-0", shown):
        look = Look(tmp_path, "actor-0")
        look.say("success", "tablet")
        look.say("success", "phone")
        look.say("success", "desk")
        look.socket.sendall(packed({"word": "lost", "viewer": "desk"}))
        until(lambda: shown.gone == ["desk"])
        look.close()
        until(lambda: sorted(shown.gone) == ["desk", "phone", "tablet"])


def test_who_takes_nothing_in_makes_nothing_wait_and_nothing_pile_up(tmp_path):
    shown = Counter(np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8))
    with Desk(tmp_path, "actor-0", shown) as desk:
        slow, quick = Look(tmp_path, "actor-0"), Look(tmp_path, "actor-0")
        until(lambda: len(desk._looking) == 2)
        for _ in range(8):
            quick.state()
        most = max(len(looking.waiting) for looking in desk._looking.values())
        assert most <= shown.picture.nbytes + 4096, "more than one state and picture wait"
        slow.close()


def test_no_more_look_than_may(tmp_path):
    with Desk(tmp_path, "actor-0", Counter()):
        looks = [Look(tmp_path, "actor-0") for _ in range(LOOKING)]
        for look in looks:
            look.state()
        assert Look(tmp_path, "actor-0").hung_up()
        looks[0].close()
        until(lambda: _looks(tmp_path))


def _looks(folder: Path) -> bool:
    """Whether one more may look now."""
    look = Look(folder, "actor-0")
    try:
        look.state()
    except (AssertionError, ConnectionError):
        return False
    return True


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        packed({"word": "x" * LONGEST_WORD}),
        packed({"word": "success"}, b"bytes"),
        b"\0\0\0\2\0\0\0\0{}"[:-1] + b"x",
    ],
)
def test_who_sends_no_word_is_hung_up_on_and_the_others_are_not(tmp_path, data):
    shown = Counter()
    with Desk(tmp_path, "actor-0", shown):
        good, bad = Look(tmp_path, "actor-0"), Look(tmp_path, "actor-0")
        bad.socket.sendall(data)
        assert bad.hung_up()
        assert good.say("success") == "" and shown.said == ["success"]


def test_only_its_user_can_enter_and_nothing_is_left(tmp_path):
    desk = Desk(tmp_path, "actor-0", Counter())
    place = Path(desk._place)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert (tmp_path / "actor-0.json").is_file()
    desk.close()
    assert not place.exists() and not (tmp_path / "actor-0.json").exists()
    assert not any(thread.name == "desk" for thread in threading.enumerate())


def test_a_file_in_the_folders_place_costs_the_desk_and_not_the_process(tmp_path):
    (tmp_path / "desk").write_text("")
    with Desk(tmp_path / "desk", "actor-0", Counter()):
        assert not any(thread.name == "desk" for thread in threading.enumerate())


def test_warnings_of_the_process_are_kept_for_who_looks(tmp_path):
    import logging

    shown = Counter()
    with at_desk(tmp_path, "actor-0", shown):
        assert shown.warnings is not None
        logging.getLogger("warmloop.test").warning("the camera %s is frozen", "wrist")
        logging.getLogger("warmloop.test").info("nothing")
        assert [text for _, _, text in shown.warnings.kept] == ["the camera wrist is frozen"]


def test_messages_come_whole_however_they_are_cut():
    sent = packed({"a": 1}, b"xyz") + packed({"b": [2]})
    for size in (1, 3, 7, len(sent)):
        unpacker = Unpacker()
        got = [one for start in range(0, len(sent), size) for one in unpacker.feed(sent[start : start + size])]
        assert got == [({"a": 1}, b"xyz"), ({"b": [2]}, b"")]
    with pytest.raises(WarmloopError):
        list(Unpacker(longest=4).feed(packed({"a": 1})))


def test_a_process_that_cannot_be_shown_at_a_moment_is_shown_at_the_next_and_its_desk_never_ends_it(tmp_path, caplog):
    class Torn(Counter):
        def pictures(self):
            if self.asked < 3:
                raise RuntimeError("dictionary changed size during iteration")
            return {}

    failed = list[threading.ExceptHookArgs]()
    before, threading.excepthook = threading.excepthook, failed.append
    try:
        with Desk(tmp_path, "actor-0", Torn()):
            assert Look(tmp_path, "actor-0").state()["asked"] == 3
    finally:
        threading.excepthook = before
    assert not failed and "could not be shown just now" in caplog.text


def test_an_error_in_hearing_costs_the_desk_alone(tmp_path, caplog):
    class Deaf(Counter):
        def hear(self, word, values, viewer):
            raise RuntimeError("deaf")

    failed = list[threading.ExceptHookArgs]()
    before, threading.excepthook = threading.excepthook, failed.append
    try:
        with Desk(tmp_path, "actor-0", Deaf()):
            look = Look(tmp_path, "actor-0")
            look.socket.sendall(packed({"word": "success"}))
            assert look.hung_up()
    finally:
        threading.excepthook = before
    assert not failed and "is not shown any more" in caplog.text

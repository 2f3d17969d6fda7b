"""Pickles that ask for much are refused before they are loaded; what a sound one may cost stays near its size."""

import gzip
import pickle

import numpy as np
import pytest
from broken import asks_for_memory, refused

from warmloop.data.formats.pickles import safe_pickle
from warmloop.data.formats.pickles.pickle_cost import cost
from warmloop.data.formats.recordings import budget

MEBIBYTE = 1 << 20


@pytest.fixture(autouse=True)
def little(monkeypatch):
    """So that files of kilobytes are bombs."""
    monkeypatch.setenv(budget.SETTING, "32MiB")


SET = b"\x80\x02cbuiltins\nset\nq\x00"
TEXT = b"X\x00\x00\x10\x00" + b"a" * MEBIBYTE + b"q\x010"
ENCODE = b"\x80\x02c_codecs\nencode\nq\x00" + TEXT + b"X\x06\x00\x00\x00latin1q\x020"
PICKLES = {
    "sets": b"\x80\x04](" + b"\x8f" * 300_000 + b"e.",
    "dicts": b"\x80\x04](" + b"}" * 800_000 + b"e.",
    "tuples within tuples": b"\x80\x04)" + b"\x85" * 800_000 + b".",
    "a table of objects": b"\x80\x04]r\xff\xff\xff\x7f.",
    "a table of objects, as text": b"]p4000000000\n.",
    "one set, filled again and again": SET + b"(l" + b"K\x01a" * 1000 + b"q\x010" + b"h\x00h\x01\x85R0" * 2000 + b"N.",
    "one text, encoded again and again": ENCODE + b"h\x00h\x01h\x02\x86R0" * 100 + b"N.",
}  # fmt: skip


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_that_asks_for_many_objects_is_refused_before_it_is_loaded(tmp_path, name):
    (tmp_path / "bomb.pkl").write_bytes(PICKLES[name])
    said = refused(tmp_path / "bomb.pkl")
    assert "of memory" in said or "beyond any that it could hold" in said


def test_arrays_made_of_one_array_again_and_again_are_refused(tmp_path):
    class Copied:
        """An array in another byte order, which NumPy copies; its bytes are one object."""

        def __init__(self, raw):
            self.raw = raw

        def __reduce__(self):
            make, arguments, _ = np.zeros(1).__reduce__()
            return make, arguments, (1, (len(self.raw) // 8,), np.dtype(">f8"), False, self.raw)

    raw = bytes(MEBIBYTE)
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps([Copied(raw) for _ in range(100)]))
    assert (tmp_path / "bomb.pkl").stat().st_size < 1.1 * MEBIBYTE
    asks_for_memory(refused(tmp_path / "bomb.pkl"))


def test_one_transition_listed_again_and_again_is_refused(tmp_path):
    state = np.zeros(MEBIBYTE // 8)
    row = {"observations": state, "actions": np.zeros(2), "next_observations": state, "rewards": 0.0, "masks": 1.0, "dones": False}
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps([row] * 1000))
    asks_for_memory(refused(tmp_path / "bomb.pkl"))


def test_lists_within_lists_that_stand_for_many_numbers_are_refused(tmp_path):
    laughs = [0.0] * 10
    for _ in range(8):
        laughs = [laughs] * 10
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps({"observations": laughs, "actions": np.zeros((10, 1)), "rewards": np.zeros(10)}))
    asks_for_memory(refused(tmp_path / "bomb.pkl"))


def test_a_packed_pickle_that_unpacks_to_too_much_is_refused(tmp_path):
    (tmp_path / "bomb.pkl.gz").write_bytes(gzip.compress(b"\x80\x04]" + bytes(64 * MEBIBYTE), 9))
    assert "what is packed in it would take" in asks_for_memory(refused(tmp_path / "bomb.pkl.gz"))


@pytest.mark.parametrize("protocol", range(6))
def test_what_a_pickle_may_cost_is_told_of_every_protocol_and_stays_near_its_size(protocol):
    rng = np.random.default_rng(0)
    rows = [
        {"observations": {"state": rng.normal(size=39).astype(np.float32), "n": n}, "rewards": 0.5 * n, "text": "a" * n} for n in range(300)
    ]
    content = pickle.dumps(rows, protocol)
    assert cost(content) < budget.RATIO / 2 * len(content)
    if protocol:  # of protocol 0 arrays are text
        assert cost(pickle.dumps(np.zeros(MEBIBYTE), protocol)) < 100_000


def test_a_constant_picture_in_a_pickle_is_no_bomb(tmp_path):
    """Its bytes may all be those of an instruction."""
    (tmp_path / "grey.pkl").write_bytes(pickle.dumps([np.full((1000, 1000), ord("]"), np.uint8)] * 3))
    assert len(safe_pickle.load(tmp_path / "grey.pkl")) == 3

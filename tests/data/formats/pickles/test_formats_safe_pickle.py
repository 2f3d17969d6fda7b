"""The unpickler: arrays and plain containers come back, and nothing a file names is ever run."""

import collections
import os
import pickle
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from warmloop.data.errors import WarmloopError
from warmloop.data.formats.pickles import safe_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def load(tmp_path, content):
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    return safe_pickle.load(path)


def refusal(tmp_path, content):
    with pytest.raises(WarmloopError) as caught:
        load(tmp_path, content)
    assert str(tmp_path / "file.pkl") in str(caught.value)
    return str(caught.value)


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


DTYPES = st.sampled_from(["?", "u1", "i4", "<i8", ">i8", "f2", "f4", ">f4", "f8", "c8", "U3", "S4"])


@settings(max_examples=150, deadline=None)
@given(data=st.data(), protocol=st.sampled_from(PROTOCOLS))
def test_arrays_of_every_plain_dtype_and_layout_survive_every_protocol(tmp_path_factory, data, protocol):
    array = data.draw(hnp.arrays(data.draw(DTYPES), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
    layout = data.draw(st.sampled_from([lambda x: x, np.asfortranarray, np.transpose, lambda x: x[..., ::2] if x.ndim else x]))
    array = layout(array)
    read = load(tmp_path_factory.mktemp("pickle"), pickle.dumps(array, protocol))
    native = array.dtype.newbyteorder("=")  # NumPy turns arrays to the machine's byte order as it unpickles
    assert (read.dtype.newbyteorder("="), read.shape) == (native, array.shape)
    assert read.astype(native).tobytes() == array.astype(native).tobytes()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_and_scalars_survive_every_protocol(tmp_path, protocol):
    value = {
        "list": [1, 2.5, True, None, -(2**70)],
        "tuple": ("text", b"\x00\xff", b"", 1 + 2j),
        "sets": [{1, 2}, frozenset({3})],
        "ordered": collections.OrderedDict(a=1, b=2),
        "scalars": [np.float32(1.5), np.int64(-3), np.bool_(True)],
    }
    assert load(tmp_path, pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_1_names_are_understood(tmp_path, protocol):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    content = pickle.dumps([array, np.float64(2)], protocol=min(protocol, 3))  # its names are text of no stated length there
    content = content.replace(b"numpy._core.", b"numpy.core.")
    read, scalar = load(tmp_path, content)
    assert np.array_equal(read, array) and scalar == 2


@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_1_arrays_of_protocol_5_keep_their_order(tmp_path, order):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    call = Calls(np._core.numeric._frombuffer, array.tobytes(order), array.dtype, (2, 3), order)
    assert np.array_equal(load(tmp_path, pickle.dumps(call, 5)), array)


def test_jax_arrays_come_back_as_numpy(tmp_path):
    read = load(tmp_path, pickle.dumps([jnp.arange(3.0)]))[0]
    assert isinstance(read, np.ndarray) and read.tolist() == [0, 1, 2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("function", "named"),
    [(os.system, "system"), (eval, "eval"), (exec, "exec"), (np.load, "load"), (getattr, "getattr"), (bytearray, "bytearray")],
)
def test_a_call_is_refused_by_name_and_never_run(tmp_path, protocol, function, named):
    canary = tmp_path / "canary"
    call = Calls(function, f"touch {canary}" if function is os.system else f"open({str(canary)!r}, 'w')")
    for value in (call, {"observations": [call]}):
        assert re.search(rf"it names \w+\.{named}, .* nothing was run", refusal(tmp_path, pickle.dumps(value, protocol)))
    assert not canary.exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_object_arrays_are_refused_with_what_they_hold(tmp_path, protocol):
    canary = tmp_path / "canary"
    nested = np.array([Calls(os.system, f"touch {canary}"), 1], object)
    sentence = refusal(tmp_path, pickle.dumps([{"actions": nested}], protocol))
    assert "system" in sentence or "Python objects" in sentence
    assert "Python objects" in refusal(tmp_path, pickle.dumps(np.array([None, 1], object), protocol))
    assert not canary.exists()


@pytest.mark.parametrize(
    "value", [Path("x"), collections.defaultdict(list), np.random.default_rng(0), np.zeros(2, [("a", "f4")]), np.datetime64("2020")]
)
def test_what_is_no_array_of_numbers_is_refused(tmp_path, value):
    assert "is refused: it " in refusal(tmp_path, pickle.dumps([value]))


def test_codecs_encode_is_allowed_for_latin1_alone(tmp_path):
    content = pickle.dumps(b"\xff", 2)
    assert load(tmp_path, content) == b"\xff"
    assert "utf-7" in refusal(tmp_path, content.replace(b"latin1", b"utf-7 "[:6]).replace(b"utf-7 ", b"utf-7x"))


def test_a_dtype_cannot_be_turned_into_one_of_objects(tmp_path):
    # An f8 dtype whose state smuggles in a field of objects: NumPy's own __setstate__ would read raw bytes as pointers.
    smuggled = b"cnumpy\ndtype\n(S'f8'\nI00\nI01\ntR(I3\nS'<'\nN(S'a'\nt}S'a'\n(S'O'\nI0\ntsI8\nI8\nI0\ntb."
    assert "structured" in refusal(tmp_path, smuggled)


@pytest.mark.parametrize(
    "state",
    [b"(N}S'__code__'\nS'x'\nst", b"}S'call'\nS'x'\ns"],
    ids=["slots", "dict"],
)
def test_the_unpickler_s_own_functions_cannot_be_altered(tmp_path, state):
    refusal(tmp_path, b"c_codecs\nencode\n" + state + b"b.")
    assert load(tmp_path, pickle.dumps(b"\xff", 2)) == b"\xff"


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"xx.",  # announces exabytes
        b"cnumpy._core.multiarray\nscalar\n(cnumpy\ndtype\n(S'S999999'\ntRS''\ntR.",  # a scalar larger than its bytes
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L99999999999999L\ntS'f8'\ntR(I1\n(L99999999999999L\ntcnumpy\ndtype\n(S'f8'\ntRI00\n"
        + pickle.dumps(b"x", 0)[:-1]
        + b"tb.",
        b"c__builtin__\nbytes\n(L99999999999999L\ntR.",
    ],
    ids=["length", "scalar", "array", "bytes"],
)
def test_asking_for_much_memory_is_refused(tmp_path, content):
    assert "is not a readable pickle" in refusal(tmp_path, content)


@settings(max_examples=60, deadline=None)
@given(cut=st.floats(0, 0.999), protocol=st.sampled_from(PROTOCOLS))
def test_a_pickle_cut_short_is_refused(tmp_path_factory, cut, protocol):
    content = pickle.dumps([{"actions": np.zeros(3), "rewards": 1.0}] * 5, protocol)
    assert "again" in refusal(tmp_path_factory.mktemp("pickle"), content[: int(cut * len(content))])


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=1, max_size=60))
def test_noise_is_a_value_or_a_refusal_and_nothing_else(tmp_path_factory, content):
    content = content.replace(b"r", b"q")  # a memo slot with a large number costs the unpickler that much memory
    try:
        load(tmp_path_factory.mktemp("pickle"), content)
    except WarmloopError as error:
        assert "file.pkl" in str(error)

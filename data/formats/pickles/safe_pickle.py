"""An unpickler for data files: NumPy arrays and plain containers come back, anything else is refused by name and never run.

A pickle is a program that may call whatever it can name. Here it can name only the stand-ins below, for what NumPy (1.x and
2.x, pickle protocols 0 to 5) and JAX write for an array. They build arrays of numbers and strings from bytes; NumPy's own
`dtype.__setstate__`, which can be led to read memory as objects, is never reached.

A reader may name classes whose objects it expects in its files: each comes back as a `Record`, which says what the pickle said of
it and is nothing more. They are not imported, and what a pickle does to one is gone with it.

A crafted file cannot ask for more memory than `budget.py` allows: its instructions are looked at first (`pickle_cost.py`), and what it
makes out of one array or list again and again is counted. A file that is compressed by gzip is read, whatever its name.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import gc
import gzip
import io
import mmap
import pickle
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...errors import WarmloopError
from ...files.whole_files import GZIP, require_file
from ..recordings.budget import Meter, require
from .pickle_cost import STEP, cost

OBJECT_CODE = re.compile(r"\|?O\d{0,2}")
NUMERIC_CODE = re.compile(r"[<>|=]?(\?|[biufcSU]\d{1,6})")


METER: contextvars.ContextVar[Meter] = contextvars.ContextVar("meter")
OBJECT = 72  # bytes of an object in a container
UNCOUNTED = 2048  # bytes of an array: the fewest instructions that make one are forty


class _Call(tuple):
    """A callable that a pickle cannot alter: a tuple of one function, without attributes."""

    __slots__ = ()

    def __call__(self, *args: Any) -> Any:
        return self[0](*args)


class _Dtype:
    """A dtype being unpickled: its code, and the byte order that follows."""

    __slots__ = ("code", "dtype")

    def __init__(self, code: Any, align: Any = False, copy: Any = False):
        code = code.decode("ascii") if isinstance(code, bytes) else code
        if isinstance(code, str) and OBJECT_CODE.fullmatch(code):
            self._hold_objects()
            return
        if not isinstance(code, str) or not NUMERIC_CODE.fullmatch(code):
            raise WarmloopError(f"it holds an array of dtype {code!r:.60}, and only plain numbers and strings are read")
        self.code = code
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if any(part is not None for part in state[2:5]):
            raise WarmloopError("it holds a structured array, and only plain numbers and strings are read")
        if self.code is not None:
            self.dtype = np.dtype(self.code).newbyteorder(state[1])

    def _hold_objects(self) -> None:
        raise WarmloopError("it holds an array of Python objects (dtype object); save it as arrays of numbers")


class _LenientDtype(_Dtype):
    """One that may also be of objects, which are not kept: then it has neither code nor dtype."""

    __slots__ = ()

    def _hold_objects(self) -> None:
        self.code = self.dtype = None


class _Array(np.ndarray):
    """An array being unpickled: checks what it is to become before it becomes that."""

    objects = False  # whether it stands for an array of objects, and is empty

    def __setstate__(self, state: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        _, shape, dtype, fortran, raw = state
        if isinstance(dtype, _LenientDtype) and dtype.dtype is None:
            self.objects = True
            return
        if isinstance(raw, list):
            raise WarmloopError("it holds an array of Python objects (dtype object); save it as arrays of numbers")
        if type(raw) is not bytes and not isinstance(raw, bytearray):
            raise WarmloopError(f"it holds an array made of a {type(raw).__name__}, and bytes are needed")
        if len(raw) > UNCOUNTED:
            METER.get().take(len(raw))
        super().__setstate__((1, shape, dtype.dtype, bool(fortran), bytes(raw)))  # pyright: ignore[reportArgumentType]


class Record:
    """An object that is not built.

    Attributes:
        named: its class, or the function that would make it.
        arguments: what that would have been called with.
        state: what would have been set; None where nothing was.
    """

    __slots__ = ("arguments", "state")
    named = ""

    def __new__(cls, *arguments: Any, **_: Any):
        record = super().__new__(cls)
        record.arguments, record.state = arguments, None
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state


def holds_objects(value: Any) -> bool:
    """Whether a value that `load` brought back stands for an array of Python objects."""
    return isinstance(value, _Array) and value.objects


def _empty(*_: Any) -> np.ndarray:
    """NumPy's `_reconstruct`: whatever is asked for, an empty array, whose state follows."""
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _from_buffer(buffer: Any, dtype: _Dtype, shape: Any, order: Any, axis_order: Any = None) -> np.ndarray:
    """NumPy's `_frombuffer` of protocol 5."""
    array = np.frombuffer(buffer, dtype.dtype)
    if order == "K" and axis_order is not None:
        return array.reshape(shape).transpose(axis_order)
    return array.reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: _Dtype, raw: bytes) -> Any:
    """NumPy's `scalar`."""
    return np.frombuffer(raw, dtype.dtype, count=1)[0]


def _encode(text: str, encoding: str = "") -> bytes:
    """`_codecs.encode` as protocols 0 to 2 use it, for bytes as Latin-1 text."""
    if encoding not in ("latin1", "latin-1"):
        raise WarmloopError(f"it calls _codecs.encode with {encoding!r:.60}, and only latin1 is allowed")
    METER.get().take(len(text))
    return text.encode("latin1")


def _metered(made: Callable[..., Any]) -> _Call:
    """A container's class that counts what it is filled with at once."""

    def make(*parts: Any) -> Any:
        METER.get().take(OBJECT * sum(len(part) for part in parts))
        return made(*parts)

    return _Call((make,))


def _from_jax(_: Any, __: Any, state: Any, ___: Any = None) -> np.ndarray:
    """JAX's `_reconstruct_array`, whose third argument is the state of a NumPy array."""
    array = _empty()
    array.__setstate__(state)
    return array


def _allowed() -> dict[tuple[str, str], Any]:
    table: dict[tuple[str, str], Any] = {
        ("numpy", "dtype"): _Call((_Dtype,)),
        ("numpy", "ndarray"): "numpy.ndarray",  # only ever passed to `_reconstruct`, which ignores it
        ("_codecs", "encode"): _Call((_encode,)),
        ("collections", "OrderedDict"): _metered(collections.OrderedDict),
        ("jax._src.array", "_reconstruct_array"): _Call((_from_jax,)),
    }
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray", "_reconstruct"] = _Call((_empty,))
        table[f"{core}.multiarray", "scalar"] = _Call((_scalar,))
        table[f"{core}.numeric", "_frombuffer"] = _Call((_from_buffer,))
    for builtins in ("builtins", "__builtin__"):
        table |= {(builtins, made.__name__): _metered(made) for made in (set, frozenset)}
        table[builtins, "complex"] = complex
        table[builtins, "bytes"] = _Call((lambda: b"",))  # protocols 0 to 2 write empty bytes as `bytes()`
    return table


ALLOWED = _allowed()
LENIENT = {("numpy", "dtype"): _Call((_LenientDtype,))}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, inert: Collection[tuple[str, str]] | None):
        super().__init__(file)
        self._allowed = ALLOWED if inert is None else ALLOWED | LENIENT
        self._inert, self._records = inert or (), {}

    def find_class(self, module_name: str, global_name: str, /) -> Callable[..., Any]:
        named = module_name, global_name
        if named in self._allowed:
            return self._allowed[named]
        if named not in self._inert:
            raise WarmloopError(
                f"it names {module_name}.{global_name}, and only NumPy arrays and plain containers are read; nothing was run"
            )
        if named not in self._records:  # a class of this load's own, so that a pickle that alters it alters nothing else
            self._records[named] = type(global_name, (Record,), {"__slots__": (), "named": ".".join(named)})
        return self._records[named]


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Halves the time of a load: millions of new containers would be searched for cycles again and again, and have none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load(path: Path, inert: Collection[tuple[str, str]] | None = None) -> Any:
    """What file `path` holds.

    Args:
        inert: classes (module, name) that come back as records. With it, even empty, an array of Python objects is no reason to refuse the
            file: it comes back empty, and `holds_objects` says so.

    Raises:
        WarmloopError: the file is missing, empty or damaged, or names anything but arrays and plain containers.
    """
    require_file(path)
    size = path.stat().st_size
    metered = METER.set(Meter(str(path), "what it holds", size))
    try:
        with content_of(path) as (file, content), _no_garbage_collection():
            require(str(path), "what it holds", cost(content), size)
            return _Unpickler(file, inert).load()
    except WarmloopError as error:
        said = str(error)
        raise WarmloopError(said if said.startswith(str(path)) else f"{path} is refused: {error}.") from None
    except Exception as error:  # a damaged pickle may raise any kind
        reason = str(error) or type(error).__name__
        raise WarmloopError(f"{path} is not a readable pickle ({reason}); it may have been cut short: record or copy it again.") from error
    finally:
        METER.reset(metered)


@contextlib.contextmanager
def content_of(path: Path) -> Iterator[tuple[BinaryIO, bytes | mmap.mmap]]:
    """A pickle as a file to read and as its bytes; unpacked where gzip packed it.

    Raises:
        WarmloopError: unpacked it takes more memory than it may.
    """
    with open(path, "rb") as file:
        if file.peek(2)[:2] == GZIP:
            unpacked = io.BytesIO()
            with gzip.open(file) as packed:
                while part := packed.read(STEP):
                    require(str(path), "what is packed in it", unpacked.tell() + len(part), path.stat().st_size)
                    unpacked.write(part)
            unpacked.seek(0)
            yield unpacked, unpacked.getvalue()
        else:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                yield file, content

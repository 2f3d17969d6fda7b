"""TFRecord files without TensorFlow: records one after the other, each a tf.train.Example.

A record is its length (8 bytes), that length's checksum (4), its bytes, and their checksum (4), all little-endian. A checksum is a masked
CRC-32C. The messages are those of TensorFlow's example.proto and feature.proto, in a pool of their own: in the common one they would
collide with TensorFlow's, where a process has loaded that as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from ...errors import WarmloopError
from ...files.whole_files import require_file

FRAME = 16  # bytes around each record: length, checksum; checksum
GZIP, ZLIB = b"\x1f\x8b", (b"\x78\x01", b"\x78\x9c", b"\x78\xda")


def records(path: Path) -> Iterator[bytes]:
    """The records of a file, one at a time.

    Raises:
        WarmloopError: the file is missing, empty, compressed, cut short, or a checksum does not fit.
    """
    crc32c = _crc32c()
    require_file(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        for number in range(size):  # each takes at least FRAME bytes
            start, head = file.tell(), file.read(12)
            if not head:
                return
            place = f"{path}, record {number}"
            compressed = start == 0 and (head[:2] == GZIP or head[:2] in ZLIB)
            if len(head) == 12 and not _fits(crc32c, head[:8], head[8:]):
                if compressed:
                    raise WarmloopError(f"{path} is compressed as a whole; unpack it, or write it without compression, as TFDS does.")
                raise WarmloopError(f"{place}: the checksum of its length does not fit; the file is damaged: copy it again.")
            length = int.from_bytes(head[:8], "little")
            if len(head) < 12 or length > size - start - FRAME:  # before anything of that length is made
                raise WarmloopError(f"{place}: it runs over the end of the file, which was cut short; copy it again.")
            data = file.read(length)
            if not _fits(crc32c, data, file.read(4)):
                raise WarmloopError(f"{place}: its checksum does not fit; the file is damaged: copy it again.")
            yield data


def parse(place: str, record: bytes) -> dict[str, Any]:
    """The features of an Example by their names; each holds one of `bytes_list`, `float_list` and `int64_list`.

    Raises:
        WarmloopError: the record is no Example.
    """
    example = EXAMPLE()
    try:
        example.ParseFromString(record)
    except message.DecodeError:
        raise WarmloopError(f"{place}: the record is no tf.train.Example; write it with TFDS.") from None
    return {entry.key: entry.value for entry in example.features.feature}  # pyright: ignore[reportAttributeAccessIssue]


def _crc32c() -> Any:
    try:
        import google_crc32c
    except ImportError:
        raise WarmloopError("TFRecord files need google-crc32c for their checksums; run `pip install 'warmloop[rlds]'`.") from None
    return google_crc32c.value


def _fits(crc32c: Any, data: bytes, masked: bytes) -> bool:
    crc = crc32c(data)
    return masked == struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _example() -> type[message.Message]:
    """The class of tf.train.Example. Its map is declared as the repeated entries that a map is on the wire."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tfrecord")

    def add(name: str, *fields: tuple[str, int, str | None, bool]) -> None:
        declared = file.message_type.add(name=name).field
        for number, (key, kind, of, repeated) in enumerate(fields, 1):
            label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            declared.add(name=key, number=number, type=kind, type_name=of and f".tfrecord.{of}", label=label)  # pyright: ignore[reportArgumentType]

    lists = {"bytes_list": field.TYPE_BYTES, "float_list": field.TYPE_FLOAT, "int64_list": field.TYPE_INT64}
    for name, kind in lists.items():
        add(name, ("value", kind, None, True))
    add("Feature", *((name, field.TYPE_MESSAGE, name, False) for name in lists))
    file.message_type[-1].oneof_decl.add(name="kind")
    for declared in file.message_type[-1].field:
        declared.oneof_index = 0
    add("Entry", ("key", field.TYPE_STRING, None, False), ("value", field.TYPE_MESSAGE, "Feature", False))
    add("Features", ("feature", field.TYPE_MESSAGE, "Entry", True))
    add("Example", ("features", field.TYPE_MESSAGE, "Features", False))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tfrecord.Example"))


EXAMPLE = _example()

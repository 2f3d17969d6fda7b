# ruff: noqa
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Directive(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GO_ON: _ClassVar[Directive]
    PAUSE: _ClassVar[Directive]
    STOP: _ClassVar[Directive]
GO_ON: Directive
PAUSE: Directive
STOP: Directive

class HelloRequest(_message.Message):
    __slots__ = ("protocol_min", "protocol_max", "actor_id", "stream_id", "schema", "schema_hash", "oldest_held")
    PROTOCOL_MIN_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MAX_FIELD_NUMBER: _ClassVar[int]
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_HASH_FIELD_NUMBER: _ClassVar[int]
    OLDEST_HELD_FIELD_NUMBER: _ClassVar[int]
    protocol_min: int
    protocol_max: int
    actor_id: str
    stream_id: str
    schema: str
    schema_hash: bytes
    oldest_held: int
    def __init__(self, protocol_min: _Optional[int] = ..., protocol_max: _Optional[int] = ..., actor_id: _Optional[str] = ..., stream_id: _Optional[str] = ..., schema: _Optional[str] = ..., schema_hash: _Optional[bytes] = ..., oldest_held: _Optional[int] = ...) -> None: ...

class HelloReply(_message.Message):
    __slots__ = ("refusal", "session", "protocol", "lease_seconds", "max_frame_bytes", "max_rows", "status")
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    refusal: str
    session: str
    protocol: int
    lease_seconds: float
    max_frame_bytes: int
    max_rows: int
    status: Status
    def __init__(self, refusal: _Optional[str] = ..., session: _Optional[str] = ..., protocol: _Optional[int] = ..., lease_seconds: _Optional[float] = ..., max_frame_bytes: _Optional[int] = ..., max_rows: _Optional[int] = ..., status: _Optional[_Union[Status, _Mapping]] = ...) -> None: ...

class PushRequest(_message.Message):
    __slots__ = ("session", "first", "count", "frame", "crc32", "shared")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    session: str
    first: int
    count: int
    frame: bytes
    crc32: int
    shared: bool
    def __init__(self, session: _Optional[str] = ..., first: _Optional[int] = ..., count: _Optional[int] = ..., frame: _Optional[bytes] = ..., crc32: _Optional[int] = ..., shared: _Optional[bool] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: str
    def __init__(self, session: _Optional[str] = ...) -> None: ...

class ReportRequest(_message.Message):
    __slots__ = ("session", "number", "scalars")
    class ScalarsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SCALARS_FIELD_NUMBER: _ClassVar[int]
    session: str
    number: int
    scalars: _containers.ScalarMap[str, float]
    def __init__(self, session: _Optional[str] = ..., number: _Optional[int] = ..., scalars: _Optional[_Mapping[str, float]] = ...) -> None: ...

class GoodbyeRequest(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: str
    def __init__(self, session: _Optional[str] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("received", "durable", "credits", "weights_version", "directive")
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_VERSION_FIELD_NUMBER: _ClassVar[int]
    DIRECTIVE_FIELD_NUMBER: _ClassVar[int]
    received: int
    durable: int
    credits: int
    weights_version: int
    directive: Directive
    def __init__(self, received: _Optional[int] = ..., durable: _Optional[int] = ..., credits: _Optional[int] = ..., weights_version: _Optional[int] = ..., directive: _Optional[_Union[Directive, str]] = ...) -> None: ...

class WeightsRequest(_message.Message):
    __slots__ = ("session", "held")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    session: str
    held: int
    def __init__(self, session: _Optional[str] = ..., held: _Optional[int] = ...) -> None: ...

class WeightsChunk(_message.Message):
    __slots__ = ("version", "size", "sha256", "data")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    version: int
    size: int
    sha256: bytes
    data: bytes
    def __init__(self, version: _Optional[int] = ..., size: _Optional[int] = ..., sha256: _Optional[bytes] = ..., data: _Optional[bytes] = ...) -> None: ...

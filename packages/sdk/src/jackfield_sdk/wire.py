"""Messages between node and isolate, version 1.

A message is four bytes of length (little endian) and a msgpack array whose first element names its type. Only data
crosses: no pickle, no code. Call ids are the node's; an isolate answers the call it was given and nothing else. One
call is in flight per isolate. Capability calls go the other way, numbered by the isolate, answered in order.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from jackfield_sdk.errors import WireError

__all__ = [
    "FRAME_LIMIT",
    "NIL",
    "PROTOCOL_VERSION",
    "Call",
    "CallContext",
    "Caller",
    "Delivery",
    "Describe",
    "Execution",
    "Failure",
    "FrameReader",
    "HostCall",
    "HostReply",
    "Load",
    "Log",
    "Ready",
    "Result",
    "ToGuest",
    "ToNode",
    "Workflow",
    "check_depth",
    "decode_to_guest",
    "decode_to_node",
    "encode",
    "frame",
    "frame_bytes",
]

PROTOCOL_VERSION = 1
FRAME_LIMIT = 8 * 1024 * 1024
"""Largest frame in bytes that either side accepts, whatever the configured limits."""

_LENGTH = struct.Struct("<I")

NIL = msgspec.Raw(b"\xc0")
"""Msgpack's null. (`Raw | None` is no field type: a raw field takes null as well.)"""


class _Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of all messages."""


class Caller(msgspec.Struct, frozen=True, array_like=True):
    """On whose behalf a call runs: a member of the tenant, or nobody (an event, a schedule)."""

    id: str
    role: str


class Delivery(msgspec.Struct, frozen=True, array_like=True):
    """Which delivery of an event this is; the id is stable over attempts."""

    id: str
    attempt: int


class Workflow(msgspec.Struct, frozen=True, array_like=True):
    """The step of a workflow of the host's that a call is.

    Attributes:
        id: The workflow; `run_id`: this run of it.
        step: Index of the step, from 0.
        previous: What the step before returned.
        variables: Of the run.
    """

    id: str
    run_id: str
    step: int = 0
    previous: Any = None
    variables: dict[str, Any] = {}


class Execution(msgspec.Struct, frozen=True, array_like=True):
    """In what a call takes part.

    Attributes:
        kind: `standalone`, `workflow`, `schedule`, `event`, `channel` or `plugin`.
        plugin: Slug of the plugin that calls, for `plugin`.
        depth: Calls between plugins so far.
        channel: For `channel`: through which kind of line to the outside it came.
        channel_id, settings: That channel, and what the tenant has set for the plugin on it.
    """

    kind: str = "standalone"
    plugin: str = ""
    depth: int = 0
    workflow: Workflow | None = None
    channel: str = ""
    channel_id: str = ""
    settings: dict[str, Any] = {}


class CallContext(msgspec.Struct, frozen=True, array_like=True):
    """What the platform says about a call; the plugin cannot change it."""

    tenant_id: str
    invocation_id: str
    trigger: str
    caller: Caller | None = None
    delivery: Delivery | None = None
    deadline_ms: int = 0
    locale: str = "en"
    now: float = 0.0
    """Seconds since 1970, by the node's clock."""
    traceparent: str = ""
    """The span that the call belongs to, as W3C Trace Context writes it; empty when nobody traces."""
    execution: Execution | None = None
    """None when the trigger says it all."""
    shared: Mapping[str, Any] | None = None
    """What the first caller of a chain of calls and events handed along; None when it handed nothing."""


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """Why a call or capability call failed."""

    code: str
    message: str
    hint: str = ""
    trace: str = ""
    kind: str = "error"
    """`error` a defect, `user` meant for the caller, `veto` of a filter, `retry` for later."""
    retry_after_s: float | None = None


class Load(_Message, frozen=True, tag="load"):
    """node → isolate, first: which module to load, its configuration (secrets left out).

    `image_bytes` of code image follow the message, for an isolate that was started before it was known what it would
    run; in it, the entry's code is `code_bytes` long at `code_at` (0: to be looked up).
    """

    protocol: int
    slug: str
    entry: str
    config: msgspec.Raw
    secrets: list[str] = []
    image_bytes: int = 0
    code_at: int = 0
    code_bytes: int = 0


class Describe(_Message, frozen=True, tag="describe"):
    """node → isolate: answer with the manifest derived from the code (used when a package is made)."""

    id: int


class Call(_Message, frozen=True, tag="call"):
    """node → isolate: run one handler.

    `is_plain`: the node has checked the arguments against a schema whose values are in Python what they are in JSON, so
    there is nothing to convert; looking at the author's types would cost a cold call half a millisecond.
    """

    id: int
    kind: str
    handler: str
    payload: msgspec.Raw
    context: CallContext
    is_plain: bool = False


class HostReply(_Message, frozen=True, tag="reply"):
    """node → isolate: the answer to a capability call."""

    id: int
    value: msgspec.Raw = NIL
    failure: Failure | None = None


class Ready(_Message, frozen=True, tag="ready"):
    """isolate → node: locked down, plugin loaded; or why it could not be loaded."""

    protocol: int
    failure: Failure | None = None


class Result(_Message, frozen=True, tag="result"):
    """isolate → node: the call's value, or its failure; and what the handler counted of its own."""

    id: int
    value: msgspec.Raw = NIL
    failure: Failure | None = None
    metrics: dict[str, int] | None = None


class HostCall(_Message, frozen=True, tag="host"):
    """isolate → node: a capability call; the broker decides."""

    id: int
    capability: str
    operation: str
    arguments: msgspec.Raw


class Log(_Message, frozen=True, tag="log"):
    """isolate → node: one line of the plugin's log."""

    level: str
    message: str
    fields: dict[str, str | int | float | bool | None] = {}


ToGuest = Load | Describe | Call | HostReply
ToNode = Ready | Result | HostCall | Log

_encoder = msgspec.msgpack.Encoder()
_to_guest = msgspec.msgpack.Decoder(ToGuest)
_to_node = msgspec.msgpack.Decoder(ToNode)


def encode(value: Any) -> bytes:
    """Msgpack bytes of a value."""
    return _encoder.encode(value)


def frame(message: Any) -> bytes:
    """A message with its length before it."""
    buffer = bytearray(4)
    _encoder.encode_into(message, buffer, 4)
    _LENGTH.pack_into(buffer, 0, len(buffer) - 4)
    return bytes(buffer)


def frame_bytes(length: bytes | bytearray) -> int:
    """How long a frame is, from the four bytes before it.

    Raises:
        WireError: Longer than is accepted.
    """
    (size,) = _LENGTH.unpack(length)
    if size > FRAME_LIMIT:
        raise WireError(f"a frame of {size} bytes is over the limit of {FRAME_LIMIT}")
    return size


def decode_to_guest(data: bytes | bytearray | memoryview) -> ToGuest:
    """Typed decoding on the isolate's side."""
    try:
        return _to_guest.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(f"bad message from the node: {error}") from error


def decode_to_node(data: bytes | memoryview) -> ToNode:
    """Typed decoding on the node's side: anything that is not exactly a known message is a violation."""
    try:
        return _to_node.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(f"bad message from the isolate: {error}") from error


class FrameReader:
    """Cuts a byte stream into frames.

    Args:
        limit: Largest frame in bytes that is accepted.
    """

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = FRAME_LIMIT) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes, return the frames that are now complete.

        Raises:
            WireError: A frame announces more than the limit.
        """
        buffer = self._buffer
        if not buffer and len(data) >= 4:
            # The usual case: exactly one whole frame in one read, no copy through the buffer.
            (length,) = _LENGTH.unpack_from(data)
            if length == len(data) - 4 and length <= self._limit:
                return [data[4:]]
        buffer += data
        frames: list[bytes] = []
        while len(buffer) >= 4:
            (length,) = _LENGTH.unpack_from(buffer)
            if length > self._limit:
                raise WireError(f"a frame of {length} bytes is over the limit of {self._limit}")
            if len(buffer) < length + 4:
                break
            frames.append(bytes(buffer[4 : length + 4]))
            del buffer[: length + 4]
        return frames

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that has not arrived whole."""
        return len(self._buffer)


def check_depth(value: Any, limit: int = 64) -> None:
    """Refuse data nested deeper than `limit`, without recursion.

    Raises:
        WireError: It is nested deeper.
    """
    level: list[Any] = [value]
    for _ in range(limit + 1):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner: Iterable[Any] = cast("dict[Any, Any]", item).values()
            elif isinstance(item, (list, tuple)):
                inner = cast("list[Any]", item)
            else:
                continue
            deeper += [child for child in inner if isinstance(child, (dict, list, tuple))]
        if not deeper:
            return
        level = deeper
    raise WireError(f"data is nested deeper than {limit} levels")

"""What crosses the wire is a known message or a violation, and never anything else."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jackfield_sdk import wire
from jackfield_sdk.errors import WireError

RAW = msgspec.Raw(wire.encode({"a": [1, "x", None]}))
TO_GUEST: list[wire.ToGuest] = [
    wire.Load(1, "stamps", "plugin", RAW, ["key"]),
    wire.Describe(7),
    wire.Call(
        7, "event", "hear", RAW, wire.CallContext("t", "i", "event", None, wire.Delivery("d", 2), 100, "de", 1.5)
    ),
    wire.HostReply(3, RAW),
    wire.HostReply(3, failure=wire.Failure("row-not-found", "no such row")),
]
TO_NODE: list[wire.ToNode] = [
    wire.Ready(1),
    wire.Ready(1, wire.Failure("plugin-error", "it does not load", trace="…")),
    wire.Result(7, RAW),
    wire.Result(7, failure=wire.Failure("retry-later", "busy", kind="retry", retry_after_s=1.5)),
    wire.HostCall(1, "storage", "get", RAW),
    wire.Log("info", "hello", {"n": 1, "f": 1.5, "b": True, "none": None, "s": "x"}),
]


def body(message: Any) -> bytes:
    return wire.frame(message)[4:]


@pytest.mark.parametrize("message", TO_GUEST)
def test_messages_to_the_guest_read_back_as_they_were(message: wire.ToGuest) -> None:
    assert wire.encode(wire.decode_to_guest(body(message))) == body(message)
    assert type(wire.decode_to_guest(body(message))) is type(message)


@pytest.mark.parametrize("message", TO_NODE)
def test_messages_to_the_node_read_back_as_they_were(message: wire.ToNode) -> None:
    assert wire.encode(wire.decode_to_node(body(message))) == body(message)
    assert type(wire.decode_to_node(body(message))) is type(message)


@pytest.mark.parametrize("message", TO_GUEST)
def test_a_guest_cannot_speak_as_the_node(message: wire.ToGuest) -> None:
    with pytest.raises(WireError):
        wire.decode_to_node(body(message))


@pytest.mark.parametrize(
    "message",
    [
        [],
        {},
        "result",
        ["result"],
        ["result", "1"],
        ["result", 1, None, None, "more"],
        ["unknown", 1],
        ["host", 1, "storage", 5, {}],
        ["log", "info", "x", {"nested": {}}],
        ["ready", 1.5],
        ["result", 1, None, ["code"]],
    ],
)
def test_what_is_not_exactly_a_message_is_a_violation(message: Any) -> None:
    with pytest.raises(WireError):
        wire.decode_to_node(msgspec.msgpack.encode(message))


@given(st.binary(max_size=200))
@example(b"\x93\xa6result\x01\xdd\xff\xff\xff\xff")
@example(b"\x92\xa3log\xa2\xff\xfe")
@example(b"\x91" * 5000)
@example(b"\x92\xa6result\xcf\xff\xff\xff\xff\xff\xff\xff\xff")
def test_no_bytes_raise_anything_but_a_violation(data: bytes) -> None:
    for decode in (wire.decode_to_node, wire.decode_to_guest):
        with contextlib.suppress(WireError):
            decode(data)


TAGS = st.sampled_from(["ready", "result", "host", "log", "load", "call", "reply", "describe"])
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(TAGS, st.lists(DATA, max_size=6))
def test_no_array_raises_anything_but_a_violation(tag: str, fields: list[Any]) -> None:
    data = msgspec.msgpack.encode([tag, *fields])
    for decode in (wire.decode_to_node, wire.decode_to_guest):
        with contextlib.suppress(WireError):
            decode(data)


@given(st.lists(st.binary(max_size=50), max_size=8), st.integers(1, 60))
def test_frames_come_out_whole_however_the_stream_is_cut(bodies: list[bytes], step: int) -> None:
    stream = b"".join(len(one).to_bytes(4, "little") + one for one in bodies)
    reader = wire.FrameReader()
    frames = [frame for i in range(0, len(stream), step) for frame in reader.feed(stream[i : i + step])]
    assert frames == bodies
    assert reader.pending_bytes == 0


def test_a_frame_over_the_limit_is_refused_at_its_length() -> None:
    reader = wire.FrameReader(limit=10)
    assert reader.feed(b"\x0a\0\0\0" + b"x" * 10) == [b"x" * 10]
    with pytest.raises(WireError, match="over the limit"):
        reader.feed(b"\x0b\0\0\0")
    with pytest.raises(WireError, match="over the limit"):
        wire.FrameReader().feed(b"\xff\xff\xff\xff")


def test_half_a_frame_is_pending() -> None:
    reader = wire.FrameReader()
    assert reader.feed(b"\x05\0\0\0ab") == []
    assert reader.pending_bytes == 6


def nested(depth: int) -> Any:
    value: Any = 1
    for index in range(depth):
        value = [value] if index % 2 else {"a": value}
    return value


def test_depth_is_limited_without_recursion() -> None:
    wire.check_depth(nested(64))
    wire.check_depth({"a": 1, "b": [1, 2]}, limit=2)
    with pytest.raises(WireError):
        wire.check_depth(nested(66))
    with pytest.raises(WireError):
        wire.check_depth(nested(200_000), limit=100)

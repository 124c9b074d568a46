"""How inputs are made: good ones, bent. What is only noise seldom gets past the first check."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
from hypothesis import strategies as st

from tests.fuzz.drafts import STEPS, Draft, Step
from tests.fuzz.targets import corpus_of, seeds_of
from tests.sdk.crafted import canonical

__all__ = ["bent_bytes", "bent_manifests", "bent_messages", "drafts", "streams", "versions"]

_HOSTILE = [
    b"../evil", b"src/../../evil.py", b"/etc/passwd", b"src\\evil", b"src/a\0b", b"src/A.py", b"src/plugin.py\0/x",
    "src/e\u0301.txt".encode(), "src/\u202etxt".encode(), b"src/evil.pth", b"vendor/sitecustomize.py", b"src/con.txt",
    b"\x7fELF", b"MZ", b"\0asm", b"\x80" + bytes(10) + b"\x05", b"77777777777\0", b"-0000000001\0", b"1", b"2", b"5",
    b"x", b"L", b"S", b"manifest.json", b"jackfield.list", b"\xff" * 12, b"__pycache__/a.py", b"a.so", b"A.PY",
]  # fmt: skip
_NUMBERS = st.integers(0, 65535) | st.sampled_from([0, 1, 2, 511, 512, 513, 2**31, 8**11 - 1])
_STEPS = st.builds(
    Step,
    st.sampled_from(STEPS),
    _NUMBERS,
    _NUMBERS,
    _NUMBERS,
    st.just(b"") | st.sampled_from(_HOSTILE) | st.binary(max_size=120),
)
_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
    | st.sampled_from(["handler", "a.b", "points", "1.0.0", "#/$defs/A", "https://x.example", ">=1", "javascript:x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_MSGPACK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | _TEXT
    | st.binary(max_size=20)
    | st.builds(msgspec.msgpack.Ext, st.integers(0, 127), st.binary(max_size=16)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT | st.integers(-9, 9), inner, max_size=3),
    max_leaves=8,
)
_TAGS = ("ready", "result", "host", "log", "load", "call", "reply", "describe", "other")


def drafts() -> st.SearchStrategy[Draft]:
    """Packages after a few steps."""
    return st.lists(_STEPS, max_size=4).map(lambda steps: Draft().take(steps))


@functools.cache
def _pool(name: str) -> tuple[bytes, ...]:
    return (*seeds_of(name), *(path.read_bytes() for path in corpus_of(name)))


@st.composite
def bent_bytes(draw: st.DrawFn, name: str) -> bytes:
    """A known input of a target: bits turned, pieces cut out, put in, repeated, or taken from another input."""
    pool = _pool(name)
    # What was kept is mostly what was refused, and bending that finds less.
    data = draw(st.sampled_from(tuple(seeds_of(name)) if draw(st.booleans()) else pool))
    for _ in range(draw(st.integers(1, 4))):
        at, to = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        kind = draw(st.sampled_from(["turn", "cut", "put", "repeat", "splice", "end"]))
        if kind == "turn" and data:
            index = min(at, len(data) - 1)
            data = data[:index] + bytes([data[index] ^ (1 << draw(st.integers(0, 7)))]) + data[index + 1 :]
        elif kind == "cut":
            data = data[:at] + data[to:]
        elif kind == "put":
            data = data[:at] + draw(st.binary(max_size=40) | st.sampled_from(_HOSTILE)) + data[at:]
        elif kind == "repeat":
            data = data[:to] + data[at:to][:2000] * draw(st.integers(1, 3)) + data[to:]
        elif kind == "splice":
            other = draw(st.sampled_from(pool))
            data = data[:at] + other[draw(st.integers(0, len(other))) :]
        elif kind == "end":
            data = data[:at]
        data = data[:40_000]
    return data


@st.composite
def bent_manifests(draw: st.DrawFn) -> bytes:
    """A good manifest with some of its values, or keys, replaced; in canonical form, mostly."""
    plain = msgspec.json.decode(draw(st.sampled_from(list(seeds_of("manifest")))))
    for _ in range(draw(st.integers(1, 3))):
        _replace(draw, plain, _JSON)
    raw = canonical(plain)
    return raw if draw(st.integers(0, 5)) else raw[: draw(st.integers(0, len(raw)))]


@st.composite
def bent_messages(draw: st.DrawFn) -> bytes:
    """A good message with some of its fields replaced, or an array that only begins like one."""
    seeds = [*seeds_of("to_node"), *seeds_of("to_guest")]
    plain = msgspec.msgpack.decode(draw(st.sampled_from(seeds)))
    if draw(st.integers(0, 4)) == 0:
        plain = [draw(st.sampled_from(_TAGS)), *draw(st.lists(_MSGPACK, max_size=8))]
    for _ in range(draw(st.integers(0, 3))):
        _replace(draw, plain, _MSGPACK)
    return msgspec.msgpack.encode(plain)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """How to cut, then frames of which some say the wrong length."""
    size = draw(st.integers(0, 255))
    stream = b""
    for body in draw(st.lists(st.binary(max_size=60) | st.binary(min_size=295, max_size=305), max_size=8)):
        wrong = draw(st.sampled_from([0, 0, 0, 0, 1, -1, 300, 2**31]))
        stream += (max(0, len(body) + wrong) & 0xFFFFFFFF).to_bytes(4, "little") + body
    return (
        bytes([size]) + stream[: draw(st.integers(0, len(stream)))] if draw(st.booleans()) else bytes([size]) + stream
    )


def versions() -> st.SearchStrategy[str]:
    """What is, or nearly is, a semantic version."""
    return st.from_regex(r"\A[0-9]{1,12}\.[0-9]{1,3}\.[0-9]{1,30}(-[0-9A-Za-z.-]{0,30})?\Z") | _TEXT


def _replace(draw: st.DrawFn, whole: Any, values: st.SearchStrategy[Any]) -> None:
    """Put another value somewhere into it, or another key."""
    places: list[tuple[Any, Any]] = []
    level = [whole]
    while level:
        value = level.pop()
        if isinstance(value, (dict, list)):
            keys = list(value) if isinstance(value, dict) else list(range(len(value)))
            places += [(value, key) for key in keys]
            level += [value[key] for key in keys]
    if not places:
        return
    value, key = draw(st.sampled_from(places))
    if isinstance(value, dict) and draw(st.integers(0, 3)) == 0:
        value[draw(_TEXT)] = value.pop(key)
    else:
        value[key] = draw(values)

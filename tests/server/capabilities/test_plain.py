"""`check_plain` and msgspec agree on everything that JSON has; everything else is refused before it is built."""

from __future__ import annotations

import contextlib
import json
import math
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.capabilities.plain import NotPlainError, check_plain, decode_plain

encode = msgspec.msgpack.encode

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=40),
)  # fmt: skip
PLAIN = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=5), inner))
ODD = st.recursive(
    LEAVES | st.binary(max_size=5) | st.just(math.nan) | st.integers(2**63, 2**64 - 1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers() | st.text(max_size=3), inner, max_size=4),
)


@given(PLAIN)
def test_plain_data_passes_and_is_itself(value: Any) -> None:
    assert decode_plain(encode(value), allow_nul=True) == value


@given(ODD)
def test_what_passes_is_what_json_carries(value: Any) -> None:
    try:
        data = encode(value)
    except (OverflowError, msgspec.ValidationError):
        return
    try:
        passed = decode_plain(data)
    except NotPlainError:
        return
    assert json.loads(json.dumps(passed, allow_nan=False)) == passed


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_decode(data: bytes) -> None:
    with contextlib.suppress(NotPlainError):
        check_plain(data)
        msgspec.msgpack.decode(data)


@given(PLAIN, st.data())
def test_a_part_of_it_is_refused(value: Any, data: st.DataObject) -> None:
    whole = encode(value)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(NotPlainError):
        check_plain(whole[:cut], allow_nul=True)
    with pytest.raises(NotPlainError):
        check_plain(whole + b"\xc0", allow_nul=True)


@pytest.mark.parametrize("size", [0, 15, 16, 255, 256, 65_535, 65_536])
def test_every_width_of_text_list_and_map(size: int) -> None:
    for value in ("x" * size, [0] * size, {str(number): None for number in range(size)}):
        assert decode_plain(encode(value), max_values=200_000) == value


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        b"\xc4\x01a",
        b"\xc7\x01\x05a",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\xcf\x80\x00\x00\x00\x00\x00\x00\x00",
        b"\xca\x7f\x80\x00\x00",
        b"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00",
        b"\x81\x01\x02",
        b"\x81\x90\x02",
        b"\x81\xc0\x02",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff\x00",
        b"\xdb\xff\xff\xff\xffa",
        b"\xa2\xc3\x28",
        b"\xa3a\x00b",
        b"\x91" * 33 + b"\x00",
    ],
)
def test_what_json_has_not_is_refused(data: bytes) -> None:
    with pytest.raises(NotPlainError):
        check_plain(data)


def test_the_deepest_and_the_longest_that_pass() -> None:
    check_plain(b"\x91" * 32 + b"\x00")
    check_plain(encode([0] * 49_999))
    with pytest.raises(NotPlainError):
        check_plain(encode([0] * 50_000))


def test_keys_made_to_collide_are_refused_before_they_are_hashed() -> None:
    """Decoded as they are, these tuples of equal hashes would take a second, and for twice as many four."""
    keys = _colliding_pairs(10_000)
    assert len({hash(key) for key in keys[:100]}) == 1
    data = b"\xde" + struct.pack(">H", len(keys)) + b"".join(encode(list(key)) + b"\x00" for key in keys)
    with pytest.raises(NotPlainError):
        check_plain(data)


def _colliding_pairs(count: int) -> list[tuple[int, int]]:
    """Pairs of integers with one hash: CPython's tuple hash can be run backwards."""
    p1, p2, p5, mask, target = 11400714785074694791, 14029467366897019727, 2870177450012600261, 2**64 - 1, 12345678901
    inverse1, inverse2 = pow(p1, -1, 2**64), pow(p2, -1, 2**64)

    def rotated(value: int, by: int) -> int:
        return ((value << by) | (value >> (64 - by))) & mask

    before = rotated(target * inverse1 & mask, 33)
    pairs: list[tuple[int, int]] = []
    first = 0
    while len(pairs) < count:
        first += 1
        state = rotated(p5 + first * p2 & mask, 31) * p1 & mask
        second = (before - state) * inverse2 & mask
        if second < 2**61 - 1:
            pairs.append((first, second))
    return pairs

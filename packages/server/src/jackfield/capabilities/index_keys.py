"""Values of columns as bytes that sort as the values do. Pure.

Nulls first, then false, true and numbers, then texts by code point, then lists and maps: the order of `JsonSql.order`.
Two different values may have one key: whole numbers beyond 53 bits, long texts that begin alike, all lists and maps. So
an index finds candidates, in an order that may have ties, and the conditions themselves decide. What never happens is
that of two values the lesser one has the greater key.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["KEY_BYTES", "TEXT_BYTES", "Span", "key_of", "span_of"]

KEY_BYTES = 400
"""An entry has to fit a page of PostgreSQL's index several times."""
TEXT_BYTES = 120

Span = tuple[bytes, bytes | None]
"""From this key on, to below that one; None is the end."""

_NULL, _NUMBER, _TEXT, _NESTED = b"\x05", b"\x10", b"\x20", b"\x30"
_END, _CUT = b"\0", b"\1"
"""After a text, which holds no NUL itself; a text that was cut comes behind the one that ends there."""
_double = struct.Struct(">d")
_word = struct.Struct(">Q")


def key_of(values: Iterable[Any]) -> bytes:
    """The key of a row, from its values in the order of the index's columns."""
    return _joined(values)[0]


def span_of(equal: Sequence[Any], bounds: Sequence[tuple[str, Any]] = ()) -> Span:
    """Where all rows are whose first columns have these values and whose next column is within bounds.

    Args:
        bounds: `gt`, `gte`, `lt` or `lte`, with a number or a text; all of them of one kind.
    """
    prefix, is_whole = _joined(equal)
    low, high = prefix, _successor(prefix)
    if not is_whole:
        return low, high
    for operator, value in bounds:
        kind = _TEXT if isinstance(value, str) else _NUMBER
        part = (prefix + _part(value)[0])[:KEY_BYTES]
        # The next kind of value begins where this one ends.
        kind_low, kind_high = prefix + kind, _successor(prefix + kind)
        if operator in ("gt", "gte"):
            low, kind_end = max(low, part), kind_high
        else:
            low, kind_end = max(low, kind_low), _successor(part)
        if kind_end is not None and (high is None or kind_end < high):
            high = kind_end
    return low, high


def _joined(values: Iterable[Any]) -> tuple[bytes, bool]:
    """The key, and whether nothing of the values is left out of it."""
    key = b""
    for value in values:
        part, is_whole = _part(value)
        key += part
        # What follows a part that is not the whole value must not decide: the rest of the value comes before it.
        if not is_whole or len(key) > KEY_BYTES:
            return key[:KEY_BYTES], False
    return key, True


def _part(value: Any) -> tuple[bytes, bool]:
    if value is None:
        return _NULL, True
    if isinstance(value, (bool, int, float)):
        # Zero added: there is a negative one.
        (bits,) = _word.unpack(_double.pack(float(value) + 0.0))
        return _NUMBER + _word.pack(bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63)), True
    if isinstance(value, str):
        data = value.encode()
        if len(data) <= TEXT_BYTES:
            return _TEXT + data + _END, True
        return _TEXT + data[:TEXT_BYTES] + _CUT, False
    return _NESTED, False


def _successor(prefix: bytes) -> bytes | None:
    """The least key behind all that begin with `prefix`; None when nothing is."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else None

"""Is this msgpack plain data? Answered from the bytes, before anything is built of them.

Decoding first and looking afterwards would be too late: a map whose keys are arrays decodes to tuples, whose hashes a
stranger can make collide. 140 kB of such keys hold a core for a second, 1 MB for a minute.
"""

from __future__ import annotations

import contextlib
import math
import struct
from typing import Any, cast

import msgspec

__all__ = ["MAX_DEPTH", "MAX_VALUES", "NotPlainError", "check_plain", "decode_plain"]

_SMALL = 512
"""Bytes."""
MAX_DEPTH = 32
MAX_VALUES = 50_000
"""Values in one piece of data, keys included: a few milliseconds to look at."""

_decode = msgspec.msgpack.Decoder().decode
_FLOATS = {0xCA: struct.Struct(">f"), 0xCB: struct.Struct(">d")}
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
"""Type byte → bytes that follow, for null, booleans and integers within 64 signed bits."""
_TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_LISTS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}


class NotPlainError(ValueError):
    """The text says what it is instead."""


def check_plain(
    data: bytes, *, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES, allow_nul: bool = False
) -> None:
    """Accept exactly one value made of what JSON has: null, booleans, finite numbers, text, lists, maps with text keys.

    Args:
        allow_nul: Whether text may hold NUL, which PostgreSQL cannot keep in text or JSON.

    Raises:
        NotPlainError: It is something else, is cut short, or is nested too deeply or too large.
    """
    try:
        end = _scan(data, max_depth, max_values, allow_nul)
    except (IndexError, struct.error):
        raise NotPlainError("it is cut short") from None
    except UnicodeDecodeError as error:
        raise NotPlainError("a text is not valid UTF-8") from error
    if end != len(data):
        raise NotPlainError("something follows it" if end < len(data) else "it is cut short")


def decode_plain(
    data: bytes, *, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES, allow_nul: bool = False
) -> Any:
    """The value, after `check_plain`.

    Raises:
        NotPlainError: It is not plain data.
    """
    if len(data) <= _SMALL and (allow_nul or b"\0" not in data):
        # Too little to collide with, so it may be built first and looked at then, which is several times faster. What
        # is not plain beyond doubt goes the long way, which also says why.
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            value = _decode(data)
            if _is_plain(value, max_depth):
                return value
    check_plain(data, max_depth=max_depth, max_values=max_values, allow_nul=allow_nul)
    return _decode(data)


def _is_plain(value: Any, depth: int) -> bool:
    kind = cast("type[Any]", type(value))
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return -(2**63) <= value < 2**63
    if kind is float:
        return math.isfinite(value)
    if depth <= 1:
        return False
    if kind is dict:
        return all(type(key) is str and _is_plain(item, depth - 1) for key, item in value.items())
    return kind is list and all(_is_plain(item, depth - 1) for item in value)


def _scan(data: bytes, max_depth: int, max_values: int, allow_nul: bool) -> int:
    position = seen = 0
    # What is still to come in the innermost list or map, and whether the next value there is a key. Outer ones wait.
    left, is_map, is_key = 1, False, False
    outer: list[tuple[int, bool]] = []
    while True:
        while left == 0:
            if not outer:
                return position
            left, is_map = outer.pop()
            is_key = is_map and left % 2 == 0
        left -= 1
        seen += 1
        if seen > max_values:
            raise NotPlainError(f"it has more than {max_values} values")
        byte = data[position]
        position += 1
        length = -1
        if 0xA0 <= byte <= 0xBF:
            length = byte & 0x1F
        elif byte in _TEXTS:
            width = _TEXTS[byte]
            length = int.from_bytes(data[position : position + width], "big")
            position += width
        if length >= 0:
            text = data[position : position + length]
            position += length
            text.decode()
            if not allow_nul and 0 in text:
                raise NotPlainError("a text has a NUL character in it")
            is_key = is_map and not is_key
            continue
        if is_key:
            raise NotPlainError("a key is not a text")
        is_key = is_map
        if byte <= 0x7F or byte >= 0xE0:
            continue
        if byte in _FIXED:
            position += _FIXED[byte]
        elif byte in _FLOATS:
            form = _FLOATS[byte]
            if not math.isfinite(form.unpack_from(data, position)[0]):
                raise NotPlainError("a number is NaN or infinite")
            position += form.size
        elif byte == 0xCF:
            if data[position] > 0x7F:
                raise NotPlainError("a whole number is outside of 64 bits")
            position += 8
        else:
            count, is_new_map, width = _container(data, position, byte)
            position += width
            # Each value takes a byte at least, so a count cannot promise more than there is.
            if count > len(data) - position:
                raise NotPlainError("it is cut short")
            if len(outer) >= max_depth:
                raise NotPlainError(f"it is nested deeper than {max_depth} levels")
            outer.append((left, is_map))
            left, is_map, is_key = count, is_new_map, is_new_map


def _container(data: bytes, position: int, byte: int) -> tuple[int, bool, int]:
    """Number of values in the list or map that begins here, whether it is a map, and the width of the number."""
    if 0x80 <= byte <= 0x8F:
        return (byte & 0x0F) * 2, True, 0
    if 0x90 <= byte <= 0x9F:
        return byte & 0x0F, False, 0
    width = _LISTS.get(byte) or _MAPS.get(byte)
    if width is None:
        raise NotPlainError("it holds bytes or an extension type, which JSON has not")
    count = int.from_bytes(data[position : position + width], "big")
    return (count * 2, True, width) if byte in _MAPS else (count, False, width)

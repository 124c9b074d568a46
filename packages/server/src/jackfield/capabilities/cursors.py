"""Where a page of rows ended: the sort keys of its last row, so that the next page begins there whatever was added.

A cursor is a plugin's own values in a text; one that was made up finds other rows of the plugin's own, or none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from jackfield.data_adapters import CursorMismatchError, Order

__all__ = ["CURSOR_CHARS", "read_cursor", "write_cursor"]

CURSOR_CHARS = 80_000
"""A row has 32 KiB, and all of it may be in columns that are sorted by."""


class _Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    belongs: str
    id: str
    values: list[bool | int | float | str | list[str] | None]


_decoder = msgspec.msgpack.Decoder(_Cursor)


def write_cursor(table: str, order: Sequence[Order], values: Sequence[Any], id: str) -> str:
    """A cursor behind a row."""
    plain = [[str(value)] if isinstance(value, Decimal) else value for value in values]
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(_Cursor(_mark(table, order), id, plain))).decode()


def read_cursor(text: str, table: str, order: Sequence[Order]) -> tuple[list[Any], str]:
    """Values of the sort keys, and the id.

    Raises:
        CursorMismatchError: It is none, or one of another table or order.
    """
    try:
        cursor = _decoder.decode(base64.b64decode(text, altchars=b"-_", validate=True))
        values = [_number(value) if isinstance(value, list) else value for value in cursor.values]
    except (binascii.Error, msgspec.DecodeError, UnicodeError, ValueError, InvalidOperation) as error:
        raise CursorMismatchError from error
    texts = [cursor.id, *(value for value in values if isinstance(value, str))]
    if cursor.belongs != _mark(table, order) or any("\0" in one for one in texts):
        raise CursorMismatchError
    return values, cursor.id


def _number(parts: list[str]) -> Decimal:
    (text,) = parts
    number = Decimal(text)
    if not number.is_finite() or abs(number.adjusted()) > 400 or len(text) > 1000:
        raise ValueError("no number of a row")
    return number


def _mark(table: str, order: Sequence[Order]) -> str:
    return hashlib.sha256(msgspec.json.encode([table, [list(one) for one in order]])).hexdigest()[:16]

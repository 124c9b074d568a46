"""Cursors of lists: the last row's place in the order, or a number of rows where that cannot be told.

A cursor is not secret and not signed: it holds values of fields that the plugin may read, and whoever changes it only
asks for another place in the same list, which is narrowed to the tenant and the grant like every other. What does not
fit the query or its columns is refused.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import enum
import hashlib
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta
from sqlalchemy import Column, types

from jackfield.data_adapters.conditions import INT_MAX, INT_MIN, Node, plain_where
from jackfield.data_adapters.errors import CursorMismatchError
from jackfield.data_adapters.interfaces import Query

__all__ = ["CURSOR_CHARS", "MAX_OFFSET", "open_cursor", "query_mark", "seal_offset", "seal_place"]

CURSOR_CHARS = 2_000
MAX_OFFSET = 1_000_000

_Value = None | bool | Annotated[int, Meta(ge=INT_MIN, le=INT_MAX)] | float | str | tuple[str, ...]
_Offset = Annotated[int, Meta(ge=0, le=MAX_OFFSET)]
_decode = msgspec.json.Decoder(tuple[str, _Offset | list[_Value]]).decode
_PARSED: dict[str, Any] = {
    "decimal": decimal.Decimal,
    "moment": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "uuid": uuid.UUID,
}


def query_mark(entity: str, query: Query, scope: Sequence[Node]) -> str:
    """A short name of the query, for its cursors."""
    about = msgspec.json.encode([entity, plain_where(scope), plain_where(query.where), query.order])
    return hashlib.blake2b(about, digest_size=9).hexdigest()


def seal_offset(mark: str, rows: int) -> str | None:
    """The cursor behind so many rows; None when they are more than may be counted."""
    return _seal([mark, rows]) if rows <= MAX_OFFSET else None


def seal_place(mark: str, values: Sequence[Any]) -> str | None:
    """The cursor behind a row that has these values in the fields of the order; None when they do not fit one."""
    frozen: list[Any] = []
    for value in values:
        if (tagged := _tagged(value)) is not None:
            frozen.append(tagged)
        elif value is None or isinstance(value, (bool, int, float, str)):
            frozen.append(value)
        else:
            return None
    sealed = _seal([mark, frozen])
    return sealed if len(sealed) <= CURSOR_CHARS else None


def open_cursor(cursor: str, mark: str, columns: Sequence[Column[Any]]) -> int | list[Any]:
    """Rows to leave out, or the values that `columns` have in the last row seen.

    Raises:
        CursorMismatchError: It is none, or belongs to another query.
    """
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found, place = _decode(raw)
        if found != mark or (isinstance(place, list) and len(place) != len(columns)):
            raise CursorMismatchError
        if isinstance(place, int):
            return place
        return [_thawed(value, column) for value, column in zip(place, columns, strict=True)]
    except (ValueError, KeyError, ArithmeticError, RecursionError, msgspec.DecodeError) as error:
        raise CursorMismatchError from error


def _seal(parts: list[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


def _tagged(value: Any) -> tuple[str, str] | None:
    match value:
        case enum.Enum():
            return "enum", value.name
        case decimal.Decimal():
            return "decimal", str(value)
        case dt.datetime():
            return "moment", value.isoformat()
        case dt.date():
            return "date", value.isoformat()
        case dt.time():
            return "time", value.isoformat()
        case uuid.UUID():
            return "uuid", value.hex
        case _:
            return None


def _thawed(value: Any, column: Column[Any]) -> Any:
    if not isinstance(value, tuple):
        return value
    tag, text = cast("tuple[str, str]", value)
    if tag == "enum":
        kind = column.type
        if not isinstance(kind, types.Enum) or kind.enum_class is None:
            raise ValueError(tag)
        return kind.enum_class[text]
    return _PARSED[tag](text)

"""Values of the host's columns as plain data, and back. Strict: a column takes values of its own kind only."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Column, null, types
from sqlalchemy.types import TypeDecorator

from jackfield.data_adapters.conditions import INT_MAX, INT_MIN

__all__ = [
    "FieldMismatchError",
    "Read",
    "Write",
    "is_json",
    "is_number",
    "is_sortable",
    "is_text",
    "json_type",
    "key_reader",
    "plain",
    "writer",
]

Write = Callable[[Any], Any]
"""Plain data to what SQLAlchemy takes; raises `FieldMismatchError`."""
Read = Callable[[Any], Any]


class FieldMismatchError(ValueError):
    """The value is not of the column's kind; the text says what is."""


def writer(column: Column[Any]) -> Write:
    """How plain values go into a column.

    Raises:
        ValueError: Plugins cannot be given columns of this type.
    """
    convert = _writer_of(column)
    is_nullable = bool(column.nullable)
    # SQLAlchemy would write JSON's own null, which is not what conditions find.
    nothing = null() if is_json(column) else None

    def write(value: Any) -> Any:
        if value is None:
            if not is_nullable:
                raise FieldMismatchError("takes no null")
            return nothing
        return convert(value)

    return write


def is_json(column: Column[Any]) -> bool:
    """Whether its values are lists and maps, which neither compare nor sort."""
    return isinstance(_base(column.type), types.JSON)


def is_text(column: Column[Any]) -> bool:
    """Whether patterns make sense for it."""
    return isinstance(column.type, types.String) and not isinstance(column.type, types.Enum)


def is_number(column: Column[Any]) -> bool:
    """Whether its values can be added."""
    return isinstance(_base(column.type), (types.Integer, types.Numeric, types.Float))


def is_sortable(column: Column[Any]) -> bool:
    """Whether every database has a smallest and a largest value of it, and the same ones."""
    if isinstance(column.type, types.Interval):
        return False
    base = _base(column.type)
    kinds = (types.Integer, types.Numeric, types.Float, types.DateTime, types.Date, types.Time, types.String)
    return isinstance(base, kinds) and not isinstance(base, types.Enum)


def json_type(column: Column[Any]) -> dict[str, Any]:
    """JSON Schema of its values in plain form, null left out."""
    is_decorated = isinstance(column.type, TypeDecorator)
    match _base(column.type):
        case types.Boolean():
            return {"type": "boolean"}
        case types.Enum() as kind:
            return {"type": "string", "enum": list(kind.enums)}
        case types.Uuid():
            return {"type": "string", "format": "uuid"}
        case types.String() as kind:
            return {"type": "string"} if kind.length is None else {"type": "string", "maxLength": kind.length}
        case types.Integer():
            return {"type": "number"} if is_decorated else {"type": "integer"}
        case types.Numeric() | types.Float():
            return {"type": "number"}
        case types.DateTime():
            return {"type": "string", "format": "date-time"}
        case types.Date():
            return {"type": "string", "format": "date"}
        case types.Time():
            return {"type": "string", "format": "time"}
        case _:
            return {}


def key_reader(column: Column[Any]) -> Callable[[str], Any]:
    """How the text that a plugin has as a key becomes the column's value; None when no row can have it."""
    convert = _writer_of(column)
    is_number = isinstance(_base(column.type), types.Integer)

    def read(text: str) -> Any:
        value: Any = text
        if is_number:
            if not text.isascii() or not text.isdigit() or len(text) > 19 or str(int(text)) != text:
                return None
            value = int(text)
        try:
            return convert(value)
        except FieldMismatchError:
            return None

    return read


def plain(value: Any) -> Any:
    """A column's value as JSON has it; times as ISO 8601, decimals as numbers, enums by name."""
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    # A JSON column's value is plain already.
    return value


def _base(type_: Any) -> Any:
    return type_.impl_instance if isinstance(type_, TypeDecorator) else type_


def _writer_of(column: Column[Any]) -> Write:
    is_decorated = isinstance(column.type, TypeDecorator)
    base = _base(column.type)
    if isinstance(column.type, types.Interval):
        # A decorator too, around a time; yet no time.
        base = column.type
    match base:
        case types.Boolean():
            return _of(bool, "takes true or false")
        case types.Enum():
            return _one_of(tuple(base.enums))
        case types.Uuid():
            return _parsed(uuid.UUID, "takes a UUID", text=not base.as_uuid)
        case types.String():
            return _text(base.length)
        case types.Integer():
            # A decorator may keep, say, amounts as whole cents: what goes in is then any number.
            return _number if is_decorated else _integer
        case types.Numeric() if base.asdecimal and not is_decorated:
            return lambda value: decimal.Decimal(repr(_number(value)))
        case types.Numeric() | types.Float():
            return lambda value: float(_number(value))
        case types.DateTime():
            return _moment(is_aware=bool(base.timezone) or is_decorated)
        case types.Date():
            return _parsed(dt.date, "takes a date as in 2026-01-31")
        case types.Time():
            return _parsed(dt.time, "takes a time as in 09:30:00")
        case types.JSON():
            return lambda value: value
        case _:
            raise ValueError(f"column {column}: plugins cannot be given values of type {column.type!r}")


def _of(kind: type, reason: str) -> Write:
    def write(value: Any) -> Any:
        if type(value) is not kind:
            raise FieldMismatchError(reason)
        return value

    return write


def _one_of(names: tuple[str, ...]) -> Write:
    def write(value: Any) -> Any:
        if not isinstance(value, str) or value not in names:
            raise FieldMismatchError(f"takes one of {', '.join(names)}"[:300])
        return value

    return write


def _text(length: int | None) -> Write:
    def write(value: Any) -> Any:
        if not isinstance(value, str):
            raise FieldMismatchError("takes a text")
        # SQLite would keep any length; and PostgreSQL keeps no NUL.
        if length is not None and len(value) > length:
            raise FieldMismatchError(f"takes at most {length} characters")
        if "\0" in value:
            raise FieldMismatchError("takes no NUL character")
        return value

    return write


def _integer(value: Any) -> int:
    if type(value) is not int or not INT_MIN <= value <= INT_MAX:
        raise FieldMismatchError("takes a whole number of 64 bits")
    return value


def _number(value: Any) -> int | float:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int and INT_MIN <= value <= INT_MAX:
        return value
    raise FieldMismatchError("takes a number")


def _parsed(kind: Any, reason: str, *, text: bool = False) -> Write:
    def write(value: Any) -> Any:
        try:
            parsed = msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise FieldMismatchError(reason) from error
        return str(parsed) if text else parsed

    return write


def _moment(*, is_aware: bool) -> Write:
    parse = _parsed(dt.datetime, "takes a time as in 2026-01-31T09:30:00+00:00")

    def write(value: Any) -> dt.datetime:
        moment: dt.datetime = parse(value)
        if is_aware and moment.tzinfo is None:
            raise FieldMismatchError("takes a time with its offset from UTC")
        if not is_aware and moment.tzinfo is not None:
            return moment.astimezone(dt.UTC).replace(tzinfo=None)
        return moment

    return write

"""Conditions and order over JSON rows, as SQL; one class for each database, with the same answers.

Values compare with values of their own type only: `1` is not `"1"`, and not `true`. A column that a row lacks counts as
its declared default. Column names come from a manifest, whose grammar leaves nothing to quote; values are always bound.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Numeric,
    Text,
    and_,
    case,
    cast,
    collate,
    false,
    func,
    literal,
    not_,
    or_,
    type_coerce,
)
from sqlalchemy import literal_column as verbatim
from sqlalchemy.dialects.postgresql import JSONB

from jackfield.capabilities.errors import ArgumentsInvalidError
from jackfield.capabilities.models import TableRow, core
from jackfield.data_adapters import Condition, Order

__all__ = ["JsonSql", "PostgresJson", "SqliteJson"]

_Bool = ColumnElement[bool]
_rows = core(TableRow)


class JsonSql(ABC):
    """Over the rows of one table.

    Args:
        columns: That may be named, beside `id`.
        defaults: Of columns that a row may lack.
    """

    def __init__(self, columns: Sequence[str], defaults: Mapping[str, Any]) -> None:
        self._columns = frozenset(columns)
        self._defaults = defaults

    def meets(self, conditions: Sequence[Condition]) -> list[_Bool]:
        """For WHERE; the conditions have been through `check_conditions`.

        Raises:
            ArgumentsInvalidError: There is no such column.
        """
        return [self._predicate(condition) for condition in conditions]

    def order(self, order: Sequence[Order]) -> list[ColumnElement[Any]]:
        """For ORDER BY; rows that are equal so far follow by `id`.

        Raises:
            ArgumentsInvalidError: There is no such column.
        """
        found: list[ColumnElement[Any]] = []
        for name, is_descending in order:
            keys = [self._id()] if name == "id" else self._sort_keys(self._known(name))
            found += [key.desc().nulls_last() if is_descending else key.asc().nulls_first() for key in keys]
        return [*found, self._id()]

    def _predicate(self, condition: Condition) -> _Bool:
        name, value = condition.field, condition.value
        match condition.operator:
            case "eq":
                return self._equals(name, value)
            case "ne":
                return not_(self._equals(name, value))
            case "in":
                items = value if isinstance(value, list) else [value]
                return or_(false(), *(self._equals(name, item) for item in items))
            case "like":
                is_text, text = self._text(name)
                return and_(is_text, text.ilike(value, escape="\\"))
            case operator:
                is_kind, left, right = self._pair(name, value)
                compare = {"gt": left.__gt__, "gte": left.__ge__, "lt": left.__lt__, "lte": left.__le__}[operator]
                return and_(is_kind, compare(right))

    def _equals(self, name: str, value: Any) -> _Bool:
        if value is None:
            return self._is_null(name)
        if isinstance(value, bool):
            return self._is_bool(name, value)
        is_kind, left, right = self._pair(name, value)
        # Never unknown: a row of another kind is simply not equal, so that `ne` finds it.
        return func.coalesce(and_(is_kind, left == right), false())

    def _pair(self, name: str, value: Any) -> tuple[_Bool, ColumnElement[Any], Any]:
        """Whether the column is of the value's kind, and both as the database compares them."""
        if isinstance(value, str):
            return (*self._text(name), value)
        return (*self._number(name), self._bound(value))

    def _known(self, name: str) -> str:
        if name not in self._columns:
            raise ArgumentsInvalidError(f"there is no column `{name[:80]}`")
        return name

    def _id(self) -> ColumnElement[Any]:
        return _rows.c.id

    def _text(self, name: str) -> tuple[_Bool, ColumnElement[Any]]:
        """Whether the value is a text, and the text."""
        if name == "id":
            return literal(value=True), self._id()
        return self._json_text(self._known(name))

    def _number(self, name: str) -> tuple[_Bool, ColumnElement[Any]]:
        """Whether the value is a number, and the number."""
        if name == "id":
            return false(), literal(0)
        return self._json_number(self._known(name))

    def _is_null(self, name: str) -> _Bool:
        return false() if name == "id" else self._json_kind(self._known(name)).in_(["null"])

    def _is_bool(self, name: str, value: bool) -> _Bool:
        return false() if name == "id" else self._json_is_bool(self._known(name), value)

    @abstractmethod
    def _bound(self, value: int | float) -> Any:
        """A number as the database compares it."""

    @abstractmethod
    def _json_kind(self, name: str) -> ColumnElement[Any]:
        """The database's word for the value's type; `null` when there is none."""

    @abstractmethod
    def _json_text(self, name: str) -> tuple[_Bool, ColumnElement[Any]]: ...

    @abstractmethod
    def _json_number(self, name: str) -> tuple[_Bool, ColumnElement[Any]]: ...

    @abstractmethod
    def _json_is_bool(self, name: str, value: bool) -> _Bool: ...

    @abstractmethod
    def _sort_keys(self, name: str) -> list[ColumnElement[Any]]:
        """Null first, then false and true among the numbers, then texts by code point, then lists and maps."""


class SqliteJson(JsonSql):
    """SQLite's JSON functions."""

    def _bound(self, value: int | float) -> Any:
        return value

    def _json_kind(self, name: str) -> ColumnElement[Any]:
        return func.coalesce(func.json_type(_rows.c.data, _path(name)), _sqlite_kind(self._defaults.get(name)))

    def _json_text(self, name: str) -> tuple[_Bool, ColumnElement[Any]]:
        return self._json_kind(name) == "text", type_coerce(self._value(name), Text)

    def _json_number(self, name: str) -> tuple[_Bool, ColumnElement[Any]]:
        return self._json_kind(name).in_(["integer", "real"]), self._value(name)

    def _json_is_bool(self, name: str, value: bool) -> _Bool:
        return self._json_kind(name) == ("true" if value else "false")

    def _sort_keys(self, name: str) -> list[ColumnElement[Any]]:
        # SQLite sorts values of mixed types by itself in just this order, but has lists as texts.
        is_nested = self._json_kind(name).in_(["array", "object"])
        return [case((is_nested, 1), else_=0), self._value(name)]

    def _value(self, name: str) -> ColumnElement[Any]:
        value = func.json_extract(_rows.c.data, _path(name))
        default = self._defaults.get(name)
        if not isinstance(default, (bool, int, float, str)):
            return value
        return case((func.json_type(_rows.c.data, _path(name)).is_(None), literal(default)), else_=value)


class PostgresJson(JsonSql):
    """PostgreSQL's JSONB. A cast that could fail stands inside a CASE, since AND promises no order."""

    def _bound(self, value: int | float) -> Any:
        return literal(Decimal(repr(value)), Numeric)

    def _json_kind(self, name: str) -> ColumnElement[Any]:
        return func.coalesce(func.jsonb_typeof(self._document(name)), "null")

    def _json_text(self, name: str) -> tuple[_Bool, ColumnElement[Any]]:
        return self._json_kind(name) == "string", collate(self._as_text(name), "C")

    def _json_number(self, name: str) -> tuple[_Bool, ColumnElement[Any]]:
        is_number = self._json_kind(name) == "number"
        return is_number, case((is_number, cast(self._as_text(name), Numeric)))

    def _json_is_bool(self, name: str, value: bool) -> _Bool:
        return and_(self._json_kind(name) == "boolean", self._as_text(name) == ("true" if value else "false"))

    def _sort_keys(self, name: str) -> list[ColumnElement[Any]]:
        kind, text = self._json_kind(name), self._as_text(name)
        rank = case((kind == "null", None), (kind.in_(["boolean", "number"]), 1), (kind == "string", 2), else_=3)
        number = case((kind == "number", cast(text, Numeric)), (kind == "boolean", case((text == "true", 1), else_=0)))
        return [rank, number, collate(text, "C")]

    def _document(self, name: str) -> ColumnElement[Any]:
        value = _rows.c.data[name]
        if name not in self._defaults:
            return value
        return func.coalesce(value, cast(literal(json.dumps(self._defaults[name]), Text), JSONB))

    def _as_text(self, name: str) -> ColumnElement[Any]:
        return type_coerce(self._document(name).op("#>>")(verbatim("'{}'")), Text)


def _path(name: str) -> str:
    return f'$."{name}"'


def _sqlite_kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return "integer"
        case float():
            return "real"
        case str():
            return "text"
        case list():
            return "array"
        case _:
            return "object"

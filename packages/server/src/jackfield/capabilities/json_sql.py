"""Conditions and order over JSON rows, as SQL; one class for each database, with the same answers.

Values compare with values of their own type only: `1` is not `"1"`, and not `true`. A column that a row lacks counts as
its declared default. Column names come from a manifest, whose grammar leaves nothing to quote; values are always bound.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    true,
    type_coerce,
)
from sqlalchemy import literal_column as verbatim
from sqlalchemy.dialects.postgresql import JSONB

from jackfield.capabilities.errors import ArgumentsInvalidError
from jackfield.capabilities.models import TableRow, core
from jackfield.data_adapters import And, Condition, Node, Not, Or, Order

__all__ = ["JsonSql", "PostgresJson", "SqliteJson", "Sums", "number_of", "sql_of"]

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

    def meets(self, nodes: Sequence[Node]) -> list[_Bool]:
        """For WHERE; the conditions have been through `check_conditions`.

        Raises:
            ArgumentsInvalidError: There is no such column.
        """
        return [self._meets(node) for node in nodes]

    def _meets(self, node: Node) -> _Bool:
        match node:
            case And():
                return and_(true(), *self.meets(node.nodes))
            case Or():
                return or_(false(), *self.meets(node.nodes))
            case Not():
                # Never unknown, so that what does not hold is all the rest.
                return not_(func.coalesce(self._meets(node.node), false()))
            case Condition():
                return self._predicate(node)

    def order(self, order: Sequence[Order]) -> list[ColumnElement[Any]]:
        """For ORDER BY; rows that are equal so far follow by `id`.

        Raises:
            ArgumentsInvalidError: There is no such column.
        """
        found = [
            key.desc().nulls_last() if is_descending else key.asc().nulls_first()
            for key, is_descending in self.sort_keys(order)
        ]
        return [*found, self._id()]

    def sort_keys(self, order: Sequence[Order]) -> list[tuple[ColumnElement[Any], bool]]:
        """What is sorted by, each with whether it descends: several of them for a column. `id` decides at last.

        Raises:
            ArgumentsInvalidError: There is no such column.
        """
        return [
            (key, is_descending)
            for name, is_descending in order
            for key in ([self._id()] if name == "id" else self._sort_keys(self._known(name)))
        ]

    def behind(self, order: Sequence[Order], values: Sequence[Any], id: str) -> _Bool:
        """For WHERE: rows that come after one with these values of the sort keys and this id.

        Raises:
            ArgumentsInvalidError: There is no such column, or the values are not of this order.
        """
        keys = self.sort_keys(order)
        if len(keys) != len(values):
            raise ArgumentsInvalidError("the cursor is of another order")
        found: _Bool = self._id() > id
        for (key, is_descending), value in reversed(list(zip(keys, values, strict=True))):
            if value is None:
                is_same, is_later = key.is_(None), false() if is_descending else key.is_not(None)
            elif is_descending:
                is_same, is_later = key == value, or_(key < value, key.is_(None))
            else:
                is_same, is_later = key == value, key > value
            found = or_(is_later, and_(is_same, found))
        return found

    def group_keys(self, name: str) -> list[ColumnElement[Any]]:
        """For GROUP BY and ORDER BY: the value's kind, its number, its text. `grouped` makes the value of them.

        Raises:
            ArgumentsInvalidError: There is no such column.
        """
        is_number, number = self._number(name)
        is_text, text = self._text(name)
        nested, written = self._nested(name)
        kind = case(
            (self._is_null(name), 0), (self._is_bool(name, False), 1), (self._is_bool(name, True), 2), (is_number, 3),
            (is_text, 4), else_=5,
        )  # fmt: skip
        return [kind, case((is_number, number)), case((is_text, text), (nested, written))]

    def grouped(self, kind: int, number: Any, text: str | None) -> Any:
        """A value, from its group keys."""
        match kind:
            case 0:
                return None
            case 1 | 2:
                return kind == 2
            case 3:
                return number_of(number) if isinstance(number, Decimal) else number
            case 4:
                return text
            case _:
                return json.loads(text or "null")

    def sums(self, name: str) -> Sums:
        """Figures about the numbers and texts of a column.

        Raises:
            ArgumentsInvalidError: There is no such column.
        """
        is_number, number = self._number(name)
        is_text, text = self._text(name)
        return Sums(case((is_number, number)), case((is_text, text)), case((self._is_null(name), None), else_=1))

    @abstractmethod
    def total(self, number: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        """Columns of which `total_of` makes an exact sum."""

    @abstractmethod
    def total_of(self, parts: Sequence[Any]) -> int | float | None:
        """The sum; None of nothing."""

    @abstractmethod
    def about_total(self, number: ColumnElement[Any]) -> ColumnElement[Any]:
        """The sum, good enough to sort by."""

    @abstractmethod
    def _nested(self, name: str) -> tuple[_Bool, ColumnElement[Any]]:
        """Whether the value is a list or a map, and its JSON."""

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


@dataclass(frozen=True, slots=True)
class Sums:
    """One column in an aggregation.

    Attributes:
        number, text: The value if it is one, else null.
        present: 1 unless the value is null.
    """

    number: ColumnElement[Any]
    text: ColumnElement[Any]
    present: ColumnElement[Any]


class SqliteJson(JsonSql):
    """SQLite's JSON functions."""

    def total(self, number: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        # By halves: `sum` fails where a sum of whole numbers leaves 64 bits.
        is_whole = func.typeof(number) == "integer"
        return [
            func.sum(case((is_whole, number.op(">>")(32)))), func.sum(case((is_whole, number.op("&")(0xFFFF_FFFF)))),
            func.sum(case((is_whole, None), else_=number)),
        ]  # fmt: skip

    def total_of(self, parts: Sequence[Any]) -> int | float | None:
        high, low, fraction = parts
        whole = None if high is None else (high << 32) + low
        if fraction is None:
            return whole if whole is None or -(2**63) <= whole < 2**63 else float(whole)
        return fraction + (whole or 0)

    def about_total(self, number: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.sum(number * 1.0)

    def _nested(self, name: str) -> tuple[_Bool, ColumnElement[Any]]:
        if name == "id":
            return false(), literal("")
        return self._json_kind(name).in_(["array", "object"]), self._value(name)

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

    def total(self, number: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        return [func.sum(number)]

    def total_of(self, parts: Sequence[Any]) -> int | float | None:
        return number_of(parts[0])

    def about_total(self, number: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.sum(number)

    def _nested(self, name: str) -> tuple[_Bool, ColumnElement[Any]]:
        if name == "id":
            return false(), literal("")
        return self._json_kind(name).in_(["array", "object"]), collate(self._as_text(name), "C")

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
        # How a number was written does not matter.
        words = case((kind.in_(["boolean", "number"]), None), else_=text)
        return [rank, number, collate(words, "C")]

    def _document(self, name: str) -> ColumnElement[Any]:
        value = _rows.c.data[name]
        if name not in self._defaults:
            return value
        return func.coalesce(value, cast(literal(json.dumps(self._defaults[name]), Text), JSONB))

    def _as_text(self, name: str) -> ColumnElement[Any]:
        return type_coerce(self._document(name).op("#>>")(verbatim("'{}'")), Text)


def sql_of(*, is_sqlite: bool) -> type[JsonSql]:
    """The dialect of a database."""
    return SqliteJson if is_sqlite else PostgresJson


def number_of(value: Decimal | None) -> int | float | None:
    """A number of PostgreSQL's as Python has it: whole where it was written so and fits 64 bits."""
    if value is None:
        return None
    exponent = value.as_tuple().exponent
    is_whole = isinstance(exponent, int) and exponent >= 0 and -(2**63) <= value < 2**63
    return int(value) if is_whole else float(value)


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

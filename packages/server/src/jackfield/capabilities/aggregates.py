"""Figures over rows: what is asked for becomes columns of one statement, and its rows become the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta
from sqlalchemy import ColumnElement, func, literal_column

from jackfield.capabilities.errors import ArgumentsInvalidError
from jackfield.capabilities.json_sql import JsonSql, number_of
from jackfield.data_adapters import Order

__all__ = ["Aggregation", "Measures", "aggregate"]

_Function = Literal["count", "sum", "avg", "min", "max"]
_Name = Annotated[str, Meta(min_length=1, max_length=65)]
_Measure = tuple[_Function, _Name | None]
Measures = Annotated[dict[_Name, _Measure], Meta(min_length=1, max_length=16)]
"""Name in the answer → function and column. `count` alone counts rows, with a column those where it is not null."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What becomes of some columns of the statement.

    Attributes:
        width: How many.
    """

    name: str
    width: int
    value: Callable[[Sequence[Any]], Any]


@dataclass(frozen=True, slots=True)
class Aggregation:
    """A statement's parts, and how to read its rows.

    Attributes:
        groups: For GROUP BY.
    """

    columns: list[ColumnElement[Any]]
    groups: list[ColumnElement[Any]]
    order: list[ColumnElement[Any]]
    parts: list[_Part]

    def row(self, values: Sequence[Any]) -> dict[str, Any]:
        """One row of the answer: the columns that are grouped by, then the measures."""
        found: dict[str, Any] = {}
        place = 1
        for part in self.parts:
            found[part.name] = part.value(values[place : place + part.width])
            place += part.width
        return found

    def is_empty(self, rows: Sequence[Sequence[Any]]) -> bool:
        """Whether no row was looked at: without groups there is an answer all the same."""
        return not self.groups and rows[0][0] == 0


def aggregate(sql: JsonSql, measures: Measures, group_by: Sequence[str], order: Sequence[Order]) -> Aggregation:
    """Work out the statement.

    Raises:
        ArgumentsInvalidError: There is no such column, or something is named twice or not at all.
    """
    columns = _Columns()
    columns.add(func.count())
    groups: list[ColumnElement[Any]] = []
    parts: list[_Part] = []
    sorts: dict[str, list[ColumnElement[Any]]] = {}
    for name in group_by:
        sorts[name] = columns.add(*sql.group_keys(name))
        groups += sorts[name]
        parts.append(_Part(name, 3, lambda keys: sql.grouped(*keys)))
    if len(sorts) < len(group_by) or sorts.keys() & measures.keys():
        raise ArgumentsInvalidError("a name stands for two things in the answer")
    for name, (function, column) in measures.items():
        made, part = _measure(sql, name, function, column)
        sorts[name] = columns.add(*made)
        parts.append(part)
    ordered: list[ColumnElement[Any]] = []
    for name, is_descending in order:
        if name not in sorts:
            raise ArgumentsInvalidError(f"order: `{name[:80]}` is neither a measure nor grouped by")
        function, column = measures.get(name, ("count", None))
        keys = sorts[name]
        if function in ("sum", "avg") and column is not None:
            # The exact parts of a sum do not sort; the sum itself, in floating point, does.
            keys = columns.add(_about(sql, function, column))
        ordered += [key.desc().nulls_last() if is_descending else key.asc().nulls_first() for key in keys]
    return Aggregation(columns.all, groups, [*ordered, *(key.asc().nulls_first() for key in groups)], parts)


class _Columns:
    """The statement's columns, each under a name of its own by which it is grouped and sorted: to spell an expression
    twice would give it other parameters, and PostgreSQL would not take the two for one."""

    def __init__(self) -> None:
        self.all: list[ColumnElement[Any]] = []

    def add(self, *columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        """Add some; their names, for GROUP BY and ORDER BY."""
        names: list[ColumnElement[Any]] = []
        for column in columns:
            name = f"c{len(self.all)}"
            self.all.append(column.label(name))
            names.append(literal_column(name))
        return names


def _measure(sql: JsonSql, name: str, function: str, column: str | None) -> tuple[list[ColumnElement[Any]], _Part]:
    if column is None:
        if function != "count":
            raise ArgumentsInvalidError(f"`{function}` takes a column")
        return [func.count()], _Part(name, 1, lambda parts: parts[0])
    sums = sql.sums(column)
    if function == "count":
        return [func.count(sums.present)], _Part(name, 1, lambda parts: parts[0])
    if function in ("min", "max"):
        pick = func.min if function == "min" else func.max
        return [pick(sums.number), pick(sums.text)], _Part(name, 2, _extreme)
    total = sql.total(sums.number)
    if function == "sum":
        return total, _Part(name, len(total), lambda parts: sql.total_of(parts))

    def average(parts: Sequence[Any]) -> float | None:
        whole = sql.total_of(parts[:-1])
        return None if whole is None else whole / parts[-1]

    return [*total, func.count(sums.number)], _Part(name, len(total) + 1, average)


def _about(sql: JsonSql, function: str, column: str) -> ColumnElement[Any]:
    number = sql.sums(column).number
    return sql.about_total(number) if function == "sum" else func.avg(number)


def _extreme(parts: Sequence[Any]) -> Any:
    """Numbers come before texts: of a column that has both, the least and greatest number are told."""
    number, text = parts
    if number is None:
        return text
    return number if isinstance(number, (int, float)) else number_of(number)

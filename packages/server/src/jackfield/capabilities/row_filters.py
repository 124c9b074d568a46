"""Row filters: which rows of an entity a grant, or a role, is about. Pure.

A row filter is a `where` as plugins send it (`data_adapters.conditions`), as plain data. Where it compares by `eq`,
`ne` or `in`, a value may be a placeholder that each call fills in: `"$user.id"` and `"$user.role"` of the member on
whose behalf it runs, `"$tenant.id"`. While nobody acts, a filter that names the user gives nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import msgspec

from jackfield.capabilities.errors import RowFilterInvalidError
from jackfield.data_adapters.conditions import (
    And,
    Condition,
    Node,
    Not,
    Or,
    check_conditions,
    conditions_of,
    parse_where,
    plain_where,
)
from jackfield.data_adapters.errors import ComparisonInvalidError
from jackfield_sdk.wire import Caller

__all__ = ["PLACEHOLDERS", "RowFilter", "checked", "filled", "is_within", "words"]

RowFilter = Sequence[Any]
"""Nodes as plain data; all of them must hold."""

PLACEHOLDERS = frozenset({"$user.id", "$user.role", "$tenant.id"})

_WORDS = {
    "eq": "is", "ne": "is not", "gt": "is more than", "gte": "is at least", "lt": "is less than", "lte": "is at most",
    "in": "is one of", "like": "looks like",
}  # fmt: skip
_TOLD = {"$user.id": "the acting user", "$user.role": "the acting user's role", "$tenant.id": "the organisation"}


def checked(where: object, entity: str, fields: Collection[str]) -> list[Any]:
    """A row filter in its canonical form.

    Args:
        fields: Those that may be named.

    Raises:
        RowFilterInvalidError: It is no condition tree, names another field, or has a placeholder where none can be.
    """
    try:
        nodes = parse_where(where)
    except ComparisonInvalidError as error:
        raise RowFilterInvalidError(entity, str(error)) from error
    for condition in conditions_of(nodes):
        if condition.field not in fields:
            raise RowFilterInvalidError(entity, f"`{condition.field[:80]}` is no field that plugins may see")
        for value in _values(condition):
            if not isinstance(value, str) or not value.startswith(("$user", "$tenant")):
                continue
            if value not in PLACEHOLDERS:
                raise RowFilterInvalidError(entity, f"there is no placeholder `{value[:80]}`")
            if condition.operator not in ("eq", "ne", "in"):
                # An id is no pattern, and is neither more nor less than another.
                raise RowFilterInvalidError(entity, f"`{condition.operator}` takes no placeholder")
    return plain_where(nodes)


def filled(where: RowFilter, tenant_id: str, caller: Caller | None) -> list[Node] | None:
    """The nodes with their placeholders filled in; None when it takes an acting user and there is none.

    Raises:
        ComparisonInvalidError: Something that was filled in cannot be compared with.
    """
    nodes, has_placeholders = _parsed(_exact(where))
    if not has_placeholders:
        return list(nodes)
    known = {"$tenant.id": tenant_id}
    if caller is not None:
        known |= {"$user.id": caller.id, "$user.role": caller.role}
    try:
        found = [_replaced(node, lambda value: known[value] if value in PLACEHOLDERS else value) for node in nodes]
    except KeyError:
        # Not a null in its place: there may be rows that belong to nobody.
        return None
    check_conditions(found)
    return found


def is_within(inner: Iterable[Any], outer: Iterable[Any]) -> bool:
    """Whether a filter certainly lets through no more than another: it has all of its conditions."""
    mine = set(map(_exact, inner))
    return all(_exact(node) in mine for node in outer)


def words(where: RowFilter) -> str:
    """The filter for people: “city is “Berlin” and age is at least 18”. Empty when everything passes."""
    return " and ".join(_said(node) for node in parse_where(where))


# To Python `1`, `1.0` and `True` are the same; to a database they are not.
_exact = msgspec.json.Encoder(order="deterministic").encode


@functools.lru_cache(maxsize=4096)
def _parsed(where: bytes) -> tuple[Sequence[Node], bool]:
    """A filter as nodes, and whether there is something to fill in. Every statement needs it, and it rarely changes."""
    nodes = parse_where(msgspec.json.decode(where))
    return nodes, any(value in PLACEHOLDERS for condition in conditions_of(nodes) for value in _values(condition))


def _values(condition: Condition) -> list[Any]:
    return condition.value if isinstance(condition.value, list) else [condition.value]


def _replaced(node: Node, fill: Callable[[Any], Any]) -> Node:
    match node:
        case And():
            return And(tuple(_replaced(inner, fill) for inner in node.nodes))
        case Or():
            return Or(tuple(_replaced(inner, fill) for inner in node.nodes))
        case Not():
            return Not(_replaced(node.node, fill))
        case Condition():
            value = node.value
            return Condition(
                node.field, node.operator, [fill(item) for item in value] if isinstance(value, list) else fill(value)
            )


def _said(node: Node) -> str:
    match node:
        case And():
            return f"({' and '.join(map(_said, node.nodes)) or 'always'})"
        case Or():
            return f"({' or '.join(map(_said, node.nodes)) or 'never'})"
        case Not():
            return f"not ({_said(node.node)})"
        case Condition():
            value = node.value
            told = ", ".join(map(_value, value)) or "nothing" if isinstance(value, list) else _value(value)
            return f"{node.field} {_WORDS[node.operator]} {told}"


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _TOLD.get(value, f"“{value}”")
    return str(value)

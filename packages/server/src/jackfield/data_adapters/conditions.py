"""Conditions and order as plugins send them, checked before any SQL is made of them.

A `where` is a list of nodes, all of which must hold. On the wire, a node is `[field, operator, value]`, or a map with
one key: `{"and": [node…]}`, `{"or": [node…]}`, `{"not": node}`. Nothing in an `and` holds, nothing in an `or` does not.

Their meaning is the same for a plugin's own tables and the host's entities, on every database: values compare with
values of their own type only, null is a value like others (`ne` finds it), and null comes first in ascending order.
A comparison with a field that is null does not hold, so that its `not` does: there is no third answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jackfield.data_adapters.errors import ComparisonInvalidError

__all__ = [
    "INT_MAX",
    "INT_MIN",
    "MAX_DEPTH",
    "MAX_LEAVES",
    "And",
    "Branch",
    "Condition",
    "Leaf",
    "Node",
    "Not",
    "Operator",
    "Or",
    "Order",
    "Scalar",
    "Where",
    "check_conditions",
    "conditions_of",
    "holds",
    "nodes_of",
    "parse_order",
    "parse_where",
    "plain_where",
]

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
"""No database of ours keeps larger integers exactly."""
MAX_LEAVES = 64
MAX_DEPTH = 8
"""Maps within maps."""
_PATTERN_CHARS = 100
"""LIKE costs its length times the text's, inside one step that no deadline can interrupt."""

_Name = Annotated[str, Meta(min_length=1, max_length=65)]
_Int = Annotated[int, Meta(ge=INT_MIN, le=INT_MAX)]
Scalar = bool | _Int | float | str | None
Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "like"]


class Condition(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`[field, operator, value]`."""

    field: _Name
    operator: Operator
    value: Scalar | Annotated[list[Scalar], Meta(max_length=500)]


Leaf = tuple[_Name, Operator, Scalar | Annotated[list[Scalar], Meta(max_length=500)]]
"""A condition as it comes."""


class Branch(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"and_": "and", "or_": "or", "not_": "not"}
):
    """`and`, `or` or `not` as they come; `nodes_of` makes `And`, `Or` and `Not` of them."""

    and_: list[Leaf | Branch] | UnsetType = UNSET
    or_: list[Leaf | Branch] | UnsetType = UNSET
    not_: Leaf | Branch | UnsetType = UNSET


Where = Annotated[list[Leaf | Branch], Meta(max_length=MAX_LEAVES)]
"""The type of a `where` in an operation's arguments; to be passed through `nodes_of`."""


@dataclass(frozen=True, slots=True)
class And:
    """All of them hold."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of them holds."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """It does not hold."""

    node: Node


Node = Condition | And | Or | Not


class Order(NamedTuple):
    """One field to sort by."""

    field: str
    is_descending: bool


def nodes_of(where: Sequence[Leaf | Branch]) -> Sequence[Node]:
    """What was decoded as `Where`, in its typed form, values checked.

    Raises:
        ComparisonInvalidError: Too many conditions, nested too deep, or a value that does not go with its operator.
    """
    nodes = _Reader().nodes(where, 0)
    check_conditions(nodes)
    return nodes


def parse_where(value: object) -> Sequence[Node]:
    """A `where` from plain data, as it is stored or comes from JSON.

    Raises:
        ComparisonInvalidError: It is none.
    """
    try:
        return nodes_of(msgspec.convert(value, Where))
    except (msgspec.ValidationError, RecursionError) as error:
        raise ComparisonInvalidError(f"the conditions cannot be read: {error}"[:300]) from error


def plain_where(nodes: Iterable[Node]) -> list[Any]:
    """Plain data that `parse_where` takes."""
    return [_plain(node) for node in nodes]


def conditions_of(nodes: Iterable[Node]) -> Iterator[Condition]:
    """All leaves."""
    for node in nodes:
        match node:
            case Condition():
                yield node
            case And() | Or():
                yield from conditions_of(node.nodes)
            case Not():
                yield from conditions_of((node.node,))


def check_conditions(nodes: Sequence[Node]) -> None:
    """Refuse values that do not go with their operator.

    Raises:
        ComparisonInvalidError: With the field it is about.
    """
    for condition in conditions_of(nodes):
        value = condition.value
        if condition.operator == "in":
            if not isinstance(value, list):
                raise _wrong(condition, "takes a list")
            for item in value:
                _check_scalar(condition, item)
            continue
        if isinstance(value, list):
            raise _wrong(condition, "takes one value, not a list")
        _check_scalar(condition, value)
        if condition.operator == "like":
            _check_pattern(condition, value)
        elif condition.operator not in ("eq", "ne") and (value is None or isinstance(value, bool)):
            raise _wrong(condition, "takes a number or a text")


def parse_order(names: Sequence[str]) -> list[Order]:
    """`-name` sorts by `name`, descending."""
    return [Order(name.removeprefix("-"), name.startswith("-")) for name in names]


def holds(nodes: Iterable[Node], row: Mapping[str, Any]) -> bool:
    """Whether all of them hold for a row of plain data; a field that it lacks is null. For adapters without SQL."""
    return all(_holds(node, row) for node in nodes)


class _Reader:
    """Counts leaves while it reads."""

    def __init__(self) -> None:
        self._leaves = 0

    def nodes(self, where: Sequence[Leaf | Branch], depth: int) -> tuple[Node, ...]:
        return tuple([self._node(item, depth) for item in where])

    def _node(self, item: Leaf | Branch, depth: int) -> Node:
        if isinstance(item, tuple):
            self._count()
            return Condition(*item)
        if depth >= MAX_DEPTH:
            raise ComparisonInvalidError(f"the conditions are nested deeper than {MAX_DEPTH} levels")
        if sum(part is not UNSET for part in (item.and_, item.or_, item.not_)) != 1:
            raise ComparisonInvalidError("a map among the conditions has one key: `and`, `or` or `not`")
        if item.and_ is not UNSET:
            return And(self._branch(item.and_, depth))
        if item.or_ is not UNSET:
            return Or(self._branch(item.or_, depth))
        return Not(self._node(cast("Leaf | Branch", item.not_), depth + 1))

    def _branch(self, where: Sequence[Leaf | Branch], depth: int) -> tuple[Node, ...]:
        if not where:
            # So that empty maps, which count no leaves, cannot make a tree of any size.
            self._count()
        return self.nodes(where, depth + 1)

    def _count(self) -> None:
        self._leaves += 1
        if self._leaves > MAX_LEAVES:
            raise ComparisonInvalidError(f"there are more than {MAX_LEAVES} conditions")


def _plain(node: Node) -> Any:
    match node:
        case Condition():
            return [node.field, node.operator, node.value]
        case And():
            return {"and": plain_where(node.nodes)}
        case Or():
            return {"or": plain_where(node.nodes)}
        case Not():
            return {"not": _plain(node.node)}


_TOKEN = re.compile(r"\\(.)|.", re.DOTALL)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda value, other: value > other,
    "gte": lambda value, other: value >= other,
    "lt": lambda value, other: value < other,
    "lte": lambda value, other: value <= other,
}


def _holds(node: Node, row: Mapping[str, Any]) -> bool:
    match node:
        case And():
            return all(_holds(inner, row) for inner in node.nodes)
        case Or():
            return any(_holds(inner, row) for inner in node.nodes)
        case Not():
            return not _holds(node.node, row)
        case Condition():
            return _meets(row.get(node.field), node.operator, node.value)


def _meets(value: Any, operator: Operator, other: Any) -> bool:
    if operator == "eq":
        return _is_same(value, other)
    if operator == "ne":
        return not _is_same(value, other)
    if operator == "in":
        return any(_is_same(value, item) for item in other)
    if operator == "like":
        return isinstance(value, str) and _is_like(value, other)
    return _kind(value) == _kind(other) and _COMPARE[operator](value, other)


def _is_same(value: Any, other: Any) -> bool:
    return _kind(value) == _kind(other) and value == other


def _kind(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def _is_like(text: str, pattern: str) -> bool:
    """`%` and `_` as in SQL. Not by a regular expression: its time would grow without bounds with the number of `%`."""
    tokens = [(match[1] or match[0], not match[1]) for match in _TOKEN.finditer(pattern.casefold())]
    text = text.casefold()
    at = token = 0
    anew_at = anew_token = -1
    while at < len(text):
        char, is_bare = tokens[token] if token < len(tokens) else ("", False)
        if is_bare and char == "%":
            anew_at, anew_token = at, token
            token += 1
        elif (is_bare and char == "_") or char == text[at]:
            at, token = at + 1, token + 1
        elif anew_token >= 0:
            # The last `%` takes one character more.
            anew_at += 1
            at, token = anew_at, anew_token + 1
        else:
            return False
    return all(rest == ("%", True) for rest in tokens[token:])


def _check_scalar(condition: Condition, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(condition, "takes no NaN and no infinity")
    if isinstance(value, str) and "\0" in value:
        raise _wrong(condition, "takes no NUL character")


def _check_pattern(condition: Condition, value: Any) -> None:
    if not isinstance(value, str) or len(value) > _PATTERN_CHARS:
        raise _wrong(condition, f"takes a text of at most {_PATTERN_CHARS} characters")
    if (len(value) - len(value.rstrip("\\"))) % 2:
        raise _wrong(condition, "takes a pattern that does not end in the escape character")


def _wrong(condition: Condition, reason: str) -> ComparisonInvalidError:
    return ComparisonInvalidError(f"condition on `{condition.field[:80]}`: `{condition.operator}` {reason}")

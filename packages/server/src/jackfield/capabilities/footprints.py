"""What an operation may read or write, told from its arguments: two that share nothing can be done in any order.

A footprint is a set of names: of keys in storage, of rows and of values that must differ in tables. `ALL` is everything
of the capability; a name behind `?` is only read. Too much costs a rehearsal more; too little would be wrong, so
whatever is not sure is `ALL`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from jackfield.capabilities import uniqueness
from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.declared import Declarations, TableShape
from jackfield.capabilities.operations import fields_of

__all__ = ["ALL", "Footprint", "after", "before", "meet", "merged"]

Footprint = frozenset[str]
ALL: Footprint = frozenset({"*"})
_NOTHING: Footprint = frozenset()


def meet(one: Footprint, other: Footprint) -> bool:
    """Whether one may see what the other does."""
    if one is ALL or other is ALL:
        return bool(one and other)
    return _hits(one, other) or _hits(other, one)


def merged(one: Footprint, other: Footprint) -> Footprint:
    """What either may see."""
    return ALL if one is ALL or other is ALL else one | other


def before(
    declarations: Declarations, context: CapabilityContext, capability: str, name: str, arguments: Any
) -> Footprint:
    """What an operation may meet, before it is done."""
    if capability == "storage":
        return _of_storage(name, arguments)
    if capability != "tables":
        return _NOTHING  # events: nobody reads them here
    if name not in ("get", "insert", "insert_many", "upsert", "update"):
        return ALL
    shape = declarations.of(context.manifest).table(arguments.table)
    if name == "get":
        return frozenset((f"?{_row(arguments.id)}",))
    if name == "update":
        # What it gives up or takes of values that must differ depends on the row that is there.
        return ALL if shape.unique else frozenset((_row(arguments.id), *_refers(shape, _fields(arguments.changes))))
    if name == "upsert" and len(shape.unique) != 1:
        return ALL
    rows: Sequence[msgspec.Raw] = arguments.rows if name == "insert_many" else [arguments.row]
    return frozenset(mark for row in rows for mark in _marks(shape, _fields(row)))


def after(capability: str, name: str, met: Footprint, told: bytes) -> Footprint:
    """The same, once the answer says which rows it was."""
    if capability != "tables" or met is ALL:
        return met
    value = msgspec.msgpack.decode(told)
    if name == "insert":
        return met | {_row(value["id"])}
    if name == "insert_many":
        return met | {_row(row["id"]) for row in value}
    if name == "upsert":
        return met | {_row(value["row"]["id"])}
    return met


def _hits(one: Footprint, other: Footprint) -> bool:
    """Whether something that one writes or reads is written by the other."""
    return any(name.removeprefix("?") in other for name in one)


def _of_storage(name: str, arguments: Any) -> Footprint:
    if name in ("get", "entry", "set", "compare_and_set", "increment", "delete"):
        return frozenset((f"{'?' if name in ('get', 'entry') else ''}={arguments.key}",))
    if name == "get_many":
        return frozenset(f"?={key}" for key in arguments.keys)
    if name == "set_many":
        return frozenset(f"={key}" for key in arguments.items)
    return ALL


def _row(id: str) -> str:
    return f"row:{id}"


def _fields(raw: msgspec.Raw) -> dict[str, Any]:
    return fields_of(raw, "row")


def _marks(shape: TableShape, values: Mapping[str, Any]) -> list[str]:
    return [*uniqueness.names_of(shape, values), *_refers(shape, values)]


def _refers(shape: TableShape, values: Mapping[str, Any]) -> list[str]:
    return [f"?{_row(str(values[column]))}" for column in shape.references if values.get(column) is not None]

"""Index entries beside the rows: kept in each row's transaction, and used to find and sort rows without looking at all.

An index only ever narrows down: the conditions are checked on each row that it finds, so a wrong choice is slow and not
wrong. It is used only where every row is known to have its entries, see `UsageRow.layout`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.declared import Declared, IndexShape, TableShape
from jackfield.capabilities.errors import ReleaseReplacedError
from jackfield.capabilities.index_keys import Span, key_of, span_of
from jackfield.capabilities.models import IndexEntry, UsageRow, core
from jackfield.data_adapters import And, Condition, Node, Order

__all__ = ["Access", "IndexBook", "choose", "entries", "put", "release"]

_SPANS = 100
_INSTALLATIONS = 10_000

_entries, _usage = core(IndexEntry), core(UsageRow)
_PUT = insert(_entries)
_RELEASE = delete(_entries).where(
    _entries.c.installation_id == bindparam("p_installation"),
    _entries.c.tenant_id == bindparam("p_tenant"),
    _entries.c.row_id.in_(bindparam("p_rows", expanding=True)),
)
_LAYOUT = select(_usage.c.layout).where(
    _usage.c.installation_id == bindparam("p_installation"), _usage.c.tenant_id == bindparam("p_tenant")
)


@dataclass(frozen=True, slots=True)
class Access:
    """How rows are looked for.

    Attributes:
        spans: Where in the index they are; one, unless a condition has several values.
        direction: 1 or -1 when the index has the rows in the order that is wanted, or that order backwards; else 0.
    """

    index: IndexShape
    spans: tuple[Span, ...]
    direction: int

    def conditions(self) -> list[list[ColumnElement[bool]]]:
        """Over the entries, beside those of installation and table: for each span."""
        key = _entries.c.key
        return [
            [_entries.c.columns == self.index.name, key >= low, *([key < high] if high is not None else [])]
            for low, high in self.spans
        ]

    def order(self) -> list[ColumnElement[Any]]:
        """For ORDER BY, before the order itself, which decides between rows of one key."""
        if self.direction == 0:
            return []
        return [_entries.c.key.asc() if self.direction > 0 else _entries.c.key.desc()]


def entries(owner: Mapping[str, str], shape: TableShape, id: str, data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of a row. `owner` has `tenant_id` and `installation_id`."""
    return [
        {
            **owner, "table_name": shape.name, "columns": index.name, "row_id": id,
            "key": key_of(shape.value(id, data, name) for name in index.columns),
        }
        for index in shape.indexes
    ]  # fmt: skip


async def release(connection: AsyncConnection, context: CapabilityContext, row_ids: Sequence[str]) -> None:
    """Remove all entries of rows, under whatever release they were made."""
    params = {"p_installation": context.data_id, "p_tenant": context.tenant_id, "p_rows": list(row_ids)}
    await connection.execute(_RELEASE, params)


def choose(shape: TableShape, nodes: Iterable[Node], order: Sequence[Order]) -> Access | None:
    """The index that narrows down most; None when none does, and none has the order."""
    if not shape.indexes:
        return None
    facts = _Facts(nodes)
    best: tuple[tuple[int, bool, bool], Access] | None = None
    for index in shape.indexes:
        found = _measure(index, facts, order)
        if found is not None and (best is None or found[0] > best[0]):
            best = found
    return None if best is None else best[1]


class IndexBook:
    """Knows for which installations the entries are whole."""

    def __init__(self) -> None:
        self._whole: OrderedDict[str, str] = OrderedDict()

    async def is_whole(self, connection: AsyncConnection, context: CapabilityContext, declared: Declared) -> bool:
        """Whether every row has the entries of this release. Once it is so, it stays so: see `check`."""
        holder = context.data_id
        if self._whole.get(holder) == declared.layout:
            return True
        if await self._layout(connection, context) != declared.layout:
            return False
        self._whole[holder] = declared.layout
        if len(self._whole) > _INSTALLATIONS:
            self._whole.popitem(last=False)
        return True

    async def check(self, connection: AsyncConnection, context: CapabilityContext, declared: Declared) -> None:
        """After an index has found nothing: its entries are gone when the release was replaced meanwhile.

        Raises:
            ReleaseReplacedError: It was.
        """
        if await self._layout(connection, context) != declared.layout:
            raise ReleaseReplacedError

    async def _layout(self, connection: AsyncConnection, context: CapabilityContext) -> str | None:
        params = {"p_installation": context.data_id, "p_tenant": context.tenant_id}
        return await connection.scalar(_LAYOUT, params)


class _Facts:
    """What must hold for every row that is wanted, by column."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.equal: dict[str, Any] = {}
        self.among: dict[str, list[Any]] = {}
        self.bounds: dict[str, list[tuple[str, Any]]] = {}
        self._learn(nodes)

    def _learn(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            match node:
                case And():
                    self._learn(node.nodes)
                case Condition(field, "eq", value):
                    self.equal.setdefault(field, value)
                case Condition(field, "in", list() as values) if 0 < len(values) <= _SPANS:
                    self.among.setdefault(field, values)
                case Condition(field, "gt" | "gte" | "lt" | "lte" as operator, value):
                    known = self.bounds.setdefault(field, [])
                    # A number and a text at once hold for nothing, which the conditions themselves will say.
                    if not known or isinstance(known[0][1], str) == isinstance(value, str):
                        known.append((operator, value))
                case _:
                    pass


def _measure(index: IndexShape, facts: _Facts, order: Sequence[Order]) -> tuple[tuple[int, bool, bool], Access] | None:
    fixed: list[list[Any]] = []
    spans = 1
    for name in index.columns:
        if name in facts.equal:
            fixed.append([facts.equal[name]])
        elif name in facts.among and spans * len(facts.among[name]) <= _SPANS:
            fixed.append(facts.among[name])
            spans *= len(facts.among[name])
        else:
            break
    rest = index.columns[len(fixed) :]
    bounds = facts.bounds.get(rest[0], []) if rest else []
    direction = _direction(index, len(fixed), order) if spans == 1 else 0
    if not fixed and not bounds and direction == 0:
        return None
    found = tuple(dict.fromkeys(span_of(values, bounds) for values in product(*fixed)))
    return (len(fixed), bool(bounds), direction != 0), Access(index, found, direction)


def _direction(index: IndexShape, fixed: int, order: Sequence[Order]) -> int:
    wanted = [one for one in order if one.field not in index.columns[:fixed]]
    if not wanted or len({one.is_descending for one in wanted}) > 1:
        return 0
    if tuple(one.field for one in wanted) != index.columns[fixed : fixed + len(wanted)]:
        return 0
    return -1 if wanted[0].is_descending else 1


async def put(connection: AsyncConnection, made: Sequence[Mapping[str, Any]]) -> None:
    """Add entries of rows."""
    if made:
        await connection.execute(_PUT, list(made) if len(made) > 1 else made[0])

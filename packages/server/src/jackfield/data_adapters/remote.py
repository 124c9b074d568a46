"""What all remote adapters have in common: checks before, filtering and sorting after, pages and figures.

An adapter says how far the other side can answer a question (`Asked`). What is left over is done here, over a bounded
number of rows: beyond it the question is refused, because an answer from a part of the rows would be a wrong one.

Nothing there is atomic unless the adapter says so. A row is read before it is changed, for its scope, for what it is
expected to be and for the change log; PostgREST puts all of that into the change itself as well.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, String

from jackfield.data_adapters.conditions import And, Condition, Node, Not, Or, Order, check_conditions, holds
from jackfield.data_adapters.cursors import MAX_OFFSET, open_cursor, query_mark, seal_offset, seal_place
from jackfield.data_adapters.errors import (
    ComparisonInvalidError,
    CursorMismatchError,
    EntityChangedError,
    EntityNotFoundError,
    EntityOutOfScopeError,
    EntityReadOnlyError,
    FeatureMissingError,
    FieldRefusedError,
    FieldValueError,
)
from jackfield.data_adapters.interfaces import (
    Aggregation,
    Author,
    Change,
    DataSession,
    EntitySchema,
    Feature,
    Measure,
    Page,
    Query,
    Row,
    Written,
)
from jackfield.data_adapters.mapping import Mapped, Remote, opened
from jackfield.data_adapters.remote_errors import AdapterTooMuchError

__all__ = ["Asked", "RemoteAdapter"]

_PLACE: Column[str] = Column("place", String)
"""Of a cursor: a plain value."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the other side can be asked.

    Attributes:
        rest: Conditions that it cannot answer.
        is_ordered: Its rows come in the order that was asked for.
        can_skip: Rows can be left out there.
        request: The adapter's own.
    """

    rest: tuple[Node, ...]
    is_ordered: bool
    can_skip: bool
    request: Any = None


class RemoteAdapter(ABC):
    """Base of adapters; a `DataAdapter`.

    Args:
        name: For messages.
        scan_rows: How many rows are looked through here for one question.
    """

    def __init__(self, name: str, entities: Mapping[str, Remote], *, scan_rows: int = 2_000) -> None:
        self._name = name
        self._entities = dict(entities)
        self._scan_rows = scan_rows

    # -- what each adapter knows --------------------------------------------------------------------------------------

    @abstractmethod
    def _ask(self, remote: Remote, tenant_id: str, where: Sequence[Node], order: Sequence[Order]) -> Asked:
        """How far the other side can answer this."""

    @abstractmethod
    def _pages(self, remote: Remote, asked: Asked, start: int, wanted: int) -> AsyncGenerator[list[Any]]:
        """Their rows, page by page until there are no more; `wanted` is a hint."""

    async def _total(self, remote: Remote, asked: Asked) -> int | None:
        """How many rows there are; None when they do not tell."""
        return None

    @abstractmethod
    async def _one(self, remote: Remote, tenant_id: str, key: Any) -> Any | None:
        """Their row with this key, of this tenant."""

    @abstractmethod
    async def _insert(self, remote: Remote, tenant_id: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Add rows of ours; theirs as stored."""

    @abstractmethod
    async def _change(
        self, remote: Remote, tenant_id: str, key: Any, values: Mapping[str, Any], guard: Sequence[Node]
    ) -> Any | None:
        """Change a row, if it still meets the guard; theirs as stored, None when it was not there."""

    @abstractmethod
    async def _remove(self, remote: Remote, tenant_id: str, key: Any, guard: Sequence[Node]) -> bool:
        """Remove a row, if it still meets the guard; whether it was there."""

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """For messages."""
        return self._name

    @property
    def features(self) -> frozenset[Feature]:
        """What it can do."""
        return frozenset({"aggregate"})

    def entities(self) -> tuple[str, ...]:
        """Names of all entities."""
        return tuple(self._entities)

    def key(self, entity: str) -> str:
        """Name of the field by which an entity is found."""
        return opened(self._entities, entity).key.name

    def schema(self, entity: str) -> EntitySchema:
        """Its fields."""
        return opened(self._entities, entity).schema()

    # -- reading ------------------------------------------------------------------------------------------------------

    async def get(self, tenant_id: str, entity: str, id: str, *, scope: Sequence[Node] = ()) -> Row | None:
        """One entity, or None."""
        remote = opened(self._entities, entity)
        scope = _checked(remote, scope)
        return await self._found(remote, tenant_id, id, scope)

    async def list(self, tenant_id: str, entity: str, query: Query, *, scope: Sequence[Node] = ()) -> Page:
        """Entities that meet all conditions."""
        remote = opened(self._entities, entity)
        where = [*_checked(remote, scope), *_checked(remote, query.where)]
        order = _order(remote, query.order)
        mark = query_mark(entity, query, scope)
        if "cursor" in self.features:
            return await self._list_from_place(remote, tenant_id, where, order, query, mark)
        start = query.offset
        if query.cursor is not None:
            place = open_cursor(query.cursor, mark, [_PLACE] * len(order))
            if not isinstance(place, int):
                raise CursorMismatchError
            start = place
        rows = await self._rows(remote, tenant_id, where, order, start, query.limit + 1)
        is_more = len(rows) > query.limit
        end = start + query.limit
        return Page(rows[: query.limit], seal_offset(mark, end) if is_more and end <= MAX_OFFSET else None)

    async def _list_from_place(
        self, remote: Remote, tenant_id: str, where: Sequence[Node], order: Sequence[Order], query: Query, mark: str
    ) -> Page:
        start = query.offset
        if query.cursor is not None:
            place = open_cursor(query.cursor, mark, [_PLACE] * len(order))
            if isinstance(place, int):
                start = place
            else:
                where, start = [*where, _behind(order, _place(remote, order, place))], 0
        rows = await self._rows(remote, tenant_id, where, order, start, query.limit + 1)
        if len(rows) <= query.limit:
            return Page(rows)
        last = rows[query.limit - 1]
        cursor = seal_place(mark, [last[name] for name, _ in order])
        return Page(rows[: query.limit], cursor or seal_offset(mark, start + query.limit))

    async def count(self, tenant_id: str, entity: str, where: Sequence[Node], *, scope: Sequence[Node] = ()) -> int:
        """Number of entities that meet all conditions."""
        remote = opened(self._entities, entity)
        asked = self._ask(remote, tenant_id, [*_checked(remote, scope), *_checked(remote, where)], ())
        if not asked.rest:
            total = await self._total(remote, asked)
            if total is not None:
                return total
        return len(await self._scan(remote, asked))

    async def aggregate(
        self, tenant_id: str, entity: str, aggregation: Aggregation, *, scope: Sequence[Node] = ()
    ) -> list[Row]:
        """A row for each group, worked out here."""
        remote = opened(self._entities, entity)
        for measure in aggregation.measures:
            _check_measure(remote, measure)
        for name in aggregation.group_by:
            _comparable_field(remote, name, "group by")
        known = {*aggregation.group_by, *(measure.name for measure in aggregation.measures)}
        for name, _ in aggregation.order:
            if name not in known:
                raise FieldRefusedError(entity, name, "sort by here")
        where = [*_checked(remote, scope), *_checked(remote, aggregation.where)]
        rows = await self._scan(remote, self._ask(remote, tenant_id, where, ()))
        groups: dict[tuple[Any, ...], list[Row]] = {} if aggregation.group_by else {(): []}
        for row in rows:
            groups.setdefault(tuple(row[name] for name in aggregation.group_by), []).append(row)
        found = [
            {
                **dict(zip(aggregation.group_by, key, strict=True)),
                **{measure.name: _figure(measure, members) for measure in aggregation.measures},
            }
            for key, members in groups.items()
        ]
        order = [*aggregation.order, *(Order(name, False) for name in aggregation.group_by)]
        return _sorted(found, order)[: aggregation.limit]

    async def _found(self, remote: Remote, tenant_id: str, id: str, scope: Sequence[Node]) -> Row | None:
        key = remote.key_value(id)
        if key is None:
            return None
        raw = await self._one(remote, tenant_id, key)
        if raw is None:
            return None
        row = remote.row(raw)
        # What is asked for is what is given, whatever the other side made of it.
        return row if row[remote.key.name] == key and holds(scope, row) else None

    async def _rows(
        self,
        remote: Remote,
        tenant_id: str,
        where: Sequence[Node],
        order: Sequence[Order],
        start: int,
        wanted: int,
    ) -> list[Row]:
        asked = self._ask(remote, tenant_id, where, order)
        if not asked.is_ordered:
            return _sorted(await self._scan(remote, asked), order)[start : start + wanted]
        skip = start if asked.can_skip and not asked.rest else 0
        needed = start + wanted - skip
        rows: list[Row] = []
        read = 0
        async with aclosing(self._pages(remote, asked, skip, needed)) as pages:
            async for page in pages:
                read += len(page)
                rows += [row for row in map(remote.row, page) if holds(asked.rest, row)]
                if len(rows) >= needed:
                    break
                if read > max(self._scan_rows, 0 if asked.rest else needed):
                    raise AdapterTooMuchError(self._name, remote.name, self._scan_rows)
        return rows[start - skip : needed]

    async def _scan(self, remote: Remote, asked: Asked) -> list[Row]:
        """All rows that meet the conditions, in whatever order."""
        rows: list[Row] = []
        read = 0
        async with aclosing(self._pages(remote, asked, 0, self._scan_rows + 1)) as pages:
            async for page in pages:
                read += len(page)
                if read > self._scan_rows:
                    raise AdapterTooMuchError(self._name, remote.name, self._scan_rows)
                rows += [row for row in map(remote.row, page) if holds(asked.rest, row)]
        return rows

    # -- writing ------------------------------------------------------------------------------------------------------

    async def create(
        self,
        tenant_id: str,
        entity: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        scope: Sequence[Node] = (),
        by: Author | None = None,
    ) -> list[Written]:
        """Add entities."""
        remote = self._writable(entity)
        scope = _checked(remote, scope)
        checked = [remote.checked(values) for values in rows]
        for values in checked:
            # Before it is there: nothing can be taken back. What they fill in by themselves counts as null.
            if not holds(scope, values):
                raise EntityOutOfScopeError(entity)
            await self._check_references(remote, tenant_id, values)
        if not checked:
            return []
        written: list[Written] = []
        for raw in await self._insert(remote, tenant_id, checked):
            row = remote.row(raw)
            if not holds(scope, row):
                raise EntityOutOfScopeError(entity)
            written.append(Written(str(row[remote.key.name]), None, row))
        return written

    async def update(
        self,
        tenant_id: str,
        entity: str,
        changes: Sequence[Change],
        *,
        scope: Sequence[Node] = (),
        by: Author | None = None,
    ) -> list[Written]:
        """Change fields of entities: all are looked at before the first is changed."""
        remote = self._writable(entity)
        scope = _checked(remote, scope)
        planned: list[tuple[Any, Row, dict[str, Any], Sequence[Node]]] = []
        known: dict[str, Row] = {}
        for change in changes:
            values = remote.checked(change.values)
            expected = _expected(remote, change.expected)
            before = known.get(change.id) or await self._found(remote, tenant_id, change.id, scope)
            if before is None:
                raise EntityNotFoundError(entity)
            if not holds(expected, before):
                raise EntityChangedError(entity)
            after = {**before, **values}
            if not holds(scope, after):
                raise EntityOutOfScopeError(entity)
            await self._check_references(remote, tenant_id, values)
            known[change.id] = after
            planned.append((before[remote.key.name], before, values, [*scope, *expected]))
        return [
            await self._changed(remote, tenant_id, key, before, values, guard) for key, before, values, guard in planned
        ]

    async def _changed(
        self,
        remote: Remote,
        tenant_id: str,
        key: Any,
        before: Row,
        values: Mapping[str, Any],
        guard: Sequence[Node],
    ) -> Written:
        if not values:
            return Written(str(key), before, before)
        raw = await self._change(remote, tenant_id, key, values, guard)
        if raw is None:
            # It was there a moment ago: it was changed or removed meanwhile.
            if await self._found(remote, tenant_id, str(key), ()) is None:
                raise EntityNotFoundError(remote.name)
            raise EntityChangedError(remote.name)
        return Written(str(key), before, remote.row(raw))

    async def delete(
        self,
        tenant_id: str,
        entity: str,
        id: str,
        *,
        expected: Mapping[str, Any] | None = None,
        scope: Sequence[Node] = (),
        by: Author | None = None,
    ) -> Written | None:
        """Remove one."""
        remote = self._writable(entity)
        scope, wanted = _checked(remote, scope), _expected(remote, expected)
        before = await self._found(remote, tenant_id, id, scope)
        if before is None:
            return None
        if not holds(wanted, before):
            raise EntityChangedError(entity)
        key = before[remote.key.name]
        if not await self._remove(remote, tenant_id, key, [*scope, *wanted]):
            if await self._found(remote, tenant_id, id, ()) is None:
                return None
            raise EntityChangedError(entity)
        return Written(str(key), before, None)

    async def restore(self, tenant_id: str, entity: str, key: str, row: Row, *, by: Author | None = None) -> Written:
        """Keys are theirs to give."""
        raise FeatureMissingError(self._name, "restore")

    def transaction(self, tenant_id: str, *, by: Author | None = None) -> AbstractAsyncContextManager[DataSession]:
        """There are none."""
        raise FeatureMissingError(self._name, "transactions")

    def _writable(self, entity: str) -> Remote:
        remote = opened(self._entities, entity)
        if not remote.writable:
            raise EntityReadOnlyError(entity)
        return remote

    async def _check_references(self, remote: Remote, tenant_id: str, values: Mapping[str, Any]) -> None:
        """A key of another tenant's entity must not get in, or it would be found by following the reference."""
        for name, value in values.items():
            target = self._entities.get(remote.fields[name].field.references)
            if target is None or value is None:
                continue
            if await self._found(target, tenant_id, str(value), ()) is None:
                raise FieldValueError(remote.name, name, "names nothing that is there")


def _order(remote: Remote, order: Sequence[Order]) -> list[Order]:
    """The order with the key behind it, so that it is total."""
    for name, _ in order:
        _comparable_field(remote, name, "sort by")
    key = remote.key.name
    return list(order) if any(name == key for name, _ in order) else [*order, Order(key, False)]


def _comparable_field(remote: Remote, name: str, use: str) -> Mapped:
    mapped = remote.field(name, use)
    if mapped.field.type == "json":
        raise ComparisonInvalidError(f"`{name}` holds data without an order")
    return mapped


def _checked(remote: Remote, nodes: Sequence[Node]) -> list[Node]:
    """Conditions over fields of this entity, with values in the fields' own form.

    Raises:
        FieldRefusedError, ComparisonInvalidError: One does not go with its field.
    """
    check_conditions(nodes)
    return [_checked_node(remote, node) for node in nodes]


def _checked_node(remote: Remote, node: Node) -> Node:
    match node:
        case And():
            return And(tuple(_checked_node(remote, inner) for inner in node.nodes))
        case Or():
            return Or(tuple(_checked_node(remote, inner) for inner in node.nodes))
        case Not():
            return Not(_checked_node(remote, node.node))
        case Condition():
            return _checked_leaf(remote, node)


def _checked_leaf(remote: Remote, leaf: Condition) -> Condition:
    mapped = remote.field(leaf.field, "ask for")
    if leaf.operator == "like":
        if mapped.field.type != "string" or mapped.field.values:
            raise ComparisonInvalidError(f"condition on `{leaf.field}`: `like` is for texts")
        return leaf
    values = leaf.value if isinstance(leaf.value, list) else [leaf.value]
    if mapped.field.type == "json" and any(value is not None for value in values):
        raise ComparisonInvalidError(f"condition on `{leaf.field}`: the field can only be compared with null")
    try:
        fitting = [None if value is None else mapped.check(value) for value in values]
    except ValueError as error:
        raise ComparisonInvalidError(f"condition on `{leaf.field}`: the field {error}") from error
    return Condition(leaf.field, leaf.operator, fitting if isinstance(leaf.value, list) else fitting[0])


def _expected(remote: Remote, expected: Mapping[str, Any] | None) -> list[Node]:
    """What a row must still have, as conditions."""
    nodes: list[Node] = []
    for name, value in (expected or {}).items():
        mapped = remote.field(name, "expect")
        if mapped.field.type == "json":
            raise ComparisonInvalidError(f"`{name}` holds data that is not compared")
        try:
            nodes.append(Condition(name, "eq", None if value is None else mapped.check(value)))
        except ValueError:
            # The field can never have held it: nothing is as it was expected to be.
            nodes.append(Or(()))
    return nodes


def _place(remote: Remote, order: Sequence[Order], values: Sequence[Any]) -> list[Any]:
    """A cursor's values, each of the kind that its field has."""
    try:
        return [
            None if value is None else remote.fields[name].check(value)
            for (name, _), value in zip(order, values, strict=True)
        ]
    except ValueError as error:
        raise CursorMismatchError from error


def _behind(order: Sequence[Order], place: Sequence[Any]) -> Node:
    """Rows that come after a place; null comes first, or last in descending order."""
    alternatives: list[Node] = []
    for index, ((name, is_descending), value) in enumerate(zip(order, place, strict=True)):
        same: list[Node] = [Condition(order[at].field, "eq", place[at]) for at in range(index)]
        if value is None:
            after: Node = Or(()) if is_descending else Condition(name, "ne", None)
        elif is_descending:
            after = Or((Condition(name, "lt", value), Condition(name, "eq", None)))
        else:
            after = Condition(name, "gt", value)
        alternatives.append(And((*same, after)))
    return Or(tuple(alternatives))


def _sorted(rows: list[Row], order: Sequence[Order]) -> list[Row]:
    """Null first, or last in descending order, as every adapter sorts."""
    for name, is_descending in reversed(order):
        rows = sorted(rows, key=functools.partial(_rank, name), reverse=is_descending)
    return rows


def _rank(name: str, row: Row) -> tuple[bool, Any]:
    value = row[name]
    return (value is not None, value if value is not None else 0)


def _check_measure(remote: Remote, measure: Measure) -> None:
    if measure.field is None:
        if measure.function != "count":
            raise ComparisonInvalidError(f"`{measure.function}` takes a field")
        return
    mapped = remote.field(measure.field, "measure")
    kind = mapped.field.type
    if measure.function in ("sum", "avg") and kind not in ("integer", "number"):
        raise ComparisonInvalidError(f"`{measure.function}` of `{measure.field}`: the field holds no numbers")
    if measure.function in ("min", "max") and kind in ("json", "boolean"):
        raise ComparisonInvalidError(f"`{measure.function}` of `{measure.field}`: the field has no order")


def _figure(measure: Measure, rows: Sequence[Row]) -> Any:
    if measure.field is None:
        return len(rows)
    values = [row[measure.field] for row in rows if row[measure.field] is not None]
    match measure.function:
        case "count":
            return len(values)
        case "sum":
            return None if not values else sum(values) if all(isinstance(v, int) for v in values) else math.fsum(values)
        case "avg":
            return math.fsum(values) / len(values) if values else None
        case "min":
            return min(values, default=None)
        case "max":
            return max(values, default=None)

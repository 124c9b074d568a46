"""`tables`: the plugin's own tables. Names come from the release's manifest, values are checked with its schemas."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from jackfield.capabilities.aggregates import Measures, aggregate
from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.cursors import CURSOR_CHARS, read_cursor, write_cursor
from jackfield.capabilities.declared import Declarations, Declared, TableShape
from jackfield.capabilities.errors import AnswerTooLargeError, ArgumentsInvalidError
from jackfield.capabilities.finding import Finder
from jackfield.capabilities.models import TableRow, core
from jackfield.capabilities.operations import (
    ANSWER_BYTES,
    Arguments,
    Capability,
    Id,
    Limit,
    Offset,
    answer,
    fields_of,
    operation,
    plain_value,
)
from jackfield.capabilities.rows import AT_ONCE, ROW_BYTES, Row, RowWriter, new_rows, sized
from jackfield.capabilities.usage import Meter
from jackfield.capabilities.waiting import patient
from jackfield.clock import Clock
from jackfield.data_adapters import Node, Order, Where, nodes_of, parse_order, query_deadline
from jackfield.data_adapters.conditions import Branch, Leaf
from jackfield.db import Database
from jackfield.db.point_reads import PointReader
from jackfield.errors import JackfieldError

__all__ = ["ROW_BYTES", "Tables"]

_BATCH = 100
_ROWS_AT_ONCE = 500
_STEPS = 100

OrderNames = Annotated[list[Annotated[str, Meta(min_length=1, max_length=65)]], Meta(max_length=10)]
_Names = Annotated[list[Annotated[str, Meta(min_length=1, max_length=65)]], Meta(min_length=1, max_length=16)]
_Table = Annotated[str, Meta(max_length=64)]

_rows = core(TableRow)
_GET = select(_rows.c.data).where(
    _rows.c.installation_id == bindparam("p_installation"),
    _rows.c.tenant_id == bindparam("p_tenant"),
    _rows.c.table_name == bindparam("p_table"),
    _rows.c.id == bindparam("p_id"),
)


class _Insert(Arguments, frozen=True):
    table: _Table
    row: msgspec.Raw


class _InsertMany(Arguments, frozen=True):
    table: _Table
    rows: Annotated[list[msgspec.Raw], Meta(max_length=_ROWS_AT_ONCE)]


class _Get(Arguments, frozen=True):
    table: _Table
    id: Id


class _Delete(Arguments, frozen=True):
    table: _Table
    id: Id
    expected: msgspec.Raw | UnsetType = UNSET


class _Find(Arguments, frozen=True):
    table: _Table
    where: Where = msgspec.field(default_factory=list[Leaf | Branch])
    order: OrderNames = msgspec.field(default_factory=list[str])
    limit: Limit = 100
    offset: Offset = 0


class _Page(Arguments, frozen=True):
    table: _Table
    where: Where = msgspec.field(default_factory=list[Leaf | Branch])
    order: OrderNames = msgspec.field(default_factory=list[str])
    limit: Limit = 100
    cursor: Annotated[str, Meta(max_length=CURSOR_CHARS)] | None = None


class _Count(Arguments, frozen=True):
    table: _Table
    where: Where = msgspec.field(default_factory=list[Leaf | Branch])


class _Aggregate(Arguments, frozen=True):
    table: _Table
    measures: Measures
    where: Where = msgspec.field(default_factory=list[Leaf | Branch])
    group_by: Annotated[list[Annotated[str, Meta(min_length=1, max_length=65)]], Meta(max_length=8)] = msgspec.field(
        default_factory=list[str]
    )
    order: OrderNames = msgspec.field(default_factory=list[str])
    limit: Limit = 100


class _Update(Arguments, frozen=True):
    table: _Table
    id: Id
    changes: msgspec.Raw
    expected: msgspec.Raw | UnsetType = UNSET


class _UpdateMany(Arguments, frozen=True):
    table: _Table
    where: Where
    changes: msgspec.Raw


class _DeleteMany(Arguments, frozen=True):
    table: _Table
    where: Where
    limit: Limit = AT_ONCE


class _Upsert(Arguments, frozen=True):
    table: _Table
    unique: _Names
    row: msgspec.Raw


class _Step(Arguments, frozen=True):
    """One step of a transaction; which of the fields it takes, `op` says."""

    op: Literal["insert", "update", "delete", "upsert"]
    table: _Table
    id: msgspec.Raw | UnsetType = UNSET
    values: msgspec.Raw | UnsetType = UNSET
    expected: msgspec.Raw | UnsetType = UNSET
    unique: _Names | UnsetType = UNSET


class _Transaction(Arguments, frozen=True):
    steps: Annotated[list[_Step], Meta(min_length=1, max_length=_STEPS)]


class Tables:
    """The capability.

    Args:
        query_limit_s: How long one find or count may take.
    """

    def __init__(
        self,
        database: Database,
        reader: PointReader,
        meter: Meter,
        declarations: Declarations,
        clock: Clock,
        query_limit_s: float,
    ) -> None:
        self._database = database
        self._reader = reader
        self._meter = meter
        self._declarations = declarations
        self._clock = clock
        self._query_limit_s = query_limit_s
        self._finder = Finder(is_sqlite=database.is_sqlite)
        self.operations: Capability = {
            "insert": operation(_Insert, "tables", patient(self._insert), self._foresee_insert),
            "insert_many": operation(_InsertMany, "tables", patient(self._insert_many), self._foresee_insert_many),
            "get": operation(_Get, "tables", self._get),
            "find": operation(_Find, "tables", self._find),
            "page": operation(_Page, "tables", self._page),
            "count": operation(_Count, "tables", self._count),
            "aggregate": operation(_Aggregate, "tables", self._aggregate),
            "update": operation(_Update, "tables", patient(self._update)),
            "update_many": operation(_UpdateMany, "tables", patient(self._update_many)),
            "upsert": operation(_Upsert, "tables", patient(self._upsert)),
            "delete": operation(_Delete, "tables", patient(self._delete)),
            "delete_many": operation(_DeleteMany, "tables", patient(self._delete_many)),
            "transaction": operation(_Transaction, "tables", patient(self._transaction)),
        }

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _get(self, context: CapabilityContext, arguments: _Get) -> bytes:
        shape = self._shape(context, arguments.table)
        params = {**self._finder.whose(context, shape), "p_id": arguments.id}
        row = await self._reader.fetch_row(_GET, params)
        return answer(None if row is None else shape.shown(arguments.id, row[0]))

    async def _find(self, context: CapabilityContext, arguments: _Find) -> bytes:
        shape = self._shape(context, arguments.table)
        order = parse_order(arguments.order)
        found = await self._rows(
            context, shape, nodes_of(arguments.where), order, arguments.limit, offset=arguments.offset
        )
        return answer([shape.shown(id, data or {}) for id, data, _ in found])

    async def _page(self, context: CapabilityContext, arguments: _Page) -> bytes:
        """As many as fit, and a cursor when there may be more."""
        shape = self._shape(context, arguments.table)
        order = parse_order(arguments.order)
        after = None if arguments.cursor is None else read_cursor(arguments.cursor, shape.name, order)
        nodes, limit = nodes_of(arguments.where), arguments.limit
        found = await self._rows(context, shape, nodes, order, limit + 1, after=after, is_paged=True)
        cursor = None
        if len(found) > limit or (found and found[-1][1] is None):
            found.pop()
            id, _, keys = found[-1]
            cursor = write_cursor(shape.name, order, keys, id)
        return answer({"rows": [shape.shown(id, data or {}) for id, data, _ in found], "cursor": cursor})

    async def _count(self, context: CapabilityContext, arguments: _Count) -> bytes:
        shape = self._shape(context, arguments.table)
        nodes, sql = nodes_of(arguments.where), self._finder.sql(shape)
        sql.meets(nodes)
        declared = self._declared(context)
        async with self._reading(context) as connection:
            access = await self._finder.access(connection, context, declared, shape, nodes)
            statement = self._finder.select(sql, access, nodes, func.count(), order=None)
            count = await connection.scalar(statement, self._finder.whose(context, shape))
            if not count:
                await self._finder.check(connection, context, declared, access)
        return answer(count)

    async def _aggregate(self, context: CapabilityContext, arguments: _Aggregate) -> bytes:
        shape = self._shape(context, arguments.table)
        nodes, order = nodes_of(arguments.where), parse_order(arguments.order)
        declared = self._declared(context)
        sql = self._finder.sql(shape)
        query = aggregate(sql, arguments.measures, arguments.group_by, order)
        async with self._reading(context) as connection:
            access = await self._finder.access(connection, context, declared, shape, nodes)
            statement = self._finder.select(sql, access, nodes, *query.columns, order=None)
            statement = statement.group_by(*query.groups).order_by(*query.order).limit(arguments.limit)
            found = (await connection.execute(statement, self._finder.whose(context, shape))).all()
            if not found or query.is_empty(found):
                await self._finder.check(connection, context, declared, access)
        return answer([query.row(list(row)) for row in found])

    async def _rows(
        self,
        context: CapabilityContext,
        shape: TableShape,
        nodes: Sequence[Node],
        order: Sequence[Order],
        limit: int,
        *,
        offset: int = 0,
        after: tuple[list[Any], str] | None = None,
        is_paged: bool = False,
    ) -> list[tuple[str, Row | None, list[Any]]]:
        """Id, columns, and sort keys when it is paged; a row without columns at the end, when it would not fit."""
        sql, declared = self._finder.sql(shape), self._declared(context)
        keys = [key for key, _ in sql.sort_keys(order)] if is_paged else []
        found: list[tuple[str, Row | None, list[Any]]] = []
        total = 0
        async with self._reading(context) as connection:
            access = await self._finder.access(connection, context, declared, shape, nodes, order)
            also = [] if after is None else [sql.behind(order, *after)]
            statement = self._finder.select(
                sql, access, nodes, _rows.c.id, _rows.c.data, _rows.c.size_bytes, *keys, order=order, also=also
            )
            statement = statement.limit(limit).offset(offset or None).execution_options(yield_per=_BATCH)
            async with connection.stream(statement, self._finder.whose(context, shape)) as rows:
                # By batches: what does not fit the answer is not fetched.
                async for row in rows:
                    id, data, size, *values = tuple[Any, ...](row)
                    total += size + sum(len(value) for value in values if isinstance(value, str))
                    if total > ANSWER_BYTES:
                        if is_paged and found:
                            return [*found, (id, None, [])]
                        raise AnswerTooLargeError(f"the rows have more than {ANSWER_BYTES} bytes together")
                    found.append((id, data, values))
            if not found and after is None and not offset:
                await self._finder.check(connection, context, declared, access)
        return found

    # -- writing -------------------------------------------------------------------------------------------------------

    async def _insert(self, context: CapabilityContext, arguments: _Insert) -> bytes:
        shape = self._shape(context, arguments.table)
        values = fields_of(arguments.row, "row")
        async with self._writing(context) as writer:
            (row,) = await writer.insert(shape, [values])
        return answer(row)

    async def _insert_many(self, context: CapabilityContext, arguments: _InsertMany) -> bytes:
        """All of them or none."""
        shape = self._shape(context, arguments.table)
        values = [fields_of(row, "rows") for row in arguments.rows]
        async with self._writing(context) as writer:
            rows = await writer.insert(shape, values)
        return answer(rows)

    def _foresee_insert(self, context: CapabilityContext, arguments: _Insert) -> bytes | None:
        found = self._foreseen(context, arguments.table, [arguments.row], "row")
        return None if found is None else answer(found[0])

    def _foresee_insert_many(self, context: CapabilityContext, arguments: _InsertMany) -> bytes | None:
        found = self._foreseen(context, arguments.table, arguments.rows, "rows")
        return None if found is None else answer(found)

    def _foreseen(
        self, context: CapabilityContext, table: str, rows: Sequence[msgspec.Raw], what: str
    ) -> list[Row] | None:
        """New rows as they will be seen; None when it takes a look at others to tell."""
        shape = self._shape(context, table)
        if shape.unique or shape.references:
            return None
        made = new_rows(shape, [fields_of(row, what) for row in rows])
        for _, data in made:
            sized(shape, data)
        return [shape.shown(id, data) for id, data in made]

    async def _update(self, context: CapabilityContext, arguments: _Update) -> bytes:
        shape = self._shape(context, arguments.table)
        changes, expected = fields_of(arguments.changes, "changes"), _optional(arguments.expected, "expected")
        async with self._writing(context) as writer:
            row = await writer.update(shape, arguments.id, changes, expected)
        return answer(row)

    async def _update_many(self, context: CapabilityContext, arguments: _UpdateMany) -> bytes:
        shape = self._shape(context, arguments.table)
        nodes, changes = nodes_of(arguments.where), fields_of(arguments.changes, "changes")
        async with self._writing(context) as writer:
            count = await writer.update_where(shape, nodes, changes)
        return answer(count)

    async def _upsert(self, context: CapabilityContext, arguments: _Upsert) -> bytes:
        shape = self._shape(context, arguments.table)
        values = fields_of(arguments.row, "row")
        async with self._writing(context) as writer:
            row, is_new = await writer.upsert(shape, arguments.unique, values)
        return answer({"row": row, "is_new": is_new})

    async def _delete(self, context: CapabilityContext, arguments: _Delete) -> bytes:
        shape = self._shape(context, arguments.table)
        expected = _optional(arguments.expected, "expected")
        async with self._writing(context) as writer:
            was_there = await writer.delete(shape, arguments.id, expected)
        return answer(was_there)

    async def _delete_many(self, context: CapabilityContext, arguments: _DeleteMany) -> bytes:
        shape = self._shape(context, arguments.table)
        nodes: list[Node] = list(nodes_of(arguments.where))
        async with self._writing(context) as writer:
            count = await writer.delete_where(shape, nodes, arguments.limit)
        return answer(count)

    async def _transaction(self, context: CapabilityContext, arguments: _Transaction) -> bytes:
        """All steps or none; the answer has the result of each."""
        results: list[Any] = []
        async with self._writing(context) as writer:
            for number, step in enumerate(arguments.steps):
                try:
                    results.append(await self._do(context, writer, step, results))
                except JackfieldError as error:
                    # Which one it was, the author has to know; what it was stays as it is.
                    error.args = (f"step {number}: {error}",)
                    error.data = {**error.data, "step": number}
                    raise
        return answer([result[0] if isinstance(result, tuple) else result for result in results])

    async def _do(self, context: CapabilityContext, writer: RowWriter, step: _Step, results: list[Any]) -> Any:
        shape = self._shape(context, step.table)
        values = _resolved(_optional(step.values, "values") or {}, results)
        expected = _optional(step.expected, "expected")
        if step.op == "insert":
            return (await writer.insert(shape, [values]))[0]
        if step.op == "upsert":
            if step.unique is UNSET:
                raise ArgumentsInvalidError("an upsert names its `unique` columns")
            return await writer.upsert(shape, step.unique, values)
        if step.id is UNSET:
            raise ArgumentsInvalidError(f"`{step.op}` takes an `id`")
        id = _resolved({"id": plain_value(step.id, "id")}, results)["id"]
        if not isinstance(id, str) or not 0 < len(id) <= 128:
            raise ArgumentsInvalidError("`id` is not a text of 1 to 128 characters")
        if step.op == "update":
            return await writer.update(shape, id, values, expected)
        return await writer.delete(shape, id, expected)

    # -- inside --------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _writing(self, context: CapabilityContext) -> AsyncGenerator[RowWriter]:
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            declared = self._declared(context)
            yield RowWriter(connection, context, declared, self._meter, self._finder, self._clock)

    @asynccontextmanager
    async def _reading(self, context: CapabilityContext) -> AsyncGenerator[AsyncConnection]:
        async with (
            self._database.read(context.tenant_id) as session,
            query_deadline(session, self._query_limit_s) as connection,
        ):
            yield connection

    def _declared(self, context: CapabilityContext) -> Declared:
        return self._declarations.of(context.manifest)

    def _shape(self, context: CapabilityContext, table: str) -> TableShape:
        return self._declarations.of(context.manifest).table(table)


def _optional(raw: msgspec.Raw | UnsetType, what: str) -> dict[str, Any] | None:
    return None if raw is UNSET else fields_of(raw, what)


def _resolved(values: Mapping[str, Any], results: list[Any]) -> dict[str, Any]:
    """Values, with the id of an earlier step's row in place of `{"$step": number}`.

    Raises:
        ArgumentsInvalidError: That step has no row.
    """
    found = dict(values)
    for name, value in found.items():
        if isinstance(value, dict) and value.keys() == {"$step"}:  # pyright: ignore[reportUnknownMemberType]  # data of any shape
            number = cast("dict[str, Any]", value)["$step"]
            result = results[number] if type(number) is int and 0 <= number < len(results) else None
            row = result[0] if isinstance(result, tuple) else result  # pyright: ignore[reportUnknownVariableType]  # the same
            if not isinstance(row, dict):
                raise ArgumentsInvalidError(f"`{name[:80]}`: no earlier step with this number has a row")
            found[name] = row["id"]
    return found

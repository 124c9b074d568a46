"""`tables`: the plugin's own tables. Names come from the release's manifest, values are checked with its schemas."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import bindparam, delete, func, insert, select, update

from jackfield.capabilities import uniqueness
from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.declared import Declarations, TableShape
from jackfield.capabilities.errors import AnswerTooLargeError, RowInvalidError, RowNotFoundError
from jackfield.capabilities.json_sql import JsonSql, PostgresJson, SqliteJson
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
)
from jackfield.capabilities.usage import OVERHEAD, Meter
from jackfield.clock import Clock
from jackfield.data_adapters import Condition, check_conditions, parse_order, query_deadline
from jackfield.db import Database
from jackfield.db.point_reads import PointReader
from jackfield.ids import new_id

__all__ = ["ROW_BYTES", "Tables", "Where"]

ROW_BYTES = 32 * 1024
"""As JSON. A thousand of the largest rows are then what a node can hold for a moment."""
_BATCH = 100

Where = Annotated[list[Condition], Meta(max_length=50)]
OrderNames = Annotated[list[Annotated[str, Meta(min_length=1, max_length=65)]], Meta(max_length=10)]

_rows = core(TableRow)
_of = (
    _rows.c.installation_id == bindparam("p_installation"),
    _rows.c.tenant_id == bindparam("p_tenant"),
    _rows.c.table_name == bindparam("p_table"),
)
_at = (*_of, _rows.c.id == bindparam("p_id"))
_GET = select(_rows.c.data).where(*_at)
_GET_SIZED = select(_rows.c.data, _rows.c.size_bytes).where(*_at)
_PUT = insert(_rows)
_CHANGE = update(_rows).where(*_at).values(data=bindparam("p_data"), size_bytes=bindparam("p_size"))
_DELETE = delete(_rows).where(*_at).returning(_rows.c.size_bytes)


class _Insert(Arguments, frozen=True):
    table: str
    row: msgspec.Raw


class _Get(Arguments, frozen=True):
    table: str
    id: Id


class _Find(Arguments, frozen=True):
    table: str
    where: Where = msgspec.field(default_factory=list[Condition])
    order: OrderNames = msgspec.field(default_factory=list[str])
    limit: Limit = 100
    offset: Offset = 0


class _Count(Arguments, frozen=True):
    table: str
    where: Where = msgspec.field(default_factory=list[Condition])


class _Update(Arguments, frozen=True):
    table: str
    id: Id
    changes: msgspec.Raw


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
        self._sql: type[JsonSql] = SqliteJson if database.is_sqlite else PostgresJson
        self.operations: Capability = {
            "insert": operation(_Insert, "tables", self._insert),
            "get": operation(_Get, "tables", self._get),
            "find": operation(_Find, "tables", self._find),
            "count": operation(_Count, "tables", self._count),
            "update": operation(_Update, "tables", self._update),
            "delete": operation(_Get, "tables", self._delete),
        }

    async def _insert(self, context: CapabilityContext, arguments: _Insert) -> bytes:
        shape = self._shape(context, arguments.table)
        data = shape.new_row(fields_of(arguments.row, "row"))
        row_id, size = new_id("row"), _size(shape, data)
        row = {
            "tenant_id": context.tenant_id, "installation_id": context.installation_id, "table_name": shape.name,
            "id": row_id, "data": data, "size_bytes": size, "created_at": self._clock.now(),
        }  # fmt: skip
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.charge(connection, context, size, 0, rows=1)
            await connection.execute(_PUT, row)
            await uniqueness.claim(connection, context, shape, row_id, data)
        return answer(shape.shown(row_id, data))

    async def _get(self, context: CapabilityContext, arguments: _Get) -> bytes:
        shape = self._shape(context, arguments.table)
        row = await self._reader.fetch_row(_GET, _place(context, shape, arguments.id))
        return answer(None if row is None else shape.shown(arguments.id, row[0]))

    async def _find(self, context: CapabilityContext, arguments: _Find) -> bytes:
        shape = self._shape(context, arguments.table)
        check_conditions(arguments.where)
        sql = self._sql(shape.columns, shape.defaults)
        statement = (
            select(_rows.c.id, _rows.c.data, _rows.c.size_bytes)
            .where(*_of, *sql.meets(arguments.where))
            .order_by(*sql.order(parse_order(arguments.order)))
            .limit(arguments.limit)
            .offset(arguments.offset)
            .execution_options(yield_per=_BATCH)
        )
        found: list[dict[str, Any]] = []
        total = 0
        async with (
            self._database.read(context.tenant_id) as session,
            query_deadline(session, self._query_limit_s) as connection,
            connection.stream(statement, _whose(context, shape)) as rows,
        ):
            # By batches: what does not fit the answer is not fetched.
            async for id, data, size in rows:
                total += size
                if total > ANSWER_BYTES:
                    raise AnswerTooLargeError(f"the rows have more than {ANSWER_BYTES} bytes together")
                found.append(shape.shown(id, data))
        return answer(found)

    async def _count(self, context: CapabilityContext, arguments: _Count) -> bytes:
        shape = self._shape(context, arguments.table)
        check_conditions(arguments.where)
        sql = self._sql(shape.columns, shape.defaults)
        statement = select(func.count()).select_from(_rows).where(*_of, *sql.meets(arguments.where))
        async with (
            self._database.read(context.tenant_id) as session,
            query_deadline(session, self._query_limit_s) as connection,
        ):
            return answer(await connection.scalar(statement, _whose(context, shape)))

    async def _update(self, context: CapabilityContext, arguments: _Update) -> bytes:
        shape = self._shape(context, arguments.table)
        changes = fields_of(arguments.changes, "changes")
        place = _place(context, shape, arguments.id)
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            stored = (await connection.execute(_GET_SIZED, place)).first()
            if stored is None:
                raise RowNotFoundError(shape.name)
            data = shape.changed_row(stored.data, changes)
            size = _size(shape, data)
            await self._meter.charge(connection, context, size, stored.size_bytes)
            await connection.execute(_CHANGE, {**place, "p_data": data, "p_size": size})
            if shape.unique:
                await uniqueness.release(connection, context, arguments.id)
                await uniqueness.claim(connection, context, shape, arguments.id, data)
        return answer(shape.shown(arguments.id, data))

    async def _delete(self, context: CapabilityContext, arguments: _Get) -> bytes:
        shape = self._shape(context, arguments.table)
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            size = await connection.scalar(_DELETE, _place(context, shape, arguments.id))
            if size is not None:
                # Whatever this release says: under an earlier one the row may have taken something.
                await uniqueness.release(connection, context, arguments.id)
                await self._meter.charge(connection, context, 0, size, rows=-1)
        return answer(size is not None)

    def _shape(self, context: CapabilityContext, table: str) -> TableShape:
        return self._declarations.of(context.manifest).table(table)


def _whose(context: CapabilityContext, shape: TableShape) -> dict[str, Any]:
    return {"p_installation": context.installation_id, "p_tenant": context.tenant_id, "p_table": shape.name}


def _place(context: CapabilityContext, shape: TableShape, id: str) -> dict[str, Any]:
    return {**_whose(context, shape), "p_id": id}


def _size(shape: TableShape, data: dict[str, Any]) -> int:
    size = len(msgspec.json.encode(data))
    if size > ROW_BYTES:
        raise RowInvalidError(shape.name, [f"the row has {size} bytes, at most {ROW_BYTES} are kept"])
    return size + OVERHEAD

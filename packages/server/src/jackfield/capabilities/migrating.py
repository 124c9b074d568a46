"""`migration`: rows as they are stored, for a handler that moves them from one release's tables to another's.

It works on a copy, see `staging`, and sees the columns of both releases. What it puts has to fit the table of the
release that runs, or of the other one where that alone has the table or column.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import bindparam, delete, select, update

from jackfield.capabilities import uniqueness
from jackfield.capabilities.context import CapabilityContext, Staging
from jackfield.capabilities.declared import Declarations, Declared, TableShape
from jackfield.capabilities.errors import MigrationOnlyError, RowInvalidError, RowNotFoundError, TableNotDeclaredError
from jackfield.capabilities.models import TableRow, core
from jackfield.capabilities.operations import ANSWER_BYTES, Arguments, Capability, Id, answer, fields_of, operation
from jackfield.capabilities.rows import sized
from jackfield.capabilities.usage import Meter
from jackfield.db import Database

__all__ = ["Migration"]

_AT_ONCE = 500
_ANSWER_BYTES = ANSWER_BYTES // 2

_rows = core(TableRow)
_of = (
    _rows.c.installation_id == bindparam("p_installation"),
    _rows.c.tenant_id == bindparam("p_tenant"),
    _rows.c.table_name == bindparam("p_table"),
)
_PAGE = (
    select(_rows.c.id, _rows.c.data, _rows.c.size_bytes)
    .where(*_of, _rows.c.id > bindparam("p_after"))
    .order_by(_rows.c.id)
)
_AMONG = (*_of, _rows.c.id.in_(bindparam("p_ids", expanding=True)))
_STORED = select(_rows.c.id, _rows.c.data, _rows.c.size_bytes).where(*_AMONG)
_CHANGE = (
    update(_rows)
    .where(*_of, _rows.c.id == bindparam("p_id"))
    .values(data=bindparam("p_data"), size_bytes=bindparam("p_size"))
)
_DELETE = delete(_rows).where(*_AMONG).returning(_rows.c.size_bytes)

_Table = Annotated[str, Meta(max_length=64)]


class _Rows(Arguments, frozen=True):
    table: _Table
    after: Annotated[str, Meta(max_length=128)] = ""
    limit: Annotated[int, Meta(ge=1, le=_AT_ONCE)] = _AT_ONCE


class _Put(Arguments, frozen=True):
    """A row: columns to set and columns to drop; the others stay."""

    id: Id
    set: msgspec.Raw
    drop: Annotated[list[_Table], Meta(max_length=256)] = msgspec.field(default_factory=list[str])


class _PutMany(Arguments, frozen=True):
    table: _Table
    rows: Annotated[list[_Put], Meta(max_length=_AT_ONCE)]


class _Delete(Arguments, frozen=True):
    table: _Table
    ids: Annotated[list[Id], Meta(max_length=_AT_ONCE)]


class Migration:
    """The capability. Only calls that work on a copy have it."""

    def __init__(self, database: Database, meter: Meter, declarations: Declarations) -> None:
        self._database = database
        self._meter = meter
        self._declarations = declarations
        self.operations: Capability = {
            "rows": operation(_Rows, None, self._page),
            "put": operation(_PutMany, None, self._put),
            "delete": operation(_Delete, None, self._delete),
        }

    async def _page(self, context: CapabilityContext, arguments: _Rows) -> bytes:
        """Rows by id, and `after` for the next ones; null when there are no more."""
        place = self._place(context, arguments.table)
        found: list[dict[str, Any]] = []
        total = 0
        async with self._database.read(context.tenant_id) as session:
            connection = await session.connection()
            statement = _PAGE.limit(arguments.limit + 1)
            for id, data, size in await connection.execute(statement, {**place, "p_after": arguments.after}):
                total += size
                if len(found) == arguments.limit or (found and total > _ANSWER_BYTES):
                    return answer({"rows": found, "after": found[-1]["id"]})
                found.append({**data, "id": id})
        return answer({"rows": found, "after": None})

    async def _put(self, context: CapabilityContext, arguments: _PutMany) -> bytes:
        """All of them or none; how many."""
        place = self._place(context, arguments.table)
        shapes = self._shapes(context, arguments.table)
        changes = {row.id: (fields_of(row.set, "set"), row.drop) for row in arguments.rows}
        for given, _ in changes.values():
            _check(shapes, arguments.table, given)
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            stored = {
                id: (data, size)
                for id, data, size in await connection.execute(_STORED, {**place, "p_ids": list(changes)})
            }
            if len(stored) < len(changes):
                raise RowNotFoundError(arguments.table)
            made: list[tuple[str, dict[str, Any]]] = []
            params: list[dict[str, Any]] = []
            for id, (given, drop) in changes.items():
                kept = {name: value for name, value in stored[id][0].items() if name not in drop}
                data = {**kept, **given}
                made.append((id, data))
                params.append({**place, "p_id": id, "p_data": data, "p_size": sized(shapes[0], data)})
            if not params:
                return answer(0)
            before = sum(size for _, size in stored.values())
            await self._meter.charge(connection, context, sum(row["p_size"] for row in params), before)
            await connection.execute(_CHANGE, params)
            await uniqueness.release(connection, context, [id for id, _ in made])
            owner = {"tenant_id": context.tenant_id, "installation_id": context.data_id}
            if shapes[0].unique:
                # Whether all differ is looked at when all is moved: on the way they need not.
                await uniqueness.claim_all(connection, owner, shapes[0], made)
        return answer(len(made))

    async def _delete(self, context: CapabilityContext, arguments: _Delete) -> bytes:
        """Remove rows, whoever refers to them; how many were there."""
        place = self._place(context, arguments.table)
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            sizes = list(await connection.scalars(_DELETE, {**place, "p_ids": arguments.ids}))
            if sizes:
                await uniqueness.release(connection, context, arguments.ids)
                await self._meter.charge(connection, context, 0, sum(sizes), rows=-len(sizes))
        return answer(len(sizes))

    def _place(self, context: CapabilityContext, table: str) -> dict[str, Any]:
        self._shapes(context, table)
        return {"p_installation": context.data_id, "p_tenant": context.tenant_id, "p_table": table}

    def _shapes(self, context: CapabilityContext, table: str) -> list[TableShape]:
        """The table in the release that runs and in the other one, as far as they have it."""
        found = [
            declared.table(table)
            for declared in (self._declarations.of(context.manifest), self._other(context.staging))
            if any(one.name == table for one in declared.manifest.tables)
        ]
        if not found:
            raise TableNotDeclaredError(table)
        return found

    def _other(self, staging: Staging | None) -> Declared:
        if staging is None:
            raise MigrationOnlyError
        return self._declarations.of(staging.other)


def _check(shapes: list[TableShape], table: str, given: dict[str, Any]) -> None:
    problems: list[str] = []
    for name, value in given.items():
        shape = next((shape for shape in shapes if name in shape.columns), None)
        if shape is None:
            problems.append(f"{name[:80]}: neither release has such a column")
        else:
            problems += shape.problems(name, value)
    if problems:
        raise RowInvalidError(table, problems)

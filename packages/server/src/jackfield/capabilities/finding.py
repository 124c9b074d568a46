"""Finding rows by condition, by an index where one helps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, FromClause, Select, bindparam, select, true, union_all
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.util import ClauseAdapter

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.declared import Declared, TableShape
from jackfield.capabilities.indexes import Access, IndexBook, choose
from jackfield.capabilities.json_sql import JsonSql, sql_of
from jackfield.capabilities.models import IndexEntry, TableRow, core
from jackfield.data_adapters import Node, Order

__all__ = ["Finder", "Found"]

Found = tuple[str, dict[str, Any], int]
"""Id, columns as stored, size in bytes."""

_rows, _entries = core(TableRow), core(IndexEntry)
_of = (
    _rows.c.installation_id == bindparam("p_installation"),
    _rows.c.tenant_id == bindparam("p_tenant"),
    _rows.c.table_name == bindparam("p_table"),
)
_entries_of = (
    _entries.c.installation_id == bindparam("p_installation"),
    _entries.c.tenant_id == bindparam("p_tenant"),
    _entries.c.table_name == bindparam("p_table"),
)
_entry = select(_entries.c.installation_id, _entries.c.table_name, _entries.c.row_id)


class Finder:
    """Makes the statements."""

    def __init__(self, *, is_sqlite: bool) -> None:
        self._sql = sql_of(is_sqlite=is_sqlite)
        self._is_sqlite = is_sqlite
        self._book = IndexBook()

    def sql(self, shape: TableShape) -> JsonSql:
        """Conditions over a table."""
        return self._sql(shape.columns, shape.defaults)

    async def access(
        self,
        connection: AsyncConnection,
        context: CapabilityContext,
        declared: Declared,
        shape: TableShape,
        nodes: Sequence[Node],
        order: Sequence[Order] = (),
    ) -> Access | None:
        """The index to be used, if any."""
        found = choose(shape, nodes, order)
        if found is None or not await self._book.is_whole(connection, context, declared):
            return None
        return found

    def select(
        self,
        sql: JsonSql,
        access: Access | None,
        nodes: Sequence[Node],
        *columns: Any,
        order: Sequence[Order] | None,
        also: Sequence[ColumnElement[bool]] = (),
    ) -> Select[*tuple[Any, ...]]:
        """Columns of the rows that meet conditions; in order unless that is None. Its parameters are from `whose`.

        Args:
            also: Further conditions over `jf_table_rows`.
        """
        meets = [*sql.meets(nodes), *also]
        keys = [] if order is None else sql.order(order)
        statement: Select[*tuple[Any, ...]]
        if access is None:
            statement = select(*columns).select_from(_rows).where(*_of, *meets)
            return statement.order_by(*keys)
        source: FromClause = _entries
        narrowed = [*_entries_of, *access.conditions()[0]]
        if len(access.spans) > 1:
            # One after the other: an OR of ranges makes SQLite look at all entries. No row is in two of them.
            source = union_all(*(_entry.where(*_entries_of, *span) for span in access.conditions())).subquery()
            narrowed = []
        joined = (
            _rows.c.installation_id == source.c.installation_id,
            _rows.c.table_name == source.c.table_name,
            _rows.c.id == source.c.row_id,
        )
        if self._is_sqlite:
            statement = select(*columns).select_from(source, _rows).where(*narrowed, *_of, *joined, *meets)
            return statement.order_by(*access.order(), *keys)
        # PostgreSQL takes an installation that it has no figures about for one with one row, and would begin with the
        # rows. The limit makes it look each of them up by its key instead, in the order of the entries.
        row = select(_rows).where(*joined, *meets).limit(1).lateral("found")
        adapt = cast("Callable[[Any], ColumnElement[Any]]", ClauseAdapter(row).traverse)
        statement = (
            select(*[adapt(column) for column in columns]).select_from(source).join(row, true()).where(*narrowed)
        )
        return statement.order_by(*access.order(), *map(adapt, keys))

    async def find(
        self,
        connection: AsyncConnection,
        context: CapabilityContext,
        declared: Declared,
        shape: TableShape,
        nodes: Sequence[Node],
        *,
        limit: int,
    ) -> list[Found]:
        """Rows that meet conditions, by id, for a transaction that changes them."""
        sql = self.sql(shape)
        access = await self.access(connection, context, declared, shape, nodes)
        statement = self.select(sql, access, nodes, _rows.c.id, _rows.c.data, _rows.c.size_bytes, order=())
        rows = await connection.execute(statement.limit(limit), self.whose(context, shape))
        found: list[Found] = [(row[0], row[1], row[2]) for row in rows]
        if access is not None and not found:
            await self._book.check(connection, context, declared)
        return found

    async def check(
        self, connection: AsyncConnection, context: CapabilityContext, declared: Declared, access: Access | None
    ) -> None:
        """To be called when a read by an index has found nothing.

        Raises:
            ReleaseReplacedError: The entries are another release's by now.
        """
        if access is not None:
            await self._book.check(connection, context, declared)

    def whose(self, context: CapabilityContext, shape: TableShape) -> dict[str, Any]:
        """Parameters of the statements."""
        return {"p_installation": context.data_id, "p_tenant": context.tenant_id, "p_table": shape.name}

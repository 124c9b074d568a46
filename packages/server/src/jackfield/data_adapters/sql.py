"""Entities in the host's own tables, in the platform's database.

Every statement carries `tenant_column == tenant_id`, and names only columns that the surface opens: a hidden column is
as unknown as one that does not exist, in conditions and order too, where answers would otherwise tell what it holds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import Executable, String, bindparam, select

from jackfield.clock import Clock
from jackfield.data_adapters.change_log import ChangeLog
from jackfield.data_adapters.conditions import Node, conditions_of
from jackfield.data_adapters.deadlines import query_deadline
from jackfield.data_adapters.errors import EntityNotOpenError
from jackfield.data_adapters.interfaces import (
    Aggregation,
    Asking,
    Author,
    Change,
    DataAdapter,
    EntitySchema,
    Feature,
    Page,
    Query,
    Row,
    Written,
)
from jackfield.data_adapters.quick_reads import QuickReader, TookTooLongError
from jackfield.data_adapters.sql_entity import SqlEntity
from jackfield.data_adapters.sql_session import (
    PLACE,
    Executes,
    SqlSession,
    aggregate_rows,
    collisions,
    count_rows,
    list_page,
)
from jackfield.db import Database
from jackfield.db.point_reads import PointReader
from jackfield.surface import Surface

__all__ = ["HostOnly", "SqlAdapter"]

T = TypeVar("T")
_SQLITE_S = 0.25
_QUICK_ROWS = 200
_FEATURES: frozenset[Feature] = frozenset(
    {"transactions", "aggregate", "cursor", "batch-atomic", "restore", "change-log"}
)


class SqlAdapter:
    """A `DataAdapter` over the surface's entities.

    Args:
        query_limit_s: How long one list, count, aggregation or write may take.
        transaction_limit_s: How long a transaction may take; when absent, as long as a query, and on SQLite, where
            it keeps all other writers of the node waiting, a quarter of a second at most.

    Raises:
        ValueError: The surface opens a column of a type that has no plain form.
    """

    name = PLACE
    features = _FEATURES

    def __init__(
        self,
        database: Database,
        surface: Surface,
        *,
        query_limit_s: float = 2.0,
        transaction_limit_s: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._limit_s = query_limit_s
        if transaction_limit_s is None:
            transaction_limit_s = min(query_limit_s, _SQLITE_S) if database.is_sqlite else query_limit_s
        self._transaction_limit_s = transaction_limit_s
        self._log = ChangeLog(clock)
        self._reader = PointReader(database)
        self._quick = QuickReader(database)
        self._entities = {name: SqlEntity(entity, surface) for name, entity in surface.entity_index.items()}
        self._gets = {name: _get(entity) for name, entity in self._entities.items()}

    def entities(self) -> tuple[str, ...]:
        """Names of all entities."""
        return tuple(self._entities)

    def key(self, entity: str) -> str:
        """Name of the field by which an entity is found."""
        return self._opened(entity).key_name

    def schema(self, entity: str) -> EntitySchema:
        """Its fields."""
        return self._opened(entity).schema

    async def get(self, tenant_id: str, entity: str, id: str, *, scope: Sequence[Node] = ()) -> Row | None:
        """One entity, or None."""
        opened = self._opened(entity)
        if scope:
            async with self._database.read(tenant_id) as session:
                return await SqlSession(session, self._opened, tenant_id, self._log).get(entity, id, scope=scope)
        key = opened.read_key(id)
        if key is None:
            return None
        row = await self._reader.fetch_row(self._gets[entity], {"p_tenant": tenant_id, "p_key": key})
        return None if row is None else opened.plain(row)

    async def list(self, tenant_id: str, entity: str, query: Query, *, scope: Sequence[Node] = ()) -> Page:
        """Entities that meet all conditions."""
        opened = self._opened(entity)
        is_short = query.limit <= _QUICK_ROWS and not _has_patterns(query.where, scope)
        return await self._read(
            tenant_id, entity, lambda on: list_page(on, opened, tenant_id, query, scope), is_short=is_short
        )

    async def count(self, tenant_id: str, entity: str, where: Sequence[Node], *, scope: Sequence[Node] = ()) -> int:
        """Number of entities that meet all conditions."""
        opened = self._opened(entity)
        is_short = not _has_patterns(where, scope)
        return await self._read(
            tenant_id, entity, lambda on: count_rows(on, opened, tenant_id, where, scope), is_short=is_short
        )

    async def aggregate(
        self, tenant_id: str, entity: str, aggregation: Aggregation, *, scope: Sequence[Node] = ()
    ) -> list[Row]:
        """Figures over entities."""
        opened = self._opened(entity)
        is_short = not _has_patterns(aggregation.where, scope)
        return await self._read(
            tenant_id, entity, lambda on: aggregate_rows(on, opened, tenant_id, aggregation, scope), is_short=is_short
        )

    async def create(
        self,
        tenant_id: str,
        entity: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        scope: Sequence[Node] = (),
        by: Author | None = None,
    ) -> list[Written]:
        """Add entities, all or none."""
        async with self._writing(tenant_id, by) as session:
            return await session.create(entity, rows, scope=scope)

    async def update(
        self,
        tenant_id: str,
        entity: str,
        changes: Sequence[Change],
        *,
        scope: Sequence[Node] = (),
        by: Author | None = None,
    ) -> list[Written]:
        """Change entities, all or none."""
        async with self._writing(tenant_id, by) as session:
            return await session.update(entity, changes, scope=scope)

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
        async with self._writing(tenant_id, by) as session:
            return await session.delete(entity, id, expected=expected, scope=scope)

    async def restore(self, tenant_id: str, entity: str, key: str, row: Row, *, by: Author | None = None) -> Written:
        """Put back what was deleted."""
        async with self._writing(tenant_id, by) as session:
            return await session.restore(entity, key, row)

    @asynccontextmanager
    async def transaction(self, tenant_id: str, *, by: Author | None = None) -> AsyncGenerator[SqlSession]:
        """Several steps, as if nobody else was there meanwhile."""
        async with collisions(), self._database.write(tenant_id) as session:
            if not self._database.is_sqlite:
                # Before the first statement: later, it could not be chosen any more.
                await session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
            async with query_deadline(session, self._transaction_limit_s):
                yield SqlSession(session, self._opened, tenant_id, self._log, by=by, keeps=True)

    async def _read(self, tenant_id: str, entity: str, run: Callable[[Executes], Awaitable[T]], *, is_short: bool) -> T:
        """Run a query: at once if it may be quick, or else on a connection of its own, within its time."""
        if is_short and self._quick.is_quick(entity):
            try:
                return await run(self._quick)
            except TookTooLongError:
                self._quick.rest(entity)
        async with self._database.read(tenant_id) as session, query_deadline(session, self._limit_s) as connection:
            return await run(connection)

    @asynccontextmanager
    async def _writing(self, tenant_id: str, by: Author | None) -> AsyncGenerator[SqlSession]:
        async with self._database.write(tenant_id) as session, query_deadline(session, self._limit_s):
            yield SqlSession(session, self._opened, tenant_id, self._log, by=by)

    def _opened(self, entity: str) -> SqlEntity:
        try:
            return self._entities[entity]
        except KeyError:
            raise EntityNotOpenError(entity) from None


class HostOnly:
    """An `AdapterSource` for which everything is in one place."""

    def __init__(self, host: DataAdapter) -> None:
        self._host = host

    @property
    def host(self) -> DataAdapter:
        """The place."""
        return self._host

    async def of(self, asking: Asking) -> DataAdapter:
        """The same for everybody."""
        del asking
        return self._host


def _has_patterns(*wheres: Sequence[Node]) -> bool:
    """LIKE takes one step, however long it takes."""
    return any(condition.operator == "like" for where in wheres for condition in conditions_of(where))


def _get(opened: SqlEntity) -> Executable:
    """Reads one row outside of any session, so that nothing narrows it but its own conditions."""
    tenant, key = bindparam("p_tenant", type_=String()), bindparam("p_key", type_=opened.key.type)
    return select(*opened.readable.values()).where(opened.tenant == tenant, opened.key == key)

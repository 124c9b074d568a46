"""Entities in the host's own tables, in the platform's database.

Every statement carries `tenant_column == tenant_id`, and names only columns that the surface opens: a hidden column is
as unknown as one that does not exist, in conditions and order too, where answers would otherwise tell what it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, delete, func, insert, or_, select, true, types, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.data_adapters.conditions import Condition, Order, check_conditions
from jackfield.data_adapters.deadlines import query_deadline, sqlstate
from jackfield.data_adapters.errors import (
    ComparisonInvalidError,
    EntityConflictError,
    EntityNotFoundError,
    EntityNotOpenError,
    EntityReadOnlyError,
    FieldRefusedError,
    FieldValueError,
)
from jackfield.data_adapters.fields import FieldMismatchError, is_json, key_reader, plain, writer
from jackfield.db import Database
from jackfield.surface import Entity, Surface

__all__ = ["SqlAdapter"]


class SqlAdapter:
    """A `DataAdapter` over the surface's entities.

    Args:
        query_limit_s: How long one list or count may take.

    Raises:
        ValueError: The surface opens a column of a type that has no plain form.
    """

    def __init__(self, database: Database, surface: Surface, *, query_limit_s: float = 2.0) -> None:
        self._database = database
        self._limit_s = query_limit_s
        self._entities = {name: _Opened(entity, surface) for name, entity in surface.entity_index.items()}

    def entities(self) -> tuple[str, ...]:
        """Names of all entities."""
        return tuple(self._entities)

    def key(self, entity: str) -> str:
        """Name of the field by which an entity is found."""
        return self._opened(entity).key_name

    async def get(self, tenant_id: str, entity: str, id: str) -> dict[str, Any] | None:
        """One entity, or None."""
        opened = self._opened(entity)
        async with self._database.read(tenant_id) as session:
            return await opened.one(session, tenant_id, id)

    async def list(
        self, tenant_id: str, entity: str, where: Sequence[Condition], order: Sequence[Order], limit: int, offset: int
    ) -> list[dict[str, Any]]:
        """Entities that meet all conditions."""
        opened = self._opened(entity)
        statement = opened.select(tenant_id, where).order_by(*opened.order(order)).limit(limit).offset(offset)
        async with self._database.read(tenant_id) as session, query_deadline(session, self._limit_s) as connection:
            return [opened.plain(row) for row in await connection.execute(statement)]

    async def count(self, tenant_id: str, entity: str, where: Sequence[Condition]) -> int:
        """Number of entities that meet all conditions."""
        opened = self._opened(entity)
        statement = select(func.count()).select_from(opened.table).where(opened.of(tenant_id), opened.meets(where))
        async with self._database.read(tenant_id) as session, query_deadline(session, self._limit_s) as connection:
            return (await connection.execute(statement)).scalar_one()

    async def create(self, tenant_id: str, entity: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add one."""
        opened = self._opened(entity)
        row = opened.row(values)
        row[opened.tenant_name] = tenant_id
        async with self._database.write(tenant_id) as session:
            await opened.check_references(session, tenant_id, row)
            key = await opened.insert(session, row)
            statement = opened.select(tenant_id, ()).where(opened.key == key)
            return opened.plain((await session.execute(statement)).one())

    async def update(self, tenant_id: str, entity: str, id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change fields of one."""
        opened = self._opened(entity)
        row = opened.row(changes)
        async with self._database.write(tenant_id) as session:
            if row:
                await opened.check_references(session, tenant_id, row)
                await opened.change(session, update(opened.table).where(*opened.at(tenant_id, id)).values(row))
            found = await opened.one(session, tenant_id, id)
            if found is None:
                raise EntityNotFoundError(entity)
            return found

    async def delete(self, tenant_id: str, entity: str, id: str) -> bool:
        """Remove one; whether this tenant had it."""
        opened = self._opened(entity)
        opened.check_writable()
        async with self._database.write(tenant_id) as session:
            return await opened.change(session, delete(opened.table).where(*opened.at(tenant_id, id))) > 0

    def _opened(self, entity: str) -> _Opened:
        try:
            return self._entities[entity]
        except KeyError:
            raise EntityNotOpenError(entity) from None


class _Opened:
    """One entity of the surface, with everything that can be worked out once."""

    def __init__(self, entity: Entity, surface: Surface) -> None:
        columns = entity.table.columns
        self._name = entity.name
        self.table = entity.table
        self.tenant_name = columns[entity.tenant_column].name
        self._tenant = columns[entity.tenant_column]
        self.key_name = entity.key
        self.key = columns[entity.key]
        self._read_key = key_reader(self.key)
        self._readable = {name: columns[name] for name in entity.readable}
        self._writable = {name: columns[name] for name in entity.writable}
        self._writers = {name: writer(columns[name]) for name in {*entity.readable, *entity.writable}}
        self._references = {name: _target(column, surface) for name, column in self._writable.items()}

    # -- reading -----------------------------------------------------------------------------------------------------

    def of(self, tenant_id: str) -> ColumnElement[bool]:
        return self._tenant == tenant_id

    def at(self, tenant_id: str, id: str) -> list[ColumnElement[bool]]:
        """Exactly the tenant's entity with this key."""
        key = self._read_key(id)
        # `key == None` would be `IS NULL`, which a careless table might even have.
        return [self.of(tenant_id), (self.key == key) if key is not None else ~true()]

    def select(self, tenant_id: str, where: Sequence[Condition]) -> Select[Any]:
        return select(*self._readable.values()).where(self.of(tenant_id), self.meets(where))

    def plain(self, row: Any) -> dict[str, Any]:
        return {name: plain(value) for name, value in zip(self._readable, row, strict=True)}

    async def one(self, session: AsyncSession, tenant_id: str, id: str) -> dict[str, Any] | None:
        statement = select(*self._readable.values()).where(*self.at(tenant_id, id))
        row = (await session.execute(statement)).first()
        return None if row is None else self.plain(row)

    def order(self, order: Sequence[Order]) -> list[ColumnElement[Any]]:
        found: list[ColumnElement[Any]] = []
        for name, is_descending in order:
            column = self._readable_column(name, "sort by")
            if is_json(column):
                raise ComparisonInvalidError(f"`{name}` holds data without an order")
            found.append(column.desc().nulls_last() if is_descending else column.asc().nulls_first())
        return [*found, self.key]

    def meets(self, where: Sequence[Condition]) -> ColumnElement[bool]:
        check_conditions(where)
        meets: ColumnElement[bool] = true()
        for condition in where:
            meets &= self._predicate(condition)
        return meets

    def _predicate(self, condition: Condition) -> ColumnElement[bool]:
        column = self._readable_column(condition.field, "ask for")
        operator, value = condition.operator, condition.value
        if operator == "like":
            if not isinstance(column.type, types.String) or isinstance(column.type, types.Enum):
                raise ComparisonInvalidError(f"condition on `{condition.field}`: `like` is for texts")
            return column.ilike(value, escape="\\")
        if isinstance(value, list):
            values = [self._comparable(condition, item) for item in value if item is not None]
            among = column.in_(values)
            return or_(column.is_(None), among) if None in value else among
        if value is None:
            return column.is_(None) if operator == "eq" else column.is_not(None)
        right = self._comparable(condition, value)
        match operator:
            case "eq":
                return column == right
            case "ne":
                return or_(column.is_(None), column != right)
            case "gt":
                return column > right
            case "gte":
                return column >= right
            case "lt":
                return column < right
            case _:
                return column <= right

    def _comparable(self, condition: Condition, value: Any) -> Any:
        if is_json(self._readable[condition.field]):
            raise ComparisonInvalidError(f"condition on `{condition.field}`: the field can only be compared with null")
        try:
            return self._writers[condition.field](value)
        except FieldMismatchError as error:
            raise ComparisonInvalidError(f"condition on `{condition.field}`: the field {error}") from error

    def _readable_column(self, name: str, use: str) -> Column[Any]:
        try:
            return self._readable[name]
        except KeyError:
            raise FieldRefusedError(self._name, name, use) from None

    # -- writing -----------------------------------------------------------------------------------------------------

    def check_writable(self) -> None:
        if not self._writable:
            raise EntityReadOnlyError(self._name)

    def row(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What a plugin sent as the columns' own values."""
        self.check_writable()
        row: dict[str, Any] = {}
        for name, value in values.items():
            column = self._writable.get(name)
            if column is None:
                raise FieldRefusedError(self._name, name, "set")
            try:
                row[column.name] = self._writers[name](value)
            except FieldMismatchError as error:
                raise FieldValueError(self._name, name, str(error)) from error
        return row

    async def check_references(self, session: AsyncSession, tenant_id: str, row: Mapping[str, Any]) -> None:
        """A key of another tenant's entity must not get in, or it would be found by following the reference."""
        for name, target in self._references.items():
            value = row.get(self._writable[name].name)
            if target is None or value is None:
                continue
            key, tenant = target
            if (await session.execute(select(key).where(key == value, tenant == tenant_id))).first() is None:
                raise FieldValueError(self._name, name, "names nothing that is there")

    async def insert(self, session: AsyncSession, row: Mapping[str, Any]) -> Any:
        """The new row's key."""
        result = await self._run(session, insert(self.table).values(row))
        primary = [column.name for column in self.table.primary_key.columns]
        return result.inserted_primary_key[primary.index(self.key.name)]

    async def change(self, session: AsyncSession, statement: Any) -> int:
        """Number of rows that were changed."""
        return (await self._run(session, statement)).rowcount

    async def _run(self, session: AsyncSession, statement: Any) -> Any:
        try:
            return await session.execute(statement)
        except IntegrityError as error:
            raise EntityConflictError(self._name) from error
        except StatementError as error:
            # From the database, its driver, or a type decorator of the host.
            if _is_about_values(error):
                raise FieldValueError(self._name, "*", "a value does not fit its column") from error
            raise


def _is_about_values(error: StatementError) -> bool:
    if isinstance(error, DataError) or not isinstance(error, DBAPIError):
        return True
    # Drivers differ in what they call it. SQLSTATE has a class for it; a driver that sees it itself says ValueError.
    state = sqlstate(error)
    return state.startswith("22") if state else isinstance(getattr(error.orig, "__cause__", None), ValueError)


def _target(column: Column[Any], surface: Surface) -> tuple[Column[Any], Column[Any]] | None:
    """Key and tenant column of the entity that a column refers to, when that is one of the surface's."""
    tables = {entity.table.key: entity for entity in surface.entity_index.values()}
    for foreign_key in column.foreign_keys:
        target = foreign_key.column
        entity = tables.get(getattr(target.table, "key", ""))
        if entity is not None and target.name == entity.table.columns[entity.key].name:
            return entity.table.columns[entity.key], entity.table.columns[entity.tenant_column]
    return None

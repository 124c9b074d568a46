"""A transaction over the surface's entities."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from sqlalchemy import Executable, Result, Select, delete, func, insert, literal, null, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.data_adapters.change_log import ChangeLog
from jackfield.data_adapters.conditions import INT_MAX, INT_MIN, Node, check_conditions
from jackfield.data_adapters.cursors import open_cursor, query_mark, seal_offset, seal_place
from jackfield.data_adapters.deadlines import sqlstate
from jackfield.data_adapters.errors import (
    ComparisonInvalidError,
    CursorMismatchError,
    EntityConflictError,
    EntityNotFoundError,
    EntityOutOfScopeError,
    FieldValueError,
    TransactionConflictError,
)
from jackfield.data_adapters.fields import plain
from jackfield.data_adapters.interfaces import Aggregation, Author, Change, Page, Query, Row, Written
from jackfield.data_adapters.sql_entity import SqlEntity

__all__ = ["PLACE", "Executes", "SqlSession", "aggregate_rows", "collisions", "count_rows", "list_page", "translated"]

PLACE = "the host's database"
"""Name of the adapter."""
_COLLISIONS = frozenset({"40001", "40P01"})
"""SQLSTATE of a transaction that could not be put in a row with others, and of a deadlock."""


class Executes(Protocol):
    """A connection, as far as reading goes."""

    def execute(self, statement: Executable, /) -> Awaitable[Result[Any]]:
        """Run a statement; the result is buffered."""
        ...


@dataclass(frozen=True, slots=True)
class _Image:
    """All columns of a row, hidden ones too, by name: what `redo` compares and writes."""

    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class SqlSession:
    """A `DataSession`.

    Args:
        opened: Entity of a name; raises `EntityNotOpenError`.
        by: Author for the log; None: nothing is logged.
        keeps: Whether what was read must stay true until the end, and what was written can be redone.
    """

    def __init__(
        self,
        session: AsyncSession,
        opened: Any,
        tenant_id: str,
        log: ChangeLog,
        *,
        by: Author | None = None,
        keeps: bool = False,
    ) -> None:
        self._session = session
        self._opened = opened
        self._tenant_id = tenant_id
        self._log = log
        self._by = by
        self._keeps = keeps

    # -- reading -----------------------------------------------------------------------------------------------------

    async def get(self, entity: str, id: str, *, scope: Sequence[Node] = ()) -> Row | None:
        """One entity, or None."""
        opened: SqlEntity = self._opened(entity)
        statement = opened.select(*opened.at(self._tenant_id, id), *self._scope(opened, scope))
        row = (await self._run(opened, self._held(opened, statement))).first()
        return None if row is None else opened.plain(row)

    async def list(self, entity: str, query: Query, *, scope: Sequence[Node] = ()) -> Page:
        """A page."""
        opened: SqlEntity = self._opened(entity)
        return await list_page(
            await self._session.connection(), opened, self._tenant_id, query, scope, is_held=self._keeps
        )

    async def count(self, entity: str, where: Sequence[Node], *, scope: Sequence[Node] = ()) -> int:
        """How many."""
        opened: SqlEntity = self._opened(entity)
        return await count_rows(await self._session.connection(), opened, self._tenant_id, where, scope)

    async def aggregate(self, entity: str, aggregation: Aggregation, *, scope: Sequence[Node] = ()) -> list[Row]:
        """Figures."""
        opened: SqlEntity = self._opened(entity)
        return await aggregate_rows(await self._session.connection(), opened, self._tenant_id, aggregation, scope)

    # -- writing -----------------------------------------------------------------------------------------------------

    async def create(
        self, entity: str, rows: Sequence[Mapping[str, Any]], *, scope: Sequence[Node] = ()
    ) -> list[Written]:
        """Add entities."""
        opened: SqlEntity = self._opened(entity)
        opened.check_writable()
        written = await self._insert(opened, [opened.row(values) for values in rows], scope)
        return await self._logged(entity, written)

    async def restore(self, entity: str, key: str, row: Row) -> Written:
        """Put back what was deleted."""
        opened: SqlEntity = self._opened(entity)
        opened.check_writable()
        written = await self._insert(opened, [opened.restored(key, row)], ())
        return (await self._logged(entity, written))[0]

    async def update(self, entity: str, changes: Sequence[Change], *, scope: Sequence[Node] = ()) -> list[Written]:
        """Change entities."""
        opened: SqlEntity = self._opened(entity)
        opened.check_writable()
        found = [opened.row(change.values) for change in changes]
        nodes = self._scope(opened, scope)
        written = [await self._change(opened, change, row, nodes) for change, row in zip(changes, found, strict=True)]
        return await self._logged(entity, written)

    async def delete(
        self, entity: str, id: str, *, expected: Mapping[str, Any] | None = None, scope: Sequence[Node] = ()
    ) -> Written | None:
        """Remove one."""
        opened: SqlEntity = self._opened(entity)
        opened.check_writable()
        at = opened.at(self._tenant_id, id)
        row = await self._locked(opened, [*at, *self._scope(opened, scope)])
        if row is None:
            return None
        self._check_expected(opened, row, expected)
        await self._run(opened, delete(opened.table).where(*at))
        written = Written(_key_text(row[opened.key]), opened.seen(row), None, self._image(opened, row, None))
        return (await self._logged(entity, [written]))[0]

    async def redo(self, entity: str, written: Sequence[Written]) -> None:
        """Write once more, with the very same values."""
        opened: SqlEntity = self._opened(entity)
        for item in written:
            image: _Image = item.redo
            at = opened.at(self._tenant_id, item.key)
            row = await self._locked(opened, at)
            if (None if row is None else _by_name(opened, row)) != image.before:
                raise TransactionConflictError
            if image.before == image.after:
                continue
            try:
                if image.after is None:
                    await self._run(opened, delete(opened.table).where(*at))
                    continue
                before = image.before or {}
                changed = {
                    column.name: image.after[column.name]
                    for column in opened.table.columns
                    if column.computed is None
                    and (
                        image.before is None
                        or image.after[column.name] != before[column.name]
                        # SQLAlchemy would put another value in.
                        or column.onupdate is not None
                    )
                }
                await self._check_references(opened, changed)
                values = {name: _bound(opened, name, value) for name, value in changed.items()}
                if image.before is None:
                    await self._run(opened, insert(opened.table).values(values))
                elif values:
                    await self._run(opened, update(opened.table).where(*at).values(values))
            except (EntityConflictError, FieldValueError) as error:
                # The first time, it fitted.
                raise TransactionConflictError from error
        await self._logged(entity, written)

    async def _insert(self, opened: SqlEntity, rows: Sequence[dict[str, Any]], scope: Sequence[Node]) -> list[Written]:
        version = opened.version
        known: set[tuple[str, Any]] = set()
        for row in rows:
            row[opened.tenant.name] = self._tenant_id
            if version is not None and version.default is None and version.server_default is None:
                row.setdefault(version.name, 1)
            await self._check_references(opened, row, known)
        stored: list[Mapping[Any, Any]] = []
        # Rows with the same columns go together: each statement is a round to the database.
        for _, part in groupby(rows, key=lambda row: row.keys()):
            statement = insert(opened.table).returning(*opened.table.columns, sort_by_parameter_order=True)
            result = await self._run(opened, statement, list(part))
            stored += [row._mapping for row in result.all()]
        nodes = self._scope(opened, scope)
        written: list[Written] = []
        for row in stored:
            key = _key_text(row[opened.key])
            if nodes:
                await self._check_scope(opened, key, nodes)
            written.append(Written(key, None, opened.seen(row), self._image(opened, None, row)))
        return written

    async def _change(self, opened: SqlEntity, change: Change, values: dict[str, Any], nodes: list[Any]) -> Written:
        at = opened.at(self._tenant_id, change.id)
        row = await self._locked(opened, [*at, *nodes])
        if row is None:
            raise EntityNotFoundError(opened.name)
        self._check_expected(opened, row, change.expected)
        before = opened.seen(row)
        key = _key_text(row[opened.key])
        if not values:
            return Written(key, before, before, self._image(opened, row, row))
        await self._check_references(opened, values)
        if (version := opened.version) is not None:
            values[version.name] = func.coalesce(version, 0) + 1
        statement = update(opened.table).where(*at).values(values).returning(*opened.table.columns)
        result = await self._run(opened, statement)
        stored = result.one()._mapping
        if nodes:
            await self._check_scope(opened, key, nodes)
        return Written(key, before, opened.seen(stored), self._image(opened, row, stored))

    async def _locked(self, opened: SqlEntity, where: Sequence[Any]) -> Mapping[Any, Any] | None:
        """All columns of one row, which nobody else changes until the transaction ends."""
        statement = select(*opened.table.columns).where(*where).with_for_update()
        row = (await self._run(opened, statement)).first()
        return None if row is None else row._mapping

    async def _check_scope(self, opened: SqlEntity, key: str, nodes: Sequence[Any]) -> None:
        statement = select(literal(1)).select_from(opened.table).where(*opened.at(self._tenant_id, key), *nodes)
        if (await self._run(opened, statement)).first() is None:
            raise EntityOutOfScopeError(opened.name)

    async def _check_references(
        self, opened: SqlEntity, row: Mapping[str, Any], known: set[tuple[str, Any]] | None = None
    ) -> None:
        """A key of another tenant's entity must not get in, or it would be found by following the reference.

        Args:
            known: Those that were found before, by field.
        """
        for name, target in opened.references.items():
            value = row.get(opened.visible[name].name)
            if value is None or (known is not None and (name, value) in known):
                continue
            statement = select(target.key).where(target.key == value, target.tenant == self._tenant_id)
            if (await self._run(opened, statement)).first() is None:
                raise FieldValueError(opened.name, name, "names nothing that is there")
            if known is not None:
                known.add((name, value))

    def _check_expected(self, opened: SqlEntity, row: Mapping[Any, Any], expected: Mapping[str, Any] | None) -> None:
        if expected:
            opened.check_expected(row, expected, is_whole=self._by is not None and self._by.reverts is not None)

    def _image(
        self, opened: SqlEntity, before: Mapping[Any, Any] | None, after: Mapping[Any, Any] | None
    ) -> _Image | None:
        if not self._keeps:
            return None
        return _Image(
            None if before is None else _by_name(opened, before), None if after is None else _by_name(opened, after)
        )

    async def _logged(self, entity: str, written: Sequence[Written]) -> list[Written]:
        if self._by is not None:
            await self._log.append(self._session, self._tenant_id, PLACE, self._by, entity, written)
        return list(written)

    def _scope(self, opened: SqlEntity, scope: Sequence[Node]) -> list[Any]:
        check_conditions(scope)
        return opened.meets(scope)

    def _held(self, opened: SqlEntity, statement: Select[Any]) -> Select[Any]:
        return held(opened, statement) if self._keeps else statement

    async def _run(self, opened: SqlEntity, statement: Any, rows: list[dict[str, Any]] | None = None) -> Any:
        # On the connection: what the session would add is for the platform's own models.
        connection = await self._session.connection()
        with translated(opened.name):
            return await connection.execute(statement, rows)


def held(opened: SqlEntity, statement: Select[Any]) -> Select[Any]:
    """The statement, so that what it finds stays as it is until the transaction ends; where plugins may write, since
    the platform may have no right to lock what it has no right to change."""
    return statement.with_for_update(key_share=True) if opened.writable else statement


async def list_page(
    connection: Executes,
    opened: SqlEntity,
    tenant_id: str,
    query: Query,
    scope: Sequence[Node],
    *,
    is_held: bool = False,
) -> Page:
    """A page of a list.

    Raises:
        CursorMismatchError: The cursor is none, or belongs to another query.
    """
    check_conditions(query.where)
    check_conditions(scope)
    order = opened.order(query.order)
    columns = [opened.column(item.field) for item in order]
    where = [opened.of(tenant_id), *opened.meets(scope), *opened.meets(query.where)]
    offset, mark = query.offset, ""
    if query.cursor is not None:
        mark = query_mark(opened.name, query, scope)
        place = open_cursor(query.cursor, mark, columns)
        if isinstance(place, int):
            offset = place
        else:
            where.append(opened.behind(order, place))
    statement = opened.select(*where).order_by(*opened.ordered(order)).limit(query.limit + 1)
    if offset:
        statement = statement.offset(offset)
    if is_held:
        statement = held(opened, statement)
    try:
        with translated(opened.name, is_read=True):
            rows = (await connection.execute(statement)).all()
    except ComparisonInvalidError as error:
        # The conditions were checked against their columns; what a cursor holds was not.
        raise (error if query.cursor is None else CursorMismatchError()) from error
    page = [opened.plain(row) for row in rows[: query.limit]]
    if len(rows) <= query.limit:
        return Page(page)
    mark = mark or query_mark(opened.name, query, scope)
    cursor = None
    if opened.is_key_readable:
        # Otherwise it must not be in a cursor either.
        last = dict(zip(opened.readable, rows[query.limit - 1], strict=True))
        cursor = seal_place(mark, [last[item.field] for item in order])
    return Page(page, cursor or seal_offset(mark, offset + query.limit))


async def count_rows(
    connection: Executes, opened: SqlEntity, tenant_id: str, where: Sequence[Node], scope: Sequence[Node]
) -> int:
    """Number of entities."""
    check_conditions(where)
    check_conditions(scope)
    statement = (
        select(func.count())
        .select_from(opened.table)
        .where(opened.of(tenant_id), *opened.meets(scope), *opened.meets(where))
    )
    with translated(opened.name, is_read=True):
        return (await connection.execute(statement)).scalar_one()


async def aggregate_rows(
    connection: Executes,
    opened: SqlEntity,
    tenant_id: str,
    aggregation: Aggregation,
    scope: Sequence[Node],
) -> list[Row]:
    """Groups with their figures."""
    check_conditions(aggregation.where)
    check_conditions(scope)
    statement = opened.aggregate(tenant_id, aggregation, scope)
    names = [*aggregation.group_by, *(measure.name for measure in aggregation.measures)]
    whole = [False] * len(aggregation.group_by) + [
        measure.function == "count"
        or (measure.function != "avg" and measure.field is not None and opened.is_whole(measure.field))
        for measure in aggregation.measures
    ]
    try:
        with translated(opened.name, is_read=True):
            rows = (await connection.execute(statement)).all()
    except DBAPIError as error:
        if "integer overflow" in str(error.orig):
            raise ComparisonInvalidError("a sum does not fit 64 bits") from error
        raise
    return [
        {name: _figure(value, is_whole) for name, value, is_whole in zip(names, row, whole, strict=True)}
        for row in rows
    ]


class translated:  # noqa: N801  # used as a statement, like `contextlib.suppress`
    """What the database says, in our words."""

    __slots__ = ("_entity", "_is_read")

    def __init__(self, entity: str, *, is_read: bool = False) -> None:
        self._entity = entity
        self._is_read = is_read

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, StatementError):
            return
        if isinstance(error, IntegrityError):
            raise EntityConflictError(self._entity) from error
        if isinstance(error, DBAPIError) and sqlstate(error) in _COLLISIONS:
            raise TransactionConflictError(may_pass=True) from error
        # From the database, its driver, or a type decorator of the host.
        if _is_about_values(error):
            if self._is_read:
                raise ComparisonInvalidError("a value does not fit the field that it is compared with") from error
            raise FieldValueError(self._entity, "*", "a value does not fit its column") from error


@asynccontextmanager
async def collisions() -> AsyncGenerator[None]:
    """Around a whole transaction, whose commit may fail as well."""
    try:
        yield
    except DBAPIError as error:
        if sqlstate(error) in _COLLISIONS:
            raise TransactionConflictError(may_pass=True) from error
        raise


def _is_about_values(error: StatementError) -> bool:
    if isinstance(error, DataError) or not isinstance(error, DBAPIError):
        return True
    # Drivers differ in what they call it. SQLSTATE has a class for it; a driver that sees it itself says ValueError.
    state = sqlstate(error)
    return state.startswith("22") if state else isinstance(getattr(error.orig, "__cause__", None), ValueError)


def _figure(value: Any, is_whole: bool) -> Any:
    """PostgreSQL adds whole numbers up to a decimal."""
    if value is None or not is_whole:
        return plain(value)
    number = int(value)
    return number if INT_MIN <= number <= INT_MAX else float(number)


def _by_name(opened: SqlEntity, row: Mapping[Any, Any]) -> dict[str, Any]:
    return {column.name: row[column] for column in opened.table.columns}


def _bound(opened: SqlEntity, name: str, value: Any) -> Any:
    """SQLAlchemy would write None into a JSON column as JSON's own null."""
    return null() if value is None else value


def _key_text(value: Any) -> str:
    return str(plain(value))

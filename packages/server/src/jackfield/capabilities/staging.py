"""Moving the data of an installation to another release's layout: a copy is worked on, and put in its place at once.

The copy is the installation's rows and storage under an id of its own. While it is made and migrated nobody may write
the original, and everybody reads it. Putting the copy in place is one transaction; what was there before is kept under
another id, without entries for indexes and unique groups, or is gone.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, delete, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from jackfield.capabilities import indexes, uniqueness
from jackfield.capabilities.declared import Declared, TableShape
from jackfield.capabilities.errors import UniquenessLackingError
from jackfield.capabilities.models import IndexEntry, SecretValue, StorageItem, TableRow, UniqueEntry, UsageRow, core
from jackfield.capabilities.references import check_dangling
from jackfield.db import Database

__all__ = [
    "Amount",
    "Stage",
    "close_writes",
    "copy_secrets",
    "discard",
    "forget_layout",
    "measure",
    "open_writes",
    "put_in_place",
]

BATCH = 1_000
_EXAMPLES = 20

_rows, _items, _usage, _secrets = core(TableRow), core(StorageItem), core(UsageRow), core(SecretValue)
_unique, _index = core(UniqueEntry), core(IndexEntry)


class Amount(dict[str, int]):
    """`rows`, `storage_keys`, `size_bytes`."""


async def measure(session: AsyncSession, tenant_id: str, holder: str) -> Amount:
    """How much there is under an id."""
    connection = await session.connection()
    found = Amount()
    sizes = 0
    for name, table in (("rows", _rows), ("storage_keys", _items)):
        query = select(func.count(), func.coalesce(func.sum(table.c.size_bytes), 0)).where(
            *_of(table, tenant_id, holder)
        )
        count, size = (await connection.execute(query)).one()
        found[name] = int(count)
        sizes += int(size)
    found["size_bytes"] = sizes
    return found


async def close_writes(session: AsyncSession, tenant_id: str, installation_id: str, operation_id: str) -> None:
    """From this transaction's end on nobody may write, until `open_writes`. Writers that have begun are waited for."""
    connection = await session.connection()
    make = insert_sqlite if connection.dialect.name == "sqlite" else insert_postgresql
    await connection.execute(
        make(_usage)
        .values(
            installation_id=installation_id, tenant_id=tenant_id, used_bytes=0, used_rows=0, closed_by=operation_id
        )
        .on_conflict_do_update(index_elements=["installation_id"], set_={"closed_by": operation_id})
    )  # fmt: skip


async def open_writes(
    session: AsyncSession, tenant_id: str, installation_id: str, operation_id: str, layout: str | None = None
) -> None:
    """Let writers in again; with a layout, only those of a release that has it, and the index entries are whole."""
    values: dict[str, Any] = {"closed_by": None} if layout is None else {"closed_by": None, "layout": layout}
    connection = await session.connection()
    is_ours = or_(_usage.c.closed_by == operation_id, _usage.c.closed_by.is_(None))
    await connection.execute(update(_usage).where(*_of(_usage, tenant_id, installation_id), is_ours).values(values))
    if layout is None:
        # Of one that has nothing, it was made only to be closed.
        nothing = (_usage.c.used_bytes == 0, _usage.c.used_rows == 0, _usage.c.layout.is_(None))
        await connection.execute(delete(_usage).where(*_of(_usage, tenant_id, installation_id), *nothing))


async def forget_layout(session: AsyncSession, tenant_id: str, installation_id: str) -> None:
    """Let releases of any layout write, without indexes: what was kept of an installation is taken up by another."""
    connection = await session.connection()
    await connection.execute(update(_usage).where(*_of(_usage, tenant_id, installation_id)).values(layout=None))


async def discard(session: AsyncSession, tenant_id: str, holder: str, *, secrets: bool = True) -> None:
    """Remove a copy."""
    connection = await session.connection()
    for table in (_items, _unique, _index, _rows, _usage, *((_secrets,) if secrets else ())):
        await connection.execute(delete(table).where(*_of(table, tenant_id, holder)))


async def copy_secrets(session: AsyncSession, tenant_id: str, source: str, target: str) -> None:
    """Give a copy the secrets of an installation, or an installation exactly those of a copy, encrypted as they are."""
    connection = await session.connection()
    await connection.execute(delete(_secrets).where(*_of(_secrets, tenant_id, target)))
    await connection.execute(_copied(_secrets, tenant_id, source, target))


async def put_in_place(
    session: AsyncSession,
    tenant_id: str,
    installation_id: str,
    copy_id: str,
    *,
    keep_as: str | None,
    is_counted: bool = False,
) -> None:
    """The copy becomes the installation's data, with the entries it has; what was there is kept as `keep_as`, or gone.

    What the installation takes of its space is corrected by the difference, so that whatever else it keeps stays
    counted.

    Args:
        is_counted: The copy was written to meanwhile and has counted it, together with what else was charged.
    """
    connection = await session.connection()
    before, after = await measure(session, tenant_id, installation_id), await measure(session, tenant_id, copy_id)
    counted = await connection.scalar(select(_usage.c.used_bytes).where(*_of(_usage, tenant_id, copy_id)))
    for table in (_unique, _index):
        await connection.execute(delete(table).where(*_of(table, tenant_id, installation_id)))
    for table in (_rows, _items):
        if keep_as is None:
            await connection.execute(delete(table).where(*_of(table, tenant_id, installation_id)))
        else:
            await _rename(connection, table, tenant_id, installation_id, keep_as)
    for table in (_rows, _items, _unique, _index):
        await _rename(connection, table, tenant_id, copy_id, installation_id)
    await connection.execute(delete(_usage).where(*_of(_usage, tenant_id, copy_id)))
    used: Any = (
        counted
        if is_counted and counted is not None
        else _usage.c.used_bytes + after["size_bytes"] - before["size_bytes"]
    )
    await connection.execute(
        update(_usage).where(*_of(_usage, tenant_id, installation_id)).values(used_bytes=used, used_rows=after["rows"])
    )


class Stage:
    """Makes a copy and gets it ready. Each step is begun anew when it was cut off, and no transaction is long."""

    def __init__(self, database: Database, tenant_id: str, installation_id: str, copy_id: str) -> None:
        self._database = database
        self._tenant_id = tenant_id
        self._installation_id = installation_id
        self._copy_id = copy_id

    async def copy(self) -> Amount:
        """Copy rows and storage as they are, after removing what an earlier attempt has left."""
        await self.drop()
        async with self._database.read(self._tenant_id) as session:
            connection = await session.connection()
            query = select(_rows.c.table_name).where(*self._source(_rows)).distinct()
            tables = sorted(await connection.scalars(query))
        for name in tables:
            await self._copy(_rows, _rows.c.id, _rows.c.table_name == name)
            await self._copy_unique(name)
        await self._copy(_items, _items.c.key)
        async with self._database.write(self._tenant_id) as session:
            connection = await session.connection()
            original = await measure(session, self._tenant_id, self._installation_id)
            amount = await measure(session, self._tenant_id, self._copy_id)
            used = await connection.scalar(select(_usage.c.used_bytes).where(*self._source(_usage)))
            await connection.execute(
                insert(_usage).values(
                    installation_id=self._copy_id, tenant_id=self._tenant_id, used_rows=amount["rows"],
                    used_bytes=(used or 0) - original["size_bytes"] + amount["size_bytes"],
                )
            )  # fmt: skip
        return amount

    async def drop(self) -> None:
        """Remove the copy."""
        async with self._database.write(self._tenant_id) as session:
            await discard(session, self._tenant_id, self._copy_id)

    async def strip(self) -> None:
        """Remove the copy's entries; its rows stay."""
        async with self._database.write(self._tenant_id) as session:
            connection = await session.connection()
            for table in (_unique, _index):
                await connection.execute(delete(table).where(*_of(table, self._tenant_id, self._copy_id)))

    async def prepare(self, declared: Declared, known: Declared) -> None:
        """Make the entries for indexes, unique groups and references of a release, and check what it holds anew.

        Args:
            known: The release that the data comes from; what it has demanded already is not checked again.

        Raises:
            UniquenessLackingError: Rows are alike in a group that must differ.
            ReferencesDanglingError: Rows refer to what is not there.
        """
        await self.strip()
        alike: list[dict[str, Any]] = []
        for shape in declared.tables():
            if shape.unique or shape.indexes:
                alike += await self._prepare(shape)
        if alike:
            raise UniquenessLackingError(alike[:_EXAMPLES], len(alike))
        async with self._database.read(self._tenant_id) as session:
            connection = await session.connection()
            await check_dangling(connection, self._tenant_id, self._copy_id, declared, known)

    async def _prepare(self, shape: TableShape) -> list[dict[str, Any]]:
        alike: list[dict[str, Any]] = []
        mine = _of(_rows, self._tenant_id, self._copy_id)
        after = ""
        while True:
            async with self._database.write(self._tenant_id) as session:
                connection = await session.connection()
                query = (
                    select(_rows.c.id, _rows.c.data)
                    .where(*mine, _rows.c.table_name == shape.name, _rows.c.id > after)
                    .order_by(_rows.c.id)
                    .limit(BATCH)
                )
                found = [(id, data) for id, data in await connection.execute(query)]
                if not found:
                    return alike
                owner = {"tenant_id": self._tenant_id, "installation_id": self._copy_id}
                entries = [entry for id, data in found for entry in indexes.entries(owner, shape, id, data)]
                if entries:
                    await connection.execute(insert(_index), entries)
                alike += await uniqueness.claim_all(connection, owner, shape, found)
                after = found[-1][0]

    async def _copy(self, table: Table, key: Any, *also: Any) -> None:
        after: Any = None
        while True:
            async with self._database.write(self._tenant_id) as session:
                connection = await session.connection()
                begin = () if after is None else (key > after,)
                keys = select(key).where(*self._source(table), *also, *begin).order_by(key).limit(BATCH).subquery()
                last = await connection.scalar(select(func.max(keys.c[0])))
                if last is None:
                    return
                statement = _copied(
                    table, self._tenant_id, self._installation_id, self._copy_id, *also, *begin, key <= last
                )
                await connection.execute(statement)
                after = last

    async def _copy_unique(self, name: str) -> None:
        """What rows have taken of unique groups, so that a migration that adds rows meets those that are there."""
        async with self._database.write(self._tenant_id) as session:
            connection = await session.connection()
            statement = _copied(
                _unique, self._tenant_id, self._installation_id, self._copy_id, _unique.c.table_name == name
            )
            await connection.execute(statement)

    def _source(self, table: Table) -> tuple[Any, ...]:
        return _of(table, self._tenant_id, self._installation_id)


def _of(table: Table, tenant_id: str, holder: str) -> tuple[Any, ...]:
    return table.c.installation_id == holder, table.c.tenant_id == tenant_id


def _copied(table: Table, tenant_id: str, source: str, target: str, *also: Any) -> Any:
    names = [column.name for column in table.c]
    values = [literal(target) if name == "installation_id" else table.c[name] for name in names]
    query = select(*values).where(*_of(table, tenant_id, source), *also)
    return insert(table).from_select(names, query)


async def _rename(connection: AsyncConnection, table: Table, tenant_id: str, source: str, target: str) -> None:
    await connection.execute(update(table).where(*_of(table, tenant_id, source)).values(installation_id=target))

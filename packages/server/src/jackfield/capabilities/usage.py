"""The space that one installation takes, kept exact by the transactions that change it, and held to its limits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    String,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.declared import Declarations
from jackfield.capabilities.errors import ReleaseReplacedError, RowsFullError, StorageFullError, UpdateUnderwayError
from jackfield.capabilities.models import UsageRow, core
from jackfield.db import Database
from jackfield.quotas import Space

__all__ = ["OVERHEAD", "Meter", "SpaceOf"]

OVERHEAD = 200
"""Bytes that a key or row counts beside its content: names, ids, index entries. Millions of empty ones are not free."""

SpaceOf = Callable[[str], Space]
"""What the installations of a tenant may keep now."""

_NO_LIMIT = sys.maxsize
_NEAR_ROWS = 1_000
_NEAR_BYTES = 16 * 1024 * 1024
_WRITERS = 64
"""How many are reckoned to write as much at the same moment."""
_TENANTS_TURN = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("p_tenant", type_=String), 0x6A6675)))

_usage = core(UsageRow)


def _number(name: str) -> Any:
    return bindparam(name, type_=BigInteger)


_installation, _tenant = bindparam("p_installation", type_=String), bindparam("p_tenant", type_=String)
_added, _rows = _number("p_added"), _number("p_rows")
_layout = bindparam("p_layout", type_=String)
# One whose data is being moved is counted by the copy.
_of_others = (
    _usage.c.tenant_id == _tenant, _usage.c.installation_id != _installation, _usage.c.closed_by.is_(None)
)  # fmt: skip
_others_bytes = select(func.coalesce(func.sum(_usage.c.used_bytes), 0)).where(*_of_others).scalar_subquery()
_others_rows = select(func.coalesce(func.sum(_usage.c.used_rows), 0)).where(*_of_others).scalar_subquery()
_mine = select(
    _usage.c.used_bytes, _usage.c.used_rows, _others_bytes, _others_rows, _usage.c.closed_by, _usage.c.layout
).where(_usage.c.installation_id == _installation)
_theirs = select(_others_bytes, _others_rows)
_GIVE_BACK = (
    update(_usage)
    .where(_usage.c.installation_id == _installation)
    .values(used_bytes=_usage.c.used_bytes - _number("p_freed"))
)


class Meter:
    """Counts bytes of storage and tables together, and rows of tables.

    On PostgreSQL, installations of one tenant write at the same moment and do not see what the others have not
    committed. Those that come near a limit of the tenant wait for one another and look again, so that the limit holds
    exactly. Near is an eighth of it, and more where it is small or a write is large: whoever has more left than that
    waits for nobody.
    """

    def __init__(self, database: Database, space_of: SpaceOf, declarations: Declarations | None = None) -> None:
        self._space_of = space_of
        self._declarations = declarations or Declarations()
        self._is_sqlite = database.is_sqlite
        self._make = insert_sqlite if database.is_sqlite else insert_postgresql
        self._charge = self.charging(_number("p_replaced"))
        self._turn = (
            insert_postgresql(_usage)
            .values(installation_id=_installation, tenant_id=_tenant, used_bytes=0, used_rows=0)
            .on_conflict_do_update(index_elements=["installation_id"], set_={"used_bytes": _usage.c.used_bytes})
        )

    def charging(self, replaced: ColumnElement[Any]) -> Executable:
        """A statement for `charge`: one for the first time and all others, since each is a round to the database.

        Args:
            replaced: Bytes that are given back: a number, or the query that finds it.
        """
        before = func.coalesce(replaced, 0)
        is_there = exists().where(_usage.c.installation_id == _installation)
        first = select(_installation, _tenant, _added, _rows, _layout).where(or_(is_there, _fits(_added, _rows)))
        columns = ["installation_id", "tenant_id", "used_bytes", "used_rows", "layout"]
        statement = self._make(_usage).from_select(columns, first)
        after_bytes, after_rows = _usage.c.used_bytes + _added - before, _usage.c.used_rows + _rows
        counted = statement.on_conflict_do_update(
            index_elements=["installation_id"],
            set_={
                "used_bytes": after_bytes,
                "used_rows": after_rows,
                # With the first row the index is whole; of rows from before there were entries, nothing is known.
                "layout": case(
                    (and_(_usage.c.layout.is_(None), _usage.c.used_rows == 0), _layout), else_=_usage.c.layout
                ),
            },
            where=and_(
                _usage.c.closed_by.is_(None),
                or_(_usage.c.layout.is_(None), _usage.c.layout == _layout),
                # Whoever is over a limit, since it was lowered, may still replace and remove.
                or_(before >= _added, _fits_bytes(after_bytes)),
                or_(_rows <= 0, _fits_rows(after_rows)),
            ),
        )
        if self._is_sqlite:
            return counted
        return counted.returning(_usage.c.used_bytes, _usage.c.used_rows, _others_bytes, _others_rows, before)

    async def take_turn(self, connection: AsyncConnection, context: CapabilityContext) -> None:
        """Have writers of one installation take turns, so that what one reads stays true until it commits.

        SQLite has one writer anyway. Elsewhere the installation's row is locked, and made when it is not there.
        """
        if not self._is_sqlite:
            await connection.execute(self._turn, _who(context))

    async def take_turn_of(self, connection: AsyncConnection, tenant_id: str, installation_id: str) -> None:
        """`take_turn`, for work of the platform itself."""
        if not self._is_sqlite:
            await connection.execute(self._turn, {"p_installation": installation_id, "p_tenant": tenant_id})

    async def give_back(self, connection: AsyncConnection, installation_id: str, freed_bytes: int) -> None:
        """Count bytes that the platform itself has freed. Nobody is charged for the statement."""
        await connection.execute(_GIVE_BACK, {"p_installation": installation_id, "p_freed": freed_bytes})

    async def charge(
        self, connection: AsyncConnection, context: CapabilityContext, added: int, replaced: int, *, rows: int = 0
    ) -> None:
        """Count what is added, and give back what it replaces.

        Args:
            rows: Rows that are added, or removed when it is negative.

        Raises:
            StorageFullError, RowsFullError: More would be taken than is allowed. Giving back is always possible.
            UpdateUnderwayError, ReleaseReplacedError: The data is on its way to another release, or is there.
        """
        await self.charge_by(connection, self._charge, context, added, {"p_replaced": replaced}, rows=rows)

    async def charge_by(
        self,
        connection: AsyncConnection,
        statement: Executable,
        context: CapabilityContext,
        added: int,
        params: dict[str, Any],
        *,
        rows: int = 0,
    ) -> None:
        """`charge`, with a statement from `charging` and the parameters of its query.

        Raises:
            StorageFullError, RowsFullError: More would be taken than is allowed.
        """
        space = self._space_of(context.tenant_id)
        limits = {
            "p_limit": _or_none(space.storage_bytes), "p_row_limit": _or_none(space.rows),
            "p_tenant_limit": _or_none(space.tenant_storage_bytes), "p_tenant_row_limit": _or_none(space.tenant_rows),
        }  # fmt: skip
        layout = self._declarations.of(context.manifest).layout if context.staging is None else None
        values = {**_who(context), "p_layout": layout, "p_added": added, "p_rows": rows, **limits, **params}
        result = await connection.execute(statement, values)
        if self._is_sqlite:
            if result.rowcount == 0:
                raise await self._why(connection, context, space, rows, layout)
            return
        sums = result.first()
        if sums is None:
            raise await self._why(connection, context, space, rows, layout)
        grown = added - int(sums[4])
        if _is_near(space, grown, rows, sums):
            await self._look_again(connection, context, space, rows, grown)

    async def _look_again(
        self, connection: AsyncConnection, context: CapabilityContext, space: Space, rows: int, grown: int
    ) -> None:
        """After all others of the tenant that came near its limit: what they have counted is committed now."""
        await connection.execute(_TENANTS_TURN, {"p_tenant": context.tenant_id})
        mine_bytes, mine_rows, others_bytes, others_rows, *_ = (await connection.execute(_mine, _who(context))).one()
        used_bytes, used_rows = mine_bytes + int(others_bytes), mine_rows + int(others_rows)
        if rows > 0 and space.tenant_rows is not None and used_rows > space.tenant_rows:
            raise RowsFullError("tenant", space.tenant_rows, used_rows - rows)
        if grown > 0 and space.tenant_storage_bytes is not None and used_bytes > space.tenant_storage_bytes:
            raise StorageFullError("tenant", space.tenant_storage_bytes, used_bytes - grown)

    async def _why(
        self, connection: AsyncConnection, context: CapabilityContext, space: Space, rows: int, layout: str | None
    ) -> StorageFullError | RowsFullError | UpdateUnderwayError | ReleaseReplacedError:
        row = (await connection.execute(_mine, _who(context))).first()
        if row is None:
            mine, (others_bytes, others_rows) = (0, 0), (await connection.execute(_theirs, _who(context))).one()
        else:
            mine, others_bytes, others_rows = (row[0], row[1]), row[2], row[3]
            if row[4] is not None:
                return UpdateUnderwayError()
            if row[5] is not None and row[5] != layout:
                return ReleaseReplacedError()
        if rows > 0:
            for scope, limit, used in (
                ("plugin", space.rows, mine[1]), ("tenant", space.tenant_rows, mine[1] + int(others_rows))
            ):  # fmt: skip
                if limit is not None and used + rows > limit:
                    return RowsFullError(scope, limit, used)
        used = mine[0] + int(others_bytes)
        is_mine = space.tenant_storage_bytes is None or used < space.tenant_storage_bytes
        if is_mine and space.storage_bytes is not None:
            left = space.storage_bytes - mine[0]
            if space.tenant_storage_bytes is None or left <= space.tenant_storage_bytes - used:
                return StorageFullError("plugin", space.storage_bytes, mine[0])
        return StorageFullError("tenant", space.tenant_storage_bytes or 0, used)


def _is_near(space: Space, grown: int, rows: int, sums: Sequence[Any]) -> bool:
    """Whether what others are writing at this moment could take the tenant over a limit."""
    used_bytes, used_rows = sums[0] + int(sums[2]), sums[1] + int(sums[3])
    if rows > 0 and space.tenant_rows is not None:
        near = max(space.tenant_rows // 8, _NEAR_ROWS, _WRITERS * rows)
        if used_rows > space.tenant_rows - near:
            return True
    if grown > 0 and space.tenant_storage_bytes is not None:
        near = max(space.tenant_storage_bytes // 8, _NEAR_BYTES, _WRITERS * grown)
        return used_bytes > space.tenant_storage_bytes - near
    return False


def _fits(after_bytes: ColumnElement[Any], after_rows: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(_fits_bytes(after_bytes), or_(_rows <= 0, _fits_rows(after_rows)))


def _fits_bytes(after: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(after <= _number("p_limit"), _others_bytes + after <= _number("p_tenant_limit"))


def _fits_rows(after: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(after <= _number("p_row_limit"), _others_rows + after <= _number("p_tenant_row_limit"))


def _or_none(limit: int | None) -> int:
    return _NO_LIMIT if limit is None else limit


def _who(context: CapabilityContext) -> dict[str, Any]:
    return {"p_installation": context.data_id, "p_tenant": context.tenant_id}

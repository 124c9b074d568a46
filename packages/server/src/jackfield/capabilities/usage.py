"""The space that one installation takes, kept exact by the transactions that change it, and held to its limits."""

from __future__ import annotations

import sys
from collections.abc import Callable
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

    Two installations of one tenant that write at the same moment can take the tenant over its limit by what each of
    them writes: to exclude that, all writers of a tenant would have to wait for one another.
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
        return statement.on_conflict_do_update(
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
        if result.rowcount == 0:
            raise await self._why(connection, context, space, rows, layout)

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

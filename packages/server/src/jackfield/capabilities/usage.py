"""The space that one installation takes, kept exact by the transactions that change it, and held to its limits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Executable, String, and_, bindparam, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.errors import RowsFullError, StorageFullError
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
_of_others = (_usage.c.tenant_id == _tenant, _usage.c.installation_id != _installation)
_others_bytes = select(func.coalesce(func.sum(_usage.c.used_bytes), 0)).where(*_of_others).scalar_subquery()
_others_rows = select(func.coalesce(func.sum(_usage.c.used_rows), 0)).where(*_of_others).scalar_subquery()
_mine = select(_usage.c.used_bytes, _usage.c.used_rows, _others_bytes, _others_rows).where(
    _usage.c.installation_id == _installation
)
_theirs = select(_others_bytes, _others_rows)


class Meter:
    """Counts bytes of storage and tables together, and rows of tables.

    Two installations of one tenant that write at the same moment can take the tenant over its limit by what each of
    them writes: to exclude that, all writers of a tenant would have to wait for one another.
    """

    def __init__(self, database: Database, space_of: SpaceOf) -> None:
        self._space_of = space_of
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
        first = select(_installation, _tenant, _added, _rows).where(or_(is_there, _fits(_added, _rows)))
        statement = self._make(_usage).from_select(["installation_id", "tenant_id", "used_bytes", "used_rows"], first)
        after_bytes, after_rows = _usage.c.used_bytes + _added - before, _usage.c.used_rows + _rows
        return statement.on_conflict_do_update(
            index_elements=["installation_id"],
            set_={"used_bytes": after_bytes, "used_rows": after_rows},
            # Whoever is over a limit, since it was lowered, may still replace and remove.
            where=and_(
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

    async def charge(
        self, connection: AsyncConnection, context: CapabilityContext, added: int, replaced: int, *, rows: int = 0
    ) -> None:
        """Count what is added, and give back what it replaces.

        Args:
            rows: Rows that are added, or removed when it is negative.

        Raises:
            StorageFullError, RowsFullError: More would be taken than is allowed. Giving back is always possible.
        """
        if added != replaced or rows:
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
        values = {**_who(context), "p_added": added, "p_rows": rows, **limits, **params}
        result = await connection.execute(statement, values)
        if result.rowcount == 0:
            raise await self._why(connection, context, space, rows)

    async def _why(
        self, connection: AsyncConnection, context: CapabilityContext, space: Space, rows: int
    ) -> StorageFullError | RowsFullError:
        row = (await connection.execute(_mine, _who(context))).first()
        if row is None:
            mine, (others_bytes, others_rows) = (0, 0), (await connection.execute(_theirs, _who(context))).one()
        else:
            mine, others_bytes, others_rows = (row[0], row[1]), row[2], row[3]
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
    return {"p_installation": context.installation_id, "p_tenant": context.tenant_id}

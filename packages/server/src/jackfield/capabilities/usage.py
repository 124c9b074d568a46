"""The space that one installation takes, kept exact by the transactions that change it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Executable, bindparam, func, or_
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.errors import StorageFullError
from jackfield.capabilities.models import UsageRow, core
from jackfield.db import Database

__all__ = ["OVERHEAD", "Meter"]

OVERHEAD = 200
"""Bytes that a key or row counts beside its content: names, ids, index entries. Millions of empty ones are not free."""

_usage = core(UsageRow)
_used = _usage.c.used_bytes


class Meter:
    """Counts bytes of storage and tables together.

    Args:
        limit_bytes: What one installation may keep.
    """

    def __init__(self, database: Database, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._is_sqlite = database.is_sqlite
        self._make = insert_sqlite if database.is_sqlite else insert_postgresql
        self._charge = self.charging(bindparam("p_replaced"))
        self._turn = (
            insert_postgresql(_usage)
            .values(_row())
            .on_conflict_do_update(index_elements=["installation_id"], set_={"used_bytes": _used})
        )

    def charging(self, replaced: ColumnElement[Any]) -> Executable:
        """A statement for `charge`: one for the first time and all others, since each is a round to the database.

        Args:
            replaced: Bytes that are given back: a number, or the query that finds it.
        """
        before = func.coalesce(replaced, 0)
        after = _used + bindparam("p_added") - before
        statement = self._make(_usage).values(_row())
        return statement.on_conflict_do_update(
            index_elements=["installation_id"],
            set_={"used_bytes": after},
            where=or_(after <= self._limit_bytes, before >= bindparam("p_added")),
        )

    async def take_turn(self, connection: AsyncConnection, context: CapabilityContext) -> None:
        """Have writers of one installation take turns, so that what one reads stays true until it commits.

        SQLite has one writer anyway. Elsewhere the installation's row is locked, and made when it is not there.
        """
        if not self._is_sqlite:
            await connection.execute(self._turn, _params(context, 0))

    async def charge(self, connection: AsyncConnection, context: CapabilityContext, added: int, replaced: int) -> None:
        """Count what is added, and give back what it replaces.

        Raises:
            StorageFullError: More would be taken than is allowed. Giving back is always possible.
        """
        if added != replaced:
            await self.charge_by(connection, self._charge, context, added, {"p_replaced": replaced})

    async def charge_by(
        self,
        connection: AsyncConnection,
        statement: Executable,
        context: CapabilityContext,
        added: int,
        params: dict[str, Any],
    ) -> None:
        """`charge`, with a statement from `charging` and the parameters of its query.

        Raises:
            StorageFullError: More would be taken than is allowed.
        """
        if added > self._limit_bytes:
            raise StorageFullError(self._limit_bytes)
        result = await connection.execute(statement, {**_params(context, added), **params})
        if result.rowcount == 0:
            raise StorageFullError(self._limit_bytes)


def _row() -> dict[str, Any]:
    return {
        "installation_id": bindparam("p_installation"), "tenant_id": bindparam("p_tenant"),
        "used_bytes": bindparam("p_added"),
    }  # fmt: skip


def _params(context: CapabilityContext, added: int) -> dict[str, Any]:
    return {"p_installation": context.installation_id, "p_tenant": context.tenant_id, "p_added": added}

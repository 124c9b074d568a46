"""Groups of columns that must differ between the rows of a table, held by a constraint of the database."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.declared import TableShape
from jackfield.capabilities.errors import RowNotUniqueError
from jackfield.capabilities.models import UniqueEntry, core

__all__ = ["claim", "release"]


_entries = core(UniqueEntry)
_CLAIM = insert(_entries)
_RELEASE = delete(_entries).where(
    _entries.c.installation_id == bindparam("p_installation"),
    _entries.c.tenant_id == bindparam("p_tenant"),
    _entries.c.row_id == bindparam("p_row"),
)


async def claim(
    connection: AsyncConnection, context: CapabilityContext, shape: TableShape, row_id: str, row: Mapping[str, Any]
) -> None:
    """Take a row's values, for as long as it has them. As in SQL, null differs from everything.

    Raises:
        RowNotUniqueError: Another row has them; the transaction is lost.
    """
    for group in shape.unique:
        values = [row_id if name == "id" else row.get(name) for name in group]
        if any(value is None for value in values):
            continue
        entry = {
            "tenant_id": context.tenant_id, "installation_id": context.installation_id, "table_name": shape.name,
            "columns": ",".join(group), "digest": _digest(values), "row_id": row_id,
        }  # fmt: skip
        try:
            await connection.execute(_CLAIM, entry)
        except IntegrityError as error:
            raise RowNotUniqueError(shape.name, group) from error


async def release(connection: AsyncConnection, context: CapabilityContext, row_id: str) -> None:
    """Give up everything that a row has taken, under whatever release it was."""
    params = {"p_installation": context.installation_id, "p_tenant": context.tenant_id, "p_row": row_id}
    await connection.execute(_RELEASE, params)


def _digest(values: list[Any]) -> bytes:
    return hashlib.sha256(msgspec.json.encode(_canonical(values), order="deterministic")).digest()


def _canonical(value: Any) -> Any:
    """`1.0` and `1` are one number, as they are for conditions."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if isinstance(value, list):
        return [_canonical(item) for item in value]  # pyright: ignore[reportUnknownVariableType]  # data of any shape
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]  # the same
    return value

"""Everything that one installation keeps here: counted, written out, removed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, TypedDict

import msgspec
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.capabilities.models import SecretValue, StorageItem, TableRow, UniqueEntry, UsageRow

__all__ = ["Counts", "export", "inventory", "purge"]

_BATCH = 500


class Counts(TypedDict):
    """What there is; all are 0 when nothing is left.

    Attributes:
        storage_bytes: Of storage and tables together, as counted against the limit.
    """

    storage_keys: int
    table_rows: int
    secrets: int
    storage_bytes: int


async def inventory(session: AsyncSession, installation_id: str) -> Counts:
    """Count what an installation keeps."""

    async def count(model: type[StorageItem | TableRow | SecretValue]) -> int:
        statement = select(func.count()).select_from(model).where(model.installation_id == installation_id)
        return await session.scalar(statement) or 0

    used = await session.scalar(select(UsageRow.used_bytes).where(UsageRow.installation_id == installation_id))
    return Counts(
        storage_keys=await count(StorageItem),
        table_rows=await count(TableRow),
        secrets=await count(SecretValue),
        storage_bytes=used or 0,
    )


async def purge(session: AsyncSession, installation_id: str) -> None:
    """Delete all of it, in the caller's transaction."""
    for model in (StorageItem, UniqueEntry, TableRow, SecretValue, UsageRow):
        statement = delete(model).where(model.installation_id == installation_id)
        await session.execute(statement, execution_options={"synchronize_session": False})


async def export(session: AsyncSession, installation_id: str) -> AsyncGenerator[list[dict[str, Any]]]:
    """All of it as plain data, in batches: `storage` lines, `row` lines, and `secret` lines with a name alone."""
    after: Any = None
    while True:
        items = await _page(session, StorageItem, installation_id, StorageItem.key, after)
        if not items:
            break
        yield [{"kind": "storage", "key": item.key, "value": msgspec.msgpack.decode(item.value)} for item in items]
        after = items[-1].key
    names = select(TableRow.table_name).where(TableRow.installation_id == installation_id).distinct()
    for table in sorted(await session.scalars(names)):
        after = None
        while True:
            rows = await _page(session, TableRow, installation_id, TableRow.id, after, TableRow.table_name == table)
            if not rows:
                break
            yield [
                {
                    "kind": "row", "table": table, "id": row.id, "values": row.data,
                    "created_at": row.created_at.isoformat(),
                }
                for row in rows
            ]  # fmt: skip
            after = rows[-1].id
    secrets = select(SecretValue.name).where(SecretValue.installation_id == installation_id)
    if found := sorted(await session.scalars(secrets)):
        yield [{"kind": "secret", "name": name} for name in found]


async def _page(
    session: AsyncSession, model: Any, installation_id: str, key: Any, after: Any, *also: ColumnElement[bool]
) -> list[Any]:
    statement = select(model).where(model.installation_id == installation_id, *also).order_by(key).limit(_BATCH)
    if after is not None:
        statement = statement.where(key > after)
    found = list(await session.scalars(statement))
    # Nothing refers to them after their batch; a large plugin must not fill the session.
    session.expunge_all()
    return found

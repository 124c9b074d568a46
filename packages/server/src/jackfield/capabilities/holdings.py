"""Everything that one installation keeps here: counted, written out, removed."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from typing import Any, TypedDict

import msgspec
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.capabilities.models import (
    FileChunk,
    FileRow,
    FileUpload,
    IndexEntry,
    SecretLeak,
    SecretValue,
    StorageItem,
    TableRow,
    UniqueEntry,
    UsageRow,
)
from jackfield.clock import SystemClock

__all__ = ["Counts", "export", "inventory", "purge"]

_BATCH = 500


class Counts(TypedDict):
    """What there is; all are 0 when nothing is left.

    Attributes:
        storage_bytes: Of storage, tables and files together, as counted against the limit.
    """

    storage_keys: int
    table_rows: int
    secrets: int
    files: int
    storage_bytes: int


async def inventory(session: AsyncSession, installation_id: str) -> Counts:
    """Count what an installation keeps."""

    async def count(model: type[StorageItem | TableRow | SecretValue | FileRow]) -> int:
        statement = select(func.count()).select_from(model).where(model.installation_id == installation_id)
        return await session.scalar(statement) or 0

    used = await session.scalar(select(UsageRow.used_bytes).where(UsageRow.installation_id == installation_id))
    return Counts(
        storage_keys=await count(StorageItem),
        table_rows=await count(TableRow),
        secrets=await count(SecretValue),
        files=await count(FileRow),
        storage_bytes=used or 0,
    )


async def purge(session: AsyncSession, installation_id: str) -> None:
    """Delete all of it, in the caller's transaction."""
    for model in (
        IndexEntry, StorageItem, UniqueEntry, TableRow, SecretValue, UsageRow,
        FileRow, FileChunk, FileUpload, SecretLeak,
    ):  # fmt: skip
        statement = delete(model).where(model.installation_id == installation_id)
        await session.execute(statement, execution_options={"synchronize_session": False})


async def export(session: AsyncSession, installation_id: str) -> AsyncGenerator[list[dict[str, Any]]]:
    """All of it as plain data, in batches: `storage` lines, `row` lines, `file` lines, each followed by its `file-part`
    lines in base64, and `secret` lines with a name alone."""
    now_ms = SystemClock().now().timestamp() * 1000
    after: Any = None
    while True:
        items = await _page(session, StorageItem, installation_id, StorageItem.key, after)
        if not items:
            break
        yield [
            {"kind": "storage", "key": item.key, "value": msgspec.msgpack.decode(item.value), **_expiry(item)}
            for item in items
            if item.expires_at is None or item.expires_at > now_ms
        ]
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
    async for lines in _file_lines(session, installation_id):
        yield lines
    secrets = select(SecretValue.name).where(SecretValue.installation_id == installation_id)
    if found := sorted(await session.scalars(secrets)):
        yield [{"kind": "secret", "name": name} for name in found]


def _expiry(item: StorageItem) -> dict[str, Any]:
    return {} if item.expires_at is None else {"expires_at": item.expires_at / 1000}


async def _file_lines(session: AsyncSession, installation_id: str) -> AsyncGenerator[list[dict[str, Any]]]:
    """A file at a time, and of that a part at a time."""
    after: Any = None
    while True:
        files = await _page(session, FileRow, installation_id, FileRow.path, after)
        if not files:
            return
        for file in files:
            yield [
                {
                    "kind": "file", "path": file.path, "content_type": file.content_type,
                    "size_bytes": file.size_bytes, "role": file.role, "created_at": file.created_at.isoformat(),
                    "updated_at": file.updated_at.isoformat(),
                }
            ]  # fmt: skip
            parts = select(FileChunk.number).where(
                FileChunk.content_id == file.content_id, FileChunk.installation_id == installation_id
            )
            for number in sorted(await session.scalars(parts)):
                query = select(FileChunk.data).where(
                    FileChunk.content_id == file.content_id,
                    FileChunk.installation_id == installation_id,
                    FileChunk.number == number,
                )
                data = await session.scalar(query) or b""
                encoded = base64.b64encode(data).decode()
                yield [{"kind": "file-part", "path": file.path, "number": number, "data": encoded}]
        after = files[-1].path


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

"""Files of an installation as the tenant's people get them: by path, part by part, to those whose role is enough."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from jackfield.capabilities.errors import FileChangedError, FileMissingError
from jackfield.capabilities.file_rules import ROLES
from jackfield.capabilities.models import FileChunk, FileRow
from jackfield.capabilities.storage import successor
from jackfield.db import Database

__all__ = ["FileReader", "StoredFile"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file, without its content.

    Attributes:
        content_id: Names the content; another one with each write.
        role: The least role that may have it.
    """

    path: str
    content_id: str
    content_type: str
    size_bytes: int
    role: str
    created_at: datetime
    updated_at: datetime


class FileReader:
    """Reads; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, tenant_id: str, installation_id: str, role: str, *, prefix: str = "", after: str = "", limit: int = 50
    ) -> list[StoredFile]:
        """Files that somebody of this role may have, by path."""
        query = (
            select(FileRow)
            .where(
                FileRow.installation_id == installation_id,
                FileRow.role.in_(_roles_up_to(role)),
                FileRow.path >= prefix,
                FileRow.path > after,
            )
            .order_by(FileRow.path)
            .limit(limit)
        )
        if (end := successor(prefix)) is not None:
            query = query.where(FileRow.path < end)
        async with self._database.read(tenant_id) as session:
            return [_stored(row) for row in await session.scalars(query)]

    async def find(self, tenant_id: str, installation_id: str, role: str, path: str) -> StoredFile:
        """One file.

        Raises:
            FileMissingError: There is none, or it is not for this role; which of both is not told.
        """
        query = select(FileRow).where(
            FileRow.installation_id == installation_id, FileRow.path == path, FileRow.role.in_(_roles_up_to(role))
        )
        async with self._database.read(tenant_id) as session:
            row = await session.scalar(query)
        if row is None:
            raise FileMissingError(path)
        return _stored(row)

    async def parts(self, tenant_id: str, installation_id: str, file: StoredFile) -> AsyncIterator[bytes]:
        """Its content. No session is open while a part is on its way to whoever asked.

        Raises:
            FileChangedError: It was replaced meanwhile.
        """
        sent = number = 0
        while sent < file.size_bytes:
            query = select(FileChunk.data).where(
                FileChunk.content_id == file.content_id,
                FileChunk.number == number,
                FileChunk.installation_id == installation_id,
            )
            async with self._database.read(tenant_id) as session:
                data = await session.scalar(query)
            if not data:
                raise FileChangedError(f"`{file.path}` has changed while it was read")
            yield data
            sent += len(data)
            number += 1


def _roles_up_to(role: str) -> tuple[str, ...]:
    return ROLES[: ROLES.index(role) + 1] if role in ROLES else ()


def _stored(row: FileRow) -> StoredFile:
    return StoredFile(
        row.path, row.content_id, row.content_type, row.size_bytes, row.role, row.created_at, row.updated_at
    )

"""`files`: small files of one installation, with content types, in the database (`docs/decisions/0014-keeping.md`).

What fits one message is written in one operation. Anything larger comes in parts of `PART_BYTES`: begun, sent,
finished. Parts are counted when they come, the file is there when it is finished, all of it at once; and whoever reads
the one before, part by part, is told that it has changed. What is never finished is dropped after an hour.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from msgspec import Meta
from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.errors import (
    ArgumentsInvalidError,
    FileChangedError,
    FileMissingError,
    FileTooLargeError,
    UploadMissingError,
    UploadsTooManyError,
)
from jackfield.capabilities.file_rules import FileRole, check_content_type, check_path
from jackfield.capabilities.models import FileChunk, FileRow, FileUpload, core
from jackfield.capabilities.operations import Arguments, Capability, Limit, answer, operation
from jackfield.capabilities.storage import Prefix, successor
from jackfield.capabilities.usage import OVERHEAD, Meter
from jackfield.clock import Clock
from jackfield.db import Database
from jackfield.ids import new_id

__all__ = ["FILE_BYTES", "PART_BYTES", "UPLOADS", "Files"]

FILE_BYTES = 16 * 1024 * 1024
PART_BYTES = 240 * 1024
"""With what goes around it, a part fits a message of the usual 256 KiB."""
UPLOADS = 8
"""Files that an installation may have half-written."""
_UPLOAD_FOR = timedelta(hours=1)

_files, _chunks, _uploads = core(FileRow), core(FileChunk), core(FileUpload)


def _of(table: Any) -> tuple[Any, Any]:
    return (
        table.c.installation_id == bindparam("p_installation"),
        table.c.tenant_id == bindparam("p_tenant"),
    )


_FILE = select(_files).where(*_of(_files), _files.c.path == bindparam("p_path"))
_DELETE_FILE = delete(_files).where(*_of(_files), _files.c.path == bindparam("p_path"))
_LIST = select(_files).where(*_of(_files), _files.c.path >= bindparam("p_prefix")).order_by(_files.c.path)
_CHUNK = select(_chunks.c.data).where(
    *_of(_chunks), _chunks.c.content_id == bindparam("p_content"), _chunks.c.number == bindparam("p_number")
)
_DELETE_CHUNKS = delete(_chunks).where(*_of(_chunks), _chunks.c.content_id == bindparam("p_content"))
_UPLOAD = select(_uploads).where(*_of(_uploads), _uploads.c.id == bindparam("p_content"))
_DELETE_UPLOAD = delete(_uploads).where(*_of(_uploads), _uploads.c.id == bindparam("p_content"))
_COUNT_UPLOADS = select(func.count()).select_from(_uploads).where(*_of(_uploads))
_GROW = (
    update(_uploads)
    .where(*_of(_uploads), _uploads.c.id == bindparam("p_content"))
    .values(parts=_uploads.c.parts + 1, size_bytes=_uploads.c.size_bytes + bindparam("p_size"))
)
_STALE = select(_uploads.c.tenant_id, _uploads.c.installation_id, _uploads.c.id).where(
    _uploads.c.begun_at < bindparam("p_before")
)

_Path = Annotated[str, Meta(min_length=1, max_length=256)]
_ContentType = Annotated[str, Meta(max_length=200)]
_Part = Annotated[bytes, Meta(max_length=PART_BYTES)]
_Content = Annotated[str, Meta(min_length=1, max_length=64)]


class _AtPath(Arguments, frozen=True):
    path: _Path


class _Write(Arguments, frozen=True):
    path: _Path
    data: _Part
    content_type: _ContentType = "application/octet-stream"
    role: FileRole = "admin"


class _Begin(Arguments, frozen=True):
    path: _Path
    content_type: _ContentType = "application/octet-stream"
    role: FileRole = "admin"


class _Send(Arguments, frozen=True):
    upload: _Content
    number: Annotated[int, Meta(ge=0, le=FILE_BYTES // PART_BYTES)]
    data: Annotated[bytes, Meta(min_length=1, max_length=PART_BYTES)]


class _Upload(Arguments, frozen=True):
    upload: _Content


class _Read(Arguments, frozen=True):
    """`content` is what `stat` or an earlier answer called `content`: that and no other is wanted."""

    path: _Path
    number: Annotated[int, Meta(ge=0, le=FILE_BYTES // PART_BYTES)] = 0
    content: _Content | None = None


class _List(Arguments, frozen=True):
    prefix: Prefix = ""
    limit: Limit = 100
    after: Prefix | None = None


class Files:
    """The capability."""

    def __init__(self, database: Database, meter: Meter, clock: Clock) -> None:
        self._database = database
        self._meter = meter
        self._clock = clock
        make = insert_sqlite if database.is_sqlite else insert_postgresql
        put = make(_files)
        changed = ("content_id", "content_type", "size_bytes", "role", "updated_at")
        self._put = put.on_conflict_do_update(
            index_elements=["installation_id", "path"], set_={name: put.excluded[name] for name in changed}
        )
        self.operations: Capability = {
            "stat": operation(_AtPath, "files", self._stat),
            "list": operation(_List, "files", self._list),
            "read": operation(_Read, "files", self._read),
            "write": operation(_Write, "files", self._write),
            "begin": operation(_Begin, "files", self._begin),
            "send": operation(_Send, "files", self._send),
            "finish": operation(_Upload, "files", self._finish),
            "abort": operation(_Upload, "files", self._abort),
            "delete": operation(_AtPath, "files", self._delete),
        }

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _stat(self, context: CapabilityContext, arguments: _AtPath) -> bytes:
        async with self._database.read(context.tenant_id) as session:
            row = await _find(await session.connection(), context, check_path(arguments.path))
        return answer(None if row is None else _described(row))

    async def _list(self, context: CapabilityContext, arguments: _List) -> bytes:
        statement = _LIST.limit(arguments.limit)
        if (end := successor(arguments.prefix)) is not None:
            statement = statement.where(_files.c.path < end)
        if arguments.after is not None:
            statement = statement.where(_files.c.path > arguments.after)
        async with self._database.read(context.tenant_id) as session:
            connection = await session.connection()
            found = await connection.execute(statement, {**_owner(context), "p_prefix": arguments.prefix})
            return answer([_described(row) for row in found])

    async def _read(self, context: CapabilityContext, arguments: _Read) -> bytes:
        """One part, with what `stat` says of the file; a part behind the last one is empty."""
        path = check_path(arguments.path)
        async with self._database.read(context.tenant_id) as session:
            connection = await session.connection()
            row = await _find(connection, context, path)
            if row is None and arguments.content is None:
                raise FileMissingError(path)
            if row is None or (arguments.content is not None and arguments.content != row.content_id):
                raise FileChangedError(f"`{path}` is not what it was when it was first read")
            place = {**_owner(context), "p_content": row.content_id, "p_number": arguments.number}
            data = await connection.scalar(_CHUNK, place)
        if data is None and arguments.number * PART_BYTES < row.size_bytes:
            # Replaced between the two statements.
            raise FileChangedError(f"`{path}` has changed while it was read")
        return answer({**_described(row), "data": data or b""})

    # -- writing -------------------------------------------------------------------------------------------------------

    async def _write(self, context: CapabilityContext, arguments: _Write) -> bytes:
        path, content_type = check_path(arguments.path), check_content_type(arguments.content_type)
        data, content_id = arguments.data, new_id("file")
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            before = await _find(connection, context, path)
            given_back = 0 if before is None else _cost(before.path, before.size_bytes)
            await self._meter.charge(connection, context, _cost(path, len(data)), given_back)
            if data:
                await connection.execute(insert(_chunks), _chunk(context, content_id, 0, data))
            row = await self._replace(
                connection, context, before, path, content_id, content_type, arguments.role, len(data)
            )
        return answer(row)

    async def _begin(self, context: CapabilityContext, arguments: _Begin) -> bytes:
        row = {
            "id": new_id("file"), "installation_id": context.installation_id, "tenant_id": context.tenant_id,
            "path": check_path(arguments.path), "content_type": check_content_type(arguments.content_type),
            "role": arguments.role, "size_bytes": 0, "parts": 0, "begun_at": self._clock.now(),
        }  # fmt: skip
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            if (await connection.scalar(_COUNT_UPLOADS, _owner(context)) or 0) >= UPLOADS:
                raise UploadsTooManyError(f"{UPLOADS} files are half-written")
            # Counted like a file, so that nobody's half-written ones are free.
            await self._meter.charge(connection, context, _row_cost(arguments.path), 0)
            await connection.execute(insert(_uploads), row)
        return answer({"upload": row["id"], "part_bytes": PART_BYTES})

    async def _send(self, context: CapabilityContext, arguments: _Send) -> bytes:
        data = arguments.data
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            upload = await _upload(connection, context, arguments.upload)
            if arguments.number != upload.parts:
                raise UploadMissingError(f"part {upload.parts} comes next, not {arguments.number}")
            if upload.size_bytes != upload.parts * PART_BYTES:
                raise ArgumentsInvalidError(f"all parts but the last have {PART_BYTES} bytes")
            if upload.size_bytes + len(data) > FILE_BYTES:
                raise FileTooLargeError(FILE_BYTES)
            await self._meter.charge(connection, context, OVERHEAD + len(data), 0)
            await connection.execute(insert(_chunks), _chunk(context, upload.id, upload.parts, data))
            await connection.execute(_GROW, {**_owner(context), "p_content": upload.id, "p_size": len(data)})
        return answer(upload.size_bytes + len(data))

    async def _finish(self, context: CapabilityContext, arguments: _Upload) -> bytes:
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            upload = await _upload(connection, context, arguments.upload)
            before = await _find(connection, context, upload.path)
            if before is not None:
                await self._meter.charge(connection, context, 0, _cost(before.path, before.size_bytes))
            row = await self._replace(
                connection, context, before, upload.path, upload.id, upload.content_type, upload.role,
                upload.size_bytes,
            )  # fmt: skip
            await connection.execute(_DELETE_UPLOAD, {**_owner(context), "p_content": upload.id})
        return answer(row)

    async def _abort(self, context: CapabilityContext, arguments: _Upload) -> bytes:
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            place = {**_owner(context), "p_content": arguments.upload}
            upload = (await connection.execute(_UPLOAD, place)).first()
            if upload is not None:
                await self._drop(connection, context.tenant_id, context.installation_id, upload)
        return answer(upload is not None)

    async def _delete(self, context: CapabilityContext, arguments: _AtPath) -> bytes:
        path = check_path(arguments.path)
        async with self._database.write(context.tenant_id) as session:
            connection = await session.connection()
            await self._meter.take_turn(connection, context)
            row = await _find(connection, context, path)
            if row is not None:
                await connection.execute(_DELETE_FILE, {**_owner(context), "p_path": path})
                await connection.execute(_DELETE_CHUNKS, {**_owner(context), "p_content": row.content_id})
                await self._meter.charge(connection, context, 0, _cost(row.path, row.size_bytes))
        return answer(row is not None)

    async def _replace(
        self,
        connection: AsyncConnection,
        context: CapabilityContext,
        before: Any,
        path: str,
        content_id: str,
        content_type: str,
        role: str,
        size_bytes: int,
    ) -> dict[str, Any]:
        """Put a content in the place of the one before; what `stat` says of it."""
        now = self._clock.now()
        if before is not None:
            await connection.execute(_DELETE_CHUNKS, {**_owner(context), "p_content": before.content_id})
        await connection.execute(
            self._put,
            {
                "installation_id": context.installation_id, "tenant_id": context.tenant_id, "path": path,
                "content_id": content_id, "content_type": content_type, "size_bytes": size_bytes, "role": role,
                "created_at": now, "updated_at": now,
            },
        )  # fmt: skip
        created_at = now if before is None else before.created_at
        return _description(path, content_id, content_type, size_bytes, role, created_at, now)

    # -- sweeping ------------------------------------------------------------------------------------------------------

    async def sweep(self) -> int:
        """Drop what was begun and not finished in time; how many."""
        async with self._database.read(None) as session:
            connection = await session.connection()
            before = self._clock.now() - _UPLOAD_FOR
            stale = (await connection.execute(_STALE.limit(50), {"p_before": before})).all()
        for tenant_id, installation_id, upload_id in stale:
            async with self._database.write(tenant_id) as session:
                connection = await session.connection()
                await self._meter.take_turn_of(connection, tenant_id, installation_id)
                place = {"p_tenant": tenant_id, "p_installation": installation_id, "p_content": upload_id}
                upload = (await connection.execute(_UPLOAD, place)).first()
                if upload is not None:
                    await self._drop(connection, tenant_id, installation_id, upload)
        return len(stale)

    async def _drop(self, connection: AsyncConnection, tenant_id: str, installation_id: str, upload: Any) -> None:
        place = {"p_tenant": tenant_id, "p_installation": installation_id, "p_content": upload.id}
        await connection.execute(_DELETE_CHUNKS, place)
        await connection.execute(_DELETE_UPLOAD, place)
        await self._meter.give_back(connection, installation_id, _cost(upload.path, upload.size_bytes))


async def _find(connection: AsyncConnection, context: CapabilityContext, path: str) -> Any:
    return (await connection.execute(_FILE, {**_owner(context), "p_path": path})).first()


async def _upload(connection: AsyncConnection, context: CapabilityContext, upload_id: str) -> Any:
    row = (await connection.execute(_UPLOAD, {**_owner(context), "p_content": upload_id})).first()
    if row is None:
        raise UploadMissingError("there is no such upload")
    return row


def _described(row: Any) -> dict[str, Any]:
    return _description(
        row.path, row.content_id, row.content_type, row.size_bytes, row.role, row.created_at, row.updated_at
    )


def _description(
    path: str,
    content_id: str,
    content_type: str,
    size_bytes: int,
    role: str,
    created_at: datetime,
    updated_at: datetime,
) -> dict[str, Any]:
    return {
        "path": path, "content": content_id, "content_type": content_type, "size_bytes": size_bytes, "role": role,
        "created_at": created_at.timestamp(), "updated_at": updated_at.timestamp(),
    }  # fmt: skip


def _chunk(context: CapabilityContext, content_id: str, number: int, data: bytes) -> dict[str, Any]:
    return {
        "content_id": content_id, "number": number, "installation_id": context.installation_id,
        "tenant_id": context.tenant_id, "data": data,
    }  # fmt: skip


def _row_cost(path: str) -> int:
    return OVERHEAD + len(path.encode())


def _cost(path: str, size_bytes: int) -> int:
    """What a file counts against the installation's space: its row, and each part with what is beside it."""
    return _row_cost(path) + size_bytes + OVERHEAD * -(-size_bytes // PART_BYTES)


def _owner(context: CapabilityContext) -> dict[str, Any]:
    return {"p_installation": context.installation_id, "p_tenant": context.tenant_id}

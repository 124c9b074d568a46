"""Files are whole or not there, count to the last byte, and are called what they may be called."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from jackfield.capabilities import FileReader, inventory
from jackfield.capabilities.errors import (
    ArgumentsInvalidError,
    FileChangedError,
    FileMissingError,
    FilePathInvalidError,
    FileTooLargeError,
    PermissionDeniedError,
    StorageFullError,
    UploadMissingError,
    UploadsTooManyError,
)
from jackfield.capabilities.file_rules import served_type
from jackfield.capabilities.files import FILE_BYTES, PART_BYTES
from jackfield.capabilities.models import FileChunk, FileUpload
from jackfield.db import Database
from tests.server.capabilities.installations import Installed, installed, make_gate
from tests.server.conftest import ManualClock


@pytest.fixture
def plugin(either_database: Database, clock: ManualClock) -> Installed:
    return installed(make_gate(either_database, clock=clock))


async def used(database: Database, installation: str = "inst_a") -> int:
    async with database.read(None) as session:
        return (await inventory(session, installation))["storage_bytes"]


async def count(database: Database, model: type[Any]) -> int:
    async with database.read(None) as session:
        return await session.scalar(select(func.count()).select_from(model)) or 0


async def upload(plugin: Installed, path: str, data: bytes) -> dict[str, Any]:
    begun = await plugin.call("files", "begin", path=path, content_type="text/csv")
    for number, start in enumerate(range(0, len(data), begun["part_bytes"])):
        part = data[start : start + begun["part_bytes"]]
        await plugin.call("files", "send", upload=begun["upload"], number=number, data=part)
    return await plugin.call("files", "finish", upload=begun["upload"])


async def read(plugin: Installed, path: str) -> bytes:
    first = await plugin.call("files", "read", path=path)
    data, number = first["data"], 1
    while len(data) < first["size_bytes"]:
        data += (await plugin.call("files", "read", path=path, number=number, content=first["content"]))["data"]
        number += 1
    return data


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
async def test_what_is_written_is_what_is_read(plugin: Installed, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    if size <= PART_BYTES:
        await plugin.call("files", "write", path="a/b.csv", data=data, content_type="Text/CSV")
        assert await read(plugin, "a/b.csv") == data
    told = await upload(plugin, "a/b.csv", data)
    assert (told["size_bytes"], told["content_type"], told["role"]) == (size, "text/csv", "admin")
    assert await read(plugin, "a/b.csv") == data
    assert await plugin.call("files", "stat", path="a/b.csv") == told


async def test_space_is_counted_and_given_back_to_the_last_byte(plugin: Installed, either_database: Database) -> None:
    await plugin.call("files", "write", path="a", data=b"12345")
    small = await used(either_database)
    await upload(plugin, "a", b"x" * (2 * PART_BYTES + 5))
    large = await used(either_database)
    assert large > small + 2 * PART_BYTES
    await upload(plugin, "b", b"")
    await plugin.call("files", "write", path="a", data=b"12345")
    assert await plugin.call("files", "delete", path="b") is True
    assert await used(either_database) == small
    assert await plugin.call("files", "delete", path="a") is True
    assert await plugin.call("files", "delete", path="a") is False
    assert await used(either_database) == 0
    assert await count(either_database, FileChunk) == 0


async def test_what_is_half_written_counts_and_is_dropped_in_time(
    plugin: Installed, either_database: Database, clock: ManualClock
) -> None:
    begun = await plugin.call("files", "begin", path="a")
    await plugin.call("files", "send", upload=begun["upload"], number=0, data=b"x" * PART_BYTES)
    assert await used(either_database) > PART_BYTES
    assert await plugin.call("files", "stat", path="a") is None
    assert await plugin.call("files", "list") == []
    await plugin.gate.housekeeping.sweep()
    clock.advance(timedelta(hours=1, seconds=1).total_seconds())
    await plugin.gate.housekeeping.sweep()
    assert await used(either_database) == 0
    assert await count(either_database, FileChunk) == await count(either_database, FileUpload) == 0
    with pytest.raises(UploadMissingError):
        await plugin.call("files", "send", upload=begun["upload"], number=1, data=b"x")
    with pytest.raises(UploadMissingError):
        await plugin.call("files", "finish", upload=begun["upload"])


async def test_parts_come_in_order_whole_and_from_their_own(plugin: Installed) -> None:
    begun = await plugin.call("files", "begin", path="a")
    other = installed(plugin.gate, "acme", "inst_b")
    with pytest.raises(UploadMissingError):
        await other.call("files", "send", upload=begun["upload"], number=0, data=b"x")
    assert await other.call("files", "abort", upload=begun["upload"]) is False
    with pytest.raises(UploadMissingError):
        await plugin.call("files", "send", upload=begun["upload"], number=1, data=b"x")
    await plugin.call("files", "send", upload=begun["upload"], number=0, data=b"short")
    with pytest.raises(ArgumentsInvalidError):
        await plugin.call("files", "send", upload=begun["upload"], number=1, data=b"x")
    with pytest.raises(ArgumentsInvalidError):
        await plugin.call("files", "send", upload=begun["upload"], number=1, data=b"x" * (PART_BYTES + 1))
    assert await plugin.call("files", "abort", upload=begun["upload"]) is True


async def test_a_file_has_a_largest_size(database: Database) -> None:
    plugin = installed(make_gate(database))
    begun = await plugin.call("files", "begin", path="a")
    for number in range(FILE_BYTES // PART_BYTES):
        await plugin.call("files", "send", upload=begun["upload"], number=number, data=b"x" * PART_BYTES)
    rest = FILE_BYTES % PART_BYTES
    with pytest.raises(FileTooLargeError):
        await plugin.call(
            "files", "send", upload=begun["upload"], number=FILE_BYTES // PART_BYTES, data=b"x" * (rest + 1)
        )
    assert (await plugin.call("files", "finish", upload=begun["upload"]))["size_bytes"] == FILE_BYTES - rest


async def test_no_more_is_half_written_than_may_be(plugin: Installed) -> None:
    for number in range(8):
        begun = await plugin.call("files", "begin", path=f"f{number}")
    with pytest.raises(UploadsTooManyError):
        await plugin.call("files", "begin", path="one-more")
    await installed(plugin.gate, "acme", "inst_b").call("files", "begin", path="f")
    await plugin.call("files", "abort", upload=begun["upload"])
    await plugin.call("files", "begin", path="one-more")


async def test_a_full_installation_writes_nothing_and_keeps_what_it_has(either_database: Database) -> None:
    plugin = installed(make_gate(either_database, storage_bytes=100_000))
    await plugin.call("files", "write", path="a", data=b"first")
    with pytest.raises(StorageFullError):
        await plugin.call("files", "write", path="a", data=b"x" * 100_000)
    begun = await plugin.call("files", "begin", path="a")
    with pytest.raises(StorageFullError):
        await plugin.call("files", "send", upload=begun["upload"], number=0, data=b"x" * PART_BYTES)
    assert await read(plugin, "a") == b"first"


async def test_who_reads_while_it_is_replaced_is_told(plugin: Installed) -> None:
    await upload(plugin, "a", b"1" * (PART_BYTES + 5))
    first = await plugin.call("files", "read", path="a")
    await upload(plugin, "a", b"2" * (PART_BYTES + 5))
    with pytest.raises(FileChangedError):
        await plugin.call("files", "read", path="a", number=1, content=first["content"])
    await plugin.call("files", "delete", path="a")
    with pytest.raises(FileChangedError):
        await plugin.call("files", "read", path="a", number=1, content=first["content"])
    with pytest.raises(FileMissingError) as missing:
        await plugin.call("files", "read", path="a")
    assert missing.value.code == "file-not-found"


async def test_writers_at_the_same_time_leave_one_whole_file(plugin: Installed, either_database: Database) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(upload(plugin, "a", bytes([number]) * (PART_BYTES + 1)))
    data = await read(plugin, "a")
    assert len(data) == PART_BYTES + 1
    assert len(set(data)) == 1
    assert await count(either_database, FileChunk) == 2


@pytest.mark.parametrize(
    "path",
    ["/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\\b", "a\nb", "a\0b", "\u202egpj.exe", "a\u200bb", "x" * 257],
)  # fmt: skip
async def test_a_path_that_is_none_is_refused_everywhere(plugin: Installed, path: str) -> None:
    for operation, more in (("write", {"data": b""}), ("begin", {}), ("read", {}), ("stat", {}), ("delete", {})):
        with pytest.raises((FilePathInvalidError, ArgumentsInvalidError)):
            await plugin.call("files", operation, path=path, **more)


@pytest.mark.parametrize("content_type", ["", "text", "text/", "a/b; x=y", "a/b\r\nX: y", "text/html,a/b", "é/b"])
async def test_a_content_type_that_is_none_is_refused(plugin: Installed, content_type: str) -> None:
    with pytest.raises(ArgumentsInvalidError):
        await plugin.call("files", "write", path="a", data=b"", content_type=content_type)


@pytest.mark.parametrize(
    "content_type",
    ["text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "text/javascript", "application/ecmascript",
     "text/css", "application/wasm", "multipart/x-mixed-replace"],
)  # fmt: skip
def test_what_a_browser_would_run_is_told_to_it_as_bytes(content_type: str) -> None:
    assert served_type(content_type) == "application/octet-stream"
    assert served_type("text/csv; charset=utf-8") == "text/csv; charset=utf-8"


async def test_files_are_listed_by_path_and_are_each_installations_own(plugin: Installed) -> None:
    for path in ("a", "a/1", "a/2", "b"):
        await plugin.call("files", "write", path=path, data=b"x")
    other = installed(plugin.gate, "globex", "inst_b")
    assert await other.call("files", "list") == []
    assert await other.call("files", "stat", path="a") is None
    assert await other.call("files", "delete", path="a") is False
    assert [file["path"] for file in await plugin.call("files", "list", prefix="a/")] == ["a/1", "a/2"]
    assert [file["path"] for file in await plugin.call("files", "list", limit=2, after="a")] == ["a/1", "a/2"]
    with pytest.raises(PermissionDeniedError):
        await plugin.holding(["storage"]).call("files", "list")


async def test_people_have_what_is_for_their_role(plugin: Installed, either_database: Database) -> None:
    for role in ("member", "admin", "owner"):
        await plugin.call("files", "write", path=f"for-{role}", data=role.encode(), role=role)
    files = FileReader(either_database)
    for role, seen in (("member", 1), ("admin", 2), ("owner", 3), ("operator", 0)):
        assert len(await files.list("acme", "inst_a", role)) == seen
        assert await files.list("globex", "inst_a", role) == []
    with pytest.raises(FileMissingError):
        await files.find("acme", "inst_a", "member", "for-admin")
    found = await files.find("acme", "inst_a", "owner", "for-owner")
    assert b"".join([part async for part in files.parts("acme", "inst_a", found)]) == b"owner"

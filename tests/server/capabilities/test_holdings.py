"""What an installation keeps can be counted, written out and removed without a trace."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from jackfield.capabilities import Gate, export, holdings, inventory, purge, set_secrets
from jackfield.capabilities.models import (
    FileChunk,
    FileRow,
    FileUpload,
    SecretValue,
    StorageItem,
    TableRow,
    UniqueEntry,
    UsageRow,
)
from jackfield.db import Database
from tests.server.capabilities.installations import Installed, installed

MODELS = (StorageItem, TableRow, UniqueEntry, SecretValue, UsageRow, FileRow, FileChunk, FileUpload)


async def fill(database: Database, plugin: Installed) -> None:
    context = plugin.context
    await plugin.call("storage", "set", key="k", value={"n": [1, None]})
    await plugin.call("storage", "set", key="l", value="text")
    await plugin.call("tables", "insert", table="ledger", row={"customer": "c", "extra": {"a": 1}})
    await plugin.call("tables", "insert", table="cards", row={"number": "1", "shop": 1})
    await plugin.call("files", "write", path="a/b.txt", data=b"hello", content_type="text/plain")
    await plugin.call("files", "begin", path="half")
    async with database.write(context.tenant_id) as session:
        await set_secrets(session, context.tenant_id, context.installation_id, context.slug, {"api_key": "hidden"})


async def left(database: Database) -> dict[str, int]:
    async with database.read(None) as session:
        return {
            model.__tablename__: await session.scalar(select(func.count()).select_from(model)) or 0 for model in MODELS
        }


async def test_the_inventory_counts_and_purging_leaves_nothing(gate: Gate, database: Database) -> None:
    mine, other = installed(gate, "acme", "inst_a"), installed(gate, "acme", "inst_b")
    await fill(database, mine)
    async with database.read("acme") as session:
        counts = await inventory(session, "inst_a")
        assert await inventory(session, "inst_b") == dict.fromkeys(counts, 0)
    assert counts["storage_bytes"] > 4 * 200
    assert {**counts, "storage_bytes": 0} == {
        "storage_keys": 2, "table_rows": 2, "secrets": 1, "files": 1, "storage_bytes": 0,
    }  # fmt: skip
    await fill(database, other)
    async with database.write("acme") as session:
        await purge(session, "inst_a")
    async with database.read("acme") as session:
        assert await inventory(session, "inst_a") == dict.fromkeys(counts, 0)
        assert await inventory(session, "inst_b") == counts
    assert await left(database) == {
        "jf_storage": 2, "jf_table_rows": 2, "jf_table_unique": 1, "jf_secrets": 1, "jf_storage_usage": 1,
        "jf_files": 1, "jf_file_chunks": 1, "jf_file_uploads": 1,
    }  # fmt: skip
    await fill(database, mine)


async def test_space_is_given_back_to_the_last_byte(plugin: Installed, database: Database) -> None:
    await plugin.call("storage", "set", key="k", value="x" * 1000)
    await plugin.call("storage", "set", key="k", value="y")
    row = await plugin.call("tables", "insert", table="ledger", row={"customer": "c"})
    await plugin.call("tables", "update", table="ledger", id=row["id"], changes={"customer": "longer"})
    await plugin.call("tables", "delete", table="ledger", id=row["id"])
    await plugin.call("storage", "delete", key="k")
    async with database.read("acme") as session:
        assert (await inventory(session, "inst_a"))["storage_bytes"] == 0


async def test_everything_but_secrets_is_written_out(
    plugin: Installed, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdings, "_BATCH", 7)
    await fill(database, plugin)
    for number in range(30):
        await plugin.call("tables", "insert", table="ledger", row={"customer": f"c{number}"})
    lines: list[dict[str, Any]] = []
    async with database.read("acme") as session:
        async for batch in export(session, "inst_a"):
            assert len(batch) <= 7
            lines += batch
    assert [line for line in lines if line["kind"] == "storage"] == [
        {"kind": "storage", "key": "k", "value": {"n": [1, None]}},
        {"kind": "storage", "key": "l", "value": "text"},
    ]
    assert [line["path"] for line in lines if line["kind"] == "file"] == ["a/b.txt"]
    parts = [line for line in lines if line["kind"] == "file-part"]
    assert parts == [{"kind": "file-part", "path": "a/b.txt", "number": 0, "data": "aGVsbG8="}]
    rows = [line for line in lines if line["kind"] == "row"]
    assert [row["table"] for row in rows] == ["cards"] + ["ledger"] * 31
    assert {"customer": "c", "points": 0, "extra": {"a": 1}} in [row["values"] for row in rows]
    assert [line for line in lines if line["kind"] == "secret"] == [{"kind": "secret", "name": "api_key"}]
    assert "hidden" not in str(lines)

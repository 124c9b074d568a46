"""What is particular to reading by SQL: forged cursors, and short reads in the event loop."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert

from jackfield.data_adapters import (
    Aggregation,
    CursorMismatchError,
    Measure,
    Query,
    SqlAdapter,
    parse_order,
    parse_where,
    quick_reads,
)
from jackfield.db import Database
from tests.server.data_adapters.test_sql_suite import SURFACE, metadata, people


@pytest.fixture
async def adapter(either_database: Database) -> SqlAdapter:
    async with either_database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        rows = [
            {"id": f"p{number:04}", "tenant_id": tenant, "name": f"N{number}", "age": number % 50}
            for number, tenant in enumerate(["t", "u"] * 1_000)
        ]
        await connection.execute(insert(people), rows)
    return SqlAdapter(either_database, SURFACE)


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


async def test_a_forged_cursor_reaches_nothing_else(adapter: SqlAdapter) -> None:
    query = Query(order=parse_order(["age"]), limit=2)
    scope = parse_where([["age", "lt", 10]])
    page = await adapter.list("t", "people", query, scope=scope)
    assert page.cursor is not None
    mark = msgspec.json.decode(base64.urlsafe_b64decode(page.cursor + "=" * (-len(page.cursor) % 4)))[0]
    for parts in (
        [[1]], [[1, "p", "x"]], [["1", "p0000"]], [[1, 5]], [["x", None]], [[{"a": 1}, "p"]], [[["decimal", "x"], "p"]],
        [[["moment", "2026-01-01"], "p"]], [[["enum", "RED"], "p"]], [[["none", "x"], "p"]], [[2**70, "p"]], [-1],
        [2_000_000], ["0"], [None], [[True, "p"]], [[1.5, "p\0"]], [],
    ):  # fmt: skip
        forged = cursor(mark, *parts)
        try:
            found = await adapter.list("t", "people", Query(order=query.order, limit=2, cursor=forged), scope=scope)
        except CursorMismatchError:
            continue
        # SQLite compares anything with anything; the tenant and the scope hold all the same.
        assert all(row["age"] < 10 and int(row["id"][1:]) % 2 == 0 for row in found.rows)
    own = cursor(mark, [None, ""])
    everything = await adapter.list("t", "people", Query(order=query.order, limit=1000, cursor=own), scope=scope)
    assert len(everything.rows) == 200
    assert await adapter.count("t", "people", ()) == 1000


@pytest.mark.parametrize("cpu_s", [10.0, 0.0])
async def test_a_read_that_is_given_up_is_done_by_the_thread(
    adapter: SqlAdapter, monkeypatch: pytest.MonkeyPatch, cpu_s: float
) -> None:
    monkeypatch.setattr(quick_reads, "_CPU_S", cpu_s)
    monkeypatch.setattr(quick_reads, "_WALL_S", 10.0)
    is_quick: list[bool] = []
    really = quick_reads.QuickReader.execute

    async def execute(self: quick_reads.QuickReader, statement: Any, /) -> Any:
        is_quick.append(False)
        result = await really(self, statement)
        is_quick[-1] = True
        return result

    monkeypatch.setattr(quick_reads.QuickReader, "execute", execute)
    measures = Aggregation([Measure("n", "count"), Measure("sum", "sum", "age")], group_by=["age"])
    for _ in range(3):
        page = await adapter.list("t", "people", Query(order=parse_order(["-age"]), limit=3))
        assert [row["age"] for row in page.rows] == [48, 48, 48]
        assert await adapter.count("t", "people", parse_where([["age", "gt", 40]])) == 160
        assert (await adapter.aggregate("t", "people", measures))[1] == {"age": 2, "n": 40, "sum": 80}
    if adapter._quick.is_quick("nothing"):
        # Given up once, it is not tried again for a while.
        assert is_quick == ([True] * 9 if cpu_s else [False])
    else:
        assert is_quick == []


async def test_a_short_read_sees_what_was_just_committed(adapter: SqlAdapter) -> None:
    for number in range(5):
        await adapter.create("v", "people", [{"name": "x"}])
        assert await adapter.count("v", "people", ()) == number + 1

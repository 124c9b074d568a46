"""The list of all tenants' deliveries: what operators see of it, and how far one page looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import event, insert

from jackfield.db import Database
from jackfield.db.scopes import BY_KEY
from jackfield.http import Caller
from jackfield.jobs import Delivery
from jackfield.lifecycle import EveryDelivery, every_delivery, every_delivery_router
from jackfield.lifecycle.models import InstallationRow
from tests.server.conftest import KnownCallers, application, client

CALLERS = KnownCallers({"ops": Caller("operator", token_id="tok_1"), "own": Caller("owner", tenant_id="t0")})
MADE = datetime(2026, 3, 1, tzinfo=UTC)


def a_delivery(number: int, **more: Any) -> dict[str, Any]:
    """Of tenant `t0` to `t2` in turn, one a minute; each tenth is dead, the last is running."""
    values = {
        "id": f"dlv_{number:03}", "event_id": f"evt_{number}", "event": "sale.created", "tenant_id": f"t{number % 3}",
        "installation_id": f"inst_{number % 3}", "handler": "award", "ordered": True, "state": "done", "place": None,
        "attempt": 1, "failures": 0, "interruptions": 0, "max_attempts": 5, "error_code": None, "error_message": None,
        "lease_owner": None, "created_at": MADE + timedelta(minutes=number), "finished_at": None,
    }  # fmt: skip
    if number % 10 == 0:
        values |= {"state": "dead", "error_code": "plugin-error", "error_message": "what the plugin said of Ada"}
    return values | more


@pytest.fixture
async def http(either_database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with either_database.write(None) as session:
        for number, (slug, instance) in enumerate((("points", "default"), ("points", "second"))):
            session.add(
                InstallationRow(
                    id=f"inst_{number}", tenant_id=f"t{number}", slug=slug, instance=instance, version="1.0.0",
                    state="active", grants=[], config={}, installed_at=MADE, updated_at=MADE,
                )
            )  # fmt: skip
        await session.execute(insert(Delivery), [a_delivery(number) for number in range(1, 60)])
        running = a_delivery(60, state="running", place="running", lease_owner="node_a", error_code=None)
        await session.execute(insert(Delivery), [running])
    async with client(application(CALLERS, every_delivery_router(EveryDelivery(either_database))), "ops") as http:
        yield http


async def pages(http: httpx.AsyncClient, **wanted: Any) -> list[list[int]]:
    """The numbers on each page."""
    found: list[list[int]] = []
    cursor = None
    while True:
        given = {"limit": 4, **wanted} | ({"cursor": cursor} if cursor else {})
        answer = await http.get("/api/operators/deliveries", params=given)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found.append([int(one["id"].removeprefix("dlv_")) for one in body["items"]])
        cursor = body["next_cursor"]
        if cursor is None:
            return found


async def numbers(http: httpx.AsyncClient, **wanted: Any) -> list[int]:
    """Of all pages."""
    return [number for page in await pages(http, **wanted) for number in page]


async def test_operators_see_all_tenants_and_nothing_that_is_the_tenants(http: httpx.AsyncClient) -> None:
    answer = (await http.get("/api/operators/deliveries", params={"limit": 11})).json()
    first, *_, last = answer["items"]
    assert (first["id"], first["tenant_id"], first["slug"], first["node_id"]) == ("dlv_060", "t0", "points", "node_a")
    assert (last["id"], last["tenant_id"], last["slug"]) == ("dlv_050", "t2", None)
    assert (last["error_code"], last["error_hint"] is not None) == ("plugin-error", True)
    assert "Ada" not in str(answer)
    assert not {"payload", "error_message"} & last.keys()
    http.headers["authorization"] = "Bearer own"
    assert (await http.get("/api/operators/deliveries")).status_code == 403


async def test_a_page_looks_at_so_many_and_the_next_goes_on(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(every_delivery, "LOOKED_AT", 16)
    dead = [50, 40, 30, 20, 10]
    assert await numbers(http) == list(range(60, 0, -1))
    assert await pages(http, state="dead") == [dead[:4], dead[4:]]
    assert await pages(http, state="running") == [[60]]
    assert await pages(http, code="plugin-error") == [[50], [40, 30], [20], [10]]
    assert await pages(http, tenant="t1", code="plugin-error") == [[40], [10]]
    assert await numbers(http, plugin="points") == [n for n in range(60, 0, -1) if n % 3 != 2]
    assert await numbers(http, plugin="points@second") == list(range(58, 0, -3))
    assert await pages(http, plugin="gone") == [[]] * 4
    assert await pages(http, event="sale.refunded", tenant="t1") == [[], []]
    since, until = (MADE + timedelta(minutes=minutes) for minutes in (3, 6))
    assert await numbers(http, since=since.isoformat(), until=until.isoformat()) == [6, 5, 4, 3]
    # Long before anything that is looked for: it is not gone on with.
    assert await pages(http, since=(MADE + timedelta(days=9)).isoformat()) == [[]]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("state", "eaten", "delivery-state-invalid"), ("cursor", "WzFd" * 4, "cursor-invalid"),
        ("cursor", "WzFlNDBd", "cursor-invalid"), ("cursor", "WzkyMjMzNzIwMzY4NTQ3NzU4MDhd", "cursor-invalid"),
        ("tenant", "x" * 65, "request-invalid"), ("since", "2026-03-01T09:00", "request-invalid"),
    ],
)  # fmt: skip
async def test_what_cannot_be_meant_is_refused(http: httpx.AsyncClient, name: str, value: str, code: str) -> None:
    answer = await http.get("/api/operators/deliveries", params={name: value})
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_no_question_reads_the_whole_table(http: httpx.AsyncClient, either_database: Database) -> None:
    """Not even before the database has learnt how many rows there are."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if "FROM jf_deliveries" in statement:
            asked.append((statement, parameters))

    engine = either_database.engine
    event.listen(engine.sync_engine, "before_cursor_execute", note)
    questions: list[dict[str, str]] = [
        {}, {"tenant": "t1"}, {"state": "dead"}, {"state": "running"}, {"state": "done", "plugin": "points"}
    ]  # fmt: skip
    for wanted in questions:
        await http.get("/api/operators/deliveries", params=wanted)
    event.remove(engine.sync_engine, "before_cursor_execute", note)
    assert len(asked) == 8
    for statement, parameters in asked:
        lines = await _plan(either_database, statement, parameters)
        assert not [line for line in lines if "Seq Scan" in line]
        if "UNION ALL" in statement:
            # Part by part: each in the order of an index, and so no more of it than is wanted.
            parts = [line for line in lines if "ix_jf_deliveries_" in line]
            assert len(parts) == statement.count("LIMIT") - 1, lines
            assert not [line for line in lines if "Sort  (" in line], lines
        elif " + " in statement:
            assert [line for line in lines if "ix_jf_deliveries_" in line], lines
        else:
            assert not [line for line in lines if "TEMP B-TREE" in line or "Sort" in line], lines


async def _plan(database: Database, statement: str, parameters: Any) -> list[str]:
    async with database.read(None) as session:
        if database.is_sqlite:
            connection = await session.connection()
            rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            return [str(row.detail) for row in rows]
        session.info[BY_KEY] = " + " not in statement
        connection = await session.connection()
        # Sixty rows are read as they lie, whatever there is; what is asked here is what there is for more.
        await connection.exec_driver_sql("SET LOCAL enable_seqscan TO off")
        rows = await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        lines = [str(row[0]) for row in rows]
        # Of the installations of one that it is known of: by key, or all of so few.
        return [line for line in lines if "jf_installations" not in line]

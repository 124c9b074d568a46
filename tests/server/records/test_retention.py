"""What is old goes, by the platform's time or the tenant's own; what is new stays, and so do the figures."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Connection, Table, insert, select, text, update

from jackfield.app import Platform
from jackfield.capabilities import ensure_key_file
from jackfield.db import Database, UtcDateTime
from jackfield.db.scopes import scope_of
from jackfield.http import Caller
from jackfield.records import (
    InvocationRecord,
    InvocationRow,
    Kind,
    Recorder,
    Records,
    Retention,
    Rows,
    audit,
    record_kinds,
    retention_router,
)
from jackfield.records.models import RetentionRun
from jackfield.settings import Settings
from tests.server.conftest import KnownCallers, ManualClock, application, client

TENANTS = ("usual", "brief", "long")


def a_row(rows: Rows, tenant_id: str, at: datetime, number: int) -> dict[str, Any]:
    """Something in each column that needs something."""
    table, column = cast(Table, rows.model.__table__), rows.at.key
    values: dict[str, Any] = {"tenant_id": tenant_id, column: at}
    for each in table.columns:
        if each.name in values or each.nullable or each is table.autoincrement_column:
            continue
        if isinstance(each.type, UtcDateTime):
            values[each.name] = at
        else:
            kind = each.type.python_type
            values[each.name] = {str: f"x{number}", int: number, float: 1.0, bool: True, object: {}}.get(kind, {})
    return values


async def put(database: Database, rows: Rows, ages: list[timedelta]) -> None:
    """Rows of each age for each tenant. What they refer to is not there, which only the owner can arrange."""
    now, table = datetime.now(UTC), cast(Table, rows.model.__table__)

    def run(connection: Connection) -> None:
        if not database.is_sqlite:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            connection.execute(text(scope_of(None)))
        for number, (tenant_id, age) in enumerate((tenant_id, age) for tenant_id in TENANTS for age in ages):
            connection.execute(insert(table).values(a_row(rows, tenant_id, now - age, number)))

    async with database.administer() as connection:
        if database.is_sqlite:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute("PRAGMA foreign_keys=OFF")
            await connection.execution_options(jackfield_immediate=True)
        await connection.run_sync(run)
        await connection.commit()


async def left(database: Database, rows: Rows) -> dict[str, list[int]]:
    """Days that what is left is old."""
    table, now = cast(Table, rows.model.__table__), datetime.now(UTC)
    found: dict[str, list[int]] = {tenant_id: [] for tenant_id in TENANTS}
    async with database.read(None) as session:
        for tenant_id, at in await session.execute(select(table.c.tenant_id, rows.at)):
            found[tenant_id].append(round((now - at) / timedelta(days=1)))
    return {tenant_id: sorted(days) for tenant_id, days in found.items()}


@pytest.fixture
def platform(either_database: Database, tmp_path: Path) -> Platform:
    ensure_key_file(tmp_path / "data")
    return Platform(Settings(data_dir=tmp_path / "data", database_url=either_database.url))


async def limit_of(tenant_id: str) -> int | None:
    return {"brief": 0}.get(tenant_id, 3_650)


async def test_of_each_kind_the_old_goes_and_the_new_stays(either_database: Database, platform: Platform) -> None:
    kinds = [kind for kind in platform.retention.kinds if not kind.is_evidence]
    assert {kind.name for kind in kinds} >= {
        "invocations", "logs", "costs", "uses", "deliveries", "changes", "notifications", "webhook_attempts",
        "channel_messages",
    }  # fmt: skip
    retention = Retention(either_database, kinds, limit_of=limit_of)
    for kind in kinds:
        assert kind.days is not None
        await retention.set("brief", kind.name, kind.days // 2, "member:ann")
        await retention.set("long", kind.name, kind.days * 2, "member:ann")
        for rows in kind.prunes:
            assert isinstance(rows, Rows)
            days = [kind.days // 2 - 1, kind.days - 1, kind.days + 1, kind.days * 2 + 1]
            await put(either_database, rows, [timedelta(days=each) for each in days])
    removed = await retention.go_through()
    assert removed == sum(6 * len(kind.prunes) for kind in kinds)
    for kind in kinds:
        assert kind.days is not None
        for rows in kind.prunes:
            half, most = kind.days // 2 - 1, kind.days - 1
            expected = {"usual": [half, most], "brief": [half], "long": [half, most, kind.days + 1]}
            assert await left(either_database, cast(Rows, rows)) == expected, kind.name
    states = {state.kind: state for state in await retention.states()}
    assert all(state.finished_at and state.error is None and state.removed for state in states.values())
    await platform.database.close()


async def test_one_node_at_a_time_and_not_before_it_is_due(either_database: Database, clock: ManualClock) -> None:
    clock.moment = datetime.now(UTC)
    asked: list[datetime] = []
    is_there, may_go = asyncio.Event(), asyncio.Event()

    async def prune(_database: Database, before: datetime, **_whose: Any) -> int:
        asked.append(before)
        is_there.set()
        await may_go.wait()
        return 3

    async def fail(_database: Database, _before: datetime, **_whose: Any) -> int:
        raise ZeroDivisionError("of this kind")

    kinds = [Kind("bad", "", 1, [fail]), Kind("good", "", 7, [prune])]
    other = Database(either_database.url)
    here, there = Retention(either_database, kinds, clock), Retention(other, kinds, clock)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(here.go_through())
        await is_there.wait()
        assert await there.go_through() == 0
        may_go.set()
        assert await running == 3
    assert asked == [clock.moment - timedelta(days=7)]
    assert await there.go_through() == 0
    clock.advance(3_601)
    assert await there.go_through() == 3
    bad, good = await here.states()
    assert (good.total, good.error) == (6, None)
    assert bad.error is not None
    assert "ZeroDivisionError" in bad.error
    # A node that has died in the middle is waited for, and then not any more.
    async with either_database.write(None) as session:
        await session.execute(update(RetentionRun).values(lease_until=clock.now() + timedelta(minutes=90)))
    clock.advance(3_601)
    assert await here.go_through() == 0
    clock.advance(3_601)
    assert await here.go_through() == 3
    await other.close()


async def test_a_clock_that_runs_ahead_drops_nothing(postgresql: Database, clock: ManualClock) -> None:
    clock.moment = datetime.now(UTC) + timedelta(days=400)
    retention = Retention(postgresql, record_kinds(30, 30, 30, 30), clock)
    await put(postgresql, Rows(InvocationRow, InvocationRow.started_at), [timedelta(0)])
    assert await retention.go_through() == 0


async def test_figures_of_an_installation_do_not_change_by_it(either_database: Database, tmp_path: Path) -> None:
    recorder = Recorder(either_database, tmp_path / "journal")
    began = (datetime.now(UTC) - timedelta(days=40)).timestamp()
    for number, status in enumerate(("ok", "crashed", "ok")):
        recorder.record(
            InvocationRecord(
                id=f"inv_{number}", tenant_id="acme", installation_id="inst_1", plugin="p", version="1.0.0",
                kind="event", name="e", handler="h", started_at=began + number, duration_us=1000, cpu_us=800,
                host_calls=3, memory_kb=20_000, status=status, error_code="boom" if status == "crashed" else None,
            )
        )  # fmt: skip
    records = Records(either_database, recorder)
    before = await records.stats("acme", "inst_1")
    assert await Retention(either_database, record_kinds(30, 30, 30, 30)).go_through() > 3
    after = await records.stats("acme", "inst_1")
    assert (after.calls, after.failures, after.last_run_at, after.last_error_at, after.last_error_code) == (
        3, 1, before.last_run_at, before.last_error_at, "boom",
    )  # fmt: skip
    assert await records.errors("acme", "inst_1") == []
    await recorder.close()


CALLERS = KnownCallers(
    {
        "own": Caller("owner", tenant_id="acme", member_id="mem_1"),
        "brief": Caller("admin", tenant_id="brief", token_id="tok_1"),
        "mem": Caller("member", tenant_id="acme", member_id="mem_2"),
        "ops": Caller("operator", token_id="tok_2"),
    }
)


async def test_a_tenant_says_how_long_within_its_plan(either_database: Database) -> None:
    async def nothing(_database: Database, _before: datetime, **_whose: Any) -> int:
        return 0

    kinds = [Kind("logs", "Lines", 30, [nothing]), Kind("audit", "Who", 730, [nothing], is_evidence=True)]
    retention = Retention(either_database, kinds, limit_of=limit_of)

    async def require(_tenant_id: str) -> None:
        pass

    app = application(CALLERS, retention_router(retention, require))
    async with client(app, "own") as http:
        assert (await http.put("/api/retention/logs", json={"days": 7})).json()["days"] == 7
        assert (await http.put("/api/retention/audit", json={"days": 1_000})).json()["days"] == 1_000
        short = await http.put("/api/retention/audit", json={"days": 729})
        assert (short.status_code, short.json()["code"]) == (422, "retention-invalid")
        assert (await http.put("/api/retention/secrets", json={"days": 7})).json()["code"] == "retention-kind-unknown"
        assert (await http.put("/api/retention/logs", json={"days": 0})).status_code == 422
        kept = {kind["kind"]: kind for kind in (await http.get("/api/retention")).json()["kinds"]}
        assert (kept["logs"]["days"], kept["logs"]["is_own"], kept["logs"]["longest"]) == (7, True, 3_650)
        assert (await http.put("/api/retention/logs", json={"days": None})).json()["is_own"] is False
    async with client(app, "brief") as http:
        refused = await http.put("/api/retention/logs", json={"days": 31})
        assert (refused.status_code, refused.json()["code"]) == (409, "retention-too-long")
        assert (await http.put("/api/retention/logs", json={"days": 29})).status_code == 200
    async with client(app, "mem") as http:
        assert (await http.put("/api/retention/logs", json={"days": 7})).status_code == 403
    async with client(app, "ops") as http:
        assert [kind["kind"] for kind in (await http.get("/api/operators/retention")).json()["kinds"]] == [
            "logs", "audit",
        ]  # fmt: skip


async def test_a_trail_is_dropped_as_long_ago_as_its_tenant_says(either_database: Database, platform: Platform) -> None:
    await platform.open_trail()
    for tenant_id in ("usual", "long"):
        async with platform.database.write(tenant_id) as session:
            audit(session, tenant_id, "member:ann", "plugin.install", "echo")
    (kind,) = [kind for kind in platform.retention.kinds if kind.is_evidence]
    (prune,) = kind.prunes
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert await prune(platform.database, later, but_not=["long"]) == 1
    assert (await platform.trail.verify("usual")).removed == 1
    assert (await platform.trail.verify("long")).removed == 0
    assert await prune(platform.database, later, tenant_id="long") == 1
    await platform.database.close()

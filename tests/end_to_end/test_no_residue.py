"""Uninstalling leaves exactly what it says: the whole database, before a plugin came and after it went."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, select

from jackfield.settings import EgressSettings
from jackfield_sdk import hooks
from tests.end_to_end.clinic import MONDAY, fill, surface
from tests.end_to_end.published import House, published

HISTORY = {
    "jf_audit", "jf_audit_heads", "jf_handler_costs", "jf_idempotency", "jf_lifecycle_operations", "jf_lifecycle_steps",
    "jf_data_changes", "jf_live_events", "jf_plugins", "jf_retention_runs",
}  # fmt: skip
"""What tells of the past, and is to stay: who did what, and which of the tenant's own data a plugin has changed."""

TENANTS = {"jf_data_keys", "jf_quota_windows", "jf_tokens"}
"""The tenant's own: the key of its secrets, what it used, when its tokens were last seen."""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    egress = EgressSettings(allowed=("127.0.0.1",))
    async with published(tmp_path, surface(), "booking", "echo", "google-calendar", egress=egress) as house:
        await fill(house.platform.database)
        yield house


async def everything(house: House) -> dict[str, set[str]]:
    """Every row of every table, as text."""
    await house.platform.recorder.flush()
    found = MetaData()
    async with house.platform.database.engine.connect() as connection:
        await connection.run_sync(found.reflect)
        return {
            table.name: {repr(tuple(row)) for row in await connection.execute(select(table))}
            for table in found.sorted_tables
        }


async def use(house: House) -> None:
    """A little of all that leaves something behind."""
    await house.call(
        "booking", "CreateAppointment", patient_id="1", provider_id="1", operatory_id="1", starts_at=f"{MONDAY}T09:00"
    )
    await house.call("echo", "tally", key="visits")
    await house.call("echo", "echo", text="hello")
    await house.ask(
        "PUT", "/google-calendar/connections/google",
        credentials={
            "kind": "oauth2-authorization-code", "client_id": "id", "client_secret": "a secret that must not stay",
        },
    )  # fmt: skip
    booking = hooks.Booking(id="b1", customer_id="c1", starts_at=f"{MONDAY}T13:00:00+01:00")
    await house.platform.tenant("acme").emit("booking.created", booking)
    await house.platform.drain_events()


async def test_what_is_deleted_leaves_no_row_in_any_table(house: House) -> None:
    before = await everything(house)
    for slug in ("booking", "echo", "google-calendar"):
        await house.install(slug)
    await use(house)
    during = await everything(house)
    assert len({name for name in during if during[name] != before.get(name)} - HISTORY) >= 8
    for slug in ("google-calendar", "echo", "booking"):
        await house.ask("DELETE", f"/{slug}?data=delete")
    await house.platform.connected.revocations.work()
    after = await everything(house)
    changed = {name: after[name] ^ before[name] for name in after if after[name] != before[name]}
    # The tenant's own appointment, which the plugin made on its behalf, is the tenant's.
    assert len(changed.pop("clinic_appointments")) == 1
    # That it came and went is told to the tenant's other plugins.
    assert all("'plugin." in row for row in changed.pop("jf_outbox", set()))
    left = {name: rows for name, rows in changed.items() if name not in HISTORY | TENANTS}
    assert sorted(left) == [], left
    assert "a secret that must not stay" not in repr(after)


async def test_what_is_kept_is_there_again_and_nothing_else_is_left(house: House) -> None:
    before = await everything(house)
    await house.install("echo")
    for _ in range(3):
        await house.call("echo", "tally", key="visits")
    await house.ask("DELETE", "/echo?data=keep")
    kept = {name for name, rows in (await everything(house)).items() if rows != before[name]} - HISTORY - TENANTS
    assert "jf_storage" in kept
    kept.discard("jf_outbox")
    assert not kept & {"jf_secrets", "jf_deliveries", "jf_schedules", "jf_connections", "jf_webhooks"}
    await house.install("echo")
    assert await house.call("echo", "tally", key="visits") == 4


async def test_an_export_has_what_the_inventory_tells_of(house: House, tmp_path: Path) -> None:
    await house.install("booking")
    await house.call(
        "booking", "CreateAppointment", patient_id="1", provider_id="1", operatory_id="1", starts_at=f"{MONDAY}T09:00"
    )
    told = await house.ask("GET", "/booking/inventory")
    assert told["owned"]["table_rows"] == 24
    assert told["contributes"]["functions"][:2] == ["BreakAppointment", "CancelAppointment"]
    assert told["contributes"]["tables"] == ["holds"]
    removed: Any = await house.ask("DELETE", "/booking?data=export")
    (path,) = (tmp_path / "data" / "exports" / "acme").glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sum(line["kind"] == "row" for line in lines) == told["owned"]["table_rows"]
    assert removed["export_id"] == path.stem

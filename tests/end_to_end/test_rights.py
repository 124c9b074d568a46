"""Rights, through all of it: what a member may not see a plugin does not show them, and what is withdrawn is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table

from jackfield import Access, Entity, Platform, Settings, Surface, ensure_key_file
from jackfield.lifecycle import Grant
from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project
from tests.server.conftest import client, until

SOURCE = """
import time

import jackfield_sdk as jf

plugin = jf.Plugin(
    "probe", version="1.0.0", permissions=["customers:read"], optional_permissions=["customers:write"],
    limits=jf.Limits(wall_ms=20_000, cpu_ms=10_000, host_calls=5_000),
)


@plugin.function()
def names(ctx: jf.Context) -> list[str]:
    return [row["name"] for row in ctx.data["customers"].list(order="name")]


@plugin.function()
def rename(ctx: jf.Context, id: str, name: str) -> None:
    ctx.data["customers"].update(id, name=name)


@plugin.function(timeout_ms=20_000)
def watch(ctx: jf.Context) -> str:
    ctx.storage.set("begun", True)
    for _ in range(2_000):
        try:
            ctx.storage.get("begun")
        except jf.PermissionDeniedError as error:
            return f"{error.code}: {error}"
        time.sleep(0.005)
    return "never refused"
"""

host = MetaData()
customers = Table(
    "shop_people",
    host,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", String(64), nullable=False),
    Column("name", String(40), nullable=False),
    Column("keeper", String(80)),
)
ROWS = [
    {"id": 1, "tenant_id": "acme", "name": "Ada", "keeper": "mem_a"},
    {"id": 2, "tenant_id": "acme", "name": "Bob", "keeper": "mem_b"},
    {"id": 3, "tenant_id": "acme", "name": "Cy", "keeper": None},
    {"id": 4, "tenant_id": "other", "name": "Eve", "keeper": "mem_a"},
]
KEPT = [["keeper", "eq", "$user.id"]]


class House:
    """A running platform with the probe installed."""

    def __init__(self, platform: Platform, tokens: dict[str, str], member_id: str) -> None:
        self.platform = platform
        self.tokens = tokens
        self.member_id = member_id

    async def ask(self, method: str, path: str, who: str, **options: Any) -> httpx.Response:
        async with client(self.platform.asgi, self.tokens[who]) as http:
            return await http.request(method, path, **options)

    async def call(self, function: str, who: str, **arguments: Any) -> httpx.Response:
        return await self.ask("POST", f"/api/plugins/probe/functions/{function}", who, json={"arguments": arguments})


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    project = tmp_path / "probe"
    project.mkdir()
    (project / "plugin.py").write_text(SOURCE)
    (project / "pyproject.toml").write_text('[project]\nname = "probe"\nversion = "1.0.0"\n')
    key = create_key(tmp_path / "keys")
    pack_project(project, tmp_path / "probe.jfp", key=key)
    ensure_key_file(tmp_path / "data")
    access = {"member": Access(read=KEPT, write=False)}
    entity = Entity(
        "customers", customers, readable=("id", "name", "keeper"), writable=("name", "keeper"), access=access
    )
    # How plugins are sealed is not the question here.
    platform = Platform(Settings(data_dir=tmp_path / "data", isolation="none"), Surface(entities=[entity]))
    async with platform.database.engine.begin() as connection:
        await connection.run_sync(host.create_all)
        await connection.execute(customers.insert(), ROWS)
    async with platform:
        await platform.registry.ensure_publisher("pub", "Pub")
        await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")

        async def chunks() -> AsyncIterator[bytes]:
            yield (tmp_path / "probe.jfp").read_bytes()

        await platform.registry.publish(chunks(), "pub")
        await platform.tenants.ensure_tenant("acme", name="Acme")
        await platform.lifecycle.install("acme", "probe", grants=["customers:read", "customers:write"])
        bea = await platform.tenants.add_member("acme", "Bea", "bea@example.com")
        owner = await platform.tenants.issue_token("owner", tenant_id="acme")
        member = await platform.tenants.issue_token("member", tenant_id="acme", member_id=bea.id)
        yield House(platform, {"owner": owner.plaintext, "member": member.plaintext}, bea.id)


async def test_a_plugin_shows_a_member_no_more_than_they_may_see(house: House) -> None:
    assert (await house.call("names", "owner")).json()["output"] == ["Ada", "Bob", "Cy"]
    assert (await house.call("names", "member")).json()["output"] == []
    kept = customers.update().where(customers.c.id.in_((2, 4))).values(keeper=house.member_id)
    async with house.platform.database.write(None) as session:
        await session.execute(kept)
    assert (await house.call("names", "member")).json()["output"] == ["Bob"]
    refused = await house.call("rename", "member", id="2", name="Mine")
    assert "permission-denied" in refused.text
    assert "the acting user may not" in refused.text
    assert (await house.call("rename", "owner", id="2", name="Rob")).status_code == 200


async def test_a_grant_that_is_narrowed_narrows_what_owners_see_through_the_plugin(house: House) -> None:
    body = {"grants": [{"permission": "customers:read", "where": [["name", "in", ["Ada", "Eve"]]]}]}
    assert (await house.ask("PUT", "/api/plugins/probe/grants", "owner", json=body)).status_code == 200
    assert (await house.call("names", "owner")).json()["output"] == ["Ada"]


async def test_what_is_withdrawn_is_gone_from_a_call_that_is_under_way(house: House) -> None:
    running = asyncio.create_task(house.call("watch", "owner"))

    async def has_begun() -> bool:
        async with house.platform.database.engine.begin() as connection:
            return (await connection.exec_driver_sql("SELECT count(*) FROM jf_storage")).scalar_one() > 0

    await until(has_begun)
    await house.platform.lifecycle.set_grants("acme", "probe", ["customers:read"])
    async with asyncio.timeout(15):
        assert (await running).json()["output"] == "permission-denied: `storage` is not granted"


async def test_each_use_is_told_with_the_one_it_was_for(house: House) -> None:
    for _ in range(2):
        await house.call("names", "owner")
    await house.platform.lifecycle.set_grants("acme", "probe", [Grant("customers:read", KEPT)])
    found = {p["permission"]: p for p in (await house.ask("GET", "/api/plugins/probe/permissions", "owner")).json()}
    read = found["customers:read"]
    assert (read["uses"], [user["uses"] for user in read["users"]]) == (2, [2])
    assert read["text"] == "see your customers: those of which keeper is the acting user"
    assert (read["granted_where"], found["customers:write"]["is_granted"]) == (KEPT, False)
    seen = (await house.ask("GET", "/api/plugins/probe/permissions", "member")).json()
    assert all(permission["users"] == [] for permission in seen), "who uses what is nothing for every member"


async def test_the_catalogue_says_what_there_is_and_what_the_caller_has(house: House) -> None:
    for who, write, where in (("owner", True, []), ("member", False, KEPT)):
        found = (await house.ask("GET", "/api/permissions", who)).json()
        held = {entity["permission"]: entity for entity in found["entities"]}
        assert held["customers:write"]["held"] is write
        assert held["customers:read"]["held_where"] == where
    forms = {kind["form"]: kind for kind in found["kinds"]}
    assert {"storage", "http:HOST", "functions:PLUGIN.NAME", "notify", "channels:KIND"} <= set(forms)
    assert forms["http:HOST"]["risk"] == "high"

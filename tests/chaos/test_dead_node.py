"""`kill -9` of one of two nodes on one PostgreSQL: the other goes on with its work, without waiting for leases."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chaos.test_rolling_restart import SURFACE, Member, free_port, prepare
from tests.postgres import Postgres
from tests.server.conftest import until
from tests.server.db import nodes
from tests.server.db.nodes import TENANT, node

SOURCE = '''
import time

import jackfield_sdk as jf

plugin = jf.Plugin("ledger", version="{version}", permissions=["storage"])


@plugin.on("sale.created")
def sold(ctx: jf.Context, sale: dict[str, object]) -> None:
    """The first attempt does not come to its end."""
    ctx.storage.increment("attempts")
    if ctx.delivery.attempt == 1:
        time.sleep(9)
    ctx.storage.increment("done")


@plugin.on_deactivate
def rest(ctx: jf.Context) -> None:
    if ctx.storage.increment("rests") == 1:
        time.sleep(25)


@plugin.function()
def count(ctx: jf.Context, key: str) -> int:
    return ctx.storage.get(key, 0)
'''
GONE_WITHIN_S = 2.5
"""A lock has to be free for 1.5 s, and is looked at twice a second."""
SLACK_S = 6.0
"""The machine of the tests is shared."""


@pytest.mark.soak
@pytest.mark.timeout(200)
async def test_the_work_of_a_killed_node_is_taken_over_within_seconds(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "SOURCE", SOURCE)
    url = postgres.url(await postgres.create())
    token = await prepare(url, tmp_path)
    (tmp_path / "host_surface.py").write_text(SURFACE)
    victim = Member(tmp_path / "victim", free_port())
    victim.start(url)
    assert victim.process is not None
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{victim.port}", headers={"Authorization": f"Bearer {token}"}, timeout=60
    ) as http:

        async def is_ready() -> bool:
            try:
                return (await http.get("/api/health")).status_code == 200
            except httpx.TransportError:
                return False

        await until(is_ready)
        assert (await http.post("/api/events/sale.created", json={"n": 1})).status_code < 300

        async def runs() -> bool:
            answer = await http.post("/api/plugins/ledger/functions/count", json={"arguments": {"key": "attempts"}})
            return bool(answer.json()["output"] == 1)

        await until(runs)
        deactivating = asyncio.create_task(http.post("/api/plugins/ledger/deactivate"))
        async with node(url, tmp_path / "survivor") as survivor:
            seen = await survivor.nodes.every()
            assert [one.is_alive for one in seen] == [True, True, False], "the third one prepared, and was stopped"
            operation = await operations(survivor)
            assert [(one.kind, one.state) for one in operation] == [("deactivate", "running")]
            victim.process.send_signal(signal.SIGKILL)
            killed = time.monotonic()

            async def is_taken() -> bool:
                return (await operations(survivor))[0].owner == survivor.database.node_id

            await until(is_taken)
            took_s = time.monotonic() - killed

            async def has_ended() -> bool:
                return (await operations(survivor))[0].state in ("done", "failed")

            await until(has_ended)
            await until(lambda: _is_delivered(survivor))
            done_s = time.monotonic() - killed
            print(f"\noperation taken over after {took_s:.2f} s, delivery done after {done_s:.2f} s")
            assert took_s < GONE_WITHIN_S + SLACK_S
            assert done_s < 20, "a lease of a delivery is a minute"
            dead = next(one for one in await survivor.nodes.every() if one.pid == victim.process.pid)
            assert (dead.is_alive, dead.ended_by) == (False, survivor.database.node_id)
        with pytest.raises(httpx.TransportError):
            await deactivating
    victim.process.wait()


async def operations(platform: Any) -> list[Any]:
    from sqlalchemy import select

    from jackfield.lifecycle.models import OperationRow

    async with platform.database.read(TENANT) as session:
        return list(await session.scalars(select(OperationRow).where(OperationRow.kind == "deactivate")))


async def _is_delivered(platform: Any) -> bool:
    from sqlalchemy import select

    from jackfield.jobs.models import Delivery

    async with platform.database.read(TENANT) as session:
        found = list(await session.scalars(select(Delivery).where(Delivery.handler == "sold")))
        return bool(found) and all(one.finished_at is not None or one.place != "running" for one in found)

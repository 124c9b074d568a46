"""A full disk, a slow database, a clock that is set back: everybody is told clearly, and nothing is lost.

A database that goes away is `tests/server/db/test_restart.py`; a node that dies, `test_dead_node.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import event

from jackfield import Event, Platform, Settings, Surface
from jackfield.clock import SystemClock
from jackfield.db import full_since
from jackfield.settings import DatabaseSettings
from jackfield_cli.keys import create_key
from tests.postgres import Postgres
from tests.server.conftest import client
from tests.server.db import nodes
from tests.server.db.nodes import KEY, TENANT, package

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOURCE = """
import jackfield_sdk as jf

plugin = jf.Plugin("ledger", version="{version}", permissions=["storage"])


@plugin.function()
def put(ctx: jf.Context, key: str, size: int) -> None:
    ctx.storage.set(key, "x" * size)


@plugin.function()
def size(ctx: jf.Context, key: str) -> int:
    return len(ctx.storage.get(key, ""))


@plugin.on("sale.created")
def sold(ctx: jf.Context, sale: dict[str, object]) -> None:
    ctx.storage.set("sold", [*ctx.storage.get("sold", []), sale["n"]])


@plugin.function()
def sold_so_far(ctx: jf.Context) -> list[int]:
    return ctx.storage.get("sold", [])
"""
FULL = (503, "database-full")


class ShiftedClock(SystemClock):
    """One that somebody sets."""

    by = timedelta()

    def now(self) -> datetime:
        return super().now() + self.by


class House:
    """A platform with the plugin installed, and its owner."""

    def __init__(self, platform: Platform, http: httpx.AsyncClient, clock: ShiftedClock) -> None:
        self.platform, self.http, self.clock = platform, http, clock

    async def call(self, function: str, **arguments: Any) -> tuple[int, Any]:
        """Status and output, or code."""
        answer = await self.http.post(f"/api/plugins/ledger/functions/{function}", json={"arguments": arguments})
        body = answer.json()
        if answer.status_code != 200:
            return answer.status_code, body["code"]
        return 200, body["output"] if body["success"] else body["error"]["code"]

    async def emit(self, n: int) -> tuple[int, str]:
        answer = await self.http.post("/api/events/sale.created", json={"n": n, "note": "x" * 5_000})
        return answer.status_code, answer.json().get("code", "")


@contextlib.asynccontextmanager
async def running(folder: Path, **settings: Any) -> AsyncIterator[House]:
    key, clock = create_key(folder / "keys"), ShiftedClock()
    surface = Surface(events=[Event("sale.created")])
    platform = Platform(Settings(data_dir=folder / "data", secret_key=KEY, **settings), surface, clock=clock)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nodes, "SOURCE", SOURCE)
        content = package(folder, "1.0.0", key)

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    async with platform:
        await platform.registry.ensure_publisher("pub", "Pub")
        await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")
        await platform.tenants.ensure_tenant(TENANT, TENANT, plan="enterprise")
        await platform.registry.publish(chunks(), "pub")
        await platform.lifecycle.install(TENANT, "ledger", grants=["storage"])
        token = (await platform.tenants.issue_token("owner", tenant_id=TENANT)).plaintext
        async with client(platform.asgi, token) as http:
            yield House(platform, http, clock)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with running(tmp_path_factory.mktemp("weather")) as house:
        yield house


async def test_a_full_disk_stops_intake_with_a_clear_error_and_loses_nothing(house: House) -> None:
    """SQLite says that its file cannot grow just as it does when the disk is full."""
    engine = house.platform.database.engine
    assert await house.call("put", key="before", size=50_000) == (200, None)
    assert (await house.emit(1))[0] < 300
    await house.platform.drain_events()

    most: list[int] = []

    def limit(connection: Any, _record: Any) -> None:
        if not most:
            most.append(connection.execute("PRAGMA page_count").fetchone()[0] + 20)
        connection.execute(f"PRAGMA max_page_count={most[0]}")

    event.listen(engine.sync_engine, "connect", limit)
    await engine.dispose()
    try:
        stored, code = [], ""
        for n in range(20):
            _, code = await house.call("put", key=f"k{n}", size=20_000)
            if code is not None:
                break
            stored.append(f"k{n}")
        assert code == "database-full"
        refused = [await house.emit(100 + n) for n in range(60)]
        assert FULL in refused, refused
        assert all(status < 300 or (status, code) == FULL for status, code in refused)
        assert full_since(house.platform.database) is not None
        # Reading goes on, and what is there is whole.
        assert await house.call("size", key="before") == (200, 50_000)
        assert (await house.http.get("/api/plugins")).status_code == 200
    finally:
        event.remove(engine.sync_engine, "connect", limit)
        await engine.dispose()  # there is room again
    taken = [1, *(100 + n for n, (status, _) in enumerate(refused) if status < 300)]
    assert (await house.emit(999))[0] < 300
    await house.platform.drain_events(60)
    assert await house.call("sold_so_far") == (200, [*taken, 999])
    assert [await house.call("size", key=key) for key in stored] == [(200, 20_000)] * len(stored)
    assert await house.call("put", key="after", size=50_000) == (200, None)


async def test_a_clock_that_is_set_back_loses_no_event_and_repeats_none(house: House) -> None:
    before = (await house.call("sold_so_far"))[1]
    for n, hours in enumerate((0, -3, -3, 2, -1)):
        house.clock.by = timedelta(hours=hours)
        assert (await house.emit(2000 + n))[0] < 300
        if n % 2:
            await house.platform.drain_events()
    await house.platform.drain_events()
    house.clock.by = timedelta()
    assert await house.call("sold_so_far") == (200, [*before, *range(2000, 2005)])


class Proxy:
    """Between a node and its database. What it passes on is as late as is asked."""

    def __init__(self, path: str) -> None:
        self.path, self.delay_s = path, 0.0

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        async with server:
            yield int(server.sockets[0].getsockname()[1])

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self.path)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                while data := await source.read(65536):
                    await asyncio.sleep(self.delay_s)
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, back), pump(there, writer))


async def test_a_slow_database_is_said_to_be_busy_and_nobody_hangs(postgres: Postgres, tmp_path: Path) -> None:
    proxy = Proxy(str(postgres.folder / ".s.PGSQL.5432"))
    settings = DatabaseSettings(pool_size=4, pool_overflow=0, pool_timeout_s=0.3)
    async with proxy.listening() as port:
        url = f"postgresql+asyncpg://postgres@127.0.0.1:{port}/{await postgres.create()}"
        async with running(tmp_path, database_url=url, database=settings) as house:
            assert (await house.http.get("/api/plugins")).status_code == 200
            proxy.delay_s = 0.1
            began = time.monotonic()
            answers = await asyncio.gather(*(house.http.get("/api/audit") for _ in range(16)))
            took_s = time.monotonic() - began
            seen = {(one.status_code, one.json().get("code", "")) for one in answers if one.status_code != 200}
            print(f"\n16 requests in {took_s:.2f} s: {sum(one.status_code == 200 for one in answers)} answered")
            assert seen == {(503, "database-busy")}
            assert all(one.headers["retry-after"] == "1" for one in answers if one.status_code == 503)
            assert took_s < 15
            proxy.delay_s = 0.0

            async def put() -> bool:
                return await house.call("put", key="a", size=3) == (200, None)

            async with asyncio.timeout(20):
                while not await put():  # noqa: ASYNC110  # what was late comes first
                    await asyncio.sleep(0.05)
            assert (await house.emit(1))[0] < 300
            await house.platform.drain_events()
            assert await house.call("sold_so_far") == (200, [1])

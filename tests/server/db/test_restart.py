"""A database that goes away and comes back: clear answers meanwhile, and a node that goes on by itself."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select, text

from jackfield.db import Database, is_unavailable
from jackfield.db.scopes import ScopedConnection
from jackfield.records.models import InvocationRow
from jackfield.records.recorder import Recorder
from jackfield.settings import DatabaseSettings
from jackfield_cli.keys import create_key
from tests.postgres import Postgres, running
from tests.server.conftest import client, until
from tests.server.db.nodes import TENANT, Nodes, node, package
from tests.server.records.test_recorder import made

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server of its own: others must not suffer when it is stopped."""
    with tempfile.TemporaryDirectory(prefix="jf-pg-") as folder:
        Path(folder).chmod(0o755)
        with running(Path(folder) / "data") as server:
            yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nodes]:
    folder = tmp_path_factory.mktemp("restart")
    url = server.url(await server.create())
    key = create_key(folder / "keys")
    async with node(url, folder / "one") as one:
        await one.registry.ensure_publisher("pub", "Pub")
        await one.registry.add_key("pub", key.public, key.proof("pub"), name="test")
        await one.tenants.ensure_tenant(TENANT, TENANT, plan="enterprise")
        content = package(folder, "1.0.0", key)

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        await one.registry.publish(chunks(), "pub")
        await one.lifecycle.install(TENANT, "ledger", grants=["storage"])
        yield Nodes(one, one)


async def put(http: httpx.AsyncClient, value: int) -> tuple[int, str]:
    """Status and code of a call that writes."""
    answer = await http.post("/api/plugins/ledger/functions/put", json={"arguments": {"key": "k", "value": value}})
    body = answer.json()
    if answer.status_code != 200:
        return answer.status_code, body["code"]
    return 200, "ok" if body["success"] else body["error"]["code"]


async def test_while_the_database_is_away_everybody_is_told_so_and_afterwards_all_goes_on(
    server: Postgres, house: Nodes
) -> None:
    platform = house.one
    token = (await platform.tenants.issue_token("owner", tenant_id=TENANT)).plaintext
    async with client(platform.asgi, token) as http:
        assert await put(http, 1) == (200, "ok")
        await asyncio.to_thread(server.stop)
        # What needs no database goes on, as long as it is remembered who is calling: for ten seconds.
        word = await http.post("/api/plugins/ledger/functions/word", json={"arguments": {}})
        assert word.json()["output"] == "1.0.0 hello"
        assert (await http.get("/api/health")).status_code == 200
        assert (await put(http, 2))[1] == "database-unavailable"
        listed = await http.get("/api/plugins")
        assert (listed.status_code, listed.json()["code"]) == (503, "database-unavailable")
        assert listed.headers["retry-after"] == "1"
        await asyncio.to_thread(server.start)
        back = time.monotonic()

        async def works() -> bool:
            return await put(http, 3) == (200, "ok")

        await until(works)
        print(f"\nback after {time.monotonic() - back:.3f} s")
        # The dispatcher has outlived it, and so have the notices.
        await platform.tenant(TENANT).emit("sale.created", {"n": 1})
        await platform.drain_events()
        assert await house.call(platform, "sales") == 1

        async def listens() -> bool:
            return platform.notices.is_listening

        await until(listens)


async def test_after_a_restart_that_nobody_noticed_no_work_fails(server: Postgres, house: Nodes) -> None:
    """Connections that were closed by the server while they were idle are not handed out."""
    database = Database(house.one.database.url)
    for _ in range(3):
        async with database.read(None) as one, database.read(None) as two:
            await one.execute(text("SELECT 1"))
            await two.execute(text("SELECT 1"))
        await asyncio.to_thread(server.restart)
        await asyncio.sleep(0.05)  # the loop hears that the sockets were closed
        async with database.write(TENANT) as session:
            assert await session.scalar(text("SELECT 1")) == 1
    await database.close()


async def test_no_place_in_the_pool_is_said_soon(server: Postgres, house: Nodes) -> None:
    settings = DatabaseSettings(pool_size=1, pool_overflow=0, pool_timeout_s=0.05)
    database = Database(house.one.database.url, settings)
    async with database.read(None) as held:
        await held.execute(text("SELECT 1"))
        with pytest.raises(Exception, match="QueuePool") as caught:
            async with database.read(None) as session:
                await session.execute(text("SELECT 1"))
    assert is_unavailable(caught.value)
    await database.close()


async def test_records_wait_for_a_place_in_the_pool(server: Postgres, house: Nodes, tmp_path: Path) -> None:
    settings = DatabaseSettings(pool_size=1, pool_overflow=0, pool_timeout_s=0.05)
    database = Database(house.one.database.url, settings)
    recorder = Recorder(database, tmp_path / "journal")
    try:
        recorder.record(made(7))
        async with database.read(None) as held:
            await held.execute(text("SELECT 1"))
            with pytest.raises(Exception, match="QueuePool"):
                await recorder.flush()
        await recorder.flush()
        async with database.read(None) as session:
            assert await session.scalar(select(InvocationRow.id).where(InvocationRow.id == made(7).id)) is not None
    finally:
        await recorder.close()
        await database.close()


async def test_a_connection_that_is_in_the_midst_of_something_is_not_used_again(
    server: Postgres, house: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one is whose statement was being cancelled when the server went away."""
    database = Database(house.one.database.url, DatabaseSettings(pool_size=1, pool_overflow=0))
    pid = text("SELECT pg_backend_pid()")

    async def stuck(*_arguments: object, **_options: object) -> None:
        raise asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress")

    async with database.read(None) as session:
        before = await session.scalar(pid)
    with monkeypatch.context() as patch:
        patch.setattr(ScopedConnection, "prepare", stuck)
        with pytest.raises(Exception, match="another operation") as caught:
            async with database.read(None) as session:
                await session.execute(text("SELECT 'stuck'"))
    assert is_unavailable(caught.value)
    async with database.read(None) as session:
        assert await session.scalar(pid) != before
    await database.close()


async def test_a_statement_that_takes_too_long_is_ended(server: Postgres, house: Nodes) -> None:
    database = Database(house.one.database.url, DatabaseSettings(statement_timeout_s=0.1))
    with pytest.raises(Exception, match="statement timeout") as caught:
        async with database.read(None) as session:
            await session.execute(text("SELECT pg_sleep(20)"))
    assert is_unavailable(caught.value)
    async with database.read(None) as session:
        name = await session.scalar(text("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"))
    assert name.startswith("jackfield ")
    await database.close()


@pytest.mark.parametrize(
    ("statement", "is_away"), [("SELECT 1/0", False), ("SELECT nonsense", False), ("SELECT * FROM nowhere", False)]
)
async def test_a_wrong_statement_is_a_defect_and_no_outage(
    server: Postgres, house: Nodes, statement: str, is_away: bool
) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever the driver says
        async with house.one.database.read(None) as session:
            await session.execute(text(statement))
    assert is_unavailable(caught.value) is is_away

"""A mistake, and PostgreSQL brought back to the moment before it, with the commands of `docs/how-to/operate.md`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import asyncpg
import pytest
import structlog

from jackfield import Platform
from jackfield.records.trail.verifying import Verdict
from tests.chaos.test_bad_weather import House, ShiftedClock
from tests.chaos.test_bad_weather import running as working
from tests.postgres import Postgres, running
from tests.server.conftest import client, until
from tests.server.db.nodes import TENANT, node
from tests.server.jobs.helpers import states
from tools.committed import ROOT

EXAMPLE = "2026-11-26 09:49:59.02+00"


@dataclass(frozen=True)
class Commands:
    """What the page says to type, for folders of a test.

    Attributes:
        prepare, base_backup: Done once, and every night.
        restore: With the page's moment in it.
    """

    prepare: str
    base_backup: str
    restore: str


def commands(server: Postgres, folder: Path) -> Commands:
    page = (ROOT / "docs" / "how-to" / "operate.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Back to a moment\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    for theirs, ours in (
        ("/backup/", f"{folder}/backup/"),
        ("/var/lib/postgresql/", f"{folder}/"),
        ("systemctl restart postgresql", f"pg_ctl --pgdata={server.folder} --wait restart"),
    ):
        assert theirs in section
        section = section.replace(theirs, ours)
    once, restore = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    *prepare, base_backup = once.splitlines()
    assert base_backup.startswith("pg_basebackup")
    return Commands("\n".join(prepare), base_backup, restore)


@pytest.fixture
def server() -> Iterator[Postgres]:
    """One of its own, for it is stopped; the page's commands work in the folder above its own."""
    with tempfile.TemporaryDirectory(prefix="jf-pg-") as folder:
        Path(folder).chmod(0o777)
        with running(Path(folder) / "data") as server:
            # The machine need not fail for this; but a base backup is made of what is written down.
            server.execute("ALTER SYSTEM RESET synchronous_commit", "ALTER SYSTEM RESET full_page_writes")
            yield server


@contextlib.asynccontextmanager
async def nothing_stored(server: Postgres, database: str) -> AsyncIterator[Any]:
    """In the block no plugin's storage can be written; the connection that sees to it."""
    connection = cast("Any", await asyncpg.connect(host=str(server.folder), user="postgres", database=database))
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE jf_storage IN EXCLUSIVE MODE")
            yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def working_again(url: str, folder: Path) -> AsyncIterator[House]:
    """A node on the same keys, with what its folder has."""
    async with node(url, folder) as platform:
        token = (await platform.tenants.issue_token("owner", tenant_id=TENANT)).plaintext
        async with client(platform.asgi, token) as http:
            yield House(platform, http, ShiftedClock())


async def is_sold(house: House, numbers: list[int]) -> bool:
    return await house.call("sold_so_far") == (200, numbers)


async def verdict(platform: Platform) -> Verdict:
    return await platform.trail.verify(TENANT)


async def test_what_was_committed_before_a_mistake_is_done_and_the_mistake_never_was(
    server: Postgres, tmp_path: Path
) -> None:
    folder, output = server.folder.parent, server.folder.parent / "output"
    typed = commands(server, folder)
    restored = server.beside(folder / "restored", folder / "run")
    await server.run(
        f"ALTER SYSTEM SET unix_socket_directories = '{restored.socket}'", "ALTER SYSTEM SET listen_addresses = ''"
    )  # for the one that is restored
    await asyncio.to_thread(server.shell, f"mkdir -p {folder}/run {folder}/backup/wal\n{typed.prepare}", output)
    name = await server.create()

    async with working(tmp_path, database_url=server.url(name)) as house:
        database = house.platform.database
        for n in range(3):
            assert (await house.emit(n))[0] < 300
        await house.platform.drain_events()
        await asyncio.to_thread(server.shell, typed.base_backup, output)
        for n in range(3, 6):
            assert (await house.emit(n))[0] < 300
        await house.platform.drain_events()

        async def is_at_work() -> bool:
            return await states(database) == ["done"] * 6 + ["running"]

        async with nothing_stored(server, name) as connection:
            for n in range(6, 9):
                assert (await house.emit(n))[0] < 300
                if n == 6:
                    await until(is_at_work)
            moment = await connection.fetchval("SELECT clock_timestamp()::text")
            assert "done" not in (await states(database))[6:]
        await house.platform.drain_events()
        assert (await house.emit(9))[0] < 300
        await house.platform.drain_events()
        assert await house.call("sold_so_far") == (200, list(range(10)))
        for verb in ("deactivate", "activate"):
            assert (await house.http.post(f"/api/plugins/ledger/{verb}")).status_code == 200
        assert (await house.http.delete("/api/plugins/ledger")).status_code == 200  # somebody meant another plugin
        assert (await house.call("sold_so_far"))[0] == 404
        await house.platform.audit_anchors.keep()
    await asyncio.to_thread(server.stop)

    try:
        await asyncio.to_thread(server.shell, typed.restore.replace(EXAMPLE, moment), output)

        async def is_said() -> bool:
            return "archive recovery complete" in output.read_text()

        await until(is_said)
        assert "recovery stopping before commit of transaction" in output.read_text()
        configuration = restored.folder / "postgresql.auto.conf"
        *ours, _command, target, _action, _mode = configuration.read_text().splitlines(keepends=True)
        assert moment in target
        configuration.write_text("".join(ours))
        await asyncio.to_thread(restored.restart)
        async with working_again(restored.url(name), tmp_path / "fresh") as house:
            # The node that was at work is found gone, and its lease is not waited for, which is longer than this.
            await until(functools.partial(is_sold, house, list(range(9))))
            assert (await house.emit(100))[0] < 300
            await house.platform.drain_events()
            assert await house.call("sold_so_far") == (200, [*range(9), 100])
            assert [each.is_alive for each in await house.platform.nodes.every()] == [True, False]
            assert (await verdict(house.platform)).is_good
        # The folder of the old node has noted more than there is now.
        with structlog.testing.capture_logs() as logged:
            async with working_again(restored.url(name), tmp_path / "data") as house:
                assert await house.call("sold_so_far") == (200, [*range(9), 100])
                assert not (await verdict(house.platform)).is_good

                async def is_noticed() -> bool:
                    return any(each["event"] == "audit-trail-cut" for each in logged)

                await until(is_noticed)
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            await asyncio.to_thread(restored.stop)

"""A disk that is really full, under PostgreSQL and under the package store: said clearly, nothing lost, no restart."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jackfield.db import database_figures, room
from jackfield.db.doctor import examine
from jackfield_cli.keys import create_key
from tests.chaos.processes import SMALL_DISK
from tests.chaos.test_bad_weather import FULL, SOURCE, House, running
from tests.postgres import Postgres
from tests.postgres import running as running_server
from tests.server.conftest import client, until
from tests.server.db import nodes
from tests.server.db.nodes import TENANT, package

_MIB = 1024**2
AWAY = (503, "database-unavailable")


class SmallDisk:
    """A file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Take all the room that is left."""
        with self._ballast.open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            for size in (_MIB, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        ballast.write(bytes(size))

    def make_room(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[SmallDisk]:
    folder.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", SMALL_DISK, str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("a small disk is mounted, which this machine does not allow")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def _emit(house: House, n: int) -> tuple[int, str]:
    """With a note that does not get smaller by being compressed."""
    body = {"n": n, "note": secrets.token_hex(10_000)}
    answer = await house.http.post("/api/events/sale.created", json=body)
    problem = answer.json()
    assert answer.status_code < 300 or problem["hint"]
    return answer.status_code, problem.get("code", "")


async def test_a_full_disk_of_postgresql_stops_intake_and_loses_nothing(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(postgres.folder.parent / f"disk_{secrets.token_hex(4)}", 96) as disk:
        owner = postgres.folder.stat()
        os.chown(disk.folder, owner.st_uid, owner.st_gid)
        name, space = await postgres.create(), f"small_{secrets.token_hex(4)}"
        await postgres.run(
            f"CREATE TABLESPACE {space} LOCATION '{disk.folder}'", f"ALTER DATABASE {name} SET TABLESPACE {space}"
        )
        try:
            async with running(tmp_path, database_url=postgres.url(name)) as house:
                odd = await house.http.get("/api/deliveries", params={"event": "no\0text"})
                assert (odd.status_code, odd.json()["code"]) == (422, "text-invalid")
                await _is_refused_and_goes_on(house, disk, monkeypatch)
        finally:
            disk.make_room()
            await postgres.drop(name)
            await postgres.run(f"DROP TABLESPACE {space}")


async def _has_room(house: House) -> dict[str, bool]:
    """What operators are told of it: by the probe of the node, by its figures, and by `doctor`."""
    ready, found = await house.http.get("/readyz"), await examine(house.platform.database)
    assert ready.status_code == 200, "no other node could do more"
    figures = database_figures(house.platform.database, house.platform.notices)
    (figure,) = [each for each in figures if each.name == "jackfield_database_full"]
    return {
        "readyz": ready.json()["parts"]["database"] == "ok",
        "figure": figure.samples[0].value == 0,
        "doctor": {finding.name: finding.is_good for finding in found}["room"],
    }


async def _is_refused_and_goes_on(house: House, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jackfield.http.probes._FOR_S", 0.0)  # or the probe says what it said
    assert (await _emit(house, 0))[0] < 300
    assert set((await _has_room(house)).values()) == {True}
    await house.platform.drain_events()
    disk.fill()
    seen = [await _emit(house, n) for n in range(1, 101)]
    assert FULL in seen
    assert all(status < 300 or (status, code) == FULL for status, code in seen), set(seen)
    assert set((await _has_room(house)).values()) == {False}
    # Reading goes on, and the node is not taken for one that is broken.
    assert (await house.http.get("/api/plugins")).status_code == 200
    assert (await house.http.get("/healthz")).status_code == 200
    disk.make_room()
    assert (await _has_room(house)) == {"readyz": False, "figure": False, "doctor": True}, "nothing was written yet"
    monkeypatch.setattr(room, "QUIET_S", 0.0)
    assert (await _emit(house, 999))[0] < 300
    assert set((await _has_room(house)).values()) == {True}
    await house.platform.drain_events(60)
    taken = [0, *(n for n, (status, _) in enumerate(seen, 1) if status < 300), 999]
    assert await house.call("sold_so_far") == (200, taken)


async def test_a_full_package_store_takes_nothing_by_half_and_the_next_try_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "data", 48) as disk:
        async with running(tmp_path) as house:
            key = create_key(tmp_path / "other")
            monkeypatch.setattr(nodes, "SOURCE", SOURCE)
            content = package(tmp_path, "1.1.0", key)
            await house.platform.registry.add_key("pub", key.public, key.proof("pub"), name="other")
            token = (await house.platform.tenants.issue_token("publisher", publisher_id="pub")).plaintext
            headers = {"authorization": f"Bearer {token}", "content-type": "application/octet-stream"}

            async def publish() -> tuple[int, str]:
                answer = await house.http.post("/api/registry/releases", content=content, headers=headers)
                return answer.status_code, answer.json().get("code", "")

            def stored() -> list[str]:
                return sorted(str(path.relative_to(disk.folder)) for path in disk.folder.glob("store/**/*"))

            before = stored()
            assert before
            disk.fill()
            status, code = await publish()
            assert (status, code) in {(503, "store-unavailable"), (503, "disk-full"), FULL}
            assert stored() == before
            disk.make_room()
            assert (await publish())[0] == 201
            assert await house.call("put", key="after", size=50_000) == (200, None)
            await house.platform.lifecycle.update(TENANT, "ledger")


async def test_a_node_whose_store_is_full_installs_nothing_by_half(postgres: Postgres, tmp_path: Path) -> None:
    """Another node took the package in; this one cannot keep it."""
    url, wanted = postgres.url(await postgres.create()), {"slug": "ledger", "grants": ["storage"]}
    with small_disk(tmp_path / "disk", 48) as disk:
        async with (
            running(tmp_path, database_url=url) as house,
            nodes.node(url, disk.folder / "data") as other,
        ):
            await house.platform.tenants.ensure_tenant("globex", "Globex", plan="enterprise")
            token = (await house.platform.tenants.issue_token("owner", tenant_id="globex")).plaintext
            async with client(other.asgi, token) as http:
                disk.fill()
                refused = await http.post("/api/plugins/install", json=wanted)
                assert (refused.status_code, refused.json()["code"]) == (503, "store-unavailable")
                assert refused.json()["hint"]
                assert (await http.get("/api/plugins")).json()["items"] == []
                assert [path for path in disk.folder.glob("data/store/**/*") if path.is_file()] == []
                disk.make_room()
                assert (await http.post("/api/plugins/install", json=wanted)).json()["state"] == "active"
                called = await http.post("/api/plugins/ledger/functions/size", json={"arguments": {"key": "a"}})
                assert called.json()["output"] == 0


@pytest.fixture
def with_small_log() -> Iterator[tuple[Postgres, SmallDisk]]:
    """A server of its own, whose write-ahead log lies on a disk of its own."""
    with tempfile.TemporaryDirectory(prefix="jf-pg-") as folder, small_disk(Path(folder) / "disk", 24) as disk:
        Path(folder).chmod(0o755)
        with running_server(Path(folder) / "data") as server:
            server.execute(
                "ALTER SYSTEM RESET fsync", "ALTER SYSTEM RESET synchronous_commit",
                "ALTER SYSTEM RESET full_page_writes",
                "ALTER SYSTEM SET min_wal_size = '4MB'", "ALTER SYSTEM SET max_wal_size = '8MB'",
            )  # fmt: skip
            _move_log(server, disk.folder)
            yield server, disk
            disk.make_room()


async def test_a_full_disk_of_the_write_ahead_log_ends_the_database_and_loses_nothing(
    with_small_log: tuple[Postgres, SmallDisk], tmp_path: Path
) -> None:
    """PostgreSQL cannot go on without it: it ends, and can start only when there is room. Nodes outlive that."""
    server, disk = with_small_log
    async with running(tmp_path, database_url=server.url(await server.create())) as house:
        assert (await _emit(house, 0))[0] < 300
        disk.fill()
        seen: list[tuple[int, str]] = []
        while AWAY not in seen[:-3] and len(seen) < 2_000:
            seen.append(await _emit(house, len(seen) + 1))
        assert AWAY in seen
        assert (await house.http.get("/healthz")).status_code == 200
        disk.make_room()
        with contextlib.suppress(Exception):  # it may have come back by itself
            await asyncio.to_thread(server.start)

        async def is_taken() -> bool:
            seen.append(await _emit(house, len(seen) + 1))
            return seen[-1][0] < 300

        await until(is_taken)
        assert all(status < 300 or (status, code) in (AWAY, FULL) for status, code in seen), set(seen)
        taken = {0, *(n for n, (status, _) in enumerate(seen, 1) if status < 300)}

        async def are_delivered() -> bool:
            # Not `drain_events`: what failed meanwhile waits for its next attempt.
            return taken <= set((await house.call("sold_so_far"))[1])

        await until(are_delivered)
        _, sold = await house.call("sold_so_far")
        # What was cut off may have been taken, and nobody told so; nothing comes twice or out of order.
        assert sold == sorted(set(sold))


def _move_log(server: Postgres, to: Path) -> None:
    server.stop()
    # Segments of a mebibyte instead of sixteen: the disk is full soon.
    server.on_folder("pg_resetwal", "--wal-segsize=1")
    log, owner = server.folder / "pg_wal", server.folder.stat()
    shutil.copytree(log, to / "pg_wal")
    shutil.rmtree(log)
    log.symlink_to(to / "pg_wal")
    for path in (to, *to.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
        path.chmod(0o700 if path.is_dir() else 0o600)
    server.start()

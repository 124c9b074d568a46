"""A disk that is really full, under PostgreSQL and under the package store: said clearly, nothing lost, no restart."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jackfield_cli.keys import create_key
from tests.chaos.test_bad_weather import FULL, SOURCE, House, running
from tests.postgres import Postgres
from tests.server.db import nodes
from tests.server.db.nodes import TENANT, package

_MIB = 1024**2


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
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
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


async def test_a_full_disk_of_postgresql_stops_intake_and_loses_nothing(postgres: Postgres, tmp_path: Path) -> None:
    with small_disk(postgres.folder.parent / f"disk_{secrets.token_hex(4)}", 96) as disk:
        owner = postgres.folder.stat()
        os.chown(disk.folder, owner.st_uid, owner.st_gid)
        name, space = await postgres.create(), f"small_{secrets.token_hex(4)}"
        await postgres.run(
            f"CREATE TABLESPACE {space} LOCATION '{disk.folder}'", f"ALTER DATABASE {name} SET TABLESPACE {space}"
        )
        try:
            async with running(tmp_path, database_url=postgres.url(name)) as house:
                await _is_refused_and_goes_on(house, disk)
        finally:
            disk.make_room()
            await postgres.drop(name)
            await postgres.run(f"DROP TABLESPACE {space}")


async def _is_refused_and_goes_on(house: House, disk: SmallDisk) -> None:
    assert (await _emit(house, 0))[0] < 300
    await house.platform.drain_events()
    disk.fill()
    seen = [await _emit(house, n) for n in range(1, 101)]
    assert FULL in seen
    assert all(status < 300 or (status, code) == FULL for status, code in seen), set(seen)
    # Reading goes on, and the node is not taken for one that is broken.
    assert (await house.http.get("/api/plugins")).status_code == 200
    assert (await house.http.get("/healthz")).status_code == 200
    disk.make_room()
    assert (await _emit(house, 999))[0] < 300
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

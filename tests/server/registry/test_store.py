"""The store is whole or empty, whatever moment a process dies in."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
from pathlib import Path

import pytest

from jackfield.db import Database
from jackfield.registry import Registry, StoreUnavailableError
from jackfield.registry.store import Store
from tests.server.conftest import until
from tests.server.registry.uploads import PUBLISHER, package, prepare, publish

DIGEST = hashlib.sha256(b"package").hexdigest()


def filled(store: Store, image: bytes = b"image") -> None:
    workspace = store.workspace()
    workspace.package.write_bytes(b"package")
    workspace.complete(image, b"{}")
    store.adopt(workspace, DIGEST)
    workspace.discard()


def test_what_is_adopted_is_there_and_the_workspace_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    filled(store)
    assert store.image_path(DIGEST).read_bytes() == b"image"
    assert store.package_path(DIGEST).read_bytes() == b"package"
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_folder_that_no_release_refers_to_is_used_or_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path)
    filled(store)
    before = store.image_path(DIGEST).stat().st_ino
    filled(store)
    assert store.image_path(DIGEST).stat().st_ino == before
    filled(store, b"made by another Python")
    assert store.image_path(DIGEST).read_bytes() == b"made by another Python"


def test_a_sweep_removes_what_the_dead_left_and_nothing_of_the_living(tmp_path: Path) -> None:
    store = Store(tmp_path)
    living = store.workspace()
    (tmp_path / "incoming" / "dead" / "spool").mkdir(parents=True)
    assert store.sweep() == 1
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == [living.folder.name]
    living.discard()
    assert store.sweep() == 0


def test_a_disk_that_refuses_is_told_in_our_words(tmp_path: Path) -> None:
    (tmp_path / "incoming").write_text("a file where a folder should be")
    with pytest.raises(StoreUnavailableError) as caught:
        Store(tmp_path).workspace()
    assert caught.value.code == "store-unavailable"


WORKER = """
import asyncio, sys
from pathlib import Path
from jackfield.db import Database
from jackfield.registry import Registry
from tests.server.registry.uploads import package, publish

async def main(data: Path) -> None:
    registry = Registry(Database(f"sqlite+aiosqlite:///{data / 'jackfield.sqlite3'}"), data)
    number = 0
    print("ready", flush=True)
    while True:
        number += 1
        release = await publish(registry, package(version=f"{sys.argv[2]}.0.{number}"))
        print(release.version, flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_after_kill_9_every_release_is_whole_and_publishing_goes_on(database: Database, tmp_path: Path) -> None:
    registry = Registry(database, tmp_path)
    await prepare(registry)
    told: list[str] = []
    store = tmp_path / "store"
    for attempt, pattern in enumerate(("incoming/*/spool", "incoming/*/release/image", "??/*/image"), start=1):
        known = set(store.glob(pattern))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, str(tmp_path), str(attempt), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"

        async def appeared(pattern: str = pattern, known: set[Path] = known) -> bool:
            return bool(set(store.glob(pattern)) - known)

        await until(appeared)
        process.send_signal(signal.SIGKILL)
        output, _ = await process.communicate()
        told += output.decode().split()

        await registry.start()
        assert list((store / "incoming").iterdir()) == []
        for folder in store.glob("??/*"):
            assert sorted(path.name for path in folder.iterdir()) == ["image", "manifest.json", "package.jfp"]
            assert hashlib.sha256((folder / "package.jfp").read_bytes()).hexdigest() == folder.name

    await publish(registry, package(version="9.0.0"), PUBLISHER)
    releases = await registry.releases("points")
    assert {release.version for release in releases} >= {*told, "9.0.0"}
    assert all(release.image_path.is_file() for release in releases)

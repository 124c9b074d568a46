"""A package becomes a release when all of it is true, and leaves no trace when it is not."""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from jackfield.db import Database
from jackfield.errors import JackfieldError
from jackfield.records import AuditEntry
from jackfield.registry import Registry, count_install
from jackfield_sandbox.image import Image
from tests.sdk.crafted import KEY, Key, compiled
from tests.server.registry.uploads import PUBLISHER, chunks, package, prepare, publish, source


def store_of(tmp_path: Path) -> list[str]:
    """What is in the store, workspaces included."""
    root = tmp_path / "data" / "store"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path != root / "incoming")


async def refused(registry: Registry, data: bytes, publisher_id: str = PUBLISHER) -> str:
    with pytest.raises(JackfieldError) as caught:
        await publish(registry, data, publisher_id)
    return caught.value.code


async def audited(database: Database) -> list[tuple[str, str]]:
    async with database.read(None) as session:
        rows = await session.scalars(select(AuditEntry).order_by(AuditEntry.id))
        return [(row.action, row.target) for row in rows]


# -- what is right ---------------------------------------------------------------------------------------------------


async def test_a_package_becomes_a_release(registry: Registry, tmp_path: Path) -> None:
    data = package(permissions=["customers:read"], summary="Points.")
    release = await publish(registry, data)
    assert (release.slug, release.version, release.state) == ("points", "1.0.0", "published")
    assert release.digest == hashlib.sha256(data).hexdigest()
    assert release.publisher_id == PUBLISHER
    assert release.manifest.permissions == ["customers:read"]
    assert release.package_path.read_bytes() == data
    assert await registry.release("points") == release
    assert await registry.release("points", "1.0.0") == release
    image = Image(release.image_path.read_bytes())
    assert image.read("plugin.py") == source("points", "1.0.0", permissions=["customers:read"], summary="Points.")
    assert "plugin" in image.modules


async def test_the_store_holds_it_by_its_digest_and_read_only(registry: Registry, tmp_path: Path) -> None:
    release = await publish(registry, package())
    digest = release.digest
    folder = f"{digest[:2]}/{digest}"
    assert store_of(tmp_path) == sorted(
        [digest[:2], folder, f"{folder}/image", f"{folder}/manifest.json", f"{folder}/package.jfp"]
    )
    assert stat.S_IMODE(release.image_path.parent.stat().st_mode) == 0o555
    assert {stat.S_IMODE(path.stat().st_mode) for path in release.image_path.parent.iterdir()} == {0o444}


async def test_publishing_is_audited(registry: Registry, database: Database) -> None:
    await publish(registry, package())
    assert await audited(database) == [
        ("publisher.create", PUBLISHER),
        ("publisher.add-key", KEY.key_id),
        ("release.publish", "points@1.0.0"),
    ]


async def test_each_release_is_greater_than_the_one_before(registry: Registry) -> None:
    for version in ("1.0.0-rc.2", "1.0.0-rc.10", "1.0.0", "1.2.0", "1.10.0"):
        await publish(registry, package(version=version))
    for version in ("1.10.0", "1.9.0", "1.10.0-rc.1", "0.1.0"):
        assert await refused(registry, package(version=version)) == "version-not-greater"
    assert [release.version for release in await registry.releases("points")] == [
        "1.10.0",
        "1.2.0",
        "1.0.0",
        "1.0.0-rc.10",
        "1.0.0-rc.2",
    ]
    assert (await registry.release("points")).version == "1.10.0"


async def test_a_pre_release_is_not_the_newest_that_one_installs(registry: Registry) -> None:
    await publish(registry, package(version="1.0.0-rc.1"))
    with pytest.raises(JackfieldError) as caught:
        await registry.release("points")
    assert caught.value.code == "release-not-found"
    await publish(registry, package(version="1.0.0"))
    await publish(registry, package(version="2.0.0-rc.1"))
    assert (await registry.release("points")).version == "1.0.0"
    assert (await registry.release("points", "2.0.0-rc.1")).version == "2.0.0-rc.1"


async def test_a_second_key_signs_as_well_as_the_first(registry: Registry) -> None:
    second = Key(2)
    assert await refused(registry, package(key=second)) == "key-unknown"
    await registry.add_key(PUBLISHER, second.public, second.sign(f"jackfield-key-v1\n{PUBLISHER}".encode()))
    await publish(registry, package(key=second))
    await publish(registry, package(version="1.1.0"))


async def test_a_package_of_another_compiler_is_compiled_here(registry: Registry) -> None:
    foreign = {"code/src/plugin.pyc": b"\xe3 whatever another Python wrote"}
    release = await publish(registry, package(files=foreign, listed={"magic": "00000000"}))
    image = Image(release.image_path.read_bytes())
    code = compiled("src/plugin.py", source("points", "1.0.0"))
    module = image.modules["plugin"]
    assert image.code(module) == compile(source("points", "1.0.0"), "plugin.py", "exec", dont_inherit=True)
    assert code in release.image_path.read_bytes()


async def test_the_texts_of_a_manifest_may_be_the_project_files(registry: Registry) -> None:
    release = await publish(registry, package(signed={"summary": "From the project file.", "licence": "MIT"}))
    assert release.manifest.summary == "From the project file."


async def test_installs_are_counted_with_the_installation(registry: Registry, database: Database) -> None:
    await publish(registry, package())
    async with database.write("acme") as session:
        await count_install(session, "points")

    async def fail() -> None:
        async with database.write("acme") as session:
            await count_install(session, "points")
            raise RuntimeError("the installation failed")

    with pytest.raises(RuntimeError):
        await fail()
    assert (await registry.entry("points")).installs == 1


# -- who may ---------------------------------------------------------------------------------------------------------


async def test_a_slug_belongs_to_who_published_it_first(registry: Registry) -> None:
    await publish(registry, package())
    other = Key(3)
    await prepare(registry, "pub_other", other)
    assert await refused(registry, package(version="9.0.0", key=other), "pub_other") == "slug-taken"
    await publish(registry, package("other-points", key=other), "pub_other")


@pytest.mark.parametrize("slug", ["po1nts", "polnts", "p0ints", "point-s"])
async def test_a_slug_that_can_be_taken_for_another_publishers_is_refused(registry: Registry, slug: str) -> None:
    await publish(registry, package())
    other = Key(3)
    await prepare(registry, "pub_other", other)
    with pytest.raises(JackfieldError) as caught:
        await publish(registry, package(slug, key=other), "pub_other")
    assert (caught.value.code, caught.value.data["other"]) == ("slug-confusable", "points")
    await publish(registry, package(slug))  # one's own may look alike


async def test_a_key_of_one_publisher_is_not_another_ones(registry: Registry) -> None:
    await registry.ensure_publisher("pub_other")
    assert await refused(registry, package(), "pub_other") == "key-unknown"


async def test_an_unknown_publisher_publishes_nothing(registry: Registry) -> None:
    assert await refused(registry, package(), "pub_nobody") == "publisher-unknown"


@pytest.mark.parametrize(
    "slug", ["install", "plan", "ui-components", "jackfield", "jackfield-compiler", "sa1e", "jack-field"]
)
async def test_a_slug_that_means_something_else_is_nobodys(registry: Registry, slug: str) -> None:
    assert await refused(registry, package(slug)) == "slug-reserved"


@pytest.mark.parametrize("event", ["sale.created", "sale.crea-ted"])
async def test_a_plugin_may_be_called_as_the_hosts_events_begin_and_send_none_of_them(
    registry: Registry, event: str
) -> None:
    emits = {event: {"type": "object"}}
    assert await refused(registry, package("sale", signed={"emits": emits})) == "event-reserved"
    release = await publish(registry, package("sale"))
    assert release.slug == "sale"


async def test_a_revoked_key_signs_nothing_more(registry: Registry) -> None:
    await publish(registry, package())
    await registry.revoke_key(PUBLISHER, KEY.key_id)
    assert await refused(registry, package(version="1.1.0")) == "key-revoked"
    assert (await registry.release("points")).version == "1.0.0"


async def test_a_key_that_is_revoked_during_the_upload_does_not_count(registry: Registry, tmp_path: Path) -> None:
    async def slow() -> AsyncIterator[bytes]:
        data = package()
        yield data[:-10]
        await registry.revoke_key(PUBLISHER, KEY.key_id)
        yield data[-10:]

    with pytest.raises(JackfieldError) as caught:
        await registry.publish(slow(), PUBLISHER)
    assert caught.value.code == "key-revoked"
    assert store_of(tmp_path) == []


# -- what is not true ------------------------------------------------------------------------------------------------


async def test_a_package_that_breaks_the_format_is_refused_by_its_rule(registry: Registry) -> None:
    assert await refused(registry, b"not a package") == "package-gzip-invalid"
    assert await refused(registry, b"") == "package-truncated"
    assert await refused(registry, package()[:-20]) == "package-truncated"
    assert await refused(registry, package() + b"x") == "package-trailing-data"
    assert await refused(registry, package(files={"src/a.so": b""})) == "package-file-refused"
    assert await refused(registry, package(files={"manifest.json": b"{}"})) == "manifest-invalid"


async def test_a_signature_by_another_key_is_refused(registry: Registry) -> None:
    liar = Key(7)
    liar.key_id = KEY.key_id
    assert await refused(registry, package(key=liar)) == "signature-invalid"


@pytest.mark.parametrize(("name", "listed"), [("slug", {"slug": "other"}), ("version", {"version": "1.0.1"})])
async def test_list_and_manifest_name_the_same_release(registry: Registry, name: str, listed: dict[str, Any]) -> None:
    assert await refused(registry, package(listed=listed)) == "package-manifest-mismatch"


async def test_compiled_files_that_are_not_made_from_their_source_are_refused(registry: Registry) -> None:
    evil = compiled("src/plugin.py", b"import os\n" + source("points", "1.0.0"))
    with pytest.raises(JackfieldError) as caught:
        await publish(registry, package(files={"code/src/plugin.pyc": evil}))
    assert caught.value.code == "bytecode-mismatch"
    assert caught.value.data == {"path": "src/plugin.py"}


@pytest.mark.parametrize(
    ("declared", "signed", "field"),
    [
        ({"permissions": ["customers:write"]}, {"permissions": []}, "permissions"),
        ({}, {"permissions": ["customers:read"]}, "permissions"),
        ({"summary": "What it does."}, {"summary": "Something harmless."}, "summary"),
        ({}, {"name": "Another name"}, "name"),
        ({}, {"platform": ">=9"}, "platform"),
    ],
)
async def test_a_manifest_that_lies_about_the_code_is_refused(
    registry: Registry, declared: dict[str, Any], signed: dict[str, Any], field: str
) -> None:
    with pytest.raises(JackfieldError) as caught:
        await publish(registry, package(signed=signed, **declared))
    assert caught.value.code == "manifest-mismatch"
    assert caught.value.data == {"field": field}


async def test_code_that_calls_itself_by_another_name_is_refused(registry: Registry) -> None:
    other = {"src/plugin.py": source("innocent", "1.0.0")}
    assert await refused(registry, package(files=other)) == "manifest-mismatch"


async def test_source_that_cannot_be_compiled_or_imported_is_refused(registry: Registry) -> None:
    broken = {"src/plugin.py": b"def (\n", "code/src/plugin.pyc": b"\xe3"}
    assert await refused(registry, package(files=broken)) == "source-invalid"
    missing = {"src/plugin.py": b"import nowhere\n" + source("points", "1.0.0")}
    assert await refused(registry, package(files=missing)) == "plugin-import-failed"
    empty = {"src/plugin.py": b"x = 1\n"}
    assert await refused(registry, package(files=empty)) == "plugin-import-failed"


async def test_code_that_attacks_while_it_is_checked_reaches_nothing(registry: Registry, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    attack = f"open({str(canary)!r}, 'w').write('out')\n".encode() + source("points", "1.0.0")
    assert await refused(registry, package(files={"src/plugin.py": attack})) == "plugin-import-failed"
    leave = b"import os\nos._exit(0)\n"
    assert await refused(registry, package(files={"src/plugin.py": leave})) == "sealed-crashed"
    assert not canary.exists()
    await publish(registry, package())


@pytest.mark.parametrize(
    ("declared", "code"),
    [
        ({"platform": "whenever"}, "range-invalid"),
        ({"requires": {"calendar": "latest"}}, "range-invalid"),
        ({"name": "Points\u202etnioP"}, "manifest-invalid"),
        ({"summary": "two\nlines"}, "manifest-invalid"),
    ],
)
async def test_words_that_nobody_could_read_are_refused(
    registry: Registry, declared: dict[str, Any], code: str
) -> None:
    signed = {**declared}
    if "requires" in declared:
        from jackfield_sdk.manifest import PluginDependency

        signed["requires"] = [PluginDependency(slug="calendar", versions="latest")]
    assert await refused(registry, package(signed=signed, **declared)) == code


async def test_a_package_larger_than_the_limit_is_refused(database: Database, tmp_path: Path) -> None:
    registry = Registry(database, tmp_path / "data", max_package_bytes=200)
    await prepare(registry)
    assert await refused(registry, package()) == "package-too-large"


# -- nothing is left -------------------------------------------------------------------------------------------------


async def test_a_refused_package_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    for data in (
        package() + b"x",
        package(files={"code/src/plugin.pyc": b"\xe3"}),
        package(signed={"permissions": ["customers:read"]}),
        package("install"),
    ):
        await refused(registry, data)
    assert store_of(tmp_path) == []
    with pytest.raises(JackfieldError) as caught:
        await registry.release("points")
    assert caught.value.code == "plugin-not-found"


async def test_an_upload_that_ends_by_an_error_or_a_cancellation_leaves_nothing(
    registry: Registry, tmp_path: Path
) -> None:
    arrived = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield package()[:100]
        arrived.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(registry.publish(endless(), PUBLISHER))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def failing() -> AsyncIterator[bytes]:
        yield package()[:100]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await registry.publish(failing(), PUBLISHER)
    assert store_of(tmp_path) == []
    await publish(registry, package())


async def test_an_upload_that_stands_still_is_given_up(database: Database, tmp_path: Path) -> None:
    registry = Registry(database, tmp_path / "data", idle_s=0.05)
    await prepare(registry)

    async def stalled() -> AsyncIterator[bytes]:
        yield package()[:100]
        await asyncio.Event().wait()

    with pytest.raises(JackfieldError) as caught:
        await registry.publish(stalled(), PUBLISHER)
    assert caught.value.code == "upload-interrupted"
    assert store_of(tmp_path) == []


async def test_an_upload_that_creeps_is_given_up(database: Database, tmp_path: Path) -> None:
    registry = Registry(database, tmp_path / "data", upload_s=0.2)
    await prepare(registry)

    async def creeping() -> AsyncIterator[bytes]:
        yield package()[:100]
        while True:
            await asyncio.sleep(0.01)
            yield b""

    with pytest.raises(JackfieldError) as caught:
        await registry.publish(creeping(), PUBLISHER)
    assert caught.value.code == "upload-interrupted"
    assert store_of(tmp_path) == []


async def test_what_an_import_says_in_place_of_a_manifest_is_refused(registry: Registry) -> None:
    forged = (
        b"import os, time\nimport msgspec\nimport jackfield_sdk as jf\nfrom jackfield_sdk import wire\n"
        b'plugin = jf.Plugin("points", version="1.0.0")\n'
        b"os.write(200, wire.frame(wire.Ready(1)))\n"
        rb'os.write(200, wire.frame(wire.Result(1, msgspec.Raw(b"\x81\xa1\xff\x01"))))' + b"\ntime.sleep(5)\n"
    )
    assert await refused(registry, package(files={"src/plugin.py": forged})) == "sealed-crashed"


async def test_what_failing_code_says_is_told_in_part(registry: Registry) -> None:
    loud = b"raise ValueError('x' * 1_000_000)\n"
    with pytest.raises(JackfieldError) as caught:
        await publish(registry, package(files={"src/plugin.py": loud}))
    assert caught.value.code == "plugin-import-failed"
    assert len(str(caught.value)) + len(caught.value.hint) < 11_000


@pytest.mark.parametrize("name", ["summary", "licence"])
async def test_a_text_of_one_line_is_one_line(registry: Registry, name: str) -> None:
    assert await refused(registry, package(signed={name: "Safe.\nReviewed."})) == "manifest-invalid"


async def test_a_publisher_uploads_one_package_at_a_time(registry: Registry) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def held() -> AsyncIterator[bytes]:
        data = package()
        yield data[:100]
        arrived.set()
        await go_on.wait()
        yield data[100:]

    first = asyncio.create_task(registry.publish(held(), PUBLISHER))
    await arrived.wait()
    assert await refused(registry, package()) == "publish-in-progress"
    go_on.set()
    assert (await first).version == "1.0.0"


async def test_of_two_publishers_who_want_a_slug_at_once_one_gets_it(registry: Registry, tmp_path: Path) -> None:
    other = Key(3)
    await prepare(registry, "pub_other", other)
    results = await asyncio.gather(
        publish(registry, package()),
        publish(registry, package(key=other), "pub_other"),
        return_exceptions=True,
    )
    (failure,) = [result for result in results if isinstance(result, JackfieldError)]
    assert failure.code == "slug-taken"
    assert len(await registry.releases("points")) == 1
    assert len([name for name in store_of(tmp_path) if name.endswith("/image")]) == 1


async def test_memory_holds_one_file_while_an_upload_runs(registry: Registry) -> None:
    """64 MiB of zeros pass through in 64 KiB of package; none of it is kept."""
    import tracemalloc

    from tests.sdk.crafted import archive, canonical, contents, entries, gzip, listing

    files = contents({f"src/{i}.dat": bytes(7 * 1024 * 1024) for i in range(8)}, slug="points", name="Points")
    raw = canonical(listing(files, slug="points"))
    members = entries(files, raw_list=raw)
    data = gzip(archive(members)[:-1024])  # refused at the very end, before anything is compiled
    del members, files
    tracemalloc.start()
    try:
        assert await refused(registry, data) == "package-truncated"
        assert tracemalloc.get_traced_memory()[1] < 32 * 1024 * 1024
    finally:
        tracemalloc.stop()


async def test_what_comes_in_pieces_of_any_size_is_the_same(registry: Registry) -> None:
    for number, size in enumerate((1, 7, 4096, 10**9)):
        release = await registry.publish(chunks(package(version=f"1.0.{number}"), size), PUBLISHER)
        assert release.version == f"1.0.{number}"

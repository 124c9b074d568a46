"""Storage, cache and files as a sealed plugin has them: through SDK, channel and gate, into the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project
from tests.server.sealed_house import TENANT, House

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOURCE = """
from typing import Any

import jackfield_sdk as jf

plugin = jf.Plugin("keeper", version="1.0.0")
BIG = bytes(range(256)) * 4096


@plugin.function()
def storage(ctx: jf.Context) -> list[Any]:
    s = ctx.storage
    first = [s.compare_and_set("k", None, 1), s.compare_and_set("k", None, 2), s.compare_and_set("k", 1, {"a": [1]})]
    entry = s.entry("k")
    first += [s.compare_and_set("k", entry, "new"), s.compare_and_set("k", entry, "newer"), s.entry("none")]
    first += [s.increment("n"), s.increment("n", 2), s.increment("f", 0.5, initial=1)]
    s.set("short", 1, ttl_s=0.001)
    s.set_many({f"m/{n:03}": "x" * 2_000 for n in range(100)})
    many = s.get_many([f"m/{n:03}" for n in range(100)] + ["none", "k"])
    first += [len(many), len(list(s.items("m/"))), s.delete_prefix("m/"), s.keys()]
    return first


@plugin.function()
def cache(ctx: jf.Context) -> list[Any]:
    c, made = ctx.cache, []
    values = [c.get_or_set("k", lambda: made.append(1) or {"made": len(made)}) for _ in range(3)]
    return [*values, c.get("none", 7), c.increment("n", 5), c.delete("n"), c.delete("n"), c.get("n")]


@plugin.function()
def files(ctx: jf.Context) -> list[Any]:
    f = ctx.files
    small = f.write("notes/a.txt", "ünïcode", role="member")
    large = f.write("notes/big.bin", BIG)
    with f.create("notes/streamed.csv", role="member") as out:
        for n in range(40):
            out.write(f"{n},{'x' * 10_000}\\n")
    try:
        with f.create("notes/broken.csv") as out:
            out.write(BIG)
            raise RuntimeError("broken")
    except RuntimeError:
        pass
    read = f.open("notes/big.bin")
    parts = [read.read(100), read.read(300_000), b"".join(read), read.read()]
    try:
        f.read("none")
    except jf.CapabilityError as error:
        code = error.code
    return [
        small.content_type, small.size_bytes, large.content_type, large.size_bytes, b"".join(parts) == BIG,
        f.read("notes/big.bin") == BIG, f.stat("notes/broken.csv"),
        [one.path for one in f.list("notes/")], f.stat("notes/streamed.csv").size_bytes, code,
        f.delete("notes/big.bin"), f.delete("notes/big.bin"), f.stat("notes/a.txt").created_at.tzinfo is not None,
    ]
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def keeper(house: House, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("keeper")
    (folder / "plugin.py").write_text(SOURCE)
    (folder / "pyproject.toml").write_text('[project]\nname = "keeper"\nversion = "1.0.0"\n')
    key = create_key(folder / "keys")
    package = folder.with_suffix(".jfp")
    pack_project(folder, package, key=key)
    platform = house.platform
    await platform.registry.ensure_publisher("keeps", "Keeps")
    await platform.registry.add_key("keeps", key.public, key.proof("keeps"), name="test")

    async def chunks() -> AsyncIterator[bytes]:
        yield package.read_bytes()

    await platform.registry.publish(chunks(), "keeps")
    await platform.lifecycle.install(TENANT, "keeper", grants=["storage", "cache", "files"])
    yield house
    removed = await platform.lifecycle.uninstall(TENANT, "keeper")
    assert removed.owned["files"] == 2


async def call(house: House, name: str) -> Any:
    answer = await house.ask("POST", f"/api/plugins/keeper/functions/{name}", json={"arguments": {}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["success"], answer.text
    return answer.json()["output"]


async def test_storage_does_what_the_sdk_says(keeper: House) -> None:
    assert await call(keeper, "storage") == [
        True, False, True, True, False, None, 1, 3, 1.5, 101, 100, 100, ["f", "k", "n"],
    ]  # fmt: skip


async def test_the_cache_does_what_the_sdk_says(keeper: House) -> None:
    assert await call(keeper, "cache") == [{"made": 1}] * 3 + [7, 5, True, False, None]


async def test_files_do_what_the_sdk_says_and_people_get_them(keeper: House) -> None:
    assert await call(keeper, "files") == [
        "text/plain; charset=utf-8", 9, "application/octet-stream", 256 * 4096, True, True, None,
        ["notes/a.txt", "notes/big.bin", "notes/streamed.csv"], sum(len(f"{n},{'x' * 10_000}\n") for n in range(40)),
        "file-not-found", True, False, True,
    ]  # fmt: skip
    answer = await keeper.ask("GET", "/api/plugins/keeper/files/notes/streamed.csv", who="member")
    assert answer.status_code == 200
    assert answer.text == "".join(f"{n},{'x' * 10_000}\n" for n in range(40))
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    answer = await keeper.ask("GET", "/api/plugins/keeper/files/notes/a.txt", who="member")
    assert answer.text == "ünïcode"
    owned = (await keeper.ask("GET", "/api/plugins/keeper/inventory")).json()["owned"]
    assert owned["files"] == 2


async def test_what_is_half_written_when_a_handler_raised_is_given_back(keeper: House) -> None:
    await call(keeper, "files")
    before = (await keeper.ask("GET", "/api/plugins/keeper/inventory")).json()["owned"]["storage_bytes"]
    await call(keeper, "files")
    after = (await keeper.ask("GET", "/api/plugins/keeper/inventory")).json()["owned"]["storage_bytes"]
    assert after == before

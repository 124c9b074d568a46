"""Development releases: for the tenant that made them and nobody else, where the operator allows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jackfield_cli.keys import SigningKey
from jackfield_cli.pack import pack_project
from tests.server.health.house import House, running

SOURCE = """
import jackfield_sdk as jf

plugin = jf.Plugin("SLUG", version="1.0.0")


@plugin.function()
def word(ctx: jf.Context) -> str:
    return "WORD"
"""


def packed(house: House, word: str, slug: str = "draft") -> bytes:
    """A package, signed by a key that nobody knows."""
    folder = house.folder / f"{slug}-{word}"
    folder.mkdir()
    (folder / "plugin.py").write_text(SOURCE.replace("SLUG", slug).replace("WORD", word))
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{slug}"\nversion = "1.0.0"\n')
    return pack_project(folder, folder / "draft.jfp", key=house.key).path.read_bytes()


async def upload(house: House, package: bytes, who: str | None = None) -> httpx.Response:
    return await house.ask("POST", "/development", who, content=package)


async def install(house: House, release: dict[str, str], who: str | None = None) -> httpx.Response:
    return await house.ask("POST", "/install", who, json={"slug": release["slug"], "version": release["version"]})


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running(tmp_path, development=True) as house:
        house.key = SigningKey(Ed25519PrivateKey.generate())
        await house.move_in()
        yield house


async def test_a_platform_takes_none_unless_its_operator_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await house.move_in()
        refused = await upload(house, packed(house, "one"))
        assert (refused.status_code, refused.json()["code"]) == (403, "development-off")


async def test_it_is_of_its_tenant_alone_and_in_no_catalogue(house: House) -> None:
    release = (await upload(house, packed(house, "one"))).json()
    assert release["version"].startswith("1.0.0-dev.1.t")
    assert (await install(house, release)).status_code == 201
    for action in ("install", "update"):
        body = {"slug": "draft", "version": release["version"], "action": action}
        assert (await house.ask("POST", "/plan", house.rival, json=body)).status_code == 404
    stolen = await install(house, release, house.rival)
    assert (stolen.status_code, stolen.json()["code"]) == (404, "release-not-found")
    assert (await house.ask("POST", "/install", json={"slug": "draft"})).status_code == 404
    for tenant in (house.tenant, house.rival):
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=house.platform.asgi), base_url="http://test",
            headers={"Authorization": f"Bearer {house.tokens[tenant]}"},
        ) as client:  # fmt: skip
            assert [one["slug"] for one in (await client.get("/api/marketplace")).json()["items"]] == ["fragile"]
            assert (await client.get("/api/marketplace/draft")).status_code == 404


async def test_two_tenants_that_try_the_same_slug_never_meet(house: House) -> None:
    words: dict[str, str] = {}
    for tenant, word in ((house.tenant, "ours"), (house.rival, "theirs")):
        release = (await upload(house, packed(house, word), tenant)).json()
        assert (await install(house, release, tenant)).status_code == 201
        answer = await house.ask("POST", "/draft/functions/word", tenant, json={"arguments": {}})
        words[tenant] = answer.json()["output"]
        assert words[tenant] == word


async def test_it_does_not_take_over_what_was_given_to_a_published_release(house: House) -> None:
    release = (await upload(house, packed(house, "evil", "fragile"))).json()
    refused = await house.ask("POST", "/fragile/update", json={"version": release["version"]})
    assert (refused.status_code, refused.json()["code"]) == (409, "development-over-published")
    assert (await house.call("version"))["output"] == "1.0.0"


async def test_only_the_last_few_are_kept_and_what_is_installed(house: House) -> None:
    releases = [(await upload(house, packed(house, "w0"))).json()]
    assert (await install(house, releases[0])).status_code == 201
    releases += [(await upload(house, packed(house, f"w{number}"))).json() for number in range(1, 8)]
    store = house.folder / "data" / "store"
    kept = [release for release in releases if list(store.glob(f"??/{release['digest']}"))]
    assert kept == [releases[0], *releases[-5:]]
    gone = await house.ask("POST", "/draft/update", json={"version": releases[1]["version"]})
    assert (gone.status_code, gone.json()["code"]) == (404, "plugin-not-found")
    for release in (releases[-1], releases[-2]):  # to and fro: an author may take something back
        updated = await house.ask("POST", "/draft/update", json={"version": release["version"]})
        assert updated.json()["version"] == release["version"]


async def test_what_it_is_made_of_is_checked_like_any_package(house: House) -> None:
    for package in (b"", b"not a package", packed(house, "one")[:-40]):
        refused = await upload(house, package)
        assert refused.status_code == 422, refused.text
    reserved = await upload(house, packed(house, "one", "install"))
    assert reserved.json()["code"] == "slug-reserved", "its address is the platform's"

"""The marketplace finds what can be installed, in order, a page at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from jackfield.db import Database
from jackfield.errors import JackfieldError
from jackfield.registry import PluginRow, Registry, ReleaseRow, Sort, count_install
from jackfield.registry.repository import refresh_plugin
from tests.sdk.crafted import KEY, manifest
from tests.server.conftest import ManualClock
from tests.server.registry.uploads import PUBLISHER, package, publish


class Shelf:
    """Puts releases into the catalogue without compiling each of them; what publishing does is tested elsewhere."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.clock = clock
        self.count = 0

    async def put(self, slug: str, version: str = "1.0.0", **told: Any) -> None:
        self.count += 1
        self.clock.advance(1)
        plain = msgspec.to_builtins(manifest(slug=slug, version=version, **{"name": slug.title(), **told}))
        async with self.database.write(None) as session:
            plugin = await session.get(PluginRow, slug)
            if plugin is None:
                plugin = PluginRow(slug=slug, publisher_id=PUBLISHER, created_at=self.clock.now(), installs=0)
                session.add(plugin)
                await session.flush()
            session.add(
                ReleaseRow(
                    id=f"rel_{self.count}", slug=slug, version=version, sequence=self.count,
                    digest=f"{self.count:064x}", size=1, publisher_id=PUBLISHER, key_id=KEY.key_id, manifest=plain,
                    state="published", yank_reason="",
                    published_at=self.clock.now() + timedelta(microseconds=self.count),
                )
            )  # fmt: skip
            await session.flush()
            await refresh_plugin(session, plugin)


@pytest.fixture
async def shelf(registry: Registry, database: Database, clock: ManualClock) -> Shelf:
    shelf = Shelf(database, clock)
    await shelf.put("points", name="Loyalty points", category="loyalty", tags=["Sale", "customers"])
    await shelf.put("zebra-mail", name="A zebra's mail", category="communication", tags=["customers"])
    await shelf.put("calendar", summary="Keeps 100% of your appointments", category="calendar")
    await shelf.put("booking", category="booking", tags=["sale"])
    return shelf


async def slugs(registry: Registry, *args: Any, **kwargs: Any) -> list[str]:
    return [entry.slug for entry in (await registry.search(*args, **kwargs)).items]


async def test_by_name_is_the_order_when_none_is_asked_for(registry: Registry, shelf: Shelf) -> None:
    assert await slugs(registry) == ["zebra-mail", "booking", "calendar", "points"]


async def test_newest_goes_by_the_date_of_the_newest_release(registry: Registry, shelf: Shelf) -> None:
    await shelf.put("points", "1.1.0")
    assert await slugs(registry, sort="newest") == ["points", "booking", "calendar", "zebra-mail"]


async def test_installs_come_most_first(registry: Registry, shelf: Shelf, database: Database) -> None:
    for slug in ("calendar", "points", "calendar"):
        async with database.write(None) as session:
            await count_install(session, slug)
    assert await slugs(registry, sort="installs") == ["calendar", "points", "booking", "zebra-mail"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("loyalty", ["points"]),
        ("LOYALTY points", ["points"]),
        ("points loyalty zebra", []),
        ("zebra-", ["zebra-mail"]),
        ("appointments", ["calendar"]),
        ("sale", ["booking", "points"]),
        ("100%", ["calendar"]),
        ("%", ["calendar"]),
        ("_", []),
        ("' OR 1=1 --", []),
        ("\\", []),
        ("\0", ["zebra-mail", "booking", "calendar", "points"]),
        ("   ", ["zebra-mail", "booking", "calendar", "points"]),
    ],
)
async def test_every_word_must_occur(registry: Registry, shelf: Shelf, query: str, found: list[str]) -> None:
    assert await slugs(registry, query) == found


async def test_category_and_tag_narrow(registry: Registry, shelf: Shelf) -> None:
    assert await slugs(registry, category="loyalty") == ["points"]
    assert await slugs(registry, tag="sale") == ["booking", "points"]
    assert await slugs(registry, tag="SALE", category="booking") == ["booking"]
    assert await slugs(registry, tag="sal") == []


@pytest.mark.parametrize("sort", ["name", "newest", "installs"])
async def test_pages_join_to_the_whole(registry: Registry, shelf: Shelf, sort: Sort) -> None:
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        page = await registry.search(sort=sort, cursor=cursor, limit=1)
        seen += [entry.slug for entry in page.items]
        cursor = page.next_cursor
    assert cursor is None
    assert seen == await slugs(registry, sort=sort)


async def test_a_cursor_of_another_order_is_refused(registry: Registry, shelf: Shelf) -> None:
    cursor = (await registry.search(sort="name", limit=1)).next_cursor
    for sort in ("newest", "installs"):
        with pytest.raises(JackfieldError) as caught:
            await registry.search(sort=sort, cursor=cursor)
        assert caught.value.code == "cursor-invalid"


async def test_the_catalogue_speaks_of_the_newest_release_only(registry: Registry, shelf: Shelf) -> None:
    await shelf.put("points", "2.0.0", name="Stars", tags=["stars"])
    assert await slugs(registry, "loyalty") == []
    assert await slugs(registry, tag="customers") == ["zebra-mail"]
    entry = await registry.entry("points")
    assert (entry.version, entry.name, entry.tags) == ("2.0.0", "Stars", ("stars",))


async def test_a_withdrawn_release_is_offered_no_more_and_still_found_by_its_version(
    registry: Registry, shelf: Shelf
) -> None:
    await shelf.put("points", "2.0.0", name="Stars")
    yanked = await registry.yank("points", "2.0.0", publisher_id=PUBLISHER, reason="Loses points.")
    assert (yanked.state, yanked.yank_reason) == ("yanked", "Loses points.")
    assert (await registry.release("points")).version == "1.0.0"
    assert (await registry.release("points", "2.0.0")).state == "yanked"
    assert (await registry.entry("points")).name == "Loyalty points"

    await registry.yank("points", "1.0.0")
    assert "points" not in await slugs(registry)
    for wanted in (registry.entry("points"), registry.release("points")):
        with pytest.raises(JackfieldError):
            await wanted

    back = await registry.unyank("points", "2.0.0", publisher_id=PUBLISHER)
    assert (back.state, back.yank_reason) == ("published", "")
    assert (await registry.entry("points")).version == "2.0.0"


async def test_only_its_publisher_withdraws_a_release(registry: Registry, shelf: Shelf) -> None:
    for verb in (registry.yank, registry.unyank):
        with pytest.raises(JackfieldError) as caught:
            await verb("points", "1.0.0", publisher_id="pub_other")
        assert caught.value.code == "plugin-not-yours"


async def test_a_withdrawn_version_cannot_be_published_again(registry: Registry) -> None:
    await publish(registry, package())
    await registry.yank("points", "1.0.0")
    with pytest.raises(JackfieldError) as caught:
        await publish(registry, package())
    assert caught.value.code == "version-not-greater"


async def test_what_is_not_there_is_missing(registry: Registry, shelf: Shelf) -> None:
    for wanted, code in (
        (registry.release("ghost"), "plugin-not-found"),
        (registry.releases("ghost"), "plugin-not-found"),
        (registry.entry("ghost"), "plugin-not-found"),
        (registry.release("points", "9.9.9"), "release-not-found"),
        (registry.yank("points", "9.9.9"), "release-not-found"),
    ):
        with pytest.raises(JackfieldError) as caught:
            await wanted
        assert caught.value.code == code

"""Queries on publishers, plugins and releases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from semantic_version import Version  # pyright: ignore[reportMissingTypeStubs]  # it has none
from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.registry.models import PluginRow, PluginTagRow, PublisherKeyRow, PublisherRow, ReleaseRow
from jackfield.registry.slugs import skeleton, skeleton_of
from jackfield.registry.values import Sort
from jackfield_sdk.manifest import Manifest

__all__ = [
    "count_install",
    "find_plugins",
    "keys_of",
    "look_alike",
    "newest_release",
    "refresh_plugin",
    "releases_of",
    "releases_of_publisher",
    "versions_of",
]


_CARD = ("name", "summary", "tags", "icon", "price")


async def keys_of(session: AsyncSession, publisher_id: str) -> Sequence[PublisherKeyRow]:
    """A publisher's keys, revoked ones too, the oldest first."""
    query = select(PublisherKeyRow).where(PublisherKeyRow.publisher_id == publisher_id)
    return (await session.scalars(query.order_by(PublisherKeyRow.created_at, PublisherKeyRow.key_id))).all()


async def versions_of(session: AsyncSession, slug: str) -> Sequence[str]:
    """Every version that was ever published."""
    return (await session.scalars(select(ReleaseRow.version).where(ReleaseRow.slug == slug))).all()


async def look_alike(session: AsyncSession, slug: str, publisher_id: str) -> str | None:
    """Another publisher's plugin for which this slug can be taken."""
    query = select(PluginRow.slug).where(
        skeleton_of(PluginRow.slug) == skeleton(slug), PluginRow.publisher_id != publisher_id
    )
    return await session.scalar(query.limit(1))


async def next_sequence(session: AsyncSession, slug: str) -> int:
    """The number of the plugin's next release."""
    last = await session.scalar(select(func.max(ReleaseRow.sequence)).where(ReleaseRow.slug == slug))
    return (last or 0) + 1


async def releases_of(
    session: AsyncSession, slug: str, *, before: int | None = None, limit: int | None = None
) -> Sequence[ReleaseRow]:
    """A plugin's releases, the newest first; those below a sequence number only."""
    query = select(ReleaseRow).where(ReleaseRow.slug == slug).order_by(ReleaseRow.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(ReleaseRow.sequence < before)
    return (await session.scalars(query)).all()


async def releases_of_publisher(
    session: AsyncSession, publisher_id: str, after: tuple[datetime, str] | None, limit: int
) -> Sequence[ReleaseRow]:
    """All releases of a publisher, the newest first."""
    query = (
        select(ReleaseRow)
        .where(ReleaseRow.publisher_id == publisher_id)
        .order_by(ReleaseRow.published_at.desc(), ReleaseRow.id.desc())
        .limit(limit)
    )
    if after is not None:
        moment, release_id = after
        query = query.where(
            or_(
                ReleaseRow.published_at < moment,
                and_(ReleaseRow.published_at == moment, ReleaseRow.id < release_id),
            )
        )
    return (await session.scalars(query)).all()


def newest_release(rows: Iterable[ReleaseRow]) -> ReleaseRow | None:
    """The newest that is published and no pre-release."""
    fit = [row for row in rows if row.state == "published" and not Version(row.version).prerelease]
    return max(fit, key=lambda row: row.sequence, default=None)


async def refresh_plugin(session: AsyncSession, plugin: PluginRow) -> None:
    """Bring what the catalogue shows up to the newest release that can be installed."""
    newest = newest_release(await releases_of(session, plugin.slug))
    await session.execute(delete(PluginTagRow).where(PluginTagRow.slug == plugin.slug))
    if newest is None:
        plugin.version = plugin.published_at = None
        return
    manifest = msgspec.convert(newest.manifest, Manifest)
    tags = sorted({tag.casefold()[:80] for tag in manifest.tags})
    plugin.version, plugin.published_at = newest.version, newest.published_at
    plugin.category = manifest.category
    plugin.sort_name = manifest.name.casefold()[:200]
    plugin.search_text = "\n".join((manifest.name, plugin.slug, manifest.summary, *manifest.tags)).casefold()
    plugin.card = {name: newest.manifest.get(name) for name in _CARD if name in newest.manifest}
    session.add_all(PluginTagRow(slug=plugin.slug, tag=tag) for tag in tags)


async def find_plugins(
    session: AsyncSession,
    *,
    words: Sequence[str] = (),
    category: str | None = None,
    tag: str | None = None,
    slug: str | None = None,
    sort: Sort = "name",
    after: tuple[Any, str] | None = None,
    limit: int,
) -> list[tuple[PluginRow, PublisherRow]]:
    """Listed plugins with their publishers.

    Args:
        words: All of them must be found.
        after: Sort value and slug of the last one on the page before.
    """
    query = (
        select(PluginRow, PublisherRow)
        .join(PublisherRow, PublisherRow.id == PluginRow.publisher_id)
        .where(PluginRow.version.is_not(None))
    )
    for word in words:
        query = query.where(PluginRow.search_text.contains(word, autoescape=True))
    if category is not None:
        query = query.where(PluginRow.category == category)
    if tag is not None:
        tagged = select(PluginTagRow.slug).where(PluginTagRow.tag == tag.casefold())
        query = query.where(PluginRow.slug.in_(tagged))
    if slug is not None:
        query = query.where(PluginRow.slug == slug)
    column, is_descending = _SORTS[sort]
    if after is not None:
        query = query.where(_past(column, is_descending, *after))
    query = query.order_by(column.desc() if is_descending else column, PluginRow.slug).limit(limit)
    return [(plugin, publisher) for plugin, publisher in (await session.execute(query)).all()]


_SORTS: dict[Sort, tuple[Any, bool]] = {
    "name": (PluginRow.sort_name, False),
    "newest": (PluginRow.published_at, True),
    "installs": (PluginRow.installs, True),
}


def _past(column: Any, is_descending: bool, value: Any, slug: str) -> ColumnElement[bool]:
    beyond = column < value if is_descending else column > value
    return or_(beyond, and_(column == value, PluginRow.slug > slug))


async def count_install(session: AsyncSession, slug: str) -> None:
    """One more installation. In the caller's own transaction, so it counts exactly when the installation does."""
    await session.execute(update(PluginRow).where(PluginRow.slug == slug).values(installs=PluginRow.installs + 1))

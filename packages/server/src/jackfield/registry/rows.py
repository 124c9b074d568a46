"""Rows become values here, and moments become parts of cursors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.http import CursorInvalidError, decode_cursor
from jackfield.registry.errors import PluginMissingError, PublisherMissingError
from jackfield.registry.models import PluginRow, PublisherKeyRow, PublisherRow, ReleaseRow
from jackfield.registry.store import Store
from jackfield.registry.values import CatalogueEntry, Publisher, PublisherKey, Release, Sort
from jackfield_sdk.manifest import Manifest

__all__ = [
    "decoded_cursor",
    "entry_of",
    "from_microseconds",
    "key_of",
    "microseconds",
    "plugin_row",
    "publisher_row",
    "release_of",
    "sort_value",
]


async def publisher_row(session: AsyncSession, publisher_id: str) -> PublisherRow:
    """A publisher.

    Raises:
        PublisherMissingError: There is none.
    """
    row = await session.get(PublisherRow, publisher_id)
    if row is None:
        raise PublisherMissingError(f"There is no publisher {publisher_id}.", publisher_id=publisher_id)
    return row


async def plugin_row(session: AsyncSession, slug: str) -> PluginRow:
    """A plugin.

    Raises:
        PluginMissingError: There is none.
    """
    row = await session.get(PluginRow, slug)
    if row is None:
        raise PluginMissingError(f"There is no plugin {slug}.", slug=slug)
    return row


def key_of(row: PublisherKeyRow) -> PublisherKey:
    return PublisherKey(row.key_id, row.publisher_id, row.public_key, row.name, row.created_at, row.revoked_at)


def release_of(row: ReleaseRow, store: Store) -> Release:
    return Release(
        slug=row.slug,
        version=row.version,
        digest=row.digest,
        manifest=msgspec.convert(row.manifest, Manifest),
        image_path=store.image_path(row.digest),
        package_path=store.package_path(row.digest),
        publisher_id=row.publisher_id,
        published_at=row.published_at,
        state=cast("Literal['published', 'yanked']", row.state),
        yank_reason=row.yank_reason,
        size=row.size,
    )


def entry_of(plugin: PluginRow, publisher: PublisherRow) -> CatalogueEntry:
    """What a list shows of a plugin that is listed."""
    card = plugin.card
    return CatalogueEntry(
        slug=plugin.slug,
        version=cast(str, plugin.version),
        published_at=cast(datetime, plugin.published_at),
        name=card["name"],
        summary=card.get("summary", ""),
        category=plugin.category,
        tags=tuple(card.get("tags", ())),
        icon=card.get("icon", ""),
        price=card.get("price"),
        publisher=Publisher(publisher.id, publisher.name),
        installs=plugin.installs,
        created_at=plugin.created_at,
    )


def sort_value(plugin: PluginRow, sort: Sort) -> str | int:
    """What the cursor of a list in this order holds."""
    if sort == "name":
        return plugin.sort_name
    if sort == "installs":
        return plugin.installs
    return microseconds(cast(datetime, plugin.published_at))


def decoded_cursor(cursor: str | None, sort: Sort) -> tuple[Any, str] | None:
    """Sort value and slug of the last plugin on the page before.

    Raises:
        CursorInvalidError: It is not a cursor of this order.
    """
    if cursor is None:
        return None
    found, value, slug = decode_cursor(cursor, str, str if sort == "name" else int, str)
    if found != sort:
        raise CursorInvalidError("The cursor belongs to another order.")
    return (from_microseconds(value) if sort == "newest" else value, slug)


def microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def from_microseconds(value: int) -> datetime:
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)
    except OverflowError as error:
        raise CursorInvalidError("The cursor is not one of ours.") from error

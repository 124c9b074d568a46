"""The registry's verbs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import datetime
from pathlib import Path
from typing import Literal

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.http import PageRequest, Slice, cut, decode_cursor
from jackfield.records import audit
from jackfield.registry import repository
from jackfield.registry.development import Development, is_development
from jackfield.registry.errors import (
    KeyInvalidError,
    KeyMissingError,
    KeyProofInvalidError,
    KeyTakenError,
    PluginMissingError,
    PluginNotYoursError,
    ReleaseMissingError,
)
from jackfield.registry.models import PublisherKeyRow, PublisherRow, ReleaseRow
from jackfield.registry.publishing import Publishing
from jackfield.registry.rows import (
    decoded_cursor,
    entry_of,
    from_microseconds,
    key_of,
    microseconds,
    plugin_row,
    publisher_row,
    release_of,
    sort_value,
)
from jackfield.registry.store import Store
from jackfield.registry.values import CatalogueEntry, Publisher, PublisherKey, Release, Sort
from jackfield_sandbox.layers import Level
from jackfield_sdk.package import key_id_of, key_proof_message

__all__ = ["Registry"]

_log = structlog.stdlib.get_logger(__name__)

# Paths of the API below /api/plugins, and the name under which the sandbox compiles.
_RESERVED = frozenset({"install", "plan", "ui-components", "jackfield", "jackfield-compiler"})
_MAX_WORDS = 8


class Registry:
    """Publishers, their keys, plugins and releases.

    Args:
        data_dir: The store is made below it.
        level: How strictly packages are sealed while they are checked; the best that this process may when None.
        max_package_bytes: Largest upload.
        host_events: Names that no plugin's event may have.
        idle_s: An upload that sends nothing for so long is given up.
        upload_s: So is one that takes longer than this in all.
    """

    def __init__(
        self,
        database: Database,
        data_dir: Path,
        *,
        level: Level | None = None,
        max_package_bytes: int = 16 * 1024 * 1024,
        host_events: Collection[str] = (),
        clock: Clock | None = None,
        idle_s: float = 30.0,
        upload_s: float = 600.0,
    ) -> None:
        self._database = database
        self._store = Store(data_dir / "store")
        self._clock = clock or SystemClock()
        self._publishing = Publishing(
            database,
            self._store,
            self._clock,
            level=level,
            max_package_bytes=max_package_bytes,
            reserved_slugs=_RESERVED,
            host_events=frozenset(host_events),
            idle_s=idle_s,
            upload_s=upload_s,
        )
        self.development = Development(database, self._store, self._clock, self._publishing)

    async def start(self) -> None:
        """Remove what uploads left behind that died with their process."""
        if count := await asyncio.to_thread(self._store.sweep):
            _log.info("uploads-swept", count=count)

    # -- publishers and keys -----------------------------------------------------------------------------------------

    async def ensure_publisher(self, publisher_id: str, name: str | None = None) -> Publisher:
        """The publisher of this id; made when new, renamed when a name is given."""
        async with self._database.write(None) as session:
            row = await session.get(PublisherRow, publisher_id)
            if row is None:
                row = PublisherRow(id=publisher_id, name=name or publisher_id, created_at=self._clock.now())
                session.add(row)
                audit(session, None, "platform", "publisher.create", publisher_id, after={"name": row.name})
            elif name is not None and row.name != name:
                audit(session, None, "platform", "publisher.rename", publisher_id, {"name": row.name}, {"name": name})
                row.name = name
        return Publisher(row.id, row.name)

    async def add_key(
        self, publisher_id: str, public_key: bytes, proof: bytes, name: str = "", *, actor: str | None = None
    ) -> PublisherKey:
        """A further key for a publisher.

        Args:
            public_key: 32 raw bytes.
            proof: The key's own signature over `jackfield_sdk.package.key_proof_message(publisher_id)`.

        Raises:
            PublisherMissingError: There is no such publisher.
            KeyInvalidError: It is not an Ed25519 key.
            KeyProofInvalidError: The proof fails.
            KeyTakenError: The key is known already.
        """
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(proof, key_proof_message(publisher_id))
        except ValueError as error:
            raise KeyInvalidError("This is not an Ed25519 public key.") from error
        except InvalidSignature as error:
            raise KeyProofInvalidError("The proof was not signed by this key for this publisher.") from error
        row = PublisherKeyRow(
            key_id=key_id_of(public_key), publisher_id=publisher_id, public_key=public_key, name=name,
            created_at=self._clock.now(), revoked_at=None,
        )  # fmt: skip
        async with self._database.write(None) as session:
            await publisher_row(session, publisher_id)
            if await session.get(PublisherKeyRow, row.key_id) is not None:
                raise KeyTakenError(f"The key {row.key_id} was added before.", key_id=row.key_id)
            session.add(row)
            audit(session, None, actor or f"publisher:{publisher_id}", "publisher.add-key", row.key_id)
        return key_of(row)

    async def keys(self, publisher_id: str) -> list[PublisherKey]:
        """A publisher's keys, revoked ones too, the oldest first."""
        async with self._database.read(None) as session:
            return [key_of(row) for row in await repository.keys_of(session, publisher_id)]

    async def revoke_key(self, publisher_id: str, key_id: str, *, actor: str | None = None) -> PublisherKey:
        """The key verifies nothing from now on. What it signed stays published: withdraw that if the key was stolen.

        Raises:
            KeyMissingError: The publisher has no such key.
        """
        async with self._database.write(None) as session:
            row = await session.get(PublisherKeyRow, key_id)
            if row is None or row.publisher_id != publisher_id:
                raise KeyMissingError(f"There is no key {key_id}.", key_id=key_id)
            if row.revoked_at is None:
                row.revoked_at = self._clock.now()
                audit(session, None, actor or f"publisher:{publisher_id}", "publisher.revoke-key", key_id)
        return key_of(row)

    # -- publishing --------------------------------------------------------------------------------------------------

    async def publish(self, stream: AsyncIterator[bytes], publisher_id: str, *, actor: str | None = None) -> Release:
        """Take a package in, check all of it, and offer its release.

        Raises:
            PublisherMissingError: There is no such publisher.
            PublishInProgressError: Another upload of the publisher is under way.
            PackageRefusedError: The package breaks a rule; its `code` says which.
            BytecodeMismatchError, ManifestMismatchError: The package is not what it says.
            SlugTakenError, SlugReservedError, SlugConfusableError: The slug cannot be had.
            VersionNotGreaterError: The plugin has this release, or a later one.
            UploadInterruptedError: The upload ended early or stood still.
            SealingUnavailableError, StoreUnavailableError: Not now.
        """
        return await self._publishing.publish(stream, publisher_id, actor or f"publisher:{publisher_id}")

    # -- releases ----------------------------------------------------------------------------------------------------

    async def release(self, slug: str, version: str | None = None) -> Release:
        """One release, withdrawn or not; without a version the newest that can be installed and is no pre-release.

        A development release is found by its version too. `Release.tenant_id` says who may have it.

        Raises:
            PluginMissingError: There is no such plugin.
            ReleaseMissingError: It has no such release.
        """
        if version is not None and is_development(version):
            found = await self.development.find(slug, version)
            if found is not None:
                await self._publishing.sharing.fetch(found.digest)
                return found
        rows = await self._rows(slug)
        row = (
            repository.newest_release(rows)
            if version is None
            else next((row for row in rows if row.version == version), None)
        )
        if row is None:
            wanted = "release that can be installed" if version is None else f"release {version}"
            raise ReleaseMissingError(f"{slug} has no {wanted}.", slug=slug, version=version)
        await self._publishing.sharing.fetch(row.digest)
        return self._release(row)

    async def releases(self, slug: str) -> list[Release]:
        """All releases of a plugin, withdrawn ones too, the newest first.

        Raises:
            PluginMissingError: There is no such plugin.
        """
        return [self._release(row) for row in await self._rows(slug)]

    async def release_page(self, slug: str, page: PageRequest) -> Slice[Release]:
        """The same, a page at a time.

        Raises:
            PluginMissingError: There is no such plugin.
        """
        before = decode_cursor(page.cursor, int)[0] if page.cursor else None
        async with self._database.read(None) as session:
            await plugin_row(session, slug)
            rows = await repository.releases_of(session, slug, before=before, limit=page.limit + 1)
        return cut(rows, page.limit, lambda row: (row.sequence,)).map(self._release)

    async def releases_of_publisher(self, publisher_id: str, page: PageRequest) -> Slice[Release]:
        """All that a publisher has published, the newest first."""
        after: tuple[datetime, str] | None = None
        if page.cursor:
            moment, release_id = decode_cursor(page.cursor, int, str)
            after = (from_microseconds(moment), release_id)
        async with self._database.read(None) as session:
            rows = await repository.releases_of_publisher(session, publisher_id, after, page.limit + 1)
        return cut(rows, page.limit, lambda row: (microseconds(row.published_at), row.id)).map(self._release)

    async def yank(
        self, slug: str, version: str, *, publisher_id: str | None = None, reason: str = "", actor: str = "platform"
    ) -> Release:
        """Offer a release no more. Where it is installed, it stays.

        Args:
            publisher_id: Whose plugin it must be; None for an operator.

        Raises:
            PluginMissingError, ReleaseMissingError: There is none.
            PluginNotYoursError: It is another publisher's.
        """
        return await self._set_state(slug, version, "yanked", publisher_id, reason, actor)

    async def unyank(
        self, slug: str, version: str, *, publisher_id: str | None = None, actor: str = "platform"
    ) -> Release:
        """Offer a withdrawn release again.

        Raises:
            PluginMissingError, ReleaseMissingError, PluginNotYoursError: As `yank`.
        """
        return await self._set_state(slug, version, "published", publisher_id, "", actor)

    async def _set_state(
        self, slug: str, version: str, state: Literal["published", "yanked"], publisher_id: str | None, reason: str,
        actor: str,
    ) -> Release:  # fmt: skip
        async with self._database.write(None) as session:
            plugin = await plugin_row(session, slug)
            if publisher_id is not None and plugin.publisher_id != publisher_id:
                raise PluginNotYoursError(f"{slug} belongs to another publisher.", slug=slug)
            rows = await repository.releases_of(session, slug)
            row = next((row for row in rows if row.version == version), None)
            if row is None:
                raise ReleaseMissingError(f"{slug} has no release {version}.", slug=slug, version=version)
            if row.state != state:
                verb = "release.yank" if state == "yanked" else "release.unyank"
                after = {"state": state, "reason": reason}
                audit(session, None, actor, verb, f"{slug}@{version}", {"state": row.state}, after)
                row.state, row.yank_reason = state, reason
                await session.flush()
                await repository.refresh_plugin(session, plugin)
        return self._release(row)

    # -- the catalogue -----------------------------------------------------------------------------------------------

    async def search(
        self,
        query: str = "",
        category: str | None = None,
        tag: str | None = None,
        sort: Sort = "name",
        cursor: str | None = None,
        limit: int = 50,
    ) -> Slice[CatalogueEntry]:
        """Plugins that can be installed. Every word of the query must occur in name, slug, summary or tags."""
        words = query.replace("\0", " ").casefold().split()[:_MAX_WORDS]
        async with self._database.read(None) as session:
            found = await repository.find_plugins(
                session, words=words, category=category, tag=tag, sort=sort,
                after=decoded_cursor(cursor, sort), limit=limit + 1,
            )  # fmt: skip
        page = cut(found, limit, lambda row: (sort, sort_value(row[0], sort), row[0].slug))
        return page.map(lambda row: entry_of(*row))

    async def entry(self, slug: str) -> CatalogueEntry:
        """One plugin as a list shows it.

        Raises:
            PluginMissingError: There is none that can be installed.
        """
        async with self._database.read(None) as session:
            found = await repository.find_plugins(session, slug=slug, limit=1)
        if not found:
            raise PluginMissingError(f"There is no plugin {slug}.", slug=slug)
        return entry_of(*found[0])

    # -- shared ------------------------------------------------------------------------------------------------------

    async def _rows(self, slug: str) -> list[ReleaseRow]:
        async with self._database.read(None) as session:
            await plugin_row(session, slug)
            return list(await repository.releases_of(session, slug))

    def _release(self, row: ReleaseRow) -> Release:
        return release_of(row, self._store)

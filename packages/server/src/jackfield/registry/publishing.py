"""Publishing: an upload becomes a release, or nothing.

The order makes it so. Everything is checked in a workspace that nothing refers to; the finished folder is moved into
the store, on the disk before its name is; the row comes last. A crash leaves at most a folder that no row names,
and publishing again finds it or replaces it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator

import msgspec
from semantic_version import Version  # pyright: ignore[reportMissingTypeStubs]  # it has none
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import ids
from jackfield.clock import Clock
from jackfield.db import Database
from jackfield.jobs.cron import Cron
from jackfield.records import audit
from jackfield.registry import repository
from jackfield.registry.errors import (
    EventReservedError,
    PackageRefusedError,
    PublishInProgressError,
    SlugConfusableError,
    SlugReservedError,
    SlugTakenError,
    UploadInterruptedError,
    VersionNotGreaterError,
)
from jackfield.registry.intake import Intake, verifier
from jackfield.registry.models import PluginRow, PublisherKeyRow, ReleaseRow
from jackfield.registry.rows import key_of, publisher_row, release_of
from jackfield.registry.sharing import Sharing
from jackfield.registry.slugs import skeleton
from jackfield.registry.store import Store, Workspace
from jackfield.registry.values import Release
from jackfield.registry.verification import verified_image
from jackfield_sandbox.layers import Level
from jackfield_sdk.errors import PackageError
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.package import Package, Verify

__all__ = ["Publishing"]


class Publishing:
    """Takes packages in. Arguments as `Registry`."""

    def __init__(
        self,
        database: Database,
        store: Store,
        clock: Clock,
        *,
        level: Level | None,
        max_package_bytes: int,
        reserved_slugs: frozenset[str],
        host_events: frozenset[str],
        idle_s: float,
        upload_s: float,
    ) -> None:
        self.sharing = Sharing(database, store)
        self._database = database
        self._store = store
        self._clock = clock
        self._level = level
        self._max_package_bytes = max_package_bytes
        self._host_events = {skeleton(name) for name in host_events}
        self._host_words = frozenset(name.partition(".")[0] for name in host_events)
        self._reserved_skeletons = {skeleton(slug) for slug in reserved_slugs | self._host_words}
        self._idle_s = idle_s
        self._upload_s = upload_s
        self._uploading: set[str] = set()
        # Checking holds a whole package in memory, and its processes keep a processor busy.
        self._checking = asyncio.Semaphore(2)
        self._storing = asyncio.Lock()

    async def publish(self, stream: AsyncIterator[bytes], publisher_id: str, actor: str) -> Release:
        """As `Registry.publish`."""
        async with self._database.read(None) as session:
            await publisher_row(session, publisher_id)
            keys = {row.key_id: key_of(row) for row in await repository.keys_of(session, publisher_id)}
        with self.alone(publisher_id):
            workspace = await asyncio.to_thread(self._store.workspace)
            try:
                package = await self.prepare(
                    stream, workspace, verifier(keys), lambda session, found: self._admit(session, found, publisher_id)
                )
                async with self._storing:
                    return await self._commit(package, publisher_id, workspace, actor)
            except PackageError as error:
                raise PackageRefusedError(error) from error
            finally:
                await asyncio.to_thread(workspace.discard)

    @contextlib.contextmanager
    def alone(self, publisher_id: str) -> Generator[None]:
        if publisher_id in self._uploading:
            raise PublishInProgressError("Another upload of this publisher is under way.")
        self._uploading.add(publisher_id)
        try:
            yield
        finally:
            self._uploading.discard(publisher_id)

    async def prepare(
        self,
        stream: AsyncIterator[bytes],
        workspace: Workspace,
        verify: Verify,
        admit: Callable[[AsyncSession, Package], Awaitable[object]],
    ) -> Package:
        """Everything up to a finished folder that nothing refers to.

        Args:
            admit: Refuses what cannot be kept whatever is in it, before the work of looking into it.
        """
        intake = Intake(workspace, verify, self._max_package_bytes)
        try:
            async for chunk in self._paced(stream):
                await asyncio.to_thread(intake.feed, chunk)
            package = await asyncio.to_thread(intake.finish)
        finally:
            intake.close()
        async with self._database.read(None) as session:
            # Asked again by the transaction that publishes; here it saves the work for what cannot be published.
            await admit(session, package)
        async with self._checking:
            await asyncio.to_thread(self._check, intake, package, workspace)
        return package

    async def _paced(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The stream; a sender that stands still or creeps is not waited for, it holds a place."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._upload_s
        while True:
            patience_s = min(self._idle_s, ends_at - loop.time())
            try:
                async with asyncio.timeout(patience_s):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                if patience_s < self._idle_s:
                    raise UploadInterruptedError(f"The upload took longer than {self._upload_s:g} s.") from error
                raise UploadInterruptedError(f"Nothing came for {self._idle_s:g} s.") from error
            yield chunk

    def _check(self, intake: Intake, package: Package, workspace: Workspace) -> None:
        image = verified_image(package, intake.files(), self._level)
        workspace.complete(image, package.manifest.encode())

    async def _admit(self, session: AsyncSession, package: Package, publisher_id: str) -> PluginRow | None:
        """Whether this publisher may publish this version of this plugin; the plugin, when it is there."""
        slug, version = package.listing.slug, package.listing.version
        key = await session.get(PublisherKeyRow, package.signature.key_id)
        if key is None or key.revoked_at is not None:
            # While the upload ran: when it began, the key was good.
            raise PackageError(
                f"the key {package.signature.key_id} was revoked", code="key-revoked", hint="Sign with another key."
            )
        self.check_reserved(package.manifest)
        self.check_schedules(package.manifest)
        plugin = await session.get(PluginRow, slug, with_for_update=True)
        if plugin is None:
            other = await repository.look_alike(session, slug, publisher_id)
            if other is not None:
                raise SlugConfusableError(f"{slug} can be taken for {other}.", slug=slug, other=other)
            return None
        if plugin.publisher_id != publisher_id:
            raise SlugTakenError(f"{slug} belongs to another publisher.", slug=slug)
        newest = max(map(Version, await repository.versions_of(session, slug)), default=None)
        if newest is not None and Version(version) <= newest:
            raise VersionNotGreaterError(
                f"{slug} {version} is not greater than {newest}.", slug=slug, version=version, newest=str(newest)
            )
        return plugin

    @staticmethod
    def check_schedules(manifest: Manifest) -> None:
        """Refuse a schedule that would never run: whoever installs it could only find out by waiting.

        Raises:
            CronInvalidError: One of them is none.
        """
        for schedule in manifest.schedules:
            Cron(schedule.cron, schedule.timezone)

    def check_reserved(self, manifest: Manifest) -> None:
        """Refuse a slug that nobody may have, and events that the host sends itself.

        A plugin may be called as the host's events begin (`booking`), as long as it sends none of them; what only looks
        like that (`b0oking`) is refused.

        Raises:
            SlugReservedError, EventReservedError: It is one.
        """
        slug = manifest.slug
        if slug not in self._host_words and skeleton(slug) in self._reserved_skeletons:
            raise SlugReservedError(f"Nobody can publish as {slug}.", slug=slug)
        for name in manifest.emits:
            if skeleton(name) in self._host_events:
                raise EventReservedError(f"{name} is an event of the host.", slug=slug, event=name)

    async def _commit(self, package: Package, publisher_id: str, workspace: Workspace, actor: str) -> Release:
        listing, now = package.listing, self._clock.now()
        async with self._database.read(None) as session:
            await self._admit(session, package, publisher_id)
        await asyncio.to_thread(self._store.adopt, workspace, package.digest)
        contents = await self.sharing.read(package.digest)
        row = ReleaseRow(
            id=ids.new_id("rel"), slug=listing.slug, version=listing.version, digest=package.digest, size=package.size,
            publisher_id=publisher_id, key_id=package.signature.key_id, manifest=msgspec.to_builtins(package.manifest),
            state="published", yank_reason="", published_at=now,
        )  # fmt: skip
        try:
            async with self._database.write(None) as session:
                plugin = await self._admit(session, package, publisher_id)
                if plugin is None:
                    plugin = PluginRow(slug=listing.slug, publisher_id=publisher_id, created_at=now, installs=0)
                    session.add(plugin)
                    await session.flush()
                row.sequence = await repository.next_sequence(session, listing.slug)
                session.add(row)
                await session.flush()
                await self.sharing.put(session, package.digest, contents)
                await repository.refresh_plugin(session, plugin)
                target, after = f"{listing.slug}@{listing.version}", {"digest": package.digest}
                audit(session, None, actor, "release.publish", target, after=after)
        except IntegrityError as error:  # another node was quicker
            raise SlugTakenError(f"{listing.slug} {listing.version} was published meanwhile.") from error
        return release_of(row, self._store)

"""Development releases: what an author tries in one tenant before anything is published.

A package is taken in as strictly as one that is published, sealed and checked. What differs is who answers for it: the
tenant's own administrator, so nobody's key has to be known, and nobody else can have it. The version is made here,
a pre-release of the one that the code names with a number that grows and a part that nobody else's has; so it is
found like any other release, and never taken for another tenant's.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Collection
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import ids
from jackfield.clock import Clock
from jackfield.db import Database
from jackfield.records import audit
from jackfield.registry.errors import DevelopmentLimitError, PackageRefusedError, PublishInProgressError
from jackfield.registry.models import DevelopmentRow, ReleaseRow
from jackfield.registry.publishing import Publishing
from jackfield.registry.store import Store, Workspace
from jackfield.registry.values import Release
from jackfield_sdk.errors import PackageError
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.package import Package

__all__ = ["Development", "is_development"]

_OURS = re.compile(r"[-.]dev\.[1-9][0-9]*\.t[0-9a-f]{12}\Z")
_VERSION_CHARS = 64
_KEPT = 5
"""Of each plugin. More than one, so that a call that is on its way to the one before still finds it."""
_PLUGINS = 20
"""That one tenant may try at a time."""
_FORGOTTEN_AFTER = timedelta(days=7)


def is_development(version: str) -> bool:
    """Whether a version looks like one that is made here."""
    return _OURS.search(version) is not None


class Development:
    """Takes development releases in and finds them.

    Args:
        publishing: Checks packages; at most so many at a time, of both kinds together.
    """

    def __init__(self, database: Database, store: Store, clock: Clock, publishing: Publishing) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._publishing = publishing
        self._storing = asyncio.Lock()

    async def upload(self, stream: AsyncIterator[bytes], tenant_id: str, actor: str) -> Release:
        """Take a package in, check all of it, and keep it for this tenant.

        Raises:
            PublishInProgressError: Another upload for the tenant is under way.
            PackageRefusedError, BytecodeMismatchError, ManifestMismatchError, SlugReservedError,
                UploadInterruptedError, SealingUnavailableError, StoreUnavailableError: As `Registry.publish`.
            DevelopmentLimitError: The tenant tries too many plugins.
        """
        with self._publishing.alone(f"tenant:{tenant_id}"):
            workspace = await asyncio.to_thread(self._store.workspace)
            try:
                package = await self._publishing.prepare(
                    stream, workspace, _vouched, lambda session, found: self._admit(session, found, tenant_id)
                )
                async with self._storing:
                    return await self._keep(package, tenant_id, workspace, actor)
            except PackageError as error:
                raise PackageRefusedError(error) from error
            finally:
                await asyncio.to_thread(workspace.discard)

    async def find(self, slug: str, version: str) -> Release | None:
        """The release of this version, whoever's it is."""
        query = select(DevelopmentRow).where(DevelopmentRow.slug == slug, DevelopmentRow.version == version)
        async with self._database.read(None) as session:
            row = await session.scalar(query)
        return None if row is None else self._release(row)

    async def forget(self, tenant_id: str, slug: str, in_use: Collection[str]) -> None:
        """Remove what is not needed any more: old releases of this plugin, and all of plugins long untouched.

        Args:
            in_use: `slug version` of what the tenant has installed; these stay.
        """
        horizon = self._clock.now() - _FORGOTTEN_AFTER
        async with self._storing:
            async with self._database.write(tenant_id) as session:
                rows = (await session.scalars(select(DevelopmentRow).order_by(DevelopmentRow.sequence.desc()))).all()
                mine = [row for row in rows if row.slug == slug]
                old = [*mine[_KEPT:], *(row for row in rows if row.slug != slug and row.uploaded_at < horizon)]
                doomed = [row for row in old if f"{row.slug} {row.version}" not in in_use]
                await session.execute(delete(DevelopmentRow).where(DevelopmentRow.id.in_([row.id for row in doomed])))
            digests = {row.digest for row in doomed}
            async with self._database.read(None) as session:
                for table in (DevelopmentRow, ReleaseRow):
                    digests -= set(await session.scalars(select(table.digest).where(table.digest.in_(digests))))
            await self._publishing.sharing.drop(digests)
            for digest in digests:
                await asyncio.to_thread(self._store.remove, digest)

    async def _admit(self, session: AsyncSession, package: Package, tenant_id: str) -> None:
        slug = package.listing.slug
        self._publishing.check_reserved(package.manifest)
        self._publishing.check_schedules(package.manifest)
        tried = select(DevelopmentRow.slug).where(DevelopmentRow.tenant_id == tenant_id).distinct()
        slugs = set(await session.scalars(tried))
        if slug not in slugs and len(slugs) >= _PLUGINS:
            raise DevelopmentLimitError(f"{len(slugs)} plugins are being tried.", limit=_PLUGINS)

    async def _keep(self, package: Package, tenant_id: str, workspace: Workspace, actor: str) -> Release:
        slug = package.listing.slug
        await asyncio.to_thread(self._store.adopt, workspace, package.digest)
        contents = await self._publishing.sharing.read(package.digest)
        try:
            async with self._database.write(tenant_id) as session:
                last = await session.scalar(
                    select(func.max(DevelopmentRow.sequence)).where(DevelopmentRow.slug == slug)
                )  # fmt: skip
                sequence = (last or 0) + 1
                version = _version(package.listing.version, sequence)
                manifest = msgspec.structs.replace(package.manifest, version=version)
                row = DevelopmentRow(
                    id=ids.new_id("dev"), tenant_id=tenant_id, slug=slug, version=version, sequence=sequence,
                    digest=package.digest, size=package.size, manifest=msgspec.to_builtins(manifest),
                    uploaded_by=actor, uploaded_at=self._clock.now(),
                )  # fmt: skip
                session.add(row)
                await self._publishing.sharing.put(session, package.digest, contents)
                after: dict[str, Any] = {"digest": package.digest}
                audit(session, tenant_id, actor, "release.develop", f"{slug}@{version}", after=after)
        except IntegrityError as error:  # another node was quicker
            raise PublishInProgressError("Another upload for this tenant was quicker.") from error
        return self._release(row)

    def _release(self, row: DevelopmentRow) -> Release:
        return Release(
            slug=row.slug,
            version=row.version,
            digest=row.digest,
            manifest=msgspec.convert(row.manifest, Manifest),
            image_path=self._store.image_path(row.digest),
            package_path=self._store.package_path(row.digest),
            publisher_id="development",
            published_at=row.uploaded_at,
            state="published",
            size=row.size,
            tenant_id=row.tenant_id,
        )


def _vouched(_key_id: str, _signature: bytes, _message: bytes) -> None:
    """Any key will do: the token of the tenant's administrator vouches, and only that tenant runs it."""


def _version(declared: str, sequence: int) -> str:
    """A version before the declared one and after all that were made of it earlier."""
    base = declared.partition("+")[0]
    made = f"{base}{'.' if '-' in base else '-'}dev.{sequence}.t{secrets.token_hex(6)}"
    if len(made) > _VERSION_CHARS:
        raise PackageError(f"the version {declared} is too long to be tried", code="version-invalid")
    return made

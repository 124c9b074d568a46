"""Packages for all nodes: what was uploaded to another one is found in the database, and kept in the own store.

Only on PostgreSQL. On SQLite there is one node, and it has its store.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from weakref import WeakValueDictionary

import structlog
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.db import Database
from jackfield.registry.errors import StoreUnavailableError
from jackfield.registry.models import PackageContent
from jackfield.registry.store import Contents, Store

__all__ = ["Sharing"]

_log = structlog.stdlib.get_logger(__name__)


class Sharing:
    """The packages that all nodes have together."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store
        self._fetching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def read(self, digest: str) -> Contents | None:
        """What is to be put for the others, from this node's store; None when there are no others."""
        return None if self._database.is_sqlite else await asyncio.to_thread(self._store.contents, digest)

    async def put(self, session: AsyncSession, digest: str, contents: Contents | None) -> None:
        """Give it to the other nodes, in the transaction that names it."""
        if contents is not None:
            values = {
                "digest": digest, "package": contents.package, "image": contents.image, "manifest": contents.manifest,
                "image_digest": hashlib.sha256(contents.image).hexdigest(),
            }  # fmt: skip
            await session.execute(insert(PackageContent).values(values).on_conflict_do_nothing())

    async def drop(self, digests: Iterable[str]) -> None:
        """Forget packages that nothing names any more."""
        if not self._database.is_sqlite and (gone := list(digests)):
            async with self._database.write(None) as session:
                await session.execute(delete(PackageContent).where(PackageContent.digest.in_(gone)))

    async def fetch(self, digest: str) -> None:
        """Have a package in this node's store, whoever took it in.

        Raises:
            StoreUnavailableError: No node has given it, or it is not what it was, or the disk refuses.
        """
        if self._database.is_sqlite or self._store.has(digest):
            return
        async with self._fetching.setdefault(digest, asyncio.Lock()):
            if self._store.has(digest):
                return
            async with self._database.read(None) as session:
                row = (await session.execute(select(PackageContent).where(PackageContent.digest == digest))).scalar()
            if row is None:
                raise StoreUnavailableError(f"The package {digest[:12]} is neither here nor in the database.")
            whole = hashlib.sha256(row.package).hexdigest(), hashlib.sha256(row.image).hexdigest()
            if whole != (digest, row.image_digest):
                raise StoreUnavailableError(f"The package {digest[:12]} in the database is not what it was.")
            await asyncio.to_thread(self._store.take, digest, Contents(row.package, row.image, row.manifest))
            _log.info("package-fetched", digest=digest)

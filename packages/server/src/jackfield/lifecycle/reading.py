"""`Installations`: questions about what a tenant has installed."""

from __future__ import annotations

from collections.abc import Iterable

from jackfield.db import Database
from jackfield.lifecycle.interfaces import Runner
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.repository import listed, owned_by, require
from jackfield.lifecycle.snapshots import Snapshots
from jackfield.lifecycle.states import State
from jackfield.lifecycle.views import Installed, view
from jackfield.registry import Release

__all__ = ["Installations"]


class Installations:
    """Reads; changes nothing."""

    def __init__(self, database: Database, snapshots: Snapshots, runner: Runner) -> None:
        self._database = database
        self._snapshots = snapshots
        self._runner = runner

    async def get(self, tenant_id: str, slug: str, *, instance: str = "default") -> Installed:
        """One installation.

        Raises:
            NotInstalledError: The tenant does not have it.
        """
        return await self._view(*await self._found(tenant_id, slug, instance))

    async def list(
        self,
        tenant_id: str,
        *,
        states: Iterable[State] = (),
        text: str | None = None,
        after: tuple[str, str] = ("", ""),
        limit: int | None = None,
    ) -> list[Installed]:
        """Installations of a tenant, by slug and instance.

        Args:
            states: Only those in one of these states.
            text: Only those whose name or slug holds this.
            after: Slug and instance of the last one seen.
        """
        async with self._database.read(tenant_id) as session:
            rows = await listed(session, states)
        found: list[Installed] = []
        for row in rows:
            if (row.slug, row.instance) <= after:
                continue
            if limit is not None and len(found) == limit:
                break
            release = await self._snapshots.release(row.slug, row.version)
            if text is None or text.casefold() in f"{row.slug}\n{release.manifest.name}".casefold():
                found.append(await self._view(row, release))
        return found

    async def inventory(self, tenant_id: str, slug: str, *, instance: str = "default") -> dict[str, int]:
        """What it owns: counts by kind."""
        async with self._database.read(tenant_id) as session:
            row = await require(session, slug, instance)
            return await owned_by(session, row.id)

    async def stored_secrets(self, row: InstallationRow) -> list[str]:
        """Names of its secrets that have a value."""
        return await self._snapshots.secrets(row, await self._snapshots.release(row.slug, row.version))

    async def _found(self, tenant_id: str, slug: str, instance: str) -> tuple[InstallationRow, Release]:
        async with self._database.read(tenant_id) as session:
            row = await require(session, slug, instance)
        return row, await self._snapshots.release(row.slug, row.version)

    async def _view(self, row: InstallationRow, release: Release) -> Installed:
        return view(row, release, await self._snapshots.secrets(row, release))

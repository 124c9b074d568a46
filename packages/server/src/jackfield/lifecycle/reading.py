"""`Installations`: questions about what a tenant has installed."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, Iterable

from jackfield.capabilities import SecretState, secret_states
from jackfield.db import Database
from jackfield.lifecycle.history import every
from jackfield.lifecycle.interfaces import Runner
from jackfield.lifecycle.models import InstallationRow, PastRelease
from jackfield.lifecycle.possessions import Possessions, contributed, dependants_of
from jackfield.lifecycle.repository import listed, owned_by, require
from jackfield.lifecycle.snapshots import Snapshots
from jackfield.lifecycle.states import State
from jackfield.lifecycle.table_exports import Format, TableAmount, amounts, table_of, write_table
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

    async def inventory(self, tenant_id: str, slug: str, *, instance: str = "default") -> Possessions:
        """What it owns, what it adds, and who needs it."""
        row, release = await self._found(tenant_id, slug, instance)
        async with self._database.read(tenant_id) as session:
            owned = await owned_by(session, row.id)
            others = [each for each in await listed(session) if each.id != row.id]
        manifests = [(await self._snapshots.release(each.slug, each.version)).manifest for each in others]
        return Possessions(owned, contributed(release.manifest), dependants_of(slug, manifests))

    async def secrets(
        self, tenant_id: str, slug: str, *, instance: str = "default"
    ) -> tuple[list[str], dict[str, SecretState]]:
        """Secret fields of its configuration, and what may be told of those that are set."""
        row, release = await self._found(tenant_id, slug, instance)
        section = release.manifest.config
        async with self._database.read(tenant_id) as session:
            states = {state.name: state for state in await secret_states(session, row.id)}
        return [] if section is None else sorted(section.secrets), states

    async def history(
        self, tenant_id: str, slug: str, *, instance: str = "default"
    ) -> tuple[Installed, builtins.list[PastRelease]]:
        """An installation, and the releases that it had before, the latest first."""
        seen = await self.get(tenant_id, slug, instance=instance)
        async with self._database.read(tenant_id) as session:
            return seen, await every(session, seen.id)

    async def tables(self, tenant_id: str, slug: str, *, instance: str = "default") -> builtins.list[TableAmount]:
        """Its tables, and how much is in them."""
        row, release = await self._found(tenant_id, slug, instance)
        return await amounts(self._database, tenant_id, row.id, release)

    async def export_table(
        self, tenant_id: str, slug: str, table: str, form: Format, *, instance: str = "default"
    ) -> AsyncGenerator[bytes]:
        """All rows of a table, as a stream.

        Raises:
            TableUnknownError: The release has no such table.
        """
        row, release = await self._found(tenant_id, slug, instance)
        return write_table(self._database, tenant_id, row.id, table_of(release, table), form)

    async def stored_secrets(self, row: InstallationRow) -> list[str]:
        """Names of its secrets that have a value."""
        return await self._snapshots.secrets(row, await self._snapshots.release(row.slug, row.version))

    async def _found(self, tenant_id: str, slug: str, instance: str) -> tuple[InstallationRow, Release]:
        async with self._database.read(tenant_id) as session:
            row = await require(session, slug, instance)
        return row, await self._snapshots.release(row.slug, row.version)

    async def _view(self, row: InstallationRow, release: Release) -> Installed:
        return view(row, release, await self._snapshots.secrets(row, release))

"""What installations keep, for quotas, which know neither slugs nor storage."""

from __future__ import annotations

from sqlalchemy import select

from jackfield.capabilities.models import UsageRow
from jackfield.db import Database
from jackfield.lifecycle.active import key_of
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.states import State
from jackfield.quotas import Holding

__all__ = ["Inventory"]


class Inventory:
    """The `Inventory` of `quotas`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def holdings(self, tenant_id: str) -> list[Holding]:
        """What each installation that a tenant can see keeps, by plugin."""
        listed = [state.value for state in State if state.is_listed]
        query = (
            select(InstallationRow, UsageRow.used_bytes, UsageRow.used_rows)
            .outerjoin(UsageRow, UsageRow.installation_id == InstallationRow.id)
            .where(InstallationRow.tenant_id == tenant_id, InstallationRow.state.in_(listed))
            .order_by(InstallationRow.slug, InstallationRow.instance)
        )
        async with self._database.read(None) as session:
            return [
                Holding(row.id, key_of(row.slug, row.instance), used_bytes or 0, used_rows or 0)
                for row, used_bytes, used_rows in await session.execute(query)
            ]

    async def tenant_of(self, installation_id: str) -> str | None:
        """Whose installation it is."""
        async with self._database.read(None) as session:
            return await session.scalar(select(InstallationRow.tenant_id).where(InstallationRow.id == installation_id))

    async def slugs_by_id(self, tenant_id: str) -> dict[str, str]:
        """Plugins that a tenant has, or had, by installation."""
        query = select(InstallationRow.id, InstallationRow.slug).where(InstallationRow.tenant_id == tenant_id)
        async with self._database.read(None) as session:
            return {row.id: row.slug for row in await session.execute(query)}

    async def slugs_of(self, tenant_id: str) -> list[str]:
        """Plugins that a tenant has, or had."""
        query = select(InstallationRow.slug).where(InstallationRow.tenant_id == tenant_id).distinct()
        async with self._database.read(None) as session:
            return sorted(await session.scalars(query))

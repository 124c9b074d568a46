"""Where webhooks come in: a plugin that is put to work gets an address for each that it declares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import webhooks
from jackfield.capabilities.secrets import envelope_of
from jackfield.clock import Clock
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.snapshots import Snapshots
from jackfield.lifecycle.states import State

__all__ = ["Receiving", "in_turn"]

Follow = Callable[[AsyncSession, str, Iterable[str]], Awaitable[None]]


class Receiving:
    """Brings addresses in line with installations, in the transaction that changes those."""

    def __init__(self, snapshots: Snapshots, clock: Clock) -> None:
        self._snapshots = snapshots
        self._clock = clock

    async def follow(self, session: AsyncSession, tenant_id: str, slugs: Iterable[str]) -> None:
        """After a change of these plugins' installations."""
        query = select(InstallationRow).where(
            InstallationRow.slug.in_(list(slugs)), InstallationRow.state == State.ACTIVE.value
        )
        for row in (await session.scalars(query)).all():
            manifest = (await self._snapshots.release(row.slug, row.version)).manifest
            if manifest.webhooks:
                names = [webhook.name for webhook in manifest.webhooks]
                sealer = envelope_of(session)
                await webhooks.ensure_addresses(session, sealer, tenant_id, row.id, names, self._clock.now())


def in_turn(*follows: Follow) -> Follow:
    """All of them, one after the other."""

    async def follow(session: AsyncSession, tenant_id: str, slugs: Iterable[str]) -> None:
        named = list(slugs)
        for one in follows:
            await one(session, tenant_id, named)

    return follow

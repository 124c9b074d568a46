"""Addresses where webhooks come in: each of an installation and one of its webhooks, secret, and replaceable.

The secret part of an address is stored as a hash. Until an admin has been shown it, it is also kept sealed; after that,
nobody can read it again, and it can only be replaced.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.records import audit
from jackfield.webhooks.errors import WebhookUnknownError
from jackfield.webhooks.interfaces import SEALED_FOR, Sealer
from jackfield.webhooks.models import AddressRow, ReceiptRow

__all__ = ["Address", "Addresses", "ensure_addresses", "inventory", "purge"]

LONGEST_OVERLAP = timedelta(days=7)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Address:
    """What an address belongs to."""

    tenant_id: str
    installation_id: str
    name: str


async def ensure_addresses(
    session: AsyncSession,
    sealer: Sealer,
    tenant_id: str,
    installation_id: str,
    names: Iterable[str],
    now: datetime,
) -> None:
    """Have an address for each of an installation's webhooks, in the transaction that puts it to work. Those that are
    there stay, also those of webhooks that this release does not have: a rollback may bring them back."""
    query = select(AddressRow.name).where(AddressRow.installation_id == installation_id)
    known = set(await session.scalars(query))
    for name in names:
        if name not in known:
            token = _new_token()
            session.add(
                AddressRow(
                    installation_id=installation_id, name=name, tenant_id=tenant_id, token_hash=_hash(token),
                    sealed=await sealer.seal(session, tenant_id, SEALED_FOR, _place(installation_id, name), token),
                    old_hash=None, old_until=None, made_at=now, received_at=None, refused_at=None, refusal=None,
                )
            )  # fmt: skip
    await session.flush()


async def inventory(session: AsyncSession, installation_id: str) -> int:
    """How many addresses an installation has."""
    query = select(func.count()).select_from(AddressRow).where(AddressRow.installation_id == installation_id)
    return await session.scalar(query) or 0


async def purge(session: AsyncSession, installation_id: str) -> None:
    """Remove an installation's addresses, and what is known of what came in."""
    for model in (AddressRow, ReceiptRow):
        await session.execute(
            delete(model).where(model.installation_id == installation_id).execution_options(synchronize_session=False)
        )


class Addresses:
    """Finds addresses, shows and replaces them."""

    def __init__(self, database: Database, sealer: Sealer, public_url: str, clock: Clock | None = None) -> None:
        self._database = database
        self._sealer = sealer
        self._base = f"{public_url.rstrip('/')}/api/webhooks/"
        self._clock = clock or SystemClock()

    async def find(self, token: str) -> Address | None:
        """Whose an address is, by its secret part."""
        if not _TOKEN.match(token):
            return None
        hashed = _hash(token)
        is_old = and_(AddressRow.old_hash == hashed, AddressRow.old_until > self._clock.now())
        query = select(AddressRow).where(or_(AddressRow.token_hash == hashed, is_old)).limit(1)
        async with self._database.read(None) as session:
            row = await session.scalar(query)
        return None if row is None else Address(row.tenant_id, row.installation_id, row.name)

    async def list(self, tenant_id: str, installation_id: str) -> Mapping[str, AddressRow]:
        """An installation's addresses, by the names of its webhooks."""
        query = select(AddressRow).where(AddressRow.installation_id == installation_id)
        async with self._database.read(tenant_id) as session:
            return {row.name: row for row in await session.scalars(query)}

    async def show(self, tenant_id: str, installation_id: str) -> dict[str, str]:
        """URLs that nobody has been shown, by the names of their webhooks. Once: they are not told again."""
        query = select(AddressRow).where(AddressRow.installation_id == installation_id, AddressRow.sealed.is_not(None))
        async with self._database.read(tenant_id) as session:
            if await session.scalar(query.limit(1)) is None:
                return {}
        found: dict[str, str] = {}
        async with self._database.write(tenant_id) as session:
            rows = list(await session.scalars(query.with_for_update()))
            sealed = {row.name: row.sealed for row in rows}
            for row in rows:
                row.sealed = None
            await session.flush()
            for name, token in sealed.items():
                if token is not None:
                    place = _place(installation_id, name)
                    found[name] = self._base + await self._sealer.open(token, tenant_id, SEALED_FOR, place)
        return found

    async def rotate(self, tenant_id: str, installation_id: str, name: str, overlap: timedelta, actor: str) -> str:
        """A new address; its URL. The old one is good for the overlap, or not at all when that is zero.

        Raises:
            WebhookUnknownError: The installation has no address of this name.
        """
        token, now = _new_token(), self._clock.now()
        async with self._database.write(tenant_id) as session:
            row = await session.scalar(
                select(AddressRow)
                .where(AddressRow.installation_id == installation_id, AddressRow.name == name)
                .with_for_update()
            )
            if row is None:
                raise WebhookUnknownError(f"there is no webhook {name[:64]!r}")
            overlap = min(overlap, LONGEST_OVERLAP)
            row.old_hash = row.token_hash if overlap > timedelta(0) else None
            row.old_until = now + overlap if overlap > timedelta(0) else None
            row.token_hash, row.sealed, row.made_at = _hash(token), None, now
            audit(
                session, tenant_id, actor, "webhook.rotate", f"{installation_id}/{name}",
                after={"overlap_s": overlap.total_seconds()},
            )  # fmt: skip
        return self._base + token


def _new_token() -> str:
    return secrets.token_urlsafe(_TOKEN_BYTES)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _place(installation_id: str, name: str) -> str:
    return f"{installation_id}/{name}"

"""The secrets that the audit trail's keys are made from: data keys like those of tenants, of the platform itself.

So they are wrapped with the operator's keys, wrapped anew when those are replaced, and an operator's key can be taken
out of use without a part of the trail becoming unverifiable. A new one is made by `keys renew -`; those of before go on
to verify.
"""

from __future__ import annotations

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.capabilities.envelope import Envelope
from jackfield.capabilities.errors import SecretUnreadableError
from jackfield.capabilities.models import DataKey
from jackfield.db import Database
from jackfield.records import PLATFORM, AuditKeys

__all__ = ["load_audit_keys"]

_log = structlog.get_logger("jackfield.keys")


async def load_audit_keys(database: Database, envelope: Envelope, keys: AuditKeys) -> None:
    """Read them, and make the first one.

    Raises:
        SecretUnreadableError: The one that seals cannot be unwrapped here.
        SecretKeyInvalidError: This node's key is not the one that the database knows, or was taken out of use.
    """
    async with database.read(None) as session:
        rows = await _rows(session)
    if not any(row.retired_at is None for row in rows):
        async with database.write(None) as session:
            rows = await _rows(session)
            if not any(row.retired_at is None for row in rows):
                rows = [await envelope.new_key(session, PLATFORM), *rows]
    current = next(row.id for row in rows if row.retired_at is None)
    secrets: dict[str, bytes] = {}
    for row in rows:
        try:
            secrets[row.id] = envelope.vault.unwrap(row.wrapped, PLATFORM, row.id)
        except SecretUnreadableError:
            if row.id == current:
                raise
            # What it sealed cannot be verified, which a verification says.
            _log.error("audit-key-unreadable", key=row.id)
    keys.take(current, secrets)


async def _rows(session: AsyncSession) -> list[DataKey]:
    """The one that seals is the first that was not retired."""
    query = (
        select(DataKey)
        .where(DataKey.tenant_id == PLATFORM)
        .order_by(DataKey.retired_at.is_not(None), DataKey.created_at.desc(), DataKey.id.desc())
    )
    return list(await session.scalars(query))

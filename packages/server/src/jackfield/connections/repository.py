"""Statements about connections. The session's tenant narrows each of them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.capabilities.models import SecretValue
from jackfield.connections.models import AuthorizationRow, ConnectionRow, RevocationRow
from jackfield.db import tell
from jackfield.ids import new_id

__all__ = [
    "CONNECTIONS",
    "changed",
    "claim_renewal",
    "decoded",
    "detach",
    "encoded",
    "find",
    "of_installation",
    "purge",
    "retire_tokens",
    "sealed_values",
    "secret_name",
    "tokens_name",
]

CONNECTIONS = "connections"
"""Topic of notices; their subject is an installation, and one of its connections behind it."""
_QUIETLY = {"synchronize_session": False}


async def changed(session: AsyncSession, installation_id: str, connection_id: str) -> None:
    """Have other nodes forget a connection when this transaction is committed."""
    await tell(session, CONNECTIONS, f"{installation_id} {connection_id}")


def secret_name(name: str) -> str:
    """Under which name a connection's secret values are kept."""
    return f"connection:{name}"


def tokens_name(name: str) -> str:
    """Under which name its OAuth2 tokens are kept."""
    return f"connection:{name}:tokens"


async def of_installation(session: AsyncSession, installation_id: str) -> list[ConnectionRow]:
    """All connections of an installation, by name."""
    query = select(ConnectionRow).where(ConnectionRow.installation_id == installation_id).order_by(ConnectionRow.name)
    return list(await session.scalars(query))


async def find(session: AsyncSession, installation_id: str, name: str) -> ConnectionRow | None:
    """One of them."""
    return await session.scalar(
        select(ConnectionRow).where(ConnectionRow.installation_id == installation_id, ConnectionRow.name == name)
    )


async def sealed_values(session: AsyncSession, installation_id: str, names: Collection[str]) -> dict[str, str]:
    """Name → token, of what is stored."""
    columns = SecretValue.name, SecretValue.token
    found = await session.execute(
        select(*columns).where(SecretValue.installation_id == installation_id, SecretValue.name.in_(names))
    )
    return {row[0]: row[1] for row in found}


async def claim_renewal(session: AsyncSession, connection_id: str, now: datetime, for_s: float) -> bool:
    """Be the one that gets new tokens; False when another node is at it."""
    result = await session.execute(
        update(ConnectionRow)
        .where(
            ConnectionRow.id == connection_id,
            or_(ConnectionRow.renewing_until.is_(None), ConnectionRow.renewing_until < now),
        )
        .values(renewing_until=now + timedelta(seconds=for_s))
        .execution_options(**_QUIETLY)
    )
    return bool(getattr(result, "rowcount", 0))


async def detach(
    session: AsyncSession, installation_id: str, now: datetime, names: Collection[str] | None = None
) -> None:
    """Forget the credentials of connections, and remember tokens that the OAuth2 server is to be told of.

    Args:
        names: Which; all of them when None.
    """
    for row in await of_installation(session, installation_id):
        if names is not None and row.name not in names:
            continue
        await retire_tokens(session, row, now)
        await session.execute(
            delete(SecretValue)
            .where(
                SecretValue.installation_id == installation_id,
                SecretValue.name.in_([secret_name(row.name), tokens_name(row.name)]),
            )
            .execution_options(**_QUIETLY)
        )
        await session.execute(
            delete(AuthorizationRow).where(AuthorizationRow.connection_id == row.id).execution_options(**_QUIETLY)
        )
        row.version += 1
        row.connected_at = None


async def retire_tokens(session: AsyncSession, row: ConnectionRow, now: datetime) -> None:
    """Have the tokens that a connection has now revoked, a little later."""
    sealed = await sealed_values(session, row.installation_id, [secret_name(row.name), tokens_name(row.name)])
    tokens = sealed.get(tokens_name(row.name))
    if tokens is None or not row.credentials.get("revocation_url"):
        return
    session.add(
        RevocationRow(
            id=new_id("rev"), tenant_id=row.tenant_id, slug=row.slug, name=row.name, credentials=dict(row.credentials),
            secret=sealed.get(secret_name(row.name)), tokens=tokens, attempts=0, due_at=now,
        )
    )  # fmt: skip


async def purge(session: AsyncSession, installation_id: str, now: datetime) -> None:
    """Remove all connections of an installation, in the caller's transaction."""
    await detach(session, installation_id, now)
    await session.execute(
        delete(ConnectionRow).where(ConnectionRow.installation_id == installation_id).execution_options(**_QUIETLY)
    )


def encoded(values: dict[str, str]) -> str:
    """Secret values as one text, to be sealed."""
    return msgspec.json.encode(values).decode()


def decoded(text: str) -> dict[str, str]:
    """What `encoded` took."""
    return msgspec.json.decode(text, type=dict[str, str])

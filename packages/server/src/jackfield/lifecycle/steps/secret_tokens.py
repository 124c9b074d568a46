"""Moving secrets about without decrypting them.

A token is bound to the tenant, the plugin and the field, not to an installation; so it can be put back, and copied to
a trial of the same plugin, as it is. A token that was put anywhere else would not decrypt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.capabilities.models import SecretValue

__all__ = ["copy_tokens", "drop_tokens", "put_tokens", "tokens"]


async def tokens(session: AsyncSession, installation_id: str, names: Iterable[str]) -> dict[str, str | None]:
    """What is stored under these names; None where nothing is."""
    rows = await session.scalars(select(SecretValue).where(SecretValue.installation_id == installation_id))
    stored = {row.name: row.token for row in rows}
    return {name: stored.get(name) for name in names}


async def put_tokens(
    session: AsyncSession, tenant_id: str, installation_id: str, values: Mapping[str, str | None]
) -> None:
    """Make it so that exactly these tokens are stored under these names; other names are left alone."""
    await session.execute(
        delete(SecretValue).where(SecretValue.installation_id == installation_id, SecretValue.name.in_(list(values)))
    )
    session.add_all(
        SecretValue(tenant_id=tenant_id, installation_id=installation_id, name=name, token=token)
        for name, token in values.items()
        if token is not None
    )
    await session.flush()


async def copy_tokens(session: AsyncSession, tenant_id: str, installation_id: str, copy_id: str) -> None:
    """Give another id all that an installation has stored."""
    rows = await session.scalars(select(SecretValue).where(SecretValue.installation_id == installation_id))
    await put_tokens(session, tenant_id, copy_id, {row.name: row.token for row in rows})


async def drop_tokens(session: AsyncSession, installation_id: str) -> None:
    """Remove all of an installation's secrets."""
    await session.execute(delete(SecretValue).where(SecretValue.installation_id == installation_id))

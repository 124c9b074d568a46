"""`secrets`: values of secret configuration fields. Encrypted at rest; in plain text only in the answer to `reveal`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from weakref import WeakKeyDictionary

from msgspec import Meta
from sqlalchemy import Engine, bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.errors import SecretKeyMissingError, SecretNotSetError
from jackfield.capabilities.models import SecretValue, core
from jackfield.capabilities.operations import Arguments, Capability, answer, operation
from jackfield.capabilities.vault import Vault
from jackfield.db import Database
from jackfield.db.point_reads import PointReader

__all__ = ["Secrets", "attach_vault", "secret_names", "set_secrets"]

_vaults: WeakKeyDictionary[Engine, Vault] = WeakKeyDictionary()
"""Which vault belongs to which database: who stores a secret has a session, and never sees a key."""

_table = core(SecretValue)
_GET = select(_table.c.token).where(
    _table.c.installation_id == bindparam("p_installation"),
    _table.c.name == bindparam("p_name"),
    _table.c.tenant_id == bindparam("p_tenant"),
)


class _Reveal(Arguments, frozen=True):
    name: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")]


class Secrets:
    """The capability."""

    def __init__(self, reader: PointReader, vault: Vault) -> None:
        self._reader = reader
        self._vault = vault
        self.operations: Capability = {
            "reveal": operation(_Reveal, lambda arguments: f"secrets:{arguments.name}", self._reveal)
        }

    async def _reveal(self, context: CapabilityContext, arguments: _Reveal) -> bytes:
        row = await self._reader.fetch_row(
            _GET,
            {
                "p_installation": context.installation_id, "p_name": arguments.name, "p_tenant": context.tenant_id,
            },
        )  # fmt: skip
        if row is None:
            raise SecretNotSetError(arguments.name)
        value = self._vault.decrypt(row[0], context.tenant_id, context.slug, arguments.name)
        # From here on the plugin knows it, and may say it: what is kept of the call is searched for it.
        context.tally.revealed.append(value)
        return answer(value)


def attach_vault(database: Database, vault: Vault) -> None:
    """Have `set_secrets` encrypt with this vault in sessions of this database."""
    _vaults[database.engine.sync_engine] = vault


async def set_secrets(
    session: AsyncSession, tenant_id: str, installation_id: str, slug: str, values: Mapping[str, str | None]
) -> None:
    """Store secrets, in the caller's transaction; None removes one. Others stay as they are.

    Raises:
        SecretKeyMissingError: The session's database has no vault.
    """
    if not values:
        return
    vault = _vaults.get(_engine_of(session))
    if vault is None:
        raise SecretKeyMissingError("no vault is attached to this database")
    statement = delete(SecretValue).where(
        SecretValue.installation_id == installation_id,
        SecretValue.tenant_id == tenant_id,
        SecretValue.name.in_(list(values)),
    )
    await session.execute(statement, execution_options={"synchronize_session": False})
    rows = [
        {
            "tenant_id": tenant_id, "installation_id": installation_id, "name": name,
            "token": vault.encrypt(value, tenant_id, slug, name),
        }
        for name, value in values.items()
        if value is not None
    ]  # fmt: skip
    if rows:
        await session.execute(insert(_table), rows)


async def secret_names(session: AsyncSession, installation_id: str) -> list[str]:
    """Names of the secrets that are set, sorted."""
    statement = select(SecretValue.name).where(SecretValue.installation_id == installation_id)
    return sorted(await session.scalars(statement))


def _engine_of(session: AsyncSession) -> Engine:
    bind = session.get_bind()
    return bind if isinstance(bind, Engine) else bind.engine

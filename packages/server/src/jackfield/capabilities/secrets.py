"""`secrets`: values of secret configuration fields. Encrypted at rest; in plain text only in the answer to `reveal`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from weakref import WeakKeyDictionary

from msgspec import Meta
from sqlalchemy import Engine, bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.envelope import Envelope
from jackfield.capabilities.errors import SecretKeyMissingError, SecretNotSetError
from jackfield.capabilities.models import SecretValue, core
from jackfield.capabilities.operations import Arguments, Capability, answer, operation
from jackfield.capabilities.secret_uses import SecretUses
from jackfield.capabilities.vault import Vault
from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.db.point_reads import PointReader

__all__ = ["SecretState", "Secrets", "attach_vault", "envelope_of", "secret_names", "secret_states", "set_secrets"]

_envelopes: WeakKeyDictionary[Engine, tuple[Envelope, Clock]] = WeakKeyDictionary()
"""What seals secrets of which database: who stores a secret has a session, and never sees a key."""

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

    def __init__(self, reader: PointReader, envelope: Envelope, uses: SecretUses) -> None:
        self._reader = reader
        self._envelope = envelope
        self._uses = uses
        self.operations: Capability = {
            "reveal": operation(_Reveal, lambda arguments: f"secrets:{arguments.name}", self._reveal),
        }

    async def value(self, context: CapabilityContext, name: str) -> str:
        """A secret in plain text, for the broker's own use: it is put into a request in place of a handle.

        It is looked for in all that the call leaves, and the use is remembered. Permission is the caller's to check.

        Raises:
            SecretNotSetError: The tenant has not entered it.
            SecretUnreadableError: It cannot be decrypted.
        """
        row = await self._reader.fetch_row(
            _GET, {"p_installation": context.installation_id, "p_name": name, "p_tenant": context.tenant_id}
        )
        if row is None:
            raise SecretNotSetError(name)
        value = await self._envelope.open(row[0], context.tenant_id, context.slug, name)
        self._uses.note(context, name)
        context.tally.revealed.append(value)
        return value

    async def _reveal(self, context: CapabilityContext, arguments: _Reveal) -> bytes:
        # From here on the plugin knows it, and may say it: what is kept of the call is searched for it.
        return answer(await self.value(context, arguments.name))


def attach_vault(
    database: Database, vault: Vault, reader: PointReader | None = None, clock: Clock | None = None
) -> Envelope:
    """Have `set_secrets` seal with this one's keys in sessions of this database."""
    moments = clock or SystemClock()
    envelope = Envelope(vault, reader or PointReader(database), moments)
    _envelopes[database.engine.sync_engine] = envelope, moments
    return envelope


def envelope_of(session: AsyncSession) -> Envelope:
    """What seals and opens secrets of the session's database.

    Raises:
        SecretKeyMissingError: Nothing does.
    """
    return _attached(session)[0]


async def set_secrets(
    session: AsyncSession,
    tenant_id: str,
    installation_id: str,
    slug: str,
    values: Mapping[str, str | None],
    *,
    by: str | None = None,
) -> None:
    """Store secrets, in the caller's transaction; None removes one. Others stay as they are.

    Args:
        by: Who sets them, as in the audit trail.

    Raises:
        SecretKeyMissingError: The session's database has no keys.
    """
    if not values:
        return
    envelope, clock = _attached(session)
    statement = delete(SecretValue).where(
        SecretValue.installation_id == installation_id,
        SecretValue.tenant_id == tenant_id,
        SecretValue.name.in_(list(values)),
    )
    await session.execute(statement, execution_options={"synchronize_session": False})
    rows = [
        {
            "tenant_id": tenant_id, "installation_id": installation_id, "name": name,
            "token": await envelope.seal(session, tenant_id, slug, name, value), "set_at": clock.now(), "set_by": by,
        }
        for name, value in values.items()
        if value is not None
    ]  # fmt: skip
    if rows:
        await session.execute(insert(_table), rows)


async def secret_names(session: AsyncSession, installation_id: str) -> list[str]:
    """Names of the secrets that are set, sorted; those of connections, which no configuration has, are left out."""
    statement = select(SecretValue.name).where(SecretValue.installation_id == installation_id)
    return sorted(name for name in await session.scalars(statement) if ":" not in name)


@dataclass(frozen=True, slots=True)
class SecretState:
    """What may be told of a secret that is set; never its value."""

    name: str
    set_at: datetime | None
    set_by: str | None
    last_used_at: datetime | None
    last_used_by: str | None


async def secret_states(session: AsyncSession, installation_id: str) -> list[SecretState]:
    """The secrets that are set, by name."""
    columns = (
        SecretValue.name, SecretValue.set_at, SecretValue.set_by, SecretValue.last_used_at, SecretValue.last_used_by,
    )  # fmt: skip
    found = await session.execute(
        select(*columns).where(SecretValue.installation_id == installation_id).order_by(SecretValue.name)
    )
    return [state for row in found if ":" not in (state := SecretState(*row)).name]


def _attached(session: AsyncSession) -> tuple[Envelope, Clock]:
    bind = session.get_bind()
    found = _envelopes.get(bind if isinstance(bind, Engine) else bind.engine)
    if found is None:
        raise SecretKeyMissingError("no keys are attached to this database")
    return found

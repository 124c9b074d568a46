"""Envelope encryption: each tenant's secrets with a data key of its own, and that one wrapped with the operator's key.

So the operator's key can be replaced without touching a secret, a tenant's without touching another tenant's, and what
reads a secret needs two things that are kept apart. A token is `v2.DATAKEY.PLACE.BODY`: the place (plugin and field,
base64url of msgpack) is told so that the token can be encrypted anew by somebody who does not know where it belongs. It
proves nothing: who opens a token says where it should be, and it opens only there.
"""

from __future__ import annotations

import base64
import os
from collections import OrderedDict
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.capabilities.errors import SecretKeyInvalidError, SecretUnreadableError
from jackfield.capabilities.models import DataKey, MasterKey, core
from jackfield.capabilities.vault import Vault, place_of, sealed, unsealed
from jackfield.clock import Clock
from jackfield.db.point_reads import PointReader
from jackfield.ids import new_id
from jackfield.opened import opened

__all__ = ["Envelope", "data_key_of", "placed", "register_key"]

_VERSION = "v2"
_KEY_BYTES = 32
_CACHED = 10_000
_PLACE_CHARS = 1_000

_data_keys = core(DataKey)
_GET = select(_data_keys.c.wrapped).where(
    _data_keys.c.id == bindparam("p_id"), _data_keys.c.tenant_id == bindparam("p_tenant")
)


class Envelope:
    """Seals and opens secrets of tenants.

    Unwrapped data keys stay in the node's memory, where the operator's keys are as well.
    """

    def __init__(self, vault: Vault, reader: PointReader, clock: Clock) -> None:
        self.vault = vault
        self._reader = reader
        self._clock = clock
        self._ciphers: OrderedDict[str, tuple[str, AESGCM]] = OrderedDict()

    async def seal(self, session: AsyncSession, tenant_id: str, slug: str, name: str, plaintext: str) -> str:
        """A token for this place and no other, in the caller's transaction: a tenant's first secret makes its key.

        Raises:
            SecretUnreadableError: The tenant's key cannot be unwrapped here.
            SecretKeyInvalidError: This node's key is not the one that the database knows, or was taken out of use.
        """
        opened(plaintext)
        # The rows decide, not what is in memory: a key that was made in a transaction that failed is none.
        query = (
            select(DataKey)
            .where(DataKey.tenant_id == tenant_id, DataKey.retired_at.is_(None))
            .order_by(DataKey.created_at.desc(), DataKey.id.desc())
            .limit(1)
        )
        row = await session.scalar(query)
        if row is None:
            row = await self.new_key(session, tenant_id)
        cipher = self._unwrapped(row.id, tenant_id, row.wrapped)
        told = base64.urlsafe_b64encode(msgspec.msgpack.encode([slug, name])).decode().rstrip("=")
        body = sealed(cipher, plaintext.encode(), place_of(_VERSION, row.id, tenant_id, slug, name))
        return f"{_VERSION}.{row.id}.{told}.{body}"

    async def open(self, token: str, tenant_id: str, slug: str, name: str) -> str:
        """The secret.

        Raises:
            SecretUnreadableError: A key is unknown, or the token was changed or belongs elsewhere.
        """
        key_id = data_key_of(token)
        if key_id is None:
            value = self.vault.decrypt(token, tenant_id, slug, name)
            opened(value)
            return value
        cached = self._ciphers.get(key_id)
        if cached is None:
            found = await self._reader.fetch_row(_GET, {"p_id": key_id, "p_tenant": tenant_id})
            if found is None:
                raise SecretUnreadableError(f"the key of the secret `{name}` is gone")
            cached = tenant_id, self._unwrapped(key_id, tenant_id, found[0])
        else:
            self._ciphers.move_to_end(key_id)
        if cached[0] != tenant_id:
            raise SecretUnreadableError(f"the secret `{name}` belongs to somebody else")
        body = token.rpartition(".")[2]
        value = unsealed(cached[1], body, place_of(_VERSION, key_id, tenant_id, slug, name), name).decode()
        opened(value)
        return value

    async def new_key(self, session: AsyncSession, tenant_id: str) -> DataKey:
        """A new data key of a tenant, which encrypts from now on."""
        await register_key(session, self.vault, self._clock)
        key_id = new_id("dkey")
        wrapped, master_id = self.vault.wrap(os.urandom(_KEY_BYTES), tenant_id, key_id)
        row = DataKey(
            id=key_id, tenant_id=tenant_id, wrapped=wrapped, master_key_id=master_id, created_at=self._clock.now()
        )
        session.add(row)
        await session.flush()
        return row

    def _unwrapped(self, key_id: str, tenant_id: str, wrapped: str) -> AESGCM:
        cached = self._ciphers.get(key_id)
        if cached is not None and cached[0] == tenant_id:
            return cached[1]
        cipher = AESGCM(self.vault.unwrap(wrapped, tenant_id, key_id))
        self._ciphers[key_id] = tenant_id, cipher
        if len(self._ciphers) > _CACHED:
            self._ciphers.popitem(last=False)
        return cipher


def data_key_of(token: str) -> str | None:
    """Which data key a token was sealed with; None for those of old, which have none."""
    parts = token.split(".")
    return parts[1] if len(parts) == 4 and parts[0] == _VERSION else None


def placed(token: str) -> tuple[str, str] | None:
    """Plugin and field that a token says it belongs to; None when it does not say."""
    parts = token.split(".")
    if len(parts) != 4 or parts[0] != _VERSION or len(parts[2]) > _PLACE_CHARS:
        return None
    try:
        data = base64.urlsafe_b64decode(parts[2] + "=" * (-len(parts[2]) % 4))
        slug, name = msgspec.msgpack.decode(data, type=tuple[str, str])
    except (ValueError, msgspec.DecodeError):
        return None
    return slug, name


async def register_key(session: AsyncSession, vault: Vault, clock: Clock) -> MasterKey:
    """What the database knows of the key that encrypts now, made when it is new. It stays in use until the caller's
    transaction ends: whoever takes it out of use waits for that.

    Raises:
        SecretKeyInvalidError: Another key has this id, or it was taken out of use.
    """
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    for attempt in range(2):
        key_id = vault.current
        make: Any = insert_sqlite if is_sqlite else insert_postgresql
        newest = select(func.coalesce(func.max(MasterKey.generation), 0) + 1).scalar_subquery()
        await session.execute(
            make(core(MasterKey))
            .values(id=key_id, generation=newest, fingerprint=vault.fingerprints[key_id], since=clock.now())
            .on_conflict_do_nothing()
        )
        query = select(MasterKey).where(MasterKey.id == key_id).with_for_update(read=True)
        row = (await session.scalars(query.execution_options(populate_existing=True))).one()
        if row.fingerprint != vault.fingerprints[key_id]:
            raise SecretKeyInvalidError(f"the key {key_id} is not the one that this database knows under its id")
        if row.retired_at is None:
            return row
        if attempt == 0:
            # Another node has rotated, and this one has not needed a key since.
            vault.refresh()
    raise SecretKeyInvalidError(f"the key {vault.current} was taken out of use")

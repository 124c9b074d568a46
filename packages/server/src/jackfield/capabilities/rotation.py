"""Replacing keys while everything runs: the operator's, with which tenants' keys are wrapped, and a tenant's own.

Nothing has to be finished at once. A new key is put in front of the old ones; from then on whatever was done with an
old one can be read, and is done anew a part at a time, by whichever node gets to it, each part in a transaction. A node
that is killed leaves a part undone, no more. An old key can be taken out of use when nothing needs it.

| what | how it is found | what is done with it |
| --- | --- | --- |
| a data key, wrapped with an older key | `jf_data_keys.master_key_id` | wrapped with the first key |
| a secret, sealed with a data key that was retired | the token names it | sealed with the tenant's present one |
| a secret from before there were data keys | the token says `v1` | the same |

Secrets are in many tables: an installation's, a webhook's, a channel's. Their columns are marked `SEALED`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

import structlog
from sqlalchemy import Column, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.capabilities.envelope import Envelope, data_key_of, placed, register_key
from jackfield.capabilities.errors import (
    KeyInUseError,
    KeysInSettingsError,
    KeyUnknownError,
    SecretKeyInvalidError,
    SecretUnreadableError,
)
from jackfield.capabilities.models import DataKey, MasterKey, SecretValue, core
from jackfield.capabilities.vault import change_key_file, with_new_key, without_key
from jackfield.clock import Clock
from jackfield.db import Base, Database
from jackfield.records import PLATFORM, audit
from jackfield.settings import Settings

__all__ = ["KeyState", "KeyStatus", "Rotation", "SlugsOf"]

_log = structlog.get_logger("jackfield.keys")

SlugsOf = Callable[[str], Awaitable[Sequence[str]]]
"""Plugins that a tenant has, or had: a secret of old does not say whose it is, and opens for the right one alone."""

_BATCH = 100


@dataclass(frozen=True, slots=True)
class KeyState:
    """One key of the operator's.

    Attributes:
        is_here: This node has it.
        data_keys: Tenants' keys that are wrapped with it.
        old_secrets: Secrets from before there were data keys that are encrypted with it.
    """

    id: str
    generation: int
    is_current: bool
    is_here: bool
    data_keys: int
    old_secrets: int
    since: datetime | None
    retired_at: datetime | None

    @property
    def is_removable(self) -> bool:
        """Nothing needs it any more."""
        return self.is_here and not self.is_current and not self.data_keys and not self.old_secrets


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """All keys.

    Attributes:
        remaining: What is still to be done anew.
        unreadable: What of it cannot be: its key is gone, or nobody knows whose it is.
    """

    keys: list[KeyState]
    tenants: int
    remaining: int
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A secret, where it is.

    Attributes:
        key: Values of the table's primary key.
    """

    column: Column[Any]
    key: tuple[Any, ...]
    tenant_id: str
    token: str


@dataclass(slots=True)
class _Progress:
    """Of one run. What it has met and cannot do, it does not try again."""

    done: int = 0
    unreadable: dict[Column[Any], set[tuple[Any, ...]]] = field(default_factory=dict[Column[Any], set[tuple[Any, ...]]])

    @property
    def unreadable_count(self) -> int:
        return sum(map(len, self.unreadable.values()))


class Rotation:
    """One per node.

    Args:
        slugs_of: See there.
    """

    def __init__(
        self, database: Database, envelope: Envelope, settings: Settings, slugs_of: SlugsOf, clock: Clock
    ) -> None:
        self._database = database
        self._envelope = envelope
        self._vault = envelope.vault
        self._settings = settings
        self._slugs_of = slugs_of
        self._clock = clock
        self._unreadable = 0

    async def start(self) -> None:
        """Compare the keys here with what the database knows of them.

        Raises:
            SecretKeyInvalidError: One is another than that of the same id, or what encrypts was taken out of use.
        """
        async with self._database.write(None) as session:
            known = {row.id: row.fingerprint for row in await session.scalars(select(MasterKey))}
            for key_id, fingerprint in self._vault.fingerprints.items():
                if known.get(key_id, fingerprint) != fingerprint:
                    raise SecretKeyInvalidError(
                        f"the key {key_id} is not the one that this database knows under its id",
                        hint="This data folder, or this setting, belongs to another database.",
                    )
            await register_key(session, self._vault, self._clock)

    async def rotate(self, actor: str) -> KeyStatus:
        """Put a new key in front. What is wrapped with older ones is wrapped anew by `rewrap`, which nodes do by
        themselves, a little later.

        When the keys are in the node's settings, their order there decides; nothing is made.
        """
        if self._settings.secret_key is None:
            change_key_file(self._settings.data_dir, with_new_key)
            self._vault.refresh()
        async with self._database.write(None) as session:
            row = await register_key(session, self._vault, self._clock)
            audit(session, None, actor, "keys.rotate", row.id, after={"generation": row.generation})
        return await self.status()

    async def rewrap(self) -> int:
        """Do anew all that was done with older keys, a part at a time; how much that was."""
        # Somebody else may have put a new key in front: another node, or an operator at the command line.
        self._vault.refresh()
        progress = _Progress()
        while parts := await self._data_keys():
            progress.done += parts
        while await self._secrets(progress):
            pass
        self._unreadable = progress.unreadable_count
        if progress.done or self._unreadable:
            _log.info("keys-rewrapped", done=progress.done, unreadable=self._unreadable, key=self._vault.current)
        return progress.done

    async def renew(self, tenant_id: str, actor: str) -> None:
        """Give a tenant another data key; its secrets are sealed with it by `rewrap`. The old one still opens."""
        async with self._database.write(None) as session:
            new = await self._envelope.new_key(session, tenant_id)
            await session.execute(
                update(DataKey)
                .where(DataKey.tenant_id == tenant_id, DataKey.id != new.id, DataKey.retired_at.is_(None))
                .values(retired_at=self._clock.now())
                .execution_options(synchronize_session=False)
            )
            audit(session, None, actor, "keys.renew", tenant_id)

    async def forget(self, key_id: str, actor: str) -> None:
        """Take an old key out of use for good.

        Raises:
            KeysInSettingsError: It is in the node's settings, where the platform cannot take it away.
            KeyUnknownError: There is none.
            KeyInUseError: It encrypts, or something is still encrypted with it.
        """
        if self._settings.secret_key is not None:
            raise KeysInSettingsError(f"the key {key_id[:32]} is in the settings")
        self._vault.refresh()
        if key_id not in self._vault.fingerprints:
            raise KeyUnknownError(f"there is no key {key_id[:32]}")
        if key_id == self._vault.current:
            raise KeyInUseError(f"the key {key_id} is the one that encrypts")
        async with self._database.write(None) as session:
            # Whoever makes a data key holds this row until that is there to be counted.
            row = await session.get(MasterKey, key_id, with_for_update=True)
            needed = await _data_keys_under(session, key_id) + await _old_secrets_under(session, key_id)
            if needed:
                raise KeyInUseError(f"the key {key_id} is needed by {needed} keys and secrets", needed_by=needed)
            if row is not None and row.retired_at is None:
                row.retired_at = self._clock.now()
            audit(session, None, actor, "keys.forget", key_id)
        change_key_file(self._settings.data_dir, lambda keys: without_key(keys, key_id))
        self._vault.refresh()

    async def status(self) -> KeyStatus:
        """All keys, and what is left to be done."""
        here, current = self._vault.fingerprints, self._vault.current
        async with self._database.read(None) as session:
            rows = {row.id: row for row in await session.scalars(select(MasterKey))}
            counted = select(DataKey.master_key_id, func.count()).group_by(DataKey.master_key_id)
            wrapped: dict[str, int] = {row[0]: row[1] for row in await session.execute(counted)}
            keys: list[KeyState] = []
            for key_id in sorted({*here, *rows, *wrapped}):
                row = rows.get(key_id)
                keys.append(
                    KeyState(
                        id=key_id, generation=0 if row is None else row.generation, is_current=key_id == current,
                        is_here=key_id in here, data_keys=wrapped.get(key_id, 0),
                        old_secrets=await _old_secrets_under(session, key_id),
                        since=None if row is None else row.since, retired_at=None if row is None else row.retired_at,
                    )
                )  # fmt: skip
            keys.sort(key=lambda key: (-key.generation, key.id))
            counted = select(func.count(DataKey.tenant_id.distinct())).where(DataKey.tenant_id != PLATFORM)
            tenants = await session.scalar(counted) or 0
            remaining = sum(key.data_keys + key.old_secrets for key in keys if not key.is_current)
            remaining += sum(key.old_secrets for key in keys if key.is_current)
            for retired in await session.scalars(select(DataKey.id).where(DataKey.retired_at.is_not(None))):
                remaining += await _secrets_under(session, f"v2.{retired}.")
        return KeyStatus(keys, tenants, remaining, self._unreadable)

    # -- a part at a time ----------------------------------------------------------------------------------------------

    async def _data_keys(self) -> int:
        """Wrap some data keys with the first key; only with a newer one than they have, so that nodes which do not know
        of each other's keys yet do not undo each other's work."""
        done = 0
        async with self._database.write(None) as session:
            current = await register_key(session, self._vault, self._clock)
            older = select(MasterKey.id).where(MasterKey.generation < current.generation)
            query = (
                select(DataKey)
                .where(DataKey.master_key_id.in_(older), DataKey.master_key_id.in_(list(self._vault.fingerprints)))
                .order_by(DataKey.id)
                .limit(_BATCH)
            )
            for row in list(await session.scalars(query)):
                try:
                    data_key = self._vault.unwrap(row.wrapped, row.tenant_id, row.id)
                except SecretUnreadableError:
                    _log.error("data-key-unreadable", tenant=row.tenant_id, key=row.id)
                    continue
                wrapped, master_id = self._vault.wrap(data_key, row.tenant_id, row.id)
                # Another node may have been quicker.
                await session.execute(
                    update(DataKey)
                    .where(DataKey.id == row.id, DataKey.wrapped == row.wrapped)
                    .values(wrapped=wrapped, master_key_id=master_id)
                    .execution_options(synchronize_session=False)
                )
                done += 1
        return done

    async def _secrets(self, progress: _Progress) -> bool:
        """Seal some secrets with their tenants' present keys; whether there were any left."""
        found: list[_Sealed] = []
        async with self._database.read(None) as session:
            retired = list(await session.scalars(select(DataKey.id).where(DataKey.retired_at.is_not(None))))
            for column in _sealed_columns():
                unreadable = progress.unreadable.get(column, set())
                table = column.table
                # Only an installation's secrets are older than data keys.
                old = ["v1."] if column is _SECRET else []
                for prefix in (*old, *(f"v2.{key_id}." for key_id in retired)):
                    query = select(table.c.tenant_id, column, *table.primary_key)
                    query = query.where(column.startswith(prefix, autoescape=True)).order_by(*table.primary_key)
                    for row in await session.execute(query.limit(_BATCH + len(unreadable))):
                        values: tuple[Any, ...] = tuple(row)
                        if values[2:] not in unreadable:
                            found.append(_Sealed(column, values[2:], values[0], values[1]))
                    if len(found) >= _BATCH:
                        break
                if len(found) >= _BATCH:
                    break
        for sealed in found[:_BATCH]:
            if await self._seal_anew(sealed):
                progress.done += 1
            else:
                progress.unreadable.setdefault(sealed.column, set()).add(sealed.key)
        return bool(found)

    async def _seal_anew(self, sealed: _Sealed) -> bool:
        column, table = sealed.column, sealed.column.table
        opened = await self._opened(sealed)
        if opened is None:
            return False
        slug, name, value = opened
        async with self._database.write(sealed.tenant_id) as session:
            token = await self._envelope.seal(session, sealed.tenant_id, slug, name, value)
            # What was set meanwhile stays.
            await session.execute(
                update(table)
                .where(
                    *(part == value for part, value in zip(table.primary_key, sealed.key, strict=True)),
                    column == sealed.token,
                    table.c.tenant_id == sealed.tenant_id,
                )
                .values({column: token})
            )
        return True

    async def _opened(self, sealed: _Sealed) -> tuple[str, str, str] | None:
        """Plugin, field and value; None when it opens for nobody."""
        told = placed(sealed.token)
        if data_key_of(sealed.token) is not None:
            places = [] if told is None else [told]
        else:
            name = str(sealed.key[1])
            places = [(slug, name) for slug in await self._slugs_of(sealed.tenant_id)]
        for slug, name in places:
            try:
                return slug, name, await self._envelope.open(sealed.token, sealed.tenant_id, slug, name)
            except SecretUnreadableError:
                continue
        return None


_SECRET: Column[Any] = core(SecretValue).c.token  # type: ignore[assignment]  # of a table, not of a query


@cache
def _sealed_columns() -> tuple[Column[Any], ...]:
    """Asked for when all folders' models are known."""
    tables = Base.metadata.sorted_tables
    return tuple(column for table in tables for column in table.c if column.info.get("sealed"))


async def _data_keys_under(session: AsyncSession, key_id: str) -> int:
    return await session.scalar(select(func.count()).where(DataKey.master_key_id == key_id)) or 0


async def _old_secrets_under(session: AsyncSession, key_id: str) -> int:
    return await _secrets_under(session, f"v1.{key_id}.")


async def _secrets_under(session: AsyncSession, prefix: str) -> int:
    count = 0
    for column in _sealed_columns():
        query = select(func.count()).select_from(column.table).where(column.startswith(prefix, autoescape=True))
        count += await session.scalar(query) or 0
    return count

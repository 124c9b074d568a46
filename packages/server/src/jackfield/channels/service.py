"""`Channels`: what admins do with channels. The database is never held while a gateway is asked."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.capabilities.plain import NotPlainError, check_plain
from jackfield.channels import repository
from jackfield.channels.errors import (
    AssignmentMissingError,
    ChannelBrokenError,
    ChannelInvalidError,
    ChannelMissingError,
    ChannelNameTakenError,
)
from jackfield.channels.interfaces import KINDS, SEALED_FOR, Hook
from jackfield.channels.lines import Lines
from jackfield.channels.models import AssignmentRow, ChannelRow
from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.errors import JackfieldError
from jackfield.ids import new_id
from jackfield.lifecycle import ActiveInstallations
from jackfield.records import audit

__all__ = ["HOOKS_PATH", "Assignment", "Channels", "Made", "hashed"]

HOOKS_PATH = "/api/channels/hooks/"
_SETTINGS_BYTES = 16 * 1024
_MOST = 200
"""Channels of one tenant."""
_WITH_TOKEN = frozenset({"http", "voice-agent"})


@dataclass(frozen=True, slots=True)
class Made:
    """A channel, and the token that is told once."""

    row: ChannelRow
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A plugin on a channel.

    Attributes:
        slug: `slug@instance` of another instance than the first; None while the plugin is not at work.
    """

    row: AssignmentRow
    slug: str | None


def hashed(secret: str) -> str:
    """How secrets are kept that are only compared."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Channels:
    """Channels of all tenants, one tenant at a time."""

    def __init__(
        self,
        database: Database,
        lines: Lines,
        active: ActiveInstallations,
        public_url: str,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._lines = lines
        self._active = active
        self._public_url = public_url.rstrip("/")
        self._clock = clock or SystemClock()

    # -- reading -----------------------------------------------------------------------------------------------------

    async def list(self, tenant_id: str) -> Sequence[ChannelRow]:
        """All channels, the oldest first."""
        async with self._database.read(tenant_id) as session:
            return (await session.scalars(select(ChannelRow).order_by(ChannelRow.id))).all()

    async def get(self, tenant_id: str, channel_id: str) -> ChannelRow:
        """One channel.

        Raises:
            ChannelMissingError: The tenant has none with this id.
        """
        async with self._database.read(tenant_id) as session:
            return await _own(session, channel_id)

    # -- changing ----------------------------------------------------------------------------------------------------

    async def add(
        self, tenant_id: str, kind: str, name: str, settings: Mapping[str, Any], secret: str | None, *, actor: str
    ) -> Made:
        """Make a channel, and connect it. One that cannot be connected is kept, and says why.

        Raises:
            ChannelInvalidError, ChannelNameTakenError: It was not made.
        """
        if kind not in KINDS:
            raise ChannelInvalidError(f"there is no kind of channel {kind[:40]!r}", hint=f"One of {', '.join(KINDS)}.")
        gateway = self._lines.gateway(kind)
        checked = gateway.checked(settings, secret)
        if gateway.features.is_remote and secret is None:
            raise ChannelInvalidError("a channel of this kind needs its `secret`")
        now, token = self._clock.now(), secrets.token_urlsafe(32) if kind in _WITH_TOKEN else None
        row = ChannelRow(
            id=new_id("chn"), tenant_id=tenant_id, kind=kind, name=name, settings=checked, secret=None,
            state="disconnected", reason=None, identity="", hook_hash=None, hook_secret_hash=None,
            token_hash=None if token is None else hashed(token),
            public_key=secrets.token_urlsafe(24) if kind == "web-chat" else None, next_update=0, lease_owner=None,
            lease_until=None, version=1, created_at=now, created_by=actor, changed_at=now, checked_at=None,
        )  # fmt: skip
        async with self._database.write(tenant_id) as session:
            names = (await session.scalars(select(ChannelRow.name))).all()
            if len(names) >= _MOST:
                raise ChannelInvalidError(f"a tenant has at most {_MOST} channels")
            if name in names:
                raise ChannelNameTakenError(f"there is a channel {name[:100]!r}")
            session.add(row)
            await session.flush()
            row.secret = await self._sealed(session, row, secret)
            repository.tell(session, tenant_id, row.id, "added")
            audit(session, tenant_id, actor, "channel.add", row.id, after={"kind": kind, "name": name})
        return Made(await self.connect(tenant_id, row.id), token)

    async def change(
        self,
        tenant_id: str,
        channel_id: str,
        *,
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        secret: str | None = None,
        actor: str,
    ) -> ChannelRow:
        """Change what is given; a channel that is connected is connected anew when settings or secret change."""
        row = await self.get(tenant_id, channel_id)
        checked = self._lines.gateway(row.kind).checked(row.settings if settings is None else settings, secret)
        async with self._database.write(tenant_id) as session:
            row = await _own(session, channel_id, is_locked=True)
            if name is not None and name != row.name:
                taken = select(ChannelRow.id).where(ChannelRow.name == name, ChannelRow.id != channel_id)
                if await session.scalar(taken) is not None:
                    raise ChannelNameTakenError(f"there is a channel {name[:100]!r}")
                row.name = name
            row.settings = checked
            if secret is not None:
                row.secret = await self._sealed(session, row, secret)
                # Another bot counts its updates anew.
                row.next_update = 0
            row.version, row.changed_at = row.version + 1, self._clock.now()
            repository.tell(session, tenant_id, channel_id, "changed")
            audit(session, tenant_id, actor, "channel.change", channel_id, after={"name": row.name})
            was = row.state
        if was != "disconnected" and (settings is not None or secret is not None):
            return await self.connect(tenant_id, channel_id)
        return await self.get(tenant_id, channel_id)

    async def remove(self, tenant_id: str, channel_id: str, *, actor: str) -> None:
        """Remove a channel, its assignments and what was kept of its messages."""
        row = await self.get(tenant_id, channel_id)
        await self._tear_down(row)
        async with self._database.write(tenant_id) as session:
            await session.execute(delete(ChannelRow).where(ChannelRow.id == channel_id))
            repository.tell(session, tenant_id, channel_id, "removed")
            audit(session, tenant_id, actor, "channel.remove", channel_id, before={"kind": row.kind, "name": row.name})

    async def new_token(self, tenant_id: str, channel_id: str, *, actor: str) -> str:
        """Another token for whoever calls by HTTP or as a voice agent; the old one is void."""
        token = secrets.token_urlsafe(32)
        async with self._database.write(tenant_id) as session:
            row = await _own(session, channel_id, is_locked=True)
            if row.kind not in _WITH_TOKEN:
                raise ChannelInvalidError("channels of this kind have no token")
            row.token_hash, row.version = hashed(token), row.version + 1
            audit(session, tenant_id, actor, "channel.token", channel_id)
        return token

    # -- connecting --------------------------------------------------------------------------------------------------

    async def connect(self, tenant_id: str, channel_id: str, *, actor: str = "platform:channels") -> ChannelRow:
        """Try the credentials and have what is said come in; the channel, connected or broken."""
        row = await self.get(tenant_id, channel_id)
        gateway, state, reason, more = self._lines.gateway(row.kind), "connected", None, dict[str, Any]()
        try:
            line = await self._lines.open(row)
            more["identity"] = await gateway.check(line)
            hook = self._hook(row)
            more["hook_hash"] = None if hook is None else hashed(hook.url.rpartition("/")[2])
            more["hook_secret_hash"] = None if hook is None else hashed(hook.secret)
            # Known here before Telegram knows it: the first update may come at once.
            await self._note(row, "connected", None, **more)
            await gateway.set_up(line, hook)
        except JackfieldError as error:
            state, reason = "broken", str(error)[:300]
        async with self._database.write(tenant_id) as session:
            await repository.set_state(session, row.id, row.version, state, reason, self._now(), **more)
            audit(session, tenant_id, actor, "channel.connect", channel_id, after={"state": state, "reason": reason})
        return await self.get(tenant_id, channel_id)

    async def disconnect(self, tenant_id: str, channel_id: str, *, actor: str) -> ChannelRow:
        """Have nothing come in and nothing go out; settings and assignments stay."""
        row = await self.get(tenant_id, channel_id)
        await self._tear_down(row)
        async with self._database.write(tenant_id) as session:
            row = await _own(session, channel_id, is_locked=True)
            row.state, row.reason, row.hook_hash, row.hook_secret_hash = "disconnected", None, None, None
            row.version += 1
            repository.tell(session, tenant_id, channel_id, "disconnected")
            audit(session, tenant_id, actor, "channel.disconnect", channel_id)
        return row

    async def test(self, tenant_id: str, channel_id: str) -> tuple[bool, str]:
        """Try the credentials: whether they are good, and what the other side calls the channel, or why not."""
        row = await self.get(tenant_id, channel_id)
        try:
            return True, await self._lines.gateway(row.kind).check(await self._lines.open(row))
        except JackfieldError as error:
            if isinstance(error, ChannelBrokenError) and row.state == "connected":
                await self._note(row, "broken", str(error)[:300])
            return False, str(error)

    async def broken(self, row: ChannelRow, reason: str) -> None:
        """It turned out that it does not work any more."""
        await self._note(row, "broken", reason[:300])

    # -- plugins on a channel ----------------------------------------------------------------------------------------

    async def assignments(self, tenant_id: str, channel_id: str) -> list[Assignment]:
        """Plugins on a channel, the first to be asked first."""
        slugs = {found.id: slug for slug, found in (await self._active.get(tenant_id)).by_slug.items()}
        async with self._database.read(tenant_id) as session:
            await _own(session, channel_id)
            rows = await repository.assignments(session, channel_id)
        return [Assignment(row, slugs.get(row.installation_id)) for row in rows]

    async def assign(
        self,
        tenant_id: str,
        channel_id: str,
        installation_id: str,
        *,
        priority: int,
        is_enabled: bool,
        settings: Mapping[str, Any],
        actor: str,
    ) -> AssignmentRow:
        """Put a plugin on a channel, or change how it is there."""
        try:
            data = msgspec.msgpack.encode(dict(settings))
            check_plain(data, max_depth=16)
        except (NotPlainError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ChannelInvalidError("`settings` is no plain data") from error
        if len(data) > _SETTINGS_BYTES:
            raise ChannelInvalidError(f"`settings` has more than {_SETTINGS_BYTES} bytes")
        now = self._clock.now()
        async with self._database.write(tenant_id) as session:
            await _own(session, channel_id, is_locked=True)
            row = await _assignment(session, channel_id, installation_id)
            before = None if row is None else {"priority": row.priority, "enabled": row.is_enabled}
            if row is None:
                row = AssignmentRow(
                    tenant_id=tenant_id, channel_id=channel_id, installation_id=installation_id, created_at=now
                )
                session.add(row)
            row.priority, row.is_enabled, row.settings, row.changed_at = priority, is_enabled, dict(settings), now
            after = {"plugin": installation_id, "priority": priority, "enabled": is_enabled}
            repository.tell(
                session, tenant_id, channel_id, "assigned", installation_id=installation_id, priority=priority,
                enabled=is_enabled,
            )  # fmt: skip
            audit(session, tenant_id, actor, "channel.assign", channel_id, before, after)
        return row

    async def unassign(self, tenant_id: str, channel_id: str, installation_id: str, *, actor: str) -> None:
        """Take a plugin off a channel.

        Raises:
            AssignmentMissingError: It is not on it.
        """
        async with self._database.write(tenant_id) as session:
            await _own(session, channel_id)
            row = await _assignment(session, channel_id, installation_id)
            if row is None:
                raise AssignmentMissingError("the plugin is not assigned to this channel")
            await session.delete(row)
            repository.tell(session, tenant_id, channel_id, "unassigned", installation_id=installation_id)
            audit(session, tenant_id, actor, "channel.unassign", channel_id, before={"plugin": installation_id})

    # -- inside ------------------------------------------------------------------------------------------------------

    def _hook(self, row: ChannelRow) -> Hook | None:
        """A new address for updates; None where they are fetched."""
        if not self._lines.gateway(row.kind).features.fetches:
            return None
        wanted = row.settings.get("updates", "auto")
        if wanted == "polling" or (wanted == "auto" and not self._public_url.startswith("https://")):
            return None
        return Hook(self._public_url + HOOKS_PATH + secrets.token_urlsafe(32), secrets.token_urlsafe(32))

    async def _note(self, row: ChannelRow, state: str, reason: str | None, **more: Any) -> None:
        async with self._database.write(row.tenant_id) as session:
            await repository.set_state(session, row.id, row.version, state, reason, self._now(), **more)

    async def _tear_down(self, row: ChannelRow) -> None:
        try:
            await self._lines.gateway(row.kind).tear_down(await self._lines.open(row))
        except JackfieldError:
            # The other side may be gone, or the secret void: what it still sends is known to nobody here.
            return

    async def _sealed(self, session: AsyncSession, row: ChannelRow, secret: str | None) -> str | None:
        if secret is None or self._lines.sealer is None:
            return None
        return await self._lines.sealer.seal(session, row.tenant_id, SEALED_FOR, row.id, secret)

    def _now(self) -> datetime:
        return self._clock.now()


async def _own(session: AsyncSession, channel_id: str, *, is_locked: bool = False) -> ChannelRow:
    query = select(ChannelRow).where(ChannelRow.id == channel_id)
    row = await session.scalar(query.with_for_update() if is_locked else query)
    if row is None:
        raise ChannelMissingError("there is no such channel")
    return row


async def _assignment(session: AsyncSession, channel_id: str, installation_id: str) -> AssignmentRow | None:
    return await session.scalar(
        select(AssignmentRow).where(
            AssignmentRow.channel_id == channel_id, AssignmentRow.installation_id == installation_id
        )
    )

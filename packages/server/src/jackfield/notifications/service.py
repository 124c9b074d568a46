"""`Notifications`: takes what plugins tell members, and gives it to each as they want it.

The list in the app is a row for each member. E-mails and webhooks are rows of their own beside it, committed together,
and go out later (`Courier`): a plugin waits for no mail server, and a node that dies loses none.

Who floods loses nothing either, and nobody is flooded: above so many an hour, a member gets the rest of a plugin's
together, by e-mail as one message, in the list as one entry that grows.
"""

from __future__ import annotations

import base64
import math
import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.http import PageRequest, Slice, cut, decode_cursor
from jackfield.ids import new_id
from jackfield.live import happened
from jackfield.notifications import repository
from jackfield.notifications.errors import (
    NotificationMissingError,
    RecipientsTooManyError,
    RecipientUnknownError,
    UnsubscribeTokenError,
    WebhookMissingError,
    WebhookUrlError,
)
from jackfield.notifications.models import EndpointRow, NotificationDelivery, NotificationRow, UnsubscribeRow
from jackfield.notifications.notes import MORE, Note
from jackfield.notifications.preferences import CHANNELS, Channel, wanted
from jackfield.records import audit
from jackfield.settings import NotificationSettings
from jackfield.tenants import Member

__all__ = ["SEALED_FOR", "Notifications", "Sealer"]

SEALED_FOR = "~notifications"
"""In place of a plugin's slug, in what secrets are bound to; no slug begins so."""
_RECIPIENTS = 1_000
_ROLES = frozenset({"owner", "admin", "member"})
_BODY_CHARS = 4_000
_HOUR = timedelta(hours=1)


class Sealer(Protocol):
    """Keeps secrets; `capabilities.Envelope` in a node."""

    async def seal(self, session: AsyncSession, tenant_id: str, slug: str, name: str, plaintext: str) -> str:
        """What is stored."""
        ...

    async def open(self, token: str, tenant_id: str, slug: str, name: str) -> str:
        """The secret."""
        ...


class Notifications:
    """Notifications of all tenants, one tenant at a time.

    Args:
        has_email: Whether e-mails can be sent.
        check_url: Refuses an address that nothing may be sent to.
    """

    def __init__(
        self,
        database: Database,
        settings: NotificationSettings | None = None,
        clock: Clock | None = None,
        *,
        has_email: bool = False,
        check_url: Callable[[str, str], None] | None = None,
    ) -> None:
        self._database = database
        self._settings = settings or NotificationSettings()
        self._clock = clock or SystemClock()
        self._has_email = has_email
        self._check_url = check_url
        self.sealer: Sealer | None = None
        """Keeps the secrets of webhooks; there are none without."""
        self.on_due: Callable[[], None] = lambda: None
        """Told when there is something to be sent out."""

    # -- telling -------------------------------------------------------------------------------------------------------

    async def send(self, tenant_id: str, installation_id: str, plugin: str, note: Note, to: Sequence[str]) -> int:
        """Tell members something; how many are told. Who wants to hear nothing of the plugin is not.

        Args:
            plugin: The sender's slug.
            to: Members' ids, roles, or `all`.

        Raises:
            RecipientUnknownError: One of them is none of the tenant's members.
            RecipientsTooManyError: They are more than a notification goes to.
        """
        async with self._database.write(tenant_id) as session:
            count = await self.send_with(session, tenant_id, installation_id, plugin, note, to)
        if count:
            self.on_due()
        return count

    async def send_with(
        self,
        session: AsyncSession,
        tenant_id: str,
        installation_id: str,
        plugin: str,
        note: Note,
        to: Sequence[str],
        *,
        in_app_only: bool = False,
    ) -> int:
        """The same in the caller's transaction. Once that is committed, the caller calls `on_due`.

        Args:
            in_app_only: By no other channel, whatever members chose.

        Raises:
            RecipientUnknownError, RecipientsTooManyError: As `send`; nothing was written.
        """
        now = self._clock.now()
        members = await self._recipients(session, tenant_id, to)
        ids = [member.id for member in members]
        if note.key is not None:
            known = await repository.known_keys(session, installation_id, ids, note.key)
            ids = [id for id in ids if id not in known]
        channels = await self._channels(session, ids, plugin)
        if in_app_only:
            channels = {id: some & {"in_app"} for id, some in channels.items()}
        ids = [id for id in ids if channels[id]]
        counts = await repository.count_since(session, installation_id, ids, now - _HOUR)
        crowded = [id for id in ids if counts.get(id, 0) >= self._settings.in_app_per_hour]
        rows = [
            self._row(tenant_id, installation_id, plugin, id, note, "in_app" in channels[id], now)
            for id in ids
            if id not in set(crowded)
        ]
        added = await repository.add_notifications(session, self._database, rows)
        new = [row for row in rows if row["id"] in added]
        for id in crowded:
            row = await self._take_in(session, tenant_id, installation_id, plugin, id, note, channels[id], now)
            if row is not None:
                new.append(row)
        await self._dispatch(session, tenant_id, installation_id, new, channels, now)
        for row in new:
            if row["in_app"]:
                told = {name: row[name] for name in ("id", "title", "level", "link")}
                happened(session, "notification", told, tenant_id=tenant_id, plugin=plugin, member_id=row["member_id"])
        return len(added) + len(crowded)

    async def _recipients(self, session: AsyncSession, tenant_id: str, to: Sequence[str]) -> Sequence[Member]:
        ids = {one for one in to if one not in _ROLES and one != "all"}
        members = await repository.recipients(
            session, tenant_id, ids, _ROLES.intersection(to), all_of_them="all" in to, limit=_RECIPIENTS
        )
        if len(members) > _RECIPIENTS:
            raise RecipientsTooManyError(f"more than {_RECIPIENTS} members")
        if unknown := sorted(ids - {member.id for member in members}):
            raise RecipientUnknownError(f"the tenant has no member {unknown[0][:64]!r}")
        return members

    async def _channels(
        self, session: AsyncSession, members: Sequence[str], plugin: str
    ) -> dict[str, frozenset[Channel]]:
        choices = await repository.choices_of(session, members, plugin)
        reachable = await repository.with_endpoint(session, members)
        found: dict[str, frozenset[Channel]] = {}
        for member in members:
            available: list[Channel] = ["in_app"]
            if self._has_email:
                available.append("email")
            if member in reachable:
                available.append("webhook")
            found[member] = wanted(choices.get(member, {}), plugin, available)
        return found

    def _row(
        self,
        tenant_id: str,
        installation_id: str,
        plugin: str,
        member_id: str,
        note: Note,
        in_app: bool,
        now: datetime,
    ) -> dict[str, Any]:
        return {
            "id": new_id("ntf"), "tenant_id": tenant_id, "member_id": member_id, "installation_id": installation_id,
            "plugin": plugin, "title": note.title, "body": note.body, "level": note.level, "link": note.link,
            "key": note.key, "more": 0, "in_app": in_app, "created_at": now, "read_at": None,
        }  # fmt: skip

    async def _take_in(
        self,
        session: AsyncSession,
        tenant_id: str,
        installation_id: str,
        plugin: str,
        member_id: str,
        note: Note,
        channels: frozenset[Channel],
        now: datetime,
    ) -> dict[str, Any] | None:
        """One too many: it goes into the entry of this hour; that entry, when it is a new one."""
        key = f"{MORE}{math.floor(now.timestamp() / 3600)}"
        query = (
            select(NotificationRow)
            .where(
                NotificationRow.member_id == member_id,
                NotificationRow.installation_id == installation_id,
                NotificationRow.key == key,
            )
            .with_for_update()
        )
        row = await session.scalar(query)
        if row is None:
            first = self._row(tenant_id, installation_id, plugin, member_id, note, "in_app" in channels, now)
            first |= {"key": key, "body": f"{note.title}\n"[:_BODY_CHARS], "link": None, "more": 1}
            added = await repository.add_notifications(session, self._database, [first])
            if added:
                return first
            row = await session.scalar(query)
        if row is not None:
            row.more += 1
            row.read_at = None
            if len(row.body) + len(note.title) < _BODY_CHARS:
                row.body += f"{note.title}\n"
        return None

    async def _dispatch(
        self,
        session: AsyncSession,
        tenant_id: str,
        installation_id: str,
        rows: Sequence[dict[str, Any]],
        channels: dict[str, frozenset[Channel]],
        now: datetime,
    ) -> None:
        """Have new notifications go out by the other channels; those that are too many, together and later."""
        if not rows:
            return
        counts = await repository.ways_since(session, installation_id, [row["member_id"] for row in rows], now - _HOUR)
        digest_s = self._settings.digest_s
        later = datetime.fromtimestamp(math.ceil((now.timestamp() + 1) / digest_s) * digest_s, UTC)
        for row in rows:
            for channel in sorted(channels[row["member_id"]] - {"in_app"}):
                is_many = counts.get((row["member_id"], channel), 0) >= self._settings.per_hour or row["more"]
                session.add(
                    NotificationDelivery(
                        id=new_id("ntd"), tenant_id=tenant_id, notification_id=row["id"], member_id=row["member_id"],
                        installation_id=installation_id, channel=channel, state="pending", attempt=0,
                        due_at=later if is_many else now, created_at=now,
                    )
                )  # fmt: skip

    # -- the list in the app -------------------------------------------------------------------------------------------

    async def list(
        self, tenant_id: str, member_id: str, page: PageRequest, *, unread_only: bool = False
    ) -> tuple[Slice[NotificationRow], int]:
        """A member's notifications, the latest first, and how many are unread."""
        before: str | None = decode_cursor(page.cursor, str)[0] if page.cursor else None
        async with self._database.read(tenant_id) as session:
            rows = await repository.listed(session, member_id, before, page.limit + 1, unread_only=unread_only)
            unread = await repository.unread(session, member_id)
        return cut(rows, page.limit, lambda row: (row.id,)), unread

    async def mark(self, tenant_id: str, member_id: str, notification_id: str, *, is_read: bool = True) -> None:
        """Read, or not.

        Raises:
            NotificationMissingError: The member has no such notification.
        """
        async with self._database.write(tenant_id) as session:
            row = await session.scalar(
                select(NotificationRow).where(
                    NotificationRow.id == notification_id, NotificationRow.member_id == member_id
                )
            )
            if row is None:
                raise NotificationMissingError("there is no such notification")
            row.read_at = (row.read_at or self._clock.now()) if is_read else None

    async def mark_all(self, tenant_id: str, member_id: str, *, up_to: str | None = None) -> int:
        """All are read, or those up to one of them; how many were not."""
        statement = (
            update(NotificationRow)
            .where(NotificationRow.member_id == member_id, NotificationRow.read_at.is_(None))
            .values(read_at=self._clock.now())
            .returning(NotificationRow.id)
            .execution_options(synchronize_session=False)
        )
        if up_to is not None:
            statement = statement.where(NotificationRow.id <= up_to)
        async with self._database.write(tenant_id) as session:
            return len((await session.scalars(statement)).all())

    # -- what members want ---------------------------------------------------------------------------------------------

    async def choices(self, tenant_id: str, member_id: str) -> dict[tuple[str, str], bool]:
        """What a member chose: plugin (empty: all) and channel → whether it is on."""
        async with self._database.read(tenant_id) as session:
            return (await repository.choices_of(session, [member_id])).get(member_id, {})

    async def choose(self, tenant_id: str, member_id: str, choices: Iterable[tuple[str, Channel, bool]]) -> None:
        """Keep what a member chose: plugin (empty: all), channel, whether it is on."""
        async with self._database.write(tenant_id) as session:
            for plugin, channel, is_on in choices:
                await repository.set_choice(session, self._database, tenant_id, member_id, plugin, channel, is_on)

    async def forget_choices(self, tenant_id: str, member_id: str, plugin: str) -> None:
        """What holds for all holds for this plugin again."""
        async with self._database.write(tenant_id) as session:
            await repository.drop_choices(session, member_id, plugin)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Channels that this platform has."""
        return tuple(channel for channel in CHANNELS if channel != "email" or self._has_email)

    async def webhook(self, tenant_id: str, member_id: str) -> str | None:
        """Where a member's webhooks go."""
        async with self._database.read(tenant_id) as session:
            row = await session.scalar(select(EndpointRow).where(EndpointRow.member_id == member_id))
        return None if row is None else row.url

    async def set_webhook(self, tenant_id: str, member_id: str, url: str) -> str:
        """Send a member's notifications to an address from now on; the secret that they are signed with.

        It is told this once.

        Raises:
            WebhookUrlError: Nothing is sent there.
        """
        if self.sealer is None:
            raise WebhookUrlError("this node sends no webhooks")
        if self._check_url is not None:
            self._check_url(tenant_id, url)
        secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
        async with self._database.write(tenant_id) as session:
            sealed = await self.sealer.seal(session, tenant_id, SEALED_FOR, member_id, secret)
            row = await session.scalar(select(EndpointRow).where(EndpointRow.member_id == member_id))
            if row is None:
                row = EndpointRow(tenant_id=tenant_id, member_id=member_id)
                session.add(row)
            row.url, row.secret, row.created_at = url, sealed, self._clock.now()
            # Without the path, where some receivers have their keys.
            host = urlsplit(url).netloc.rpartition("@")[2]
            audit(session, tenant_id, f"member:{member_id}", "notification.webhook", member_id, after={"host": host})
        return secret

    async def drop_webhook(self, tenant_id: str, member_id: str) -> None:
        """Send no more webhooks.

        Raises:
            WebhookMissingError: None are sent.
        """
        async with self._database.write(tenant_id) as session:
            row = await session.scalar(select(EndpointRow).where(EndpointRow.member_id == member_id))
            if row is None:
                raise WebhookMissingError("no webhooks are sent")
            await session.delete(row)
            audit(session, tenant_id, f"member:{member_id}", "notification.webhook-drop", member_id)

    async def subscription(self, token: str) -> tuple[str, str, str]:
        """Whose e-mails a token can end: tenant, member, plugin.

        Raises:
            UnsubscribeTokenError: It is none of ours.
        """
        async with self._database.read(None) as session:
            row = await session.scalar(select(UnsubscribeRow).where(UnsubscribeRow.token == token))
        if row is None:
            raise UnsubscribeTokenError("this link ends nothing")
        return row.tenant_id, row.member_id, row.plugin

    async def unsubscribe(self, token: str) -> str:
        """No more e-mails of the plugin that the token is for; its slug.

        Raises:
            UnsubscribeTokenError: It is none of ours.
        """
        tenant_id, member_id, plugin = await self.subscription(token)
        await self.choose(tenant_id, member_id, [(plugin, "email", False)])
        return plugin

"""`Courier`: sends out what is due, again and again until it is taken or given up.

A delivery is leased before it is sent and written down after. A node that dies in between leaves a lease that ends, and
another one sends it; a message keeps its id, so that a second copy can be told.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import structlog
from sqlalchemy import delete, select

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.ids import new_id
from jackfield.notifications import repository
from jackfield.notifications.channels import Mailer, Sent, Webhooks
from jackfield.notifications.messages import AddressInvalidError, Envelope, Told, email_of, webhook_of
from jackfield.notifications.models import EndpointRow, NotificationDelivery, NotificationRow
from jackfield.notifications.preferences import wanted
from jackfield.notifications.service import SEALED_FOR, Sealer
from jackfield.settings import NotificationSettings
from jackfield.tenants import Member, Tenant

__all__ = ["Courier"]

_log = structlog.get_logger("jackfield.notifications")
_BATCH = 50
_LEASE_S = 120.0
_POLL_S = 5.0
_TOGETHER = 50
"""In one message."""
_LONGEST_S = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class _Parcel:
    """Deliveries that go out as one message, and all that it takes."""

    deliveries: tuple[NotificationDelivery, ...]
    told: tuple[Told, ...]
    member: Member
    tenant_name: str
    plugin: str
    url: str = ""
    secret: str = ""
    unsubscribe: str = ""


class Courier:
    """One per node.

    Args:
        mailer: None: there is no mail server, and what is to go by e-mail waits.
        sender, sender_name: Whom e-mails come from.
        public_url: What links into the platform and the host's UI begin with.
    """

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        webhooks: Webhooks,
        mailer: Mailer | None,
        settings: NotificationSettings,
        clock: Clock | None = None,
        *,
        sender: str = "",
        sender_name: str = "",
        public_url: str = "",
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._webhooks = webhooks
        self._mailer = mailer
        self._settings = settings
        self._clock = clock or SystemClock()
        self._sender = sender
        self._sender_name = sender_name
        self._public_url = public_url.rstrip("/")
        self._owner = new_id("node")
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            self._wake.clear()
            if not await self.round():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_S):
                        await self._wake.wait()

    async def round(self) -> int:
        """Send what is due now; how many messages that was."""
        now = self._clock.now()
        async with self._database.write(None) as session:
            until = now + timedelta(seconds=_LEASE_S)
            channels = ["webhook"] if self._mailer is None else ["email", "webhook"]
            claimed = await repository.claim(session, self._owner, now, until, _BATCH, channels)
        ways: dict[tuple[str, str, str], list[NotificationDelivery]] = {}
        for delivery in claimed:
            ways.setdefault((delivery.member_id, delivery.installation_id, delivery.channel), []).append(delivery)
        parcels = [way[at : at + _TOGETHER] for way in ways.values() for at in range(0, len(way), _TOGETHER)]
        turns = asyncio.Semaphore(self._settings.concurrency)

        async def one(deliveries: Sequence[NotificationDelivery]) -> None:
            async with turns:
                await self._carry(deliveries)

        async with asyncio.TaskGroup() as group:
            for parcel in parcels:
                group.create_task(one(parcel))
        return len(parcels)

    async def _carry(self, deliveries: Sequence[NotificationDelivery]) -> None:
        try:
            parcel = await self._parcel(deliveries)
            sent = parcel if isinstance(parcel, Sent) else await self._send(parcel)
        except Exception as error:  # one parcel's trouble must not hold up the others
            _log.exception("notification-not-sent", delivery=deliveries[0].id)
            sent = Sent("internal-error", type(error).__name__)
        await self._write_down(deliveries, sent)

    async def _parcel(self, deliveries: Sequence[NotificationDelivery]) -> _Parcel | Sent:
        """What is to be sent; or why nothing is."""
        first = deliveries[0]
        async with self._database.write(first.tenant_id) as session:
            member = await session.scalar(select(Member).where(Member.id == first.member_id))
            ids = [delivery.notification_id for delivery in deliveries]
            rows = list(
                await session.scalars(
                    select(NotificationRow).where(NotificationRow.id.in_(ids)).order_by(NotificationRow.id)
                )
            )
            tenant = await session.get(Tenant, first.tenant_id)
            if member is None or not rows:
                return Sent("recipient-gone", is_final=True)
            plugin = rows[0].plugin
            choices = (await repository.choices_of(session, [member.id], plugin)).get(member.id, {})
            if first.channel not in wanted(choices, plugin):
                # Since it was told, the member has said that they want no more.
                return Sent("muted", is_final=True)
            url = sealed = token = ""
            if first.channel == "webhook":
                endpoint = await session.scalar(select(EndpointRow).where(EndpointRow.member_id == member.id))
                if endpoint is None:
                    return Sent("webhook-not-found", is_final=True)
                url, sealed = endpoint.url, endpoint.secret
            else:
                token = await repository.unsubscribe_token(
                    session, self._database, first.tenant_id, member.id, plugin, secrets.token_urlsafe(32),
                    self._clock.now(),
                )  # fmt: skip
        secret = await self._sealer.open(sealed, first.tenant_id, SEALED_FOR, first.member_id) if sealed else ""
        told = tuple(Told(row.id, row.title, row.body, row.level, row.link, row.more, row.created_at) for row in rows)
        name = first.tenant_id if tenant is None else tenant.name
        return _Parcel(tuple(deliveries), told, member, name, plugin, url, secret, token)

    async def _send(self, parcel: _Parcel) -> Sent:
        first = parcel.deliveries[0]
        envelope = Envelope(
            id=first.id,
            plugin=parcel.plugin,
            tenant=parcel.tenant_name,
            name=parcel.member.name,
            address=parcel.member.email,
            sender=self._sender,
            sender_name=self._sender_name,
            base_url=self._public_url,
            unsubscribe_url=f"{self._public_url}/api/notifications/unsubscribe?token={quote(parcel.unsubscribe)}",
        )
        now = self._clock.now()
        if first.channel == "webhook":
            body = webhook_of(envelope, parcel.told, now)
            sent = await self._webhooks.send(first.tenant_id, first.id, parcel.url, parcel.secret, body, now)
            if sent.is_gone:
                await self._forget_endpoint(first)
            return sent
        if self._mailer is None:
            return Sent("smtp-missing", "this node has no mail server")
        try:
            message = email_of(envelope, parcel.told, now)
        except AddressInvalidError as error:
            return Sent("address-invalid", str(error), is_final=True)
        return await self._mailer.send(message, parcel.member.email)

    async def _forget_endpoint(self, delivery: NotificationDelivery) -> None:
        async with self._database.write(delivery.tenant_id) as session:
            await session.execute(
                delete(EndpointRow)
                .where(EndpointRow.member_id == delivery.member_id)
                .execution_options(synchronize_session=False)
            )

    async def _write_down(self, deliveries: Sequence[NotificationDelivery], sent: Sent) -> None:
        now = self._clock.now()
        values: list[tuple[list[str], dict[str, Any]]] = []
        told: dict[str, Any] = {"error_code": sent.code, "error_message": sent.message or None}
        if sent.code is None:
            values.append(([one.id for one in deliveries], {"state": "done", "finished_at": now, **told}))
        else:
            for delivery in deliveries:
                attempt = delivery.attempt + 1
                if sent.is_final or attempt >= self._settings.attempts:
                    state: dict[str, Any] = {"state": "dead", "finished_at": now}
                else:
                    wait_s = sent.retry_after_s or self._settings.retry_s * 3**delivery.attempt
                    state = {"state": "pending", "due_at": now + timedelta(seconds=min(wait_s, _LONGEST_S))}
                values.append(([delivery.id], {"attempt": attempt, **state, **told}))
        async with self._database.write(deliveries[0].tenant_id) as session:
            for ids, change in values:
                await repository.finish(session, self._owner, ids, **change)

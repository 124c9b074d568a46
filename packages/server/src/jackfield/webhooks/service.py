"""`Endpoints`: where a tenant's events go, and what became of them there.

An endpoint is a subscriber like an installation, and its deliveries are deliveries like all others, with its id where
an installation's would be: lease, log, replay and fairness between tenants are those of `jobs`.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import jobs
from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.db.notices import tell
from jackfield.ids import new_id
from jackfield.jobs import DeliveryResult, DeliverySnapshot, Subscription
from jackfield.records import audit
from jackfield.settings import WebhookSettings
from jackfield.webhooks.errors import EndpointInactiveError, EndpointLimitError, EndpointMissingError
from jackfield.webhooks.interfaces import SEALED_FOR, LimitOf, Sealer, Tell
from jackfield.webhooks.models import AttemptRow, EndpointRow
from jackfield.webhooks.patterns import checked, is_wanted
from jackfield.webhooks.places import Places
from jackfield.webhooks.sending import Sender, Sent
from jackfield.webhooks.signing import new_secret

__all__ = ["ENDPOINTS", "ID_PREFIX", "INACTIVE", "Endpoints"]

_log = structlog.get_logger("jackfield.webhooks")

ID_PREFIX = "hook_"
ENDPOINTS = "webhook-endpoints"
"""Topic of notices: a tenant's endpoints have changed."""
INACTIVE = EndpointInactiveError.code
"""Code of deliveries that were waiting when their endpoint was switched off."""
HANDLER = "webhook"
LONGEST_OVERLAP = timedelta(days=7)
BACK_OFF_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Between one attempt and the next: more than three days in all, so that a weekend's fault loses nothing."""
_SPREAD = 0.1
_TENANTS = 10_000
_ENDPOINT_LOCK = 0x6A6668


@dataclass(frozen=True, slots=True)
class _Listener:
    id: str
    events: tuple[str, ...]


class Endpoints:
    """Endpoints of all tenants, one tenant at a time; a subscriber and a deliverer for `jobs`.

    Args:
        limit_of: How many a tenant may have.
        tell_admins: Told when an endpoint was switched off.
    """

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        sender: Sender,
        settings: WebhookSettings | None = None,
        clock: Clock | None = None,
        *,
        limit_of: LimitOf,
        tell_admins: Tell | None = None,
        spread: random.Random | None = None,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._sender = sender
        self._settings = settings or WebhookSettings()
        self._clock = clock or SystemClock()
        self._limit_of = limit_of
        self._tell_admins = tell_admins
        self._random = spread or random.SystemRandom()
        self._listeners: OrderedDict[str, tuple[_Listener, ...]] = OrderedDict()
        self._changes = 0
        self._places = Places(self._settings.endpoint_concurrency, self._settings.node_concurrency)

    # -- what tenants do with them -------------------------------------------------------------------------------------

    async def list(self, tenant_id: str) -> Sequence[EndpointRow]:
        """A tenant's endpoints, the oldest first."""
        async with self._database.read(tenant_id) as session:
            return (await session.scalars(select(EndpointRow).order_by(EndpointRow.id))).all()

    async def get(self, tenant_id: str, endpoint_id: str) -> EndpointRow:
        """One endpoint.

        Raises:
            EndpointMissingError: The tenant has none of this id.
        """
        async with self._database.read(tenant_id) as session:
            return await _one(session, endpoint_id)

    async def add(
        self,
        tenant_id: str,
        url: str,
        events: Sequence[str],
        actor: str,
        *,
        description: str = "",
        is_active: bool = True,
    ) -> tuple[EndpointRow, str]:
        """A new endpoint, and the secret that its webhooks are signed with. That is not shown again.

        Raises:
            WebhookUrlError: Nothing is sent there.
            EventPatternError: What names no events.
            EndpointLimitError: The plan allows no more.
        """
        self._sender.check(tenant_id, url)
        patterns, limit, secret, now = checked(events), await self._limit_of(tenant_id), new_secret(), self._clock.now()
        async with self._database.write(tenant_id) as session:
            if not self._database.is_sqlite:  # which has one writer anyway
                await session.execute(
                    text("SELECT pg_advisory_xact_lock(:kind, hashtext(:tenant))"),
                    {"kind": _ENDPOINT_LOCK, "tenant": tenant_id},
                )
            count = await session.scalar(select(func.count()).select_from(EndpointRow)) or 0
            if limit is not None and count >= limit:
                raise EndpointLimitError(f"the plan allows {limit} endpoints", limit=limit)
            id = new_id("hook")
            row = EndpointRow(
                id=id, tenant_id=tenant_id, url=url, description=description, events=patterns, is_active=is_active,
                secret=await self._sealer.seal(session, tenant_id, SEALED_FOR, id, secret), old_secret=None,
                old_until=None, failing_since=None, disabled_at=None if is_active else now, disabled_because=None,
                created_at=now, created_by=actor,
            )  # fmt: skip
            session.add(row)
            audit(session, tenant_id, actor, "webhook-endpoint.add", id, after=_summary(row))
            await tell(session, ENDPOINTS, tenant_id)
        self.forget(tenant_id)
        return row, secret

    async def change(
        self,
        tenant_id: str,
        endpoint_id: str,
        actor: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        is_active: bool | None = None,
    ) -> EndpointRow:
        """Change what is given. Switched off, what is waiting for it is skipped; it can be replayed.

        Raises:
            EndpointMissingError, WebhookUrlError, EventPatternError: As with `get` and `add`.
        """
        if url is not None:
            self._sender.check(tenant_id, url)
        patterns = None if events is None else checked(events)
        now = self._clock.now()
        async with self._database.write(tenant_id) as session:
            row = await _one(session, endpoint_id)
            before = _summary(row)
            if url is not None and url != row.url:
                row.url, row.failing_since = url, None
            if patterns is not None:
                row.events = patterns
            if description is not None:
                row.description = description
            if is_active is not None and is_active != row.is_active:
                row.is_active, row.failing_since, row.disabled_because = is_active, None, None
                row.disabled_at = None if is_active else now
                if not is_active:
                    await jobs.skip_open(session, row.id, INACTIVE)
            audit(session, tenant_id, actor, "webhook-endpoint.change", row.id, before, _summary(row))
            await tell(session, ENDPOINTS, tenant_id)
        self.forget(tenant_id)
        return row

    async def remove(self, tenant_id: str, endpoint_id: str, actor: str) -> None:
        """Remove it with its log.

        Raises:
            EndpointMissingError: The tenant has none of this id.
        """
        async with self._database.write(tenant_id) as session:
            row = await _one(session, endpoint_id)
            audit(session, tenant_id, actor, "webhook-endpoint.remove", row.id, _summary(row))
            await session.delete(row)
            await session.flush()
            await jobs.purge(session, row.id)
            await session.execute(
                delete(AttemptRow)
                .where(AttemptRow.endpoint_id == endpoint_id)
                .execution_options(synchronize_session=False)
            )
            await tell(session, ENDPOINTS, tenant_id)
        self.forget(tenant_id)

    async def rotate(self, tenant_id: str, endpoint_id: str, overlap: timedelta, actor: str) -> str:
        """A new secret. For the overlap, everything is signed with the old one as well.

        Raises:
            EndpointMissingError: The tenant has none of this id.
        """
        secret, now = new_secret(), self._clock.now()
        overlap = min(overlap, LONGEST_OVERLAP)
        async with self._database.write(tenant_id) as session:
            row = await _one(session, endpoint_id)
            is_kept = overlap > timedelta(0)
            row.old_secret, row.old_until = (row.secret, now + overlap) if is_kept else (None, None)
            row.secret = await self._sealer.seal(session, tenant_id, SEALED_FOR, row.id, secret)
            audit(
                session, tenant_id, actor, "webhook-endpoint.rotate", row.id,
                after={"overlap_s": overlap.total_seconds()},
            )  # fmt: skip
        return secret

    async def test(self, tenant_id: str, endpoint_id: str) -> AttemptRow:
        """Send one webhook of the type `webhook.test` now, and say how that went. It is in the log, and nothing is sent
        again.

        Raises:
            EndpointMissingError: The tenant has none of this id.
        """
        row, now = await self.get(tenant_id, endpoint_id), self._clock.now()
        body = _body("webhook.test", now, {"endpoint_id": endpoint_id})
        sent = await self._sender.send(
            tenant_id, new_id("evt"), row.url, await self._secrets(row), body, now, account=row.id
        )
        attempt = _attempt(row, None, 1, sent, now)
        async with self._database.write(tenant_id) as session:
            await _one(session, endpoint_id)
            session.add(attempt)
        return attempt

    async def replay(self, tenant_id: str, endpoint_id: str, since: datetime, actor: str) -> int:
        """Send once more all that failed since then, or was waiting when it was switched off; how many that are.

        Raises:
            EndpointMissingError, EndpointInactiveError: There is none, or nothing would be sent.
        """
        row = await self.active(tenant_id, endpoint_id)
        count = await jobs.Deliveries(self._database, self._clock).replay_failed(
            tenant_id, row.id, since, skipped=INACTIVE
        )
        async with self._database.write(tenant_id) as session:
            audit(
                session, tenant_id, actor, "webhook-endpoint.replay", row.id,
                after={"since": since.isoformat(), "deliveries": count},
            )  # fmt: skip
        return count

    async def note_replay(self, tenant_id: str, endpoint_id: str, delivery_id: str, actor: str) -> None:
        """Say in the audit trail that one delivery is sent once more."""
        async with self._database.write(tenant_id) as session:
            audit(session, tenant_id, actor, "webhook-endpoint.replay", endpoint_id, after={"delivery": delivery_id})

    async def active(self, tenant_id: str, endpoint_id: str) -> EndpointRow:
        """One endpoint that is switched on.

        Raises:
            EndpointMissingError, EndpointInactiveError: There is none, or it is off.
        """
        row = await self.get(tenant_id, endpoint_id)
        if not row.is_active:
            raise EndpointInactiveError(f"the endpoint {row.id} is switched off")
        return row

    async def attempts(self, tenant_id: str, delivery_ids: Sequence[str]) -> dict[str, list[AttemptRow]]:
        """Attempts of deliveries, the oldest first."""
        query = select(AttemptRow).where(AttemptRow.delivery_id.in_(list(delivery_ids))).order_by(AttemptRow.id)
        found: dict[str, list[AttemptRow]] = {id: [] for id in delivery_ids}
        async with self._database.read(tenant_id) as session:
            for row in await session.scalars(query):
                found[row.delivery_id or ""].append(row)
        return found

    # -- for the dispatcher --------------------------------------------------------------------------------------------

    async def subscribers(self, tenant_id: str, event_name: str) -> list[Subscription]:
        """Endpoints that take an event."""
        listeners = self._listeners.get(tenant_id)
        if listeners is None:
            listeners = await self._load(tenant_id)
        else:
            self._listeners.move_to_end(tenant_id)
        return [
            Subscription(listener.id, HANDLER, ordered=False, max_attempts=len(BACK_OFF_S) + 1)
            for listener in listeners
            if is_wanted(event_name, listener.events)
        ]

    def forget(self, tenant_id: str) -> None:
        """A tenant's endpoints have changed."""
        self._changes += 1
        self._listeners.pop(tenant_id, None)

    def forget_all(self) -> None:
        """Nobody knows what has changed."""
        self._changes += 1
        self._listeners.clear()

    async def deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        """Send one event to one endpoint."""
        async with self._database.read(delivery.tenant_id) as session:
            row = await session.get(EndpointRow, delivery.installation_id)
        if row is None:
            return DeliveryResult("skipped", "webhook-endpoint-not-found", "the endpoint was removed")
        if not row.is_active:
            return DeliveryResult("skipped", INACTIVE, "the endpoint is switched off")
        wait_s = self._places.wait_s(row.id, is_failing=row.failing_since is not None)
        if wait_s:
            return DeliveryResult("deferred", "webhook-busy", "other requests are under way", retry_after_s=wait_s)
        with self._places.taken(row.id):
            now = self._clock.now()
            body = _body(delivery.event, delivery.emitted_at, delivery.payload)
            secrets = await self._secrets(row)
            sent = await self._sender.send(
                row.tenant_id, delivery.event_id, row.url, secrets, body, now, account=row.id
            )
        if sent.is_unsent:
            return DeliveryResult("deferred", sent.code, sent.message, retry_after_s=5.0)
        await self._write_down(row, delivery, sent, now)
        return self._result(delivery, sent)

    def _result(self, delivery: DeliverySnapshot, sent: Sent) -> DeliveryResult:
        if sent.code is None:
            return DeliveryResult("done", duration_ms=sent.duration_ms)
        if sent.is_final:
            return DeliveryResult("dead", sent.code, sent.message, duration_ms=sent.duration_ms)
        usual = BACK_OFF_S[min(delivery.failures, len(BACK_OFF_S) - 1)]
        usual *= self._random.uniform(1 - _SPREAD, 1 + _SPREAD)
        wait_s = max(usual, sent.retry_after_s or 0.0)
        return DeliveryResult("retry", sent.code, sent.message, retry_after_s=wait_s, duration_ms=sent.duration_ms)

    async def _write_down(self, row: EndpointRow, delivery: DeliverySnapshot, sent: Sent, now: datetime) -> None:
        """The attempt, and what it means for the endpoint."""
        is_off = False
        async with self._database.write(row.tenant_id) as session:
            is_there = select(EndpointRow.id).where(EndpointRow.id == row.id)
            # Held until the end, so that whoever removes the endpoint finds this as well.
            if await session.scalar(is_there.with_for_update(read=True, key_share=True)) is None:
                return
            session.add(_attempt(row, delivery.id, delivery.attempt, sent, now))
            await session.flush()
            if sent.code is None:
                if row.failing_since is not None:
                    await _set(session, row.id, failing_since=None)
            else:
                since = await session.scalar(
                    update(EndpointRow)
                    .where(EndpointRow.id == row.id)
                    .values(failing_since=func.coalesce(EndpointRow.failing_since, now))
                    .returning(EndpointRow.failing_since)
                    .execution_options(synchronize_session=False)
                )
                days = timedelta(days=self._settings.disable_after_days)
                if sent.is_gone or (since is not None and now - since >= days):
                    is_off = await self._switch_off(session, row, "gone" if sent.is_gone else "failing", now)
        if is_off:
            self.forget(row.tenant_id)
            await self._say(row, sent)

    async def _switch_off(self, session: AsyncSession, row: EndpointRow, why: str, now: datetime) -> bool:
        """Whether this was the one that did."""
        switched = await session.scalar(
            update(EndpointRow)
            .where(EndpointRow.id == row.id, EndpointRow.is_active.is_(True))
            .values(is_active=False, disabled_at=now, disabled_because=why)
            .returning(EndpointRow.id)
            .execution_options(synchronize_session=False)
        )
        if switched is None:
            return False
        await jobs.skip_open(session, row.id, INACTIVE)
        audit(session, row.tenant_id, "platform:webhooks", "webhook-endpoint.disable", row.id, after={"because": why})
        await tell(session, ENDPOINTS, row.tenant_id)
        return True

    async def _say(self, row: EndpointRow, sent: Sent) -> None:
        _log.warning("webhook-endpoint-disabled", tenant=row.tenant_id, endpoint=row.id, code=sent.code)
        if self._tell_admins is None:
            return
        title = f"Webhooks to {row.description or row.url}"[:180] + " are off"
        body = (
            f"Its receiver answered that it wants no more ({sent.message})."
            if sent.is_gone
            else f"Everything failed for {self._settings.disable_after_days:g} days, at last: {sent.message}."
        )
        try:
            await self._tell_admins(row.tenant_id, title, f"{body} Switch it on again when it is well, and replay.")
        except Exception:  # to be told is not worth the delivery
            _log.exception("webhook-endpoint-notice-failed", tenant=row.tenant_id, endpoint=row.id)

    async def _secrets(self, row: EndpointRow) -> list[str]:
        """The new one first."""
        sealed = [row.secret]
        if row.old_secret is not None and row.old_until is not None and row.old_until > self._clock.now():
            sealed.append(row.old_secret)
        return [await self._sealer.open(one, row.tenant_id, SEALED_FOR, row.id) for one in sealed]

    async def _load(self, tenant_id: str) -> tuple[_Listener, ...]:
        seen = self._changes
        query = select(EndpointRow.id, EndpointRow.events).where(EndpointRow.is_active.is_(True))
        async with self._database.read(tenant_id) as session:
            found = tuple(_Listener(id, tuple(events)) for id, events in await session.execute(query))
        if seen == self._changes:
            self._listeners[tenant_id] = found
            if len(self._listeners) > _TENANTS:
                self._listeners.popitem(last=False)
        return found


async def _one(session: AsyncSession, endpoint_id: str) -> EndpointRow:
    row = await session.scalar(select(EndpointRow).where(EndpointRow.id == endpoint_id))
    if row is None:
        raise EndpointMissingError("there is no such endpoint")
    return row


async def _set(session: AsyncSession, endpoint_id: str, **values: Any) -> None:
    await session.execute(
        update(EndpointRow)
        .where(EndpointRow.id == endpoint_id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def _body(type: str, at: datetime, data: Any) -> bytes:
    return msgspec.json.encode({"type": type, "timestamp": at.isoformat(), "data": data})


def _attempt(row: EndpointRow, delivery_id: str | None, attempt: int, sent: Sent, now: datetime) -> AttemptRow:
    return AttemptRow(
        id=new_id("wat"), tenant_id=row.tenant_id, endpoint_id=row.id, delivery_id=delivery_id, attempt=attempt, at=now,
        status=sent.status, answer=sent.answer, error_code=sent.code, error_message=sent.message or None,
        duration_ms=sent.duration_ms,
    )  # fmt: skip


def _summary(row: EndpointRow) -> dict[str, Any]:
    """In the audit trail: without the query, where some receivers have their keys."""
    return {
        "url": row.url.partition("?")[0], "events": [*row.events], "description": row.description,
        "is_active": row.is_active,
    }  # fmt: skip

"""Says what has become of a breaker, in the transaction in which its row changes: to the tenant's trail, to whoever
listens, and to owners and admins. So it is said once, whichever node writes, and exactly when it is so.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.errors import JackfieldError
from jackfield.health.breakers import BreakerChange
from jackfield.lifecycle.models import InstallationRow
from jackfield.live import happened
from jackfield.notifications import Note, Notifications
from jackfield.records import audit

__all__ = ["SENDER", "Announcing"]

SENDER = "jackfield"
"""Who notifies, in place of a plugin: a slug that none can have. Who wants to hear nothing of a plugin hears of its
failures still."""

_log = structlog.get_logger("jackfield.health")

_TOLD_TO = ("owner", "admin")
_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_HANDLER_CHARS = 120


class Announcing:
    """One per node.

    Args:
        notifications: Without, nobody is notified.
    """

    def __init__(self, notifications: Notifications | None) -> None:
        self._notifications = notifications

    async def announce(self, session: AsyncSession, change: BreakerChange, until: datetime) -> None:
        """Say that a breaker has opened, or closed."""
        name = await _name(session, change)
        state = "open" if change.is_open else "closed"
        if change.is_open:
            audit(
                session, change.tenant_id, "platform", "breaker.open", f"{change.handler}: {change.code}",
                plugin=change.slug or None,
            )  # fmt: skip
        happened(
            session,
            "breaker",
            {
                "installation_id": change.installation_id, "handler": change.handler, "state": state,
                "code": _code(change), "until": until.isoformat() if change.is_open else None,
            },
            tenant_id=change.tenant_id,
            plugin=change.slug or None,
        )  # fmt: skip
        await self._notify(session, change, _note(change, name, until))

    def sent(self) -> None:
        """The transaction is committed: what is to go out by other ways goes."""
        if self._notifications is not None:
            self._notifications.on_due()

    async def _notify(self, session: AsyncSession, change: BreakerChange, note: Note) -> None:
        if self._notifications is None:
            return
        try:
            async with session.begin_nested():
                await self._notifications.send_with(
                    session, change.tenant_id, SENDER, SENDER, note, _TOLD_TO, in_app_only=not change.is_open
                )
        except (JackfieldError, IntegrityError) as error:
            # Too many to be told, or one who has just left: that is no reason to keep the breaker from other nodes.
            _log.warning("breaker not told", tenant=change.tenant_id, plugin=change.slug, error=type(error).__name__)


async def _name(session: AsyncSession, change: BreakerChange) -> str:
    """As `points`, or `points@second`."""
    query = select(InstallationRow.instance).where(InstallationRow.id == change.installation_id)
    instance = await session.scalar(query)
    return change.slug if instance in (None, "default") else f"{change.slug}@{instance}"


def _note(change: BreakerChange, name: str, until: datetime) -> Note:
    """What owners and admins read. Of what the plugin itself says, nothing is in it: it would come in our name, by
    e-mail too."""
    handler = change.handler[:_HANDLER_CHARS]
    if not change.is_open:
        return Note(f"{name} works again"[:200], f"`{handler}` is not left alone any more.", "success")
    why = f" ({_code(change)})" if _code(change) else ""
    return Note(
        f"{name} fails, and is left alone in part"[:200],
        f"`{handler}` failed {change.failures} times{why}. It is left alone until {until.astimezone(UTC):%H:%M} UTC, "
        "and then tried with one call. Events, webhooks and one firing of a schedule wait for it, and none is lost; "
        f"other calls of it are refused. The plugin's health says more: `jackfield health {name}`.",
        "warning",
    )


def _code(change: BreakerChange) -> str | None:
    """Of the last failure, unless it is a text."""
    return change.code if _CODE.match(change.code) else None

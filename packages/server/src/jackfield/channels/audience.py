"""Who hears of what happens on a channel: who is assigned to it, may, and has the gateways that it needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from sqlalchemy import select

from jackfield.capabilities.permissions import covers
from jackfield.channels import repository
from jackfield.channels.models import AssignmentRow, ChannelRow
from jackfield.db import Database
from jackfield.invocation import ActiveInstallation
from jackfield.surface import CHANNEL_EVENTS
from jackfield_sdk.wire import Execution

__all__ = ["Audience"]

_NAMES = frozenset(event.name for event in CHANNEL_EVENTS)


class Audience:
    """An `extension_points.events.Audience`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def concerns(self, event: str) -> bool:
        """Whether an event is one of channels."""
        return event in _NAMES

    async def chosen(self, tenant_id: str, event: str, candidates: Iterable[ActiveInstallation]) -> frozenset[str]:
        """Those, by id, that are assigned to any channel that the event may be of."""
        by_id = {candidate.id: candidate for candidate in candidates}
        if not by_id:
            return frozenset()
        async with self._database.read(tenant_id) as session:
            assigned = await repository.assigned(session, list(by_id))
            kinds = await repository.connected_kinds(session)
        return frozenset(
            id for id, channel in assigned if _may(by_id[id], event, channel.kind, kinds)
        )  # fmt: skip

    async def admitted(self, installation: ActiveInstallation, event: str, payload: Any) -> Execution | None:
        """On which channel an event runs for a plugin; None when it is none of its business."""
        channel_id = cast("dict[str, Any]", payload).get("channel") if isinstance(payload, dict) else None
        if not isinstance(channel_id, str):
            return None
        query = (
            select(ChannelRow.kind, AssignmentRow.settings)
            .join(AssignmentRow, AssignmentRow.channel_id == ChannelRow.id)
            .where(
                ChannelRow.id == channel_id, AssignmentRow.installation_id == installation.id,
                AssignmentRow.is_enabled.is_(True),
            )
        )  # fmt: skip
        async with self._database.read(installation.tenant_id) as session:
            found = (await session.execute(query)).one_or_none()
            kinds = await repository.connected_kinds(session)
        if found is None or not _may(installation, event, found[0], kinds):
            return None
        return Execution("event", channel=found[0], channel_id=channel_id, settings=found[1])


def _may(installation: ActiveInstallation, event: str, kind: str, connected: frozenset[str]) -> bool:
    if event.startswith("telegram.") and kind != "telegram":
        return False
    return covers(installation.grants, f"channels:{kind}") and connected.issuperset(installation.manifest.gateways)

"""Telling the tenant's other plugins what becomes of one, in the transaction in which it does."""

from __future__ import annotations

from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.jobs import outbox
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.operations import Run
from jackfield_sdk.hooks import PluginChange

__all__ = ["Change", "tell"]

Change = Literal[
    "installed", "activated", "deactivated", "updated", "rolledBack", "uninstalled", "configured", "quarantined"
]


def tell(
    session: AsyncSession, run: Run, change: Change, row: InstallationRow, *, previous_version: str | None = None
) -> None:
    """Add the event `plugin.CHANGE` to the outbox.

    It says nothing of configuration, grants or data: whoever hears of it needs no permission.
    """
    payload = PluginChange(
        slug=row.slug,
        version=row.version,
        instance=row.instance,
        previous_version=previous_version,
        by=None if run.order.actor is None else run.order.actor.id,
        reason=row.reason_code if change == "quarantined" else None,
    )
    outbox.add(session, run.tenant_id, f"plugin.{change}", payload, source="platform")

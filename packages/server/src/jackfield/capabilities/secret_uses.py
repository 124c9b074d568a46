"""When each secret was last used, and by what: noted in memory, written down in batches."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, or_, update

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.models import SecretValue, core
from jackfield.clock import Clock
from jackfield.db import Database, UtcDateTime

__all__ = ["SecretUses"]

_NOTED = 10_000
_BATCH = 200

_secrets = core(SecretValue)
_at = bindparam("p_at", type_=UtcDateTime)
_MARK = (
    update(_secrets)
    .where(
        _secrets.c.installation_id == bindparam("p_installation"),
        _secrets.c.name == bindparam("p_name"),
        _secrets.c.tenant_id == bindparam("p_tenant"),
        or_(_secrets.c.last_used_at.is_(None), _secrets.c.last_used_at < _at),
    )
    .values(last_used_at=_at, last_used_by=bindparam("p_by"))
)


class SecretUses:
    """The latest use of each secret on this node. A node that is killed loses those of the last seconds."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._latest: dict[tuple[str, str, str], tuple[datetime, str]] = {}

    def note(self, context: CapabilityContext, name: str) -> None:
        """It was used now."""
        if len(self._latest) < _NOTED:
            key = context.tenant_id, context.installation_id, name
            self._latest[key] = self._clock.now(), context.handler[:300]

    async def flush(self) -> None:
        """Write down what was noted."""
        latest, self._latest = self._latest, {}
        by_tenant: dict[str, list[dict[str, Any]]] = {}
        for (tenant_id, installation_id, name), (at, by) in latest.items():
            by_tenant.setdefault(tenant_id, []).append(
                {"p_tenant": tenant_id, "p_installation": installation_id, "p_name": name, "p_at": at, "p_by": by}
            )
        for tenant_id, marks in by_tenant.items():
            # In one order on all nodes, so that two of them never wait for each other.
            marks.sort(key=lambda mark: (mark["p_installation"], mark["p_name"]))
            for start in range(0, len(marks), _BATCH):
                async with self._database.write(tenant_id) as session:
                    await (await session.connection()).execute(_MARK, marks[start : start + _BATCH])

"""How often each grant was used, in all and by user. Counted with the records, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import case, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.db import Database
from jackfield.records.models import PermissionUse
from jackfield.records.record import InvocationRecord

__all__ = ["Use", "UserUse", "add_uses", "uses_of"]

_TOP = 10
_ALL = ""


@dataclass(frozen=True, slots=True)
class UserUse:
    """What one user's calls made of a grant."""

    user_id: str
    uses: int
    last_used_at: datetime


@dataclass(frozen=True, slots=True)
class Use:
    """What was made of a grant.

    Attributes:
        users: On whose behalf, the most frequent ones first, at most ten; calls without an acting user have none.
    """

    permission: str
    uses: int
    last_used_at: datetime
    users: tuple[UserUse, ...]


async def add_uses(session: AsyncSession, database: Database, records: Iterable[InvocationRecord]) -> None:
    """Add new records to the counters, in the transaction that stores them."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for record in records:
        if not record.permissions:
            continue
        at = datetime.fromtimestamp(record.started_at, UTC)
        users = (_ALL,) if not record.caller_id else (_ALL, record.caller_id[:64].replace("\0", "\ufffd"))
        for permission, uses in record.permissions.items():
            for user_id in users:
                place = (record.installation_id, permission[:200], user_id)
                row = found.get(place)
                if row is None:
                    row = found[place] = {
                        "installation_id": place[0], "permission": place[1], "user_id": user_id,
                        "tenant_id": record.tenant_id, "uses": 0, "last_used_at": at,
                    }  # fmt: skip
                row["uses"] += uses
                row["last_used_at"] = max(row["last_used_at"], at)
    if found:
        # In one order on all nodes, so that two of them never wait for each other.
        await session.execute(_adding(is_sqlite=database.is_sqlite), [found[place] for place in sorted(found)])


async def uses_of(session: AsyncSession, installation_id: str) -> list[Use]:
    """The counters of an installation, by permission."""
    mine = PermissionUse.installation_id == installation_id
    totals = (await session.scalars(select(PermissionUse).where(mine, PermissionUse.user_id == _ALL))).all()
    found: list[Use] = []
    for total in sorted(totals, key=lambda row: row.permission):
        query = (
            select(PermissionUse)
            .where(mine, PermissionUse.permission == total.permission, PermissionUse.user_id != _ALL)
            .order_by(PermissionUse.uses.desc(), PermissionUse.user_id)
            .limit(_TOP)
        )
        users = tuple(UserUse(row.user_id, row.uses, row.last_used_at) for row in await session.scalars(query))
        found.append(Use(total.permission, total.uses, total.last_used_at, users))
    return found


@cache
def _adding(*, is_sqlite: bool) -> Any:
    """Built once, which takes longer than to run it."""
    added = (sqlite if is_sqlite else postgresql).insert(PermissionUse)
    column: Any = PermissionUse.__table__.c.last_used_at
    return added.on_conflict_do_update(
        index_elements=[PermissionUse.installation_id, PermissionUse.permission, PermissionUse.user_id],
        set_={
            "uses": PermissionUse.__table__.c.uses + added.excluded.uses,
            "last_used_at": case((added.excluded.last_used_at > column, added.excluded.last_used_at), else_=column),
        },
    )

"""Statements about what was used and what operators decided. All of them run on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.quotas.ledger import Key, Spent, Used
from jackfield.quotas.models import QuotaRule, QuotaRunning, QuotaWindow
from jackfield.tenants import Tenant

__all__ = [
    "Rule",
    "add",
    "drop_windows",
    "plans_of",
    "purge",
    "put_rule",
    "rules_since",
    "running_elsewhere",
    "tell_running",
    "tenants_on",
    "windows_of",
]

_CHUNK = 500
"""Names in one statement."""
_COUNTERS = ("calls", "cpu_us", "host_calls", "egress_bytes")


class Rule(NamedTuple):
    """One row of `QuotaRule`."""

    kind: str
    subject: str
    value: dict[str, Any] | None
    revision: int


async def add(session: AsyncSession, spent: Sequence[Spent]) -> list[Spent]:
    """Add what was used to the shared windows; their sums afterwards, of all nodes."""
    merged: dict[tuple[Key, int], Used] = {}
    for key, minute, used in spent:
        known = merged.get((key, minute), (0, 0, 0, 0))
        merged[key, minute] = (known[0] + used[0], known[1] + used[1], known[2] + used[2], known[3] + used[3])
    if not merged:
        return []
    insert = _dialect(session).insert(QuotaWindow)
    statement = insert.on_conflict_do_update(
        index_elements=["tenant_id", "installation_id", "minute"],
        set_={name: getattr(QuotaWindow, name) + insert.excluded[name] for name in _COUNTERS},
    ).returning(
        QuotaWindow.tenant_id, QuotaWindow.installation_id, QuotaWindow.minute,
        *(getattr(QuotaWindow, name) for name in _COUNTERS),
    )  # fmt: skip
    # In the same order on every node, so that two of them never wait for each other.
    rows = [
        {"tenant_id": key[0], "installation_id": key[1], "minute": minute, **dict(zip(_COUNTERS, used, strict=True))}
        for (key, minute), used in sorted(merged.items())
    ]
    connection, sums = await session.connection(), list[Spent]()
    for begin in range(0, len(rows), _CHUNK):
        sums += [_spent(row) for row in await connection.execute(statement, rows[begin : begin + _CHUNK])]
    return sums


async def windows_of(session: AsyncSession, tenants: Iterable[str], minutes: Sequence[int]) -> list[Spent]:
    """What tenants and their installations used in these minutes."""
    names, found = sorted(set(tenants)), list[Spent]()
    columns = [QuotaWindow.tenant_id, QuotaWindow.installation_id, QuotaWindow.minute]
    columns += [getattr(QuotaWindow, name) for name in _COUNTERS]
    for begin in range(0, len(names), _CHUNK):
        query = select(*columns).where(
            QuotaWindow.tenant_id.in_(names[begin : begin + _CHUNK]), QuotaWindow.minute.in_(minutes)
        )
        found += [_spent(row) for row in await session.execute(query)]
    return found


async def drop_windows(session: AsyncSession, before: int, now: datetime) -> None:
    """Forget minutes before this one, and what dead nodes had at work."""
    connection = await session.connection()
    await connection.execute(delete(QuotaWindow).where(QuotaWindow.minute < before))
    await connection.execute(delete(QuotaRunning).where(QuotaRunning.until < now))


async def tell_running(
    session: AsyncSession, node_id: str, running: Sequence[tuple[Key, int]], until: datetime
) -> None:
    """What this node has at work; what has ended is taken back."""
    connection = await session.connection()
    if ended := [key for key, count in running if not count]:
        gone = delete(QuotaRunning).where(
            QuotaRunning.node_id == node_id,
            QuotaRunning.tenant_id == bindparam("p_tenant"),
            QuotaRunning.installation_id == bindparam("p_installation"),
        )
        await connection.execute(gone, [{"p_tenant": key[0], "p_installation": key[1]} for key in ended])
    if going := [(key, count) for key, count in running if count]:
        insert = _dialect(session).insert(QuotaRunning)
        statement = insert.on_conflict_do_update(
            index_elements=["node_id", "tenant_id", "installation_id"],
            set_={"running": insert.excluded["running"], "until": insert.excluded["until"]},
        )
        rows = [
            {"node_id": node_id, "tenant_id": key[0], "installation_id": key[1], "running": count, "until": until}
            for key, count in going
        ]
        await connection.execute(statement, rows)


async def running_elsewhere(session: AsyncSession, node_id: str, now: datetime) -> dict[Key, int]:
    """What other nodes have at work."""
    query = (
        select(QuotaRunning.tenant_id, QuotaRunning.installation_id, func.sum(QuotaRunning.running))
        .where(QuotaRunning.node_id != node_id, QuotaRunning.until >= now)
        .group_by(QuotaRunning.tenant_id, QuotaRunning.installation_id)
    )
    return {(row[0], row[1]): int(row[2]) for row in await session.execute(query)}


async def forget_node(session: AsyncSession, node_id: str) -> None:
    """This node has nothing at work any more."""
    connection = await session.connection()
    await connection.execute(delete(QuotaRunning).where(QuotaRunning.node_id == node_id))


async def plans_of(session: AsyncSession, tenants: Iterable[str]) -> dict[str, str]:
    """Tenant → name of its plan; those that nobody knows are left out."""
    names, found = sorted(set(tenants)), dict[str, str]()
    for begin in range(0, len(names), _CHUNK):
        query = select(Tenant.id, Tenant.plan).where(Tenant.id.in_(names[begin : begin + _CHUNK]))
        found.update((row[0], row[1]) for row in await session.execute(query))
    return found


async def tenants_on(session: AsyncSession, plan: str) -> int:
    """How many tenants have a plan."""
    return await session.scalar(select(func.count()).select_from(Tenant).where(Tenant.plan == plan)) or 0


async def rules_since(session: AsyncSession, revision: int) -> list[Rule]:
    """Rules that changed after a revision, in order."""
    query = (
        select(QuotaRule.kind, QuotaRule.subject, QuotaRule.value, QuotaRule.revision)
        .where(QuotaRule.revision > revision, QuotaRule.kind != "revision")
        .order_by(QuotaRule.revision)
    )
    return [Rule(*row) for row in await session.execute(query)]


async def put_rule(
    session: AsyncSession, kind: str, subject: str, value: dict[str, Any] | None, now: datetime, actor: str
) -> None:
    """Write a rule down, under a new revision.

    The row that counts is held until the transaction ends, so revisions become visible in their order.
    """
    connection = await session.connection()
    dialect = _dialect(session)
    about = {"changed_at": now, "changed_by": actor}
    counter = dialect.insert(QuotaRule).values(kind="revision", subject="-", value=None, revision=1, **about)
    counter = counter.on_conflict_do_update(
        index_elements=["kind", "subject"], set_={"revision": QuotaRule.revision + 1}
    ).returning(QuotaRule.revision)
    revision = (await connection.execute(counter)).scalar_one()
    insert = dialect.insert(QuotaRule).values(kind=kind, subject=subject, value=value, revision=revision, **about)
    names = ("value", "revision", "changed_at", "changed_by")
    await connection.execute(
        insert.on_conflict_do_update(
            index_elements=["kind", "subject"], set_={name: insert.excluded[name] for name in names}
        )
    )


async def rule(session: AsyncSession, kind: str, subject: str) -> dict[str, Any] | None:
    """The value of a rule that is in force."""
    return await session.scalar(select(QuotaRule.value).where(QuotaRule.kind == kind, QuotaRule.subject == subject))


async def purge(session: AsyncSession, installation_id: str) -> None:
    """An installation is removed: forget what it used, and what was set for it."""
    connection = await session.connection()
    for model in (QuotaWindow, QuotaRunning):
        await connection.execute(delete(model).where(model.installation_id == installation_id))
    await connection.execute(
        delete(QuotaRule).where(QuotaRule.kind == "installation", QuotaRule.subject == installation_id)
    )


async def change_plan(session: AsyncSession, tenant_id: str, plan: str) -> str | None:
    """Give a tenant a plan; the one that it had, or None when there is no such tenant."""
    before = await session.scalar(select(Tenant.plan).where(Tenant.id == tenant_id))
    if before is not None:
        await session.execute(update(Tenant).where(Tenant.id == tenant_id).values(plan=plan))
    return before


def _spent(row: Any) -> Spent:
    return Spent((row[0], row[1]), int(row[2]), (int(row[3]), int(row[4]), int(row[5]), int(row[6])))


def _dialect(session: AsyncSession) -> Any:
    return sqlite if session.get_bind().dialect.name == "sqlite" else postgresql

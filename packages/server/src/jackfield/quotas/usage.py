"""What a tenant has used of what it may use, as people read it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from jackfield.db import DATABASE_FAILURES
from jackfield.quotas.interfaces import Holding, Inventory
from jackfield.quotas.ledger import Account, Quota
from jackfield.quotas.service import Quotas
from jackfield.quotas.windows import refilled_at

__all__ = ["PluginUsage", "QuotaUsage", "Usage", "UsageReader"]

_log = structlog.get_logger("jackfield.quotas")


@dataclass(frozen=True, slots=True)
class QuotaUsage:
    """One quota.

    Attributes:
        limit, left: None when there is no limit.
        refills_at: When all of it is there again if nothing more is used; None for what is kept, which is there again
            when something is removed.
        is_warning: Nearly used up, or more.
    """

    quota: Quota
    limit: int | None
    used: int
    left: int | None
    refills_at: datetime | None
    is_warning: bool


@dataclass(frozen=True, slots=True)
class PluginUsage:
    """One installation."""

    plugin: str
    installation_id: str
    quotas: tuple[QuotaUsage, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """A tenant."""

    tenant_id: str
    plan: str
    at: datetime
    quotas: tuple[QuotaUsage, ...]
    plugins: tuple[PluginUsage, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each quota that is nearly used up."""
        found = [_sentence(one, "the tenant") for one in self.quotas if one.is_warning]
        return (*found, *(_sentence(one, p.plugin) for p in self.plugins for one in p.quotas if one.is_warning))


class UsageReader:
    """Answers `GET /api/usage`."""

    def __init__(self, quotas: Quotas, inventory: Inventory, warn_from: float) -> None:
        self._quotas = quotas
        self._inventory = inventory
        self._warn_from = warn_from

    async def usage(self, tenant_id: str) -> Usage:
        """What a tenant and its plugins used on all nodes, and what is left."""
        policy = await self._quotas.policy(tenant_id)
        await self._quotas.prepare(tenant_id)
        try:
            await self._quotas.sync()
        except DATABASE_FAILURES as error:
            _log.warning("usage-of-this-node-alone", error=str(error))
        holdings = await self._inventory.holdings(tenant_id)
        tenant, plugins = self._quotas.accounts_of(tenant_id, [one.installation_id for one in holdings])
        kept = Holding("", "", sum(h.storage_bytes for h in holdings), sum(h.rows for h in holdings))
        return Usage(
            tenant_id=tenant_id,
            plan=policy.plan,
            at=datetime.fromtimestamp(self._quotas.now(), UTC),
            quotas=(*self._of(tenant, kept), self._one("plugins", policy.plugins, len(holdings))),
            plugins=tuple(
                PluginUsage(one.plugin, one.installation_id, tuple(self._of(plugins[one.installation_id], one)))
                for one in holdings
            ),
        )

    def _of(self, account: Account, kept: Holding) -> Iterator[QuotaUsage]:
        now = self._quotas.now()
        for quota, limit, count, current, before in account.rates(now):
            refilled = refilled_at(current, before, now)
            yield self._one(quota, limit, count, None if refilled is None else datetime.fromtimestamp(refilled, UTC))
        yield self._one("concurrency", account.quotas.concurrency, account.running + account.elsewhere)
        yield self._one("storage_bytes", account.quotas.storage_bytes, kept.storage_bytes)
        yield self._one("rows", account.quotas.rows, kept.rows)

    def _one(self, quota: Quota, limit: int | None, used: int, refills_at: datetime | None = None) -> QuotaUsage:
        left = None if limit is None else max(0, limit - used)
        near = limit is not None and used >= math.ceil(limit * self._warn_from) and (used > 0 or limit == 0)
        return QuotaUsage(quota, limit, used, left, refills_at, near)


def _sentence(usage: QuotaUsage, whose: str) -> str:
    return f"{usage.quota.replace('_', ' ')} of {whose}: {usage.used} of {usage.limit} are used"

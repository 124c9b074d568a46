"""Calls without a plugin behind them: what stands before the door sees an installation, a kind and a cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jackfield.db import Database
from jackfield.invocation import ActiveInstallation, Invocation, Outcome
from jackfield.quotas import Holding, QuotaFailure, Quotas
from jackfield.settings import PlanSettings, QuotaSettings, Settings
from jackfield.tenants import TenantService
from jackfield_sdk.manifest import parse_manifest
from tests.server.conftest import ManualClock


def plan(tenant: dict[str, Any], plugin: dict[str, Any] | None = None, plugins: int | None = None) -> PlanSettings:
    """A plan in which only what is named has a limit."""
    return PlanSettings(tenant=QuotaSettings(**tenant), plugin=QuotaSettings(**(plugin or {})), plugins=plugins)


def installation(id: str = "inst_a", tenant: str = "acme", slug: str = "probe", **limits: int) -> ActiveInstallation:
    manifest = parse_manifest({"slug": slug, "version": "1.0.0", "name": slug, "limits": limits})
    return ActiveInstallation(
        id, tenant, slug, "1.0.0", "0" * 64, Path("/nowhere"), manifest, frozenset(), {}, (), 1
    )  # fmt: skip


PROBE = installation()


def call(of: ActiveInstallation = PROBE, kind: Any = "function", name: str = "work") -> Invocation:
    return Invocation(of, kind, name, "handler", None, 1000)


@dataclass
class Node:
    """One node's quotas, and calls through them."""

    quotas: Quotas

    def run(self, of: ActiveInstallation = PROBE, *, cpu_ms: float = 0, host_calls: int = 0) -> QuotaFailure | None:
        """A call from begin to end, or why it was not let in."""
        one = call(of)
        failure = self.quotas.admit(one)
        if failure is None:
            self.quotas.settle(one, Outcome("inv_1", "ok", cpu_ms=cpu_ms, host_calls=host_calls))
        return failure

    def let_in(self, times: int, of: ActiveInstallation = PROBE, **cost: Any) -> int:
        """How many of so many calls are let in."""
        return sum(self.run(of, **cost) is None for _ in range(times))


class Shelf:
    """An inventory whose holdings are written in the test."""

    def __init__(self, holdings: Iterable[Holding] = ()) -> None:
        self.found = list(holdings)

    async def holdings(self, tenant_id: str) -> list[Holding]:
        return self.found

    async def tenant_of(self, installation_id: str) -> str | None:
        return "acme" if any(one.installation_id == installation_id for one in self.found) else None


async def node(
    database: Database, clock: ManualClock, plans: dict[str, PlanSettings], *, tenant: str = "acme", name: str = "n1"
) -> Node:
    """A node that has just started, with the tenant on the plan `tight` when there is one."""
    quotas = Quotas(database, Settings(plans=plans), clock, node_id=name)
    await quotas.start()
    chosen = "tight" if "tight" in plans else "free"
    await TenantService(database, clock).ensure_tenant(tenant, tenant, plan=chosen)
    await quotas.prepare(tenant)
    return Node(quotas)

"""What a tenant is allowed: its plan, with what an operator set for it alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jackfield.settings import PlanSettings, QuotaSettings

__all__ = ["Policy", "Space", "policy_of"]


@dataclass(frozen=True, slots=True)
class Space:
    """What an installation, and its tenant with all of them, may keep; None: no limit."""

    storage_bytes: int | None
    rows: int | None
    tenant_storage_bytes: int | None = None
    tenant_rows: int | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What a tenant is allowed.

    Attributes:
        plan: Its name, as the tenant has it.
        tenant: All plugins together.
        plugin: Each of them.
        plugins: How many.
        webhook_endpoints: How many addresses its events may be sent to.
        retention_days: For how long its records may be kept at most; None: for any time.
    """

    plan: str
    tenant: QuotaSettings
    plugin: QuotaSettings
    plugins: int | None
    webhook_endpoints: int | None = 20
    retention_days: int | None = 0

    @property
    def space(self) -> Space:
        """The part that is about what is kept."""
        return Space(self.plugin.storage_bytes, self.plugin.rows, self.tenant.storage_bytes, self.tenant.rows)


def policy_of(name: str, plan: PlanSettings, override: Mapping[str, Any] | None = None) -> Policy:
    """The plan, and over it what was set for the tenant: only what is named there differs."""
    override = override or {}
    return Policy(
        plan=name,
        tenant=plan.tenant.model_copy(update=dict(override.get("tenant") or {})),
        plugin=plan.plugin.model_copy(update=dict(override.get("plugin") or {})),
        plugins=override.get("plugins", plan.plugins),
        webhook_endpoints=plan.webhook_endpoints,
        retention_days=plan.retention_days,
    )

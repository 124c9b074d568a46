"""What operators decide: plans, what one tenant may use beside its plan, and limits of one plugin or installation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database, tell
from jackfield.quotas import repository
from jackfield.quotas.errors import (
    InstallationUnknownError,
    LimitAboveCeilingError,
    LimitMissingError,
    PlanInUseError,
    PlanMissingError,
    PlanNameInvalidError,
)
from jackfield.quotas.interfaces import Inventory
from jackfield.quotas.limits import LIMIT_NAMES
from jackfield.quotas.plans import Policy
from jackfield.quotas.service import Quotas
from jackfield.records import audit
from jackfield.settings import PlanSettings
from jackfield.tenants import TenantMissingError

__all__ = ["RULES", "Operating"]

RULES = "rules"
"""Topic of notices: plans, quotas or limits have changed."""
_PLAN = re.compile(r"[a-z][a-z0-9-]{0,63}")
_SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class Operating:
    """Each verb is written down with an entry in the audit trail, counts here at once, and on other nodes as soon as
    they hear of it, at their next exchange in any case."""

    def __init__(self, database: Database, quotas: Quotas, inventory: Inventory, clock: Clock | None = None) -> None:
        self._database = database
        self._quotas = quotas
        self._inventory = inventory
        self._clock = clock or SystemClock()

    # -- plans ---------------------------------------------------------------------------------------------------------

    async def put_plan(self, name: str, plan: PlanSettings, actor: str) -> PlanSettings:
        """Define a plan, or change one; those of the settings, too.

        Raises:
            PlanNameInvalidError: The name cannot be one.
        """
        if not _PLAN.fullmatch(name):
            raise PlanNameInvalidError(f"{name[:80]!r} cannot name a plan", plan=name[:80])
        value = plan.model_dump(mode="json")
        await self._write("plan", name, value, actor, tenant_id=None)
        return plan

    async def drop_plan(self, name: str, actor: str) -> None:
        """Take a plan back. One of the settings is as the settings say again.

        Raises:
            PlanMissingError: There is none.
            PlanInUseError: Tenants have it.
        """
        await self._quotas.refresh_rules()
        if not self._quotas.has_plan(name):
            raise PlanMissingError(name)
        if name not in self._quotas.own_plans:
            async with self._database.read(None) as session:
                tenants = await repository.tenants_on(session, name)
            if tenants:
                raise PlanInUseError(f"{tenants} tenants have the plan {name}", plan=name, tenants=tenants)
        await self._write("plan", name, None, actor, tenant_id=None)

    async def set_plan(self, tenant_id: str, plan: str, actor: str) -> Policy:
        """Give a tenant another plan. What is above it already stays; nothing is added to it.

        Raises:
            PlanMissingError: There is no such plan.
            TenantMissingError: There is no such tenant.
        """
        await self._quotas.refresh_rules()
        if not self._quotas.has_plan(plan):
            raise PlanMissingError(plan)
        async with self._database.write(None) as session:
            before = await repository.change_plan(session, tenant_id, plan)
            if before is None:
                raise TenantMissingError(f"There is no tenant {tenant_id}.", tenant_id=tenant_id)
            # The rule stays what it is; its new revision has other nodes look at the tenant again.
            value = await repository.rule(session, "tenant", tenant_id)
            await repository.put_rule(session, "tenant", tenant_id, value, self._clock.now(), actor)
            await tell(session, RULES)
            audit(session, tenant_id, actor, "tenant.plan", tenant_id, before={"plan": before}, after={"plan": plan})
        return await self._quotas.policy(tenant_id)

    # -- one tenant ----------------------------------------------------------------------------------------------------

    async def policy(self, tenant_id: str) -> Policy:
        """What a tenant is allowed.

        Raises:
            TenantMissingError: There is no such tenant.
        """
        await self._require_tenant(tenant_id)
        return await self._quotas.policy(tenant_id)

    async def override(self, tenant_id: str, value: Mapping[str, Any] | None, actor: str) -> Policy:
        """Set what a tenant may use beside its plan, or take that back.

        Raises:
            TenantMissingError: There is no such tenant.
        """
        await self._require_tenant(tenant_id)
        await self._write("tenant", tenant_id, dict(value) if value else None, actor, tenant_id=tenant_id)
        return await self._quotas.policy(tenant_id)

    # -- limits of a call ----------------------------------------------------------------------------------------------

    async def set_limits(
        self, kind: Literal["plugin", "installation"], subject: str, limits: Mapping[str, int] | None, actor: str
    ) -> None:
        """Set limits of a plugin's or an installation's calls, from the next call on; None takes them back.

        Raises:
            LimitAboveCeilingError: More than the settings let anybody give.
            InstallationUnknownError: There is no such installation.
            LimitMissingError: There is nothing to take back.
        """
        await self._quotas.refresh_rules()
        book = self._quotas.book
        if limits is None and subject not in (book.of_plugins if kind == "plugin" else book.of_installations):
            raise LimitMissingError(f"nothing is set for {subject[:80]}", subject=subject[:80])
        for name, value in (limits or {}).items():
            ceiling: int = getattr(book.ceilings, name)
            if value > ceiling:
                raise LimitAboveCeilingError(name, value, ceiling)
        tenant_id: str | None = None
        if kind == "installation":
            tenant_id = await self._inventory.tenant_of(subject)
            if tenant_id is None and limits is not None:
                raise InstallationUnknownError(f"there is no installation {subject[:80]}", installation=subject[:80])
        elif not _SLUG.fullmatch(subject) or len(subject) > 64:
            raise LimitMissingError(f"{subject[:80]!r} is no plugin's slug", subject=subject[:80])
        value = None if limits is None else {name: limits[name] for name in LIMIT_NAMES if name in limits}
        await self._write(kind, subject, value, actor, tenant_id=tenant_id)

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _require_tenant(self, tenant_id: str) -> None:
        async with self._database.read(None) as session:
            if tenant_id not in await repository.plans_of(session, [tenant_id]):
                raise TenantMissingError(f"There is no tenant {tenant_id}.", tenant_id=tenant_id)

    async def _write(
        self, kind: str, subject: str, value: dict[str, Any] | None, actor: str, *, tenant_id: str | None
    ) -> None:
        async with self._database.write(None) as session:
            before = await repository.rule(session, kind, subject)
            await repository.put_rule(session, kind, subject, value, self._clock.now(), actor)
            await tell(session, RULES)
            what = {"plan": "plan", "tenant": "quotas"}.get(kind, "limits")
            action = f"{what}.{'withdraw' if value is None else 'set'}"
            audit(session, tenant_id, actor, action, subject, before=before, after=value)
        await self._quotas.refresh_rules()

"""`/api/usage` for tenants; plans, quotas and limits for operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from jackfield.http import MemberCaller, OperatorCaller, problem_responses
from jackfield.quotas.operating import Operating
from jackfield.quotas.plans import Policy
from jackfield.quotas.schemas import (
    LimitOverride,
    LimitsOut,
    PlanChoice,
    PlanOut,
    QuotaOverride,
    TenantQuotasOut,
    UsageOut,
)
from jackfield.quotas.service import Quotas
from jackfield.quotas.usage import UsageReader
from jackfield.settings import PlanSettings

__all__ = ["router"]

Slug = Annotated[str, Path(description="The plugin, in all tenants")]


def router(quotas: Quotas, usage: UsageReader, operating: Operating) -> APIRouter:
    """Endpoints over quotas."""
    routes = APIRouter(prefix="/api", tags=["quotas"])

    @routes.get("/usage", operation_id="getUsage", responses=problem_responses(403))
    async def get_usage(caller: MemberCaller) -> UsageOut:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """What the tenant and each of its plugins have used, what is left, and when it refills."""
        return UsageOut.model_validate(await usage.usage(caller.tenant))

    @routes.get("/tenants/{tenant_id}/usage", operation_id="getTenantUsage", responses=problem_responses(403, 404))
    async def get_tenant_usage(_caller: OperatorCaller, tenant_id: str) -> UsageOut:  # pyright: ignore[reportUnusedFunction]
        """The same of any tenant. For operators."""
        await operating.policy(tenant_id)
        return UsageOut.model_validate(await usage.usage(tenant_id))

    @routes.put("/tenants/{tenant_id}/plan", operation_id="setTenantPlan", responses=problem_responses(403, 404))
    async def set_plan(caller: OperatorCaller, tenant_id: str, body: PlanChoice) -> TenantQuotasOut:  # pyright: ignore[reportUnusedFunction]
        """Give a tenant another plan. For operators."""
        policy = await operating.set_plan(tenant_id, body.plan, caller.subject)
        return _quotas_out(quotas, tenant_id, policy)

    @routes.get("/tenants/{tenant_id}/quotas", operation_id="getTenantQuotas", responses=problem_responses(403, 404))
    async def get_quotas(_caller: OperatorCaller, tenant_id: str) -> TenantQuotasOut:  # pyright: ignore[reportUnusedFunction]
        """What a tenant may use. For operators."""
        return _quotas_out(quotas, tenant_id, await operating.policy(tenant_id))

    @routes.put("/tenants/{tenant_id}/quotas", operation_id="setTenantQuotas", responses=problem_responses(403, 404))
    async def set_quotas(caller: OperatorCaller, tenant_id: str, body: QuotaOverride) -> TenantQuotasOut:  # pyright: ignore[reportUnusedFunction]
        """Set what one tenant may use beside its plan; it replaces what was set before. For operators."""
        policy = await operating.override(tenant_id, body.given(), caller.subject)
        return _quotas_out(quotas, tenant_id, policy)

    @routes.delete(
        "/tenants/{tenant_id}/quotas",
        status_code=204,
        operation_id="resetTenantQuotas",
        responses=problem_responses(403, 404),
    )
    async def reset_quotas(caller: OperatorCaller, tenant_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        """Have the plan alone decide again. For operators."""
        await operating.override(tenant_id, None, caller.subject)

    @routes.get("/plans", operation_id="listPlans", responses=problem_responses(403))
    async def list_plans(_caller: OperatorCaller) -> list[PlanOut]:  # pyright: ignore[reportUnusedFunction]
        """All plans, by name. For operators."""
        await quotas.refresh_rules()
        return [PlanOut(name=name, **plan.model_dump()) for name, plan in quotas.plans.items()]

    @routes.put("/plans/{name}", operation_id="putPlan", responses=problem_responses(403))
    async def put_plan(caller: OperatorCaller, name: str, body: PlanSettings) -> PlanOut:  # pyright: ignore[reportUnusedFunction]
        """Define a plan, or change one for all tenants that have it. For operators."""
        plan = await operating.put_plan(name, body, caller.subject)
        return PlanOut(name=name, **plan.model_dump())

    @routes.delete(
        "/plans/{name}", status_code=204, operation_id="dropPlan", responses=problem_responses(403, 404, 409)
    )
    async def drop_plan(caller: OperatorCaller, name: str) -> None:  # pyright: ignore[reportUnusedFunction]
        """Take a plan back; one that the settings define is as they say again. For operators."""
        await operating.drop_plan(name, caller.subject)

    @routes.get("/limits", operation_id="getLimits", responses=problem_responses(403))
    async def get_limits(_caller: OperatorCaller) -> LimitsOut:  # pyright: ignore[reportUnusedFunction]
        """What calls may use, how far that can be raised, and where it is. For operators."""
        await quotas.refresh_rules()
        return _limits_out(quotas)

    @routes.put("/limits/plugins/{slug}", operation_id="setPluginLimits", responses=problem_responses(403))
    async def set_plugin_limits(caller: OperatorCaller, slug: Slug, body: LimitOverride) -> LimitsOut:  # pyright: ignore[reportUnusedFunction]
        """Set limits of a plugin's calls in all tenants, from the next call on. For operators."""
        await operating.set_limits("plugin", slug, body.given(), caller.subject)
        return _limits_out(quotas)

    @routes.delete(
        "/limits/plugins/{slug}",
        status_code=204,
        operation_id="resetPluginLimits",
        responses=problem_responses(403, 404),
    )
    async def reset_plugin_limits(caller: OperatorCaller, slug: Slug) -> None:  # pyright: ignore[reportUnusedFunction]
        """Take them back. For operators."""
        await operating.set_limits("plugin", slug, None, caller.subject)

    @routes.put(
        "/limits/installations/{installation_id}",
        operation_id="setInstallationLimits",
        responses=problem_responses(403, 404),
    )
    async def set_installation_limits(  # pyright: ignore[reportUnusedFunction]
        caller: OperatorCaller, installation_id: str, body: LimitOverride
    ) -> LimitsOut:
        """Set limits of one installation's calls, from the next call on. For operators."""
        await operating.set_limits("installation", installation_id, body.given(), caller.subject)
        return _limits_out(quotas)

    @routes.delete(
        "/limits/installations/{installation_id}",
        status_code=204,
        operation_id="resetInstallationLimits",
        responses=problem_responses(403, 404),
    )
    async def reset_installation_limits(caller: OperatorCaller, installation_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        """Take them back. For operators."""
        await operating.set_limits("installation", installation_id, None, caller.subject)

    return routes


def _quotas_out(quotas: Quotas, tenant_id: str, policy: Policy) -> TenantQuotasOut:
    return TenantQuotasOut(
        tenant_id=tenant_id, plan=policy.plan, override=quotas.override_of(tenant_id), tenant=policy.tenant,
        plugin=policy.plugin, plugins=policy.plugins,
    )  # fmt: skip


def _limits_out(quotas: Quotas) -> LimitsOut:
    book = quotas.book
    return LimitsOut(
        defaults=book.defaults,
        ceilings=book.ceilings,
        plugins={slug: dict(limits) for slug, limits in sorted(book.of_plugins.items())},
        installations={id: dict(limits) for id, limits in sorted(book.of_installations.items())},
    )

"""The organisation's plugins: what runs, with whose consent, what it did; the marketplace; consent and installing."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from corner_shop.extension import DataChoice, PlatformError
from corner_shop.shop.errors import ShopError
from corner_shop.web.guards import ManagerDep, Posted, Visit, VisitDep
from corner_shop.web.rendering import reason_of, redirect, render

__all__ = ["router"]

router = APIRouter()

_DATA: dict[str, DataChoice] = {"keep": "keep", "export": "export", "delete": "delete"}


@router.get("/t/{tenant}/plugins")
async def overview(visit: VisitDep, request: Request, q: str = "") -> Response:
    return await _overview(visit, request, search=q.strip()[:100])


@router.get("/t/{tenant}/plugins/install/{slug}")
async def consent(visit: ManagerDep, request: Request, slug: str) -> Response:
    return await _consent(visit, request, slug)


@router.post("/t/{tenant}/plugins/install/{slug}")
async def install(visit: ManagerDep, request: Request, slug: str, form: Posted) -> Response:
    proposal = await visit.extension.plugins.proposal(visit.tenant_id, slug, form.optional("version"))
    # What was on the page that was consented to, and nothing that another release may have come to ask for since.
    required = [one.name for one in proposal.permissions if not one.is_optional and not one.is_own]
    optional = {one.name for one in proposal.permissions if one.is_optional}
    if any(one.risk == "high" for one in proposal.permissions) and not form.text("understood"):
        return await _consent(visit, request, slug, problem="Tick the box to say that you have read the risks.")
    grants = [*required, *(name for name in form.many("grant") if name in optional)]
    try:
        await visit.extension.plugins.install(visit.tenant_id, slug, proposal.offer.version, grants, visit.caller)
    except PlatformError as error:
        return await _consent(visit, request, slug, problem=reason_of(error))
    return redirect(f"{visit.root}/plugins?done=installed")


@router.get("/t/{tenant}/plugins/{slug}")
async def details(visit: VisitDep, request: Request, slug: str) -> Response:
    plugin = await visit.extension.plugins.installed_one(visit.tenant_id, slug)
    records = await visit.extension.plugins.records(visit.tenant_id, slug)
    return render(request, "plugin.html", visit=visit, plugin=plugin, records=records)


@router.post("/t/{tenant}/plugins/{slug}/activate")
async def activate(visit: ManagerDep, request: Request, slug: str, form: Posted) -> Response:
    try:
        await visit.extension.plugins.activate(visit.tenant_id, slug, visit.caller)
    except PlatformError as error:
        return await _overview(visit, request, problem=reason_of(error))
    return redirect(f"{visit.root}/plugins?done=activated")


@router.post("/t/{tenant}/plugins/{slug}/deactivate")
async def deactivate(visit: ManagerDep, request: Request, slug: str, form: Posted) -> Response:
    try:
        await visit.extension.plugins.deactivate(visit.tenant_id, slug, visit.caller)
    except PlatformError as error:
        return await _overview(visit, request, problem=reason_of(error))
    return redirect(f"{visit.root}/plugins?done=deactivated")


@router.post("/t/{tenant}/plugins/{slug}/uninstall")
async def uninstall(visit: ManagerDep, request: Request, slug: str, form: Posted) -> Response:
    data = _DATA.get(form.text("data"))
    if data is None:
        raise ShopError("Choose what happens to the plugin's data.")
    try:
        await visit.extension.plugins.uninstall(visit.tenant_id, slug, data, visit.caller)
    except PlatformError as error:
        return await _overview(visit, request, problem=reason_of(error))
    return redirect(f"{visit.root}/plugins?done=uninstalled")


async def _overview(visit: Visit, request: Request, *, search: str = "", problem: str = "") -> Response:
    plugins = visit.extension.plugins
    return render(
        request,
        "plugins.html",
        visit=visit,
        status=409 if problem else 200,
        installed=await plugins.installed(visit.tenant_id),
        offers=await plugins.offers(visit.tenant_id, search),
        records=await plugins.records(visit.tenant_id),
        search=search,
        problem=problem,
        plugin="",
    )


async def _consent(visit: Visit, request: Request, slug: str, *, problem: str = "") -> Response:
    proposal = await visit.extension.plugins.proposal(visit.tenant_id, slug)
    risks = {"high": 0, "medium": 1, "low": 2}
    permissions = sorted(
        proposal.permissions, key=lambda one: (one.is_own, one.is_optional, risks.get(one.risk, 0), one.name)
    )
    return render(
        request,
        "consent.html",
        visit=visit,
        status=409 if problem else 200,
        proposal=proposal,
        offer=proposal.offer,
        permissions=permissions,
        is_risky=any(one.risk == "high" for one in permissions),
        problem=problem,
        plugin="",
    )

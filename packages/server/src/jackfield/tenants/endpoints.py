"""`/api/me`, and what operators do with tenants and their tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from jackfield.http import (
    AdminCaller,
    Caller,
    MemberCaller,
    OperatorCaller,
    Page,
    PageParams,
    problem_responses,
    require,
)
from jackfield.tenants.errors import MemberMissingError
from jackfield.tenants.schemas import (
    IssuedTokenOut,
    MemberOut,
    MeOut,
    MyChange,
    NewTenant,
    NewToken,
    TenantChange,
    TenantOut,
    TokenOut,
)
from jackfield.tenants.service import TenantService

__all__ = ["router"]

AnyCaller = Annotated[Caller, Depends(require())]


def router(service: TenantService) -> APIRouter:
    """Endpoints over the service."""
    routes = APIRouter(prefix="/api", tags=["tenants"])

    @routes.get("/me", operation_id="me", responses=problem_responses())
    async def me(caller: AnyCaller) -> MeOut:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """Who the token stands for."""
        tenant = member = None
        if caller.tenant_id is not None:
            tenant = TenantOut.model_validate(await service.tenant(caller.tenant_id))
            if caller.member_id is not None:
                member = MemberOut.model_validate(await service.member(caller.tenant_id, caller.member_id))
        return MeOut(role=caller.role, tenant=tenant, member=member, publisher_id=caller.publisher_id)

    @routes.put("/me/locale", operation_id="setMyLocale", responses=problem_responses(403, 404))
    async def set_my_locale(caller: MemberCaller, body: MyChange) -> MemberOut:  # pyright: ignore[reportUnusedFunction]
        """Choose the language that plugins and notifications speak to you."""
        if caller.member_id is None:
            raise MemberMissingError("This token stands for a program, which has no language of its own.")
        return MemberOut.model_validate(await service.set_locale(caller.tenant, caller.member_id, body.locale))

    @routes.patch("/tenant", operation_id="describeTenant", responses=problem_responses(403, 404))
    async def describe_tenant(caller: AdminCaller, body: TenantChange) -> TenantOut:  # pyright: ignore[reportUnusedFunction]
        """Set the tenant's time zone and language. For owners and admins."""
        return TenantOut.model_validate(
            await service.describe(caller.tenant, timezone=body.timezone, locale=body.locale, actor=caller.subject)
        )

    @routes.get("/tenants", operation_id="listTenants", responses=problem_responses(403))
    async def list_tenants(_caller: OperatorCaller, page: PageParams) -> Page[TenantOut]:  # pyright: ignore[reportUnusedFunction]
        """All tenants, by id. For operators."""
        found = await service.tenants(page)
        return Page[TenantOut](
            items=[TenantOut.model_validate(tenant) for tenant in found.items], next_cursor=found.next_cursor
        )

    @routes.post("/tenants", status_code=201, operation_id="createTenant", responses=problem_responses(403, 409))
    async def create_tenant(caller: OperatorCaller, body: NewTenant) -> TenantOut:  # pyright: ignore[reportUnusedFunction]
        """Make a tenant. For operators."""
        tenant = await service.create_tenant(body.name, tenant_id=body.id, plan=body.plan, actor=caller.subject)
        return TenantOut.model_validate(tenant)

    @routes.post(
        "/tenants/{tenant_id}/tokens",
        status_code=201,
        operation_id="issueToken",
        responses=problem_responses(403, 404),
    )
    async def issue_token(  # pyright: ignore[reportUnusedFunction]
        caller: OperatorCaller, tenant_id: str, body: NewToken, response: Response
    ) -> IssuedTokenOut:
        """Issue a token to a tenant. The answer is the only place where it is shown. For operators."""
        # Nobody may store the answer, our own store of idempotent answers included.
        response.headers["Cache-Control"] = "no-store"
        issued = await service.issue_token(
            body.role,
            tenant_id=tenant_id,
            member_id=body.member_id,
            name=body.name,
            lifetime=None if body.expires_in_s is None else timedelta(seconds=body.expires_in_s),
            actor=caller.subject,
        )
        return IssuedTokenOut(token=issued.plaintext, **TokenOut.model_validate(issued.token).model_dump())

    @routes.get("/tenants/{tenant_id}/tokens", operation_id="listTokens", responses=problem_responses(403, 404))
    async def list_tokens(_caller: OperatorCaller, tenant_id: str, page: PageParams) -> Page[TokenOut]:  # pyright: ignore[reportUnusedFunction]
        """A tenant's tokens, the newest first. For operators."""
        await service.tenant(tenant_id)
        found = await service.tokens(tenant_id, page)
        return Page[TokenOut](
            items=[TokenOut.model_validate(token) for token in found.items], next_cursor=found.next_cursor
        )

    @routes.delete(
        "/tenants/{tenant_id}/tokens/{token_id}",
        status_code=204,
        operation_id="revokeToken",
        responses=problem_responses(403, 404),
    )
    async def revoke_token(caller: OperatorCaller, tenant_id: str, token_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        """Revoke a token. For operators."""
        await service.revoke(token_id, tenant_id=tenant_id, actor=caller.subject)

    return routes

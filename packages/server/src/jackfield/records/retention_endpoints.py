"""`/api/retention`: for how long records are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from jackfield.http import AdminCaller, Caller, OperatorCaller, problem_responses, require
from jackfield.records.retention import Retention

__all__ = ["retention_router"]

TenantId = Annotated[str, Path(max_length=64)]
Reader = Annotated[Caller, Depends(require("owner", "admin"))]


class KeptOut(BaseModel):
    """For how long a kind of record is kept."""

    model_config = ConfigDict(from_attributes=True)

    kind: str = Field(examples=["invocations"])
    says: str = Field(examples=["What ran, and how it ended"])
    days: int | None = Field(description="Null: for ever", examples=[30])
    platform_days: int | None = Field(description="Unless the tenant has its own wish", examples=[30])
    is_own: bool = Field(description="Whether the tenant has")
    shortest: int = Field(description="Days that it may wish for at least")
    longest: int | None = Field(description="At most, by its plan; null: any number")


class RetentionOut(BaseModel):
    """All kinds."""

    kinds: list[KeptOut]


class RetentionIn(BaseModel):
    """A tenant's wish."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"days": 7}]})

    days: int | None = Field(ge=1, le=36_500, description="Null: as the platform does for all")


class RetentionStateOut(BaseModel):
    """When a kind was last gone through, in all tenants."""

    model_config = ConfigDict(from_attributes=True)

    kind: str
    started_at: datetime | None
    finished_at: datetime | None
    removed: int = Field(description="Rows that went the last time")
    total: int = Field(description="Rows that ever went")
    error: str | None


class RetentionStatesOut(BaseModel):
    """All kinds."""

    kinds: list[RetentionStateOut]


def retention_router(retention: Retention, require_tenant: Callable[[str], Awaitable[object]]) -> APIRouter:
    """Endpoints over retention.

    Args:
        require_tenant: Raises `MissingError` for one that is not there.
    """
    routes = APIRouter(prefix="/api", tags=["records"])

    @routes.get("/retention", operation_id="getRetention", responses=problem_responses(403))
    async def get_retention(caller: Reader) -> RetentionOut:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """For how long each kind of record of the caller's tenant is kept, and what it may wish for."""
        return RetentionOut(kinds=[KeptOut.model_validate(kept) for kept in await retention.of(caller.tenant)])

    @routes.put("/retention/{kind}", operation_id="setRetention", responses=problem_responses(403, 404, 409))
    async def set_retention(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller, kind: Annotated[str, Path(max_length=32)], body: RetentionIn
    ) -> KeptOut:
        """Keep a kind for another time than the platform does: shorter, or longer where the plan allows it. The audit
        trail is never kept for a shorter time."""
        return KeptOut.model_validate(await retention.set(caller.tenant, kind, body.days, caller.subject))

    @routes.get(
        "/tenants/{tenant_id}/retention", operation_id="getTenantRetention", responses=problem_responses(403, 404)
    )
    async def get_tenant_retention(_caller: OperatorCaller, tenant_id: TenantId) -> RetentionOut:  # pyright: ignore[reportUnusedFunction]
        """For how long each kind of record of a tenant is kept. For operators."""
        await require_tenant(tenant_id)
        return RetentionOut(kinds=[KeptOut.model_validate(kept) for kept in await retention.of(tenant_id)])

    @routes.put(
        "/tenants/{tenant_id}/retention/{kind}",
        operation_id="setTenantRetention",
        responses=problem_responses(403, 404, 409),
    )
    async def set_tenant_retention(  # pyright: ignore[reportUnusedFunction]
        caller: OperatorCaller, tenant_id: TenantId, kind: Annotated[str, Path(max_length=32)], body: RetentionIn
    ) -> KeptOut:
        """The same for a tenant, which finds it in its audit trail; what its plan allows holds for operators, too."""
        await require_tenant(tenant_id)
        return KeptOut.model_validate(await retention.set(tenant_id, kind, body.days, caller.subject))

    @routes.get("/operators/retention", operation_id="getRetentionStates", responses=problem_responses(403))
    async def get_states(_caller: OperatorCaller) -> RetentionStatesOut:  # pyright: ignore[reportUnusedFunction]
        """When each kind was last gone through, and what went. For operators."""
        return RetentionStatesOut(kinds=[RetentionStateOut.model_validate(state) for state in await retention.states()])

    return routes

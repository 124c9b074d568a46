"""`/api/deliveries`: what became of events, schedules and webhooks at all plugins of a tenant, and trying again; for
operators, `/api/operators/deliveries`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jackfield.http import AdminCaller, MemberCaller, OperatorCaller, Page, PageParams, problem_responses
from jackfield.jobs import Deliveries, DeliveryFilter, DeliveryOut, OperatorDeliveryOut
from jackfield.lifecycle.errors import ReplayUnclearError
from jackfield.lifecycle.every_delivery import EveryDelivery
from jackfield.lifecycle.service import Lifecycle

__all__ = ["delivery_log_router", "every_delivery_router"]

_MOST = 10_000
_State = Annotated[str | None, Query(max_length=16, description="Only those in this state")]
_Event = Annotated[str | None, Query(max_length=128)]
_Handler = Annotated[str | None, Query(max_length=255)]
_Code = Annotated[str | None, Query(max_length=128, description="Of the error")]
_Since = Annotated[AwareDatetime | None, Query(description="Made then or later")]
_Until = Annotated[AwareDatetime | None, Query(description="Made then or before")]
_Slug = Annotated[str, Field(max_length=129, description="A plugin, as `slug` or `slug@instance`")]


class ReplayIn(BaseModel):
    """Which deliveries to make once more: `ids`, or what all of them have in common."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=500)] | None = None
    plugin: _Slug | None = None
    state: Literal["dead", "skipped", "done"] = Field(default="dead", description="Without `ids`: only those")
    event: str | None = Field(default=None, max_length=128)
    handler: str | None = Field(default=None, max_length=255)
    code: str | None = Field(default=None, max_length=128, description="Of the error", examples=["plugin-error"])
    since: AwareDatetime | None = Field(default=None, description="Only those that ended then or later")
    until: AwareDatetime | None = Field(
        default=None, description="Only those that ended then or before. What an answer says, to go on from there"
    )
    limit: int = Field(default=_MOST, ge=1, le=_MOST, description="At most so many in one request, the oldest first")
    dry_run: bool = Field(default=False, description="Only count")


class ReplayOut(BaseModel):
    """What is delivered once more, or would be."""

    dry_run: bool
    matched: int = Field(description="How many there were before this")
    replayed: int
    remaining: int = Field(description="Say the same again with `until`, as long as there are any")
    by_state: dict[str, int] = Field(description="Those that matched")
    until: datetime


def delivery_log_router(lifecycle: Lifecycle, deliveries: Deliveries) -> APIRouter:
    """Endpoints over all deliveries of a tenant. Reading is for every member, replaying for owners and admins."""
    routes = APIRouter(prefix="/api/deliveries", tags=["deliveries"], responses=problem_responses(403))

    async def receivers(tenant_id: str, plugin: str | None) -> tuple[str, ...] | None:
        if plugin is None:
            return None
        slug, _, instance = plugin.partition("@")
        return ((await lifecycle.get(tenant_id, slug, instance=instance or "default")).id,)

    @routes.get("", operation_id="listDeliveries", responses=problem_responses(404))
    async def list_deliveries(  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        caller: MemberCaller,
        page: PageParams,
        plugin: Annotated[str | None, Query(max_length=129, description="To this plugin")] = None,
        state: _State = None,
        event: _Event = None,
        handler: _Handler = None,
        code: _Code = None,
        since: _Since = None,
        until: _Until = None,
    ) -> Page[DeliveryOut]:
        """Events, firings and webhooks on their way, and what became of them, the latest first."""
        wanted = DeliveryFilter((), await receivers(caller.tenant, plugin), state, event, handler, code, since, until)
        found = (await deliveries.find(caller.tenant, wanted, page)).map(DeliveryOut.model_validate)
        return Page[DeliveryOut](items=found.items, next_cursor=found.next_cursor)

    @routes.get("/{delivery_id}", operation_id="getDelivery", responses=problem_responses(404))
    async def get_delivery(caller: MemberCaller, delivery_id: str) -> DeliveryOut:  # pyright: ignore[reportUnusedFunction]
        """One delivery. The calls that it led to are in the plugin's invocations, by `delivery_id`."""
        return DeliveryOut.model_validate(await deliveries.get(caller.tenant, delivery_id))

    @routes.post("/replay", operation_id="replayDeliveries", responses=problem_responses(404))
    async def replay(caller: AdminCaller, body: ReplayIn) -> ReplayOut:  # pyright: ignore[reportUnusedFunction]
        """Deliver once more, each with its id, in its place in the order, with a full number of attempts.

        What is under way is left alone, so that a request that is sent twice does it once.
        """
        if body.ids is None and body.plugin is None and body.event is None and body.since is None:
            raise ReplayUnclearError("it is not said which deliveries are meant")
        until = body.until or datetime.now(UTC)
        state = body.state if body.ids is None or "state" in body.model_fields_set else None
        wanted = DeliveryFilter(
            tuple(body.ids or ()), await receivers(caller.tenant, body.plugin), state, body.event, body.handler,
            body.code, ended_since=body.since, ended_until=until,
        )  # fmt: skip
        by_state = {} if body.ids == [] else await deliveries.count(caller.tenant, wanted)
        matched, replayed = sum(by_state.values()), 0
        if matched and not body.dry_run:
            replayed = await deliveries.replay_matching(caller.tenant, wanted, limit=body.limit)
            await lifecycle.note(
                caller.tenant, caller.subject, "delivery.replay", f"{replayed} deliveries", plugin=body.plugin or ""
            )
        return ReplayOut(
            dry_run=body.dry_run, matched=matched, replayed=replayed, remaining=max(0, matched - replayed),
            by_state=by_state, until=until,
        )  # fmt: skip

    return routes


def every_delivery_router(every: EveryDelivery) -> APIRouter:
    """Over all tenants, for operators."""
    routes = APIRouter(prefix="/api/operators", tags=["operations"])

    @routes.get("/deliveries", operation_id="listAllDeliveries", responses=problem_responses(403))
    async def list_all_deliveries(  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        _caller: OperatorCaller,
        page: PageParams,
        tenant: Annotated[str | None, Query(max_length=64, description="Only this tenant's")] = None,
        plugin: Annotated[
            str | None, Query(max_length=129, description="To this plugin: `slug`, or `slug@instance`")
        ] = None,
        state: _State = None,
        event: _Event = None,
        handler: _Handler = None,
        code: _Code = None,
        since: _Since = None,
        until: _Until = None,
    ) -> Page[OperatorDeliveryOut]:
        """Deliveries of all tenants, the latest first, without what was sent and what plugins said. For operators.

        A page looks at a bounded number of them: it may be short, and even empty, and have a next one all the same.
        """
        wanted = DeliveryFilter((), None, state, event, handler, code, since, until)
        found = await every.list(wanted, page, tenant_id=tenant, plugin=plugin)
        return Page[OperatorDeliveryOut](
            items=[OperatorDeliveryOut.model_validate(one) for one in found.items], next_cursor=found.next_cursor
        )

    return routes

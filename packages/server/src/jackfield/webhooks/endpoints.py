"""`/api/webhook-endpoints`: where a tenant's events go. For owners and admins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from jackfield.http import AdminCaller, Page, PageParams, problem_responses
from jackfield.jobs import Deliveries, DeliveryMissingError, DeliveryOut
from jackfield.jobs.models import Delivery
from jackfield.webhooks.schemas import (
    AttemptOut,
    EndpointChange,
    EndpointDeliveryOut,
    EndpointIn,
    EndpointOut,
    EndpointSecretOut,
    ReplayedOut,
    ReplayIn,
    RotateIn,
    SecretOut,
)
from jackfield.webhooks.service import Endpoints

__all__ = ["router"]

Id = Annotated[str, Path(max_length=64, description="The endpoint's id")]


def router(endpoints: Endpoints, deliveries: Deliveries) -> APIRouter:
    """Endpoints over the service."""
    routes = APIRouter(prefix="/api/webhook-endpoints", tags=["webhooks"], responses=problem_responses(403, 404))

    async def shown(tenant_id: str, rows: Sequence[Delivery]) -> list[EndpointDeliveryOut]:
        attempts = await endpoints.attempts(tenant_id, [row.id for row in rows])
        return [
            EndpointDeliveryOut(
                **DeliveryOut.model_validate(row).model_dump(),
                attempts=[AttemptOut.model_validate(one) for one in attempts[row.id]],
            )
            for row in rows
        ]

    async def own(tenant_id: str, endpoint_id: str, delivery_id: str) -> Delivery:
        row = await deliveries.get(tenant_id, delivery_id)
        if row.installation_id != endpoint_id:
            raise DeliveryMissingError("There is no such delivery.")
        return row

    @routes.get("", operation_id="listWebhookEndpoints")
    async def list_endpoints(caller: AdminCaller) -> Page[EndpointOut]:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """All endpoints, the oldest first."""
        rows = await endpoints.list(caller.tenant)
        return Page[EndpointOut](items=[EndpointOut.model_validate(row) for row in rows])

    @routes.post("", status_code=201, operation_id="addWebhookEndpoint", responses=problem_responses(403, 409))
    async def add(caller: AdminCaller, body: EndpointIn, response: Response) -> EndpointSecretOut:  # pyright: ignore[reportUnusedFunction]
        """Have events sent to an address. The secret that they are signed with is in this answer alone."""
        response.headers["Cache-Control"] = "no-store"
        row, secret = await endpoints.add(
            caller.tenant, body.url, body.events, caller.subject, description=body.description,
            is_active=body.is_active,
        )  # fmt: skip
        return EndpointSecretOut(**EndpointOut.model_validate(row).model_dump(), secret=secret)

    @routes.get("/{endpoint_id}", operation_id="getWebhookEndpoint")
    async def get(caller: AdminCaller, endpoint_id: Id) -> EndpointOut:  # pyright: ignore[reportUnusedFunction]
        """One endpoint."""
        return EndpointOut.model_validate(await endpoints.get(caller.tenant, endpoint_id))

    @routes.patch("/{endpoint_id}", operation_id="changeWebhookEndpoint")
    async def change(caller: AdminCaller, endpoint_id: Id, body: EndpointChange) -> EndpointOut:  # pyright: ignore[reportUnusedFunction]
        """Change it; what is left out stays. Switched off, what is waiting for it is skipped and can be replayed."""
        row = await endpoints.change(
            caller.tenant, endpoint_id, caller.subject, url=body.url, events=body.events,
            description=body.description, is_active=body.is_active,
        )  # fmt: skip
        return EndpointOut.model_validate(row)

    @routes.delete("/{endpoint_id}", status_code=204, operation_id="removeWebhookEndpoint")
    async def remove(caller: AdminCaller, endpoint_id: Id) -> None:  # pyright: ignore[reportUnusedFunction]
        """Remove it with its log."""
        await endpoints.remove(caller.tenant, endpoint_id, caller.subject)

    @routes.post("/{endpoint_id}/rotate", operation_id="rotateWebhookEndpointSecret")
    async def rotate(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller, endpoint_id: Id, response: Response, body: RotateIn | None = None
    ) -> SecretOut:
        """A new secret, in this answer alone. For the overlap, everything carries the signatures of both."""
        response.headers["Cache-Control"] = "no-store"
        overlap = timedelta(seconds=(body or RotateIn()).overlap_s)
        return SecretOut(secret=await endpoints.rotate(caller.tenant, endpoint_id, overlap, caller.subject))

    @routes.post("/{endpoint_id}/test", operation_id="testWebhookEndpoint")
    async def test(caller: AdminCaller, endpoint_id: Id) -> AttemptOut:  # pyright: ignore[reportUnusedFunction]
        """Send one webhook of the type `webhook.test` now; how that went."""
        return AttemptOut.model_validate(await endpoints.test(caller.tenant, endpoint_id))

    @routes.get("/{endpoint_id}/deliveries", operation_id="listWebhookEndpointDeliveries")
    async def list_deliveries(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller,
        endpoint_id: Id,
        page: PageParams,
        state: Annotated[str | None, Query(description="pending, running, done, dead or skipped")] = None,
        event: Annotated[str | None, Query(max_length=128)] = None,
    ) -> Page[EndpointDeliveryOut]:
        """What was sent there, and what was answered, the latest first."""
        await endpoints.get(caller.tenant, endpoint_id)
        found = await deliveries.list(caller.tenant, endpoint_id, page, state, event=event)
        return Page[EndpointDeliveryOut](items=await shown(caller.tenant, found.items), next_cursor=found.next_cursor)

    @routes.get("/{endpoint_id}/deliveries/{delivery_id}", operation_id="getWebhookEndpointDelivery")
    async def get_delivery(caller: AdminCaller, endpoint_id: Id, delivery_id: str) -> EndpointDeliveryOut:  # pyright: ignore[reportUnusedFunction]
        """One delivery with all its attempts."""
        return (await shown(caller.tenant, [await own(caller.tenant, endpoint_id, delivery_id)]))[0]

    @routes.post(
        "/{endpoint_id}/deliveries/{delivery_id}/replay", status_code=202,
        operation_id="replayWebhookEndpointDelivery", responses=problem_responses(403, 404, 409),
    )  # fmt: skip
    async def replay_one(caller: AdminCaller, endpoint_id: Id, delivery_id: str) -> EndpointDeliveryOut:  # pyright: ignore[reportUnusedFunction]
        """Send it once more, under the same `webhook-id`."""
        await endpoints.active(caller.tenant, endpoint_id)
        await own(caller.tenant, endpoint_id, delivery_id)
        replayed = await deliveries.replay(caller.tenant, delivery_id)
        await endpoints.note_replay(caller.tenant, endpoint_id, delivery_id, caller.subject)
        return (await shown(caller.tenant, [replayed]))[0]

    @routes.post(
        "/{endpoint_id}/replay", status_code=202, operation_id="replayWebhookEndpoint",
        responses=problem_responses(403, 404, 409),
    )  # fmt: skip
    async def replay(caller: AdminCaller, endpoint_id: Id, body: ReplayIn) -> ReplayedOut:  # pyright: ignore[reportUnusedFunction]
        """Send once more all that failed since a time, the oldest first."""
        since = body.since if body.since.tzinfo else body.since.replace(tzinfo=UTC)
        return ReplayedOut(deliveries=await endpoints.replay(caller.tenant, endpoint_id, since, caller.subject))

    return routes

"""`/api/webhooks/{token}`, where webhooks come in; `/api/plugins/{slug}/webhooks`, where admins learn the addresses."""

from __future__ import annotations

from datetime import datetime, timedelta

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from jackfield.extension_points.routes import RouteRequest
from jackfield.extension_points.webhooks import Webhooks
from jackfield.http import AdminCaller, Page, PageParams, problem_responses, read_body
from jackfield.jobs import Deliveries, DeliveryOut
from jackfield.lifecycle import Lifecycle, Plugin
from jackfield.webhooks import EVENT_PREFIX, Addresses, RotateIn, WebhookUnknownError

__all__ = ["webhooks_router"]


class TakenOut(BaseModel):
    """A webhook was taken, and will reach its plugin."""

    delivery_id: str
    duplicate: bool = Field(description="It had come in before, and is delivered once")


class WebhookAddressOut(BaseModel):
    """A webhook that a plugin takes."""

    name: str = Field(examples=["payment"])
    verify: str = Field(examples=["stripe"])
    secret: str | None = Field(description="The configuration field with the sender's secret")
    url: str | None = Field(description="Shown once, to whoever asks first; a new one is made by `rotate`")
    made_at: datetime | None
    old_until: datetime | None = Field(description="Until when the address before this one is good")
    received_at: datetime | None = Field(description="When one came in last, to the minute")
    refused_at: datetime | None = Field(description="When one was refused last, to the minute")
    refusal: str | None = Field(description="Why", examples=["signature-mismatch"])


class RotatedOut(BaseModel):
    """A new address."""

    url: str


def webhooks_router(
    lifecycle: Lifecycle, webhooks: Webhooks, addresses: Addresses, deliveries: Deliveries
) -> APIRouter:
    """Anybody who knows an address may send to it; the rest is for admins."""
    routes = APIRouter(tags=["webhooks"])

    @routes.post(
        "/api/webhooks/{token}", status_code=202, operation_id="receiveWebhook",
        responses=problem_responses(404, 413, 429, 503),
    )  # fmt: skip
    async def receive(token: str, request: Request, response: Response) -> TakenOut:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """Send a webhook to a plugin. When this has answered, it is kept; the plugin has no say in the answer."""
        response.headers["Cache-Control"] = "no-store"
        address = await webhooks.address(token)
        body = await read_body(request, webhooks.settings.body_bytes)
        taken = await webhooks.receive(
            address, RouteRequest("POST", "", dict(request.query_params), dict(request.headers), body)
        )
        return TakenOut(delivery_id=taken.delivery_id, duplicate=taken.is_duplicate)

    base = "/api/plugins/{slug}/webhooks"

    @routes.get(base, operation_id="listPluginWebhooks", responses=problem_responses(403, 404))
    async def list_webhooks(caller: AdminCaller, plugin: Plugin, response: Response) -> Page[WebhookAddressOut]:  # pyright: ignore[reportUnusedFunction]
        """Webhooks that the plugin takes. An address that nobody has seen is shown, and never again."""
        response.headers["Cache-Control"] = "no-store"
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        shown = await addresses.show(caller.tenant, installed.id)
        rows = await addresses.list(caller.tenant, installed.id)
        items: list[WebhookAddressOut] = []
        for webhook in installed.manifest.webhooks:
            row = rows.get(webhook.name)
            items.append(
                WebhookAddressOut(
                    name=webhook.name, verify=webhook.verify, secret=webhook.secret, url=shown.get(webhook.name),
                    made_at=row and row.made_at, old_until=row and row.old_until, received_at=row and row.received_at,
                    refused_at=row and row.refused_at, refusal=row and row.refusal,
                )
            )  # fmt: skip
        return Page[WebhookAddressOut](items=items)

    @routes.post(base + "/{name}/rotate", operation_id="rotatePluginWebhook", responses=problem_responses(403, 404))
    async def rotate(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller, plugin: Plugin, name: str, response: Response, body: RotateIn | None = None
    ) -> RotatedOut:
        """A new address, in this answer alone. The old one is good for the overlap."""
        response.headers["Cache-Control"] = "no-store"
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        if name not in {webhook.name for webhook in installed.manifest.webhooks}:
            raise WebhookUnknownError(f"the plugin has no webhook {name[:64]!r}")
        overlap = timedelta(seconds=(body or RotateIn()).overlap_s)
        return RotatedOut(url=await addresses.rotate(caller.tenant, installed.id, name, overlap, caller.subject))

    @routes.get(
        base + "/{name}/deliveries", operation_id="listPluginWebhookDeliveries", responses=problem_responses(403, 404)
    )
    async def history(caller: AdminCaller, plugin: Plugin, name: str, page: PageParams) -> Page[DeliveryOut]:  # pyright: ignore[reportUnusedFunction]
        """What came in and what became of it, the latest first."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        found = await deliveries.list(caller.tenant, installed.id, page, event=EVENT_PREFIX + name)
        return Page[DeliveryOut](
            items=[DeliveryOut.model_validate(row) for row in found.items], next_cursor=found.next_cursor
        )

    return routes

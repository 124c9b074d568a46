"""HTTP for notifications: a member's list, and what they want."""

from __future__ import annotations

import html
import re
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import HTMLResponse

from jackfield.http import Caller, MemberCaller, PageParams, problem_responses
from jackfield.notifications.errors import MemberOnlyError
from jackfield.notifications.preferences import CHANNELS, DEFAULTS, Channel
from jackfield.notifications.schemas import (
    MarkedOut,
    NotificationOut,
    NotificationsOut,
    PreferencesIn,
    PreferencesOut,
    WebhookIn,
    WebhookOut,
)
from jackfield.notifications.service import Notifications

__all__ = ["router"]

_SLUG = re.compile(r"[a-z][a-z0-9-]{0,63}\Z")
_SAFE = {
    "cache-control": "no-store", "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
}  # fmt: skip
Token = Annotated[str, Query(max_length=64)]


def _member(caller: Caller) -> str:
    if caller.member_id is None:
        raise MemberOnlyError("this token stands for a program, which is told nothing")
    return caller.member_id


def router(notifications: Notifications) -> APIRouter:
    """Endpoints over the service."""
    routes = APIRouter(prefix="/api/notifications", tags=["notifications"])

    @routes.get("", operation_id="listNotifications", responses=problem_responses(403, 409))
    async def list_notifications(  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        caller: MemberCaller, page: PageParams, *, unread: bool = False
    ) -> NotificationsOut:
        """Your notifications, the latest first, and how many are unread."""
        found, count = await notifications.list(caller.tenant, _member(caller), page, unread_only=unread)
        items = [NotificationOut.model_validate(row) for row in found.items]
        return NotificationsOut(items=items, next_cursor=found.next_cursor, unread=count)

    @routes.post("/read", operation_id="readNotifications", responses=problem_responses(403, 409))
    async def read_all(  # pyright: ignore[reportUnusedFunction]
        caller: MemberCaller,
        up_to: Annotated[str | None, Query(max_length=64, description="Not those that came after this one")] = None,
    ) -> MarkedOut:
        """All are read."""
        return MarkedOut(marked=await notifications.mark_all(caller.tenant, _member(caller), up_to=up_to))

    @routes.get("/preferences", operation_id="getNotificationPreferences", responses=problem_responses(403, 409))
    async def get_preferences(caller: MemberCaller) -> PreferencesOut:  # pyright: ignore[reportUnusedFunction]
        """What you want to be told, and how."""
        return await _preferences(notifications, caller.tenant, _member(caller))

    @routes.put("/preferences", operation_id="setNotificationPreferences", responses=problem_responses(403, 409))
    async def set_preferences(caller: MemberCaller, body: PreferencesIn) -> PreferencesOut:  # pyright: ignore[reportUnusedFunction]
        """Choose channels, for all plugins or for one; mute a plugin."""
        member = _member(caller)
        choices: list[tuple[str, Channel, bool]] = [("", channel, is_on) for channel, is_on in body.channels.items()]
        for plugin, given in body.plugins.items():
            if not _SLUG.match(plugin):
                continue
            if given is None:
                await notifications.forget_choices(caller.tenant, member, plugin)
            elif given == "muted":
                choices.extend((plugin, channel, False) for channel in CHANNELS)
            else:
                choices.extend((plugin, channel, is_on) for channel, is_on in given.items())
        await notifications.choose(caller.tenant, member, choices)
        return await _preferences(notifications, caller.tenant, member)

    @routes.put("/webhook", operation_id="setNotificationWebhook", responses=problem_responses(403, 409))
    async def set_webhook(caller: MemberCaller, body: WebhookIn, response: Response) -> WebhookOut:  # pyright: ignore[reportUnusedFunction]
        """Have your notifications sent to an address of yours. The secret is shown in this answer alone."""
        response.headers["Cache-Control"] = "no-store"
        secret = await notifications.set_webhook(caller.tenant, _member(caller), body.url)
        return WebhookOut(url=body.url, secret=secret)

    @routes.delete(
        "/webhook", status_code=204, operation_id="dropNotificationWebhook", responses=problem_responses(403, 404, 409)
    )
    async def drop_webhook(caller: MemberCaller) -> None:  # pyright: ignore[reportUnusedFunction]
        """Have no more sent."""
        await notifications.drop_webhook(caller.tenant, _member(caller))

    @routes.get("/unsubscribe", operation_id="askToUnsubscribe", include_in_schema=False)
    async def ask(token: Token) -> HTMLResponse:  # pyright: ignore[reportUnusedFunction]
        """A page that asks: what merely looks at links must end nothing."""
        _, _, plugin = await notifications.subscription(token)
        return HTMLResponse(
            "<!doctype html><title>Unsubscribe</title>"
            f"<p>No more e-mails from {html.escape(plugin)}?</p>"
            f'<form method="post"><button type="submit">Unsubscribe</button></form>',
            headers=_SAFE,
        )

    @routes.post("/unsubscribe", operation_id="unsubscribe", responses=problem_responses(404))
    async def unsubscribe(token: Token) -> HTMLResponse:  # pyright: ignore[reportUnusedFunction]
        """End a plugin's e-mails, by the link in one of them (RFC 8058). Takes no other credentials."""
        plugin = await notifications.unsubscribe(token)
        return HTMLResponse(
            f"<!doctype html><title>Unsubscribed</title><p>You get no more e-mails from {html.escape(plugin)}.</p>",
            headers=_SAFE,
        )

    @routes.post(
        "/{notification_id}/read", status_code=204, operation_id="readNotification",
        responses=problem_responses(403, 404, 409),
    )  # fmt: skip
    async def read_one(caller: MemberCaller, notification_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        """It is read."""
        await notifications.mark(caller.tenant, _member(caller), notification_id)

    @routes.delete(
        "/{notification_id}/read", status_code=204, operation_id="unreadNotification",
        responses=problem_responses(403, 404, 409),
    )  # fmt: skip
    async def unread_one(caller: MemberCaller, notification_id: str) -> None:  # pyright: ignore[reportUnusedFunction]
        """It is not read after all."""
        await notifications.mark(caller.tenant, _member(caller), notification_id, is_read=False)

    return routes


async def _preferences(notifications: Notifications, tenant_id: str, member_id: str) -> PreferencesOut:
    choices = await notifications.choices(tenant_id, member_id)
    plugins: dict[str, dict[Channel, bool]] = {}
    for (plugin, channel), is_on in sorted(choices.items()):
        if plugin and channel in CHANNELS:
            plugins.setdefault(plugin, {})[channel] = is_on
    return PreferencesOut(
        channels={channel: choices.get(("", channel), DEFAULTS[channel]) for channel in notifications.channels},
        plugins=plugins,
        webhook_url=await notifications.webhook(tenant_id, member_id),
    )

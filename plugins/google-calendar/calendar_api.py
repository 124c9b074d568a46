"""Google Calendar's API, version 3: https://developers.google.com/calendar/api/v3/reference."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jackfield_sdk as jf

if TYPE_CHECKING:
    from jackfield_sdk.capabilities.http import HttpResponse

API = "https://www.googleapis.com/calendar/v3"
_RATE_REASONS = {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"}


class GoogleError(jf.UserError):
    """Google refuses; the code says what it is about."""


class BusyError(jf.UserError):
    """Google has too much to do, or too much from us. Later it will be well."""


def call(
    ctx: jf.Context,
    method: str,
    path: str,
    *,
    params: dict[str, Any] | None = None,
    body: dict[str, Any] | None = None,
    missing_ok: bool = False,
) -> dict[str, Any] | None:
    """One call; None for an answer without content, and for what is not there when that is no mistake.

    Raises:
        GoogleError, BusyError: It could not be done.
    """
    answer = ctx.http.request(
        method, API + path, params=params, json=body, headers=ctx.connections["google"].headers, timeout_s=8
    )
    ctx.metrics.add("api_calls", 1)
    if answer.status == 204:
        return None
    if answer.is_ok:
        return answer.json()
    if missing_ok and answer.status in (404, 410):
        return None
    raise _error(answer.status, _reason(answer))


def event_path(calendar_id: str, event_id: str = "") -> str:
    """The path of a calendar's events, or of one of them."""
    path = f"/calendars/{quote(calendar_id, safe='')}/events"
    return f"{path}/{quote(event_id, safe='')}" if event_id else path


def event_id_of(*parts: str) -> str:
    """An id of ours for an event: the same for the same thing, so that it is never made twice.

    Google takes the digits and letters of base 32 as in RFC 2938, section 3.1.2, in small letters.
    """
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return base64.b32hexencode(digest[:20]).decode().lower()


def put(ctx: jf.Context, calendar_id: str, event_id: str, body: dict[str, Any]) -> None:
    """Make an event under an id of ours, or bring the one that is there up to date."""
    try:
        call(ctx, "POST", event_path(calendar_id), body={"id": event_id, **body})
    except GoogleError as error:
        if error.code != "event-exists":
            raise
        # `confirmed` brings back one that was deleted: its id stays taken for ever.
        call(ctx, "PUT", event_path(calendar_id, event_id), body={"status": "confirmed", **body})


def _reason(answer: HttpResponse) -> tuple[str, str]:
    """What Google's error document says: its reason and its text."""
    try:
        error = answer.json()["error"]
        details = error.get("errors") or [{}]
        return str(details[0].get("reason", "")), str(error.get("message", ""))[:300]
    except (jf.CapabilityError, KeyError, TypeError, AttributeError):
        return "", ""


def _error(status: int, reason: tuple[str, str]) -> jf.UserError:
    name, text = reason
    if status == 401:
        return GoogleError(
            "Google does not accept the connection any more",
            code="google-unauthorized",
            hint="An admin has to connect the Google account again.",
        )
    if status == 429 or status >= 500 or (status == 403 and name in _RATE_REASONS):
        return BusyError(f"Google is busy ({status})", code="google-busy", hint="Try again in a minute.")
    if status == 403:
        return GoogleError(
            f"Google forbids this: {text}", code="google-forbidden", hint="Check who may change the calendar."
        )
    if status in (404, 410):
        return GoogleError("there is no such event or calendar", code="event-not-found", hint="Look with `ListEvents`.")
    if status == 409:
        return GoogleError("there is an event with this id", code="event-exists")
    return GoogleError(f"Google refuses ({status}): {text}", code="google-refused", hint="Check what was given.")

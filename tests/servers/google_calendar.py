"""Google Calendar's API, version 3, as far as plugins of ours use it: one account, its calendars, their events.

Statuses, shapes and reasons are those of https://developers.google.com/calendar/api/guides/errors: an id that was used
once stays taken, a deleted event is `cancelled` and answers 410, times have offsets, pages have tokens.
"""

from __future__ import annotations

import datetime as dt
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

__all__ = ["GoogleCalendar"]

Item = dict[str, Any]
_ID = re.compile(r"[a-v0-9]{5,1024}\Z")


class _Refusal(Exception):  # noqa: N818  # no error of ours: an answer
    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


@dataclass
class GoogleCalendar:
    """The server; `app` is to be served.

    Attributes:
        is_good: Whether an access token is valid now.
        events: Calendar → id → event, deleted ones too.
        refusals: Answered instead, one after the other: status and reason.
        asked: Method and path of each request, in order.
    """

    is_good: Callable[[str], bool]
    events: dict[str, dict[str, Item]] = field(default_factory=lambda: {"primary": {}})
    refusals: list[tuple[int, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def app(self) -> Starlette:
        base = "/calendar/v3"
        one = f"{base}/calendars/{{calendar}}/events/{{event}}"
        return Starlette(
            routes=[
                Route(f"{base}/calendars/{{calendar}}/events", self._answer(self._list), methods=["GET"]),
                Route(f"{base}/calendars/{{calendar}}/events", self._answer(self._insert), methods=["POST"]),
                Route(one, self._answer(self._get), methods=["GET"]),
                Route(one, self._answer(self._replace), methods=["PUT"]),
                Route(one, self._answer(self._patch), methods=["PATCH"]),
                Route(one, self._answer(self._delete), methods=["DELETE"]),
                Route(f"{base}/freeBusy", self._answer(self._free_busy), methods=["POST"]),
            ]
        )

    def shown(self, calendar: str = "primary") -> list[Item]:
        """Events that are not deleted, by their beginning."""
        found = [item for item in self.events[calendar].values() if item["status"] != "cancelled"]
        return sorted(found, key=lambda item: _when(item["start"]))

    def _answer(self, handler: Any) -> Any:
        async def endpoint(request: Request) -> Response:
            self.asked.append(f"{request.method} {request.url.path}")
            try:
                token = request.headers.get("authorization", "").removeprefix("Bearer ")
                if not self.is_good(token):
                    raise _Refusal(401, "authError", "Invalid Credentials")
                if self.refusals:
                    status, reason = self.refusals.pop(0)
                    raise _Refusal(status, reason, reason)
                return await handler(request)
            except _Refusal as refusal:
                error = {"domain": "global", "reason": refusal.reason, "message": refusal.message}
                body = {"error": {"code": refusal.status, "message": refusal.message, "errors": [error]}}
                return JSONResponse(body, refusal.status)

        return endpoint

    def _calendar(self, name: str) -> dict[str, Item]:
        if name not in self.events:
            raise _Refusal(404, "notFound", "Not Found")
        return self.events[name]

    def _event(self, request: Request) -> Item:
        found = self._calendar(request.path_params["calendar"]).get(request.path_params["event"])
        if found is None:
            raise _Refusal(404, "notFound", "Not Found")
        return found

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        first, last = (_time(query[name]) if name in query else None for name in ("timeMin", "timeMax"))
        calendar = request.path_params["calendar"]
        self._calendar(calendar)
        found = [
            item
            for item in self.shown(calendar)
            if (first is None or _when(item["end"]) > first)
            and (last is None or _when(item["start"]) < last)
            and query.get("q", "").lower() in f"{item.get('summary', '')} {item.get('description', '')}".lower()
        ]
        if query.get("orderBy") == "startTime" and query.get("singleEvents") != "true":
            raise _Refusal(400, "badRequest", "The requested ordering is not available for the particular query.")
        start, size = int(query.get("pageToken", 0)), int(query.get("maxResults", 250))
        body: Item = {"kind": "calendar#events", "items": found[start : start + size]}
        if start + size < len(found):
            body["nextPageToken"] = str(start + size)
        return JSONResponse(body)

    async def _insert(self, request: Request) -> Response:
        calendar, body = self._calendar(request.path_params["calendar"]), _checked(await request.json())
        id = body.get("id") or secrets.token_hex(13)
        if not _ID.match(id):
            raise _Refusal(400, "invalid", "Invalid resource id value.")
        if id in calendar:
            raise _Refusal(409, "duplicate", "The requested identifier already exists.")
        calendar[id] = {
            "kind": "calendar#event", "status": "confirmed", **body, "id": id,
            "htmlLink": f"https://www.google.com/calendar/event?eid={id}",
        }  # fmt: skip
        return JSONResponse(calendar[id])

    async def _get(self, request: Request) -> Response:
        return JSONResponse(self._event(request))

    async def _replace(self, request: Request) -> Response:
        found = self._event(request)
        kept = {name: found[name] for name in ("kind", "id", "htmlLink", "status")}
        new = {**kept, **_checked(await request.json())}
        found.clear()
        found.update(new)
        return JSONResponse(found)

    async def _patch(self, request: Request) -> Response:
        found = self._event(request)
        found.update(_checked({**found, **await request.json()}))
        return JSONResponse(found)

    async def _delete(self, request: Request) -> Response:
        found = self._event(request)
        if found["status"] == "cancelled":
            raise _Refusal(410, "deleted", "Resource has been deleted")
        found["status"] = "cancelled"
        return Response(status_code=204)

    async def _free_busy(self, request: Request) -> Response:
        body = await request.json()
        first, last = _time(body["timeMin"]), _time(body["timeMax"])
        calendars: Item = {}
        for wanted in body["items"]:
            if wanted["id"] not in self.events:
                calendars[wanted["id"]] = {"errors": [{"domain": "global", "reason": "notFound"}], "busy": []}
                continue
            calendars[wanted["id"]] = {
                "busy": [
                    {"start": item["start"]["dateTime"], "end": item["end"]["dateTime"]}
                    for item in self.shown(wanted["id"])
                    if _when(item["end"]) > first and _when(item["start"]) < last
                ]
            }
        return JSONResponse({"kind": "calendar#freeBusy", "calendars": calendars})


def _checked(body: Item) -> Item:
    for name in ("start", "end"):
        if name not in body:
            raise _Refusal(400, "required", f"Missing {name} time.")
        _when(body[name])
    if _when(body["end"]) < _when(body["start"]):
        raise _Refusal(400, "timeRangeEmpty", "The specified time range is empty.")
    return body


def _when(value: Item) -> dt.datetime:
    if "date" in value:
        return dt.datetime.combine(dt.date.fromisoformat(value["date"]), dt.time(), dt.UTC)
    return _time(value["dateTime"])


def _time(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise _Refusal(400, "badRequest", "Bad Request") from None
    if moment.tzinfo is None:
        raise _Refusal(400, "badRequest", "Missing time zone definition for start time.")
    return moment

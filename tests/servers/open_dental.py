"""Open Dental's API in small: its paths, names, header, quirks. After its public API documentation.

`Authorization: ODFHIR DEVELOPER/CUSTOMER`, rows as plain lists, `Offset` with a hundred rows a page, dates without a
day as `0001-01-01`, truth as the words `"true"` and `"false"`, filters that match the beginning of a name, errors as
plain text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

__all__ = ["OpenDental"]

_KEYS = {
    "patients": "PatNum", "appointments": "AptNum", "providers": "ProvNum", "operatories": "OperatoryNum",
    "schedules": "ScheduleNum",
}  # fmt: skip
_FILTERS = {
    "patients": {"LName": "starts", "FName": "starts", "Birthdate": "is"},
    "appointments": {"PatNum": "is", "AptStatus": "is", "Op": "is", "dateStart": "from", "dateEnd": "to"},
    "providers": {}, "operatories": {}, "schedules": {"SchedType": "is", "ProvNum": "is", "date": "day"},
}  # fmt: skip
_DEFAULTS: dict[str, dict[str, Any]] = {
    "patients": {
        "LName": "", "FName": "", "Birthdate": "0001-01-01", "Email": "", "WirelessPhone": "", "PatStatus": "Patient",
    },
    "appointments": {
        "PatNum": 0, "AptStatus": "Scheduled", "Pattern": "/XX/", "Op": 0, "ProvNum": 0, "AptDateTime": "", "Note": "",
        "IsNewPatient": "false",
    },
}  # fmt: skip
_PAGE = 100


@dataclass
class OpenDental:
    """The server; `app` is to be served."""

    key: str = "developer/customer"
    rows: dict[str, dict[int, dict[str, Any]]] = field(default_factory=lambda: {kind: {} for kind in _KEYS})
    seen: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/v1/{kind}", self._many, methods=["GET", "POST"]),
                Route("/api/v1/{kind}/{id:int}", self._one, methods=["GET", "PUT"]),
            ]
        )

    def add(self, kind: str, **values: Any) -> int:
        number = len(self.rows[kind]) + 1
        self.rows[kind][number] = {_KEYS[kind]: number, **_DEFAULTS.get(kind, {}), **values}
        return number

    def _refusal(self, request: Request) -> Response | None:
        self.seen.append((request.method, request.url.path, request.url.query))
        if request.headers.get("authorization") != f"ODFHIR {self.key}":
            return PlainTextResponse("Invalid authorization header.", 401)
        return None if request.path_params["kind"] in _KEYS else PlainTextResponse("Not found.", 404)

    async def _many(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        kind = request.path_params["kind"]
        if request.method == "POST":
            body = await request.json()
            if kind == "patients" and not (body.get("LName") and body.get("FName")):
                return PlainTextResponse("LName and FName are required.", 400)
            return JSONResponse(self.rows[kind][self.add(kind, **body)], 201)
        found = list(self.rows[kind].values())
        for name, value in request.query_params.items():
            if name == "Offset":
                continue
            rule = _FILTERS[kind].get(name)
            if rule is None:
                return PlainTextResponse(f"{name} is not a valid parameter.", 400)
            found = [row for row in found if _meets(row, name, rule, value)]
        start = int(request.query_params.get("Offset", 0))
        return JSONResponse(found[start : start + _PAGE])

    async def _one(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        row = self.rows[request.path_params["kind"]].get(request.path_params["id"])
        if row is None:
            return PlainTextResponse("Not found.", 404)
        if request.method == "PUT":
            row.update(await request.json())
        return JSONResponse(row)


def _meets(row: dict[str, Any], name: str, rule: str, value: str) -> bool:
    match rule:
        case "starts":
            return str(row[name]).lower().startswith(value.lower())
        case "from":
            return row["AptDateTime"][:10] >= value
        case "to":
            return row["AptDateTime"][:10] <= value
        case "day":
            return row["SchedDate"] == value
        case _:
            return str(row[name]) == value

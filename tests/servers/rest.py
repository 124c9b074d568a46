"""A JSON API of the usual kind: collections in memory, filters as parameters, five ways of paging, a tenant header."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

__all__ = ["Api", "PagingStyle"]

PagingStyle = Literal["none", "offset", "page", "cursor", "link"]
_REQUIRED = {"people": ("name",), "orders": ()}
_COLUMNS = {"people": ("name", "code", "age"), "orders": ("person", "amount", "price", "paid", "day")}


@dataclass
class Api:
    """The server; `app` is to be served.

    Args:
        paging: How it gives lists, `page_rows` at a time.
        token: Asked for as a bearer; None lets everybody in.
        accepts: Further tokens are asked about, as by an OAuth2 server.

    Attributes:
        seen: Method, path and query of each request.
    """

    paging: PagingStyle = "offset"
    page_rows: int = 2
    token: str | None = None
    accepts: Any = None
    rows: dict[str, dict[int, dict[str, Any]]] = field(default_factory=lambda: {"people": {}, "orders": {}})
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    _next: int = 1

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/{kind}", self._collection, methods=["GET", "POST"]),
                Route("/v1/{kind}/{id}", self._one, methods=["GET", "PATCH", "PUT", "DELETE"]),
            ]
        )

    def _refused(self, request: Request) -> Response | None:
        self.seen.append((request.method, request.url.path, request.url.query))
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.token is not None and given != self.token:
            return JSONResponse({"error": "unauthorized"}, 401)
        if self.accepts is not None and not self.accepts(given):
            return JSONResponse({"error": "invalid_token"}, 401)
        if request.path_params["kind"] not in self.rows:
            return JSONResponse({"error": "no such thing"}, 404)
        return None if "x-org" in request.headers else JSONResponse({"error": "which organisation?"}, 400)

    async def _collection(self, request: Request) -> Response:
        if refusal := self._refused(request):
            return refusal
        kind, org = request.path_params["kind"], request.headers["x-org"]
        if request.method == "POST":
            body = await request.json()
            values = body["data"]
            if any(values["attributes"].get(name) is None for name in _REQUIRED[kind]):
                return JSONResponse({"message": "something is missing"}, 422)
            row = {"ident": self._next, "org": org, "attributes": dict.fromkeys(_COLUMNS[kind]) | values["attributes"]}
            self.rows[kind][self._next] = row
            self._next += 1
            return JSONResponse({"data": row}, 201)
        return self._listed(request, kind, org)

    def _listed(self, request: Request, kind: str, org: str) -> Response:
        asked = request.query_params
        found = [row for row in self.rows[kind].values() if row["org"] == org]
        for name in _COLUMNS[kind]:
            if name in asked:
                found = [row for row in found if _same(row["attributes"][name], asked[name])]
            if f"min_{name}" in asked:
                least = int(asked[f"min_{name}"])
                found = [
                    row for row in found if row["attributes"][name] is not None and row["attributes"][name] >= least
                ]
        if "q" in asked:
            found = [row for row in found if asked["q"].lower() in str(row["attributes"]).lower()]
        for term in reversed(asked.get("sort", "ident").split(",")):
            name, is_descending = term.removeprefix("-"), term.startswith("-")
            found.sort(key=lambda row: _rank(row, name), reverse=is_descending)
        return self._page(request, found)

    def _page(self, request: Request, found: list[dict[str, Any]]) -> Response:
        asked, size = request.query_params, min(int(request.query_params.get("limit", self.page_rows)), self.page_rows)
        start = {
            "none": 0, "offset": int(asked.get("offset", 0)), "page": (int(asked.get("page", 1)) - 1) * size,
            "cursor": int(asked.get("after", 0)), "link": int(asked.get("start", 0)),
        }[self.paging]  # fmt: skip
        part = found if self.paging == "none" else found[start : start + size]
        body: dict[str, Any] = {"data": part, "meta": {"total": len(found)}}
        headers: dict[str, str] = {}
        end = start + len(part)
        if end < len(found):
            if self.paging == "cursor":
                body["meta"]["next"] = str(end)
            elif self.paging == "link":
                url = request.url.include_query_params(start=end)
                headers["Link"] = f'<{url.replace(query=url.query)}>; rel="next"'
        return JSONResponse(body, headers=headers)

    async def _one(self, request: Request) -> Response:
        if refusal := self._refused(request):
            return refusal
        kind, org, text = request.path_params["kind"], request.headers["x-org"], request.path_params["id"]
        row = self.rows[kind].get(int(text)) if text.isdecimal() else None
        if row is None or row["org"] != org:
            return JSONResponse({"error": "not found"}, 404)
        if request.method == "DELETE":
            del self.rows[kind][row["ident"]]
            return Response(status_code=204)
        if request.method in ("PATCH", "PUT"):
            row["attributes"] |= (await request.json())["data"]["attributes"]
        return JSONResponse({"data": row})


def _same(value: Any, text: str) -> bool:
    return ("true" if value else "false") == text if isinstance(value, bool) else str(value) == text


def _rank(row: dict[str, Any], name: str) -> tuple[bool, Any]:
    value = row["ident"] if name == "ident" else row["attributes"][name]
    return (value is not None, value if value is not None else 0)

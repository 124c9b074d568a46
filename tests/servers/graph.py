"""A GraphQL server, by graphql-core: people and orders in memory, with relay's cursors and with offsets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graphql import GraphQLError, build_schema, graphql_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

__all__ = ["Graph"]

SCHEMA = build_schema(
    """
    type Person { id: ID! name: String! code: String age: Int }
    type Order { id: ID! person: ID amount: Int price: Float paid: Boolean day: String }
    type PageInfo { hasNextPage: Boolean! endCursor: String }
    type PersonEdge { node: Person! }
    type People { edges: [PersonEdge!]! pageInfo: PageInfo! totalCount: Int! }
    input PersonInput { name: String code: String age: Int }
    input OrderInput { person: ID amount: Int price: Float paid: Boolean day: String }
    type Query {
      people(org: String!, first: Int!, after: String, name: String, ages: [Int!], sort: String): People!
      person(org: String!, id: ID!): Person
      orders(org: String!, skip: Int!, take: Int!): [Order!]!
      order(org: String!, id: ID!): Order
    }
    type Mutation {
      createPerson(org: String!, input: PersonInput!): Person!
      updatePerson(org: String!, id: ID!, input: PersonInput!): Person
      deletePerson(org: String!, id: ID!): Boolean!
      createOrder(org: String!, input: OrderInput!): Order!
      updateOrder(org: String!, id: ID!, input: OrderInput!): Order
      deleteOrder(org: String!, id: ID!): Boolean!
    }
    """
)
_COLUMNS = {"person": ("name", "code", "age"), "order": ("person", "amount", "price", "paid", "day")}


@dataclass
class Graph:
    """The server; `app` is to be served.

    Attributes:
        page_rows: More are never given at once.
        seen: Variables of each request.
    """

    page_rows: int = 2
    token: str | None = None
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {"person": {}, "order": {}})
    seen: list[dict[str, Any]] = field(default_factory=list)
    _next: int = 1

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/graphql", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        self.seen.append(body["variables"])
        if self.token is not None and request.headers.get("authorization") != f"Bearer {self.token}":
            error = {"message": "who are you?", "extensions": {"code": "UNAUTHENTICATED"}}
            return JSONResponse({"errors": [error], "data": None})
        root: dict[str, Any] = {
            "people": self._people, "orders": self._orders,
            "person": lambda info, **given: self._one("person", **given),
            "order": lambda info, **given: self._one("order", **given),
            "createPerson": lambda info, **given: self._create("person", **given),
            "updatePerson": lambda info, **given: self._update("person", **given),
            "deletePerson": lambda info, **given: self._delete("person", **given),
            "createOrder": lambda info, **given: self._create("order", **given),
            "updateOrder": lambda info, **given: self._update("order", **given),
            "deleteOrder": lambda info, **given: self._delete("order", **given),
        }  # fmt: skip
        result = graphql_sync(SCHEMA, body["query"], root_value=root, variable_values=body["variables"])
        return JSONResponse(result.formatted, 200 if result.data is not None else 400)

    def _own(self, kind: str, org: str) -> list[dict[str, Any]]:
        return [row for row in self.rows[kind].values() if row["org"] == org]

    def _people(self, _info: Any, org: str, first: int, after: str | None = None, **asked: Any) -> Any:
        found = self._own("person", org)
        if asked.get("name") is not None:
            found = [row for row in found if row["name"] == asked["name"]]
        if asked.get("ages") is not None:
            found = [row for row in found if row["age"] in asked["ages"]]
        if asked.get("sort") == "NAME_DESC":
            found.sort(key=lambda row: row["name"], reverse=True)
        start = int(after or 0)
        part = found[start : start + min(first, self.page_rows)]
        end = start + len(part)
        return {
            "edges": [{"node": row} for row in part], "totalCount": len(found),
            "pageInfo": {"hasNextPage": end < len(found), "endCursor": str(end)},
        }  # fmt: skip

    def _orders(self, _info: Any, org: str, skip: int, take: int) -> Any:
        return self._own("order", org)[skip : skip + min(take, self.page_rows)]

    def _one(self, kind: str, org: str, id: str) -> Any:
        row = self.rows[kind].get(id)
        return row if row is not None and row["org"] == org else None

    def _create(self, kind: str, org: str, input: dict[str, Any]) -> Any:
        if kind == "person" and input.get("code") == "taken":
            raise GraphQLError("the code is taken", extensions={"code": "CONFLICT"})
        # As texts that sort by number: keys of one length.
        row = {"id": f"{self._next:06}", "org": org, **dict.fromkeys(_COLUMNS[kind]), **input}
        self.rows[kind][row["id"]] = row
        self._next += 1
        return row

    def _update(self, kind: str, org: str, id: str, input: dict[str, Any]) -> Any:
        row = self._one(kind, org, id)
        if row is not None:
            row.update(input)
        return row

    def _delete(self, kind: str, org: str, id: str) -> bool:
        if self._one(kind, org, id) is None:
            return False
        del self.rows[kind][id]
        return True

"""The GraphQL adapter, against a server by graphql-core."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from jackfield.data_adapters import DataAdapter, EntityConflictError, Query, parse_order, parse_where
from jackfield.data_adapters.graphql import GraphMapping, GraphQLAdapter
from jackfield.data_adapters.remote_errors import (
    AdapterAnswerError,
    AdapterCredentialsError,
    AdapterMappingError,
    AdapterMissingFieldError,
    AdapterRefusedError,
)
from jackfield.egress import Egress
from tests.server.data_adapters.remotes import EGRESS, transport
from tests.server.data_adapters.suite import AdapterSuite
from tests.servers.graph import Graph
from tests.servers.serving import serving

PERSON, ORDER = "id name code age", "id person amount price paid day"
PEOPLE = f"""
query($org: String!, $first: Int!, $after: String, $name: String, $ages: [Int!], $sort: String) {{
  people(org: $org, first: $first, after: $after, name: $name, ages: $ages, sort: $sort) {{
    edges {{ node {{ {PERSON} }} }} pageInfo {{ hasNextPage endCursor }} totalCount
  }}
}}
"""
RELAY = {
    "kind": "cursor", "cursor": "after", "limit": "first", "size": 100, "next": "people.pageInfo.endCursor",
    "more": "people.pageInfo.hasNextPage",
}  # fmt: skip
LISTING: dict[str, Any] = {
    "query": PEOPLE, "rows": "people.edges", "node": "node", "paging": RELAY, "natural": ["id"],
    "total": "people.totalCount",
}  # fmt: skip


def operations(kind: str, fields: str) -> dict[str, Any]:
    title = kind.capitalize()
    return {
        "get": {
            "query": f"query($org: String!, $id: ID!) {{ {kind}(org: $org, id: $id) {{ {fields} }} }}", "row": kind,
        },
        "create": {
            "query": f"mutation($org: String!, $input: {title}Input!) "
            f"{{ create{title}(org: $org, input: $input) {{ {fields} }} }}",
            "row": f"create{title}",
        },
        "update": {
            "query": f"mutation($org: String!, $id: ID!, $input: {title}Input!) "
            f"{{ update{title}(org: $org, id: $id, input: $input) {{ {fields} }} }}",
            "row": f"update{title}",
        },
        "delete": {
            "query": f"mutation($org: String!, $id: ID!) {{ delete{title}(org: $org, id: $id) }}",
            "row": f"delete{title}",
        },
    }  # fmt: skip


MAPPING: dict[str, Any] = {
    "base_url": "",
    "tenant": {"variable": "org"},
    "entities": {
        "people": {
            "fields": {
                "id": {"nullable": False}, "name": {"nullable": False, "writable": True}, "code": {"writable": True},
                "age": {"type": "integer", "writable": True},
            },
            "list": {
                **LISTING,
                "filters": {
                    "name": {"eq": {"param": "name", "exact": True}}, "age": {"in": {"param": "ages", "exact": True}}
                },
                "order": {
                    "param": "sort", "fields": {"name": "NAME", "id": "ID"}, "ascending": "{field}_ASC",
                    "descending": "{field}_DESC",
                },
            },
            **operations("person", PERSON),
        },
        "orders": {
            "fields": {
                "id": {"nullable": False}, "person": {"writable": True, "references": "people"},
                "amount": {"type": "integer", "writable": True}, "price": {"type": "number", "writable": True},
                "paid": {"type": "boolean", "writable": True}, "day": {"type": "date", "writable": True},
            },
            "list": {
                "query": f"query($org: String!, $skip: Int!, $take: Int!) "
                f"{{ orders(org: $org, skip: $skip, take: $take) {{ {ORDER} }} }}",
                "rows": "orders", "natural": ["id"],
                "paging": {"kind": "offset", "offset": "skip", "limit": "take", "size": 50},
            },
            **operations("order", ORDER),
        },
        "names": {
            "fields": {"id": {"nullable": False}, "name": {}},
            "list": LISTING,
            "get": operations("person", PERSON)["get"],
        },
    },
}  # fmt: skip


def made(url: str, egress: Egress, **changes: Any) -> GraphQLAdapter:
    plain = {**MAPPING, "base_url": f"{url}/graphql", **changes}
    mapping = msgspec.convert(plain, GraphMapping)
    return GraphQLAdapter(mapping, transport("graphql", egress, mapping.base_url))


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    egress = Egress(EGRESS)
    yield egress
    await egress.close()


class TestGraphQLAdapter(AdapterSuite):
    @pytest.fixture
    async def adapter(self, egress: Egress) -> AsyncIterator[DataAdapter]:
        with serving(Graph().app) as url:
            yield made(url, egress)


async def test_values_go_in_as_variables_and_the_tenant_in_all_of_them(egress: Egress) -> None:
    graph = Graph(page_rows=50)
    with serving(graph.app) as url:
        adapter = made(url, egress)
        hostile = '") { id } } { people(org: "u") { totalCount'
        await adapter.create("t", "people", [{"name": hostile, "age": 3}, {"name": "Bob", "age": 4}])
        graph.seen.clear()
        where = parse_where([["name", "eq", hostile], ["age", "in", [3, 4]]])
        page = await adapter.list("t", "people", Query(where, parse_order(["-name"])))
        assert [row["name"] for row in page.rows] == [hostile]
        assert graph.seen[0]["ages"] == [3, 4]
        assert {variables["org"] for variables in graph.seen} == {"t"}
        assert await adapter.count("t", "people", where) == 1


async def test_errors_say_what_to_put_right(egress: Egress) -> None:
    graph = Graph(token="good")
    with serving(graph.app) as url:
        with pytest.raises(AdapterCredentialsError):
            await made(url, egress).list("t", "people", Query())
        graph.token = None
        entities = copy.deepcopy(MAPPING["entities"])
        entities["people"]["list"]["query"] = PEOPLE.replace("code age", "code aged")
        with pytest.raises(AdapterMissingFieldError) as missing:
            await made(url, egress, entities=entities).list("t", "people", Query())
        assert "`aged`" in str(missing.value)
        entities = copy.deepcopy(MAPPING["entities"])
        entities["people"]["list"]["rows"] = "people.nodes"
        with pytest.raises(AdapterAnswerError) as shape:
            await made(url, egress, entities=entities).list("t", "people", Query())
        assert "`people.nodes`" in str(shape.value)
        with pytest.raises(EntityConflictError):
            await made(url, egress).create("t", "people", [{"name": "A", "code": "taken"}])
        entities["people"]["list"]["query"] = "query($org: String!) { people }"
        with pytest.raises(AdapterRefusedError):
            await made(url, egress, entities=entities).list("t", "people", Query())


def test_a_query_without_the_tenants_variable_is_refused() -> None:
    entities = copy.deepcopy(MAPPING["entities"])
    entities["people"]["delete"]["query"] = "mutation($id: ID!) { deletePerson(id: $id) }"
    with pytest.raises(AdapterMappingError):
        made("http://127.0.0.1:1", Egress(EGRESS), entities=entities)

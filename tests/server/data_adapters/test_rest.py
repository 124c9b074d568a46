"""The REST adapter, against a JSON API that is served over HTTP."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pytest

from jackfield.data_adapters import DataAdapter, Query, parse_order, parse_where
from jackfield.data_adapters.remote_errors import (
    AdapterAnswerError,
    AdapterCannotError,
    AdapterMappingError,
    AdapterTooMuchError,
)
from jackfield.data_adapters.rest import RestAdapter, RestMapping
from jackfield.egress import Egress
from tests.server.data_adapters.remotes import EGRESS, transport
from tests.server.data_adapters.suite import AdapterSuite
from tests.servers.rest import Api, PagingStyle
from tests.servers.serving import serving

PAGING: dict[PagingStyle, dict[str, Any]] = {
    "none": {"kind": "none"},
    "offset": {"kind": "offset", "offset": "offset", "limit": "limit", "size": 100},
    "page": {"kind": "page", "page": "page", "limit": "limit", "size": 2},
    "cursor": {"kind": "cursor", "cursor": "after", "next": "meta.next"},
    "link": {"kind": "link"},
}


def resource(name: str, fields: dict[str, Any], **listing: Any) -> dict[str, Any]:
    whole = {
        "id": {"at": "ident", "type": "integer", "nullable": False},
        **{field: {"at": f"attributes.{field}", **about} for field, about in fields.items()},
    }
    one = {"path": f"/{name}/{{id}}", "row": "data"}
    return {
        "fields": whole,
        "list": {"path": f"/{name}", "rows": "data", "natural": ["id"], "total": "meta.total", **listing},
        "get": one, "create": {"path": f"/{name}", "row": "data", "wrap": "data"}, "update": {**one, "wrap": "data"},
        "delete": {"path": one["path"]},
    }  # fmt: skip


PEOPLE = {
    "name": {"nullable": False, "writable": True}, "code": {"writable": True},
    "age": {"type": "integer", "writable": True},
}  # fmt: skip
ORDERS = {
    "person": {"type": "integer", "writable": True, "references": "people"},
    "amount": {"type": "integer", "writable": True}, "price": {"type": "number", "writable": True},
    "paid": {"type": "boolean", "writable": True}, "day": {"type": "date", "writable": True},
}  # fmt: skip
FILTERS = {
    "name": {"eq": {"param": "name", "exact": True}},
    "age": {"eq": {"param": "age", "exact": True}, "gte": {"param": "min_age", "exact": True}},
}
ORDER = {"param": "sort", "fields": {"id": "ident", "name": "name", "age": "age"}, "nulls": True}
MAPPING: dict[str, Any] = {
    "base_url": "",
    "tenant": {"header": "X-Org"},
    "entities": {
        "people": resource("people", PEOPLE, filters=FILTERS, order=ORDER),
        "orders": resource("orders", ORDERS),
        "names": {
            "fields": {
                "id": {"at": "ident", "type": "integer", "nullable": False}, "name": {"at": "attributes.name"}
            },
            "list": {"path": "/people", "rows": "data", "natural": ["id"]},
            "get": {"path": "/people/{id}", "row": "data"},
        },
    },
}  # fmt: skip


def made(url: str, egress: Egress, style: PagingStyle = "offset", **changes: Any) -> RestAdapter:
    plain = {**copy.deepcopy(MAPPING), "base_url": f"{url}/v1", **changes}
    for entity in plain["entities"].values():
        entity["list"]["paging"] = PAGING[style]
    mapping = msgspec.convert(plain, RestMapping)
    return RestAdapter(mapping, transport("rest", egress, mapping.base_url))


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    egress = Egress(EGRESS)
    yield egress
    await egress.close()


class TestRestAdapter(AdapterSuite):
    @pytest.fixture
    async def adapter(self, egress: Egress) -> AsyncIterator[DataAdapter]:
        with serving(Api().app) as url:
            yield made(url, egress)


class PagedSuite:
    """What goes through pages, for every way of paging."""

    test_pages_by_offset = AdapterSuite.test_pages_by_offset
    test_pages_by_cursor_have_everything_once = AdapterSuite.test_pages_by_cursor_have_everything_once
    test_order_has_null_first_and_the_key_last = AdapterSuite.test_order_has_null_first_and_the_key_last
    _people = AdapterSuite._people


class TestPaging(PagedSuite):
    @pytest.fixture(params=["none", "page", "cursor", "link"])
    async def adapter(self, request: pytest.FixtureRequest, egress: Egress) -> AsyncIterator[DataAdapter]:
        style = cast("PagingStyle", request.param)
        with serving(Api(paging=style).app) as url:
            yield made(url, egress, style)


async def test_what_can_be_asked_there_is_asked_there(egress: Egress) -> None:
    api = Api(page_rows=50)
    with serving(api.app) as url:
        adapter = made(url, egress)
        await adapter.create("t", "people", [{"name": f"n{number}", "age": number} for number in range(30)])
        api.seen.clear()
        where = parse_where([["age", "gte", 10], {"and": [["name", "eq", "n12"]]}])
        page = await adapter.list("t", "people", Query(where, parse_order(["-age"]), limit=5))
        assert [row["name"] for row in page.rows] == ["n12"]
        ((_, _, query),) = api.seen[:1]
        assert set(query.split("&")) >= {"min_age=10", "name=n12", "sort=-age%2Cident"}
        api.seen.clear()
        assert await adapter.count("t", "people", parse_where([["age", "gte", 10]])) == 20
        assert len(api.seen) == 1


async def test_a_filter_that_is_not_exact_is_checked_here(egress: Egress) -> None:
    with serving(Api(page_rows=50).app) as url:
        entities = copy.deepcopy(MAPPING["entities"])
        entities["people"]["list"]["filters"] = {"name": {"eq": {"param": "q"}}}
        adapter = made(url, egress, entities=entities)
        await adapter.create("t", "people", [{"name": "Ann"}, {"name": "Joanna"}, {"name": "Bob", "code": "ann"}])
        where = parse_where([["name", "eq", "Ann"]])
        assert [row["name"] for row in (await adapter.list("t", "people", Query(where))).rows] == ["Ann"]
        assert await adapter.count("t", "people", where) == 1


async def test_too_many_rows_to_look_through_are_refused_and_never_cut_short(egress: Egress) -> None:
    with serving(Api(page_rows=50).app) as url:
        adapter = made(url, egress, scan_rows=10)
        await adapter.create("t", "people", [{"name": f"n{number}"} for number in range(12)])
        with pytest.raises(AdapterTooMuchError):
            await adapter.list("t", "people", Query(parse_where([["code", "eq", "x"]])))
        with pytest.raises(AdapterTooMuchError):
            await adapter.list("t", "people", Query(order=parse_order(["code"]), limit=1))
        assert len((await adapter.list("t", "people", Query(limit=12))).rows) == 12


async def test_no_key_leads_to_another_path(egress: Egress) -> None:
    paths: list[tuple[bytes, bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        paths.append((scope["raw_path"], scope["query_string"]))
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    entities = copy.deepcopy(MAPPING["entities"])
    entities["people"]["fields"]["id"] = {"at": "ident", "type": "string", "theirs": "string"}
    with serving(app) as url:
        adapter = made(url, egress, entities=entities)
        for id in ("../orders/1", "1/../2", "1?x=1", "1#", "a b", "%2e%2e"):
            assert await adapter.get("t", "people", id) is None
        for id in ("..", "."):
            with pytest.raises(AdapterCannotError):
                await adapter.get("t", "people", id)
    assert len(paths) == 6
    for path, query in paths:
        assert path.startswith(b"/v1/people/")
        assert path.count(b"/") == 3
        assert query == b""


async def test_a_tenants_field_is_set_and_checked(egress: Egress) -> None:
    api = Api(page_rows=50)
    with serving(api.app) as url:
        tenant = {"header": "X-Org", "value": "shared", "field": "attributes.code"}
        entities = {"people": resource("people", {"name": PEOPLE["name"]})}
        ours = made(url, egress, tenant=tenant, entities=entities)
        theirs = made(url, egress, tenant={**tenant, "value": "shared2"}, entities=entities)
        (written,) = await ours.create("t", "people", [{"name": "Ada"}])
        api.rows["people"][99] = {"ident": 99, "org": "shared", "attributes": {"name": "X", "code": "other", "age": 1}}
        assert [row["name"] for row in (await ours.list("t", "people", Query())).rows] == ["Ada"]
        assert await ours.get("t", "people", "99") is None
        assert await ours.delete("t", "people", "99") is None
        assert await ours.count("t", "people", ()) == 1
        assert await theirs.get("t", "people", written.key) is None
        assert 99 in api.rows["people"]


async def test_operations_that_are_not_mapped_are_refused(egress: Egress) -> None:
    with serving(Api().app) as url:
        adapter = made(url, egress)
        (written,) = await adapter.create("t", "people", [{"name": "Ada"}])
        entities = copy.deepcopy(MAPPING["entities"])
        for what in ("create", "update", "delete"):
            del entities["people"][what]
        poor = made(url, egress, entities=entities)
        with pytest.raises(AdapterCannotError):
            await poor.create("t", "people", [{"name": "Bob"}])
        with pytest.raises(AdapterCannotError):
            await poor.delete("t", "people", written.key)


async def test_pages_in_a_circle_end(egress: Egress) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b'{"data": [], "meta": {"next": "1"}}'
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    with serving(app) as url, pytest.raises(AdapterAnswerError):
        await made(url, egress, "cursor").list("t", "people", Query())


async def test_the_next_page_is_not_fetched_from_another_server(egress: Egress) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        link = b'<http://127.0.0.1:1/v1/people?start=2>; rel="next"'
        await send({"type": "http.response.start", "status": 200, "headers": [(b"link", link)]})
        await send({"type": "http.response.body", "body": b'{"data": []}'})

    with serving(app) as url, pytest.raises(Exception, match="another server"):
        await made(url, egress, "link").list("t", "people", Query())


@pytest.mark.parametrize(
    ("entity", "part", "change"),
    [
        ("people", "list", {"filters": {"nick": {"eq": {"param": "x"}}}}),
        ("people", "list", {"natural": ["nick"]}),
        ("people", "list", {"order": {"param": "sort", "fields": {"nick": "nick"}}}),
        ("people", "get", {"path": "/people/{name}"}),
        ("people", "get", {"path": "/people"}),
        ("people", "create", {"path": "/people/{id}"}),
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused(entity: str, part: str, change: dict[str, Any]) -> None:
    entities = copy.deepcopy(MAPPING["entities"])
    entities[entity][part] |= change
    with pytest.raises(AdapterMappingError):
        made("http://127.0.0.1:1", Egress(EGRESS), entities=entities)

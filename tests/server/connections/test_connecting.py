"""Connecting the entities of a plugin: tried first, saved then, used for `ctx.data`, and never told what is secret."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from jackfield.capabilities import Gate
from jackfield.capabilities.models import SecretValue
from jackfield.connections import (
    ConnectionInvalidError,
    ConnectionMissingError,
    ConnectionNotDeclaredError,
    ConnectionTestFailedError,
    CredentialsNeededError,
    detach,
    purge,
)
from jackfield.connections.models import ConnectionRow
from jackfield.data_adapters import SqlAdapter
from jackfield.errors import JackfieldError
from jackfield.surface import Surface
from tests.server.connections.conftest import ADMIN, House, people
from tests.servers.rest import Api
from tests.servers.serving import serving, silent_port

BEARER = {"kind": "bearer", "token": "tok-secret-1"}


async def put(house: House, given: dict[str, Any], name: str = "data", tenant: str = "t") -> Any:
    return await house.node.connections.put(tenant, "crm", name, given, actor=ADMIN)


async def test_a_connection_is_tried_saved_and_serves_the_plugins_data(house: House, api: tuple[str, Api]) -> None:
    url, server = api
    server.token = "tok-secret-1"
    saved = await put(house, {"adapter": "rest", "settings": people(url), "credentials": BEARER})
    assert (saved.state, saved.report.is_ok, dict(saved.secrets)) == ("ready", True, {"token": True})
    gate = Gate(
        house.database, house.vault, SqlAdapter(house.database, Surface()), adapters=house.node.adapters,
        egress=house.egress,
    )  # fmt: skip

    async def call(operation: str, tenant: str = "t", **arguments: Any) -> Any:
        data = msgspec.msgpack.encode({"entity": "people", **arguments})
        return msgspec.msgpack.decode(await gate.call(house.context(tenant), "data", operation, data))

    created = await call("create", values={"name": "Ada"})
    assert created == {"id": 1, "name": "Ada"}
    assert await call("list", where=[["name", "like", "a%"]]) == [created]
    assert server.rows["people"][1]["org"] == "t"
    # The other tenant has no connection, and so the host's own entities, of which there are none.
    with pytest.raises(JackfieldError) as refused:
        await call("list", "u")
    assert refused.value.code == "entity-not-open"
    assert await house.audit() == ["connection.connect"]


async def test_what_is_secret_is_sealed_and_never_comes_back(house: House, api: tuple[str, Api]) -> None:
    url, server = api
    server.token = "tok-secret-1"
    body = {"adapter": "rest", "settings": people(url), "credentials": BEARER}
    async with house.client() as admin:
        saved = await admin.put("/api/plugins/crm/connections/data", json=body)
        assert saved.status_code == 200, saved.text
        listed = await admin.get("/api/plugins/crm/connections")
    assert [item["name"] for item in listed.json()["items"]] == ["data", "calendar", "mail"]
    for answer in (saved.text, listed.text):
        assert "tok-secret" not in answer
    async with house.database.read(None) as session:
        stored = list(await session.scalars(select(SecretValue)))
        rows = list(await session.scalars(select(ConnectionRow)))
    assert [(row.name, "tok-secret" in row.token) for row in stored] == [("connection:data", False)]
    assert "tok-secret" not in repr([vars(row) for row in rows])


async def test_what_does_not_work_is_not_saved_and_says_how_far_it_came(house: House, api: tuple[str, Api]) -> None:
    url, server = api
    server.token = "another"
    with silent_port() as nobody:
        cases: list[tuple[dict[str, Any], str, str]] = [
            (people(url), "credentials", "adapter-credentials-refused"),
            (people(nobody), "connection", "adapter-unreachable"),
            (people("http://no-such-host.invalid"), "dns", "adapter-unreachable"),
        ]
        house.node.connections._allowed._names.add(("no-such-host.invalid", None))
        for settings, step, code in cases:
            with pytest.raises(ConnectionTestFailedError) as failed:
                await put(house, {"adapter": "rest", "settings": settings, "credentials": BEARER})
            finding = failed.value.data["report"]["findings"][0]
            assert (finding["step"], finding["code"]) == (step, code), finding
            assert "tok-secret" not in str(failed.value.data)
    server.token = None
    lacking = people(url)
    lacking["entities"]["people"]["fields"]["nick"] = {"at": "attributes.nick"}
    await put(house, {"adapter": "rest", "settings": people(url), "credentials": {"kind": "none"}})
    adapter = await house.node.adapters.of(house.context())
    await adapter.create("t", "people", [{"name": "Ada"}])
    with pytest.raises(ConnectionTestFailedError) as missing:
        await put(house, {"adapter": "rest", "settings": lacking, "credentials": {"kind": "none"}})
    assert missing.value.data["report"]["findings"][0]["step"] == "columns"
    assert "attributes.nick" in str(missing.value)
    assert (await house.node.connections.get("t", "crm", "data")).settings == people(url)


async def test_a_stored_secret_is_not_sent_to_another_server(house: House, api: tuple[str, Api]) -> None:
    url, server = api
    server.token = "tok-secret-1"
    await put(house, {"adapter": "rest", "settings": people(url), "credentials": BEARER})
    # The same server: it stays.
    await put(house, {"adapter": "rest", "settings": people(url, scan_rows=5), "credentials": {"kind": "bearer"}})
    thief = Api()
    with serving(thief.app) as elsewhere:
        given = {"adapter": "rest", "settings": people(elsewhere)}
        for credentials in ({"kind": "bearer"}, None, {"kind": "api-key", "name": "X-Key"}):
            body = given | ({"credentials": credentials} if credentials else {})
            with pytest.raises(CredentialsNeededError):
                await put(house, body)
            with pytest.raises(CredentialsNeededError):
                await house.node.connections.test("t", "crm", "data", body)
    assert thief.seen == []


@pytest.mark.parametrize(
    "given",
    [
        {"adapter": "ftp", "settings": {}}, {"adapter": "rest"}, {"adapter": "rest", "settings": {"base_url": "x"}},
        {"adapter": "rest", "settings": people("http://example.com"), "credentials": BEARER},
        {"adapter": "rest", "settings": people("https://user@example.com"), "credentials": BEARER},
        {"adapter": "rest", "settings": people("https://example.com"), "credentials": {"kind": "magic"}},
        {"adapter": "rest", "settings": people("https://example.com"), "credentials": {**BEARER, "token": "a\nb"}},
        {"adapter": "rest", "settings": people("https://example.com"), "credentials": {**BEARER, "extra": 1}},
        {
            "adapter": "rest", "settings": people("https://example.com"),
            "credentials": {
                "kind": "oauth2-client-credentials", "token_url": "http://example.com/t", "client_id": "x",
                "client_secret": "y",
            },
        },
        {"adapter": "rest", "settings": people("https://example.com"), "whatever": 1},
    ],
)  # fmt: skip
async def test_settings_that_cannot_be_used_are_refused_before_anything_is_sent(
    house: House, given: dict[str, Any]
) -> None:
    with pytest.raises(ConnectionInvalidError):
        await put(house, given)


async def test_only_declared_names_can_be_connected(house: House) -> None:
    with pytest.raises(ConnectionNotDeclaredError):
        await put(house, {"credentials": BEARER}, "nothing")
    with pytest.raises(ConnectionInvalidError):
        await put(house, {"credentials": BEARER}, "mail")
    with pytest.raises(ConnectionInvalidError):
        await put(house, {"adapter": "rest", "settings": {}, "credentials": {"kind": "basic", "username": "x"}}, "mail")
    saved = await put(house, {"credentials": {"kind": "basic", "username": "x", "password": "y"}}, "mail")
    assert saved.state == "ready"


async def test_testing_what_is_stored(house: House, api: tuple[str, Api]) -> None:
    url, server = api
    with pytest.raises(ConnectionMissingError):
        await house.node.connections.test("t", "crm", "data", None)
    await put(house, {"adapter": "rest", "settings": people(url), "credentials": BEARER})
    assert (await house.node.connections.test("t", "crm", "data", None)).is_ok
    server.token = "another"
    report = await house.node.connections.test("t", "crm", "data", None)
    assert [finding.step for finding in report.findings] == ["credentials"]


async def test_removing_goes_back_to_the_hosts_entities(house: House, api: tuple[str, Api]) -> None:
    url, _ = api
    await put(house, {"adapter": "rest", "settings": people(url), "credentials": BEARER})
    assert (await house.node.adapters.of(house.context())).name == "rest"
    await house.node.connections.remove("t", "crm", "data", actor=ADMIN)
    assert (await house.node.adapters.of(house.context())) is house.node.adapters.host
    with pytest.raises(ConnectionMissingError):
        await house.node.connections.remove("t", "crm", "data", actor=ADMIN)
    async with house.database.read(None) as session:
        assert not list(await session.scalars(select(SecretValue)))
    assert await house.audit() == ["connection.connect", "connection.disconnect"]


async def test_another_node_hears_of_a_change_within_seconds(house: House, api: tuple[str, Api]) -> None:
    url, _ = api
    other = house.start()
    assert (await other.adapters.of(house.context())) is other.adapters.host
    await put(house, {"adapter": "rest", "settings": people(url), "credentials": BEARER})
    house.clock.advance(6)
    first = await other.adapters.of(house.context())
    assert first.name == "rest"
    house.clock.advance(6)
    assert (await other.adapters.of(house.context())) is first


async def test_uninstalling_leaves_nothing_and_keeping_leaves_no_credentials(
    house: House, api: tuple[str, Api]
) -> None:
    url, _ = api
    await put(house, {"adapter": "rest", "settings": people(url), "credentials": BEARER})
    async with house.database.write("t") as session:
        await detach(session, "inst_t", house.clock.now())
    seen = await house.node.connections.get("t", "crm", "data")
    assert (seen.state, seen.settings) == ("missing", people(url))
    async with house.database.write("t") as session:
        await purge(session, "inst_t", house.clock.now())
    assert (await house.node.connections.get("t", "crm", "data")).settings is None


async def test_only_owners_and_admins_of_the_tenant_come_near(house: House, api: tuple[str, Api]) -> None:
    url, _ = api
    await put(house, {"adapter": "rest", "settings": people(url), "credentials": BEARER})
    paths = [
        ("GET", ""), ("PUT", "/data"), ("POST", "/data/test"), ("POST", "/calendar/authorize"),
        ("POST", "/calendar/confirm"), ("DELETE", "/data"),
    ]  # fmt: skip
    for token, status in (("member", 403), (None, 401)):
        async with house.client(token) as nobody:
            for method, path in paths:
                answer = await nobody.request(method, f"/api/plugins/crm/connections{path}", json={"code": "x"})
                assert answer.status_code == status, (method, path)
    async with house.client("other") as other:
        items = (await other.get("/api/plugins/crm/connections")).json()["items"]
        assert [item["state"] for item in items] == ["missing"] * 3
        assert (await other.delete("/api/plugins/crm/connections/data")).status_code == 404


async def test_schemas_of_settings_are_told(house: House) -> None:
    async with house.client() as admin:
        found = (await admin.get("/api/connections/schemas")).json()
    assert set(found["adapters"]) == {"postgrest", "rest", "graphql"}
    assert "$defs" in found["adapters"]["rest"]
    assert found["secrets"]["basic"] == ["password"]
    assert "basic" in str(found["credentials"])

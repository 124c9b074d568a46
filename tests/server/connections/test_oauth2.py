"""OAuth2: authorization code with PKCE, client credentials, refresh, revocation, reconnecting."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import select

import jackfield_sdk as jf
from jackfield.connections import (
    AuthorizationFailedError,
    AuthorizationInvalidError,
    ConnectionBrokenError,
    ConnectionInvalidError,
    ConnectionNotReadyError,
    ConnectionTestFailedError,
    CredentialsNeededError,
    TokenEndpointError,
    detach,
)
from jackfield.connections.models import AuthorizationRow, RevocationRow
from jackfield.data_adapters import Query
from tests.server.connections.conftest import ADMIN, House, people
from tests.servers.oauth2 import CLIENT_ID, CLIENT_SECRET, OAuth2Server
from tests.servers.rest import Api
from tests.servers.serving import serving

Servers = tuple[str, OAuth2Server]


def client_credentials(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "oauth2-client-credentials", "token_url": f"{url}/token", "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET, "scopes": ["read"], **changes,
    }  # fmt: skip


def authorization_code(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "oauth2-authorization-code", "authorization_url": f"{url}/authorize", "token_url": f"{url}/token",
        "revocation_url": f"{url}/revoke", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
        "scopes": ["calendar", "offline"], **changes,
    }  # fmt: skip


async def put(house: House, given: dict[str, Any], name: str = "calendar") -> Any:
    return await house.node.connections.put("t", "crm", name, given, actor=ADMIN)


async def agree(url: str) -> dict[str, str]:
    """The account's owner opens the page and says yes; what the browser is sent back with."""
    async with httpx.AsyncClient() as browser:
        answer = await browser.get(url)
    assert answer.status_code == 302, answer.text
    location = answer.headers["location"]
    assert location.startswith("http://jackfield.test/api/connections/callback?")
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


async def connect(house: House, url: str, name: str = "calendar") -> None:
    begun = await house.node.authorizations.begin("t", "crm", name, subject=ADMIN)
    back = await agree(begun.url)
    returned = await house.node.authorizations.returned(
        back["state"], code=back["code"], error=None, issuer=back["iss"], browser=begun.browser
    )
    assert returned.confirmation is None


async def test_client_credentials_get_a_token_and_a_new_one_when_it_is_not_taken(
    house: House, oauth2: Servers, api: tuple[str, Api]
) -> None:
    (url, server), (api_url, rest) = oauth2, api
    rest.accepts = server.is_good
    given = {"adapter": "rest", "settings": people(api_url), "credentials": client_credentials(url)}
    await put(house, given, "data")
    adapter = await house.node.adapters.of(house.context())
    for _ in range(3):
        await adapter.list("t", "people", Query())
    # One for the trial, one for use.
    assert [form["grant_type"] for form in server.asked] == ["client_credentials"] * 2
    assert server.asked[0]["scope"] == "read"
    server.expire_all()
    await adapter.list("t", "people", Query())
    assert len(server.asked) == 3


async def test_wrong_client_credentials_are_told_before_anything_is_saved(house: House, oauth2: Servers) -> None:
    url, _ = oauth2
    given = {"adapter": "rest", "settings": people(url), "credentials": client_credentials(url, client_secret="wrong")}
    with pytest.raises(ConnectionTestFailedError) as failed:
        await put(house, given, "data")
    finding = failed.value.data["report"]["findings"][0]
    assert (finding["step"], finding["code"]) == ("credentials", "oauth2-token-refused")
    assert "invalid_client" in finding["message"]


@pytest.mark.parametrize("auth", ["basic", "post"])
async def test_an_authorization_with_pkce(house: House, oauth2: Servers, auth: str) -> None:
    url, server = oauth2
    saved = await put(house, {"credentials": authorization_code(url, auth=auth)})
    assert saved.state == "unauthorized"
    with pytest.raises(ConnectionNotReadyError):
        await house.node.keeper.access(await connected(house))
    await connect(house, url)
    assert (await house.node.connections.get("t", "crm", "calendar")).state == "ready"
    token = await house.node.keeper.access(await connected(house))
    assert server.is_good(token)
    assert server.asked[-1]["code_verifier"]
    assert await house.audit() == ["connection.connect", "connection.authorize"]


async def connected(house: House, name: str = "calendar") -> Any:
    from jackfield.connections.repository import find
    from jackfield.connections.tokens import connected as as_connected

    async with house.database.read("t") as session:
        row = await find(session, "inst_t", name)
    assert row is not None
    return as_connected(row)


async def test_over_http_the_cookie_ends_it(house: House, oauth2: Servers) -> None:
    url, _ = oauth2
    await put(house, {"credentials": authorization_code(url)})
    async with house.client() as admin:
        begun = await admin.post("/api/plugins/crm/connections/calendar/authorize")
        assert begun.status_code == 200, begun.text
        cookie = begun.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=lax", "Path=/api/connections/callback"} <= set(cookie.split("; "))
        back = await agree(begun.json()["url"])
        page = await admin.get("/api/connections/callback", params=back)
        assert page.status_code == 200
        assert "is connected" in page.text
        assert page.headers["referrer-policy"] == "no-referrer"
        again = await admin.get("/api/connections/callback", params=back)
        assert again.status_code == 400
        state = (await admin.get("/api/plugins/crm/connections")).json()["items"][1]["state"]
    assert state == "ready"


async def test_a_browser_without_the_cookie_shows_a_code_that_only_who_began_can_enter(
    house: House, oauth2: Servers
) -> None:
    url, _ = oauth2
    await put(house, {"credentials": authorization_code(url)})
    async with house.client("admin") as admin, house.client("owner") as owner, house.client(None) as victim:
        begun = await admin.post("/api/plugins/crm/connections/calendar/authorize")
        back = await agree(begun.json()["url"])
        victim.cookies.clear()
        page = await victim.get("/api/connections/callback", params=back)
        code = page.text.partition("connected: ")[2][:9]
        assert len(code) == 9, page.text
        path = "/api/plugins/crm/connections/calendar/confirm"
        assert (await owner.post(path, json={"code": code})).status_code == 403
        assert (await admin.post(path, json={"code": "WRONG-1"})).status_code == 403
        # A second answer to the same state ends it: the first may have been another's.
        done = await admin.post(path, json={"code": code.lower()})
        assert (done.status_code, done.json()["state"]) == (200, "ready")
        assert (await admin.post(path, json={"code": code})).status_code == 403


async def test_a_code_cannot_be_guessed_for_long(house: House, oauth2: Servers) -> None:
    url, _ = oauth2
    await put(house, {"credentials": authorization_code(url)})
    begun = await house.node.authorizations.begin("t", "crm", "calendar", subject=ADMIN)
    back = await agree(begun.url)
    shown = await house.node.authorizations.returned(
        back["state"], code=back["code"], error=None, issuer=None, browser=None
    )
    for _ in range(5):
        with pytest.raises(AuthorizationInvalidError):
            await house.node.authorizations.confirm("t", "crm", "calendar", "BBBBBBBB", subject=ADMIN)
    with pytest.raises(AuthorizationInvalidError):
        await house.node.authorizations.confirm("t", "crm", "calendar", shown.confirmation or "", subject=ADMIN)


async def test_a_state_is_good_once_for_ten_minutes_and_for_what_it_was_made_for(house: House, oauth2: Servers) -> None:
    url, _ = oauth2
    node = house.node.authorizations

    async def come_back(back: dict[str, str], browser: str) -> None:
        await node.returned(back["state"], code=back["code"], error=None, issuer=None, browser=browser)

    await put(house, {"credentials": authorization_code(url)})
    late = await node.begin("t", "crm", "calendar", subject=ADMIN)
    back = await agree(late.url)
    house.clock.advance(601)
    with pytest.raises(AuthorizationInvalidError):
        await come_back(back, late.browser)
    stale = await node.begin("t", "crm", "calendar", subject=ADMIN)
    back = await agree(stale.url)
    await put(house, {"credentials": authorization_code(url, scopes=["everything"])})
    with pytest.raises(AuthorizationInvalidError):
        await come_back(back, stale.browser)
    good = await node.begin("t", "crm", "calendar", subject=ADMIN)
    back = await agree(good.url)
    ends = await asyncio.gather(*(come_back(back, good.browser) for _ in range(4)), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["AuthorizationInvalidError"] * 3 + ["NoneType"]
    with pytest.raises(AuthorizationInvalidError):
        await node.returned("made-up", code="x", error=None, issuer=None, browser=None)
    house.clock.advance(601)
    await node.sweep()
    async with house.database.read(None) as session:
        assert not list(await session.scalars(select(AuthorizationRow)))


async def test_a_refusal_and_another_issuer_end_it(house: House, oauth2: Servers) -> None:
    url, server = oauth2
    await put(house, {"credentials": authorization_code(url, issuer="https://right.example")})
    node = house.node.authorizations
    begun = await node.begin("t", "crm", "calendar", subject=ADMIN)
    back = await agree(begun.url)
    with pytest.raises(AuthorizationInvalidError):
        await node.returned(
            back["state"], code=back["code"], error=None, issuer="https://wrong.example", browser=begun.browser
        )
    begun = await node.begin("t", "crm", "calendar", subject=ADMIN)
    back = await agree(begun.url)
    with pytest.raises(AuthorizationFailedError):
        await node.returned(
            back["state"], code=None, error="access_denied<script>", issuer="https://right.example",
            browser=begun.browser,
        )  # fmt: skip
    assert server.asked == []


async def test_tokens_are_renewed_ahead_of_their_end_once_for_all_who_wait(house: House, oauth2: Servers) -> None:
    url, server = oauth2
    await put(house, {"credentials": authorization_code(url)})
    await connect(house, url)
    server.asked.clear()
    connection = await connected(house)
    first = await house.node.keeper.access(connection)
    house.clock.advance(3600 - 59)
    nodes = [house.node, house.start(), house.start()]
    tokens = await asyncio.gather(*(node.keeper.access(connection) for node in nodes for _ in range(5)))
    assert len(set(tokens)) == 1
    assert tokens[0] != first
    # A refresh token that was used twice would have ended the grant.
    assert [form["grant_type"] for form in server.asked] == ["refresh_token"]
    assert server.is_good(tokens[0])
    house.clock.advance(3600 - 59)
    assert server.is_good(await house.node.keeper.access(connection))


async def test_a_failing_server_is_survived_as_long_as_the_token_is_good(house: House, oauth2: Servers) -> None:
    url, server = oauth2
    await put(house, {"credentials": authorization_code(url)})
    await connect(house, url)
    connection = await connected(house)
    first = await house.node.keeper.access(connection)
    house.clock.advance(3600 - 30)
    server.fails = [503, 500]
    assert await house.node.keeper.access(connection) == first
    house.clock.advance(31)
    with pytest.raises(TokenEndpointError):
        await house.node.keeper.access(connection)
    assert await house.node.keeper.access(connection) != first


async def test_a_grant_that_was_taken_back_breaks_the_connection_and_reconnecting_keeps_its_settings(
    house: House, oauth2: Servers, api: tuple[str, Api]
) -> None:
    (url, server), (api_url, rest) = oauth2, api
    rest.accepts = server.is_good
    given = {"adapter": "rest", "settings": people(api_url), "credentials": authorization_code(url)}
    await put(house, given, "data")
    await connect(house, url, "data")
    adapter = await house.node.adapters.of(house.context())
    await adapter.list("t", "people", Query())
    server.end_all()
    with pytest.raises(ConnectionBrokenError):
        await adapter.list("t", "people", Query())
    house.node.adapters.forget("inst_t")
    with pytest.raises(ConnectionBrokenError):
        await house.node.adapters.of(house.context())
    seen = await house.node.connections.get("t", "crm", "data")
    assert (seen.state, "invalid_grant" in (seen.reason or "")) == ("broken", True)
    await connect(house, url, "data")
    seen = await house.node.connections.get("t", "crm", "data")
    assert (seen.state, seen.settings) == ("ready", people(api_url))
    await (await house.node.adapters.of(house.context())).list("t", "people", Query())
    # And the mapping can be changed without agreeing again.
    await put(house, {"adapter": "rest", "settings": people(api_url, scan_rows=7)}, "data")
    assert (await house.node.connections.get("t", "crm", "data")).state == "ready"


async def test_tokens_are_revoked_when_a_connection_goes(house: House, oauth2: Servers) -> None:
    url, server = oauth2
    await put(house, {"credentials": authorization_code(url)})
    await connect(house, url)
    token = await house.node.keeper.access(await connected(house))
    await house.node.connections.remove("t", "crm", "calendar", actor=ADMIN)
    assert await house.node.revocations.work() == 1
    assert len(server.revoked) == 1
    assert not server.is_good(token)
    async with house.database.read(None) as session:
        assert not list(await session.scalars(select(RevocationRow)))


async def test_a_revocation_that_fails_is_tried_again_later(house: House, oauth2: Servers) -> None:
    url, server = oauth2
    await put(house, {"credentials": authorization_code(url, revocation_url=f"{url}/nothing")})
    await connect(house, url)
    async with house.database.write("t") as session:
        await detach(session, "inst_t", house.clock.now())
    assert await house.node.revocations.work() == 0
    assert await house.node.revocations.work() == 0
    house.clock.advance(31)
    assert await house.node.revocations.work() == 0
    async with house.database.read(None) as session:
        (row,) = await session.scalars(select(RevocationRow))
    assert row.attempts == 2
    for _ in range(10):
        house.clock.advance(100_000)
        await house.node.revocations.work()
    async with house.database.read(None) as session:
        assert not list(await session.scalars(select(RevocationRow)))
    assert server.revoked == []


async def test_what_the_manifest_says_of_a_connection_no_admin_changes(house: House) -> None:
    made = jf.Plugin("crm", version="1.0.0")
    made.connection(
        "calendar", "oauth2", hosts=["api.example.com"], authorization_url="https://id.example.com/authorize",
        token_url="https://id.example.com/token", scopes=["calendar.read"],
    )  # fmt: skip
    house.manifest = made.manifest()
    for changes in ({"token_url": "https://evil.example/token"}, {"scopes": ["everything"]}):
        given = {"kind": "oauth2-authorization-code", "client_id": "x", "client_secret": "y", **changes}
        with pytest.raises(ConnectionInvalidError):
            await put(house, {"credentials": given})
    await put(house, {"credentials": {"client_id": "x", "client_secret": "y"}})
    seen = await house.node.connections.get("t", "crm", "calendar")
    assert (seen.credentials or {})["token_url"] == "https://id.example.com/token"
    begun = await house.node.authorizations.begin("t", "crm", "calendar", subject=ADMIN)
    query = parse_qs(urlsplit(begun.url).query)
    assert query["scope"] == ["calendar.read"]
    assert query["code_challenge_method"] == ["S256"]
    with pytest.raises(ConnectionInvalidError):
        await put(house, {"credentials": {"kind": "basic", "username": "x", "password": "y"}})


async def test_tokens_go_nowhere_else_when_somebody_changes_the_address(
    house: House, oauth2: Servers, api: tuple[str, Api]
) -> None:
    (url, server), (api_url, rest) = oauth2, api
    rest.accepts = server.is_good
    given = {"adapter": "rest", "settings": people(api_url), "credentials": authorization_code(url)}
    await put(house, given, "data")
    await connect(house, url, "data")
    thief = Api()
    with serving(thief.app) as elsewhere:
        # Whatever they enter as the client's secret: it is not what the tokens are for.
        moved = {
            "adapter": "rest", "settings": people(elsewhere),
            "credentials": authorization_code(url, client_secret="anything"),
        }  # fmt: skip
        report = await house.node.connections.test("t", "crm", "data", moved)
        assert [finding.code for finding in report.findings] == ["connection-not-authorized"]
        assert (await put(house, moved, "data")).state == "unauthorized"
        with pytest.raises(ConnectionNotReadyError):
            await (await house.node.adapters.of(house.context())).list("t", "people", Query())
    assert thief.seen == []
    await house.node.revocations.work()
    assert len(server.revoked) == 1


async def test_a_later_release_does_not_get_what_was_entered_for_other_hosts(house: House) -> None:
    await put(house, {"credentials": {"kind": "basic", "username": "ann", "password": "pw"}}, "mail")
    made = jf.Plugin("crm", version="2.0.0")
    made.connection("mail", "basic", hosts=["127.0.0.1:1", "evil.example"])
    house.manifest = made.manifest()
    context = house.context("t", "connections:mail")
    (handle, *_) = house.vault.handles("t", "inst_t", "connection:mail")
    found = await house.node.handles.injected(context, handle)
    assert found is not None
    assert found.hosts == ("127.0.0.1:1",)
    with pytest.raises(CredentialsNeededError):
        await put(house, {"credentials": {"kind": "basic", "username": "ann"}}, "mail")

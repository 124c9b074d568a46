"""What a sealed handler knows of the call: workflow, language, tenant, user; what it counts; whom it may tell."""

from __future__ import annotations

from typing import Any

import pytest

from jackfield_sdk import wire
from tests.server.between.house import RIVAL, TENANT, House

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATH = "/api/plugins/herald/functions"


async def member_of(house: House, name: str, role: Any = "member") -> tuple[str, str]:
    """A new member: id and token."""
    member = await house.platform.tenants.add_member(TENANT, name, f"{name}@example.com", role)
    issued = await house.platform.tenants.issue_token(role, tenant_id=TENANT, member_id=member.id)
    return member.id, issued.plaintext


async def post(house: House, name: str, token: str | None = None, *, language: str = "", **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {token or house.token}"}
    if language:
        headers["Accept-Language"] = language
    return (await house.ask("POST", f"{PATH}/{name}", json=body, headers=headers)).json()


async def test_a_call_may_be_a_step_of_a_workflow(house: House) -> None:
    context = {
        "workflow": {"id": "wf_1", "run_id": "run_7", "step": 2, "previous": {"ok": True}, "variables": {"city": "W"}},
        "shared": {"correlation_id": "cor-1"},
    }
    around = (await post(house, "around", context=context))["output"]
    assert around["kind"] == "workflow"
    assert around["workflow"] == ["wf_1", "run_7", 2, {"ok": True}]
    assert around["shared"] == {
        "correlation_id": "cor-1", "workflow_id": "wf_1", "run_id": "run_7", "variables": {"city": "W"},
    }  # fmt: skip
    result = await house.platform.tenant(TENANT).call("herald", "around", {}, context=context)
    assert result.output["workflow"] == around["workflow"]
    assert (await post(house, "around"))["output"]["kind"] == "standalone"


@pytest.mark.parametrize(
    "context",
    [
        {"workflows": {}}, {"workflow": {"id": "a"}}, {"workflow": {"id": "a", "run_id": "b", "step": -1}},
        {"workflow": {"id": "a\nb", "run_id": "b"}}, {"workflow": {"id": "a" * 200, "run_id": "b"}},
        {"workflow": {"id": "a", "run_id": "b", "previous": "x" * 70_000}},
        {"workflow": {"id": "a", "run_id": "b", "variables": {"x": "y" * 17_000}}}, {"shared": {"x": "y" * 5_000}},
        {"shared": {"x": {"a": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}}}, {"kind": "plugin"}, {"plugin": "base"},
    ],
)  # fmt: skip
async def test_a_context_that_cannot_be_handed_along_is_refused(house: House, context: dict[str, Any]) -> None:
    answer = await post(house, "around", context=context)
    assert answer["success"] is False
    assert answer["code"] == "context-invalid"


async def test_the_language_is_the_members_the_requests_the_tenants(house: House) -> None:
    _, token = await member_of(house, "polyglot")
    assert (await post(house, "around", token))["output"]["locale"] == "en"
    spoken = (await post(house, "around", token, language="xx;q=0.1, fr-CA;q=0.9, de;q=0.5"))["output"]
    assert (spoken["locale"], spoken["hi"]) == ("fr-CA", "Bonjour")
    own = {"Authorization": f"Bearer {token}"}
    changed = await house.ask("PUT", "/api/me/locale", json={"locale": "de-AT"}, headers=own)
    assert changed.json()["locale"] == "de-AT"
    assert (await post(house, "around", token, language="fr"))["output"]["hi"] == "Hallo"
    refused = await house.ask("PUT", "/api/me/locale", json={"locale": "../de"}, headers=own)
    assert (refused.status_code, refused.json()["code"]) == (422, "language-invalid")


async def test_the_tenant_says_what_it_is(house: House) -> None:
    changed = await house.ask("PATCH", "/api/tenant", json={"timezone": "Europe/Vienna", "locale": "de-AT"})
    assert changed.status_code == 200, changed.text
    around = (await post(house, "around"))["output"]
    assert around["tenant"] == [TENANT, "Acme", "free", "Europe/Vienna", "de-AT"]
    assert around["locale"] == "de-AT"
    for wrong in ({"timezone": "../etc/passwd"}, {"timezone": "Moon/Base"}, {"locale": "!"}):
        assert (await house.ask("PATCH", "/api/tenant", json=wrong)).status_code == 422
    await house.ask("PATCH", "/api/tenant", json={"timezone": "UTC", "locale": "en"})
    _, token = await member_of(house, "humble")
    own = {"Authorization": f"Bearer {token}"}
    assert (await house.ask("PATCH", "/api/tenant", json={"locale": "fr"}, headers=own)).status_code == 403


async def test_the_user_has_a_name_and_no_address_without_the_permission(house: House) -> None:
    member, token = await member_of(house, "ada")
    assert (await post(house, "around", token))["output"]["user"] == [member, "member", "ada", "en"]
    assert (await post(house, "address", token))["error"]["code"] == "permission-denied"
    grants = (await house.installation("herald")).grants
    await house.platform.lifecycle.set_grants(TENANT, "herald", sorted({*grants, "members:read"}))
    eve = await house.platform.tenants.add_member(RIVAL, "eve", "eve@example.com")
    email, names = (await post(house, "address", token))["output"]
    assert email == "ada@example.com"
    assert "eve" not in names
    result = await house.platform.tenant(TENANT).call("herald", "around", {}, caller=wire.Caller(eve.id, "member"))
    assert result.output["user"] == [eve.id, "member", "", "en"], "another tenant's member is nobody here"
    await house.platform.lifecycle.set_grants(TENANT, "herald", sorted(grants))


async def test_what_a_call_counts_comes_back_and_is_summed(house: House) -> None:
    before = (await house.ask("GET", "/api/plugins/herald/stats")).json()["metrics"]
    answer = await post(house, "count")
    assert answer["output"].startswith("page_")
    metrics = answer["metrics"]
    assert (metrics["tokens_used"], metrics["api_calls"], metrics["custom"]) == (120, 2, {"pages": 3})
    failed = await post(house, "count", arguments={"fail": True})
    assert failed["metrics"]["tokens_used"] == 120, "what was used was used"
    after = (await house.ask("GET", "/api/plugins/herald/stats")).json()["metrics"]
    assert after["tokens_used"] - before.get("tokens_used", 0) == 240
    assert after["pages"] - before.get("pages", 0) == 6


async def test_what_a_plugin_makes_up_past_its_sdk_is_bounded(house: House) -> None:
    custom = (await post(house, "forge"))["metrics"]["custom"]
    assert custom["good"] == 1
    assert len(custom) <= 20
    assert {"Bad Name", "minus", "huge", "x" * 99}.isdisjoint(custom)


async def test_values_are_validated_in_the_isolate(house: House) -> None:
    assert (await post(house, "check", arguments={"value": 5}))["output"] == 5
    error = (await post(house, "check", arguments={"value": 1}))["error"]
    assert (error["code"], error["message"]) == ("validation-failed", "1 is less than the minimum of 3")


async def test_a_plugin_notifies_members_and_they_read_it(house: House) -> None:
    member, token = await member_of(house, "bob")
    own = {"Authorization": f"Bearer {token}"}
    assert (await post(house, "tell", arguments={"to": [member], "title": "Late", "link": "/orders/7"}))["output"] == 1
    listed = (await house.ask("GET", "/api/notifications", headers=own)).json()
    assert listed["unread"] == 1
    (item,) = listed["items"]
    assert (item["plugin"], item["title"], item["link"]) == ("herald", "Late", "/orders/7")
    assert (await house.ask("POST", f"/api/notifications/{item['id']}/read", headers=own)).status_code == 204
    assert (await house.ask("GET", "/api/notifications?unread=true", headers=own)).json()["items"] == []
    muted = await house.ask("PUT", "/api/notifications/preferences", json={"plugins": {"herald": "muted"}}, headers=own)
    assert muted.json()["plugins"]["herald"] == {"email": False, "in_app": False, "webhook": False}
    assert (await post(house, "tell", arguments={"to": [member], "title": "Again"}))["output"] == 0
    # A token without a member is told nothing, and says so.
    assert (await house.ask("GET", "/api/notifications")).json()["code"] == "member-needed"


@pytest.mark.parametrize(
    "arguments",
    [
        {"to": ["nobody"], "title": "x"}, {"to": [], "title": "x"}, {"to": ["all"], "title": ""},
        {"to": ["all"], "title": "a\r\nBcc: x@y"}, {"to": ["all"], "title": "x" * 201},
        {"to": ["all"], "title": "x", "link": "javascript:alert(1)"}, {"to": ["all"], "title": "x", "link": "//evil"},
        {"to": ["all"], "title": "x", "link": "/\\evil"}, {"to": ["all"], "title": "x", "link": "http://plain.example"},
    ],
)  # fmt: skip
async def test_what_cannot_be_told_is_refused(house: House, arguments: dict[str, Any]) -> None:
    error = (await post(house, "tell", arguments=arguments))["error"]
    assert error["code"] in ("arguments-invalid", "recipient-unknown")


async def test_a_webhook_of_a_member_is_set_with_a_secret_that_is_shown_once(house: House) -> None:
    _, token = await member_of(house, "hook")
    own = {"Authorization": f"Bearer {token}"}
    made = await house.ask(
        "PUT", "/api/notifications/webhook", json={"url": "https://hooks.example.com/x"}, headers=own
    )
    assert made.status_code == 200, made.text
    assert made.json()["secret"].startswith("whsec_")
    assert made.headers["cache-control"] == "no-store"
    shown = (await house.ask("GET", "/api/notifications/preferences", headers=own)).json()
    assert shown["webhook_url"] == "https://hooks.example.com/x"
    assert "secret" not in str(shown)
    refused = await house.ask("PUT", "/api/notifications/webhook", json={"url": "http://127.0.0.1/"}, headers=own)
    assert refused.json()["code"] == "webhook-url-invalid"
    assert (await house.ask("DELETE", "/api/notifications/webhook", headers=own)).status_code == 204
    assert (await house.ask("GET", "/api/notifications/unsubscribe?token=none")).status_code == 404

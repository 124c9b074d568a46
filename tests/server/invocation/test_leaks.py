"""A plugin that hands out its secret wherever it can: each place is masked, counted, and told to admins."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from jackfield.capabilities.models import SecretLeak
from jackfield.jobs.models import OutboxEvent
from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project
from tests.server.sealed_house import TENANT, House

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEY = 'p4rrot "9" / umbrella_tulip?sunday+granite'
SOURCE = """
import base64
import json
from typing import Any

import jackfield_sdk as jf

plugin = jf.Plugin(
    "blabber", version="1.0.0", permissions=["secrets:key", "secrets:pin"], emits={"blabber.said": dict[str, Any]}
)
Thing = dict[str, Any]


@plugin.config
class Config:
    key: jf.Secret
    pin: jf.Secret | None = None


def forms(key: str) -> Thing:
    return {
        "plain": key, "inside": f"before {key} after", "list": ["a", {"deep": [key]}], key: "as a name",
        "base64": base64.b64encode(f"ann:{key}".encode()).decode(), "json": json.dumps({"key": key}), "part": key[3:30],
        "harmless": "password = hunter22 and Bearer abcdefghij0123456789", "number": 80124, "text": "80124",
    }


@plugin.function()
def result(ctx: jf.Context) -> Thing:
    return forms(ctx.config.key.reveal())


@plugin.function()
def harmless(ctx: jf.Context) -> Thing:
    ctx.config.key.reveal(), ctx.config.pin.reveal()
    return {"harmless": "password = hunter22 and Bearer abcdefghij0123456789", "number": 80124, "text": "pin 80124"}


@plugin.function()
def emit(ctx: jf.Context) -> str:
    return ctx.events.emit("blabber.said", forms(ctx.config.key.reveal()))


@plugin.function()
def keep(ctx: jf.Context) -> None:
    ctx.storage.set("key", ctx.config.key.reveal())
    ctx.files.write("key.txt", ctx.config.key.reveal())


@plugin.function()
def hand_back(ctx: jf.Context) -> Any:
    return ctx.storage.get("key")


@plugin.function()
def log(ctx: jf.Context) -> None:
    ctx.log.info("using " + ctx.config.key.reveal())


@plugin.filter("order.check", when="has(order.blab)", priority=1)
def check(ctx: jf.Context, thing: Thing) -> Thing:
    return {**thing, "seen": [ctx.config.key.reveal()]}


@plugin.widget("Desk.Top", when="has(payload.blab)", order=1)
def card(ctx: jf.Context, about: Thing) -> jf.ui.Text:
    return jf.ui.Text("the key is " + ctx.config.key.reveal())


@plugin.route("GET", "/json")
def as_json(ctx: jf.Context, request: jf.Request) -> Thing:
    return forms(ctx.config.key.reveal())


@plugin.route("GET", "/bytes")
def as_bytes(ctx: jf.Context, request: jf.Request) -> jf.Response:
    body = b"\\xff\\xfe" + ctx.config.key.reveal().encode() + b"\\x00\\xff"
    return jf.Response(body, content_type="application/octet-stream")
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def blabber(house: House, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """The house, with a plugin in it that hands its secret to everybody."""
    folder = tmp_path_factory.mktemp("blabber")
    (folder / "plugin.py").write_text(SOURCE)
    (folder / "pyproject.toml").write_text('[project]\nname = "blabber"\nversion = "1.0.0"\n')
    key = create_key(folder / "keys")
    package = folder.with_suffix(".jfp")
    pack_project(folder, package, key=key)
    platform = house.platform
    await platform.registry.ensure_publisher("blabs", "Blabs")
    await platform.registry.add_key("blabs", key.public, key.proof("blabs"), name="test")

    async def chunks() -> AsyncIterator[bytes]:
        yield package.read_bytes()

    await platform.registry.publish(chunks(), "blabs")
    grants = ["secrets:key", "secrets:pin", "log", "storage", "files", "events:blabber.*"]
    await platform.lifecycle.install(TENANT, "blabber", grants=grants, config={"key": KEY, "pin": "80124"})
    # The last test removes it.
    yield house


def seen(value: Any) -> list[str]:
    """Parts of the secret, as long as any that is of use, in any of its forms."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    whole = [KEY, json.dumps(KEY)[1:-1], base64.b64encode(f"ann:{KEY}".encode()).decode()[8:]]
    parts = {form[at : at + 15] for form in whole for at in range(len(form) - 15)}
    return [part for part in parts if part in text or part in text.replace('\\"', '"')]


async def call(house: House, name: str) -> Any:
    answer = await house.ask("POST", f"/api/plugins/blabber/functions/{name}", json={"arguments": {}})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def told(house: House) -> dict[tuple[str, str], dict[str, Any]]:
    answer = await house.ask("GET", "/api/plugins/blabber/leaks", who="admin")
    assert answer.status_code == 200, answer.text
    return {(leak["place"], leak["handler"]): leak for leak in answer.json()["items"]}


async def count(house: House, place: str, handler: str) -> int:
    leak = (await told(house)).get((place, handler))
    return 0 if leak is None else leak["count"]


async def test_a_result_is_masked_where_it_has_the_secret_and_nowhere_else(blabber: House) -> None:
    before = await count(blabber, "result", "function result")
    output = (await call(blabber, "result"))["output"]
    assert seen(output) == []
    assert output["inside"] == "before [redacted] after"
    assert output["list"] == ["a", {"deep": ["[redacted]"]}]
    assert output["[redacted]"] == "as a name"
    # Data is no message: what merely looks like a secret, and what is as short as a number, is left alone.
    assert output["harmless"] == "password = hunter22 and Bearer abcdefghij0123456789"
    assert (output["number"], output["text"]) == (80124, "80124")
    assert await count(blabber, "result", "function result") - before >= 7
    row = (await blabber.ask("GET", "/api/plugins/blabber/invocations")).json()["items"][0]
    assert row["secret_leaks"] >= 7


async def test_what_is_harmless_is_no_leak(blabber: House) -> None:
    output = (await call(blabber, "harmless"))["output"]
    assert output["text"] == "pin 80124"
    assert await count(blabber, "result", "function harmless") == 0


async def test_a_filtered_value_is_masked(blabber: House) -> None:
    answer = await blabber.ask("POST", "/api/filters/order.check", json={"blab": True, "seen": []})
    assert answer.status_code == 200, answer.text
    assert seen(answer.json()) == []
    assert "[redacted]" in answer.text
    assert await count(blabber, "result", "filter order.check") >= 1


async def test_a_widget_is_masked(blabber: House) -> None:
    found = await blabber.platform.tenant(TENANT).widgets("Desk.Top", {"blab": True, "n": 1})
    texts = [repr(widget) for widget in found if "the key is" in repr(widget)]
    assert len(texts) == 1
    assert seen(texts[0]) == []
    assert "the key is [redacted]" in texts[0]
    assert await count(blabber, "result", "widget Desk.Top") >= 1


async def test_what_a_route_answers_is_masked_in_text_and_bytes(blabber: House) -> None:
    answer = await blabber.ask("GET", "/api/plugins/blabber/api/json")
    assert answer.status_code == 200, answer.text
    assert seen(answer.text) == []
    answer = await blabber.ask("GET", "/api/plugins/blabber/api/bytes")
    assert answer.content == b"\xff\xfe[redacted]\x00\xff"
    assert any(place == "result" and handler.startswith("route ") for place, handler in await told(blabber))


async def test_an_event_is_masked_before_it_is_committed(blabber: House) -> None:
    event_id = (await call(blabber, "emit"))["output"]
    async with blabber.platform.database.read(TENANT) as session:
        payload = await session.scalar(select(OutboxEvent.payload).where(OutboxEvent.id == event_id))
    assert payload is not None
    assert seen(payload) == []
    assert "before [redacted] after" in payload
    leak = (await told(blabber))["events", "function emit"]
    assert leak["is_masked"] is True
    assert leak["count"] >= 7


async def test_what_the_plugin_keeps_stays_and_is_reported(blabber: House) -> None:
    await call(blabber, "keep")
    leaks = await told(blabber)
    for place in ("storage", "files"):
        assert leaks[place, "function keep"]["is_masked"] is False
    assert (await call(blabber, "hand_back"))["output"] == "[redacted]"


async def test_a_log_line_is_reported_with_the_handler_and_the_call(blabber: House) -> None:
    answer = await call(blabber, "log")
    leak = (await told(blabber))["log", "function log"]
    assert leak["count"] >= 1
    assert leak["invocation_id"] == answer["metrics"]["invocation_id"]
    assert leak["first_at"] <= leak["last_at"]


async def test_the_first_time_is_in_the_audit_trail_and_no_further_one(blabber: House) -> None:
    for _ in range(2):
        await call(blabber, "log")
        await told(blabber)
    entries = (await blabber.ask("GET", "/api/audit", params={"target": "blabber", "limit": 200})).json()["items"]
    found = [entry for entry in entries if entry["action"] == "plugin.secret-leak"]
    assert len([entry for entry in found if entry["after"]["place"] == "log"]) == 1
    assert seen(entries) == []


async def test_leaks_are_for_admins_of_the_tenant_alone(blabber: House) -> None:
    assert (await blabber.ask("GET", "/api/plugins/blabber/leaks", who="member")).status_code == 403
    assert (await blabber.ask("GET", "/api/plugins/blabber/leaks", who="rival")).status_code == 404
    assert (await blabber.ask("GET", "/api/plugins/blabber/leaks", who=None)).status_code == 401


# -- the write-only API ------------------------------------------------------------------------------------------------


async def secrets(house: House) -> dict[str, dict[str, Any]]:
    answer = await house.ask("GET", "/api/plugins/blabber/secrets", who="admin")
    assert answer.status_code == 200, answer.text
    return {secret["name"]: secret for secret in answer.json()["items"]}


async def test_secrets_are_shown_by_everything_but_their_value(blabber: House) -> None:
    await call(blabber, "log")
    await blabber.platform.housekeeping.flush()
    shown = await secrets(blabber)
    assert shown["key"]["is_set"] is True
    assert shown["key"]["set_at"] is not None
    assert shown["key"]["last_used_at"] is not None
    assert shown["key"]["last_used_by"] == "function log"
    assert seen(shown) == []


async def test_one_secret_is_set_replaced_and_removed_and_never_comes_back(blabber: House) -> None:
    path = "/api/plugins/blabber/secrets/pin"
    assert (await blabber.ask("DELETE", path, who="admin")).status_code == 204
    assert (await secrets(blabber))["pin"] == {
        "name": "pin", "is_set": False, "set_at": None, "set_by": None, "last_used_at": None, "last_used_by": None,
    }  # fmt: skip
    answer = await blabber.ask("PUT", path, who="admin", json={"value": "80124"})
    assert (answer.status_code, answer.content) == (204, b"")
    shown = await secrets(blabber)
    assert shown["pin"]["is_set"] is True
    assert shown["pin"]["set_by"].startswith("admin:")
    assert "80124" not in json.dumps(shown)
    assert shown["key"]["is_set"] is True
    refused = await blabber.ask("PUT", path, who="admin", json={"value": ""})
    assert refused.status_code == 422


async def test_what_is_no_secret_or_needed_is_refused(blabber: House) -> None:
    answer = await blabber.ask("PUT", "/api/plugins/blabber/secrets/nothing", who="admin", json={"value": "x"})
    assert (answer.status_code, answer.json()["code"]) == (404, "secret-unknown")
    answer = await blabber.ask("DELETE", "/api/plugins/blabber/secrets/key", who="admin")
    assert answer.json()["code"] == "needs-configuration"
    for who in ("member", "rival"):
        answer = await blabber.ask("PUT", "/api/plugins/blabber/secrets/pin", who=who, json={"value": "x"})
        assert answer.status_code in (403, 404)


# -- files over HTTP ---------------------------------------------------------------------------------------------------


async def test_a_file_is_downloaded_and_never_opened(blabber: House) -> None:
    await call(blabber, "keep")
    answer = await blabber.ask("GET", "/api/plugins/blabber/files/key.txt", who="admin")
    assert answer.status_code == 200
    assert answer.text == KEY
    assert answer.headers["content-disposition"] == "attachment; filename=\"key.txt\"; filename*=UTF-8''key.txt"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")
    again = await blabber.ask(
        "GET", "/api/plugins/blabber/files/key.txt", who="admin", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    for who, status in (("member", 404), ("rival", 404), (None, 401), ("operator", 403)):
        answer = await blabber.ask("GET", "/api/plugins/blabber/files/key.txt", who=who)
        assert answer.status_code == status
        assert KEY not in answer.text
    listed = (await blabber.ask("GET", "/api/plugins/blabber/files", who="admin")).json()["items"]
    assert [file["path"] for file in listed] == ["key.txt"]
    assert (await blabber.ask("GET", "/api/plugins/blabber/files", who="member")).json()["items"] == []
    for path in ("nothing", "..%2f..%2fetc%2fpasswd", "../secrets"):
        answer = await blabber.ask("GET", f"/api/plugins/blabber/files/{path}", who="member")
        assert answer.status_code in (403, 404)


# -- keys over HTTP ----------------------------------------------------------------------------------------------------


async def test_operators_rotate_keys_while_plugins_use_their_secrets(blabber: House) -> None:
    for who in ("owner", "admin", "rival", None):
        for method, path in (("GET", ""), ("POST", "/rotate"), ("POST", "/renew"), ("DELETE", "/x")):
            answer = await blabber.ask(method, f"/api/operations/keys{path}", who=who, json={"tenant_id": TENANT})
            assert answer.status_code in (401, 403)
    before = (await blabber.ask("GET", "/api/operations/keys", who="operator")).json()
    answer = await blabber.ask("POST", "/api/operations/keys/rotate", who="operator")
    assert answer.status_code == 202, answer.text
    await call(blabber, "log")
    await blabber.platform.rotation.rewrap()
    after = (await blabber.ask("GET", "/api/operations/keys", who="operator")).json()
    assert after["remaining"] == 0
    old = before["keys"][0]["id"]
    assert after["keys"][0]["id"] != old
    assert (await blabber.ask("DELETE", f"/api/operations/keys/{old}", who="operator")).status_code == 200
    assert (await call(blabber, "log"))["success"] is True
    answer = await blabber.ask("POST", "/api/operations/keys/renew", who="operator", json={"tenant_id": TENANT})
    assert answer.status_code == 202
    await blabber.platform.rotation.rewrap()
    assert (await call(blabber, "log"))["success"] is True


async def test_nothing_of_it_is_left_when_it_is_gone(blabber: House) -> None:
    await call(blabber, "log")
    removed = (await blabber.platform.active.get(TENANT)).by_slug["blabber"].id
    await blabber.platform.lifecycle.uninstall(TENANT, "blabber")
    await blabber.platform.housekeeping.flush()
    async with blabber.platform.database.read(None) as session:
        assert list(await session.scalars(select(SecretLeak).where(SecretLeak.installation_id == removed))) == []

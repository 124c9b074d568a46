"""Webhooks from outside to a sealed plugin, and events from inside to a receiver, through the HTTP API."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from stripe import WebhookSignature
from structlog.contextvars import get_contextvars

from jackfield import Event, Platform, Settings, Surface, ensure_key_file
from jackfield.invocation import Invocation, Outcome
from jackfield.settings import EgressSettings, WebhookSettings
from jackfield.tracing import here, trace_id_of
from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project
from tests.server.webhooks.conftest import Receiver
from tests.servers.serving import serving

SOURCE = """
from typing import Any

import jackfield_sdk as jf

plugin = jf.Plugin("cashier", version="VERSION", emits={"cashier.paid": dict[str, Any]}, permissions=["events:emit"])


@plugin.config
class Config:
    stripe_key: jf.Secret | None = None
    standard_key: jf.Secret | None = None


def note(ctx: jf.Context, name: str, request: jf.Request) -> None:
    ctx.storage.set("seen", [*ctx.storage.get("seen", []), [
        name, request.method, request.path, dict(request.query), dict(request.headers), request.body.hex(),
        ctx.delivery.attempt,
    ]])


@plugin.webhook("open", verify="none")
def opened(ctx: jf.Context, request: jf.Request) -> Any:
    note(ctx, "open", request)
    if request.query.get("fail"):
        raise RuntimeError("broken")
    if request.query.get("tell"):
        ctx.events.emit("cashier.paid", {"n": 1})
    return jf.Response("not sent", status=418)


@plugin.webhook("stripe", verify="stripe", secret="stripe_key")
def stripe(ctx: jf.Context, request: jf.Request) -> None:
    note(ctx, "stripe", request)


@plugin.webhook("standard", secret="standard_key")
def standard(ctx: jf.Context, request: jf.Request) -> None:
    note(ctx, "standard", request)


@plugin.function()
def seen(ctx: jf.Context) -> list[Any]:
    return ctx.storage.get("seen", [])
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


class House:
    def __init__(self, platform: Platform, folder: Path, key: Any, receiver: Receiver) -> None:
        self.platform, self.folder, self.key, self.receiver = platform, folder, key, receiver
        self.numbers = iter(range(1000))
        self.tenant = ""
        self.owner: httpx.AsyncClient

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.platform.asgi), base_url="http://test",
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
        )  # fmt: skip

    async def publish(self, version: str, source: str = SOURCE) -> None:
        project = self.folder / version
        project.mkdir()
        (project / "plugin.py").write_text(source.replace("VERSION", version))
        (project / "pyproject.toml").write_text(f'[project]\nname = "cashier"\nversion = "{version}"\n')
        pack_project(project, project / "out.jfp", key=self.key)
        token = (await self.platform.tenants.issue_token("publisher", publisher_id="pub")).plaintext
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
        async with self.client() as client:
            answer = await client.post(
                "/api/registry/releases", content=(project / "out.jfp").read_bytes(), headers=headers
            )
        assert answer.status_code == 201, answer.text

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        answer = await self.owner.request(method, f"/api{path}", json=body or None)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def urls(self) -> dict[str, str | None]:
        found = (await self.ask("GET", "/plugins/cashier/webhooks"))["items"]
        return {one["name"]: one["url"] for one in found}

    async def post(self, url: str | None, body: bytes = b"{}", **options: Any) -> httpx.Response:
        assert url is not None
        async with self.client() as stranger:
            return await stranger.post(url.removeprefix("http://127.0.0.1:8000"), content=body, **options)

    async def seen(self) -> list[Any]:
        await self.platform.drain_events()
        return (await self.ask("POST", "/plugins/cashier/functions/seen", arguments={}))["output"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def building(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("house")
    ensure_key_file(folder / "data")
    key = create_key(folder / "keys")
    receiver = Receiver()
    settings = Settings(
        data_dir=folder / "data", isolation="unprivileged", webhooks=WebhookSettings(per_minute=20, body_bytes=4096),
        egress=EgressSettings(allowed=("127.0.0.1",), plain_http=True),
    )  # fmt: skip
    with serving(receiver.app) as url:
        receiver.url = f"{url}/hook"
        async with Platform(settings, Surface(events=[Event("sale.created")])) as platform:
            await platform.registry.ensure_publisher("pub", "Pub")
            await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")
            house = House(platform, folder, key, receiver)
            await house.publish("1.0.0")
            yield house


@pytest_asyncio.fixture(loop_scope="module")
async def house(building: House) -> AsyncIterator[House]:
    """A tenant of its own for each test, with the plugin at work."""
    building.tenant = f"t{next(building.numbers)}"
    building.receiver.requests.clear()
    building.receiver.answers.clear()
    await building.platform.tenants.ensure_tenant(building.tenant, name=building.tenant)
    token = (await building.platform.tenants.issue_token("owner", tenant_id=building.tenant)).plaintext
    async with building.client(token) as owner:
        building.owner = owner
        await building.ask("POST", "/plugins/install", slug="cashier", version="1.0.0", grants=["events:emit"])
        yield building


async def test_a_webhook_reaches_the_plugin_after_its_sender_was_answered(house: House) -> None:
    urls = await house.urls()
    assert all(url is not None for url in urls.values())
    assert await house.urls() == {"open": None, "stripe": None, "standard": None}, "shown once"
    answer = await house.post(
        urls["open"] + "?a=1&b=2" if urls["open"] else None, b"\x00\xff body",
        headers={"X-Shop-Topic": "orders", "Authorization": "Basic x", "Cookie": "a=b", "X-Api-Key": "k",
                 "X-Forwarded-For": "10.0.0.1", "Content-Type": "text/plain"},
    )  # fmt: skip
    assert answer.status_code == 202, answer.text
    ((name, method, path, query, headers, body, attempt),) = await house.seen()
    assert (name, method, path, query, attempt) == ("open", "POST", "/webhooks/open", {"a": "1", "b": "2"}, 1)
    assert bytes.fromhex(body) == b"\x00\xff body"
    assert headers["x-shop-topic"] == "orders"
    assert headers["content-type"] == "text/plain"
    assert not {"authorization", "cookie", "x-api-key", "x-forwarded-for", "host", "connection"} & set(headers)
    history = (await house.ask("GET", "/plugins/cashier/webhooks/open/deliveries"))["items"]
    assert [(one["id"], one["state"]) for one in history] == [(answer.json()["delivery_id"], "done")]
    calls = (await house.ask("GET", "/plugins/cashier/invocations"))["items"]
    assert [call["name"] for call in calls if call["kind"] == "webhook"] == ["open"]
    (listed,) = [one for one in (await house.ask("GET", "/plugins/cashier/webhooks"))["items"] if one["name"] == "open"]
    assert listed["received_at"]


async def test_what_comes_twice_runs_once(house: House) -> None:
    url = (await house.urls())["open"]
    first, second = await house.post(url, b"once"), await house.post(url, b"once")
    assert (first.json()["duplicate"], second.json()["duplicate"]) == (False, True)
    assert first.json()["delivery_id"] == second.json()["delivery_id"]
    assert len(await house.seen()) == 1


async def test_a_handler_that_fails_has_it_again_and_the_sender_does_not_know(house: House) -> None:
    url = (await house.urls())["open"]
    answer = await house.post(f"{url}?fail=1", b"x")
    assert answer.status_code == 202
    await house.platform.drain_events()
    (one,) = (await house.ask("GET", "/plugins/cashier/webhooks/open/deliveries"))["items"]
    assert (one["state"], one["failures"]) == ("pending", 1)


async def test_only_what_stripe_signed_with_the_configured_secret_comes_in(house: House) -> None:
    url = (await house.urls())["stripe"]
    payload = json.dumps({"id": f"evt_{house.tenant}", "type": "charge.succeeded"})
    moment = int(time.time())

    def signed(secret: str, at: int = moment) -> dict[str, str]:
        made = WebhookSignature._compute_signature(f"{at}.{payload}", secret)  # pyright: ignore[reportPrivateUsage]  # it has no other that signs
        return {"Stripe-Signature": f"t={at},v1={made}"}

    unset = await house.post(url, payload.encode(), headers=signed("whsec_a"))
    assert (unset.status_code, unset.json()["code"]) == (401, "webhook-refused")
    assert "secret" not in unset.text, "the sender learns nothing of why"
    await house.ask("PUT", "/plugins/cashier/secrets/stripe_key", value="whsec_a whsec_b")
    for headers in ({}, signed("whsec_c"), signed("whsec_a", moment - 400), {"Stripe-Signature": "t=1,v1="}):
        answer = await house.post(url, payload.encode(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "webhook-refused")
    assert await house.seen() == []
    listed = {one["name"]: one for one in (await house.ask("GET", "/plugins/cashier/webhooks"))["items"]}
    assert listed["stripe"]["refusal"] == "secret-not-set"
    good = await house.post(url, payload.encode(), headers=signed("whsec_b"))
    assert good.status_code == 202
    again = await house.post(url, payload.encode(), headers=signed("whsec_a"))
    assert again.json()["duplicate"] is True
    ((name, *_),) = await house.seen()
    assert name == "stripe"
    secrets = (await house.ask("GET", "/plugins/cashier/secrets"))["items"]
    await house.platform.housekeeping.flush()
    secrets = {one["name"]: one for one in (await house.ask("GET", "/plugins/cashier/secrets"))["items"]}
    assert secrets["stripe_key"]["last_used_by"] == "webhook stripe"


async def test_an_address_that_nobody_has_and_one_of_a_plugin_at_rest(house: House) -> None:
    url = (await house.urls())["open"]
    unknown = await house.post("/api/webhooks/" + "A" * 43)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "webhook-address-unknown")
    await house.ask("POST", "/plugins/cashier/deactivate")
    resting = await house.post(url)
    assert (resting.status_code, resting.json()["code"]) == (503, "webhook-inactive")
    assert resting.headers["retry-after"] == "300"
    await house.ask("POST", "/plugins/cashier/activate")
    assert (await house.post(url)).status_code == 202, "the address is the same"
    rotated = (await house.ask("POST", "/plugins/cashier/webhooks/open/rotate", overlap_s=0))["url"]
    assert (await house.post(url)).status_code == 404
    assert (await house.post(rotated, b"other")).status_code == 202
    missing = await house.owner.post("/api/plugins/cashier/webhooks/nothing/rotate")
    assert (missing.status_code, missing.json()["code"]) == (404, "webhook-unknown")
    assert (await house.ask("GET", "/plugins/cashier/inventory"))["owned"]["webhooks"] == 3
    await house.ask("DELETE", "/plugins/cashier?data=delete")
    assert (await house.post(rotated)).status_code == 404


async def test_quarantine_holds_what_comes_in_until_the_plugin_is_back(house: House) -> None:
    url = (await house.urls())["open"]
    installed = await house.platform.lifecycle.get(house.tenant, "cashier")
    assert await house.platform.lifecycle.quarantine(
        house.tenant, installed.id, ("crash-loop", "it dies"), revision=installed.revision
    )
    assert (await house.post(url, b"kept")).status_code == 202
    await house.platform.drain_events()
    await house.ask("POST", "/plugins/cashier/activate")
    ((name, *_),) = await house.seen()
    assert name == "open"


async def test_a_release_without_the_webhook_has_no_address_and_a_rollback_brings_it_back(house: House) -> None:
    url = (await house.urls())["open"]
    if not (house.folder / "1.1.0").exists():
        await house.publish("1.1.0", SOURCE.replace('@plugin.webhook("open", verify="none")', "# gone"))
    await house.ask("POST", "/plugins/cashier/update", version="1.1.0")
    assert (await house.post(url, b"a")).status_code == 404
    assert set(await house.urls()) == {"stripe", "standard"}
    await house.ask("POST", "/plugins/cashier/rollback")
    assert (await house.post(url, b"b")).status_code == 202


async def test_too_many_and_too_large_are_refused(house: House) -> None:
    url = (await house.urls())["open"]
    large = await house.post(url, b"x" * 5000)
    assert (large.status_code, large.json()["code"]) == (413, "body-too-large")
    answers = [await house.post(url, str(number).encode()) for number in range(25)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 5
    assert refused[0].json()["code"] == "webhook-rate-exceeded"
    assert int(refused[0].headers["retry-after"]) >= 1


async def test_only_admins_see_addresses_and_endpoints(house: House) -> None:
    token = (await house.platform.tenants.issue_token("member", tenant_id=house.tenant)).plaintext
    async with house.client(token) as member:
        for method, path in (
            ("GET", "/api/plugins/cashier/webhooks"), ("POST", "/api/plugins/cashier/webhooks/open/rotate"),
            ("GET", "/api/webhook-endpoints"), ("POST", "/api/webhook-endpoints"),
        ):  # fmt: skip
            assert (await member.request(method, path, json={})).status_code == 403
    assert all((await house.urls()).values()), "nobody has seen them yet"


async def test_events_of_the_host_and_of_plugins_go_out_to_an_endpoint(house: House) -> None:
    added = await house.owner.post(
        "/api/webhook-endpoints", json={"url": house.receiver.url, "events": ["sale.*", "cashier.paid"]}
    )
    assert (added.status_code, added.headers["cache-control"]) == (201, "no-store")
    endpoint, secret = added.json(), added.json()["secret"]
    assert "secret" not in (await house.ask("GET", f"/webhook-endpoints/{endpoint['id']}"))
    await house.platform.tenant(house.tenant).emit("sale.created", {"total": 7})
    url = (await house.urls())["open"]
    await house.post(f"{url}?tell=1")
    await house.platform.drain_events()
    await house.platform.drain_events()
    assert sorted(json.loads(body)["type"] for _, body in house.receiver.requests) == ["cashier.paid", "sale.created"]
    for headers, body in house.receiver.requests:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        made = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
        assert headers["webhook-signature"] == f"v1,{base64.b64encode(made).decode()}"
    log = (await house.ask("GET", f"/webhook-endpoints/{endpoint['id']}/deliveries?state=done"))["items"]
    assert [one["attempts"][0]["status"] for one in log] == [204, 204]
    again = await house.ask("POST", f"/webhook-endpoints/{endpoint['id']}/deliveries/{log[0]['id']}/replay")
    assert again["state"] == "pending"
    await house.platform.drain_events()
    assert len(house.receiver.requests) == 3
    one = await house.ask("GET", f"/webhook-endpoints/{endpoint['id']}/deliveries/{log[0]['id']}")
    assert [attempt["attempt"] for attempt in one["attempts"]] == [1, 2]
    tested = await house.ask("POST", f"/webhook-endpoints/{endpoint['id']}/test")
    assert (tested["status"], tested["error_code"]) == (204, None)
    rotated = await house.ask("POST", f"/webhook-endpoints/{endpoint['id']}/rotate")
    assert rotated["secret"] != secret
    off = await house.ask("PATCH", f"/webhook-endpoints/{endpoint['id']}", is_active=False)
    assert off["is_active"] is False
    refused = await house.owner.post(
        f"/api/webhook-endpoints/{endpoint['id']}/replay", json={"since": "2026-01-01T00:00:00Z"}
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "webhook-endpoint-inactive")
    # A delivery of a plugin is none of an endpoint's.
    mine = (await house.ask("GET", "/plugins/cashier/webhooks/open/deliveries"))["items"][0]["id"]
    foreign = await house.owner.get(f"/api/webhook-endpoints/{endpoint['id']}/deliveries/{mine}")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "delivery-not-found")
    await house.ask("DELETE", f"/webhook-endpoints/{endpoint['id']}")
    assert (await house.ask("GET", "/webhook-endpoints"))["items"] == []


async def test_an_endpoint_that_is_switched_off_by_the_platform_is_told_to_the_admins(house: House) -> None:
    member = await house.platform.tenants.add_member(house.tenant, "Ada", "ada@example.com", "owner")
    added = await house.ask("POST", "/webhook-endpoints", url=house.receiver.url, events=["*"], description="Books")
    house.receiver.failing(1, 410)
    await house.platform.tenant(house.tenant).emit("sale.created", {"total": 7})
    await house.platform.drain_events()
    assert (await house.ask("GET", f"/webhook-endpoints/{added['id']}"))["disabled_because"] == "gone"
    token = (await house.platform.tenants.issue_token("owner", tenant_id=house.tenant, member_id=member.id)).plaintext
    async with house.client(token) as ada:
        (note,) = (await ada.get("/api/notifications")).json()["items"]
    assert note["title"] == "Webhooks to Books are off"


async def test_a_webhook_and_its_handler_belong_to_the_trace_that_the_sender_named(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, bound, trace = (await house.urls())["open"], list[dict[str, Any]](), "4bf92f3577b34da6a3ce929d0e0e4736"
    run = house.platform.invoker.run

    async def looked_at(invocation: Invocation) -> Outcome:
        # Others' deliveries, put off in the tests before, may come due here.
        if invocation.kind == "webhook" and get_contextvars().get("tenant_id") == house.tenant:
            bound.append({**get_contextvars(), "trace_id": trace_id_of(here())})
        return await run(invocation)

    monkeypatch.setattr(house.platform.invoker, "run", looked_at)
    sent = await house.post(url, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    await house.platform.drain_events()
    installed = await house.ask("GET", "/plugins/cashier")
    assert bound == [
        {"tenant_id": house.tenant, "installation_id": installed["id"], "plugin": "cashier",
         "delivery_id": sent.json()["delivery_id"], "trace_id": trace},
    ]  # fmt: skip
    calls = (await house.ask("GET", "/plugins/cashier/invocations"))["items"]
    assert [call["trace_id"] for call in calls if call["kind"] == "webhook"] == [trace]

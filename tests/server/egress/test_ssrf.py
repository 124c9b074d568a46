"""Every way that is known of making a server reach what it should not: the egress row of the design's attack table.

A canary listens on loopback in each case. A case has passed when the request was refused and the canary saw nothing.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import zlib
from pathlib import Path

import pytest

from jackfield.egress import (
    AddressRefusedError,
    EgressError,
    EgressTimeoutError,
    HostNotGrantedError,
    HostUnreachableError,
    RedirectRefusedError,
    RequestRefusedError,
    ResponseRefusedError,
    ResponseTooLargeError,
    UrlRefusedError,
)
from tests.server.egress.conftest import Make, Send
from tests.server.egress.world import Canary, Dns, Received, Web, ok

ANY_PORT = 443
PUBLIC = "93.184.215.14"


def everything(port: int) -> tuple[str, ...]:
    """Grants that cover any host on a port: only addresses stand between the plugin and its goal."""
    return ("*", f"*:{port}")


# -- addresses, in every spelling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [
    "127.0.0.1", "127.1.2.3", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "192.0.0.1", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250",
    "240.0.0.1", "255.255.255.255",
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[0000::0001]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:a9fe:a9fe]", "[::ffff:0:127.0.0.1]", "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[64:ff9b::5db8:d70e]",
    "[2002:7f00:1::]", "[2002:a00:1::1]", "[2002:5db8:d70e::1]",
    "[2001:0:5db8:d70e::1]", "[2001:db8::1]", "[2001:10::1]", "[2001:20::1]",
    "[fc00::1]", "[fd00::1]", "[fd00:ec2::254]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "[ff0e::1]",
    "[100::1]", "[5f00::1]", "[3fff::1]", "[4000::1]", "[8000::1]",
])  # fmt: skip
async def test_an_address_that_is_not_public_is_refused(send: Send, canary: Canary, host: str) -> None:
    with pytest.raises(AddressRefusedError):
        await send(f"http://{host}:{canary.port}/", hosts=everything(canary.port))


@pytest.mark.parametrize("host", [
    "2130706433", "0x7f000001", "0x7F.0.0.1", "017700000001", "0177.0.0.1", "0177.0.0.01", "127.1", "127.0.1", "1.1",
    "0", "0x0", "00.00.00.00", "127.0.0.1.", "127.0.0.01", "127.0.0.0x1", "127.0x0.1", "4294967295", "0x100000001",
    "256.256.256.256", "127.0.0.1.5", "999999999999999999999",
    "１２７.0.0.1", "①②⑦.⓪.⓪.①", "127。0。0。1", "127.0.0.١", "१२७.0.0.1", "localhost%00.example", "127.0.0.1%2f",
    "[::1%25lo]", "[::1%lo]", "[fe80::1%eth0]", "[::1", "::1", "[127.0.0.1]", "[::ffff:127.0.0.1]x", "[]",
])  # fmt: skip
async def test_an_odd_spelling_is_no_url(send: Send, dns: Dns, canary: Canary, host: str) -> None:
    with pytest.raises(UrlRefusedError):
        await send(f"http://{host}:{canary.port}/", hosts=everything(canary.port))
    assert dns.asked == []


@pytest.mark.parametrize("url", [
    "http://public.example@127.0.0.1:{port}/", "http://127.0.0.1:{port}@public.example/",
    "http://user:pass@127.0.0.1:{port}/", "http://public.example:80@127.0.0.1:{port}/",
    "http://@127.0.0.1:{port}/", "http://public.example%40127.0.0.1:{port}/",
    "http://public.example\\@127.0.0.1:{port}/", "http:\\\\127.0.0.1:{port}/", "http://127.0.0.1:{port}\\@public.example/",
    "http:127.0.0.1:{port}/", "http:/127.0.0.1:{port}/", "http:///127.0.0.1:{port}/", "//127.0.0.1:{port}/",
    "http://public.example#@127.0.0.1:{port}/".replace("#", "\t"), "http://public.example\r\nHost: 127.0.0.1/",
    "http://127.0.0.1:{port}/\r\nX-Evil: 1", "http://127.0.0.1:{port}/ HTTP/1.1\r\nX: y", "http://127.0.0.1 :{port}/",
    " http://127.0.0.1:{port}/", "http://127.0.0.1:{port}/\n", "http://127.0.0.1:{port}/\x00",
    "http://127.0.0.1:0{port}/", "http://127.0.0.1:+{port}/", "http://127.0.0.1:{port}:80/", "http://127.0.0.1:/",
    "http://127.0.0.1:0/", "http://127.0.0.1:65536/", "http://127.0.0.1:{port}a/", "http://127.0.0.1:\u0661/",
    "http://public.example:{port}/\u2028", "http://pub\u200blic.example/", "http://pub\u00adlic.example/",
    "http://xn--a/", "http://xn--\x7f.example/", "http://-evil.example/", "http://evil-.example/", "http://a..example/",
    "http://.example/", "http://example./", "http://{long}.example/", "http://exa mple/", "http://exa_mple!/",
    "http://*.example/", "http://exa<mple/", "http://exa|mple/", "http://exa^mple/",
    "file:///etc/passwd", "file://127.0.0.1/etc/passwd", "gopher://127.0.0.1:{port}/_x", "ftp://127.0.0.1:{port}/",
    "dict://127.0.0.1:{port}/", "ldap://127.0.0.1:{port}/", "data:text/plain,x", "javascript:alert(1)", "unix:/run/x",
    "http+unix://%2frun%2fx/", "ws://127.0.0.1:{port}/", "wss://127.0.0.1:{port}/", "jar:http://127.0.0.1!/",
    "httpx://127.0.0.1/", "https", "", "http://", "https://", "http://?x", "http://#x",
    "/etc/passwd", "127.0.0.1:{port}",
])  # fmt: skip
async def test_a_url_that_two_might_read_differently_is_none(send: Send, dns: Dns, canary: Canary, url: str) -> None:
    written = url.replace("{port}", str(canary.port)).replace("{long}", "a" * 64)
    with pytest.raises(UrlRefusedError):
        await send(written, hosts=everything(canary.port))
    assert dns.asked == []


async def test_a_url_may_not_be_endless(send: Send, canary: Canary) -> None:
    with pytest.raises(UrlRefusedError):
        await send("https://public.example/" + "a" * 10_000, hosts=everything(canary.port))


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("addresses", [
    ["127.0.0.1"], ["10.1.2.3"], ["169.254.169.254"], ["0.0.0.0"], ["::1"], ["::ffff:127.0.0.1"], ["fd00::1"],
    ["64:ff9b::7f00:1"], ["2002:7f00:1::"], ["224.0.0.1"], ["fe80::1"],
    [PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], [PUBLIC, "::1"], [PUBLIC] * 3 + ["192.168.0.1"],
])  # fmt: skip
async def test_a_name_with_one_address_that_is_not_public_is_refused_whole(
    send: Send, dns: Dns, canary: Canary, addresses: list[str]
) -> None:
    dns.names["rebound.example"] = addresses
    with pytest.raises(AddressRefusedError):
        await send(f"http://rebound.example:{canary.port}/", hosts=everything(canary.port))


@pytest.mark.parametrize("aliases", [
    {"a.example": ["=inner.example"], "inner.example": ["127.0.0.1"]},
    {"a.example": ["=b.example"], "b.example": ["=c.example"], "c.example": ["=d.example"], "d.example": ["10.0.0.1"]},
    {"a.example": ["=public.example"], "public.example": [PUBLIC, "127.0.0.1"]},
])  # fmt: skip
async def test_aliases_are_followed_to_the_address_that_counts(
    send: Send, dns: Dns, canary: Canary, aliases: dict[str, list[str]]
) -> None:
    dns.names.update(aliases)
    with pytest.raises(AddressRefusedError):
        await send(f"http://a.example:{canary.port}/", hosts=everything(canary.port))


async def test_aliases_in_a_circle_end(send: Send, dns: Dns, canary: Canary) -> None:
    dns.names.update({"a.example": lambda: ["=b.example"], "b.example": lambda: ["=a.example"]})
    with pytest.raises(HostUnreachableError):
        await send(f"http://a.example:{canary.port}/", hosts=everything(canary.port))


async def test_an_alias_that_the_server_does_not_resolve_is_asked_for(send: Send, dns: Dns, canary: Canary) -> None:
    dns.names.update({"a.example": ["=b.example"], "b.example": lambda: ["127.0.0.1"]})
    with pytest.raises(AddressRefusedError):
        await send(f"http://a.example:{canary.port}/", hosts=everything(canary.port))
    assert "b.example" in dns.asked


async def test_rebinding_a_name_is_looked_up_once_for_each_connection(
    make: Make, send: Send, dns: Dns, canary: Canary, secure: tuple[Web, Path]
) -> None:
    """Public when it is checked, private when it is connected to: the trick needs a second look-up, and there is none.

    The “public” address is one that the operator allows, so that something answers there; the canary is at another.
    """
    web, authority = secure
    turns = itertools.chain(["127.0.0.1"], itertools.repeat("127.0.0.2"))
    dns.names["api.example"] = lambda: [next(turns)]
    web.answers["/"] = ok()
    egress = make(allowed=("127.0.0.1/32",), ca_file=authority)
    url, hosts = f"https://api.example:{web.port}/", (f"api.example:{web.port}",)
    # Asked for both kinds of address at once, the server says the good one to whoever comes first; the answer of the
    # wrong kind is empty. Either way nothing but what was checked is connected to.
    try:
        response = await send(url, hosts=hosts, egress=egress)
    except (AddressRefusedError, HostUnreachableError):
        assert web.connections == 0
    else:
        assert response.status == 200
    asked = len(dns.asked)
    assert asked == 2
    with pytest.raises(AddressRefusedError):
        await send(url, hosts=hosts, egress=egress, installation="another")
    assert len(dns.asked) == asked + 2


async def test_rebinding_between_two_requests_is_seen(make: Make, send: Send, dns: Dns, web: Web) -> None:
    web.answers["/"] = ok(b"", "Connection: close")
    dns.names["api.example"] = ["127.0.0.1"]
    egress = make(allowed=("127.0.0.1/32",))
    url, hosts = f"http://api.example:{web.port}/", (f"api.example:{web.port}",)
    assert (await send(url, hosts=hosts, egress=egress)).status == 200
    async with Canary().listening() as canary:
        dns.names["api.example"] = ["127.0.0.2"]
        with pytest.raises(AddressRefusedError):
            await send(url, hosts=hosts, egress=egress)
        assert canary.visits == 0
    assert web.connections == 1


async def test_a_name_server_that_is_silent_is_given_up(send: Send, dns: Dns, canary: Canary) -> None:
    dns.is_silent = True
    with pytest.raises(EgressError):
        await send(f"http://a.example:{canary.port}/", hosts=everything(canary.port), connect_s=0.1)


async def test_an_answer_that_was_cut_off_is_asked_for_whole(send: Send, dns: Dns, canary: Canary) -> None:
    dns.truncates = True
    dns.names["a.example"] = ["127.0.0.1"]
    with pytest.raises(AddressRefusedError):
        await send(f"http://a.example:{canary.port}/", hosts=everything(canary.port))


@pytest.mark.parametrize("name", ["localhost", "ip6-localhost", "metadata", "kubernetes.default.svc"])
async def test_names_of_the_inside_lead_nowhere_by_the_machines_own_resolver(
    send: Send, canary: Canary, name: str
) -> None:
    with pytest.raises((AddressRefusedError, HostUnreachableError)):
        await send(f"http://{name}:{canary.port}/", hosts=everything(canary.port), resolver=None)


# -- what the operator allows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("allowed", "address"), [
    (("a.example",), "169.254.169.254"), (("a.example",), "100.100.100.200"), (("a.example",), "fd00:ec2::254"),
    (("a.example",), "0.0.0.0"), (("a.example",), "224.0.0.1"), (("a.example",), "::ffff:127.0.0.1"),
    (("b.example",), "127.0.0.1"), (("a.example:1",), "127.0.0.1"), (("127.0.0.1:1",), "127.0.0.1"),
    (("10.0.0.0/8",), "127.0.0.1"), (("127.0.0.2",), "127.0.0.1"), (("sub.a.example", "example"), "127.0.0.1"),
])  # fmt: skip
async def test_an_allowance_opens_what_it_names_and_no_more(
    send: Send, dns: Dns, canary: Canary, allowed: tuple[str, ...], address: str
) -> None:
    dns.names["a.example"] = [address]
    with pytest.raises(AddressRefusedError):
        await send(f"http://a.example:{canary.port}/", hosts=everything(canary.port), allowed=allowed)


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.1:{port}", "127.0.0.0/8", "a.example", "a.example:{port}"])
async def test_an_allowance_opens_what_it_names(send: Send, dns: Dns, web: Web, allowed: str) -> None:
    dns.names["a.example"] = ["127.0.0.1"]
    web.answers["/"] = ok()
    entry = allowed.replace("{port}", str(web.port))
    response = await send(f"http://a.example:{web.port}/", hosts=everything(web.port), allowed=(entry,))
    assert response.status == 200


@pytest.mark.parametrize("entry", ["", "10.0.0.0/33", "10.0.0.1/8", "a.example/x", "http://a.example", "a b", "*"])
def test_an_allowance_that_is_none_keeps_the_node_from_starting(make: Make, entry: str) -> None:
    with pytest.raises(ValueError, match="JACKFIELD_EGRESS_ALLOWED"):
        make(allowed=(entry,))


async def test_what_the_operator_allows_still_takes_a_grant(send: Send, web: Web) -> None:
    with pytest.raises(HostNotGrantedError):
        await send(f"{web.url}/", hosts=("*",), allowed=("127.0.0.1",))
    assert web.connections == 0


async def test_ports_cannot_be_scanned(send: Send, canary: Canary) -> None:
    """Every port of a host that is not public is answered alike, and none of them is tried."""
    said: set[str] = set()
    for port in (canary.port, 1, 22, 65535):
        with pytest.raises(AddressRefusedError) as caught:
            await send(f"http://127.0.0.1:{port}/", hosts=everything(port))
        said.add(str(caught.value))
    assert len(said) == 1


async def test_ports_of_public_hosts_take_a_grant_each(send: Send, dns: Dns, canary: Canary) -> None:
    dns.names["public.example"] = [PUBLIC]
    for port in (22, 25, 3306, 6379, 8080):
        with pytest.raises(HostNotGrantedError):
            await send(f"https://public.example:{port}/", hosts=("*", "public.example"))
    assert dns.asked == []


# -- redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("location", [
    "http://127.0.0.2:{port}/", "//127.0.0.2:{port}/", "http://[::1]:{port}/", "http://2130706434:{port}/",
    "http://169.254.169.254:{port}/latest/meta-data/", "http://rebound.example:{port}/", "http://user@127.0.0.2:{port}/",
    "file:///etc/passwd", "gopher://127.0.0.2:{port}/", "http:127.0.0.2:{port}/", "http://127.0.0.2:{port}\\@x/",
    "/\\127.0.0.2:{port}/", "http://\t127.0.0.2:{port}/", "javascript:x", "http://[::ffff:127.0.0.2]:{port}/",
    "https://ungranted.example/", "http://127.0.0.2:1/", "http://" + "a" * 9000 + "/",
])  # fmt: skip
async def test_a_redirect_leads_to_nothing_that_could_not_be_asked_for(
    send: Send, dns: Dns, web: Web, canary: Canary, location: str
) -> None:
    dns.names["rebound.example"] = ["127.0.0.2"]
    web.answers["/start"] = ok(b"", "Location: " + location.replace("{port}", str(canary.port)), status="302 Found")
    hosts = (f"127.0.0.1:{web.port}", f"*:{canary.port}")
    with pytest.raises(RedirectRefusedError):
        await send(f"{web.url}/start", hosts=hosts, allowed=("127.0.0.1/32",))
    assert [got.path for got in web.received] == ["/start"]


@pytest.mark.parametrize("last", ["http://127.0.0.2:{port}/", "http://rebound.example:{port}/"])
async def test_the_last_of_many_redirects_is_checked_like_the_first(
    send: Send, dns: Dns, web: Web, canary: Canary, last: str
) -> None:
    dns.names["rebound.example"] = ["10.0.0.1"]
    for step in range(4):
        web.answers[f"/{step}"] = ok(b"", f"Location: /{step + 1}", status="307 Temporary Redirect")
    web.answers["/4"] = ok(
        b"", "Location: " + last.replace("{port}", str(canary.port)), status="307 Temporary Redirect"
    )
    with pytest.raises(RedirectRefusedError):
        await send(f"{web.url}/0", hosts=(*everything(web.port), f"*:{canary.port}"), allowed=("127.0.0.1/32",))
    assert len(web.received) == 5


async def test_ten_thousand_redirects_are_five(send: Send, web: Web) -> None:
    numbers = itertools.count()
    web.answers["*"] = lambda _got: ok(b"", f"Location: /{next(numbers)}", status="302 Found")
    with pytest.raises(RedirectRefusedError):
        await send(f"{web.url}/", hosts=everything(web.port), allowed=("127.0.0.1/32",), max_redirects=20)
    assert len(web.received) == 6


async def test_a_redirect_does_not_leave_tls(send: Send, dns: Dns, secure: tuple[Web, Path], web: Web) -> None:
    server, authority = secure
    dns.names["api.example"] = ["127.0.0.1"]
    server.answers["/"] = ok(b"", f"Location: {web.url}/", status="302 Found")
    with pytest.raises(RedirectRefusedError, match="https to http"):
        await send(
            f"https://api.example:{server.port}/",
            hosts=(f"*:{server.port}", f"*:{web.port}"),
            allowed=("127.0.0.0/8",),
            ca_file=authority,
        )
    assert web.connections == 0


# -- what is smuggled in ---------------------------------------------------------------------------------------------


async def test_a_path_cannot_carry_a_second_request(send: Send, web: Web) -> None:
    web.answers["*"] = ok()
    await send(f"{web.url}/a%0d%0aX-Evil:%201?b=%0d%0a", hosts=everything(web.port), allowed=("127.0.0.1",))
    assert web.received[0].path == "/a%0d%0aX-Evil:%201?b=%0d%0a"
    assert "x-evil" not in web.received[0].headers


async def test_a_header_cannot_carry_another(send: Send, web: Web) -> None:
    for value in ("a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "a\u010aX-Evil: 1"):
        with pytest.raises(RequestRefusedError):
            await send(f"{web.url}/", hosts=everything(web.port), allowed=("127.0.0.1",), headers=(("X-Key", value),))
    assert web.connections == 0


async def test_proxies_of_the_environment_are_not_used(
    send: Send, web: Web, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    web.answers["/"] = ok()
    assert (await send(f"{web.url}/", hosts=everything(web.port), allowed=("127.0.0.1",))).status == 200


# -- responses made to harm ------------------------------------------------------------------------------------------


def _bomb(size: int) -> bytes:
    return gzip.compress(b"\0" * size)


@pytest.mark.parametrize(("headers", "body"), [
    (("Content-Encoding: gzip",), _bomb(50_000_000)),
    (("Content-Encoding: deflate",), zlib.compress(b"\0" * 50_000_000)),
    ((), b"x" * 2_000_000),
])  # fmt: skip
async def test_a_body_is_counted_as_it_comes_out(send: Send, web: Web, headers: tuple[str, ...], body: bytes) -> None:
    web.answers["/"] = ok(body, *headers)
    with pytest.raises(ResponseTooLargeError):
        await send(f"{web.url}/", hosts=everything(web.port), allowed=("127.0.0.1",), response_bytes=1_000_000)


@pytest.mark.parametrize(("headers", "body"), [
    (("Content-Encoding: gzip, gzip",), gzip.compress(_bomb(1000))),
    (("Content-Encoding: gzip", "Content-Encoding: gzip"), gzip.compress(_bomb(1000))),
    (("Content-Encoding: gzip",), b"".join(gzip.compress(b"") for _ in range(1000))),
    (("Content-Encoding: gzip",), b"not gzip at all"),
    (("Content-Encoding: gzip",), _bomb(1000)[:-10]),
    (("Content-Encoding: deflate",), b"\xff" * 100),
], ids=["doubly", "doubly in two headers", "a thousand members", "plain", "cut", "garbage"])  # fmt: skip
async def test_a_body_that_is_compressed_to_trick_is_refused(
    send: Send, web: Web, headers: tuple[str, ...], body: bytes
) -> None:
    web.answers["/"] = ok(body, *headers)
    with pytest.raises(ResponseRefusedError):
        await send(f"{web.url}/", hosts=everything(web.port), allowed=("127.0.0.1",))


@pytest.mark.parametrize("flood", ["many", "long", "endless", "early"])
async def test_headers_do_not_flood(send: Send, web: Web, flood: str) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if flood == "many":
            writer.write(ok(b"", *(f"X-{n}: y" for n in range(1000))))
        elif flood == "long":
            writer.write(ok(b"", "X: " + "y" * 70_000))
        elif flood == "early":
            while True:
                writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
                await writer.drain()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                writer.write(b"X: y\r\n" * 1000)
                await writer.drain()
        await writer.drain()

    web.raw = speak
    with pytest.raises((ResponseRefusedError, ResponseTooLargeError)):
        await send(f"{web.url}/", hosts=everything(web.port), allowed=("127.0.0.1",))


@pytest.mark.parametrize("where", ["headers", "body", "chunks"])
async def test_a_server_that_drips_is_cut_off(send: Send, web: Web, where: str) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = {
            "headers": b"HTTP/1.1 200 OK\r\nX: ", "body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
            "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        }[where]  # fmt: skip
        writer.write(head)
        while True:
            writer.write(b"1\r\nx\r\n" if where == "chunks" else b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    web.raw = drip
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(EgressTimeoutError):
        await send(f"{web.url}/", hosts=everything(web.port), allowed=("127.0.0.1",), read_s=5.0, timeout_s=0.3)
    assert loop.time() - started < 2


async def test_a_body_in_single_bytes_does_not_hold_the_node_up(send: Send, web: Web) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
        await writer.drain()

    web.raw = speak
    with pytest.raises(ResponseRefusedError, match="small pieces"):
        await send(f"{web.url}/", hosts=everything(web.port), allowed=("127.0.0.1",))


async def test_a_server_that_reads_nothing_is_given_up(send: Send, web: Web) -> None:
    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined,unused-ignore]  # a transport of asyncio's
        await asyncio.Event().wait()

    web.raw = deaf
    with pytest.raises(EgressTimeoutError):
        await send(
            f"{web.url}/", hosts=everything(web.port), allowed=("127.0.0.1",), method="POST", body=b"x" * 7_000_000,
            read_s=0.2,
        )  # fmt: skip


async def test_what_the_node_holds_is_bounded_over_all_requests(make: Make, send: Send, web: Web) -> None:
    gate = asyncio.Event()

    async def half(_got: Received) -> bytes:
        return ok(b"x" * 700_000)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 800000\r\n\r\n" + b"x" * 700_000)
        await writer.drain()
        await gate.wait()

    web.raw = speak
    egress = make(allowed=("127.0.0.1",), buffered_bytes=1024 * 1024)
    tasks = [asyncio.create_task(send(f"{web.url}/", hosts=everything(web.port), egress=egress)) for _ in range(3)]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION, timeout=5)
    codes = {getattr(task.exception(), "code", "") for task in done}
    assert codes == {"egress-busy"}
    gate.set()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_name_is_not_told_apart_from_its_unicode_form(send: Send, dns: Dns, canary: Canary) -> None:
    """A grant for the one is a grant for the other, and both are looked up by the one that DNS has."""
    dns.names["xn--bcher-kva.example"] = ["127.0.0.1"]
    for url in ("https://bücher.example/", "https://BÜCHER.example/", "https://xn--bcher-kva.example/"):
        with pytest.raises(AddressRefusedError):
            await send(url, hosts=("xn--bcher-kva.example",))
    assert set(dns.asked) == {"xn--bcher-kva.example"}

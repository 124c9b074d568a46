"""URLs and addresses: whatever is accepted means one thing, and nothing crashes the reader."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.egress import UrlRefusedError
from jackfield.egress.addresses import Allowed, is_public
from jackfield.egress.dns import DnsError, decode_answer, encode_question
from jackfield.egress.urls import parse_url, resolve_location

_PIECES = st.sampled_from(
    [
        "http", "https", "HTTP", "file", ":", "/", "//", "\\", "@", "#", "?", "%", "%00", "%2f", "[", "]", "::1",
        "127.0.0.1", "127.1", "0x7f", "2130706433", "0177", "localhost", "example.com", "xn--", "xn--bcher-kva", ".",
        "..", "-", "_", "*", "user", "pw", "443", "80", "0", "65536", "00443", " ", "\t", "\r\n", "\x00",
        "\u200b", "\u3002",
        "\uff0e", "１", "①", "ß", "İ", "ü", "\ud800", "a" * 64,
    ]
)  # fmt: skip
_URLS = st.lists(_PIECES, max_size=12).map("".join) | st.text(max_size=60)


@settings(max_examples=600, deadline=None)
@given(_URLS, st.sampled_from(["", "http://", "https://", "http://example.com"]))
def test_what_is_accepted_other_parsers_read_alike(text: str, prefix: str) -> None:
    try:
        target = parse_url(prefix + text)
    except UrlRefusedError:
        return
    # The one spelling is a fixed point, and plain ASCII.
    assert parse_url(target.url) == target
    assert target.url.isascii()
    assert target.url.isprintable()
    assert " " not in target.url
    # The standard library and httpx see the same host and port in it.
    split = urlsplit(target.url)
    assert (split.hostname, split.port or {"http": 80, "https": 443}[target.scheme]) == (target.host, target.port)
    assert split.username is None
    other = httpx.URL(target.url)
    assert (other.raw_host.decode(), other.port or {"http": 80, "https": 443}[target.scheme]) == (
        target.host,
        target.port,
    )
    # A host that looks like a number to anybody is an address.
    last = target.host.rpartition(".")[2]
    assert target.address is not None or re.fullmatch("[0-9]+|0x[0-9a-f]*", last) is None


@settings(max_examples=400, deadline=None)
@given(_URLS)
def test_a_redirect_leads_where_others_think_it_does(location: str) -> None:
    base = parse_url("https://base.example/a/b?c")
    try:
        target = resolve_location(base, location)
    except UrlRefusedError:
        return
    try:
        expected = httpx.URL(base.url).join(location)
    except (httpx.InvalidURL, ValueError):
        assert target.host == "base.example"
        return
    assert (expected.scheme, expected.raw_host.decode()) == (target.scheme, target.host)


@settings(max_examples=500, deadline=None)
@given(st.ip_addresses())
def test_an_address_with_a_meaning_of_its_own_is_never_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    public = is_public(address)
    assert not public or (
        address.is_global and not address.is_private and not address.is_loopback and not address.is_link_local
        and not address.is_multicast and not address.is_reserved and not address.is_unspecified
    )  # fmt: skip
    if public and isinstance(address, ipaddress.IPv6Address):
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None


@settings(max_examples=300, deadline=None)
@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:0:0/96", "64:ff9b::/96", "2002::/16", "::/96", "64:ff9b:1::/96"]))
def test_an_address_inside_another_is_never_public(address: ipaddress.IPv4Address, prefix: str) -> None:
    network = ipaddress.IPv6Network(prefix)
    shift = 80 if network.prefixlen == 16 else 0
    assert not is_public(ipaddress.IPv6Address(int(network.network_address) | int(address) << shift))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1"])
def test_ordinary_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_an_allowance_is_read_or_refused(entry: str) -> None:
    try:
        allowed = Allowed([entry])
    except ValueError as error:
        assert "JACKFIELD_EGRESS_ALLOWED" in str(error)  # noqa: PT017  # most texts are none, some are
        return
    assert (
        not allowed.permits("other.example", 443, ipaddress.ip_address("169.254.169.254"))
        or "/" in entry
        or "169" in entry
    )


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_no_answer_of_a_name_server_does_more_than_be_refused(data: bytes, is_framed: bool) -> None:
    question = encode_question(7, "a.example", 1)
    answer = b"\0\7\x81\x80\0\1\0\4\0\0\0\0" + question[12:] + data if is_framed else data
    try:
        decoded = decode_answer(answer, 7, "a.example", 1)
    except (ValueError, DnsError):
        return
    assert all(isinstance(address, ipaddress.IPv4Address) for address in decoded.addresses)


def test_an_answer_to_another_question_counts_for_nothing() -> None:
    reply = b"\0\7\x81\x80\0\1\0\0\0\0\0\0" + encode_question(7, "b.example", 1)[12:]
    for number, name in ((7, "a.example"), (8, "b.example")):
        with pytest.raises(ValueError, match="not the answer"):
            decode_answer(reply, number, name, 1)


def test_records_of_other_names_in_an_answer_count_for_nothing() -> None:
    """A server that slips in an address for a name that nobody asked for."""
    stray = b"\5other\0" + b"\0\1\0\1\0\0\0\0\0\4" + bytes((10, 0, 0, 1))
    reply = b"\0\7\x81\x80\0\1\0\1\0\0\0\0" + encode_question(7, "a.example", 1)[12:] + stray
    assert decode_answer(reply, 7, "a.example", 1).addresses == ()

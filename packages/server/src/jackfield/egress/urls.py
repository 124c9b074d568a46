"""URLs, strictly: what is accepted reads the same to everybody who may look at it. Pure.

Most ways around a list of hosts are two parsers that disagree. So there is one spelling: no user name, no backslash, no
control characters, no address but in its canonical form, and names as DNS has them.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin

import idna

from jackfield.egress.errors import UrlRefusedError

__all__ = ["IpAddress", "Target", "parse_url", "resolve_location"]

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_MAX_CHARS = 8192
_PARTS = re.compile(r"(https?)://([^/?#\\]*)(/[^?#\\]*)?(\?[^#]*)?(#.*)?\Z", re.IGNORECASE)
_UNSEEN = re.compile("[\x00-\x20\x7f-\xa0\u00ad\u034f\u061c\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u2060-\u206f\u3000\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\ud800-\udfff]")  # fmt: skip  # noqa: E501, RUF100  # one class
_ODD_LOCATION = re.compile(r"[^/?#]*:(?!//[^/])|///")
"""A scheme without a host, which some read as a path, and a path that some read as a host."""
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_NUMBER = re.compile(r"([0-9]+|0x[0-9a-f]*)\Z")
_PORT = re.compile(r"[1-9][0-9]{0,4}\Z")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_USUAL_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes.

    Attributes:
        scheme: `http` or `https`.
        host: A name in lower case, as DNS has it, or an address; one of version 6 without brackets.
        path: With the query; begins with a slash.
        address: The host, when it is one.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: IpAddress | None = None

    @property
    def origin(self) -> tuple[str, str, int]:
        """What must be equal for credentials to go along."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """As in `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _USUAL_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """In the one spelling."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_url(text: str) -> Target:
    """A URL to be requested.

    Raises:
        UrlRefusedError: It is not one, or not in its one spelling.
    """
    if len(text) > _MAX_CHARS:
        raise UrlRefusedError(f"the URL has more than {_MAX_CHARS} characters")
    if _UNSEEN.search(text):
        raise UrlRefusedError("the URL has spaces, control or invisible characters in it")
    match = _PARTS.match(text)
    if match is None:
        raise UrlRefusedError("the URL is not `https://host/path` or `http://host/path`")
    scheme = match[1].lower()
    host, address, port = _authority(match[2], scheme)
    path = quote((match[3] or "/") + (match[4] or ""), safe=_PRINTABLE)
    return Target(scheme, host, port, path, address)


def resolve_location(base: Target, location: str) -> Target:
    """Where a redirect leads.

    Raises:
        UrlRefusedError: Nowhere that is requested.
    """
    if len(location) > _MAX_CHARS or _UNSEEN.search(location) or "\\" in location or _ODD_LOCATION.match(location):
        raise UrlRefusedError("the redirect's URL is not one that is followed")
    try:
        joined = urljoin(base.url, location)
    except ValueError as error:
        raise UrlRefusedError("the redirect's URL is not one that is followed") from error
    return parse_url(joined)


def _authority(text: str, scheme: str) -> tuple[str, IpAddress | None, int]:
    if "@" in text:
        raise UrlRefusedError("the URL has a user name in it", hint="Put credentials into the `Authorization` header.")
    if text.startswith("["):
        inner, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UrlRefusedError("the URL's address is not one")
        host, address = _version_6(inner)
        port, has_port = rest[1:], bool(rest)
    else:
        name, colon, port = text.partition(":")
        has_port = bool(colon)
        host, address = _name(name)
    if not has_port:
        return host, address, _USUAL_PORTS[scheme]
    if not _PORT.match(port) or int(port) > 65535:
        raise UrlRefusedError("the URL's port is not a number between 1 and 65535")
    return host, address, int(port)


def _version_6(text: str) -> tuple[str, IpAddress]:
    try:
        # A zone (`%eth0`) would name an interface of the node's.
        address = ipaddress.IPv6Address(text) if text.isascii() and "%" not in text else None
    except ValueError:
        address = None
    if address is None:
        raise UrlRefusedError("the URL's address is not one")
    return str(address), address


def _name(text: str) -> tuple[str, IpAddress | None]:
    if not text.isascii():
        text = _ascii(text)
        if _NUMBER.match(text.rpartition(".")[2]):
            raise UrlRefusedError("the URL's host is an address in an odd spelling")
    host = text.lower()
    labels = host.split(".")
    if _NUMBER.match(labels[-1]):
        # As browsers read it: what ends in a number is an address, and there are a dozen ways to write one.
        try:
            address = ipaddress.IPv4Address(host)
        except ValueError:
            address = None
        if address is None or str(address) != host:
            raise UrlRefusedError("the URL's host is an address in an odd spelling", hint="Write it as `192.0.2.1`.")
        return host, address
    if not host or len(host) > 253 or not all(_LABEL.match(label) for label in labels):
        raise UrlRefusedError("the URL's host is not a name")
    for label in labels:
        if label.startswith("xn--"):
            _check_encoded(label)
    return host, None


def _ascii(text: str) -> str:
    try:
        return idna.encode(text, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise UrlRefusedError("the URL's host is not a name that DNS can have") from error


def _check_encoded(label: str) -> None:
    try:
        idna.decode(label)
    except (idna.IDNAError, UnicodeError) as error:
        raise UrlRefusedError("the URL's host is not a name that DNS can have") from error

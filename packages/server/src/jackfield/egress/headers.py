"""Which headers go out, and how many may come in. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from jackfield.egress.errors import RequestRefusedError, ResponseRefusedError
from jackfield.egress.messages import Headers

__all__ = ["METHODS", "checked_request_headers", "encoded", "kept_across_hosts", "response_headers"]

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}\Z")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
_OURS = frozenset(
    {
        "connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "proxy-authenticate",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""What concerns the connection, which is the platform's."""
_ACROSS = frozenset(
    {
        "accept", "accept-language", "cache-control", "content-language", "content-type", "if-match",
        "if-modified-since", "if-none-match", "if-unmodified-since", "range", "user-agent",
    }
)  # fmt: skip
"""What goes along to another host. Any other header may carry a credential, whatever it is called."""
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def checked_request_headers(headers: Headers, limit: int, limit_bytes: int) -> Headers:
    """Headers that are sent.

    Raises:
        RequestRefusedError: One is the platform's, or is none; or they are too many.
    """
    if len(headers) > limit or sum(len(name) + len(value) for name, value in headers) > limit_bytes:
        raise RequestRefusedError(f"more than {limit} headers, or more than {limit_bytes} bytes of them")
    for name, value in headers:
        if not _NAME.match(name):
            raise RequestRefusedError("a header's name is not one")
        if name.lower() in _OURS:
            raise RequestRefusedError(f"the header `{name}` is the platform's", hint="Leave it out.")
        if not _VALUE.match(value) or value != value.strip(" \t"):
            raise RequestRefusedError(
                f"the value of `{name}` has a line break, a character above U+00FF, or space around it"
            )
    return headers


def kept_across_hosts(headers: Headers) -> Headers:
    """Of a request's headers, those that a redirect to another host takes along."""
    return tuple((name, value) for name, value in headers if name.lower() in _ACROSS)


def encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """As they are written."""
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]


def response_headers(raw: Sequence[tuple[bytes, bytes]], limit: int, limit_bytes: int) -> Headers:
    """Headers that came, names in lower case, without those of the connection.

    Raises:
        ResponseRefusedError: They are too many.
    """
    if len(raw) > limit or sum(len(name) + len(value) for name, value in raw) > limit_bytes:
        raise ResponseRefusedError(f"the response has more than {limit} headers, or {limit_bytes} bytes of them")
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw]
    return tuple((name, value) for name, value in headers if name not in _HOP_BY_HOP)

"""Something to write an HTTP/1.1 request to and to read its response from, as libraries do with a socket."""

from __future__ import annotations

import io
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.capabilities.http import HttpResponse, exchange
from jackfield_sdk.errors import CapabilityError

__all__ = ["BrokerSocket", "kept_headers", "send"]

_OURS = frozenset(
    {
        "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers that libraries write for a connection; there is none."""
_NOT_BACK = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})
_NETWORK = frozenset({"egress-busy", "egress-failed", "host-unreachable", "response-refused", "response-too-large"})


def kept_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of a library's headers, those that are sent."""
    return [(name, value.strip(" \t")) for name, value in headers if name.lower() not in _OURS]


def send(
    host: Host, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes, timeout_s: float | None
) -> HttpResponse:
    """One request; what goes wrong on the network is raised as libraries expect it.

    Raises:
        TimeoutError, OSError: As from a socket.
        CapabilityError: It was refused; no library tries that again.
    """
    try:
        return exchange(host, method, url, kept_headers(headers), body, timeout_s)
    except CapabilityError as error:
        if error.code == "egress-timeout":
            raise TimeoutError(str(error)) from error
        if error.code in _NETWORK:
            raise ConnectionError(f"{error} ({error.code})") from error
        raise


class BrokerSocket:
    """One request and its response.

    Args:
        address: Host and port.
    """

    def __init__(self, broker: Host, address: tuple[str, int], *, is_tls: bool) -> None:
        self._broker = broker
        self._address = address
        self._is_tls = is_tls
        self._timeout: float | None = None
        self._out = bytearray()
        self._in: io.BytesIO | None = None

    # What libraries call, in the form in which they do.

    def sendall(self, data: Any) -> None:
        """Take a part of the request."""
        self._out += data

    def send(self, data: Any) -> int:
        """Take a part of the request; all of it."""
        self._out += data
        return len(data)

    def makefile(self, mode: str = "rb", buffering: int | None = None, **_options: Any) -> io.BytesIO:
        """The response; sends the request."""
        return self._response()

    def recv(self, size: int, _flags: int = 0) -> bytes:
        """A part of the response."""
        return self._response().read(size)

    def recv_into(self, buffer: Any, size: int = 0, _flags: int = 0) -> int:
        """A part of the response."""
        view = memoryview(buffer)
        return self._response().readinto(view[:size] if size else view)

    def settimeout(self, value: float | None) -> None:
        """How long the broker may take."""
        self._timeout = value if value is None or value > 0 else None

    def gettimeout(self) -> float | None:
        """See `settimeout`."""
        return self._timeout

    def setsockopt(self, *_arguments: Any) -> None:
        """There is nothing to set."""

    def getpeername(self) -> tuple[str, int]:
        """Host and port."""
        return self._address

    def getpeercert(self, binary_form: bool = False) -> Any:
        """The broker has checked it."""
        return b"" if binary_form else {}

    def version(self) -> str | None:
        """Of TLS."""
        return "TLSv1.3" if self._is_tls else None

    def fileno(self) -> int:
        """None."""
        return -1

    def shutdown(self, _how: int) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Nothing is open."""

    def detach(self) -> int:
        """None."""
        return -1

    def __enter__(self) -> BrokerSocket:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _response(self) -> io.BytesIO:
        if self._in is None:
            method, path, headers, body = parsed(bytes(self._out))
            response = send(self._broker, method, self._url(path, headers), headers, body, self._timeout)
            self._in = io.BytesIO(written(method, response))
        return self._in

    def _url(self, path: str, headers: list[tuple[str, str]]) -> str:
        host, port = self._address
        host = f"[{host}]" if ":" in host else host
        scheme, usual = ("https", 443) if self._is_tls else ("http", 80)
        authority = host if port == usual else f"{host}:{port}"
        for name, value in headers:
            if name.lower() == "host" and value.strip().lower() not in (authority.lower(), f"{host}:{port}".lower()):
                raise CapabilityError(
                    "a request whose `Host` is not the host that it goes to is not sent", code="request-refused"
                )
        if not path.startswith("/"):
            raise CapabilityError("requests through a proxy are not sent", code="request-refused")
        return f"{scheme}://{authority}{path}"


def parsed(data: bytes) -> tuple[str, str, list[tuple[str, str]], bytes]:
    """A request as a library wrote it: method, path, headers, body.

    Raises:
        ConnectionError: It is not one.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    parts = first.decode("latin-1").split(" ")
    if not end or len(parts) != 3:
        raise ConnectionError("this is not an HTTP request")
    headers: list[tuple[str, str]] = []
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name, value.strip()))
    if any(name.lower() == "transfer-encoding" for name, _ in headers):
        body = _joined(body)
    return parts[0], parts[1], headers, body


def _joined(body: bytes) -> bytes:
    """A chunked body as one."""
    parts: list[bytes] = []
    place = 0
    while True:
        end = body.find(b"\r\n", place)
        if end < 0:
            raise ConnectionError("the request's body is cut off")
        size = int(body[place:end].split(b";")[0], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        place = end + 2 + size + 2


def written(method: str, response: HttpResponse) -> bytes:
    """A response as it would have come over a connection that ends with it."""
    try:
        reason = HTTPStatus(response.status).phrase
    except ValueError:
        reason = ""
    body = b"" if method == "HEAD" or response.status in (204, 304) else response.body
    lines = [f"HTTP/1.1 {response.status} {reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.raw if name.lower() not in _NOT_BACK]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace") + body

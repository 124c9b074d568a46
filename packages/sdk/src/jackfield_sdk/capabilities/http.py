"""Requests to hosts that the tenant granted. The broker sends them: it checks where they go, and counts them.

Libraries on `httpx`, `requests`, `urllib3`, `http.client` or `urllib.request` need none of this: inside an isolate
their requests go the same way, see `jackfield_sdk.transports`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.errors import CapabilityError

__all__ = ["Http", "HttpHeaders", "HttpResponse", "HttpStatusError", "exchange"]

Value = str | int | float | bool


class HttpStatusError(CapabilityError):
    """The host answered with an error.

    Attributes:
        response: What it answered.
    """

    code = "http-status"

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(f"{response.url.partition('?')[0]} answered {response.status}")
        self.response = response


class HttpHeaders(Mapping[str, str]):
    """Headers of a response. Names are compared without regard to case; several of one name are joined by commas."""

    __slots__ = ("_values", "raw")

    def __init__(self, raw: list[tuple[str, str]]) -> None:
        self.raw = raw
        """Each as it came."""
        self._values: dict[str, str] = {}
        for name, value in raw:
            key = name.lower()
            self._values[key] = f"{self._values[key]}, {value}" if key in self._values else value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values


class HttpResponse(msgspec.Struct, frozen=True):
    """What a host answered.

    Attributes:
        url: Where it came from, after redirects.
        body: Decompressed. Where a secret of the plugin's stood in it, its handle stands.
    """

    status: int
    url: str
    headers: HttpHeaders
    body: bytes

    @property
    def is_ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def text(self) -> str:
        """The body as text, in the encoding that the response names, or UTF-8."""
        _, _, named = self.headers.get("content-type", "").lower().partition("charset=")
        encoding = named.partition(";")[0].strip(" \"'") or "utf-8"
        try:
            return self.body.decode(encoding, "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            CapabilityError: `response-not-json`.
        """
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise CapabilityError(f"the response is not JSON: {error}", code="response-not-json") from error

    def raise_for_status(self) -> HttpResponse:
        """The response itself, unless it is an error.

        Raises:
            HttpStatusError: The status is 400 or more.
        """
        if not self.is_ok:
            raise HttpStatusError(self)
        return self


class Http:
    """`ctx.http`: requests to the hosts of the permissions `http:HOST`.

    All methods raise `PermissionDeniedError` for a host that is not granted, and `CapabilityError` for what cannot be
    done; its code says why: `address-refused`, `host-unreachable`, `egress-timeout`, `response-too-large` and others.
    """

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Value | None] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: Mapping[str, Value] | bytes | str | None = None,
        auth: tuple[str, str] | None = None,
        timeout_s: float | None = None,
        follow_redirects: bool = True,
    ) -> HttpResponse:
        """Send a request.

        Args:
            url: `https://…`; `http://` takes a permission with its port, as `http:HOST:80`.
            params: Added to the query; None leaves one out.
            json: Data for a JSON body.
            data: A form, or a body as it is.
            auth: User and password for Basic authentication; either may be a handle from `ctx.secrets.ref`.
            timeout_s: For all of it; never more than the operator allows.
        """
        named = dict(headers or {})
        known = {name.lower() for name in named}
        body, kind = _body(json, data)
        if kind and "content-type" not in known:
            named["Content-Type"] = kind
        if auth is not None:
            named["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        if params:
            query = urlencode([(name, _plain(value)) for name, value in params.items() if value is not None])
            address, mark, fragment = url.partition("#")
            url = address + ("&" if "?" in address else "?") + query + mark + fragment
        redirects = 5 if follow_redirects else 0
        return exchange(self._host, method.upper(), url, list(named.items()), body, timeout_s, redirects)

    def get(self, url: str, **options: Any) -> HttpResponse:
        """`request` with GET."""
        return self.request("GET", url, **options)

    def head(self, url: str, **options: Any) -> HttpResponse:
        """`request` with HEAD."""
        return self.request("HEAD", url, **options)

    def post(self, url: str, **options: Any) -> HttpResponse:
        """`request` with POST."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> HttpResponse:
        """`request` with PUT."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> HttpResponse:
        """`request` with PATCH."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> HttpResponse:
        """`request` with DELETE."""
        return self.request("DELETE", url, **options)


def exchange(
    host: Host,
    method: str,
    url: str,
    headers: list[tuple[str, str]],
    body: bytes,
    timeout_s: float | None = None,
    redirects: int = 0,
) -> HttpResponse:
    """One request through the broker, with the whole body of its response."""
    arguments: dict[str, Any] = {"method": method, "url": url, "headers": headers, "max_redirects": redirects}
    if body:
        arguments["body"] = body
    if timeout_s is not None:
        arguments["timeout_s"] = timeout_s
    answer = host.call("http", "request", arguments)
    content: bytes = answer["body"]
    if answer["rest"]:
        parts, rest = [content], answer["rest"]
        while rest:
            piece = host.call("http", "read", {"id": answer["id"]})
            parts.append(piece["body"])
            rest = piece["rest"]
        content = b"".join(parts)
    raw = [(name, value) for name, value in answer["headers"]]
    return HttpResponse(answer["status"], answer["url"], HttpHeaders(raw), content)


def _body(json: Any, data: Mapping[str, Value] | bytes | str | None) -> tuple[bytes, str]:
    """A body and its content type."""
    if json is not None:
        if data is not None:
            raise ValueError("either `json` or `data`")
        return msgspec.json.encode(json), "application/json"
    if data is None:
        return b"", ""
    if isinstance(data, (bytes, bytearray)):
        return bytes(data), "application/octet-stream"
    if isinstance(data, str):
        return data.encode(), "text/plain; charset=utf-8"
    form = urlencode([(name, _plain(value)) for name, value in data.items()])
    return form.encode(), "application/x-www-form-urlencoded"


def _plain(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

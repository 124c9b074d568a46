"""The hosts that a plugin's requests reach in tests: they answer what the test says, and nobody is really asked."""

from __future__ import annotations

import base64
import binascii
import json as json_
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import quote, quote_plus, urljoin, urlsplit

import msgspec
from msgspec import Meta

from jackfield_sdk.errors import CapabilityError, PermissionDeniedError
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.testing.connections import FakeConnections, place_of
from jackfield_sdk.testing.permissions import covers

__all__ = ["FakeAnswer", "FakeRequest", "FakeWeb", "covering"]

_FIRST_BYTES = 512 * 1024
_PIECE_BYTES = 1024 * 1024
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_HANDLE = re.compile(r"jfs_[0-9a-v]{40}")
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OURS = frozenset({"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"})
_KEPT = frozenset({"accept", "accept-language", "content-type", "user-agent"})


class FakeRequest(msgspec.Struct, frozen=True):
    """A request as the host got it: with the values of secrets in place of their handles.

    Attributes:
        headers: Names in lower case.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json_.loads(self.body)


class FakeAnswer(msgspec.Struct, frozen=True):
    """What a host answers.

    Attributes:
        json: Instead of a body.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    json: Any = None

    @property
    def content(self) -> bytes:
        """The body."""
        return self.body if self.json is None else json_.dumps(self.json).encode()


Answering = FakeAnswer | Callable[[FakeRequest], FakeAnswer]


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    method: Annotated[str, Meta(max_length=16)]
    url: Annotated[str, Meta(max_length=8192)]
    headers: Annotated[list[tuple[str, str]], Meta(max_length=256)] = msgspec.field(
        default_factory=list[tuple[str, str]]
    )
    body: bytes = b""
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] | None = None
    max_redirects: Annotated[int, Meta(ge=0, le=20)] = 5


class _Read(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: int


class _Ref(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class FakeWeb:
    """All hosts that there are.

    Attributes:
        requests: What they were asked, oldest first.
    """

    def __init__(
        self, manifest: Manifest, grants: Callable[[], set[str]], secrets: Callable[[], dict[str, str]]
    ) -> None:
        self.requests: list[FakeRequest] = []
        self._answers: dict[tuple[str, str], Answering] = {}
        self._grants = grants
        self._secrets = secrets
        self._hosts = dict(manifest.config.secret_hosts) if manifest.config is not None else {}
        self._hosts |= {place_of(connection.name): connection.hosts for connection in manifest.connections}
        self.connections = FakeConnections(manifest, lambda needed: covers(grants(), needed), _handle)
        self._bodies: dict[int, bytes] = {}
        self._number = 0

    def answer(
        self,
        method: str,
        url: str,
        *,
        status: int = 200,
        body: bytes | str = b"",
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        by: Callable[[FakeRequest], FakeAnswer] | None = None,
    ) -> None:
        """Have a host answer.

        Args:
            url: Without its query, which does not matter.
            by: Makes the answer from the request, in place of all the others.
        """
        content = body.encode() if isinstance(body, str) else body
        made: Answering = by or FakeAnswer(status, content, headers or {}, json)
        self._answers[method.upper(), url.partition("?")[0]] = made

    def operations(self) -> dict[str, tuple[type[Any], Callable[[Any], str], Callable[[Any], Any]]]:
        """For the broker."""
        return {
            "http.request": (_Request, lambda _: "", self._request),
            "http.read": (_Read, lambda _: "", self._read),
            **self.connections.operations(),
            "secrets.ref": (_Ref, lambda _: "", lambda arguments: self._ref(arguments.name)),
        }

    def _request(self, asked: _Request) -> dict[str, Any]:
        if asked.method not in _METHODS:
            raise CapabilityError(f"the method is none of {', '.join(sorted(_METHODS))}", code="request-refused")
        for name, value in asked.headers:
            if name.lower() in _OURS or any(character in name + value for character in "\r\n\0"):
                raise CapabilityError(f"the header `{name}` is not sent", code="request-refused")
        method, url, headers, body = asked.method, asked.url, asked.headers, asked.body
        self._check(url)
        for redirects in range(asked.max_redirects + 1):
            answer = self._exchange(method, url, headers, body)
            location = next((value for name, value in answer.headers.items() if name.lower() == "location"), None)
            if answer.status not in _REDIRECTS or location is None or not asked.max_redirects:
                return self._told(url, answer, redirects)
            target = urljoin(url, self._hidden(location))
            try:
                self._check(target)
            except CapabilityError as error:
                raise CapabilityError(f"a redirect is not followed: {error}", code="redirect-refused") from error
            if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), b""
            if urlsplit(target)[:2] != urlsplit(url)[:2]:
                headers = [pair for pair in headers if pair[0].lower() in _KEPT]
            url = target
        raise CapabilityError(f"more than {asked.max_redirects} redirects", code="redirect-refused")

    def _check(self, url: str) -> None:
        """Refuse what is no URL, and what is not granted."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = parts = None
        if parts is None or parts.scheme not in _PORTS or not host or "@" in parts.netloc or not url.isprintable():
            raise CapabilityError(
                "the URL is not one that is requested", code="url-refused", hint="Write `https://host/path`."
            )
        port = port or _PORTS[parts.scheme]
        patterns = [grant[5:] for grant in sorted(self._grants()) if grant.startswith("http:")]
        if covering(patterns, parts.scheme, host, port) is None:
            needed = f"http:{host}" if (parts.scheme, port) == ("https", 443) else f"http:{host}:{port}"
            raise PermissionDeniedError(
                f"`{needed}` is not granted",
                hint="Ask for it in the manifest's `permissions`; an admin of the tenant grants it.",
            )

    def _exchange(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes) -> FakeAnswer:
        kind = next((value for name, value in headers if name.lower() == "content-type"), "").partition(";")[0].lower()
        shown = self._filled(url, url, lambda value: quote(value, safe=":"))
        named = {name.lower(): self._in_header(name, value, url) for name, value in headers}
        content = self._in_body(body, kind, url)
        got = FakeRequest(method, shown, named, content)
        self.requests.append(got)
        address = url.partition("?")[0]
        answer = self._answers.get((method, address))
        if answer is None:
            raise CapabilityError(
                f"`{urlsplit(url).hostname}` cannot be reached: the test has no answer to {method} {address}",
                code="host-unreachable",
                hint=f"platform.web.answer({method!r}, {address!r}, …)",
            )
        return answer(got) if callable(answer) else answer

    def _told(self, url: str, answer: FakeAnswer, redirects: int) -> dict[str, Any]:
        body = self._hidden(answer.content.decode("latin-1")).encode("latin-1")
        headers = [(name.lower(), self._hidden(value)) for name, value in answer.headers.items()]
        if answer.json is not None and not any(name == "content-type" for name, _ in headers):
            headers.append(("content-type", "application/json"))
        number = 0
        if len(body) > _FIRST_BYTES:
            self._number = number = self._number + 1
            self._bodies[number] = body[_FIRST_BYTES:]
        return {
            "status": answer.status, "url": url, "headers": headers, "body": body[:_FIRST_BYTES],
            "redirects": redirects, "rest": max(0, len(body) - _FIRST_BYTES), "id": number,
        }  # fmt: skip

    def _read(self, asked: _Read) -> dict[str, Any]:
        body = self._bodies.pop(asked.id, None)
        if body is None:
            raise CapabilityError("the rest of this response is gone", code="body-gone")
        if len(body) > _PIECE_BYTES:
            self._bodies[asked.id] = body[_PIECE_BYTES:]
        return {"body": body[:_PIECE_BYTES], "rest": max(0, len(body) - _PIECE_BYTES)}

    # -- secrets ---------------------------------------------------------------------------------------------------

    def _ref(self, name: str) -> str:
        if name not in self._hosts or ":" in name:
            raise CapabilityError(
                f"the manifest names no hosts for a secret `{name}`", code="secret-not-bound",
                hint='Declare it as `Annotated[jf.Secret, jf.Hosts("api.example.com")]`.',
            )  # fmt: skip
        return _handle(name)

    def _filled(self, text: str, url: str, written: Callable[[str], str]) -> str:
        return _HANDLE.sub(lambda match: written(self._value(match[0], url)), text)

    def _value(self, handle: str, url: str) -> str:
        name = next((name for name in self._hosts if _handle(name) == handle), None)
        if name is None:
            raise CapabilityError(
                "the request has a handle in it that is none of this installation's", code="secret-refused"
            )
        if name.startswith("connection:"):
            self._check_connection(name.partition(":")[2])
        elif name not in self._secrets():
            raise CapabilityError(f"the secret `{name}` has no value", code="secret-not-set")
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        if parts.scheme != "https" or covering(self._hosts[name], parts.scheme, host, port) is None:
            raise CapabilityError(f"the secret `{name}` is not for `{host}`", code="secret-refused")
        return self._values()[name]

    def _values(self) -> dict[str, str]:
        return {**self._secrets(), **{place_of(name): value for name, value in self.connections.values.items()}}

    def _check_connection(self, name: str) -> None:
        """Asked again here: a handle outlives a grant."""
        if not covers(self._grants(), f"connections:{name}"):
            raise PermissionDeniedError(f"`connections:{name}` is not granted")
        codes = {"unauthorized": "connection-not-authorized", "missing": "connection-missing"}
        if (state := self.connections.state(name)) != "ready":
            raise CapabilityError(f"`{name}` is {state}", code=codes.get(state, "connection-broken"))

    def _in_header(self, name: str, value: str, url: str) -> str:
        scheme, _, coded = value.partition(" ")
        if name.lower() == "authorization" and scheme.lower() == "basic":
            try:
                plain = base64.b64decode(coded, validate=True).decode()
            except (binascii.Error, ValueError):
                return value
            filled = self._filled(plain, url, str)
            return value if filled == plain else f"{scheme} {base64.b64encode(filled.encode()).decode()}"
        return self._filled(value, url, str)

    def _in_body(self, body: bytes, kind: str, url: str) -> bytes:
        text = body.decode("latin-1")
        if not _HANDLE.search(text):
            return body
        if kind == "application/x-www-form-urlencoded":
            return self._filled(text, url, quote_plus).encode("latin-1")
        if kind == "application/json" or kind.endswith("+json"):
            return self._filled(text, url, lambda value: json_.dumps(value)[1:-1]).encode("latin-1")
        raise CapabilityError("a secret in a body that is neither JSON nor a form", code="secret-refused")

    def _hidden(self, text: str) -> str:
        for name in self._hosts:
            value = self._values().get(name, "")
            if len(value) >= 4:
                for form in {value, quote(value, safe=""), quote_plus(value), json_.dumps(value)[1:-1]}:
                    text = text.replace(form, _handle(name))
        return text


def covering(patterns: list[str], scheme: str, host: str, port: int) -> str | None:
    """The first pattern that covers a target, or None: the platform's rule, see `http:HOST` in the permissions."""
    for pattern in patterns:
        name, _, given = pattern.lower().partition(":")
        if given != str(port) if given else (scheme, port) != ("https", 443):
            continue
        below = name[1:]
        if name in ("*", host) or (
            name.startswith("*.") and "*" not in below and host.endswith(below) and host != below
        ):
            return pattern
    return None


def _handle(name: str) -> str:
    """Looks like the platform's."""
    digits = base64.b32hexencode(name.encode().ljust(25, b"\0")[:25]).decode().lower()
    return f"jfs_{digits}"

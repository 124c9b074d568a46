"""How remote adapters speak: one JSON request, one JSON answer, through `Egress`, with the connection's credentials.

Redirects are not followed: an API that moves is entered anew, and credentials never go where nobody sent them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from jackfield.data_adapters.remote_errors import (
    AdapterAnswerError,
    AdapterCannotError,
    AdapterCredentialsError,
    AdapterError,
    AdapterRedirectError,
    AdapterStatusError,
    AdapterTimeoutError,
    AdapterTooLargeError,
    AdapterUnreachableError,
    Step,
)
from jackfield.db.statements import charged
from jackfield.egress import (
    AddressRefusedError,
    Egress,
    EgressError,
    EgressTimeoutError,
    HostNotGrantedError,
    HostPolicy,
    HostUnreachableError,
    OutboundRequest,
    OutboundResponse,
    RedirectRefusedError,
    RequestRefusedError,
    ResponseRefusedError,
    ResponseTooLargeError,
    UrlRefusedError,
)
from jackfield.errors import JackfieldError

__all__ = ["Answer", "Credentials", "NoCredentials", "Transport", "query_text"]

_MAX_URL = 8_000
_MAX_DEPTH = 64
_BYTES = "egress_bytes"

Params = Sequence[tuple[str, str]]


class Credentials(Protocol):
    """Puts what proves who we are into a request."""

    async def apply(self, request: OutboundRequest) -> OutboundRequest:
        """The request with credentials in it.

        Raises:
            JackfieldError: There are none that are good, and why.
        """
        ...

    async def renew(self, request: OutboundRequest) -> bool:
        """The other side did not accept this request's credentials: get new ones, if they are of that kind.

        Returns:
            Whether it is worth another try.
        """
        ...


class NoCredentials:
    """The other side asks for none."""

    async def apply(self, request: OutboundRequest) -> OutboundRequest:
        """As it is."""
        return request

    async def renew(self, request: OutboundRequest) -> bool:
        """There are none to get."""
        return False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose status is not yet judged.

    Attributes:
        data: Decoded JSON; None of an empty body.
    """

    status: int
    data: Any
    response: OutboundResponse

    @property
    def is_ok(self) -> bool:
        """Whether they did it."""
        return 200 <= self.status < 300


class Transport:
    """Requests of one connection.

    Args:
        adapter: Its name, for messages.
        base_url: What paths begin with, without a slash at the end.
        policy: Of the hosts that the connection is for.
        params, headers: What every request has.
    """

    def __init__(
        self,
        adapter: str,
        egress: Egress,
        policy: HostPolicy,
        base_url: str,
        credentials: Credentials | None = None,
        *,
        params: Params = (),
        headers: Params = (),
        timeout_s: float = 10.0,
        max_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        self.adapter = adapter
        self._egress = egress
        self._policy = policy
        self._base = base_url.rstrip("/")
        self._credentials: Credentials = credentials or NoCredentials()
        self._params = tuple(params)
        self._headers = tuple(headers)
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes

    async def send(
        self, method: str, path: str, *, params: Params = (), headers: Params = (), body: Any = None
    ) -> Answer:
        """One request; the answer may be an error of theirs, as JSON.

        Args:
            path: Below the base, or a whole URL, which must then lie at the same place.

        Raises:
            AdapterError: There is no answer, or none that can be read.
            AdapterCannotError: The request would be too long.
        """
        url = self._url(path, (*self._params, *params))
        sent = [("accept", "application/json"), *self._headers, *headers]
        data = b""
        if body is not None:
            data = msgspec.json.encode(body)
            sent.append(("content-type", "application/json"))
        request = OutboundRequest(
            method, url, tuple(sent), data, self._timeout_s, self._max_bytes, max_redirects=0
        )  # fmt: skip
        with_credentials = await self._credentials.apply(request)
        response = await self._sent(with_credentials)
        if response.status == 401 and await self._credentials.renew(with_credentials):
            # They did nothing yet: nobody has said who we are.
            response = await self._sent(await self._credentials.apply(request))
        return self._read(response)

    async def _sent(self, request: OutboundRequest) -> OutboundResponse:
        try:
            # The call that is charged for queries is charged for what they send elsewhere, too.
            tally: Any = charged.get()
            return await self._egress.send(request, self._policy, payer=tally if hasattr(tally, _BYTES) else None)
        except JackfieldError as error:
            raise self._translated(error) from error

    def _url(self, path: str, params: Params) -> str:
        if path.startswith(("http://", "https://")):
            if urlsplit(path)[:2] != urlsplit(self._base)[:2]:
                raise AdapterRedirectError(self.adapter, "the next page is said to be on another server")
            # What every request has, it has in our own words.
            url, _, query = path.partition("?")
            ours = {name for name, _ in params}
            params = [*((n, v) for n, v in parse_qsl(query, keep_blank_values=True) if n not in ours), *params]
        else:
            url = self._base + path
        if params:
            url += ("&" if "?" in url else "?") + query_text(params)
        if len(url) > _MAX_URL:
            raise AdapterCannotError(self.adapter, "the conditions are too long for the other side")
        return url

    def _read(self, response: OutboundResponse) -> Answer:
        if 300 <= response.status < 400:
            target = urlsplit(response.header("location") or "")
            where = f"{target.scheme}://{target.hostname}" if target.hostname else "elsewhere"
            raise AdapterRedirectError(self.adapter, f"the server answers with a redirect to {where[:120]}")
        if not response.body.strip():
            return Answer(response.status, None, response)
        try:
            data = _decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if response.status >= 400:
                # Its proxy's page, most likely; the status says enough.
                return Answer(response.status, None, response)
            raise self._unreadable(response) from error
        return Answer(response.status, data, response)

    def _unreadable(self, response: OutboundResponse) -> AdapterAnswerError:
        kind = (response.header("content-type") or "nothing").partition(";")[0].strip()[:60]
        if response.body.lstrip()[:1] == b"<" or "html" in kind:
            return AdapterAnswerError(self.adapter, f"the server answers with a web page ({kind}) and not with JSON")
        return AdapterAnswerError(self.adapter, f"the answer ({kind}) is not whole JSON; it may be cut short")

    def failure(self, answer: Answer) -> JackfieldError:
        """What an error status means, when the adapter knows no better."""
        status, about = answer.status, _told(answer)
        if status == 401:
            return AdapterCredentialsError(self.adapter, "the server does not accept the credentials", detail=about)
        if status == 403:
            return AdapterCredentialsError(
                self.adapter, "the credentials are good, and do not suffice for this", detail=about
            )
        if status == 429:
            error = AdapterStatusError(self.adapter, "the server is asked too often", detail=about)
            retry = answer.response.header("retry-after") or ""
            error.data["retry_after_s"] = min(int(retry), 3600) if retry.isascii() and retry.isdigit() else 10
            return error
        if status in (408, 504):
            return AdapterTimeoutError(self.adapter, f"the server gave up (status {status})", detail=about)
        if status == 404:
            return AdapterStatusError(
                self.adapter, "the server knows no such address (status 404)", detail=about
            )  # fmt: skip
        return AdapterStatusError(self.adapter, f"the server answers with status {status}", detail=about)

    def _translated(self, error: JackfieldError) -> JackfieldError:
        match error:
            case EgressTimeoutError():
                return AdapterTimeoutError(self.adapter, "the server took too long to answer", detail=str(error))
            case HostUnreachableError():
                step = _step_of(error)
                text = {"dns": "the server's name has no address", "tls": "the server's certificate is not good"}
                return AdapterUnreachableError(
                    self.adapter, text.get(step, "the server cannot be reached"), detail=str(error), step=step
                )
            case AddressRefusedError():
                return AdapterUnreachableError(
                    self.adapter, "the server is not on the public internet, and the operator does not allow it",
                    detail=str(error), step="dns",
                )  # fmt: skip
            case ResponseTooLargeError():
                return AdapterTooLargeError(self.adapter, f"the answer has more than {self._max_bytes} bytes")
            case ResponseRefusedError():
                return AdapterAnswerError(self.adapter, "the answer is no whole HTTP answer", detail=str(error))
            case RedirectRefusedError():
                return AdapterRedirectError(self.adapter, "the server answers with a redirect")
            case HostNotGrantedError() | UrlRefusedError() | RequestRefusedError():
                return AdapterError(self.adapter, "the request is not one that is sent", detail=str(error))
            case EgressError():
                return AdapterUnreachableError(self.adapter, "the request could not be done", detail=str(error))
            case _:
                return error


def query_text(params: Params) -> str:
    """A query string. Everything but letters, digits and `-._~` is escaped, so that nothing can end a value."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in params)


def replaced(request: OutboundRequest, *, headers: Params = (), params: Params = ()) -> OutboundRequest:
    """The request with further headers and parameters."""
    url = request.url
    if params:
        url += ("&" if "?" in url else "?") + query_text(params)
    return replace(request, url=url, headers=(*request.headers, *headers))


def _step_of(error: JackfieldError) -> Step:
    phase: Any = error.data.get("phase") or getattr(error, "phase", None)
    if phase in ("dns", "tls"):
        return phase
    # Without what it quotes: a host may be called anything.
    text = re.sub(r"`[^`]*`", "", str(error)).lower()
    if re.search(r"certificate|tls|ssl|trusted", text):
        return "tls"
    return "dns" if re.search(r"looked up|addresses|no address", text) else "connection"


def _decode(body: bytes) -> Any:
    data = msgspec.json.decode(body)
    level: list[Any] = [data]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for item in level
            if isinstance(item, (dict, list))
            for inner in (item.values() if isinstance(item, dict) else item)  # pyright: ignore[reportUnknownVariableType]  # of JSON
        ]
        if not level:
            return data
    raise msgspec.DecodeError("nested too deep")


def _told(answer: Answer) -> str:
    """What they say about it, for the admin: the usual places for a message."""
    data = answer.data
    for name in ("message", "error_description", "detail", "error", "title"):
        if isinstance(data, dict) and isinstance(data.get(name), str):  # pyright: ignore[reportUnknownMemberType]  # of JSON
            return str(data[name])  # pyright: ignore[reportUnknownArgumentType]  # as above
    return ""

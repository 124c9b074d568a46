"""What is changed in each library: the place where it would open a connection. Everything above it is left alone.

Each change asks first whether a plugin's call is under way; outside one the library's own code runs, which is for tests
of plugins, where library and test share a process.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from jackfield_sdk.capabilities import host as hosts
from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.errors import CapabilityError
from jackfield_sdk.transports.sockets import BrokerSocket, send

__all__ = ["certifi_core", "http_client", "httpx_default", "requests_adapters", "urllib3_connection"]

_NOWHERE = "/certificates-are-the-platforms-to-check"


def certifi_core(module: Any) -> None:
    """No file of certificates: the platform checks them, and an isolate could not open it."""
    _replace(module, "where", lambda: _NOWHERE)
    _replace(module, "contents", lambda: "")


def http_client(module: Any) -> None:
    """`http.client`, and with it `urllib.request`."""

    def plain(connection: Any) -> None:
        _direct(connection)
        connection.sock = _socket(connection.host, connection.port, is_tls=False)

    def secure(connection: Any) -> None:
        _direct(connection)
        connection.sock = _socket(connection.host, connection.port, is_tls=True)

    _replace(module.HTTPConnection, "connect", plain)
    if hasattr(module, "HTTPSConnection"):
        _replace(module.HTTPSConnection, "connect", secure)


def urllib3_connection(module: Any) -> None:
    """urllib3 of both generations, and with it `requests`."""

    def new_connection(connection: Any) -> BrokerSocket:
        _direct(connection)
        return _socket(connection.host, connection.port, is_tls=False)

    def secure(connection: Any) -> None:
        _direct(connection)
        connection.sock = _socket(connection.host, connection.port, is_tls=True)
        # Otherwise it warns that nobody has checked the certificate.
        connection.is_verified = True

    _replace(module.HTTPConnection, "_new_conn", new_connection)
    _replace(module.HTTPSConnection, "connect", secure)


def requests_adapters(module: Any) -> None:
    """It looks for the file of certificates before it asks urllib3 for anything."""
    _replace(module.HTTPAdapter, "cert_verify", lambda *_arguments: None)


def httpx_default(module: Any) -> None:
    """Both transports of httpx: each is one method."""
    httpx: Any = importlib.import_module("httpx")

    def response_to(request: Any, body: bytes) -> Any:
        timeouts: dict[str, float | None] = request.extensions.get("timeout") or {}
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        try:
            answer = send(_broker(), request.method, str(request.url), headers, body, timeouts.get("read"))
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error), request=request) from error
        except OSError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        return httpx.Response(answer.status, headers=answer.headers.raw, stream=httpx.ByteStream(answer.body))

    def handle(_transport: Any, request: Any) -> Any:
        return response_to(request, request.read())

    async def handle_async(_transport: Any, request: Any) -> Any:
        return response_to(request, await request.aread())

    def made(_transport: Any, **options: Any) -> None:
        for name in ("cert", "proxy", "uds"):
            if options.get(name) is not None:
                raise CapabilityError(f"httpx cannot be given `{name}` here", code="request-refused")

    def nothing(*_arguments: Any, **_options: Any) -> None:
        pass

    async def nothing_async(*_arguments: Any, **_options: Any) -> None:
        pass

    for kind, method, handler in (
        (module.HTTPTransport, "handle_request", handle),
        (module.AsyncHTTPTransport, "handle_async_request", handle_async),
    ):
        _replace(kind, "__init__", made)
        _replace(kind, method, handler)
    for name in ("__enter__", "close", "__exit__"):
        _replace(module.HTTPTransport, name, _itself if name == "__enter__" else nothing, is_bare=True)
    for name in ("__aenter__", "aclose", "__aexit__"):
        _replace(
            module.AsyncHTTPTransport, name, _itself_async if name == "__aenter__" else nothing_async, is_bare=True
        )


def _itself(transport: Any) -> Any:
    return transport


async def _itself_async(transport: Any) -> Any:
    return transport


def _replace(owner: Any, name: str, instead: Callable[..., Any], *, is_bare: bool = False) -> None:
    """Have a function do something else while a plugin's call is under way.

    Args:
        is_bare: An object that was made during a call is asked at any time.
    """
    original = getattr(owner, name)

    @functools.wraps(original)
    def chosen(*arguments: Any, **options: Any) -> Any:
        is_ours = not hasattr(arguments[0], "_pool") if is_bare else bool(hosts.current)
        return (instead if is_ours else original)(*arguments, **options)

    setattr(owner, name, chosen)


def _direct(connection: Any) -> None:
    """What would be left out without a word is refused instead."""
    if getattr(connection, "_tunnel_host", None):
        raise CapabilityError("requests through a proxy are not sent", code="request-refused")
    if getattr(connection, "cert_file", None):
        raise CapabilityError("client certificates are not supported", code="request-refused")


def _broker() -> Host:
    return hosts.current[-1]


def _socket(host: str, port: int | None, *, is_tls: bool) -> BrokerSocket:
    return BrokerSocket(_broker(), (host, port or (443 if is_tls else 80)), is_tls=is_tls)

"""The platform's HTTP API, as far as commands need it."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import time
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from jackfield_cli.errors import CliError, UsageError
from jackfield_cli.problems import problem_in

__all__ = ["Client"]

_TIMEOUT = httpx.Timeout(connect=5.0, read=180.0, write=60.0, pool=5.0)
_ATTEMPTS = 4
_PAGE = 100
_DROPPED = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.CloseError)


class Client:
    """Speaks to one server on behalf of one token. A context manager.

    Every method raises `CliError` when the server refuses, or does not answer as it should.

    Args:
        url: Of the server, as `http://127.0.0.1:8000`; the API lies below it.
        transport: Stands in for the network.
    """

    def __init__(self, url: str, token: str | None = None, *, transport: httpx.BaseTransport | None = None) -> None:
        base = _checked_url(url)
        self.url = str(base).rstrip("/")
        self.is_exposed = base.scheme == "http" and not _is_loopback(base.host) and bool(token)
        """The token would cross a network in the clear."""
        self._client = httpx.Client(
            base_url=base,
            headers=_headers(token),
            timeout=_TIMEOUT,
            transport=transport,
            follow_redirects=False,
            # A proxy from the environment cannot reach this machine's own loopback.
            trust_env=not _is_loopback(base.host),
            # Reading the authorities takes longer than most commands; without them every certificate is refused.
            verify=True if base.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def get(self, *path: str, **params: Any) -> Any:
        """Read something. Parameters that are None are left out."""
        return _decoded(self._send("GET", path, params=_given(params)))

    def pages(self, *path: str, limit: int, **params: Any) -> list[Any]:
        """Read a list, page by page, up to `limit` entries."""
        items: list[Any] = []
        cursor: str | None = None
        while len(items) < limit:
            page = self.get(*path, limit=min(_PAGE, limit - len(items)), cursor=cursor, **params)
            items += page["items"]
            cursor = page.get("next_cursor")
            if cursor is None:
                break
        return items[:limit]

    def write(self, method: str, *path: str, body: Any = None, **params: Any) -> Any:
        """Change something, once: it is repeated with the same key when the connection drops."""
        return _decoded(self.attempt(method, *path, body=body, **params))

    def attempt(self, method: str, *path: str, body: Any = None, **params: Any) -> httpx.Response:
        """As `write`; a refusal is in the response."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        pause_s = 0.2
        for attempt in range(1, _ATTEMPTS + 1):
            is_last = attempt == _ATTEMPTS
            try:
                response = self._request(method, path, params=_given(params), json=body, headers=headers)
            except _DROPPED as error:
                if is_last:
                    raise _dropped(self.url, error) from error
            except httpx.ConnectError as error:
                # Once the request has left us, a refused connection is a server that restarts.
                if attempt == 1 or is_last:
                    raise _unreachable(self.url, error) from error
            else:
                is_busy = attempt > 1 and response.status_code == 409 and "idempotency-key-busy" in response.text
                if not is_busy or is_last:
                    return response
            time.sleep(pause_s)
            pause_s *= 3
        raise AssertionError("the last attempt returns or raises")

    def upload(self, path: tuple[str, ...], chunks: Iterator[bytes], *, size: int, media_type: str) -> Any:
        """Send a file as it is read. Not repeated: a stream cannot be sent twice."""
        headers = {"Content-Type": media_type, "Content-Length": str(size)}
        return _decoded(self._send("POST", path, content=chunks, headers=headers))

    @contextlib.contextmanager
    def download(self, *path: str, **params: Any) -> Generator[Iterator[bytes]]:
        """Receive a file in chunks. Parameters that are None are left out."""
        with _translated(self.url), self._client.stream("GET", _joined(path), params=_given(params)) as response:
            if not response.is_success:
                response.read()
                raise problem_in(response)
            yield response.iter_bytes()

    def save(self, out: Path, *path: str, **params: Any) -> int:
        """Receive a file into `out`, which is there when all of it has come, and not before; how many bytes it has."""
        part = out.with_name(f"{out.name}.part")
        size = 0
        try:
            with self.download(*path, **params) as chunks, part.open("wb") as file:
                for chunk in chunks:
                    size += file.write(chunk)
            # Only a whole one is put where it is looked for.
            part.replace(out)
        except OSError as error:
            raise CliError(f"{out} cannot be written: {error.strerror}", code="file-unwritable") from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink()
        return size

    def _send(self, method: str, path: tuple[str, ...], **options: Any) -> httpx.Response:
        with _translated(self.url):
            return self._client.request(method, _joined(path), **options)

    def _request(self, method: str, path: tuple[str, ...], **options: Any) -> httpx.Response:
        """As `_send`; a connection that fails is the caller's business."""
        try:
            return self._client.request(method, _joined(path), **options)
        except (*_DROPPED, httpx.ConnectError):
            raise
        except httpx.HTTPError as error:
            raise _failed(self.url, error) from error


@contextlib.contextmanager
def _translated(url: str) -> Generator[None]:
    try:
        yield
    except httpx.ConnectError as error:
        raise _unreachable(url, error) from error
    except _DROPPED as error:
        raise _dropped(url, error) from error
    except httpx.HTTPError as error:
        raise _failed(url, error) from error


def _unreachable(url: str, error: Exception) -> CliError:
    return CliError(
        f"nobody answers at {url} ({error})",
        code="server-unreachable",
        hint="Is it running? `jackfield serve` starts one here; JACKFIELD_URL or --url names another.",
    )


def _dropped(url: str, error: Exception) -> CliError:
    return CliError(
        f"the connection to {url} broke off ({error})",
        code="connection-lost",
        hint="It may have been done all the same: look before you repeat it.",
    )


def _failed(url: str, error: Exception) -> CliError:
    if isinstance(error, httpx.TimeoutException):
        return CliError(
            f"{url} did not answer in time",
            code="server-timeout",
            hint="It may still be at work: look, then try again.",
        )
    return CliError(f"{url} cannot be spoken to: {error}", code="connection-failed", hint="Check JACKFIELD_URL.")


def _decoded(response: httpx.Response) -> Any:
    if not response.is_success:
        raise problem_in(response)
    if response.status_code == 204:
        return None
    try:
        return response.json()
    except ValueError:
        raise CliError(
            f"{response.request.url} answered something else than JSON",
            code="not-jackfield",
            hint="Check JACKFIELD_URL.",
        ) from None


def _joined(path: tuple[str, ...]) -> str:
    """The path below the server's URL. A name can never reach out of its place in it."""
    for segment in path:
        if segment in ("", ".", ".."):
            raise UsageError(f"{segment!r} is not a name", code="name-invalid")
    return "api/" + "/".join(quote(segment, safe="@") for segment in path)


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _headers(token: str | None) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": "jackfield-cli"}
    if token := (token or "").strip():
        if not all("!" <= char <= "~" for char in token):
            raise UsageError("the token has characters that no token has", code="token-malformed")
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _checked_url(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise UsageError(f"{url!r} is not a URL: {error}", code="url-invalid") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise UsageError(
            f"{url!r} is not the URL of a server", code="url-invalid", hint="Write http://127.0.0.1:8000 or https://…"
        )
    return parsed


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

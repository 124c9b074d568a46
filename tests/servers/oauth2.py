"""An OAuth2 server: authorization code with PKCE, client credentials, refresh with rotation, expiry, revocation.

It follows RFC 6749, 7636 and 7009 closely enough to be wrong where a client is wrong: a code is good once and only with
its verifier and redirect URI; a refresh token is good once, and using it twice ends the whole grant.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_plus, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "OAuth2Server"]

CLIENT_ID, CLIENT_SECRET = "jackfield", "s3cret of the client/+"


@dataclass
class _Grant:
    """What a member agreed to; tokens belong to one."""

    scope: str
    is_over: bool = False


@dataclass
class _Code:
    redirect_uri: str
    challenge: str
    scope: str
    is_used: bool = False


@dataclass
class OAuth2Server:
    """The server; `app` is to be served.

    Attributes:
        lifetime_s: Of access tokens.
        asked: The form of each request to the token endpoint, in order.
        revoked: Tokens that came to the revocation endpoint.
        fails: Statuses that the token endpoint answers with instead, one after the other.
    """

    lifetime_s: int = 3600
    rotates: bool = True
    asked: list[dict[str, str]] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    fails: list[int] = field(default_factory=list)
    _codes: dict[str, _Code] = field(default_factory=dict)
    _access: dict[str, tuple[_Grant, float]] = field(default_factory=dict)
    _refresh: dict[str, _Grant] = field(default_factory=dict)
    _spent: dict[str, _Grant] = field(default_factory=dict)

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/revoke", self._revoke, methods=["POST"]),
                Route("/me", self._me),
                Route("/parts", self._parts),
            ]
        )

    @property
    def access_tokens(self) -> list[str]:
        """All that were issued."""
        return list(self._access)

    def is_good(self, token: str) -> bool:
        """Whether an access token is valid now."""
        grant, until = self._access.get(token, (None, 0.0))
        return grant is not None and not grant.is_over and time.monotonic() < until

    def expire_all(self) -> None:
        """Every access token that was given out is too old now."""
        self._access = {token: (grant, 0.0) for token, (grant, _) in self._access.items()}

    def end_all(self) -> None:
        """The member takes back what they agreed to."""
        for grant in self._refresh.values():
            grant.is_over = True

    async def _authorize(self, request: Request) -> Response:
        """The member says yes."""
        asked = request.query_params
        if asked.get("response_type") != "code" or asked.get("client_id") != CLIENT_ID:
            return JSONResponse({"error": "invalid_request"}, 400)
        if asked.get("code_challenge_method") != "S256" or not asked.get("code_challenge"):
            return JSONResponse({"error": "invalid_request", "error_description": "PKCE with S256 is required"}, 400)
        code = secrets.token_urlsafe(16)
        self._codes[code] = _Code(asked["redirect_uri"], asked["code_challenge"], asked.get("scope", ""))
        query = urlencode({"code": code, "state": asked.get("state", ""), "iss": str(request.base_url).rstrip("/")})
        return RedirectResponse(f"{asked['redirect_uri']}?{query}", 302)

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        self.asked.append(form)
        if self.fails:
            return JSONResponse({"error": "server_error"}, self.fails.pop(0))
        if not _is_client(request, form):
            return _refused("invalid_client", 401)
        match form.get("grant_type"):
            case "client_credentials":
                return self._issue(_Grant(form.get("scope", "")), with_refresh=False)
            case "authorization_code":
                return self._redeem(form)
            case "refresh_token":
                return self._renew(form.get("refresh_token", ""))
            case _:
                return _refused("unsupported_grant_type")

    def _redeem(self, form: dict[str, str]) -> Response:
        code = self._codes.get(form.get("code", ""))
        if code is None or code.is_used or form.get("redirect_uri") != code.redirect_uri:
            return _refused("invalid_grant")
        code.is_used = True
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != code.challenge:
            return _refused("invalid_grant")
        return self._issue(_Grant(code.scope))

    def _renew(self, token: str) -> Response:
        if token in self._spent:
            # Somebody has a copy: nobody keeps the grant.
            self._spent[token].is_over = True
            return _refused("invalid_grant")
        grant = self._refresh.get(token)
        if grant is None or grant.is_over:
            return _refused("invalid_grant")
        if self.rotates:
            self._spent[token] = self._refresh.pop(token)
        return self._issue(grant, with_refresh=self.rotates)

    def _issue(self, grant: _Grant, *, with_refresh: bool = True) -> Response:
        access = secrets.token_urlsafe(24)
        self._access[access] = (grant, time.monotonic() + self.lifetime_s)
        answer = {"access_token": access, "token_type": "Bearer", "expires_in": self.lifetime_s, "scope": grant.scope}
        if with_refresh:
            refresh = secrets.token_urlsafe(24)
            self._refresh[refresh] = grant
            answer["refresh_token"] = refresh
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    async def _revoke(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        if not _is_client(request, form):
            return _refused("invalid_client", 401)
        token = form.get("token", "")
        self.revoked.append(token)
        for grant in [self._refresh.get(token), self._access.get(token, (None, 0.0))[0]]:
            if grant is not None:
                grant.is_over = True
        return Response(status_code=200)

    async def _me(self, request: Request) -> Response:
        """A resource behind it."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self.is_good(token):
            return JSONResponse({"error": "invalid_token"}, 401, headers={"WWW-Authenticate": "Bearer"})
        return JSONResponse({"name": "Ann"})

    async def _parts(self, request: Request) -> Response:
        """The token that it was asked with, in two parts: whoever sees both has it."""
        token = request.headers["authorization"].removeprefix("Bearer ")
        return JSONResponse([token[: len(token) // 2], token[len(token) // 2 :]])


def _is_client(request: Request, form: dict[str, str]) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        name, _, password = base64.b64decode(given).decode().partition(":")
        # RFC 6749, 2.3.1: both are form-encoded first.
        return (unquote_plus(name), unquote_plus(password)) == (CLIENT_ID, CLIENT_SECRET)
    return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)


def _refused(error: str, status: int = 400) -> Response:
    return JSONResponse({"error": error}, status)

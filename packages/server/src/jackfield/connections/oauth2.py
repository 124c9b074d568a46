"""The OAuth2 server's side of a connection: the page where its owner agrees, tokens, and their revocation.

RFC 6749 with PKCE (RFC 7636, S256 always), RFC 7009 for revocation, RFC 9207 for the issuer. Authlib makes the
requests; `Egress` carries them, so that a token URL can be no way into the platform's own network.
"""

from __future__ import annotations

import base64
from typing import Any, cast
from urllib.parse import quote_plus

import msgspec
from authlib.oauth2.rfc6749 import parameters
from authlib.oauth2.rfc7636 import challenge

from jackfield.connections.credentials import AuthorizationCode, ClientCredentials, Stored
from jackfield.connections.errors import TokenEndpointError
from jackfield.egress import (
    Egress,
    EgressTimeoutError,
    HostPolicy,
    OutboundRequest,
    OutboundResponse,
    parse_url,
    permission_for,
)
from jackfield.errors import JackfieldError

_library: Any = parameters
_pkce: Any = challenge
"""Without types of their own."""

__all__ = ["TokenClient", "Tokens", "authorization_url", "policy_for"]

_TOKEN_CHARS = 6_000
_TIMEOUT_S = 15.0
_ANSWER_BYTES = 64 * 1024
_USUAL_LIFE_S = 3600
"""Of tokens whose server does not say how long they are good; many mean an hour."""
_CODES = frozenset({
    "access_denied", "invalid_client", "invalid_grant", "invalid_request", "invalid_scope", "server_error",
    "temporarily_unavailable", "unauthorized_client", "unsupported_grant_type", "unsupported_response_type",
    "interaction_required", "login_required", "consent_required",
})  # fmt: skip


class Tokens(msgspec.Struct, frozen=True):
    """What the OAuth2 server gave.

    Attributes:
        expires_at: Seconds since 1970.
        issued_at: Likewise.
    """

    access: str
    refresh: str = ""
    expires_at: float = 0.0
    issued_at: float = 0.0
    scope: str = ""

    def is_fresh(self, now: float) -> bool:
        """Whether it is good for long enough to be used: for a minute, or for a tenth of its life."""
        return now < self.expires_at - min(60.0, (self.expires_at - self.issued_at) * 0.1)


class TokenClient:
    """Asks token endpoints."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def by_client(
        self, who: tuple[str, str], credentials: ClientCredentials, secrets: Stored, now: float
    ) -> Tokens:
        """A token of the client's own.

        Args:
            who: Tenant and installation, whose traffic it is.
            now: Seconds since 1970.

        Raises:
            TokenEndpointError: There is none.
        """
        form = _form("client_credentials", scope=" ".join(credentials.scopes) or None, **credentials.token_params)
        return await self._tokens(who, credentials, secrets, form, now)

    async def by_code(
        self,
        who: tuple[str, str],
        credentials: AuthorizationCode,
        secrets: Stored,
        now: float,
        *,
        code: str,
        verifier: str,
        redirect_uri: str,
    ) -> Tokens:
        """The first tokens, for the code that an authorization ended with; as `by_client`."""
        form = _form(
            "authorization_code", redirect_uri=redirect_uri, code=code, code_verifier=verifier,
            **credentials.token_params,
        )  # fmt: skip
        return await self._tokens(who, credentials, secrets, form, now)

    async def by_refresh(
        self, who: tuple[str, str], credentials: AuthorizationCode, secrets: Stored, now: float, refresh: str
    ) -> Tokens:
        """New tokens for a refresh token, which stays when the server gives no new one; as `by_client`."""
        form = _form("refresh_token", refresh_token=refresh, **credentials.token_params)
        tokens = await self._tokens(who, credentials, secrets, form, now)
        return tokens if tokens.refresh else msgspec.structs.replace(tokens, refresh=refresh)

    async def revoke(
        self, who: tuple[str, str], credentials: AuthorizationCode | ClientCredentials, secrets: Stored, tokens: Tokens
    ) -> None:
        """Tell the server that nobody will use these tokens any more.

        Raises:
            TokenEndpointError: It did not take it.
        """
        token, hint = (tokens.refresh, "refresh_token") if tokens.refresh else (tokens.access, "access_token")
        form = _encoded([("token", token), ("token_type_hint", hint)])
        response = await self._post(who, credentials, secrets, credentials.revocation_url, form)
        if response.status >= 400:
            raise TokenEndpointError(f"the OAuth2 server answers a revocation with status {response.status}")

    async def _tokens(
        self,
        who: tuple[str, str],
        credentials: AuthorizationCode | ClientCredentials,
        secrets: Stored,
        form: str,
        now: float,
    ) -> Tokens:
        response = await self._post(who, credentials, secrets, credentials.token_url, form)
        try:
            data: Any = msgspec.json.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise TokenEndpointError(
                f"the OAuth2 server answers with status {response.status}, and not with JSON",
                "" if response.status < 500 else "server_error",
            ) from error
        answer = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
        if response.status >= 400 or "error" in answer:
            said = answer.get("error")
            code = said if isinstance(said, str) and said in _CODES else ""
            raise TokenEndpointError(
                f"the OAuth2 server refuses to give a token (status {response.status}{f', {code}' if code else ''})",
                code or ("server_error" if response.status >= 500 else ""),
            )
        return _read(answer, now)

    async def _post(
        self,
        who: tuple[str, str],
        credentials: AuthorizationCode | ClientCredentials,
        secrets: Stored,
        url: str,
        form: str,
    ) -> OutboundResponse:
        headers = [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")]
        secret = secrets.get("client_secret", "")
        if credentials.auth == "basic":
            # RFC 6749, 2.3.1: both are form-encoded before they are joined.
            pair = f"{quote_plus(credentials.client_id)}:{quote_plus(secret)}"
            headers.append(("authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
        else:
            more = [("client_id", credentials.client_id)]
            if credentials.auth == "post":
                more.append(("client_secret", secret))
            form = f"{form}&{_encoded(more)}"
        request = OutboundRequest(
            "POST", url, tuple(headers), form.encode(), _TIMEOUT_S, _ANSWER_BYTES, max_redirects=0
        )
        try:
            response = await self._egress.send(request, policy_for(who, url))
        except EgressTimeoutError as error:
            raise TokenEndpointError("the OAuth2 server took too long to answer", "server_error") from error
        except JackfieldError as error:
            raise TokenEndpointError(f"the OAuth2 server cannot be reached: {error}", "server_error") from error
        if 300 <= response.status < 400:
            raise TokenEndpointError("the OAuth2 server answers with a redirect", "")
        return response


def authorization_url(credentials: AuthorizationCode, *, redirect_uri: str, state: str, verifier: str) -> str:
    """The page where the account's owner agrees."""
    url: str = _library.prepare_grant_uri(
        credentials.authorization_url,
        client_id=credentials.client_id,
        response_type="code",
        redirect_uri=redirect_uri,
        scope=" ".join(credentials.scopes) or None,
        state=state,
        code_challenge=_pkce.create_s256_code_challenge(verifier),
        code_challenge_method="S256",
        **credentials.authorize_params,
    )
    return url


def policy_for(who: tuple[str, str], url: str) -> HostPolicy:
    """What may be reached on the way to one URL: its host, and its port alone.

    Raises:
        UrlRefusedError: It is no URL.
    """
    return HostPolicy(*who, (permission_for(*parse_url(url).origin).removeprefix("http:"),))


def _form(grant_type: str, **fields: Any) -> str:
    redirect_uri: str | None = fields.pop("redirect_uri", None)
    return str(_library.prepare_token_request(grant_type, "", redirect_uri, **fields)).lstrip("&")


def _encoded(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)


def _read(answer: dict[str, Any], now: float) -> Tokens:
    access, kind = answer.get("access_token"), answer.get("token_type", "bearer")
    refresh, scope, life = answer.get("refresh_token") or "", answer.get("scope") or "", answer.get("expires_in")
    if not _is_token(access):
        raise TokenEndpointError("the OAuth2 server's answer has no access token that can be used")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise TokenEndpointError("the OAuth2 server's token is no bearer token")
    if refresh and not _is_token(refresh):
        raise TokenEndpointError("the OAuth2 server's refresh token cannot be used")
    if isinstance(life, str) and life.isascii() and life.isdigit() and len(life) < 12:
        life = int(life)
    if isinstance(life, bool) or not isinstance(life, (int, float)) or not life > 0:
        life = _USUAL_LIFE_S
    life = min(float(life), 366 * 24 * 3600.0)
    return Tokens(str(access), str(refresh), now + life, now, scope[:2000] if isinstance(scope, str) else "")


def _is_token(value: Any) -> bool:
    """RFC 6750, 2.1, a little wider: what can stand in a header."""
    return isinstance(value, str) and 0 < len(value) <= _TOKEN_CHARS and value.isascii() and value.isprintable()

"""The kinds of credentials: what of them may be seen, what is secret, and where each goes in a request. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from jackfield.connections.errors import ConnectionInvalidError
from jackfield.data_adapters.transport import replaced
from jackfield.egress import OutboundRequest

__all__ = [
    "SECRET_FIELDS",
    "ApiKey",
    "AuthorizationCode",
    "Basic",
    "Bearer",
    "ClientCredentials",
    "Credentials",
    "OAuth2",
    "authorized",
    "read_credentials",
    "seen",
    "split",
]

_Text = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
_Url = Annotated[str, Meta(max_length=500)]
_HeaderName = Annotated[str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}\Z")]
_Scope = Annotated[str, Meta(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,200}\Z")]
_Scopes = Annotated[list[_Scope], Meta(max_length=64)]
_SECRET_CHARS = 8_000
_UNSEEN = re.compile(r"[\x00-\x1f\x7f]")

Stored = dict[str, str]
"""Secret field → value."""


class _Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    pass


class NoneAsked(_Kind, frozen=True, tag="none"):
    """Nothing is asked for."""


class ApiKey(_Kind, frozen=True, tag="api-key"):
    """A key in a header or in the query. Secret: `value`.

    Attributes:
        prefix: Before the value, as `ODFHIR `.
        as_bearer: In `Authorization: Bearer` as well, as Supabase has it.
    """

    place: Literal["header", "query"] = "header"
    name: _HeaderName = "X-API-Key"
    prefix: Annotated[str, Meta(max_length=60, pattern=r"^[ -~]*\Z")] = ""
    as_bearer: bool = False


class Basic(_Kind, frozen=True, tag="basic"):
    """RFC 7617. Secret: `password`."""

    username: Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f:]*\Z")]


class Bearer(_Kind, frozen=True, tag="bearer"):
    """RFC 6750, a token that somebody else made. Secret: `token`."""


class _Client(_Kind, frozen=True):
    """A client of an OAuth2 server.

    Attributes:
        auth: How it says who it is at the token endpoint; `none` for a public client.
        token_params: Sent to the token endpoint as well, as `audience`.
    """

    token_url: _Url
    client_id: _Text
    scopes: _Scopes = msgspec.field(default_factory=list[str])
    auth: Literal["basic", "post", "none"] = "basic"
    token_params: Annotated[dict[_Scope, _Text], Meta(max_length=16)] = msgspec.field(default_factory=dict[str, str])
    revocation_url: _Url = ""


class ClientCredentials(_Client, frozen=True, tag="oauth2-client-credentials"):
    """RFC 6749, 4.4. Secret: `client_secret`."""


class AuthorizationCode(_Client, frozen=True, kw_only=True, tag="oauth2-authorization-code"):
    """RFC 6749, 4.1, with PKCE (RFC 7636). Secret: `client_secret`.

    Attributes:
        authorize_params: Sent to the authorization page as well, as `access_type`.
        issuer: Must be named in the answer (RFC 9207), when it is said here.
    """

    authorization_url: _Url
    authorize_params: Annotated[dict[_Scope, _Text], Meta(max_length=16)] = msgspec.field(
        default_factory=dict[str, str]
    )
    issuer: _Url = ""


OAuth2 = ClientCredentials | AuthorizationCode
Credentials = NoneAsked | ApiKey | Basic | Bearer | ClientCredentials | AuthorizationCode

SECRET_FIELDS: Mapping[str, tuple[str, ...]] = {
    "none": (), "api-key": ("value",), "basic": ("password",), "bearer": ("token",),
    "oauth2-client-credentials": ("client_secret",), "oauth2-authorization-code": ("client_secret",),
}  # fmt: skip
"""Kind → fields that are written and never read."""

_RESERVED = {
    "body", "client_id", "client_secret", "code", "code_challenge", "code_challenge_method", "code_verifier",
    "grant_type", "redirect_uri", "refresh_token", "response_type", "scope", "state", "uri",
}  # fmt: skip


def split(given: Mapping[str, Any]) -> tuple[Credentials, Stored]:
    """Credentials as they come in: what may be seen, and the secret values that are given.

    Raises:
        ConnectionInvalidError: They are none.
    """
    kind = given.get("kind")
    fields = SECRET_FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise ConnectionInvalidError(f"credentials.kind: one of {', '.join(SECRET_FIELDS)}")
    secrets: Stored = {}
    for name in fields:
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or not 1 <= len(value) <= _SECRET_CHARS or _UNSEEN.search(value):
            raise ConnectionInvalidError(
                f"credentials.{name}: a text of 1 to {_SECRET_CHARS} characters, without control characters"
            )
        secrets[name] = value
    return read_credentials({name: value for name, value in given.items() if name not in fields}), secrets


def read_credentials(plain: Mapping[str, Any]) -> Credentials:
    """What may be seen of credentials, from plain data.

    Raises:
        ConnectionInvalidError: It is something else.
    """
    try:
        found = msgspec.convert(plain, Credentials)
    except msgspec.ValidationError as error:
        raise ConnectionInvalidError(f"credentials: {error}"[:300]) from error
    if isinstance(found, (ClientCredentials, AuthorizationCode)):
        params = {*found.token_params, *getattr(found, "authorize_params", ())}
        if taken := params & _RESERVED:
            raise ConnectionInvalidError(f"credentials: `{min(taken)}` is set by the platform")
    return found


def seen(credentials: Credentials) -> dict[str, Any]:
    """Plain data, for the table and for answers."""
    return msgspec.to_builtins(credentials)


def required_secrets(credentials: Credentials) -> tuple[str, ...]:
    """Secret fields without which it cannot work."""
    if isinstance(credentials, (ClientCredentials, AuthorizationCode)) and credentials.auth == "none":
        return ()
    return SECRET_FIELDS[seen(credentials)["kind"]]


def authorized(request: OutboundRequest, credentials: Credentials, secrets: Stored, token: str = "") -> OutboundRequest:
    """The request with the credentials in it.

    Args:
        token: The access token, for OAuth2.
    """
    match credentials:
        case ApiKey():
            value = credentials.prefix + secrets["value"]
            more = [("authorization", f"Bearer {secrets['value']}")] if credentials.as_bearer else []
            if credentials.place == "query":
                return replaced(request, params=[(credentials.name, value)], headers=more)
            return replaced(request, headers=[(credentials.name, value), *more])
        case Basic():
            pair = base64.b64encode(f"{credentials.username}:{secrets['password']}".encode()).decode()
            return replaced(request, headers=[("authorization", f"Basic {pair}")])
        case Bearer():
            return replaced(request, headers=[("authorization", f"Bearer {secrets['token']}")])
        case ClientCredentials() | AuthorizationCode():
            return replaced(request, headers=[("authorization", f"Bearer {token}")])
        case NoneAsked():
            return request


def handed(credentials: Credentials, secrets: Stored, token: str = "") -> str:
    """What a handle of the connection stands for."""
    match credentials:
        case ApiKey():
            return secrets["value"]
        case Basic():
            return secrets["password"]
        case Bearer():
            return secrets["token"]
        case _:
            return token

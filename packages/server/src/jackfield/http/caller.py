"""Who is calling, and whether their role allows it. Tenant and role come from credentials, never from the request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol, cast, get_args

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from jackfield.http.errors import CredentialsMissingError, RoleMissingError
from jackfield.opened import opened

__all__ = [
    "CALLER",
    "ROLES",
    "AdminCaller",
    "Authenticator",
    "Caller",
    "MemberCaller",
    "OperatorCaller",
    "PublisherCaller",
    "Role",
    "bearer_token",
    "require",
]

Role = Literal["owner", "admin", "member", "operator", "publisher"]

ROLES: tuple[Role, ...] = get_args(Role)
"""The first three are roles in a tenant; the others belong to the platform and see no tenant's data."""

CALLER = "jackfield_caller"
"""Where a request's ASGI scope has its caller, once that is known."""
_TOKEN_CHARS = 16
"""Anything shorter is no token, but a word that somebody wants to have masked in what is written of their request."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The one on whose behalf a request runs.

    Attributes:
        tenant_id: None for operators and publishers.
        member_id: None when the token stands for a program instead of a person.
        locale: The member's own setting.
        tenant_locale: What the tenant's members speak unless they say otherwise.
        token_name: What whoever issued the token called it.
    """

    role: Role
    tenant_id: str | None = None
    member_id: str | None = None
    publisher_id: str | None = None
    token_id: str | None = None
    locale: str | None = field(default=None, compare=False)
    tenant_locale: str | None = field(default=None, compare=False)
    token_name: str | None = field(default=None, compare=False)

    @property
    def tenant(self) -> str:
        """The tenant's id, for endpoints that only roles in a tenant may call.

        Raises:
            RoleMissingError: The caller belongs to no tenant.
        """
        if self.tenant_id is None:
            raise RoleMissingError(f"The role {self.role} belongs to no tenant.", roles=["owner", "admin", "member"])
        return self.tenant_id

    @property
    def subject(self) -> str:
        """A stable name for audit entries and for what is kept per caller: the member, the publisher, or the token."""
        if self.member_id is not None:
            return f"member:{self.member_id}"
        if self.publisher_id is not None:
            return f"publisher:{self.publisher_id}"
        return f"{self.role}:{self.token_id or 'local'}"


class Authenticator(Protocol):
    """Turns credentials into a caller."""

    async def authenticate(self, token: str) -> Caller:
        """The token's caller.

        Raises:
            UnauthenticatedError: Unknown, revoked or expired.
        """
        ...


_bearer = HTTPBearer(auto_error=False, description="A token as issued by the platform: `jf_<role>_…`")


def bearer_token(header: str | None) -> str | None:
    """The token in an `Authorization` header (RFC 6750), None when there is none."""
    scheme, _, token = (header or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        return None
    if len(token) >= _TOKEN_CHARS:
        opened(token)
    return token


async def _current(
    request: Request, _documented: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    # `_bearer` only puts the scheme into the OpenAPI document; the header is read here, as the middleware reads it.
    token = bearer_token(request.headers.get("authorization"))
    if token is None:
        raise CredentialsMissingError("This needs a token.")
    authenticator = cast(Authenticator, request.app.state.authenticator)
    caller = request.scope[CALLER] = await authenticator.authenticate(token)
    return caller


def require(*roles: Role) -> Callable[..., Awaitable[Caller]]:
    """A dependency that yields the caller if their role allows it: `Annotated[Caller, Depends(require("owner"))]`.

    The application's `state.authenticator` says who they are. Without roles, any known caller will do.
    """
    allowed = roles or ROLES

    async def caller(caller: Annotated[Caller, Depends(_current)]) -> Caller:
        if caller.role not in allowed:
            raise RoleMissingError(f"The role {caller.role} may not do this.", roles=list(allowed))
        return caller

    return caller


AdminCaller = Annotated[Caller, Depends(require("owner", "admin"))]
"""May change what the tenant has installed."""
MemberCaller = Annotated[Caller, Depends(require("owner", "admin", "member"))]
"""Anyone in a tenant."""
OperatorCaller = Annotated[Caller, Depends(require("operator"))]
PublisherCaller = Annotated[Caller, Depends(require("publisher"))]

"""What can be wrong about tenants, members and tokens."""

from __future__ import annotations

from jackfield.errors import ConflictError, InvalidError, MissingError
from jackfield.http import UnauthenticatedError

__all__ = [
    "LanguageInvalidError",
    "MemberExistsError",
    "MemberMissingError",
    "PlanUnknownError",
    "TenantExistsError",
    "TenantIdInvalidError",
    "TenantMissingError",
    "TimezoneInvalidError",
    "TokenExpiredError",
    "TokenInvalidError",
    "TokenMissingError",
    "TokenSubjectError",
]


class TenantIdInvalidError(InvalidError):
    """An id that cannot be a tenant's."""

    code = "tenant-id-invalid"
    default_hint = "Use 1 to 64 lower-case letters, digits, `-` and `_`, beginning with a letter or digit."


class TenantExistsError(ConflictError):
    """The id is taken."""

    code = "tenant-exists"
    default_hint = "Choose another id, or leave it out to have one made."


class LanguageInvalidError(InvalidError):
    """A language tag that is none."""

    code = "language-invalid"
    default_hint = "A language tag as BCP 47 has them, such as `en` or `de-AT`."


class TimezoneInvalidError(InvalidError):
    """A time zone that nobody knows."""

    code = "timezone-invalid"
    default_hint = "A name of the IANA time zone database, such as `Europe/Vienna`."


class PlanUnknownError(InvalidError):
    """Nobody has defined this plan."""

    code = "plan-unknown"
    default_hint = "List the plans with `GET /api/plans`, or define it: `PUT /api/plans/{name}`."


class TenantMissingError(MissingError):
    """There is no such tenant."""

    code = "tenant-not-found"
    default_hint = "List the tenants with `GET /api/tenants`."


class MemberExistsError(ConflictError):
    """The tenant has a member with this address."""

    code = "member-exists"
    default_hint = "Each member of a tenant has an address of their own."


class MemberMissingError(MissingError):
    """The tenant has no such member."""

    code = "member-not-found"


class TokenInvalidError(UnauthenticatedError):
    """Unknown or revoked; the two are not told apart."""

    code = "token-invalid"
    default_hint = "Ask for a new token; this one is unknown or was revoked."


class TokenExpiredError(UnauthenticatedError):
    """The token was good until `expired_at`."""

    code = "token-expired"
    default_hint = "Ask for a new token."


class TokenMissingError(MissingError):
    """There is no such token to revoke."""

    code = "token-not-found"


class TokenSubjectError(InvalidError):
    """The role and the one it is issued for do not go together."""

    code = "token-subject-invalid"
    default_hint = (
        "owner, admin and member need a tenant; publisher needs a publisher; operator needs neither. "
        "A member's token has the member's own role."
    )

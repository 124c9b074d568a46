"""Errors of a request, before it reaches any domain."""

from __future__ import annotations

from jackfield.errors import ConflictError, ForbiddenError, InvalidError, UnavailableError

__all__ = [
    "BodyTooLargeError",
    "CredentialsMissingError",
    "CursorInvalidError",
    "IdempotencyAnswerGoneError",
    "IdempotencyKeyBusyError",
    "IdempotencyKeyInvalidError",
    "IdempotencyKeyReusedError",
    "IdempotencyOutcomeUnknownError",
    "RoleMissingError",
    "TooManyRequestsError",
    "UnauthenticatedError",
]


class UnauthenticatedError(ForbiddenError):
    """We do not know who is calling: 401 instead of 403."""

    code = "unauthenticated"


class CredentialsMissingError(UnauthenticatedError):
    """No bearer token came with the request."""

    code = "credentials-missing"
    default_hint = "Send the header `Authorization: Bearer <token>`."


class RoleMissingError(ForbiddenError):
    """The caller is known, and may not do this."""

    code = "role-missing"
    default_hint = "Ask someone who has one of the roles in `roles`, or use a token of such a role."


class BodyTooLargeError(InvalidError):
    """The request's body is over the limit: 413."""

    code = "body-too-large"
    default_hint = "Send at most `limit_bytes` bytes."


class TooManyRequestsError(UnavailableError):
    """The caller is quicker than the limit allows: 429."""

    code = "too-many-requests"
    default_hint = "Wait for `retry_after_s` seconds, then try again."


class CursorInvalidError(InvalidError):
    """A cursor that this list did not hand out."""

    code = "cursor-invalid"
    default_hint = "Use `next_cursor` of the previous page as it is, or leave the cursor out to start again."


class IdempotencyKeyInvalidError(InvalidError):
    """The header is there and cannot be a key."""

    code = "idempotency-key-invalid"
    default_hint = "Use 1 to 255 visible ASCII characters; a random UUID is a good key."


class IdempotencyKeyReusedError(InvalidError):
    """The key came before, with another request."""

    code = "idempotency-key-reused"
    default_hint = "Make a new key for each new request; repeat a key only with the same method, path and body."


class IdempotencyKeyBusyError(ConflictError):
    """The first request with this key is still running."""

    code = "idempotency-key-busy"
    default_hint = "Wait for `retry_after_s` seconds and send the same request again."


class IdempotencyOutcomeUnknownError(ConflictError):
    """The first request with this key did not end: the node failed or died in the middle."""

    code = "idempotency-outcome-unknown"
    default_hint = "Look whether the first request took effect; if it did not, send it again with a new key."


class IdempotencyAnswerGoneError(ConflictError):
    """The first request with this key was answered, and the answer was not kept: it held a secret or was too large."""

    code = "idempotency-answer-gone"
    default_hint = "The first request was carried out. Read its result, or undo it and use a new key."

"""The five kinds of error. Each domain error is one kind and carries a stable code, its data, and a hint.

`http.problems` maps kinds to status codes in one place. A plugin's own failure is an outcome, not one of these.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "ConflictError",
    "ForbiddenError",
    "InvalidError",
    "JackfieldError",
    "MissingError",
    "UnavailableError",
]


class JackfieldError(Exception):
    """Base of every error that the platform raises on purpose.

    Attributes:
        code: Stable kebab-case identifier; part of the API.
        hint: What the reader can do about it.
        data: Further members of the problem document; plain data.
    """

    code: ClassVar[str] = "error"
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str | None = None, **data: Any) -> None:
        super().__init__(message)
        self.hint = self.default_hint if hint is None else hint
        self.data = data


class InvalidError(JackfieldError):
    """The request itself is wrong; the same request will fail again."""

    code = "invalid"


class ForbiddenError(JackfieldError):
    """The caller may not do this (or has not said who they are)."""

    code = "forbidden"


class MissingError(JackfieldError):
    """There is no such thing for this caller."""

    code = "not-found"


class ConflictError(JackfieldError):
    """The present state does not allow it."""

    code = "conflict"


class UnavailableError(JackfieldError):
    """Not now: a limit, a fault or a shutdown; trying again may work.

    `data["retry_after_s"]`, when given, becomes the `Retry-After` header.
    """

    code = "unavailable"

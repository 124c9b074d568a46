"""Errors of the live stream."""

from __future__ import annotations

from jackfield.errors import InvalidError
from jackfield.http import TooManyRequestsError

__all__ = ["StreamKindError", "StreamLimitError", "StreamPositionError"]


class StreamLimitError(TooManyRequestsError):
    """Too many streams are open: of the caller, of the tenant, or of the node (`data["scope"]`)."""

    code = "streams-too-many"
    default_hint = "Close a stream that is not needed. One stream for each open page is enough."


class StreamKindError(InvalidError):
    """A kind that there is not, or that the role may not hear."""

    code = "stream-kind-unknown"


class StreamPositionError(InvalidError):
    """`Last-Event-ID` or `after` is none of the ids of the stream."""

    code = "stream-position-invalid"
    default_hint = "Give the `id` of the last event as it came, or none."

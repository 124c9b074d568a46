"""What can be wrong about reading records."""

from __future__ import annotations

from jackfield.errors import InvalidError

__all__ = ["LogLevelError", "SinceInvalidError"]


class LogLevelError(InvalidError):
    """No such level of a log line."""

    code = "log-level-invalid"
    default_hint = "Use debug, info, warning or error."


class SinceInvalidError(InvalidError):
    """A time from which more would have to be told than is told at once."""

    code = "since-invalid"
    default_hint = "Ask for fewer hours, or by day."

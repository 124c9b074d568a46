"""What can be wrong about reading records."""

from __future__ import annotations

from jackfield.errors import InvalidError

__all__ = ["LogLevelError"]


class LogLevelError(InvalidError):
    """No such level of a log line."""

    code = "log-level-invalid"
    default_hint = "Use debug, info, warning or error."

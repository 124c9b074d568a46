"""What can be wrong about reading records, and about the audit trail."""

from __future__ import annotations

from jackfield.errors import ConflictError, InvalidError, MissingError, UnavailableError

__all__ = [
    "AuditFilterInvalidError",
    "AuditHeadInvalidError",
    "AuditKeyMissingError",
    "LogLevelError",
    "RetentionInvalidError",
    "RetentionKindError",
    "RetentionTooLongError",
    "SinceInvalidError",
]


class LogLevelError(InvalidError):
    """No such level of a log line."""

    code = "log-level-invalid"
    default_hint = "Use debug, info, warning or error."


class SinceInvalidError(InvalidError):
    """A time from which more would have to be told than is told at once."""

    code = "since-invalid"
    default_hint = "Ask for fewer hours, or by day."


class AuditKeyMissingError(UnavailableError):
    """The keys that seal the audit trail have not been read yet, or cannot be."""

    code = "audit-key-missing"
    default_hint = "Start the platform first: it reads the keys from its database and its key store."


class AuditHeadInvalidError(InvalidError):
    """What was given as the signed end of an audit trail is none."""

    code = "audit-head-invalid"
    default_hint = "Give the whole line, as `GET /api/audit/verify`, an export or the node's log has it."


class AuditFilterInvalidError(InvalidError):
    """A time range that holds nothing."""

    code = "audit-filter-invalid"
    default_hint = "`since` comes before `until`."


class RetentionKindError(MissingError):
    """No such kind of record."""

    code = "retention-kind-unknown"
    default_hint = "`GET /api/retention` lists the kinds."


class RetentionInvalidError(InvalidError):
    """A time that is shorter than a kind may be kept for."""

    code = "retention-invalid"
    default_hint = "The audit trail is kept for as long as the platform says, or longer."


class RetentionTooLongError(ConflictError):
    """A time that is longer than the tenant's plan allows."""

    code = "retention-too-long"
    default_hint = "Export what has to be kept for longer, or ask the operator for another plan."

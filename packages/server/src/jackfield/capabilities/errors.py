"""What the gate refuses. Message and hint reach the plugin's author; the code is what a plugin can act on."""

from __future__ import annotations

from collections.abc import Sequence

from jackfield.errors import ConflictError, ForbiddenError, InvalidError, MissingError, UnavailableError

__all__ = [
    "AnswerTooLargeError",
    "ArgumentsInvalidError",
    "EventNotDeclaredError",
    "EventPayloadMismatchError",
    "PermissionDeniedError",
    "RowInvalidError",
    "RowNotFoundError",
    "RowNotUniqueError",
    "RowsFullError",
    "SchemaRefusedError",
    "SecretKeyInvalidError",
    "SecretKeyMissingError",
    "SecretNotSetError",
    "SecretUnreadableError",
    "StorageFullError",
    "TableNotDeclaredError",
    "UnknownCapabilityError",
    "UnknownOperationError",
]

_KEEPERS = {"plugin": "the installation", "tenant": "all plugins of the tenant together"}


class PermissionDeniedError(ForbiddenError):
    """The tenant has not granted what the call needs."""

    code = "permission-denied"

    def __init__(self, permission: str) -> None:
        super().__init__(
            f"`{permission}` is not granted",
            hint="Ask for it in the manifest's `permissions`; an admin of the tenant grants it.",
            permission=permission,
        )


class UnknownCapabilityError(InvalidError):
    """There is no such capability."""

    code = "unknown-capability"

    def __init__(self, capability: str) -> None:
        super().__init__(f"there is no capability `{capability[:80]}`")


class UnknownOperationError(InvalidError):
    """The capability has no such operation."""

    code = "unknown-operation"

    def __init__(self, capability: str, operation: str) -> None:
        super().__init__(f"`{capability}` cannot `{operation[:80]}`")


class ArgumentsInvalidError(InvalidError):
    """The arguments are not what the operation takes."""

    code = "arguments-invalid"


class AnswerTooLargeError(InvalidError):
    """The answer would not fit a message."""

    code = "answer-too-large"
    default_hint = "Ask for fewer rows at once: lower `limit`, then go on with `offset`."


class StorageFullError(ConflictError):
    """The installation, or its tenant with all of them, has used up its space."""

    code = "storage-full"
    default_hint = "Delete what is not needed any more. A larger plan has more space."

    def __init__(self, scope: str, limit_bytes: int, used: int) -> None:
        super().__init__(
            f"{_KEEPERS[scope]} may keep {limit_bytes} bytes, and keeps {used}",
            quota="storage_bytes", scope=scope, limit=limit_bytes, used=used, limit_bytes=limit_bytes,
        )  # fmt: skip


class RowsFullError(ConflictError):
    """The installation, or its tenant with all of them, has as many rows as it may have."""

    code = "rows-full"
    default_hint = "Delete rows that are not needed any more. A larger plan allows more."

    def __init__(self, scope: str, limit: int, used: int) -> None:
        super().__init__(
            f"{_KEEPERS[scope]} may keep {limit} rows, and keeps {used}",
            quota="rows", scope=scope, limit=limit, used=used,
        )  # fmt: skip


class TableNotDeclaredError(InvalidError):
    """The release declares no such table."""

    code = "table-not-declared"
    default_hint = "Declare it with `@plugin.table`."

    def __init__(self, table: str) -> None:
        super().__init__(f"there is no table `{table[:80]}`")


class RowInvalidError(InvalidError):
    """A row does not fit its table's columns."""

    code = "row-invalid"

    def __init__(self, table: str, problems: Sequence[str]) -> None:
        super().__init__(f"{table}: {'; '.join(problems[:5])}", table=table)


class RowNotFoundError(MissingError):
    """The table has no row with this id."""

    code = "row-not-found"

    def __init__(self, table: str) -> None:
        super().__init__(f"there is no such row in `{table}`", table=table)


class RowNotUniqueError(ConflictError):
    """Another row has the same values in columns that must differ."""

    code = "unique-violation"

    def __init__(self, table: str, columns: Sequence[str]) -> None:
        super().__init__(f"{table}: another row has the same {', '.join(columns)}", table=table, columns=list(columns))


class SchemaRefusedError(InvalidError):
    """A schema of the plugin's own is broken, or costs too much to check values with."""

    code = "schema-refused"
    default_hint = "Simplify the type."


class EventNotDeclaredError(InvalidError):
    """The release does not say that it sends this event."""

    code = "event-not-declared"
    default_hint = "Declare it with `plugin.emits`; its name begins with the plugin's slug."

    def __init__(self, name: str) -> None:
        super().__init__(f"the plugin does not declare the event `{name[:100]}`")


class EventPayloadMismatchError(InvalidError):
    """An event's payload does not fit its declaration."""

    code = "event-payload-mismatch"

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        super().__init__(f"{name}: {'; '.join(problems[:5])}", event=name)


class SecretNotSetError(MissingError):
    """The tenant has not entered this secret."""

    code = "secret-not-set"
    default_hint = "An admin of the tenant sets it in the plugin's configuration."

    def __init__(self, name: str) -> None:
        super().__init__(f"the secret `{name}` has no value", secret=name)


class SecretUnreadableError(UnavailableError):
    """A stored secret cannot be decrypted: its key is gone, or it was tampered with or moved."""

    code = "secret-unreadable"
    default_hint = "Set the secret again, or give the node the key that it was encrypted with."


class SecretKeyMissingError(UnavailableError):
    """The node has no key to encrypt secrets with."""

    code = "secret-key-missing"
    default_hint = (
        "Set JACKFIELD_SECRET_KEY, or put the key file back; one is made only together with a fresh data folder."
    )


class SecretKeyInvalidError(InvalidError):
    """The configured key cannot be used."""

    code = "secret-key-invalid"
    default_hint = "KEYID:BASE64 of 32 random bytes; several are joined by commas, and the first one encrypts."

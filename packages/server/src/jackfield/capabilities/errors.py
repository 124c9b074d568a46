"""What the gate refuses. Message and hint reach the plugin's author; the code is what a plugin can act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jackfield.errors import ConflictError, ForbiddenError, InvalidError, MissingError, UnavailableError

__all__ = [
    "AnswerTooLargeError",
    "ArgumentsInvalidError",
    "BodyGoneError",
    "DeliveryConflictError",
    "DeliveryWritesTooManyError",
    "EventNotDeclaredError",
    "EventPayloadMismatchError",
    "FileChangedError",
    "FileMissingError",
    "FilePathInvalidError",
    "FileTooLargeError",
    "GroupNotUniqueError",
    "KeyInUseError",
    "KeyUnknownError",
    "KeysInSettingsError",
    "MigrationOnlyError",
    "NumberOutOfRangeError",
    "PermissionDeniedError",
    "ReferenceMissingError",
    "ReferencesDanglingError",
    "ReleaseReplacedError",
    "RowChangedError",
    "RowFilterInvalidError",
    "RowInvalidError",
    "RowNotFoundError",
    "RowNotUniqueError",
    "RowReferencedError",
    "RowsFullError",
    "RowsTooManyError",
    "SchemaRefusedError",
    "SecretKeyInvalidError",
    "SecretKeyMissingError",
    "SecretNotBoundError",
    "SecretNotSetError",
    "SecretUnreadableError",
    "StorageFullError",
    "TableNotDeclaredError",
    "TransactionStateError",
    "UniquenessLackingError",
    "UnknownCapabilityError",
    "UnknownOperationError",
    "UpdateUnderwayError",
    "UploadMissingError",
    "UploadsTooManyError",
    "ValueKindError",
]

_KEEPERS = {"plugin": "the installation", "tenant": "all plugins of the tenant together"}


class PermissionDeniedError(ForbiddenError):
    """The call needs more than is held by all who take part in it: `data["lacks"]` says who, if not the plugin."""

    code = "permission-denied"

    def __init__(self, permission: str, message: str = "", hint: str = "", **about: str) -> None:
        super().__init__(
            message or f"`{permission}` is not granted",
            hint=hint or "Ask for it in the manifest's `permissions`; an admin of the tenant grants it.",
            permission=permission,
            **about,
        )

    @classmethod
    def of_user(cls, permission: str, role: str) -> PermissionDeniedError:
        """The plugin may, but not the member on whose behalf it runs."""
        return cls(
            permission,
            f"the acting user may not: the role {role} does not have `{permission}`",
            "Somebody whose role has it can do this; so can an event or a schedule, for which nobody acts.",
            lacks="user",
            role=role,
        )

    @classmethod
    def of_plugin(cls, permission: str, slug: str) -> PermissionDeniedError:
        """The plugin may, but not another one that called it."""
        return cls(
            permission,
            f"`{permission}` is not granted to {slug}, on whose behalf this runs",
            f"A call from another plugin can do what both may. Have it granted to {slug} as well.",
            lacks="plugin",
            plugin=slug,
        )

    @classmethod
    def of_nobody(cls, permission: str) -> PermissionDeniedError:
        """The grant is narrowed to what belongs to the acting user, and nobody acts."""
        return cls(
            permission,
            f"`{permission}` is granted for rows of the acting user only, and nobody acts",
            "Do this in a call on behalf of a member: a function, a route, a widget.",
            lacks="user",
        )


class RowFilterInvalidError(InvalidError):
    """A row filter that no grant can be narrowed by."""

    code = "row-filter-invalid"
    default_hint = 'As `[["city", "eq", "Berlin"]]`, over the fields that the host opens to plugins.'

    def __init__(self, entity: str, reason: str) -> None:
        super().__init__(f"the row filter of {entity}: {reason}", entity=entity)


class DeliveryConflictError(ConflictError):
    """Others have changed what the handler of a delivery read or wrote. It runs again by itself."""

    code = "delivery-conflict"
    default_hint = "Let the error pass: the handler runs again, with what is there now."

    def __init__(self) -> None:
        super().__init__("something that this delivery has written was changed meanwhile; nothing is written")


class DeliveryWritesTooManyError(InvalidError):
    """The handler of a delivery writes more than can be committed at once."""

    code = "delivery-writes-too-many"
    default_hint = "Write many at once, as with `insert_many` and `set_many`, or go on in an event of your own."

    def __init__(self, writes: int, size_bytes: int) -> None:
        super().__init__(
            f"a delivery makes at most {writes} writes of {size_bytes} bytes together",
            writes=writes,
            size_bytes=size_bytes,
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


class ValueKindError(ConflictError):
    """What is kept under a key is not of the kind that the operation works on."""

    code = "value-not-a-number"
    default_hint = "Only numbers can be incremented. Use another key, or delete this one first."


class NumberOutOfRangeError(InvalidError):
    """A number that cannot be kept."""

    code = "number-out-of-range"
    default_hint = "Whole numbers have 64 bits, others are finite."


class FilePathInvalidError(InvalidError):
    """A file cannot be called so."""

    code = "file-path-invalid"
    default_hint = "Names joined by `/`, at most 256 characters; no `.`, no `..`, no backslash, nothing unprintable."


class FileMissingError(MissingError):
    """The installation has no such file."""

    code = "file-not-found"

    def __init__(self, path: str) -> None:
        super().__init__(f"there is no file `{path[:256]}`", path=path[:256])


class FileTooLargeError(InvalidError):
    """More than one file may have."""

    code = "file-too-large"
    default_hint = "Split it into several files."

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"a file may have {limit_bytes} bytes", limit_bytes=limit_bytes)


class FileChangedError(ConflictError):
    """The file was replaced or deleted while it was read."""

    code = "file-changed"
    default_hint = "Read it again from the beginning."


class UploadMissingError(MissingError):
    """There is no such upload, or none any more, or its part does not come next."""

    code = "upload-missing"
    default_hint = "Write the file again from the beginning; what is not finished is dropped after an hour."


class UploadsTooManyError(ConflictError):
    """The installation has too many files half-written."""

    code = "uploads-too-many"
    default_hint = "Finish or abort one of them; what is not finished is dropped after an hour."


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


class RowChangedError(ConflictError):
    """The row is not any more what the caller expected it to be."""

    code = "row-changed"
    default_hint = "Read the row again and decide anew."

    def __init__(self, table: str, columns: Sequence[str]) -> None:
        super().__init__(
            f"{table}: the row has another {', '.join(columns)} by now", table=table, columns=list(columns)
        )


class RowsTooManyError(InvalidError):
    """More rows than one call may change."""

    code = "rows-too-many"
    default_hint = "Narrow the conditions, or take several calls."

    def __init__(self, table: str, limit: int) -> None:
        super().__init__(f"{table}: more than {limit} rows would be changed at once", table=table, limit=limit)


class ReferenceMissingError(ConflictError):
    """A column refers to a row that is not there."""

    code = "reference-missing"

    def __init__(self, table: str, column: str, target: str) -> None:
        super().__init__(
            f"{table}.{column}: there is no such row in `{target}`", table=table, column=column, target=target
        )


class RowReferencedError(ConflictError):
    """Other rows refer to the one that is to be deleted."""

    code = "row-referenced"
    default_hint = "Delete those first, or declare what is to become of them with `on_delete`."

    def __init__(self, table: str, by: str, column: str) -> None:
        super().__init__(f"{table}: rows of `{by}` refer to it by `{column}`", table=table, by=by, column=column)


class GroupNotUniqueError(InvalidError):
    """Columns that name a row have to be declared as unique."""

    code = "group-not-unique"
    default_hint = "Name exactly the columns of one of the table's `unique` groups, and give each a value."

    def __init__(self, table: str, columns: Sequence[str]) -> None:
        super().__init__(f"{table}: {', '.join(columns)[:200]} do not name one row", table=table)


class UniquenessLackingError(ConflictError):
    """A release demands that rows differ, and they do not. `data["alike"]` has the first ones, with table and rows."""

    code = "rows-not-unique"
    default_hint = "Change or delete all but one of each; then update again."

    def __init__(self, alike: Sequence[Mapping[str, object]], count: int) -> None:
        first = alike[0]
        super().__init__(
            f"{count} rows of the data are like another where the release demands that they differ, in "
            f"{first['table']}: {first['columns']}",
            alike=[dict(one) for one in alike], count=count,
        )  # fmt: skip


class ReferencesDanglingError(ConflictError):
    """A release demands that a column refers to rows, and it does not. `data["dangling"]` has the first ones."""

    code = "references-dangling"
    default_hint = "Set the column to a row that is there, or to null; then update again."

    def __init__(self, dangling: Sequence[Mapping[str, object]]) -> None:
        first = dangling[0]
        super().__init__(
            f"rows refer to rows that are not there, in {first['table']}: {first['column']}",
            dangling=[dict(one) for one in dangling],
        )


class UpdateUnderwayError(UnavailableError):
    """The installation's data is being moved to another release; for so long nobody writes it."""

    code = "update-underway"
    default_hint = "Try again in a moment. Reading goes on."

    def __init__(self) -> None:
        super().__init__("the plugin is being updated", retry_after_s=1)


class ReleaseReplacedError(UnavailableError):
    """The call began on a release that has been replaced, and the data is another one's by now."""

    code = "release-replaced"
    default_hint = "Try again: a new call runs on the new release."

    def __init__(self) -> None:
        super().__init__("the plugin was updated while this ran", retry_after_s=1)


class MigrationOnlyError(ForbiddenError):
    """Only a migration sees rows as they are stored."""

    code = "migration-only"
    default_hint = "Use `ctx.tables`. `ctx.migration` is for handlers declared with `@plugin.migration`."

    def __init__(self) -> None:
        super().__init__("this is no migration")


class SchemaRefusedError(InvalidError):
    """A schema of the plugin's own is broken, or costs too much to check values with."""

    code = "schema-refused"
    default_hint = "Simplify the type."


class BodyGoneError(MissingError):
    """The rest of a response is not kept any more."""

    code = "body-gone"
    default_hint = "Read a response to its end before sending many other requests."

    def __init__(self) -> None:
        super().__init__("the rest of this response is gone")


class SecretNotBoundError(InvalidError):
    """A handle was asked for of a secret that no host is named for."""

    code = "secret-not-bound"
    default_hint = 'Declare it as `Annotated[jf.Secret, jf.Hosts("api.example.com")]`.'

    def __init__(self, name: str) -> None:
        super().__init__(f"the manifest names no hosts for a secret `{name}`", secret=name)


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


class KeysInSettingsError(ConflictError):
    """The platform cannot change keys that are in the node's settings."""

    code = "keys-in-settings"
    default_hint = (
        "Put the new key in front of JACKFIELD_SECRET_KEY on every node and restart them; then rotate again to wrap "
        "everything with it."
    )


class KeyInUseError(ConflictError):
    """A key is still needed."""

    code = "key-in-use"
    default_hint = "Rotate first, and wait until nothing is wrapped with it: `python -m jackfield keys status`."


class KeyUnknownError(MissingError):
    """There is no such key."""

    code = "key-unknown"


class DryRunError(ConflictError):
    """A handler that is only tried out would change something."""

    code = "dry-run"
    default_hint = "Nothing is wrong: outside of a dry run it would have been done."

    def __init__(self, what: str) -> None:
        super().__init__(f"`{what}` is not done in a dry run")


class TransactionStateError(InvalidError):
    """A transaction that is not open, open already, or too long."""

    code = "transaction-state"
    default_hint = "Begin with `with ctx.data.transaction() as tx:`, once at a time, and keep it short."

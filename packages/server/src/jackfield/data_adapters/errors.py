"""What an adapter refuses. The messages reach plugin authors; they never tell of what the plugin may not see."""

from __future__ import annotations

from jackfield.errors import ConflictError, InvalidError, MissingError, UnavailableError

__all__ = [
    "ComparisonInvalidError",
    "EntityConflictError",
    "EntityNotFoundError",
    "EntityNotOpenError",
    "EntityReadOnlyError",
    "FieldRefusedError",
    "FieldValueError",
    "QueryTooSlowError",
]


class ComparisonInvalidError(InvalidError):
    """A condition whose value does not go with its operator."""

    code = "comparison-invalid"
    default_hint = "Compare with one number or text; `in` takes a list, `like` a text with % and _."


class EntityNotOpenError(MissingError):
    """The host opens no entity of this name to plugins."""

    code = "entity-not-open"
    default_hint = "`ctx.data.entities()` lists what there is."

    def __init__(self, entity: str) -> None:
        super().__init__(f"there is no entity `{entity}`", entity=entity)


class EntityNotFoundError(MissingError):
    """This tenant has no entity with this key."""

    code = "entity-not-found"

    def __init__(self, entity: str) -> None:
        super().__init__(f"there is nothing with this key in `{entity}`", entity=entity)


class EntityReadOnlyError(InvalidError):
    """The host opens this entity for reading only."""

    code = "entity-read-only"

    def __init__(self, entity: str) -> None:
        super().__init__(f"the host lets no plugin change `{entity}`", entity=entity)


class FieldRefusedError(InvalidError):
    """A field that plugins may not name here: hidden, read-only, the tenant's, or not there at all; all look alike."""

    code = "field-refused"
    default_hint = "Name the fields that the host opens to plugins."

    def __init__(self, entity: str, field: str, use: str) -> None:
        super().__init__(f"`{field[:80]}` is no field of `{entity}` that a plugin may {use}", entity=entity)


class FieldValueError(InvalidError):
    """A value that the field does not take."""

    code = "field-value-invalid"

    def __init__(self, entity: str, field: str, reason: str) -> None:
        super().__init__(f"{entity}.{field}: {reason}", entity=entity, field=field)


class EntityConflictError(ConflictError):
    """A rule of the host's tables refuses the change."""

    code = "entity-conflict"
    default_hint = "A value that must be there, be unique, or be the key of another entity is not."

    def __init__(self, entity: str) -> None:
        super().__init__(f"the host's rules for `{entity}` refuse the change", entity=entity)


class QueryTooSlowError(UnavailableError):
    """The query was stopped at its time limit."""

    code = "query-too-slow"
    default_hint = "Ask for less at once, or with a condition that leaves fewer rows."

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the query took longer than {limit_s:g} s and was stopped")

"""What an adapter refuses. The messages reach plugin authors; they never tell of what the plugin may not see."""

from __future__ import annotations

from jackfield.errors import ConflictError, ForbiddenError, InvalidError, MissingError, UnavailableError

__all__ = [
    "ChangeNotFoundError",
    "ChangeNotRevertibleError",
    "ChangeOvertakenError",
    "ChangeRevertedError",
    "ComparisonInvalidError",
    "CursorMismatchError",
    "EntityChangedError",
    "EntityConflictError",
    "EntityNotFoundError",
    "EntityNotOpenError",
    "EntityOutOfScopeError",
    "EntityReadOnlyError",
    "FeatureMissingError",
    "FieldRefusedError",
    "FieldValueError",
    "QueryTooSlowError",
    "TransactionConflictError",
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


class EntityChangedError(ConflictError):
    """Somebody else has changed the entity since it was read."""

    code = "entity-changed"
    default_hint = "Read it again, decide again, then write."

    def __init__(self, entity: str) -> None:
        super().__init__(f"the entity in `{entity}` is not as it was expected to be", entity=entity)


class EntityOutOfScopeError(ForbiddenError):
    """The write would leave what the tenant's grant, or the acting user's rights, reach."""

    code = "entity-out-of-scope"
    default_hint = "The tenant has limited the grant to some of these entities; what is written has to stay among them."

    def __init__(self, entity: str) -> None:
        super().__init__(f"the grant for `{entity}` does not reach that far", entity=entity)


class CursorMismatchError(InvalidError):
    """A cursor that is none, or one of another query."""

    code = "cursor-mismatch"
    default_hint = "Give `cursor` together with the very same conditions and order; leave it out to begin anew."

    def __init__(self) -> None:
        super().__init__("the cursor does not belong to this query")


class FeatureMissingError(InvalidError):
    """What this installation's entities are kept in cannot do this."""

    code = "data-feature-missing"
    default_hint = "`ctx.data[NAME].schema()` lists the features."

    def __init__(self, adapter: str, feature: str) -> None:
        super().__init__(f"{adapter} has no {feature}", feature=feature)


class TransactionConflictError(ConflictError):
    """Somebody else has changed what the transaction has read or written.

    Attributes:
        may_pass: Two met, and nobody knows yet whether what was seen has changed.
    """

    code = "transaction-conflict"
    default_hint = "Run the whole transaction again."

    def __init__(self, *, may_pass: bool = False) -> None:
        super().__init__("something that the transaction has seen was changed meanwhile; nothing was written")
        self.may_pass = may_pass


class ChangeNotFoundError(MissingError):
    """The tenant has no such entry in its change log."""

    code = "change-not-found"
    default_hint = "Entries are kept for as long as the operator has set."

    def __init__(self, number: int) -> None:
        super().__init__(f"there is no change {number}", change=number)


class ChangeRevertedError(ConflictError):
    """The change was taken back before."""

    code = "change-reverted"

    def __init__(self, number: int) -> None:
        super().__init__(f"the change {number} was taken back already", change=number)


class ChangeOvertakenError(ConflictError):
    """What the change wrote is no longer what is there."""

    code = "change-overtaken"
    default_hint = "It was changed again since. Take the later change back first, or set it right by hand."

    def __init__(self, number: int, entity: str, key: str) -> None:
        super().__init__(
            f"`{entity}` {key[:80]} is not as the change {number} left it", change=number, entity=entity, key=key
        )


class ChangeNotRevertibleError(ConflictError):
    """The change cannot be taken back at all."""

    code = "change-not-revertible"

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"the change {number} cannot be taken back: {reason}", change=number)

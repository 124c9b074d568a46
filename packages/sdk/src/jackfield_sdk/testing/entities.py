"""The host's entities in memory, and transactions over them; `ctx.data` of the fake platform."""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from jackfield_sdk.errors import CapabilityError
from jackfield_sdk.schema import to_plain
from jackfield_sdk.testing.nodes import Branch, Leaf, Where, check_where, holds
from jackfield_sdk.testing.plain import check_plain
from jackfield_sdk.testing.rows import Page, Row, select

__all__ = ["Entities"]

_BATCH = 100
_STEPS = 50
_FEATURES = ["aggregate", "batch-atomic", "change-log", "cursor", "restore", "transactions"]
_Function = Literal["count", "sum", "avg", "min", "max"]

Rows = dict[str, dict[str, Row]]
"""Entity → key as text → row."""
T = TypeVar("T")
Operation = tuple[type[Any], Callable[[Any], str], Callable[[Any], Any]]


class _OnEntity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    entity: str
    tx: bool = False


class _Nothing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _ById(_OnEntity, frozen=True, kw_only=True):
    id: str


class _Delete(_ById, frozen=True, kw_only=True):
    expected: Row | None = None


class _Count(_OnEntity, frozen=True, kw_only=True):
    where: Where = []


class _Select(Page, frozen=True, kw_only=True, forbid_unknown_fields=True):
    entity: str
    tx: bool = False
    cursor: str | None = None


class _Aggregate(_Count, frozen=True, kw_only=True):
    measures: Annotated[dict[str, tuple[_Function, str | None]], Meta(min_length=1, max_length=20)]
    group_by: list[str] = []
    order: list[str] = []
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class _Create(_OnEntity, frozen=True, kw_only=True):
    values: Row


class _CreateMany(_OnEntity, frozen=True, kw_only=True):
    rows: Annotated[list[Row], Meta(max_length=_BATCH)]


class _OneChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    changes: Row
    expected: Row | None = None


class _Update(_OnEntity, frozen=True, kw_only=True):
    id: str
    changes: Row
    expected: Row | None = None


class _UpdateMany(_OnEntity, frozen=True, kw_only=True):
    changes: Annotated[list[_OneChange], Meta(max_length=_BATCH)]


class _Written(msgspec.Struct, frozen=True):
    """`before`, `after`: None where there was or is nothing."""

    entity: str
    id: str
    before: Row | None
    after: Row | None


class _Read(msgspec.Struct, frozen=True):
    run: Callable[[Rows], Any]
    seen: Any


class Entities:
    """As far as a test has put any in.

    Attributes:
        may_read: Whether the plugin may read an entity; the broker's to say.
        scope: Entity and `read` or `write` → conditions of the rows that a call may use; likewise.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._steps: list[_Read | list[_Written]] | None = None
        self.rows: Rows = {}
        self.may_read: Callable[[str], bool] = lambda _entity: True
        self.scope: Callable[[str, str], Sequence[Leaf | Branch]] = lambda _entity, _use: ()

    def put(self, entity: str, *rows: Row) -> None:
        """Add entities, each with its `id`."""
        held = self.rows.setdefault(entity, {})
        for row in rows:
            held[str(row["id"])] = to_plain(row)

    def begin_call(self) -> None:
        """A transaction that the call before has left open is nobody's any more."""
        self._steps = None

    def operations(self) -> dict[str, Operation]:
        """What the broker offers: arguments, permission, action."""
        return {
            "data.schema": (_OnEntity, lambda _: "", self._schema),
            "data.get": (_ById, _reads, lambda a: self._read(a, lambda rows: rows.get(a.entity, {}).get(a.id))),
            "data.list": (_Select, _reads, lambda a: self._page(a)["rows"]),
            "data.page": (_Select, _reads, self._page),
            "data.count": (_Count, _reads, lambda a: self._read(a, lambda rows: len(_found(rows, a.entity, a.where)))),
            "data.aggregate": (_Aggregate, _reads, lambda a: self._read(a, lambda rows: _aggregate(rows, a))),
            "data.create": (_Create, _writes, lambda a: self._created(a, [a.values])[0]),
            "data.create_many": (_CreateMany, _writes, lambda a: self._created(a, a.rows)),
            "data.update": (_Update, _writes, lambda a: self._updated(a, [a])[0]),
            "data.update_many": (_UpdateMany, _writes, lambda a: self._updated(a, a.changes)),
            "data.delete": (_Delete, _writes, self._delete),
            "data.begin": (_Nothing, lambda _: "", lambda _: self._begin()),
            "data.commit": (_Nothing, lambda _: "", lambda _: self._commit()),
            "data.rollback": (_Nothing, lambda _: "", lambda _: self.begin_call()),
        }

    # -- reading -----------------------------------------------------------------------------------------------------

    def _read(self, arguments: Any, run: Callable[[Rows], Any]) -> Any:
        run = self._within(arguments.entity, self.scope(arguments.entity, "read"), run)
        if not arguments.tx:
            return copy.deepcopy(run(self.rows))
        steps = self._open_steps()
        value = copy.deepcopy(run(self._with(steps)))
        steps.append(_Read(run, copy.deepcopy(value)))
        return value

    def _within(self, entity: str, where: Sequence[Leaf | Branch], run: Callable[[Rows], T]) -> Callable[[Rows], T]:
        """The same over those rows alone that meet the conditions."""
        if not where:
            return run

        def narrowed(rows: Rows) -> T:
            held = {key: row for key, row in rows.get(entity, {}).items() if holds(where, row)}
            return run({**rows, entity: held})

        return narrowed

    def _page(self, arguments: _Select) -> dict[str, Any]:
        return self._read(arguments, lambda rows: _page(rows, arguments))

    def _schema(self, arguments: _OnEntity) -> dict[str, Any]:
        rows = self.rows.get(arguments.entity, {}).values()
        names = dict.fromkeys(["id", *(name for row in rows for name in row)])
        fields = [
            {
                "name": name, "schema": dict[str, Any](), "nullable": name != "id", "readable": True,
                "writable": name != "id", "key": name == "id", "references": None,
            }
            for name in names
        ]  # fmt: skip
        return {
            "name": arguments.entity, "description": "", "key": "id", "version_field": None, "fields": fields,
            "features": _FEATURES,
        }  # fmt: skip

    # -- writing -----------------------------------------------------------------------------------------------------

    def _created(self, arguments: Any, rows: list[Row]) -> list[Row]:
        check_plain(rows, "rows")

        def run(_rows: Rows) -> list[_Written]:
            found: list[_Written] = []
            for values in rows:
                if "id" in values:
                    raise _refused(arguments.entity, "id", "set")
                row = {"id": f"{arguments.entity}_{next(self._numbers)}", **values}
                found.append(_Written(arguments.entity, row["id"], None, row))
            return found

        return self._write(arguments, rows, run)

    def _updated(self, arguments: Any, changes: Iterable[Any]) -> list[Row]:
        entity = arguments.entity

        def run(rows: Rows) -> list[_Written]:
            held = dict(rows.get(entity, {}))
            found: list[_Written] = []
            for change in changes:
                check_plain(change.changes, "changes")
                if "id" in change.changes:
                    raise _refused(entity, "id", "set")
                before = held.get(change.id)
                if before is None:
                    raise CapabilityError(f"there is nothing with this key in `{entity}`", code="entity-not-found")
                self._check_expected(entity, before, change.expected)
                held[change.id] = {**before, **change.changes}
                found.append(_Written(entity, change.id, before, held[change.id]))
            return found

        expects = any(change.expected for change in changes)
        return self._write(arguments, [change.changes for change in changes], run, expects=expects)

    def _delete(self, arguments: _Delete) -> bool:
        def run(rows: Rows) -> list[_Written]:
            before = rows.get(arguments.entity, {}).get(arguments.id)
            if before is None:
                return []
            self._check_expected(arguments.entity, before, arguments.expected)
            return [_Written(arguments.entity, arguments.id, before, None)]

        return bool(self._do(arguments, run, expects=bool(arguments.expected)))

    def _write(
        self, arguments: Any, given: list[Row], run: Callable[[Rows], list[_Written]], *, expects: bool = False
    ) -> list[Row]:
        written = self._do(arguments, run, expects=expects)
        scope = self.scope(arguments.entity, "read") if self.may_read(arguments.entity) else None
        # Who may not read gets back the key and what they gave.
        return [
            {
                name: copy.deepcopy(value)
                for name, value in (item.after or {}).items()
                if (scope is not None and holds(scope, item.after or {})) or name in {*values, "id"}
            }
            for item, values in zip(written, given, strict=True)
        ]

    def _do(self, arguments: Any, run: Callable[[Rows], list[_Written]], *, expects: bool = False) -> list[_Written]:
        entity = arguments.entity
        scope = self.scope(entity, "write")
        # What is expected of a row tells what is in it.
        seen = [*scope, *(self.scope(entity, "read") if expects and self.may_read(entity) else ())]
        run = self._staying(entity, scope, self._within(entity, seen, run))
        if not arguments.tx:
            written = copy.deepcopy(run(self.rows))
            _redo(self.rows, written)
            return written
        steps = self._open_steps()
        written = copy.deepcopy(run(self._with(steps)))
        steps.append(written)
        return written

    def _staying(
        self, entity: str, where: Sequence[Leaf | Branch], run: Callable[[Rows], list[_Written]]
    ) -> Callable[[Rows], list[_Written]]:
        """The same, with what is written among those rows as well."""

        def stays(rows: Rows) -> list[_Written]:
            written = run(rows)
            if any(item.after is not None and not holds(where, item.after) for item in written):
                raise CapabilityError(
                    f"the grant for `{entity}` does not reach that far", code="entity-out-of-scope",
                    hint="The tenant has limited the grant to some of these entities; what is written has to stay "
                    "among them.",
                )  # fmt: skip
            return written

        return stays if where else run

    def _check_expected(self, entity: str, row: Row, expected: Row | None) -> None:
        if not expected:
            return
        if not self.may_read(entity):
            raise CapabilityError(f"`{entity}:read` is not granted", code="permission-denied")
        for name, value in expected.items():
            found = row.get(name)
            if found != value or isinstance(found, bool) != isinstance(value, bool):
                raise CapabilityError(
                    f"the entity in `{entity}` is not as it was expected to be",
                    code="entity-changed",
                    hint="Read it again, decide again, then write.",
                )

    # -- transactions ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._steps is not None:
            raise _state("a transaction is open already, and a call has one at a time")
        self._steps = []

    def _commit(self) -> None:
        if self._steps is None:
            raise _state("no transaction is open")
        steps, self._steps = self._steps, None
        rows = copy.deepcopy(self.rows)
        for step in steps:
            if isinstance(step, list):
                _redo(rows, step)
            elif step.run(rows) != step.seen:
                raise _conflict()
        if any(isinstance(step, list) for step in steps):
            self.rows = rows

    def _open_steps(self) -> list[_Read | list[_Written]]:
        if self._steps is None:
            raise _state("no transaction is open")
        if len(self._steps) >= _STEPS:
            raise _state(f"a transaction has at most {_STEPS} steps")
        return self._steps

    def _with(self, steps: list[_Read | list[_Written]]) -> Rows:
        """What there is together with what the transaction has written."""
        rows = copy.deepcopy(self.rows)
        for step in steps:
            if isinstance(step, list):
                _redo(rows, step)
        return rows


def _redo(rows: Rows, written: list[_Written]) -> None:
    for item in written:
        held = rows.setdefault(item.entity, {})
        if held.get(item.id) != item.before:
            raise _conflict()
        if item.after is None:
            held.pop(item.id, None)
        else:
            held[item.id] = copy.deepcopy(item.after)


def _found(rows: Rows, entity: str, where: Any) -> list[Row]:
    check_where(where)
    return [row for row in rows.get(entity, {}).values() if holds(where, row)]


def _page(rows: Rows, wanted: _Select) -> dict[str, Any]:
    held = rows.get(wanted.entity, {})
    found = select(held.values(), wanted, is_whole=True)
    mark = hashlib.blake2b(
        msgspec.json.encode([wanted.entity, wanted.where, wanted.order]), digest_size=9
    ).hexdigest()  # fmt: skip
    at = wanted.offset
    if wanted.cursor is not None:
        last = _open_cursor(wanted.cursor, mark)
        # The row behind which to go on, also when it is not there any more.
        behind = msgspec.structs.replace(wanted, where=[])
        ordered = select([last, *(row for row in found if not _is_place(row, last))], behind, is_whole=True)
        found, at = ordered[next(n for n, row in enumerate(ordered) if row is last) + 1 :], 0
    page = found[at : at + wanted.limit]
    cursor = None
    if len(found) > at + wanted.limit:
        names = {"id", *(name.removeprefix("-") for name in wanted.order)}
        place = {name: page[-1].get(name) for name in names}
        cursor = base64.urlsafe_b64encode(msgspec.json.encode([mark, place])).decode()
    return {"rows": page, "cursor": cursor}


def _is_place(row: Row, last: Row) -> bool:
    return all(row.get(name) == value for name, value in last.items())


def _open_cursor(cursor: str, mark: str) -> Row:
    try:
        found, place = msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=tuple[str, Row])
    except (ValueError, msgspec.DecodeError):
        found, place = "", {}
    if found != mark:
        raise CapabilityError(
            "the cursor does not belong to this query",
            code="cursor-mismatch",
            hint="Give `cursor` together with the very same conditions and order; leave it out to begin anew.",
        )
    return place


def _aggregate(rows: Rows, wanted: _Aggregate) -> list[Row]:
    groups: dict[str, tuple[Row, list[Row]]] = {}
    for row in _found(rows, wanted.entity, wanted.where):
        group = {name: row.get(name) for name in wanted.group_by}
        groups.setdefault(repr(group), (group, []))[1].append(row)
    if not wanted.group_by and not groups:
        groups[""] = ({}, [])
    known = {*wanted.group_by, *wanted.measures}
    for name in wanted.order:
        if name.removeprefix("-") not in known:
            raise _refused(wanted.entity, name.removeprefix("-"), "sort groups by")
    answer = [
        {**group, **{name: _figure(name, held, *measure) for name, measure in wanted.measures.items()}}
        for group, held in groups.values()
    ]
    for column in reversed([*wanted.order, *wanted.group_by]):
        name = column.removeprefix("-")
        answer.sort(key=lambda row, name=name: (row[name] is not None, row[name]), reverse=column != name)
    return answer[: wanted.limit]


def _figure(name: str, rows: list[Row], function: _Function, field: str | None) -> Any:
    if field is None:
        if function != "count":
            raise CapabilityError(f"`{name}`: `{function}` takes a field", code="comparison-invalid")
        return len(rows)
    values = [row[field] for row in rows if row.get(field) is not None]
    if function == "count":
        return len(values)
    if function in ("sum", "avg") and any(
        isinstance(item, bool) or not isinstance(item, (int, float)) for item in values
    ):
        raise CapabilityError(f"`{field}` holds no numbers", code="comparison-invalid")
    if not values:
        return None
    match function:
        case "sum":
            return sum(values)
        case "avg":
            return sum(values) / len(values)
        case "min":
            return min(values)
        case "max":
            return max(values)


def _refused(entity: str, field: str, use: str) -> CapabilityError:
    return CapabilityError(f"`{field}` is no field of `{entity}` that a plugin may {use}", code="field-refused")


def _state(message: str) -> CapabilityError:
    return CapabilityError(
        message,
        code="transaction-state",
        hint="Begin with `with ctx.data.transaction() as tx:`, once at a time, and keep it short.",
    )


def _conflict() -> CapabilityError:
    return CapabilityError(
        "something that the transaction has seen was changed meanwhile; nothing was written",
        code="transaction-conflict",
        hint="Run the whole transaction again.",
    )


def _reads(arguments: Any) -> str:
    return f"{arguments.entity}:read"


def _writes(arguments: Any) -> str:
    return f"{arguments.entity}:write"

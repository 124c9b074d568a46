"""The plugin's tables in memory: `ctx.tables` and `ctx.migration` of the fake platform."""

from __future__ import annotations

import base64
import copy
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jackfield_sdk.errors import CapabilityError
from jackfield_sdk.manifest import Table
from jackfield_sdk.schema import to_plain
from jackfield_sdk.testing.nodes import Where, check_where, fields_of, holds
from jackfield_sdk.testing.plain import check_plain
from jackfield_sdk.testing.rows import Row

__all__ = ["Tables"]

_AT_ONCE = 1_000
_ROWS = 500
_STEPS = 100
_Limit = Annotated[int, Meta(ge=1, le=1000)]
_Function = Literal["count", "sum", "avg", "min", "max"]
Operation = tuple[type[Any], Callable[[Any], str], Callable[[Any], Any]]


class _OnTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    table: str


class _Insert(_OnTable, frozen=True, kw_only=True):
    row: Row


class _InsertMany(_OnTable, frozen=True, kw_only=True):
    rows: Annotated[list[Row], Meta(max_length=_ROWS)]


class _Get(_OnTable, frozen=True, kw_only=True):
    id: str


class _Delete(_Get, frozen=True, kw_only=True):
    expected: Row | None = None


class _Update(_Delete, frozen=True, kw_only=True):
    changes: Row


class _Count(_OnTable, frozen=True, kw_only=True):
    where: Where = []


class _Find(_Count, frozen=True, kw_only=True):
    order: Annotated[list[str], Meta(max_length=10)] = []
    limit: _Limit = 100
    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class _Page(_Count, frozen=True, kw_only=True):
    order: Annotated[list[str], Meta(max_length=10)] = []
    limit: _Limit = 100
    cursor: str | None = None


class _Aggregate(_Count, frozen=True, kw_only=True):
    measures: Annotated[dict[str, tuple[_Function, str | None]], Meta(min_length=1, max_length=16)]
    group_by: Annotated[list[str], Meta(max_length=8)] = []
    order: Annotated[list[str], Meta(max_length=10)] = []
    limit: _Limit = 100


class _UpdateMany(_OnTable, frozen=True, kw_only=True):
    where: Where
    changes: Row


class _DeleteMany(_OnTable, frozen=True, kw_only=True):
    where: Where
    limit: _Limit = _AT_ONCE


class _Upsert(_OnTable, frozen=True, kw_only=True):
    unique: Annotated[list[str], Meta(min_length=1, max_length=16)]
    row: Row


class _Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["insert", "update", "delete", "upsert"]
    table: str
    id: Any = UNSET
    values: Row = {}
    expected: Row | None = None
    unique: list[str] | UnsetType = UNSET


class _Transaction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    steps: Annotated[list[_Step], Meta(min_length=1, max_length=_STEPS)]


class _Raw(_OnTable, frozen=True, kw_only=True):
    after: str = ""
    limit: Annotated[int, Meta(ge=1, le=_ROWS)] = _ROWS


class _Put(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    set: Row
    drop: list[str] = []


class _PutMany(_OnTable, frozen=True, kw_only=True):
    rows: Annotated[list[_Put], Meta(max_length=_ROWS)]


class _DeleteRaw(_OnTable, frozen=True, kw_only=True):
    ids: Annotated[list[str], Meta(max_length=_ROWS)]


class Tables:
    """The plugin's tables, with their types, unique groups and references.

    Args:
        declared: Tables of the manifest.
        types: Table → struct of its rows, `id` left out.

    Attributes:
        rows: Table → id → row, all of its columns and `id`. In a migration there may be others than declared.
        is_migrating: Whether `ctx.migration` works.
    """

    def __init__(self, declared: list[Table], types: dict[str, type[msgspec.Struct]]) -> None:
        self._declared = {table.name: table for table in declared}
        self._types = types
        self._numbers = itertools.count(1)
        self.rows: dict[str, dict[str, Row]] = {table.name: {} for table in declared}
        self.is_migrating = False

    def operations(self) -> dict[str, Operation]:
        """What the broker offers: arguments, permission, action."""
        return {
            "tables.insert": (_Insert, _needed, lambda a: self._whole(lambda: self._insert(a.table, [a.row]))[0]),
            "tables.insert_many": (_InsertMany, _needed, lambda a: self._whole(lambda: self._insert(a.table, a.rows))),
            "tables.get": (_Get, _needed, lambda a: self._shown(a.table, self._of(a.table).get(a.id))),
            "tables.find": (_Find, _needed, self._find),
            "tables.page": (_Page, _needed, self._page),
            "tables.count": (_Count, _needed, lambda a: len(self._found(a.table, a.where, []))),
            "tables.aggregate": (_Aggregate, _needed, self._aggregate),
            "tables.update": (
                _Update, _needed,
                lambda a: self._whole(lambda: self._update(a.table, a.id, a.changes, a.expected)),
            ),
            "tables.update_many": (_UpdateMany, _needed, lambda a: self._whole(lambda: self._update_many(a))),
            "tables.upsert": (_Upsert, _needed, lambda a: self._whole(lambda: self._upsert(a.table, a.unique, a.row))),
            "tables.delete": (_Delete, _needed, lambda a: self._whole(lambda: self._delete(a.table, a.id, a.expected))),
            "tables.delete_many": (_DeleteMany, _needed, lambda a: self._whole(lambda: self._delete_many(a))),
            "tables.transaction": (_Transaction, _needed, lambda a: self._whole(lambda: self._transaction(a))),
            "migration.rows": (_Raw, _open, self._raw),
            "migration.put": (_PutMany, _open, lambda a: self._whole(lambda: self._put(a))),
            "migration.delete": (_DeleteRaw, _open, self._delete_raw),
        }  # fmt: skip

    # -- reading -----------------------------------------------------------------------------------------------------

    def _find(self, arguments: _Find) -> list[Row]:
        found = self._found(arguments.table, arguments.where, arguments.order)
        return found[arguments.offset : arguments.offset + arguments.limit]

    def _page(self, arguments: _Page) -> dict[str, Any]:
        found = self._found(arguments.table, arguments.where, arguments.order)
        mark = f"{arguments.table} {arguments.order}"
        if arguments.cursor is not None:
            key = _sorting(arguments.order)
            last = _open_cursor(arguments.cursor, mark)
            found = [row for row in found if key(row) > key(last)]
        page, cursor = found[: arguments.limit], None
        if len(found) > arguments.limit:
            names = {"id", *(name.removeprefix("-") for name in arguments.order)}
            place = {name: page[-1][name] for name in names}
            cursor = base64.urlsafe_b64encode(msgspec.json.encode([mark, place])).decode()
        return {"rows": page, "cursor": cursor}

    def _aggregate(self, arguments: _Aggregate) -> list[Row]:
        names, measures = arguments.group_by, arguments.measures
        self._check_columns(arguments.table, [*names, *(column for _, column in measures.values() if column)])
        if len(set(names)) < len(names) or set(names) & set(measures):
            raise _invalid("a name stands for two things in the answer")
        if any(name.removeprefix("-") not in {*names, *measures} for name in arguments.order):
            raise _invalid("order: something is neither a measure nor grouped by")
        if any(column is None and function != "count" for function, column in measures.values()):
            raise _invalid("a function other than `count` takes a column")
        groups: dict[Any, tuple[Row, list[Row]]] = {}
        for row in self._found(arguments.table, arguments.where, []):
            group = {name: row[name] for name in names}
            groups.setdefault(tuple(map(_rank, group.values())), (group, []))[1].append(row)
        if not names and not groups:
            groups[()] = ({}, [])
        answer = [
            {**group, **{name: _figure(rows, *measure) for name, measure in measures.items()}}
            for group, rows in groups.values()
        ]
        answer.sort(key=lambda row: [_group_rank(row[name]) for name in names])
        for name in reversed(arguments.order):
            column = name.removeprefix("-")
            rank = _group_rank if column in names else _rank
            answer.sort(key=lambda row, column=column, rank=rank: rank(row[column]), reverse=column != name)
        return answer[: arguments.limit]

    def _found(self, table: str, where: Any, order: Sequence[str]) -> list[Row]:
        held = self._of(table)
        self._check_columns(table, [*fields_of(where), *(name.removeprefix("-") for name in order)])
        check_where(where)
        shown = (self._shown(table, row) or {} for row in held.values())
        return sorted((row for row in shown if holds(where, row)), key=_sorting(order))

    # -- writing -----------------------------------------------------------------------------------------------------

    def _whole(self, do: Callable[[], Any]) -> Any:
        """All of it, or nothing."""
        before = {table: dict(rows) for table, rows in self.rows.items()}
        try:
            return do()
        except CapabilityError:
            self.rows.clear()
            self.rows.update(before)
            raise

    def _insert(self, table: str, rows: Iterable[Row]) -> list[Row]:
        held = self._of(table)
        made: list[Row] = []
        for row in rows:
            check_plain(row, "row")
            if "id" in row:
                raise CapabilityError("`id` is given by the platform", code="row-invalid", hint="Leave `id` out.")
            stored = {"id": f"row_{next(self._numbers):06}", **self._typed(table, row)}
            self._check_unique(table, stored)
            held[stored["id"]] = stored
            made.append(stored)
        for row in made:
            self._check_references(table, row)
        return [copy.deepcopy(row) for row in made]

    def _update(self, table: str, id: str, changes: Row, expected: Row | None = None) -> Row:
        held = self._of(table)
        if id not in held:
            raise CapabilityError(f"table `{table}` has no row `{id}`", code="row-not-found")
        self._expect(table, held[id], expected)
        check_plain(changes, "changes")
        if "id" in changes:
            raise CapabilityError("`id` cannot be changed", code="row-invalid")
        known = self._declared[table].columns
        kept = {column: value for column, value in held[id].items() if column in known}
        others = {column: value for column, value in held[id].items() if column not in known}
        changed = {**others, "id": id, **self._typed(table, {**kept, **changes})}
        self._check_unique(table, changed)
        held[id] = changed
        self._check_references(table, {column: value for column, value in changed.items() if column in changes})
        return self._shown(table, changed) or {}

    def _update_many(self, arguments: _UpdateMany) -> int:
        found = self._found(arguments.table, arguments.where, [])
        if len(found) > _AT_ONCE:
            raise _too_many(arguments.table)
        for row in found:
            self._update(arguments.table, row["id"], arguments.changes)
        return len(found)

    def _upsert(self, table: str, unique: list[str], row: Row) -> dict[str, Any]:
        self._of(table)
        known = next((group for group in self._declared[table].unique if sorted(group) == sorted(unique)), None)
        if known is None or any(row.get(column) is None for column in known):
            raise CapabilityError(f"{table}: {', '.join(unique)} do not name one row", code="group-not-unique")
        for id, held in self._of(table).items():
            if all(_rank(held.get(column)) == _rank(row[column]) for column in known):
                return {"row": self._update(table, id, row), "is_new": False}
        return {"row": self._insert(table, [row])[0], "is_new": True}

    def _delete(self, table: str, id: str, expected: Row | None = None) -> bool:
        row = self._of(table).get(id)
        if row is None:
            return False
        self._expect(table, row, expected)
        self._remove(table, id, [])
        return True

    def _delete_many(self, arguments: _DeleteMany) -> int:
        found = self._found(arguments.table, arguments.where, [])[: arguments.limit]
        gone: list[tuple[str, str]] = []
        for row in found:
            if (arguments.table, row["id"]) not in gone:
                self._remove(arguments.table, row["id"], gone)
        return len(found)

    def _remove(self, table: str, id: str, gone: list[tuple[str, str]]) -> None:
        gone.append((table, id))
        if len(gone) > _AT_ONCE:
            raise _too_many(table)
        self._of(table).pop(id, None)
        for other in self._declared.values():
            for column, target in other.references.items():
                if target == table:
                    self._let_go(other, column, table, id, gone)

    def _let_go(self, other: Table, column: str, table: str, id: str, gone: list[tuple[str, str]]) -> None:
        on_delete = other.on_delete.get(column, "refuse")
        for row in [row for row in self.rows[other.name].values() if row.get(column) == id]:
            if on_delete == "set_null":
                self._update(other.name, row["id"], {column: None})
            elif on_delete == "refuse":
                raise CapabilityError(f"{table}: rows of `{other.name}` refer to it", code="row-referenced")
            elif (other.name, row["id"]) not in gone:
                self._remove(other.name, row["id"], gone)

    def _transaction(self, arguments: _Transaction) -> list[Any]:
        results: list[Any] = []
        for number, step in enumerate(arguments.steps):
            try:
                results.append(self._step(step, results))
            except CapabilityError as error:
                raise CapabilityError(f"step {number}: {error}", code=error.code, hint=error.hint) from error
        return results

    def _step(self, step: _Step, results: list[Any]) -> Any:
        values = {name: _resolved(value, results) for name, value in step.values.items()}
        if step.op == "insert":
            return self._insert(step.table, [values])[0]
        if step.op == "upsert":
            if step.unique is UNSET:
                raise _invalid("an upsert names its `unique` columns")
            return self._upsert(step.table, step.unique, values)["row"]
        id = _resolved(step.id, results)
        if not isinstance(id, str):
            raise _invalid(f"`{step.op}` takes an `id`")
        if step.op == "update":
            return self._update(step.table, id, values, step.expected)
        return self._delete(step.table, id, step.expected)

    # -- migrations --------------------------------------------------------------------------------------------------

    def _raw(self, arguments: _Raw) -> dict[str, Any]:
        held = self._stored(arguments.table)
        ids = [id for id in sorted(held) if id > arguments.after]
        page = ids[: arguments.limit]
        return {
            "rows": [copy.deepcopy(held[id]) for id in page], "after": page[-1] if len(ids) > len(page) else None
        }  # fmt: skip

    def _put(self, arguments: _PutMany) -> int:
        held = self._stored(arguments.table)
        for row in arguments.rows:
            check_plain(row.set, "set")
            if row.id not in held:
                raise CapabilityError(f"table `{arguments.table}` has no row `{row.id}`", code="row-not-found")
            kept = {column: value for column, value in held[row.id].items() if column not in row.drop}
            changed = {**kept, **to_plain(row.set), "id": row.id}
            declared = self._declared.get(arguments.table)
            if declared is not None:
                # Of columns that only the other release knows, this platform does not know the type.
                self._typed(
                    arguments.table, {column: changed[column] for column in declared.columns if column in row.set},
                    is_part=True,
                )  # fmt: skip
            held[row.id] = changed
        return len(arguments.rows)

    def _delete_raw(self, arguments: _DeleteRaw) -> int:
        held = self._stored(arguments.table)
        return sum(held.pop(id, None) is not None for id in arguments.ids)

    def _stored(self, table: str) -> dict[str, Row]:
        if not self.is_migrating:
            raise CapabilityError(
                "this is no migration", code="migration-only",
                hint="Use `ctx.tables`. `ctx.migration` is for handlers declared with `@plugin.migration`.",
            )  # fmt: skip
        return self._of(table)

    # -- rules -------------------------------------------------------------------------------------------------------

    def _of(self, table: str) -> dict[str, Row]:
        if table not in self.rows:
            raise CapabilityError(
                f"there is no table `{table}`", code="table-not-declared", hint="Declare it with `@plugin.table`."
            )
        return self.rows[table]

    def _shown(self, table: str, row: Row | None) -> Row | None:
        """`id` and exactly the declared columns."""
        if row is None:
            return None
        columns = self._declared[table].columns if table in self._declared else {}
        return {
            "id": row["id"],
            **{name: copy.deepcopy(row[name] if name in row else columns[name].get("default")) for name in columns},
        }

    def _typed(self, table: str, row: Row, *, is_part: bool = False) -> Row:
        declared = self._declared[table]
        if unknown := sorted(set(row) - set(declared.columns)):
            raise CapabilityError(f"table `{table}` has no column `{unknown[0]}`", code="row-invalid")
        type_ = self._types[table]
        try:
            if is_part:
                types = {field.encode_name: field.type for field in msgspec.structs.fields(type_)}
                return {name: to_plain(msgspec.convert(value, types[name])) for name, value in row.items()}
            return to_plain(msgspec.convert(row, type_))
        except msgspec.ValidationError as error:
            raise CapabilityError(f"not a row of `{table}`: {error}", code="row-invalid") from error

    def _expect(self, table: str, row: Row, expected: Row | None) -> None:
        if not expected:
            return
        shown = self._shown(table, row) or {}
        if unknown := [name for name in expected if name not in shown]:
            raise CapabilityError(f"table `{table}` has no column `{unknown[0]}`", code="row-invalid")
        if any(_rank(shown[name]) != _rank(value) for name, value in expected.items()):
            raise CapabilityError(
                f"{table}: the row is not as it was expected to be", code="row-changed",
                hint="Read the row again and decide anew.",
            )  # fmt: skip

    def _check_unique(self, table: str, row: Row) -> None:
        """Unique groups. As in SQL, one with a null in it clashes with nothing."""
        others = [other for other in self.rows[table].values() if other["id"] != row["id"]]
        for group in self._declared[table].unique:
            values = [row.get(column) for column in group]
            ranks = list(map(_rank, values))
            if None not in values and any([_rank(other.get(column)) for column in group] == ranks for other in others):
                raise CapabilityError(
                    f"table `{table}` already has a row with this {', '.join(group)}", code="unique-violation"
                )

    def _check_references(self, table: str, row: Row) -> None:
        for column, target in self._declared[table].references.items():
            if row.get(column) is not None and row[column] not in self.rows.get(target, {}):
                raise CapabilityError(f"{table}.{column}: there is no such row in `{target}`", code="reference-missing")

    def _check_columns(self, table: str, names: Iterable[str]) -> None:
        self._of(table)
        known = {*self._declared[table].columns, "id"}
        for name in names:
            if name not in known:
                raise CapabilityError(f"table `{table}` has no column `{name}`", code="arguments-invalid")


def _needed(_arguments: object) -> str:
    return "tables"


def _open(_arguments: object) -> str:
    return ""


def _rank(value: Any) -> Any:
    """Sorts and compares as the platform does: null, then truth values among the numbers, texts, lists and maps."""
    if value is None:
        return (0,)
    if isinstance(value, bool):
        return (1, int(value), 1)
    if isinstance(value, (int, float)):
        return (1, value, 0)
    if isinstance(value, str):
        return (2, value)
    return (3, msgspec.json.encode(value, order="deterministic").decode())


def _group_rank(value: Any) -> Any:
    """As `_rank`, with truth values before all numbers."""
    return (0.5, int(value)) if isinstance(value, bool) else _rank(value)


def _sorting(order: Sequence[str]) -> Callable[[Row], Any]:
    def key(row: Row) -> Any:
        ranks = [(_rank(row[name.removeprefix("-")])[:2], name.startswith("-")) for name in order]
        return [*(_Descending(rank) if is_descending else rank for rank, is_descending in ranks), row["id"]]

    return key


class _Descending:
    """Compares the other way round."""

    def __init__(self, rank: Any) -> None:
        self.rank = rank

    def __lt__(self, other: _Descending) -> bool:
        return other.rank < self.rank

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and other.rank == self.rank

    def __hash__(self) -> int:
        return hash(self.rank)


def _figure(rows: list[Row], function: _Function, column: str | None) -> Any:
    if column is None:
        return len(rows)
    values = [row[column] for row in rows if row[column] is not None]
    if function == "count":
        return len(values)
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if function in ("sum", "avg"):
        if not numbers:
            return None
        total = sum(numbers)
        if function == "avg":
            return total / len(numbers)
        return total if isinstance(total, float) or -(2**63) <= total < 2**63 else float(total)
    of: Sequence[Any] = numbers or [value for value in values if isinstance(value, str)]
    return None if not of else min(of) if function == "min" else max(of)


def _resolved(value: Any, results: list[Any]) -> Any:
    """The id of an earlier step's row, where one is meant."""
    if not isinstance(value, dict) or cast("dict[Any, Any]", value).keys() != {"$step"}:
        return cast("Any", value)
    number: Any = cast("dict[str, Any]", value)["$step"]
    row = results[number] if type(number) is int and 0 <= number < len(results) else None
    if not isinstance(row, Mapping):
        raise _invalid("no earlier step with this number has a row")
    return cast("Mapping[str, Any]", row)["id"]


def _open_cursor(cursor: str, mark: str) -> Row:
    try:
        found, place = msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=tuple[str, Row])
    except (ValueError, msgspec.DecodeError):
        found, place = "", {}
    if found != mark:
        raise CapabilityError("the cursor does not belong to this query", code="cursor-mismatch")
    return place


def _too_many(table: str) -> CapabilityError:
    return CapabilityError(f"{table}: more than {_AT_ONCE} rows would be changed at once", code="rows-too-many")


def _invalid(message: str) -> CapabilityError:
    return CapabilityError(message, code="arguments-invalid")

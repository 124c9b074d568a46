"""PostgREST and Supabase: entities as tables of a PostgreSQL that is reached over HTTP.

Nearly every question is answered there. Every request names the tenant's column, when the connection has one, in its
filters and in what it inserts. Conditions go out as one tree with every value in quotes, so that no value can end it; a
`not` is taken down to the leaves first, because SQL's third answer, unknown, is neither a condition nor its opposite.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Annotated, Any, cast

from msgspec import Meta

from jackfield.data_adapters.conditions import And, Condition, Node, Not, Or, Order
from jackfield.data_adapters.errors import EntityConflictError, FieldValueError
from jackfield.data_adapters.interfaces import Author, Feature, Row, Written
from jackfield.data_adapters.mapping import EntityMap, Part, Remote
from jackfield.data_adapters.remote import Asked, RemoteAdapter
from jackfield.data_adapters.remote_errors import (
    AdapterAnswerError,
    AdapterCannotError,
    AdapterCredentialsError,
    AdapterMappingError,
    AdapterMissingFieldError,
    AdapterRefusedError,
    AdapterTimeoutError,
)
from jackfield.data_adapters.transport import Answer, Transport
from jackfield.errors import JackfieldError

__all__ = ["PostgRestAdapter", "PostgRestMapping", "TableMap", "TenantColumn"]

_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
_MISSING = re.compile(r"column (?:\"?\w+\"?\.)?\"?(\w+)\"? does not exist|find the '(\w+)' column")
_RANGE = re.compile(r"(?:\d+-\d+|\*)/(\d+)\Z")
_PAGE = 1_000

ColumnName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}\Z")]


class TenantColumn(Part, frozen=True, kw_only=True):
    """The column that says whose row it is, and what it holds for this tenant; our own id of it when empty."""

    column: ColumnName
    value: Annotated[str, Meta(max_length=200)] = ""


class TableMap(EntityMap, frozen=True, kw_only=True):
    """An entity is a table or a view; the entity's own name when empty."""

    table: Annotated[str, Meta(pattern=r"^([A-Za-z_][A-Za-z0-9_]{0,62})?\Z")] = ""


class PostgRestMapping(Part, frozen=True, kw_only=True):
    """The settings of a connection to PostgREST.

    Attributes:
        schema: The schema of the database, where it is not the first one.
        tenant: Left out where the credentials alone say whose rows they are.
    """

    base_url: Annotated[str, Meta(max_length=500)]
    entities: Annotated[dict[str, TableMap], Meta(min_length=1, max_length=64)]
    schema: Annotated[str, Meta(pattern=r"^([A-Za-z_][A-Za-z0-9_]{0,62})?\Z")] = ""
    tenant: TenantColumn | None = None


class PostgRestAdapter(RemoteAdapter):
    """A `DataAdapter` over PostgREST.

    Raises:
        AdapterMappingError: The mapping names something that is no column.
    """

    def __init__(self, mapping: PostgRestMapping, transport: Transport, *, name: str = "postgrest") -> None:
        super().__init__(name, {entity: Remote(name, entity, table) for entity, table in mapping.entities.items()})
        self._mapping = mapping
        self._transport = transport
        self._tables = {entity: table.table or entity for entity, table in mapping.entities.items()}
        self._most_rows = 0
        """The largest answer so far: the server may give fewer rows at once than it is asked for."""
        for entity, remote in self._entities.items():
            for mapped in remote.fields.values():
                if len(mapped.path) != 1 or not _COLUMN.match(mapped.path[0]):
                    raise AdapterMappingError(f"{entity}.{mapped.name}: `at` is the name of one column")
                if mapped.field.writable and mapped.path[0] in self._owner(""):
                    raise AdapterMappingError(f"{entity}.{mapped.name}: the tenant's column is never writable")

    @property
    def features(self) -> frozenset[Feature]:
        """What it can do."""
        return frozenset({"aggregate", "cursor", "restore"})

    # -- reading ------------------------------------------------------------------------------------------------------

    def _ask(self, remote: Remote, tenant_id: str, where: Sequence[Node], order: Sequence[Order]) -> Asked:
        params = [("select", _columns(remote)), *self._narrowed(remote, tenant_id, where)]
        if order:
            terms = [
                f"{_column(remote, name)}.{'desc.nullslast' if is_descending else 'asc.nullsfirst'}"
                for name, is_descending in order
            ]
            params.append(("order", ",".join(terms)))
        # Without an order, pages could overlap.
        else:
            params.append(("order", f"{_column(remote, remote.key.name)}.asc"))
        return Asked((), is_ordered=bool(order), can_skip=True, request=params)

    async def _pages(self, remote: Remote, asked: Asked, start: int, wanted: int) -> AsyncGenerator[list[Any]]:
        while wanted > 0:
            size = min(wanted, _PAGE)
            params = [*asked.request, ("limit", str(size)), ("offset", str(start))]
            rows = self._list(remote, await self._send(remote, "GET", params))
            if rows:
                yield rows
            is_short = len(rows) < size
            if not rows or (is_short and len(rows) < self._most_rows):
                return
            # A short answer is the last one, or as much as the server ever gives: the next one tells.
            self._most_rows = max(self._most_rows, len(rows))
            start += len(rows)
            wanted -= len(rows)

    async def _total(self, remote: Remote, asked: Asked) -> int | None:
        params = [*asked.request, ("limit", "1")]
        answer = await self._send(remote, "GET", params, prefer="count=exact")
        match = _RANGE.match(answer.response.header("content-range") or "")
        return int(match[1]) if match else None

    async def _one(self, remote: Remote, tenant_id: str, key: Any) -> Any | None:
        params = [("select", _columns(remote)), *self._narrowed(remote, tenant_id, [_is(remote, key)]), ("limit", "2")]
        rows = self._list(remote, await self._send(remote, "GET", params))
        if len(rows) > 1:
            raise AdapterAnswerError(
                self._name, f"several rows of `{remote.name}` have the same `{remote.key.name}`", step="shape"
            )
        return rows[0] if rows else None

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _insert(self, remote: Remote, tenant_id: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        bodies = [{**remote.body(row), **self._owner(tenant_id)} for row in rows]
        columns = list(dict.fromkeys(name for body in bodies for name in body))
        # Otherwise what one row leaves out and another has would be null instead of the column's default.
        prefer = "return=representation"
        if any(len(body) != len(columns) for body in bodies):
            prefer += ",missing=default"
        params = [("select", _columns(remote)), ("columns", ",".join(columns))]
        stored = self._list(remote, await self._send(remote, "POST", params, prefer=prefer, body=bodies))
        if len(stored) != len(rows):
            raise AdapterAnswerError(
                self._name, f"{len(rows)} rows of `{remote.name}` were sent, and {len(stored)} came back", step="shape"
            )
        return stored

    async def _change(
        self, remote: Remote, tenant_id: str, key: Any, values: Mapping[str, Any], guard: Sequence[Node]
    ) -> Any | None:
        params = [("select", _columns(remote)), *self._narrowed(remote, tenant_id, [_is(remote, key), *guard])]
        answer = await self._send(remote, "PATCH", params, prefer="return=representation", body=remote.body(values))
        rows = self._list(remote, answer)
        return rows[0] if rows else None

    async def _remove(self, remote: Remote, tenant_id: str, key: Any, guard: Sequence[Node]) -> bool:
        params = [("select", _columns(remote)), *self._narrowed(remote, tenant_id, [_is(remote, key), *guard])]
        return bool(self._list(remote, await self._send(remote, "DELETE", params, prefer="return=representation")))

    async def restore(self, tenant_id: str, entity: str, key: str, row: Row, *, by: Author | None = None) -> Written:
        """Put back what was deleted, under its key."""
        remote = self._writable(entity)
        value = remote.key_value(key)
        if value is None:
            raise EntityConflictError(entity)
        values = {**{name: row[name] for name in remote.fields if name in row}, remote.key.name: value}
        (stored,) = await self._insert(remote, tenant_id, [values])
        return Written(key, None, remote.row(stored))

    # -- how it is said -----------------------------------------------------------------------------------------------

    def _owner(self, tenant_id: str) -> dict[str, str]:
        tenant = self._mapping.tenant
        return {} if tenant is None else {tenant.column: tenant.value or tenant_id}

    def _narrowed(self, remote: Remote, tenant_id: str, where: Sequence[Node]) -> list[tuple[str, str]]:
        """The tenant's column, then the conditions. Nothing of a plugin's gets before, or out of, its brackets."""
        params = [(column, f"eq.{value}") for column, value in self._owner(tenant_id).items()]
        if where:
            params.append(("and", f"({','.join(_tree(remote, node, negated=False) for node in where)})"))
        return params

    async def _send(
        self, remote: Remote, method: str, params: Sequence[tuple[str, str]], *, prefer: str = "", body: Any = None
    ) -> Answer:
        headers = [("prefer", prefer)] if prefer else []
        if self._mapping.schema:
            headers.append(("accept-profile" if method == "GET" else "content-profile", self._mapping.schema))
        path = f"/{self._tables[remote.name]}"
        answer = await self._transport.send(method, path, params=params, headers=headers, body=body)
        if answer.status == 416:
            # Beyond the last row; that is an empty page and no error.
            return Answer(200, [], answer.response)
        if not answer.is_ok:
            raise self._refused(remote, answer)
        return answer

    def _list(self, remote: Remote, answer: Answer) -> list[Any]:
        data: Any = answer.data
        if not isinstance(data, list):
            raise AdapterAnswerError(
                self._name, f"the answer for `{remote.name}` should be a list of rows, and is not", step="shape"
            )
        return cast("list[Any]", data)

    def _refused(self, remote: Remote, answer: Answer) -> JackfieldError:
        """Their error as one of ours, by its code: PostgREST's own, or PostgreSQL's SQLSTATE."""
        given: Any = answer.data
        data = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
        code, message = str(data.get("code") or ""), str(data.get("message") or "")
        if code in ("PGRST301", "PGRST302", "PGRST303"):
            return AdapterCredentialsError(self._name, f"the server does not accept the token ({code})", detail=message)
        if code == "42501":
            return AdapterCredentialsError(
                self._name, f"the credentials do not allow this with `{self._tables[remote.name]}` ({code})",
                detail=message,
            )  # fmt: skip
        if code in ("42P01", "PGRST205", "PGRST106"):
            return AdapterAnswerError(
                self._name, f"the server has no table `{self._tables[remote.name]}` ({code})", detail=message,
                step="columns",
            )  # fmt: skip
        if code in ("42703", "PGRST204"):
            match = _MISSING.search(message)
            column = (match[1] or match[2]) if match else ""
            known = {mapped.path[0] for mapped in remote.fields.values()} | set(self._owner(""))
            return AdapterMissingFieldError(
                self._name,
                f"the table `{self._tables[remote.name]}` has no column "
                + (f"`{column}`" if column in known else "that the mapping names"),
                detail=message,
            )
        if code == "57014":
            return AdapterTimeoutError(self._name, "the server stopped the query at its time limit", detail=message)
        if code.startswith("23"):
            return EntityConflictError(remote.name)
        if code.startswith("22"):
            return FieldValueError(remote.name, "*", "a value does not fit its column")
        if code == "PGRST100":
            return AdapterCannotError(self._name, "the server does not understand the conditions")
        if code and answer.status < 500:
            return AdapterRefusedError(self._name, f"the server refuses this ({code[:20]})", detail=message)
        return self._transport.failure(answer)


def _is(remote: Remote, key: Any) -> Condition:
    return Condition(remote.key.name, "eq", key)


def _columns(remote: Remote) -> str:
    return ",".join(dict.fromkeys(mapped.path[0] for mapped in remote.fields.values()))


def _column(remote: Remote, name: str) -> str:
    return remote.fields[name].path[0]


def _tree(remote: Remote, node: Node, *, negated: bool) -> str:
    """A node in PostgREST's own writing, with `not` taken down to its leaves."""
    match node:
        case Not():
            return _tree(remote, node.node, negated=not negated)
        case And() | Or():
            is_and = isinstance(node, And) is not negated
            parts = [_tree(remote, inner, negated=negated) for inner in node.nodes]
            if not parts:
                column = _column(remote, remote.key.name)
                return f"{'or' if is_and else 'and'}({column}.is.null,{column}.not.is.null)"
            return f"{'and' if is_and else 'or'}({','.join(parts)})"
        case Condition():
            return _leaf(remote, node, negated=negated)


_OPPOSITES = {"eq": "ne", "ne": "eq", "gt": "lte", "gte": "lt", "lt": "gte", "lte": "gt"}


def _leaf(remote: Remote, leaf: Condition, *, negated: bool) -> str:
    column, mapped = _column(remote, leaf.field), remote.fields[leaf.field]
    operator, value = leaf.operator, leaf.value
    null = f"{column}.{'not.' if negated else ''}is.null"
    if isinstance(value, list):
        return _among(column, [mapped.theirs(item) for item in value if item is not None], None in value, negated)
    if operator == "like":
        term = _like(str(value))
        return f"or({column}.is.null,{column}.not.{term})" if negated else f"{column}.{term}"
    if operator in ("eq", "ne") and value is None:
        return null if operator == "eq" else f"{column}.{'' if negated else 'not.'}is.null"
    if negated and operator in ("eq", "ne"):
        operator, negated = ("ne" if operator == "eq" else "eq"), False
    text = _quoted(mapped.theirs(value))
    if operator == "ne":
        return f"or({column}.is.null,{column}.neq.{text})"
    if negated:
        return f"or({column}.is.null,{column}.{_OPPOSITES[operator]}.{text})"
    return f"{column}.{operator}.{text}"


def _among(column: str, values: list[Any], has_null: bool, negated: bool) -> str:
    listed = f"in.({','.join(_quoted(value) for value in values)})"
    if not negated:
        among = f"{column}.{listed}" if values else f"and({column}.is.null,{column}.not.is.null)"
        return f"or({column}.is.null,{among})" if has_null else among
    outside = f"{column}.not.{listed}" if values else f"or({column}.is.null,{column}.not.is.null)"
    return f"and({column}.not.is.null,{outside})" if has_null else f"or({column}.is.null,{outside})"


def _like(pattern: str) -> str:
    if "*" not in pattern:
        return f"ilike.{_quoted(pattern)}"
    # PostgREST takes `*` for `%`, and knows no way to say a star; a regular expression does.
    parts: list[str] = []
    for match in re.finditer(r"\\(.)|(.)", pattern, re.DOTALL):
        literal, char = match.groups()
        parts.append({"%": ".*", "_": "."}.get(char, re.sub(r"([^\w\s])", r"\\\1", literal or char)))
    return f"imatch.{_quoted('^(?:' + ''.join(parts) + ')$')}"


def _quoted(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'

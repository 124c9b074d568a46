"""GraphQL: entities behind queries and mutations that a mapping has in full; values only ever go in as variables.

The mapping's variables are to GraphQL what parameters are to REST: filters, order and paging name them. Relay's cursors
are cursor paging with `more` at `pageInfo.hasNextPage` and `next` at `pageInfo.endCursor`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Annotated, Any, cast

from msgspec import Meta

from jackfield.data_adapters.conditions import Condition, Node, Order, holds
from jackfield.data_adapters.errors import EntityConflictError
from jackfield.data_adapters.mapping import ABSENT, EntityMap, Name, Part, Remote, at_path, path_of
from jackfield.data_adapters.questions import ListMap, NoPaging, Reply, ask, check_list, pages, total_in
from jackfield.data_adapters.remote import Asked, RemoteAdapter
from jackfield.data_adapters.remote_errors import (
    AdapterAnswerError,
    AdapterCannotError,
    AdapterCredentialsError,
    AdapterMappingError,
    AdapterMissingFieldError,
    AdapterRefusedError,
    AdapterStatusError,
)
from jackfield.data_adapters.transport import Answer, Transport
from jackfield.errors import JackfieldError

__all__ = ["GraphList", "GraphMapping", "GraphQLAdapter", "NodeMap", "Operation", "TenantVariable"]

_FIELD = re.compile(r"Cannot query field [\"']?(\w+)")
_DENIED = ("UNAUTHENTICATED", "FORBIDDEN", "ACCESS_DENIED", "UNAUTHORIZED")
_CONFLICT = ("CONFLICT", "CONSTRAINT", "UNIQUE")

Document = Annotated[str, Meta(min_length=2, max_length=8_000)]


class TenantVariable(Part, frozen=True, kw_only=True):
    """The variable of every query and mutation that says whose data it is; our own id of the tenant when empty."""

    variable: Name
    value: Annotated[str, Meta(max_length=200)] = ""


class GraphList(ListMap, frozen=True, kw_only=True):
    """A query for a list; `rows` begins below `data`."""

    query: Document


class Operation(Part, frozen=True, kw_only=True):
    """A query for one, or a mutation.

    Attributes:
        row: Where the row lies, below `data`. Of a removal: what is null or false when there was nothing to remove.
        id, input: Variables for the key and for the fields.
    """

    query: Document
    row: Annotated[str, Meta(min_length=1, max_length=200)]
    id: Name = "id"
    input: Name = "input"


class NodeMap(EntityMap, frozen=True, kw_only=True):
    """One entity; what is not said cannot be done."""

    list: GraphList
    get: Operation | None = None
    create: Operation | None = None
    update: Operation | None = None
    delete: Operation | None = None


class GraphMapping(Part, frozen=True, kw_only=True):
    """The settings of a connection to GraphQL; `base_url` is the whole address."""

    base_url: Annotated[str, Meta(max_length=500)]
    entities: Annotated[dict[str, NodeMap], Meta(min_length=1, max_length=64)]
    tenant: TenantVariable | None = None
    scan_rows: Annotated[int, Meta(ge=1, le=20_000)] = 2_000


class GraphQLAdapter(RemoteAdapter):
    """A `DataAdapter` over GraphQL.

    Raises:
        AdapterMappingError: The mapping contradicts itself.
    """

    def __init__(self, mapping: GraphMapping, transport: Transport, *, name: str = "graphql") -> None:
        super().__init__(
            name,
            {entity: Remote(name, entity, node) for entity, node in mapping.entities.items()},
            scan_rows=mapping.scan_rows,
        )
        self._mapping = mapping
        self._transport = transport
        self._page_rows: dict[str, int] = {}
        for entity, remote in self._entities.items():
            _check(remote, mapping.entities[entity], mapping.tenant)

    # -- reading -----------------------------------------------------------------------------------------------------

    def _ask(self, remote: Remote, tenant_id: str, where: Sequence[Node], order: Sequence[Order]) -> Asked:
        asked = ask(remote, self._node(remote).list, where, order, has_lists=True)
        return Asked(asked.rest, asked.is_ordered, asked.can_skip, (tenant_id, asked.request))

    async def _pages(self, remote: Remote, asked: Asked, start: int, wanted: int) -> AsyncGenerator[list[Any]]:
        listing = self._node(remote).list
        tenant_id, variables = asked.request

        async def fetch(params: Mapping[str, Any], url: str | None = None) -> Reply:
            return Reply(await self._run(remote, tenant_id, listing.query, params))

        plain = Asked(asked.rest, asked.is_ordered, asked.can_skip, variables)
        async for page in pages(remote, listing, plain, start, fetch, self._page_rows):
            yield page

    async def _total(self, remote: Remote, asked: Asked) -> int | None:
        listing = self._node(remote).list
        if not listing.total:
            return None
        tenant_id, variables = asked.request
        if not isinstance(listing.paging, NoPaging) and listing.paging.limit:
            variables = {**variables, listing.paging.limit: 1}
        return total_in(listing, await self._run(remote, tenant_id, listing.query, variables))

    async def _one(self, remote: Remote, tenant_id: str, key: Any) -> Any | None:
        operation = self._node(remote).get
        if operation is None:
            return await self._one_of_list(remote, tenant_id, key)
        data = await self._run(remote, tenant_id, operation.query, {operation.id: remote.key.theirs(key)})
        row = at_path(data, path_of(operation.row))
        return None if row is ABSENT else row

    async def _one_of_list(self, remote: Remote, tenant_id: str, key: Any) -> Any | None:
        condition = Condition(remote.key.name, "eq", key)
        asked = self._ask(remote, tenant_id, [condition], ())
        if not asked.request[1].keys() - self._node(remote).list.params.keys():
            raise AdapterCannotError(self._name, f"one `{remote.name}` cannot be asked for by its key")
        async for page in self._pages(remote, asked, 0, 1):
            for raw in page:
                if holds([condition], remote.row(raw)):
                    return raw
        return None

    # -- writing -----------------------------------------------------------------------------------------------------

    async def _insert(self, remote: Remote, tenant_id: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        operation = self._operation(remote, self._node(remote).create, "added")
        stored: list[Any] = []
        for row in rows:
            data = await self._run(remote, tenant_id, operation.query, {operation.input: remote.body(row)})
            stored.append(at_path(data, path_of(operation.row)))
        return stored

    async def _change(
        self, remote: Remote, tenant_id: str, key: Any, values: Mapping[str, Any], guard: Sequence[Node]
    ) -> Any | None:
        operation = self._operation(remote, self._node(remote).update, "changed")
        variables = {operation.id: remote.key.theirs(key), operation.input: remote.body(values)}
        data = await self._run(remote, tenant_id, operation.query, variables)
        row = at_path(data, path_of(operation.row))
        return None if row is ABSENT else row

    async def _remove(self, remote: Remote, tenant_id: str, key: Any, guard: Sequence[Node]) -> bool:
        operation = self._operation(remote, self._node(remote).delete, "removed")
        data = await self._run(remote, tenant_id, operation.query, {operation.id: remote.key.theirs(key)})
        return at_path(data, path_of(operation.row)) not in (ABSENT, None, False)

    # -- how it is said ----------------------------------------------------------------------------------------------

    def _node(self, remote: Remote) -> NodeMap:
        return cast("NodeMap", remote.mapping)

    def _operation(self, remote: Remote, operation: Operation | None, done: str) -> Operation:
        if operation is None:
            raise AdapterCannotError(self._name, f"no `{remote.name}` can be {done}")
        return operation

    async def _run(self, remote: Remote, tenant_id: str, query: str, variables: Mapping[str, Any]) -> Any:
        tenant = self._mapping.tenant
        sent = dict(variables)
        if tenant is not None:
            # Last, so that nothing else is sent under its name.
            sent[tenant.variable] = tenant.value or tenant_id
        answer = await self._transport.send("POST", "", body={"query": query, "variables": sent})
        given: Any = answer.data
        data = cast("dict[str, Any]", given) if isinstance(given, dict) else None
        errors: Any = data.get("errors") if data is not None else None
        if isinstance(errors, list) and errors:
            raise self._refused(remote, answer, cast("list[Any]", errors))
        if not answer.is_ok:
            raise self._transport.failure(answer)
        if data is None or not isinstance(data.get("data"), dict):
            raise AdapterAnswerError(self._name, "the answer should be an object with `data`, and is not", step="shape")
        return data["data"]

    def _refused(self, remote: Remote, answer: Answer, errors: list[Any]) -> JackfieldError:
        first: dict[str, Any] = cast("dict[str, Any]", errors[0]) if isinstance(errors[0], dict) else {}
        message = str(first.get("message") or "")
        extensions: Any = first.get("extensions")
        code = str(cast("dict[str, Any]", extensions).get("code") or "") if isinstance(extensions, dict) else ""
        if answer.status == 401 or code in _DENIED:
            return AdapterCredentialsError(self._name, "the server does not accept the credentials", detail=message)
        if match := _FIELD.search(message):
            return AdapterMissingFieldError(
                self._name, f"the server's schema has no `{match[1]}`, which the query for `{remote.name}` names",
                detail=message,
            )  # fmt: skip
        if code in _CONFLICT:
            return EntityConflictError(remote.name)
        if code == "INTERNAL_SERVER_ERROR" or answer.status >= 500:
            return AdapterStatusError(self._name, "the server failed to do this", detail=message)
        return AdapterRefusedError(self._name, "the server refuses this", detail=message)


def _check(remote: Remote, node: NodeMap, tenant: TenantVariable | None) -> None:
    check_list(remote, node.list)
    operations = {"get": node.get, "create": node.create, "update": node.update, "delete": node.delete}
    if tenant is None:
        return
    for what, operation in {"list": node.list, **operations}.items():
        if operation is not None and not re.search(rf"\${tenant.variable}\b", operation.query):
            raise AdapterMappingError(f"{remote.name}.{what}: the query has no variable `${tenant.variable}`")

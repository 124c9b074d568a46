"""REST: entities behind the paths of somebody's JSON API, as a mapping says.

What their parameters can ask is asked there, the rest is done here. The tenant, where the mapping has one, is in every
request: as a parameter, as a header, in the path, or as a field that is set in what goes out and checked in what comes.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Annotated, Any, Literal, cast
from urllib.parse import quote

import msgspec
from msgspec import Meta

from jackfield.data_adapters.conditions import Condition, Node, Order, holds
from jackfield.data_adapters.errors import EntityChangedError, EntityConflictError
from jackfield.data_adapters.mapping import ABSENT, EntityMap, Part, PathText, Remote, at_path, path_of, put_at
from jackfield.data_adapters.questions import ListMap, NoPaging, Reply, ask, check_list, pages, total_in
from jackfield.data_adapters.remote import Asked, RemoteAdapter
from jackfield.data_adapters.remote_errors import (
    AdapterAnswerError,
    AdapterCannotError,
    AdapterMappingError,
    AdapterRefusedError,
)
from jackfield.data_adapters.transport import Answer, Transport
from jackfield.errors import JackfieldError

__all__ = [
    "ChangeMap",
    "CreateMap",
    "GetMap",
    "RemoveMap",
    "ResourceMap",
    "RestAdapter",
    "RestList",
    "RestMapping",
    "TenantMark",
]

_VARIABLE = re.compile(r"\{([^{}]*)\}")
_LINK = re.compile(r'<([^<>]*)>[^,]*?;\s*rel="?next"?', re.IGNORECASE)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")

Fixed = str | int | float | bool | None
Template = Annotated[str, Meta(pattern=r"^/[^\x00-\x20\x7f?#]*\Z", max_length=300)]
"""A path below the base, with `{id}` for the key and `{tenant}` for the tenant."""


class TenantMark(Part, frozen=True, kw_only=True):
    """Where a request says whose data it is about. Several places may be named.

    Attributes:
        value: What this tenant is called there; our own id of it when empty.
        field: A place in their rows.
    """

    value: Annotated[str, Meta(max_length=200)] = ""
    param: Annotated[str, Meta(max_length=100)] = ""
    header: Annotated[str, Meta(max_length=100)] = ""
    field: PathText = ""


class RestList(ListMap, frozen=True, kw_only=True):
    """`GET` of a path."""

    path: Template


class GetMap(Part, frozen=True, kw_only=True):
    """One entity; `row` says where it lies in the answer."""

    path: Template
    row: PathText = ""


class CreateMap(Part, frozen=True, kw_only=True):
    """How one is added.

    Attributes:
        wrap: Where the row lies in what is sent.
        answers: `row`, or `key` alone, at `key`; the entity is then read.
        body: What is sent beside the fields.
    """

    path: Template
    method: Literal["POST", "PUT"] = "POST"
    row: PathText = ""
    wrap: PathText = ""
    answers: Literal["row", "key"] = "row"
    key: PathText = ""
    body: dict[str, str | int | float | bool | None] = msgspec.field(
        default_factory=dict[str, str | int | float | bool | None]
    )


class ChangeMap(Part, frozen=True, kw_only=True):
    """How one is changed.

    Attributes:
        whole: They replace the row: all writable fields are sent, and not only those that change.
        answers: `nothing` that is of use: the entity is then read.
    """

    path: Template
    method: Literal["PUT", "PATCH", "POST"] = "PATCH"
    row: PathText = ""
    wrap: PathText = ""
    whole: bool = False
    answers: Literal["row", "nothing"] = "row"
    body: dict[str, str | int | float | bool | None] = msgspec.field(
        default_factory=dict[str, str | int | float | bool | None]
    )


class RemoveMap(Part, frozen=True, kw_only=True):
    """How one is removed."""

    path: Template
    method: Literal["DELETE", "POST"] = "DELETE"


class ResourceMap(EntityMap, frozen=True, kw_only=True):
    """One entity; what is not said cannot be done."""

    list: RestList
    get: GetMap | None = None
    create: CreateMap | None = None
    update: ChangeMap | None = None
    delete: RemoveMap | None = None


class RestMapping(Part, frozen=True, kw_only=True):
    """The settings of a connection to a JSON API.

    Attributes:
        headers: Sent with every request; nothing secret, for they can be read.
    """

    base_url: Annotated[str, Meta(max_length=500)]
    entities: Annotated[dict[str, ResourceMap], Meta(min_length=1, max_length=64)]
    headers: Annotated[dict[str, Annotated[str, Meta(max_length=500)]], Meta(max_length=32)] = msgspec.field(
        default_factory=dict[str, str]
    )
    tenant: TenantMark | None = None
    scan_rows: Annotated[int, Meta(ge=1, le=20_000)] = 2_000
    """Rows that are looked through here for one question."""


class RestAdapter(RemoteAdapter):
    """A `DataAdapter` over a JSON API.

    Raises:
        AdapterMappingError: The mapping contradicts itself.
    """

    def __init__(self, mapping: RestMapping, transport: Transport, *, name: str = "rest") -> None:
        super().__init__(
            name,
            {entity: Remote(name, entity, resource) for entity, resource in mapping.entities.items()},
            scan_rows=mapping.scan_rows,
        )
        self._mapping = mapping
        self._transport = transport
        self._page_rows: dict[str, int] = {}
        for entity, remote in self._entities.items():
            _check(remote, mapping.entities[entity], mapping.tenant)
        for header in (*mapping.headers, *([mapping.tenant.header] if mapping.tenant else ())):
            if header and not _HEADER.match(header):
                raise AdapterMappingError(f"`{header[:40]}` is no name of a header")

    # -- reading -----------------------------------------------------------------------------------------------------

    def _ask(self, remote: Remote, tenant_id: str, where: Sequence[Node], order: Sequence[Order]) -> Asked:
        asked = ask(remote, self._resource(remote).list, where, order, has_lists=False)
        # The tenant's mark goes with the question: pages and totals are asked for without knowing whose they are.
        return Asked(asked.rest, asked.is_ordered, asked.can_skip and not self._field, (tenant_id, asked.request))

    async def _pages(self, remote: Remote, asked: Asked, start: int, wanted: int) -> AsyncGenerator[list[Any]]:
        listing = self._resource(remote).list
        tenant_id, params = asked.request

        async def fetch(params: Mapping[str, Any], url: str | None = None) -> Reply:
            sent = [(name, _text(value)) for name, value in params.items()] if url is None else []
            answer = await self._good(remote, tenant_id, "GET", listing.path, params=sent, url=url)
            link = _LINK.search(answer.response.header("link") or "")
            return Reply(answer.data, link[1] if link else None)

        plain = Asked(asked.rest, asked.is_ordered, asked.can_skip, params)
        async for page in pages(remote, listing, plain, start, fetch, self._page_rows):
            yield [row for row in page if self._is_own(tenant_id, row)]

    async def _total(self, remote: Remote, asked: Asked) -> int | None:
        listing = self._resource(remote).list
        tenant_id, params = asked.request
        if not listing.total or self._field:
            return None
        sent = [(name, _text(value)) for name, value in params.items()]
        if not isinstance(listing.paging, NoPaging) and listing.paging.limit:
            sent.append((listing.paging.limit, "1"))
        return total_in(listing, (await self._good(remote, tenant_id, "GET", listing.path, params=sent)).data)

    async def _one(self, remote: Remote, tenant_id: str, key: Any) -> Any | None:
        resource = self._resource(remote)
        if resource.get is None:
            return await self._one_of_list(remote, tenant_id, key)
        answer = await self._sent(remote, tenant_id, "GET", resource.get.path, key=key)
        if answer.status in (404, 410):
            return None
        self._check(remote, answer)
        row = at_path(answer.data, path_of(resource.get.row))
        if row is ABSENT or row is None:
            return None
        return row if self._is_own(tenant_id, row) else None

    async def _one_of_list(self, remote: Remote, tenant_id: str, key: Any) -> Any | None:
        condition = Condition(remote.key.name, "eq", key)
        asked = self._ask(remote, tenant_id, [condition], ())
        if not asked.request[1].keys() - self._resource(remote).list.params.keys():
            raise AdapterCannotError(self._name, f"one `{remote.name}` cannot be asked for by its key")
        async for page in self._pages(remote, asked, 0, 1):
            for raw in page:
                if holds([condition], remote.row(raw)):
                    return raw
        return None

    # -- writing -----------------------------------------------------------------------------------------------------

    async def _insert(self, remote: Remote, tenant_id: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        mapping = self._resource(remote).create
        if mapping is None:
            raise AdapterCannotError(self._name, f"no `{remote.name}` can be added")
        stored: list[Any] = []
        for row in rows:
            body = self._body(remote, tenant_id, row, mapping.wrap, mapping.body)
            answer = await self._good(remote, tenant_id, mapping.method, mapping.path, body=body)
            if mapping.answers == "row":
                stored.append(at_path(answer.data, path_of(mapping.row)))
                continue
            key = at_path(answer.data, path_of(mapping.key))
            if key is ABSENT or isinstance(key, (dict, list)):
                raise AdapterAnswerError(
                    self._name, f"the answer should have the key at `{mapping.key}`, and has not", step="shape"
                )
            found = await self._one(remote, tenant_id, remote.key_value(str(key)))
            if found is None:
                raise AdapterAnswerError(self._name, f"what was added to `{remote.name}` cannot be found", step="shape")
            stored.append(found)
        return stored

    async def _change(
        self, remote: Remote, tenant_id: str, key: Any, values: Mapping[str, Any], guard: Sequence[Node]
    ) -> Any | None:
        mapping = self._resource(remote).update
        if mapping is None:
            raise AdapterCannotError(self._name, f"no `{remote.name}` can be changed")
        if mapping.whole:
            raw = await self._one(remote, tenant_id, key)
            if raw is None:
                return None
            row = remote.row(raw)
            if not holds(guard, row):
                return None
            values = {**{name: row[name] for name in remote.fields if name in remote.writable}, **values}
        body = self._body(remote, tenant_id, values, mapping.wrap, mapping.body)
        answer = await self._sent(remote, tenant_id, mapping.method, mapping.path, key=key, body=body)
        if answer.status in (404, 410):
            return None
        self._check(remote, answer)
        if mapping.answers == "nothing":
            return await self._one(remote, tenant_id, key)
        return at_path(answer.data, path_of(mapping.row))

    async def _remove(self, remote: Remote, tenant_id: str, key: Any, guard: Sequence[Node]) -> bool:
        mapping = self._resource(remote).delete
        if mapping is None:
            raise AdapterCannotError(self._name, f"no `{remote.name}` can be removed")
        answer = await self._sent(remote, tenant_id, mapping.method, mapping.path, key=key)
        if answer.status in (404, 410):
            return False
        self._check(remote, answer)
        return True

    # -- how it is said ----------------------------------------------------------------------------------------------

    @property
    def _field(self) -> str:
        return self._mapping.tenant.field if self._mapping.tenant else ""

    def _resource(self, remote: Remote) -> ResourceMap:
        return cast("ResourceMap", remote.mapping)

    def _owner(self, tenant_id: str) -> str:
        return (self._mapping.tenant.value if self._mapping.tenant else "") or tenant_id

    def _is_own(self, tenant_id: str, row: Any) -> bool:
        if not self._field:
            return True
        found = at_path(row, path_of(self._field))
        return not isinstance(found, bool) and isinstance(found, (str, int)) and str(found) == self._owner(tenant_id)

    def _body(
        self, remote: Remote, tenant_id: str, values: Mapping[str, Any], wrap: str, beside: Mapping[str, Any]
    ) -> Any:
        body = {**beside, **remote.body(values)}
        if self._field:
            put_at(body, path_of(self._field), self._owner(tenant_id))
        if not wrap:
            return body
        wrapped: dict[str, Any] = {}
        put_at(wrapped, path_of(wrap), body)
        return wrapped

    async def _good(self, remote: Remote, tenant_id: str, method: str, template: str, **more: Any) -> Answer:
        answer = await self._sent(remote, tenant_id, method, template, **more)
        self._check(remote, answer)
        return answer

    async def _sent(
        self,
        remote: Remote,
        tenant_id: str,
        method: str,
        template: str,
        *,
        key: Any = None,
        params: Sequence[tuple[str, str]] = (),
        url: str | None = None,
        body: Any = None,
    ) -> Answer:
        tenant = self._mapping.tenant
        headers = list(self._mapping.headers.items())
        sent = list(params)
        if tenant is not None and tenant.header:
            headers.append((tenant.header, self._owner(tenant_id)))
        if tenant is not None and tenant.param:
            sent = [*(pair for pair in sent if pair[0] != tenant.param), (tenant.param, self._owner(tenant_id))]
        path = url or self._path(remote, tenant_id, template, key)
        return await self._transport.send(method, path, params=sent, headers=headers, body=body)

    def _path(self, remote: Remote, tenant_id: str, template: str, key: Any) -> str:
        parts = {"tenant": self._owner(tenant_id)}
        if key is not None:
            parts["id"] = _text(remote.key.theirs(key))
        for value in parts.values():
            if value in ("", ".", ".."):
                raise AdapterCannotError(self._name, "a key that is no part of a path")
        return _VARIABLE.sub(lambda match: quote(parts[match[1]], safe=""), template)

    def _check(self, remote: Remote, answer: Answer) -> None:
        if not answer.is_ok:
            raise self._refused(remote, answer)

    def _refused(self, remote: Remote, answer: Answer) -> JackfieldError:
        match answer.status:
            case 409:
                return EntityConflictError(remote.name)
            case 412 | 428:
                return EntityChangedError(remote.name)
            case 400 | 405 | 415 | 422:
                failure = self._transport.failure(answer)
                return AdapterRefusedError(
                    self._name, f"the server refuses this (status {answer.status})",
                    detail=getattr(failure, "detail", ""),
                )  # fmt: skip
            case _:
                return self._transport.failure(answer)


def _check(remote: Remote, resource: ResourceMap, tenant: TenantMark | None) -> None:
    check_list(remote, resource.list)
    listed: list[tuple[str, str, set[str]]] = [("list", resource.list.path, {"tenant"})]
    if resource.create is not None:
        listed.append(("create", resource.create.path, {"tenant"}))
    for what, one in (("get", resource.get), ("update", resource.update), ("delete", resource.delete)):
        if one is not None:
            listed.append((what, one.path, {"tenant", "id"}))
    for what, path, known in listed:
        if unknown := set(_VARIABLE.findall(path)) - known:
            raise AdapterMappingError(f"{remote.name}.{what}: `{{{min(unknown)}}}` is no part of this path")
        if "id" in known and "{id}" not in path:
            raise AdapterMappingError(f"{remote.name}.{what}: the path has no `{{id}}`")
    if tenant is not None and tenant.field:
        mark = path_of(tenant.field)
        for name in remote.writable:
            path = remote.fields[name].path
            if path[: len(mark)] == mark or mark[: len(path)] == path:
                raise AdapterMappingError(f"{remote.name}.{name}: the tenant's field is never writable")


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)

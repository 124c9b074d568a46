"""What a mapping says can be asked: filters, order, paging. For adapters whose other side has no language of its own.

A filter that is pushed only has to keep every row that is wanted; what it lets through beside them is sorted out here.
`exact` says that it lets nothing else through, so that rows can be counted and left out there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, cast

import msgspec
from msgspec import Meta

from jackfield.data_adapters.conditions import And, Condition, Node, Operator, Order
from jackfield.data_adapters.mapping import ABSENT, Name, Part, PathText, Remote, at_path, path_of
from jackfield.data_adapters.remote import Asked
from jackfield.data_adapters.remote_errors import AdapterAnswerError, AdapterMappingError

__all__ = [
    "CursorPaging",
    "Filter",
    "LinkPaging",
    "ListMap",
    "NoPaging",
    "OffsetPaging",
    "OrderMap",
    "PagePaging",
    "Paging",
    "Reply",
    "ask",
    "check_list",
    "pages",
    "rows_in",
    "total_in",
]

Parameter = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Size = Annotated[int, Meta(ge=1, le=1_000)]


class Filter(Part, frozen=True, kw_only=True):
    """How one comparison with one field is asked for.

    Attributes:
        param: Query parameter, or variable of GraphQL.
        exact: See above.
        form: The value's text, as `>={value}`; for texts only.
        join: Between the values of `in`; without it they are sent as a list, where there are lists.
    """

    param: Parameter
    exact: bool = False
    form: Annotated[str, Meta(max_length=100)] = "{value}"
    join: Annotated[str, Meta(max_length=3)] = ""


class OrderMap(Part, frozen=True, kw_only=True):
    """How an order is asked for.

    Attributes:
        fields: Our fields that can be sorted by, and what they are called there.
        nulls: Whether null comes first in ascending and last in descending order; otherwise only fields that are never
            null are sorted there.
    """

    param: Parameter
    fields: Annotated[dict[Name, Parameter], Meta(min_length=1, max_length=256)]
    ascending: Annotated[str, Meta(max_length=60)] = "{field}"
    descending: Annotated[str, Meta(max_length=60)] = "-{field}"
    join: Annotated[str, Meta(max_length=3)] = ","
    nulls: bool = False


class NoPaging(Part, frozen=True, kw_only=True, tag_field="kind", tag="none"):
    """All rows come at once."""


class OffsetPaging(Part, frozen=True, kw_only=True, tag_field="kind", tag="offset"):
    """Rows to leave out are a parameter.

    Attributes:
        limit: Parameter for the number of rows; left out where they alone decide on it.
        size: Rows of a page.
    """

    offset: Parameter = "offset"
    limit: Annotated[str, Meta(max_length=100)] = ""
    size: Size = 100


class PagePaging(Part, frozen=True, kw_only=True, tag_field="kind", tag="page"):
    """The number of the page is a parameter."""

    page: Parameter = "page"
    first: Annotated[int, Meta(ge=0, le=1)] = 1
    limit: Annotated[str, Meta(max_length=100)] = ""
    size: Size = 100


class CursorPaging(Part, frozen=True, kw_only=True, tag_field="kind", tag="cursor"):
    """Each answer says where the next page begins, as relay's `endCursor` does.

    Attributes:
        next: Where the cursor lies in the answer.
        more: Where the answer says whether there is a next page; the cursor alone decides when empty.
    """

    cursor: Parameter = "cursor"
    next: Annotated[str, Meta(min_length=1, max_length=200)]
    more: PathText = ""
    limit: Annotated[str, Meta(max_length=100)] = ""
    size: Size = 100


class LinkPaging(Part, frozen=True, kw_only=True, tag_field="kind", tag="link"):
    """Each answer has the next page's URL: at a place in it, or in the header `Link` when empty."""

    next: PathText = ""
    limit: Annotated[str, Meta(max_length=100)] = ""
    size: Size = 100


Paging = NoPaging | OffsetPaging | PagePaging | CursorPaging | LinkPaging


class ListMap(Part, frozen=True, kw_only=True):
    """How lists are asked for.

    Attributes:
        rows: Where the list lies in the answer; the answer itself is it when empty.
        node: Where the row lies in each item of it, as `node` in relay's edges.
        natural: The order in which rows come that nobody asked for, as `["-created", "id"]`; empty: nobody knows.
        total: Where the answer says how many rows there are.
        params: Sent with every question.
    """

    rows: PathText = ""
    node: PathText = ""
    filters: Annotated[dict[Name, dict[Operator, Filter]], Meta(max_length=256)] = msgspec.field(
        default_factory=dict[str, dict[Operator, Filter]]
    )
    order: OrderMap | None = None
    natural: Annotated[list[str], Meta(max_length=8)] = msgspec.field(default_factory=list[str])
    paging: Paging = NoPaging()
    total: PathText = ""
    params: Annotated[dict[str, str | int | float | bool], Meta(max_length=32)] = msgspec.field(
        default_factory=dict[str, str | int | float | bool]
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to one page.

    Attributes:
        link: The URL of the next page from the header `Link`.
    """

    data: Any
    link: str | None = None


class Fetch(Protocol):
    """Asks for one page; `url` is a whole one that an answer gave."""

    async def __call__(self, params: Mapping[str, Any], url: str | None = None) -> Reply: ...


def check_list(remote: Remote, listing: ListMap) -> None:
    """A mapping that names fields that are not there would silently ask for everything.

    Raises:
        AdapterMappingError: It does.
    """
    named = [*listing.filters, *(listing.order.fields if listing.order else ())]
    named += [name.removeprefix("-") for name in listing.natural]
    for name in named:
        if name not in remote.fields:
            raise AdapterMappingError(f"{remote.name}.list: there is no field `{name}`")
    for name, operators in listing.filters.items():
        for operator, one in operators.items():
            if "{value}" not in one.form:
                raise AdapterMappingError(f"{remote.name}.list.filters.{name}.{operator}: `form` has no {{value}}")


def ask(remote: Remote, listing: ListMap, where: Sequence[Node], order: Sequence[Order], *, has_lists: bool) -> Asked:
    """How far a question can be asked.

    Args:
        has_lists: Whether a parameter may be a list.
    """
    params: dict[str, Any] = dict(listing.params)
    rest: list[Node] = []
    for node in _flat(where):
        found = _pushed(remote, listing, node, has_lists=has_lists)
        if found is None or found[0].param in params:
            rest.append(node)
            continue
        one, value = found
        params[one.param] = value
        if not one.exact:
            rest.append(node)
    ordered = _ordered(remote, listing, order, params)
    return Asked(tuple(rest), ordered, isinstance(listing.paging, OffsetPaging), params)


async def pages(
    remote: Remote, listing: ListMap, asked: Asked, start: int, fetch: Fetch, seen: dict[str, int]
) -> AsyncGenerator[list[Any]]:
    """Their rows, page by page.

    Args:
        seen: Entity → rows of the largest page so far: a shorter one is the last, and any other may be.
    """
    paging = listing.paging
    params = dict(asked.request)
    if not isinstance(paging, NoPaging) and paging.limit:
        params[paging.limit] = paging.size
    url: str | None = None
    number, known = start, set[str]()
    page = paging.first if isinstance(paging, PagePaging) else 0
    while True:
        if isinstance(paging, OffsetPaging):
            params[paging.offset] = number
        elif isinstance(paging, PagePaging):
            params[paging.page] = page
        reply = await fetch(params, url)
        rows = rows_in(remote, listing, reply.data)
        if rows:
            yield rows
        match paging:
            case NoPaging():
                return
            case OffsetPaging() | PagePaging():
                if not rows or len(rows) < seen.get(remote.name, 0):
                    return
                seen[remote.name] = len(rows)
                number, page = number + len(rows), page + 1
            case CursorPaging() | LinkPaging():
                follow = _next(remote, paging, reply)
                if follow is None:
                    return
                if follow in known:
                    raise AdapterAnswerError(remote.adapter, "the answers lead round in a circle", step="shape")
                known.add(follow)
                if isinstance(paging, CursorPaging):
                    params[paging.cursor] = follow
                else:
                    url = follow


def rows_in(remote: Remote, listing: ListMap, data: Any) -> list[Any]:
    """The rows of an answer.

    Raises:
        AdapterAnswerError: There is no list where the mapping says.
    """
    found = at_path(data, path_of(listing.rows))
    where = f"`{listing.rows}`" if listing.rows else "the answer"
    if not isinstance(found, list):
        raise AdapterAnswerError(
            remote.adapter, f"{where} should be the list of `{remote.name}`, and is not", step="shape"
        )
    if not listing.node:
        return cast("list[Any]", found)
    return [at_path(item, path_of(listing.node)) for item in cast("list[Any]", found)]


def total_in(listing: ListMap, data: Any) -> int | None:
    """How many rows an answer says there are."""
    found = at_path(data, path_of(listing.total)) if listing.total else None
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 16:
        return int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


def _next(remote: Remote, paging: CursorPaging | LinkPaging, reply: Reply) -> str | None:
    if isinstance(paging, LinkPaging) and not paging.next:
        return reply.link
    if isinstance(paging, CursorPaging) and paging.more:
        is_more = at_path(reply.data, path_of(paging.more))
        if not isinstance(is_more, bool):
            raise AdapterAnswerError(
                remote.adapter, f"`{paging.more}` should say whether there are more, and does not", step="shape"
            )
        if not is_more:
            return None
    found = at_path(reply.data, path_of(paging.next))
    if found is ABSENT or found is None or found == "":
        return None
    if isinstance(found, bool) or not isinstance(found, (str, int)):
        raise AdapterAnswerError(
            remote.adapter, f"`{paging.next}` should say where the next page is, and does not", step="shape"
        )
    return str(found)


def _flat(where: Sequence[Node]) -> list[Node]:
    return [inner for node in where for inner in (_flat(node.nodes) if isinstance(node, And) else [node])]


def _pushed(remote: Remote, listing: ListMap, node: Node, *, has_lists: bool) -> tuple[Filter, Any] | None:
    if not isinstance(node, Condition):
        return None
    one = listing.filters.get(node.field, {}).get(node.operator)
    if one is None or node.value is None:
        return None
    mapped = remote.fields[node.field]
    if isinstance(node.value, list):
        if None in node.value or not node.value:
            return None
        values = [mapped.theirs(value) for value in node.value]
        if not one.join:
            return (one, values) if has_lists else None
        texts = [_text(value) for value in values]
        # A value with the comma in it would be two.
        return None if any(one.join in text for text in texts) else (one, one.join.join(texts))
    value = node.value if node.operator == "like" else mapped.theirs(node.value)
    if value is None:
        return None
    if one.form == "{value}":
        return one, value
    return one, one.form.replace("{value}", _text(value))


def _ordered(remote: Remote, listing: ListMap, order: Sequence[Order], params: dict[str, Any]) -> bool:
    """Whether rows come in this order; asks for it where it can be asked for."""
    if not order:
        return False
    key = remote.key.name
    # What follows the key decides nothing.
    names = [name for name, _ in order]
    needed = list(order[: names.index(key) + 1]) if key in names else list(order)
    if [Order(name.removeprefix("-"), name.startswith("-")) for name in listing.natural][: len(needed)] == needed:
        return True
    mapping = listing.order
    if mapping is None or any(name not in mapping.fields for name, _ in needed):
        return False
    if not mapping.nulls and any(name != key and remote.fields[name].field.nullable for name, _ in needed):
        return False
    params[mapping.param] = mapping.join.join(
        (mapping.descending if is_descending else mapping.ascending).replace("{field}", mapping.fields[name])
        for name, is_descending in needed
    )
    return True


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)

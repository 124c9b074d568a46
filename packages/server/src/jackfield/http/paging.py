"""Lists page by cursor: the place after the last row seen, so that rows that come and go do not shift the pages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from fastapi import Depends, Query
from pydantic import BaseModel, Field

from jackfield.http.errors import CursorInvalidError

__all__ = ["Page", "PageParams", "PageRequest", "Slice", "cut", "decode_cursor", "encode_cursor"]

T = TypeVar("T")
U = TypeVar("U")

_CURSOR_LIMIT = 512
_MOST = 2**63 - 1


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    items: list[T]
    next_cursor: str | None = Field(default=None, description="Cursor of the next page; null on the last one")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is wanted."""

    cursor: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """A page as a service returns it."""

    items: list[T]
    next_cursor: str | None = None

    def map(self, change: Callable[[T], U]) -> Slice[U]:
        """The same page with other items."""
        return Slice([change(item) for item in self.items], self.next_cursor)


def cut(rows: Sequence[T], limit: int, key: Callable[[T], Sequence[str | int | float]]) -> Slice[T]:
    """Make a page of rows that were fetched with `limit + 1`: the one too many says that there is a next page.

    Args:
        key: What the cursor holds of the last row on the page.
    """
    items = list(rows[:limit])
    return Slice(items, encode_cursor(*key(items[-1])) if len(rows) > limit else None)


def _page_request(
    cursor: Annotated[
        str | None, Query(max_length=_CURSOR_LIMIT, description="`next_cursor` of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Items per page")] = 50,
) -> PageRequest:
    return PageRequest(cursor, limit)


PageParams = Annotated[PageRequest, Depends(_page_request)]
"""The query parameters `cursor` and `limit` of a list."""


def encode_cursor(*parts: str | int | float) -> str:
    """An opaque cursor. It is not signed: what it reaches is narrowed to the caller's tenant like every query."""
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


def decode_cursor(cursor: str, *types: type[Any]) -> list[Any]:
    """The parts of a cursor, each of the given type.

    Raises:
        CursorInvalidError: Anything else.
    """
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        parts = msgspec.json.decode(raw, type=list[str | int | float])
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        raise CursorInvalidError("The cursor is not one of ours.") from error
    if len(parts) != len(types) or any(type(part) is not wanted for part, wanted in zip(parts, types, strict=True)):
        raise CursorInvalidError("The cursor belongs to another list.")
    if any(abs(part) > _MOST if isinstance(part, int) else "\0" in str(part) for part in parts):
        # No row has such a value, and databases fail at it rather than say so.
        raise CursorInvalidError("The cursor is not one of ours.")
    return parts

"""Rows in memory: the conditions, order and pages that tables and entities have in common.

Values compare with values of their own type only, null is a value like others, and comes first in ascending order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from jackfield_sdk.testing.nodes import Where, check_where, fields_of, holds

__all__ = ["Page", "Row", "select"]

Row = dict[str, Any]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows are wanted."""

    where: Where = []
    order: list[str] = []
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0

    @property
    def names(self) -> list[str]:
        """The fields that conditions and order name."""
        return [*fields_of(self.where), *(name.removeprefix("-") for name in self.order)]


def select(rows: Iterable[Row], page: Page, *, is_whole: bool = False) -> list[Row]:
    """The rows that meet all conditions, in order; a page of them, or the whole.

    Raises:
        CapabilityError: `comparison-invalid`: a value does not go with its operator.
    """
    check_where(page.where)
    found = [row for row in sorted(rows, key=_key) if holds(page.where, row)]
    for column in reversed(page.order):
        name = column.removeprefix("-")
        found.sort(key=lambda row, name=name: (row.get(name) is not None, row.get(name)), reverse=column != name)
    return found if is_whole else found[page.offset : page.offset + page.limit]


def _key(row: Row) -> tuple[bool, Any]:
    id = row["id"]
    return (False, id) if isinstance(id, int) else (True, str(id))

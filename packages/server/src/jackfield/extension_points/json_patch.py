"""What was changed in a value, as a JSON Patch (RFC 6902). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

__all__ = ["difference"]

_MOST = 500
"""Operations; what would take more is told as one replacement of the whole."""
_DEPTH = 64


def difference(before: Any, after: Any) -> list[dict[str, Any]]:
    """Operations that make one of the other; none when they are equal.

    Items of lists are compared place by place: what is put in front shows as a change of all.
    """
    found = list(islice(_operations(before, after, "", 0), _MOST + 1))
    return found if len(found) <= _MOST else [{"op": "replace", "path": "", "value": after}]


def _operations(before: Any, after: Any, path: str, depth: int) -> Iterator[dict[str, Any]]:
    if isinstance(before, dict) and isinstance(after, dict) and depth < _DEPTH:
        yield from _of_objects(cast("dict[str, Any]", before), cast("dict[str, Any]", after), path, depth)
    elif isinstance(before, list) and isinstance(after, list) and depth < _DEPTH:
        yield from _of_lists(cast("list[Any]", before), cast("list[Any]", after), path, depth)
    elif not _is_same(before, after):
        yield {"op": "replace", "path": path, "value": after}


def _of_objects(before: dict[str, Any], after: dict[str, Any], path: str, depth: int) -> Iterator[dict[str, Any]]:
    for name in before:
        if name not in after:
            yield {"op": "remove", "path": f"{path}/{_escaped(name)}"}
    for name, value in after.items():
        place = f"{path}/{_escaped(name)}"
        if name in before:
            yield from _operations(before[name], value, place, depth + 1)
        else:
            yield {"op": "add", "path": place, "value": value}


def _of_lists(before: list[Any], after: list[Any], path: str, depth: int) -> Iterator[dict[str, Any]]:
    for index, (old, new) in enumerate(zip(before, after, strict=False)):
        yield from _operations(old, new, f"{path}/{index}", depth + 1)
    # From the end, so that each place is still where it was.
    for index in range(len(before) - 1, len(after) - 1, -1):
        yield {"op": "remove", "path": f"{path}/{index}"}
    for value in after[len(before) :]:
        yield {"op": "add", "path": f"{path}/-", "value": value}


def _is_same(before: Any, after: Any) -> bool:
    """As JSON sees it: `true` is not 1, whatever Python says, and 1.0 is 1."""
    return isinstance(before, bool) == isinstance(after, bool) and before == after


def _escaped(name: str) -> str:
    """A name as a part of a JSON Pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")

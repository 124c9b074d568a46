"""What the platform takes as data of any shape, and how much of it."""

from __future__ import annotations

import math
from typing import Any, cast

from jackfield_sdk.errors import CapabilityError

__all__ = ["check_plain"]

_MAX_DEPTH = 32
_MAX_VALUES = 50_000


def check_plain(value: Any, what: str) -> None:
    """Accept what JSON has, in moderation.

    Raises:
        CapabilityError: `arguments-invalid`.
    """
    level: list[Any] = [value]
    seen = 0
    for _ in range(_MAX_DEPTH + 1):
        deeper: list[Any] = []
        for item in level:
            if reason := _refused(item):
                raise _invalid(what, reason)
            if isinstance(item, dict):
                entries = cast("dict[Any, Any]", item)
                if not all(isinstance(key, str) for key in entries):
                    raise _invalid(what, "a key is not a text")
                seen += len(entries)
                deeper.extend(entries.values())
            elif isinstance(item, list):
                deeper.extend(cast("list[Any]", item))
        seen += len(level)
        if seen > _MAX_VALUES:
            raise _invalid(what, f"it has more than {_MAX_VALUES} values")
        if not deeper:
            return
        level = deeper
    raise _invalid(what, f"it is nested deeper than {_MAX_DEPTH} levels")


def _refused(item: Any) -> str:
    if isinstance(item, float) and not math.isfinite(item):
        return "a number is NaN or infinite"
    if isinstance(item, int) and item >= 2**63:
        return "a whole number is outside of 64 bits"
    if isinstance(item, bytes):
        return "it holds bytes"
    return ""


def _invalid(what: str, reason: str) -> CapabilityError:
    return CapabilityError(f"`{what}` is not plain data: {reason}", code="arguments-invalid")

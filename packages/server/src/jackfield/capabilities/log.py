"""Lines of a plugin's log, made fit to be kept and shown: a plugin writes them, people and terminals read them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["MAX_LINES", "escaped", "tidy_lines"]

MAX_LINES = 500
"""Of one call; what comes after is counted and dropped."""
_MESSAGE_CHARS = 4_000
_FIELD_CHARS = 1_000
_FIELDS = 20
_LEVELS = frozenset({"debug", "info", "warning", "error"})

# Control characters move cursors and fake lines, bidirectional marks turn text around, the rest is invisible.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")

Line = tuple[str, str, Mapping[str, Any]]
"""Level, message, fields."""


def tidy_lines(lines: Iterable[Line], *, limit: int = MAX_LINES) -> list[tuple[str, str, dict[str, Any]]]:
    """The lines of one call: escaped, cut to size, at most `limit` of them, and one that says how many are missing."""
    tidy: list[tuple[str, str, dict[str, Any]]] = []
    dropped = 0
    for level, message, fields in lines:
        if len(tidy) == limit:
            dropped += 1
            continue
        known = level if level in _LEVELS else "info"
        tidy.append((known, escaped(message, _MESSAGE_CHARS), _tidy_fields(fields)))
    if dropped:
        tidy.append(("warning", f"({dropped} more lines were dropped)", {}))
    return tidy


def escaped(text: str, limit: int) -> str:
    """Text with everything that is not plainly visible written as an escape, at most `limit` characters and `…`."""
    # Cut first: escapes make text longer, and the work is bounded.
    cut = text[:limit]
    if _UNSAFE.search(cut):
        cut = _UNSAFE.sub(_escape, cut)[:limit]
    return cut + "…" if len(text) > limit else cut


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def _tidy_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    tidy: dict[str, Any] = {}
    for name, value in fields.items():
        if len(tidy) == _FIELDS:
            break
        if isinstance(value, str):
            value = escaped(value, _FIELD_CHARS)
        elif isinstance(value, float) and not math.isfinite(value):
            # JSON has no such numbers.
            value = str(value)
        tidy[escaped(name, 80)] = value
    return tidy

"""Which events an endpoint takes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from jackfield.webhooks.errors import EventPatternError

__all__ = ["MAX_PATTERNS", "checked", "is_wanted"]

MAX_PATTERNS = 50
_PATTERN = re.compile(r"(\*|[A-Za-z0-9][A-Za-z0-9_.-]{0,120}?(\.\*)?)\Z")


def checked(patterns: Sequence[str]) -> list[str]:
    """Patterns as they are stored: each once.

    Raises:
        EventPatternError: One of them names no events, or there are none or too many.
    """
    kept = list(dict.fromkeys(patterns))
    if not 1 <= len(kept) <= MAX_PATTERNS:
        raise EventPatternError(f"an endpoint takes 1 to {MAX_PATTERNS} names or patterns")
    for pattern in kept:
        if not _PATTERN.match(pattern) or "*" in pattern.removesuffix("*") or ".." in pattern:
            raise EventPatternError(f"{pattern[:130]!r} names no events")
    return kept


def is_wanted(event: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns covers an event. What has a colon in its name is no event of anybody's."""
    return ":" not in event and any(
        pattern in ("*", event) or (pattern.endswith(".*") and event.startswith(pattern[:-1])) for pattern in patterns
    )

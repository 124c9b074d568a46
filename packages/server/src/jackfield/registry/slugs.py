"""When one slug can be taken for another. A slug is ASCII, so what is left are hyphens and letters that look alike."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func
from sqlalchemy.orm import InstrumentedAttribute

__all__ = ["skeleton", "skeleton_of"]

# As PyPI compares names of projects.
_ALIKE = (("-", ""), ("0", "o"), ("1", "l"), ("i", "l"))


def skeleton(slug: str) -> str:
    """What is left of a slug for a hasty reader: equal for two that can be confused."""
    for old, new in _ALIKE:
        slug = slug.replace(old, new)
    return slug


def skeleton_of(column: InstrumentedAttribute[str]) -> ColumnElement[str]:
    """The same, in the database."""
    text: Any = column
    for old, new in _ALIKE:
        text = func.replace(text, old, new)
    return text

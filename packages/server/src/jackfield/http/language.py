"""The language that a request asks for (RFC 9110, 12.5.4; tags of RFC 5646)."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header

__all__ = ["AcceptLanguage", "is_language_tag", "preferred_language"]

_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}\Z")
_MOST_CHARS = 500

AcceptLanguage = Annotated[str | None, Header(alias="Accept-Language", include_in_schema=False)]
"""The header, as an endpoint takes it."""


def is_language_tag(text: str) -> bool:
    """Whether a text can name a language, as `de-AT`."""
    return _TAG.match(text) is not None


def preferred_language(header: str | None) -> str | None:
    """The tag that is wanted most; None when the header says nothing that can be used."""
    if not header:
        return None
    best, best_weight = None, 0.0
    for part in header[:_MOST_CHARS].split(","):
        tag, _, parameters = part.strip().partition(";")
        name, _, value = parameters.strip().partition("=")
        try:
            weight = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            continue
        # NaN is never more than anything.
        if weight > best_weight and _TAG.match(tag.strip()):
            best, best_weight = tag.strip(), weight
    return best

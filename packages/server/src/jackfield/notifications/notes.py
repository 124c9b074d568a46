"""A notification as a plugin sends it, and the rules for what may be in one. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["LEVELS", "MORE", "Level", "Note", "absolute", "is_link", "single_line"]

Level = Literal["info", "success", "warning", "error"]
LEVELS: tuple[Level, ...] = ("info", "success", "warning", "error")
MORE = "~more:"
"""What keys of ours begin with; no plugin's does."""

_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*\Z")
_HTTPS = re.compile(r"https://[A-Za-z0-9.-]+(:\d{1,5})?([/?#][^\\\x00-\x20\x7f\"<>]*)?\Z")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Note:
    """What is said.

    Attributes:
        link: A path within the host's UI, or an `https://` address.
        key: What it is about, so that it is said once; None: said each time.
    """

    title: str
    body: str = ""
    level: Level = "info"
    link: str | None = None
    key: str | None = None


def is_link(text: str) -> bool:
    """Whether a link leads to a page, and not to a script, another host by a trick, or a file."""
    return _PATH.match(text) is not None or _HTTPS.match(text) is not None


def absolute(link: str, base: str) -> str:
    """A link for those who are not in the host's UI."""
    return f"{base.rstrip('/')}{link}" if link.startswith("/") else link


def single_line(text: str) -> str:
    """Text without line ends and what cannot be seen: for headers, where a line end would begin another one."""
    return " ".join(_UNSEEN.sub(" ", text).split())

"""Texts in messages of Telegram, which hold 4,096 UTF-16 units. Pure."""

from __future__ import annotations

__all__ = ["LIMIT", "length", "parts"]

LIMIT = 4096


def length(text: str) -> int:
    """As Telegram counts it: a character outside the basic plane, like most emoji, is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def parts(text: str, limit: int = LIMIT) -> list[str]:
    """A text as messages: cut at the last line break that fits, else at the last space, else in the midst of a word."""
    found: list[str] = []
    while length(text) > limit:
        end = _fitting(text, limit)
        for mark in ("\n", " "):
            at = text.rfind(mark, 1, end + 1)
            # Not near the beginning: a short first line would make many small messages.
            if at > end // 2:
                end = at
                break
        found.append(text[:end])
        text = text[end:].lstrip("\n ") if text[end : end + 1] in ("\n", " ") else text[end:]
    return [*found, text] if text or not found else found


def _fitting(text: str, limit: int) -> int:
    """How many characters have room."""
    units = 0
    for index, character in enumerate(text):
        units += 2 if ord(character) > 0xFFFF else 1
        if units > limit:
            return index
    return len(text)

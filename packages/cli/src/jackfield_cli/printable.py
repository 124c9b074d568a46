"""Text from elsewhere, made fit for a terminal.

Names, log lines and error messages are written by plugins and publishers. Printed as they are, an escape sequence in
one could rewrite what the terminal shows, a consent table above all; a change of writing direction could reorder it.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

__all__ = ["as_json", "one_line", "printable"]

# Controls, surrogates, and invisible format characters (bidirectional overrides among them).
_UNSAFE = {"Cc", "Cs", "Cf", "Zl", "Zp"}


def printable(text: str) -> str:
    """The text with everything invisible written out as `\\x1b`; line feeds and tabs stay."""
    return "".join(char if char in "\n\t" or not _is_unsafe(char) else _escaped(char) for char in text)


def one_line(text: str) -> str:
    """As `printable`, on one line."""
    return printable(" ".join(text.split()) if any(char in text for char in "\n\t\r") else text)


def as_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON that is safe to show: what is invisible stays escaped, letters of all scripts are as they are."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return "".join(char if char == "\n" or not _is_unsafe(char) else _json_escaped(char) for char in text)


def _is_unsafe(char: str) -> bool:
    return not (" " <= char <= "~") and unicodedata.category(char) in _UNSAFE


def _escaped(char: str) -> str:
    return char.encode("ascii", "backslashreplace").decode() if ord(char) > 0x7F else f"\\x{ord(char):02x}"


def _json_escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if ord(char) != 0x7F else "\\u007f"

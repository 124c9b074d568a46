"""Secrets that are open in the work at hand: what stores, opens or is shown one says so here, and a line of the log
that is written meanwhile does not repeat it, whoever wrote the text: a library with a URL in its error, a server that
answers with what it was sent.

What is open belongs to a context (a request, a delivery, an operation, and the tasks that these start), and to no
other: a secret of one tenant masks nothing in the lines of another.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast
from urllib.parse import quote, quote_plus

__all__ = ["begin", "forms_of", "opened", "opening", "places"]

_MOST = 256
"""Of one context; the oldest goes. Only loops that work for many come so far."""
_SHORTEST = 4
"""Characters. Anything shorter stands in every other line."""
_WORD = 8
"""Anything shorter is masked only where it stands as a word of its own."""
_SHORT = 6
_LONG = 512
_URL_SAFE = str.maketrans("+/", "-_")

_Open = dict[str, tuple[re.Pattern[str], ...] | None]
"""Value → what finds it; made when a line is written, since most of them never meet one."""

_open: ContextVar[_Open | None] = ContextVar("jackfield_opened", default=None)


def begin() -> None:
    """From here on one memory is shared by this context and the tasks that it starts."""
    if _open.get() is None:
        _open.set({})


@contextmanager
def opening() -> Generator[None]:
    """What is opened inside is forgotten at the end, unless the work is part of a greater one.

    When it fails it is remembered: whoever catches the error writes it down.
    """
    if _open.get() is not None:
        yield
        return
    before = _open.set({})
    yield
    _open.reset(before)


def opened(value: str) -> None:
    """A secret is in the clear. JSON counts as the texts that are in it."""
    known = _open.get()
    if known is None:
        known = _Open()
        _open.set(known)
    if len(value) < _SHORTEST or value in known:
        return
    known[value] = None
    if len(known) > _MOST:
        del known[next(iter(known))]


def places(text: str) -> list[tuple[int, int]]:
    """Where secrets that are open stand in a text: in order, without overlap."""
    known = _open.get()
    if not known:
        return []
    found: list[tuple[int, int]] = []
    for value, patterns in list(known.items()):
        if patterns is None:
            patterns = known[value] = tuple(_patterns(value))
        for pattern in patterns:
            found += [match.span() for match in pattern.finditer(text)]
    found.sort()
    joined: list[tuple[int, int]] = []
    for start, end in found:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _patterns(value: str) -> Iterable[re.Pattern[str]]:
    forms: dict[str, None] = {}
    for part in (value, *_within(value)):
        if len(part) < _SHORTEST:
            continue
        if len(part) < _WORD:
            yield re.compile(rf"(?<![^\W_]){re.escape(part)}(?![^\W_])")
            continue
        # In a path the colon stays, as in that of Telegram's bots.
        in_path = quote(part.encode("utf-8", "surrogatepass"), safe=":")
        forms.update((form, None) for form in (*forms_of(part), in_path) if len(form) >= _WORD)
    if forms:
        # The longest first: one form may be a part of another.
        yield re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))


def _within(value: str) -> Iterable[str]:
    if not value.startswith(("{", "[")):
        return
    try:
        data = json.loads(value)
    except (ValueError, RecursionError):
        return
    waiting: list[Any] = [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            waiting += cast("dict[str, Any]", item).values()
        elif isinstance(item, list):
            waiting += cast("list[Any]", item)


def forms_of(value: str) -> Iterable[str]:
    """A secret as it may stand in a text: base64 at any offset, hex, percent, JSON and Python escapes."""
    data = value.encode("utf-8", "surrogatepass")
    yield value
    if value.strip() != value:
        yield value.strip()
    yield data.hex()
    for offset in range(3):
        # Base64 of the secret amid other bytes, as in `user:password`: what comes before it shifts it by 0, 2 or 4
        # bits, and of the characters at both ends only some bits are its own.
        coded = base64.b64encode(b"\0" * offset + data)
        head = (offset * 8 + 5) // 6
        tail = len(coded.rstrip(b"=")) - (1 if (offset + len(data)) % 3 else 0)
        part = coded[head:tail].decode()
        if len(part) >= _SHORT:
            yield part
            if len(value) <= _LONG:
                yield part.translate(_URL_SAFE)
    if len(value) > _LONG:
        # The parts between what is escaped are long enough to be found by themselves.
        return
    yield data.hex().upper()
    yield from (quote(data), quote(data, safe=""), quote_plus(data))
    yield from (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    yield from (repr(value)[1:-1], repr(data)[2:-1])

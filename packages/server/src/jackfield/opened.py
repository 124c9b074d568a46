"""Secrets that are open in the work at hand: what stores, opens or is shown one says so here, and a line of the log
that is written meanwhile does not repeat it, whoever wrote the text: a library with a URL in its error, a server that
answers with what it was sent.

What is open belongs to a context (a request, a delivery, an operation, and the tasks that these start), and to no
other: a secret of one tenant masks nothing in the lines of another.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from typing import Any, cast
from urllib.parse import quote, quote_plus

__all__ = ["begin", "forms_of", "opened", "opening", "places"]

_MOST = 256
"""Of one context; the oldest goes. Only loops that work for many come so far."""
_PARTS = 512
"""Texts inside of JSON, of one context: whoever stores secrets does not say how long each line takes to write."""
_SHORTEST = 4
"""Characters. Anything shorter stands in every other line."""
_WORD = 8
"""Anything shorter is masked only where it stands as a word of its own."""
_SHORT = 6
_LONG = 512
_URL_SAFE = str.maketrans("+/", "-_")


class _Open:
    """What is open in one context.

    Attributes:
        values: Value → its forms; made when a line is written, since most of them never meet one.
        parts: So many texts inside of JSON may still be looked for.
        is_over: The work has failed: this is for whoever writes that down, and for nothing that comes after it.
    """

    __slots__ = ("is_over", "parts", "values")

    def __init__(self) -> None:
        self.values: dict[str, tuple[tuple[str, bool], ...] | None] = {}
        self.parts = _PARTS
        self.is_over = False


_open: ContextVar[_Open | None] = ContextVar("jackfield_opened", default=None)


def begin() -> None:
    """From here on one memory is shared by this context and the tasks that it starts."""
    known = _open.get()
    if known is None or known.is_over:
        _open.set(_Open())


@contextmanager
def opening() -> Generator[None]:
    """What is opened inside is forgotten at the end, unless the work is part of a greater one.

    When it fails it is remembered: whoever catches the error writes it down.
    """
    known = _open.get()
    if known is not None and not known.is_over:
        yield
        return
    mine = _Open()
    before = _open.set(mine)
    try:
        yield
    except BaseException:
        mine.is_over = True
        raise
    _open.reset(before)


def opened(value: str) -> None:
    """A secret is in the clear. JSON counts as the texts that are in it."""
    known = _open.get()
    if known is None:
        known = _Open()
        _open.set(known)
    values = known.values
    if len(value) < _SHORTEST or value in values:
        return
    values[value] = None
    if len(values) > _MOST:
        del values[next(iter(values))]


def places(text: str) -> list[tuple[int, int]]:
    """Where secrets that are open stand in a text: in order, without overlap."""
    known = _open.get()
    if known is None or not known.values:
        return []
    found: list[tuple[int, int]] = []
    for value, forms in list(known.values.items()):
        if forms is None:
            within = list(islice(_within(value), known.parts))
            known.parts -= len(within)
            forms = known.values[value] = _forms(value, *within)
        for form, is_word in forms:
            found += _spans(text, form, is_word)
    found.sort()
    joined: list[tuple[int, int]] = []
    for start, end in found:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _forms(*texts: str) -> tuple[tuple[str, bool], ...]:
    """Forms of texts, and whether each is looked for as a word only. No patterns: to make one of a long text takes
    longer than to look for it a thousand times."""
    forms: dict[str, bool] = {}
    for text in texts:
        if len(text) < _SHORTEST:
            continue
        if len(text) < _WORD:
            forms[text] = True
            continue
        # In a path the colon stays, as in that of Telegram's bots.
        in_path = quote(text.encode("utf-8", "surrogatepass"), safe=":")
        forms.update((form, False) for form in (*forms_of(text), in_path) if len(form) >= _WORD)
    return tuple(forms.items())


def _spans(text: str, form: str, is_word: bool) -> Iterable[tuple[int, int]]:
    start = text.find(form)
    while start >= 0:
        end = start + len(form)
        if not is_word or not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()):
            yield start, end
        start = text.find(form, start + 1)  # of one that repeats itself, the rest too


def _within(value: str) -> Iterable[str]:
    if not value.startswith(("{", "[")):
        return
    try:
        data = json.loads(value)
    except (ValueError, RecursionError):
        return
    waiting: deque[Any] = deque([data])
    while waiting:
        item = waiting.popleft()
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

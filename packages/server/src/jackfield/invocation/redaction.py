"""Takes secrets out of what a call leaves: error messages, traces, log lines, results, what it hands to others.

Exactly, where it is known what to look for: the values that were revealed to the installation on this node, in the
encodings that come about by themselves (base64 at any offset, hex, percent, JSON and Python escapes), whole or in part.
By their look, where it is not: bearer tokens, keys of well-known services, `password = …`. What a plugin returns is
data and no message: in that, only what is known is masked, and nothing for its look. This is for authors who log too
much. Who wants to hide what they write can: the log is the tenant's own, and egress is where theft is stopped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, cast

from jackfield import telemetry
from jackfield.opened import forms_of

__all__ = ["Redaction", "SecretBook"]

_INSTALLATIONS = 10_000
_INDEXES = 64
_VALUES = 64
_KNOWN_CHARS = 4 * 1024
"""Of all secrets of an installation together. With more, all text is withheld: the search would take too long."""
_GRAM = 8
_STRIDE = 8
_RUN = _GRAM + _STRIDE - 1
"""Shortest part of a secret that is always found. Every so many characters the text is compared with all places in all
forms of the secrets, so what is searched costs the same for one secret and for sixty."""
_EDGE = 5
"""Shortest part that is found where a text may have been cut."""
_CUT_CHARS = 1000
_LONG = 512
"""From here on only each third place of a secret is known, and fewer of its forms: parts of 31 characters are found."""
_LONG_STEP = 3
_PLACES = 100
"""Of secrets, or of what begins like one, in one text; with more, nothing in it is worth keeping, or searching."""
_ALIKE = 4
"""Places in the secrets that begin alike and are all tried."""
_LEAP = 64
_NAME_CHARS = 40
_SHORT = 6
"""Anything shorter is masked only where it stands as a word of its own."""
_LEAST = 8
"""Anything shorter is left alone in data: a number of four digits is a year as well."""
WITHHELD = "[withheld: the plugin knows more secrets than can be looked for]"


class SecretBook:
    """Which secrets each installation's code has seen on this node: an isolate remembers them from call to call."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, dict[str, None]] = OrderedDict()
        self._indexes: OrderedDict[str, _Index] = OrderedDict()

    def learn(self, installation_id: str, values: Iterable[str]) -> None:
        """Look for these from now on."""
        known = self._values.setdefault(installation_id, {})
        new = [value for value in values if value not in known and value.strip()]
        if new:
            known.update(dict.fromkeys(new))
            while len(known) > _VALUES:
                del known[next(iter(known))]
            self._indexes.pop(installation_id, None)
        self._values.move_to_end(installation_id)
        if len(self._values) > _INSTALLATIONS:
            gone, _ = self._values.popitem(last=False)
            self._indexes.pop(gone, None)

    def knows(self, installation_id: str) -> bool:
        """Whether there is anything to look for."""
        return installation_id in self._values

    def redaction(self, installation_id: str) -> Redaction:
        """For what one call leaves."""
        values = self._values.get(installation_id)
        if values is None:
            return Redaction(None)
        index = self._indexes.get(installation_id)
        if index is None:
            index = self._indexes[installation_id] = _Index(values)
            if len(self._indexes) > _INDEXES:
                self._indexes.popitem(last=False)
        return Redaction(index)


class Redaction:
    """Takes secrets out of the texts of one call.

    Attributes:
        leaks: In how many places there was one.
    """

    __slots__ = ("_index", "leaks")

    def __init__(self, index: _Index | None) -> None:
        self._index = index
        self.leaks = 0

    def text(self, text: str) -> str:
        """A text without them."""
        if not text:
            return text
        if self._index is not None:
            if self._index.is_too_large:
                self.leaks += 1
                return WITHHELD
            spans = self._index.spans(text)
            if spans:
                self.leaks += len(spans)
                text = telemetry.cover(text, spans)
        text, places = telemetry.masked(text)
        self.leaks += places
        return text

    def lines(
        self, lines: Iterable[tuple[str, str, Mapping[str, Any]]]
    ) -> list[tuple[str, str, dict[str, str | int | float | bool | None]]]:
        """Log lines without them, in messages, and in names and values of fields."""
        return [(level, self.text(message), self._fields(fields)) for level, message, fields in lines]

    def data(self, value: Any) -> Any:
        """Plain data without them."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            items = cast("dict[Any, Any]", value).items()
            return {self.data(name): self.data(item) for name, item in items}
        if isinstance(value, list):
            return [self.data(item) for item in cast("list[Any]", value)]
        return value

    def sees(self, data: bytes) -> bool:
        """Whether a known secret stands in some text of this msgpack: one pass over the whole, and when there is none,
        nothing has to be taken apart."""
        return self._index is not None and bool(self._index.known(data.decode("utf-8", "replace")))

    def known(self, value: Any) -> Any:
        """Data without the secrets that are known; what merely looks like one stays. Bytes are searched as text."""
        if isinstance(value, str):
            return self._known(value)
        if isinstance(value, bytes):
            text = value.decode("utf-8", "surrogateescape")
            clean = self._known(text)
            return value if clean is text else clean.encode("utf-8", "surrogateescape")
        if isinstance(value, dict):
            items = cast("dict[Any, Any]", value).items()
            return {self.known(name): self.known(item) for name, item in items}
        if isinstance(value, list):
            return [self.known(item) for item in cast("list[Any]", value)]
        return value

    def _known(self, text: str) -> str:
        spans = None if self._index is None else self._index.known(text)
        if not spans:
            return text
        self.leaks += len(spans)
        return telemetry.cover(text, spans)

    def _fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        clean: dict[str, Any] = {}
        for name, value in fields.items():
            key = name if self._index is None and len(name) <= _NAME_CHARS else self.text(name)
            if value is None or isinstance(value, bool):
                clean[key] = value
            elif telemetry.names_a_secret(name[:_NAME_CHARS]):
                self.leaks += 1
                clean[key] = telemetry.MASK
            elif isinstance(value, str):
                clean[key] = self.text(value)
            elif self._index is None:
                clean[key] = value
            else:
                # A secret of figures alone may be logged as the number that it is.
                text = str(value)
                seen = self.text(text)
                clean[key] = value if seen == text else seen
        return clean


class _Index:
    """All forms of an installation's secrets, made ready to be searched for."""

    __slots__ = ("_forms", "_grams", "_shorter", "_values", "is_too_large")

    def __init__(self, values: Iterable[str]) -> None:
        known = list(values)
        self._values = [value for value in known if len(value) >= _LEAST]
        self.is_too_large = sum(map(len, known)) > _KNOWN_CHARS
        forms: dict[str, None] = {}
        if not self.is_too_large:
            for value in known:
                for form in forms_of(value):
                    forms[form] = forms[form.replace("\\", "")] = None
            # Of a secret that is nothing but backslashes; it would be found everywhere, without an end.
            forms.pop("", None)
        self._forms = [form for form in forms if len(form) >= _RUN]
        self._shorter = [(form, len(form) < _SHORT) for form in forms if len(form) < _RUN]
        self._grams: dict[str, list[tuple[str, int]]] = {}
        for form in self._forms:
            for place in range(0, len(form) - _GRAM + 1, 1 if len(form) <= _LONG else _LONG_STEP):
                alike = self._grams.setdefault(form[place : place + _GRAM], [])
                if len(alike) < _ALIKE:
                    alike.append((form, place))

    def known(self, text: str) -> list[tuple[int, int]]:
        """Where they stand in data: none that is short, and nothing that a cut may have left."""
        if len(text) < _LEAST:
            return []
        if not self.is_too_large:
            return self.spans(text, _LEAST)
        # To withhold all data would be the end of the plugin: at least what stands there as it is.
        return _joined([span for value in self._values for span in _places(text, value, is_word=False)])

    def spans(self, text: str, least: int = 0) -> list[tuple[int, int]]:
        """Where they stand, in order and without overlap.

        Args:
            least: The text is data, in which nothing shorter is looked for, nor what a cut may have left.
        """
        found = self._search(text, least)
        # A text in a text in a text: quotes are escaped each time anew, so they are also searched for without escapes.
        bare = text.replace("\\", "")
        if len(bare) != len(text) and (seen := self._search(bare, least)):
            places = [place for place, character in enumerate(text) if character != "\\"]
            found += [(places[start], places[end - 1] + 1) for start, end in seen]
        return _joined(found)

    def _search(self, text: str, least: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for form, is_word in self._shorter:
            if len(form) < least:
                continue
            found += _places(text, form, is_word)
            if len(found) > _PLACES:
                return [(0, len(text))]
        grams = self._grams
        if grams:
            place = tried = 0
            last = len(text) - _GRAM
            while place <= last:
                alike = grams.get(text[place : place + _GRAM])
                if alike is not None:
                    tried += 1
                    if tried > _PLACES:
                        return [(0, len(text))]
                    start, end = max((_grown(text, place, *seen) for seen in alike), key=lambda span: span[1] - span[0])
                    if end - start >= _RUN:
                        found.append((start, end))
                        place = max(place + _STRIDE, end - end % _STRIDE)
                        continue
                place += _STRIDE
            if len(text) >= _CUT_CHARS and not least:
                found += self._edges(text)
        return found

    def _edges(self, text: str) -> list[tuple[int, int]]:
        """The rest of a secret where the text was cut: at its end, or, of a trace, at its beginning."""
        found: list[tuple[int, int]] = []
        for size in range(_RUN, _EDGE - 1, -1):
            if any(form.endswith(text[:size]) for form in self._forms):
                found.append((0, size))
                break
        for size in range(_RUN, _EDGE - 1, -1):
            if any(form.startswith(text[-size:]) for form in self._forms):
                found.append((len(text) - size, len(text)))
                break
        return found


def _grown(text: str, place: int, form: str, at: int) -> tuple[int, int]:
    """How far a text agrees with a form to both sides of a place where they do."""
    back = 0
    while _agree(text, place - back - _LEAP, form, at - back - _LEAP):
        back += _LEAP
    while back < min(at, place) and text[place - back - 1] == form[at - back - 1]:
        back += 1
    on = _GRAM
    while _agree(text, place + on, form, at + on):
        on += _LEAP
    room = min(len(form) - at, len(text) - place)
    while on < room and text[place + on] == form[at + on]:
        on += 1
    return place - back, place + on


def _agree(text: str, place: int, form: str, at: int) -> bool:
    return place >= 0 and 0 <= at <= len(form) - _LEAP and text[place : place + _LEAP] == form[at : at + _LEAP]


def _places(text: str, form: str, is_word: bool) -> list[tuple[int, int]]:
    """All places where a form stands; of one that is no longer than a word, those where it stands by itself."""
    found: list[tuple[int, int]] = []
    start = text.find(form)
    while start >= 0:
        end = start + len(form)
        if not is_word or not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()):
            found.append((start, end))
            if len(found) > _PLACES:
                break
        start = text.find(form, end)
    return found


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping and touching spans made one."""
    if len(spans) < 2:
        return spans
    spans.sort()
    joined = [spans[0]]
    for start, end in spans[1:]:
        if start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined

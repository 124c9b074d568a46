"""Texts of a plugin in the language of who reads them. Nothing in a text is ever evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

__all__ = ["locales", "translate"]

_PLACE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")
_DEFAULT = "en"
_ONE_UP_TO_ONE = frozenset({"fr", "pt", "hy", "kab"})
"""Languages in which nothing is singular."""
_SLAVIC = frozenset({"be", "bs", "hr", "ru", "sr", "uk"})


def locales(locale: str) -> Iterator[str]:
    """A language tag and what it falls back to: `de-AT`, `de`, then the default, `en`."""
    while locale:
        yield locale
        locale = locale.rpartition("-")[0]
    yield _DEFAULT


def translate(
    translations: Mapping[str, Mapping[str, str]], locale: str, key: str, values: Mapping[str, object]
) -> str:
    """The text of a key, its placeholders filled in; the key itself when there is no text.

    A placeholder is a name in braces. It is replaced by the text of the value, and leads nowhere else: no attribute, no
    index, no format. With a value `count`, the key's plural forms are tried first: `KEY.zero`, `KEY.one`, `KEY.few`,
    `KEY.many`, `KEY.other`.
    """
    known = {tag.lower(): texts for tag, texts in translations.items()}
    for tag in dict.fromkeys(locales(locale.replace("_", "-").lower())):
        texts = known.get(tag)
        if texts is None:
            continue
        for name in _forms(key, tag, values.get("count")):
            if name in texts:
                return _filled(texts[name], values)
    # A manifest without the default language: any text says more than a key.
    for texts in known.values():
        for name in _forms(key, _DEFAULT, values.get("count")):
            if name in texts:
                return _filled(texts[name], values)
    return key


def _forms(key: str, tag: str, count: object) -> Iterator[str]:
    if isinstance(count, (int, float)) and not isinstance(count, bool):
        if count == 0:
            yield f"{key}.zero"
        yield f"{key}.{_plural(tag.partition('-')[0], count)}"
        yield f"{key}.other"
    yield key


def _plural(language: str, count: float) -> str:
    """The plural form, after Unicode's CLDR, for whole numbers; languages with other rules have `one` and `other`."""
    if language in _ONE_UP_TO_ONE:
        return "one" if 0 <= count < 2 else "other"
    if count % 1:
        return "other"
    tens, ones = abs(count) % 100, abs(count) % 10
    if language in _SLAVIC:
        if ones == 1 and tens != 11:
            return "one"
        if 2 <= ones <= 4 and not 12 <= tens <= 14:
            return "few"
        return "other" if language in ("bs", "hr", "sr") else "many"
    if language == "pl":
        if count == 1:
            return "one"
        return "few" if 2 <= ones <= 4 and not 12 <= tens <= 14 else "many"
    if language in ("cs", "sk"):
        return "one" if count == 1 else "few" if 2 <= count <= 4 else "other"
    return "one" if count == 1 else "other"


def _filled(text: str, values: Mapping[str, object]) -> str:
    def put(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0][0]
        # What nobody gave stays visible, so that it is noticed.
        return str(values[name]) if name in values else match[0]

    return _PLACE.sub(put, text)

"""Version ranges: `>=1.2,<2`, `^1.2`, `~1.2.3`, `==1.4.0`, `*`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import cast

from semantic_version import SimpleSpec, Version  # pyright: ignore[reportMissingTypeStubs]  # it has none

from jackfield.resolution.errors import RangeInvalidError

__all__ = ["VersionRange", "newest", "parse_version"]


@lru_cache(maxsize=4096)
def parse_version(text: str) -> Version:
    """A semantic version, comparable by precedence.

    Raises:
        RangeInvalidError: It is none.
    """
    try:
        return Version(text)
    except ValueError as error:
        raise RangeInvalidError(f"{text!r} is not a semantic version.", version=text) from error


class VersionRange:
    """A set of versions.

    Pre-releases are in it only when the range names one, so that `>=1.2` never brings a tenant somebody's beta.

    Raises:
        RangeInvalidError: The text cannot be read.
    """

    __slots__ = ("_names_prerelease", "_spec", "text")

    def __init__(self, text: str) -> None:
        self.text = ",".join(part.strip() for part in text.split(",")) or "*"
        self._names_prerelease = "-" in self.text
        self._spec = _parse(self.text)

    def __contains__(self, version: str) -> bool:
        parsed = parse_version(version)
        if parsed.prerelease and not self._names_prerelease:
            return False
        return self._matches(parsed)

    def spans(self, version: str) -> bool:
        """Whether the version lies within the bounds, pre-release or not."""
        return self._matches(parse_version(version))

    def _matches(self, version: Version) -> bool:
        return cast(bool, self._spec.match(version))  # pyright: ignore[reportUnknownMemberType]  # untyped library

    def __str__(self) -> str:
        return "any version" if self.text == "*" else self.text


@lru_cache(maxsize=4096)
def _parse(text: str) -> SimpleSpec:
    try:
        return SimpleSpec(text)
    except ValueError as error:
        raise RangeInvalidError(f"{text!r} is not a version range.", range=text) from error


def newest(versions: Iterable[str]) -> str | None:
    """The newest by precedence that is not a pre-release; the newest pre-release when there is nothing else."""
    known = [(not parse_version(version).prerelease, parse_version(version), version) for version in versions]
    return max(known)[2] if known else None

"""Our plugins, as resolvelib asks about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resolvelib import AbstractProvider

from jackfield.resolution.models import Candidate
from jackfield.resolution.ranges import VersionRange, parse_version

__all__ = ["Provider", "Requirement"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """Somebody needs a plugin in some versions. `reason` is said when nobody else needs it: a wish of the caller's."""

    slug: str
    versions: VersionRange
    reason: str = ""


class Provider(AbstractProvider[Requirement, Candidate, str]):
    """Prefers what is installed, then what is newest, and never goes back behind what is installed unless asked to.

    Args:
        wanted: Plugins that the caller names: the newest is preferred, older ones are allowed.
        present: Plugins that will be there, so that optional needs of them count.
    """

    def __init__(
        self,
        have: Mapping[str, Candidate],
        catalogue: Mapping[str, Sequence[Candidate]],
        wanted: frozenset[str],
        present: frozenset[str],
        platform: str,
    ) -> None:
        self._have = have
        self._catalogue = catalogue
        self._wanted = wanted
        self._present = present
        self._platform = platform

    def identify(self, requirement_or_candidate: Requirement | Candidate) -> str:
        return requirement_or_candidate.slug

    def get_preference(
        self,
        identifier: str,
        resolutions: Mapping[str, Candidate],
        candidates: Mapping[str, Iterator[Candidate]],
        information: Any,
        backtrack_causes: Sequence[Any],
    ) -> Any:
        # What has caused trouble is decided first, which finds the other way out sooner; then what leaves least choice.
        is_cause = any(identifier in (c.requirement.slug, c.parent and c.parent.slug) for c in backtrack_causes)
        return (not is_cause, sum(1 for _ in candidates[identifier]), identifier)

    def find_matches(
        self,
        identifier: str,
        requirements: Mapping[str, Iterator[Requirement]],
        incompatibilities: Mapping[str, Iterator[Candidate]],
    ) -> list[Candidate]:
        ranges = [requirement.versions for requirement in requirements[identifier]]
        excluded = {candidate.version for candidate in incompatibilities[identifier]}
        fitting = [
            candidate
            for candidate in self.eligible(identifier)
            if candidate.version not in excluded and all(self._fits(candidate, range_) for range_ in ranges)
        ]
        installed = self._have.get(identifier)
        fitting.sort(key=lambda candidate: parse_version(candidate.version), reverse=True)
        if identifier not in self._wanted:
            fitting.sort(key=lambda candidate: candidate is not installed)
        return fitting

    def is_satisfied_by(self, requirement: Requirement, candidate: Candidate) -> bool:
        return self._fits(candidate, requirement.versions)

    def get_dependencies(self, candidate: Candidate) -> list[Requirement]:
        # What is installed and stays asks for nothing new: its own gaps are not this plan's business.
        is_kept = self._have.get(candidate.slug) is candidate
        return [
            Requirement(need.slug, VersionRange(need.versions))
            for need in candidate.requires
            if need.slug in self._present or not (need.is_optional or is_kept)
        ]

    def eligible(self, slug: str) -> list[Candidate]:
        """The installed release and every other that may be chosen."""
        installed = self._have.get(slug)
        others = [
            candidate
            for candidate in self._catalogue.get(slug, ())
            if self.objection(candidate) is None and (installed is None or candidate.version != installed.version)
        ]
        return others if installed is None else [installed, *others]

    def objection(self, candidate: Candidate) -> str | None:
        """Why a release is not even considered, as a sentence."""
        if candidate.is_yanked:
            return f"{candidate} was withdrawn."
        if self._platform not in VersionRange(candidate.platform):
            return f"{candidate} runs on platform {candidate.platform}; this is {self._platform}."
        installed = self._have.get(candidate.slug)
        if (
            installed is not None
            and candidate.slug not in self._wanted
            and parse_version(candidate.version) < parse_version(installed.version)
        ):
            return f"{candidate} is older than the installed {installed.version}."
        return None

    def _fits(self, candidate: Candidate, versions: VersionRange) -> bool:
        if candidate.version in versions:
            return True
        # An installed pre-release fits where its number does: whoever chose it, keeps it.
        installed = self._have.get(candidate.slug)
        return candidate is installed and versions.spans(candidate.version)

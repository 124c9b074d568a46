"""Why there is no plan, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jackfield.resolution.errors import DependencyConflictError, DependencyMissingError
from jackfield.resolution.models import Candidate
from jackfield.resolution.provider import Provider
from jackfield.resolution.ranges import parse_version

__all__ = ["explain"]

_SHOWN = 5


def explain(
    causes: Sequence[Any], provider: Provider, catalogue: Mapping[str, Sequence[Candidate]]
) -> DependencyConflictError | DependencyMissingError:
    """The error that tells a person what resolvelib found out.

    Args:
        causes: Pairs of a requirement and the candidate that has it (None for what the caller asked for).
    """
    # All causes of one failure are about few plugins; the one that most of them name is what they disagree about.
    slugs = [cause.requirement.slug for cause in causes]
    plugin = max(sorted(set(slugs)), key=slugs.count)
    sentences = list(dict.fromkeys(_sentence(cause) for cause in sorted(causes, key=_order)))
    if not catalogue.get(plugin) and not provider.eligible(plugin):
        return DependencyMissingError(plugin, [*sentences, f"There is no plugin {plugin}."])
    sentences += _offer(plugin, provider, catalogue)
    return DependencyConflictError(plugin, sentences)


def _order(cause: Any) -> tuple[bool, str, str]:
    return (cause.parent is not None, str(cause.parent or ""), cause.requirement.slug)


def _sentence(cause: Any) -> str:
    requirement = cause.requirement
    if cause.parent is not None:
        return f"{cause.parent} needs {requirement.slug} {requirement.versions}."
    if requirement.versions.text == "*":
        return f"{requirement.slug} must be there: {requirement.reason}."
    return f"{requirement.slug} must be {requirement.versions}: {requirement.reason}."


def _offer(plugin: str, provider: Provider, catalogue: Mapping[str, Sequence[Candidate]]) -> list[str]:
    """What there is to choose from, and why the rest is not."""
    eligible = sorted(provider.eligible(plugin), key=lambda candidate: parse_version(candidate.version), reverse=True)
    objections = [
        text for candidate in catalogue.get(plugin, ()) if (text := provider.objection(candidate)) is not None
    ]
    versions = [candidate.version for candidate in eligible]
    shown = ", ".join(versions[:_SHOWN]) + (f" and {len(versions) - _SHOWN} older" if len(versions) > _SHOWN else "")
    if versions and all("-" in version for version in versions):
        objections.append("A pre-release is only chosen when the range names one.")
    return [
        f"To choose from: {plugin} {shown}." if versions else f"No release of {plugin} can be used.",
        *objections[:_SHOWN],
    ]

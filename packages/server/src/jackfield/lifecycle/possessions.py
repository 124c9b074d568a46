"""What an installation owns, what it adds, and who needs it: the whole of what there is to see before it goes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jackfield_sdk.manifest import Manifest

__all__ = ["Possessions", "contributed", "dependants_of"]


@dataclass(frozen=True, slots=True)
class Possessions:
    """Of one installation.

    Attributes:
        owned: Kind of thing → how many it keeps.
        contributes: Kind of contribution → their names.
        dependants: Slugs of installed plugins that cannot be without it.
    """

    owned: Mapping[str, int]
    contributes: Mapping[str, list[str]]
    dependants: list[str]


def contributed(manifest: Manifest) -> dict[str, list[str]]:
    """Names of what a release adds, by kind; kinds of which there is nothing are left out."""
    found = {
        "connections": [each.name for each in manifest.connections],
        "emits": list(manifest.emits),
        "events": [each.event for each in manifest.events],
        "filters": [each.hook for each in manifest.filters],
        "functions": [each.name for each in manifest.functions],
        "pages": [each.path for each in manifest.pages],
        "routes": [f"{each.method} {each.path}" for each in manifest.routes],
        "schedules": [each.name for each in manifest.schedules],
        "tables": [each.name for each in manifest.tables],
        "webhooks": [each.name for each in manifest.webhooks],
        "widgets": [each.slot for each in manifest.widgets],
    }
    return {kind: sorted(set(names)) for kind, names in found.items() if names}


def dependants_of(slug: str, installed: Iterable[Manifest]) -> list[str]:
    """Slugs of the plugins that require one, sorted."""
    return sorted(
        {
            manifest.slug
            for manifest in installed
            if any(each.slug == slug and not each.optional for each in manifest.requires)
        }
    )

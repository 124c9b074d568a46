"""Does the host offer what a release was made for? Pure; what has to be looked up, the caller answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from jackfield.capabilities.errors import RowFilterInvalidError
from jackfield.capabilities.permissions import asked, entity_of
from jackfield.capabilities.row_filters import checked
from jackfield.lifecycle.errors import (
    EntityUnknownError,
    EventDependencyError,
    EventUnknownError,
    HookUnknownError,
    SlotUnknownError,
    SurfaceMismatchError,
)
from jackfield.surface import Surface
from jackfield_sdk.manifest import Manifest

__all__ = ["check_surface", "foreign_event_owners"]

_ERRORS: dict[str, type[SurfaceMismatchError]] = {
    error.code: error
    for error in (HookUnknownError, EventUnknownError, EventDependencyError, SlotUnknownError, EntityUnknownError)
}


def foreign_event_owners(manifest: Manifest, surface: Surface) -> frozenset[str]:
    """Slugs of plugins that it may listen to: of events that the host does not declare, what is before the dot."""
    return frozenset(
        handler.event.partition(".")[0]
        for handler in manifest.events
        if handler.event not in surface.event_index and not handler.event.startswith(f"{manifest.slug}.")
    )


def check_surface(manifest: Manifest, surface: Surface, is_plugin: Callable[[str], bool]) -> None:
    """Compare a manifest with the host's surface.

    Args:
        is_plugin: Whether a slug is one of a known plugin, which may send events of its own.

    Raises:
        SurfaceMismatchError: A subclass for the first problem, with all of them in its data.
        RowFilterInvalidError: It asks for rows by fields that the host does not open.
    """
    problems = [
        *_unknown("hook-unknown", (part.hook for part in manifest.filters), lambda name: name in surface.filter_index),
        *_unknown(
            "event-unknown",
            (part.event for part in manifest.events),
            lambda name: _is_sent(name, manifest, surface, is_plugin),
        ),
        *_unknown(
            "event-dependency-missing",
            (part.event for part in manifest.events if part.event not in surface.event_index),
            lambda name: _is_needed(name.partition(".")[0], manifest, is_plugin),
        ),
        *_unknown("slot-unknown", (part.slot for part in manifest.widgets), lambda name: name in surface.slot_index),
        *_unknown("entity-unknown", _entities(manifest), lambda name: name in surface.entity_index),
    ]
    if problems:
        first = problems[0]
        raise _ERRORS[first["code"]](manifest.slug, first["name"], problems)
    for permission, where in manifest.permission_filters.items():
        name = entity_of(permission)
        if name is None:
            raise RowFilterInvalidError(permission, "only a permission for an entity of the host has rows")
        checked(where, name, surface.entity_index[name].readable)


def _is_sent(name: str, manifest: Manifest, surface: Surface, is_plugin: Callable[[str], bool]) -> bool:
    owner = name.partition(".")[0]
    if owner == manifest.slug:
        return name in manifest.emits
    return name in surface.event_index or is_plugin(owner)


def _is_needed(owner: str, manifest: Manifest, is_plugin: Callable[[str], bool]) -> bool:
    """Whether the sender of an event is the plugin itself or one that it depends on; what is unknown is told apart."""
    return owner == manifest.slug or not is_plugin(owner) or any(need.slug == owner for need in manifest.requires)


def _entities(manifest: Manifest) -> list[str]:
    wanted = asked(manifest)
    names = (entity_of(permission) for permission in (*wanted.required, *wanted.optional))
    return [name for name in names if name is not None]


def _unknown(code: str, names: Iterable[str], is_known: Callable[[str], bool]) -> list[dict[str, str]]:
    return [{"code": code, "name": name} for name in dict.fromkeys(names) if not is_known(name)]

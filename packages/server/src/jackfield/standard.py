"""The standard hook points, ready for a surface: `Surface(filters=standard.filters("booking"), events=…)`.

A plugin written for them works with every host that has them. A host adds its own beside these.
"""

from __future__ import annotations

from typing import Literal

from jackfield.surface import Event, FilterHook
from jackfield_sdk.hooks.catalogue import STANDARD, Hook

__all__ = ["SUBJECTS", "events", "filters"]

SUBJECTS = tuple(dict.fromkeys(hook.subject for hook in STANDARD.values() if hook.source == "host"))
"""What a host can have standard hook points about."""


def filters(*names: str) -> tuple[FilterHook, ...]:
    """Standard filter hooks.

    Args:
        names: Subjects, as `booking`, or single hooks, as `booking.beforeCreate`; all of them when empty.

    Raises:
        ValueError: There is no such filter among those that a host can have.
    """
    return tuple(FilterHook(hook.name, hook.payload, hook.description) for hook in _chosen("filter", names))


def events(*names: str) -> tuple[Event, ...]:
    """Standard events; those of `plugin` are on every surface already, for the platform sends them.

    Args:
        names: As for `filters`.

    Raises:
        ValueError: There is no such event among those that a host can have.
    """
    return tuple(Event(hook.name, hook.payload, hook.description) for hook in _chosen("event", names))


def _chosen(kind: Literal["filter", "event"], names: tuple[str, ...]) -> list[Hook]:
    known = [hook for hook in STANDARD.values() if hook.source == "host" and hook.kind == kind]
    for name in names:
        if not any(name in (hook.subject, hook.name) for hook in known):
            raise ValueError(f"no standard {kind} is about `{name}`; subjects are {', '.join(SUBJECTS)}")
    return [hook for hook in known if not names or hook.subject in names or hook.name in names]

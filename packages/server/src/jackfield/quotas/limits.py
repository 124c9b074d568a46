"""What one call may use: the platform's default, lowered by the manifest, set by an operator, never above the ceiling.

Pure, but for the memory of what was worked out.
"""

from __future__ import annotations

from collections.abc import Mapping

from jackfield.quotas.interfaces import Installed
from jackfield.settings import CeilingSettings, LimitSettings
from jackfield_sdk.manifest import Limits

__all__ = ["LIMIT_NAMES", "LimitBook", "effective"]

LIMIT_NAMES = tuple(name for name in LimitSettings.model_fields if name in CeilingSettings.model_fields)
"""Limits that an operator may set for one plugin or installation."""
_REMEMBERED = 10_000


def effective(
    defaults: LimitSettings, ceilings: CeilingSettings, asked: Limits, *overrides: Mapping[str, int]
) -> LimitSettings:
    """The limits of an installation's calls.

    Args:
        asked: The manifest's; each of them lowers a default, none raises it.
        overrides: What operators set, the weightiest first. They replace both default and manifest.
    """
    changed: dict[str, int] = {}
    for name in LIMIT_NAMES:
        default: int = getattr(defaults, name)
        given = next((override[name] for override in overrides if name in override), None)
        if given is None:
            wish: int | None = getattr(asked, name, None)
            value = default if wish is None else min(default, wish)
        else:
            value = min(given, getattr(ceilings, name))
        if value != default:
            changed[name] = value
    # Not built anew: the class would look into the environment.
    return defaults.model_copy(update=changed) if changed else defaults


class LimitBook:
    """The limits of every installation; looked up on every call."""

    def __init__(self, defaults: LimitSettings, ceilings: CeilingSettings) -> None:
        self.defaults = defaults
        self.ceilings = ceilings
        self.of_plugins: dict[str, Mapping[str, int]] = {}
        self.of_installations: dict[str, Mapping[str, int]] = {}
        self._known: dict[str, tuple[Installed, LimitSettings]] = {}

    def limits_of(self, installation: Installed) -> LimitSettings:
        """What a call of this installation may use now."""
        known = self._known.get(installation.id)
        if known is not None and known[0] is installation:
            return known[1]
        limits = effective(
            self.defaults,
            self.ceilings,
            installation.manifest.limits,
            self.of_installations.get(installation.id, {}),
            self.of_plugins.get(installation.slug, {}),
        )
        self._known[installation.id] = (installation, limits)
        if len(self._known) > _REMEMBERED:
            # The oldest, not the least used: to know that would cost every call.
            del self._known[next(iter(self._known))]
        return limits

    def set_plugin(self, slug: str, limits: Mapping[str, int] | None) -> list[str]:
        """An operator's word on a plugin, or None to take it back; the installations that it is news for."""
        _put(self.of_plugins, slug, limits)
        touched = [id for id, (installation, _) in self._known.items() if installation.slug == slug]
        for installation_id in touched:
            del self._known[installation_id]
        return touched

    def set_installation(self, installation_id: str, limits: Mapping[str, int] | None) -> list[str]:
        """An operator's word on one installation, or None to take it back; that installation."""
        _put(self.of_installations, installation_id, limits)
        self._known.pop(installation_id, None)
        return [installation_id]


def _put(book: dict[str, Mapping[str, int]], key: str, limits: Mapping[str, int] | None) -> None:
    if limits is None:
        book.pop(key, None)
    else:
        book[key] = limits

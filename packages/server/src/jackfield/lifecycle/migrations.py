"""Which migrations lie between two releases, and whether there is a way back by them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from jackfield.capabilities.declared import layout_of
from jackfield.resolution.ranges import parse_version
from jackfield_sdk.manifest import Manifest, Migration

__all__ = ["between", "is_reversible", "lacks_down", "moves_data"]


def between(old: Manifest, new: Manifest) -> list[Migration]:
    """Migrations that the newer release has and the older one has not, in the order in which they run.

    Names tell them apart, not versions: what a release that is installed declares, its data has been through.
    """
    known = {migration.name for migration in old.migrations}
    found = [migration for migration in new.migrations if migration.name not in known]
    # Those of one version stay as they are declared.
    return sorted(found, key=lambda migration: parse_version(migration.to_version))


def moves_data(old: Manifest, new: Manifest) -> bool:
    """Whether an update has to work on a copy of the data: tables differ, or code of the new release may change it."""
    return layout_of(old) != layout_of(new) or new.lifecycle.on_update is not None


def is_reversible(migrations: Iterable[Migration]) -> bool:
    """Whether each of them has a way back of its own."""
    return all(migration.down is not None for migration in migrations)


def lacks_down(leaving: Manifest, to: Manifest, applied: Iterable[str]) -> list[str]:
    """Names of migrations that going back would have to undo and cannot, sorted.

    Args:
        applied: Names of all that have run since the release that is gone back to.
    """
    have = {migration.name for migration in leaving.migrations if migration.down is not None}
    known = {migration.name for migration in to.migrations}
    needed = {*applied, *(migration.name for migration in leaving.migrations)} - known
    return sorted(needed - have)

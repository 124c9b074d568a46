"""What installing, updating or uninstalling would do: read everything, change nothing.

The same plan answers `POST /api/plugins/plan` and starts the operation, so what a tenant is shown is what is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version as distribution_version
from typing import Literal

from jackfield.capabilities.declared import layout_of
from jackfield.capabilities.staging import Amount, measure
from jackfield.conditions import check_condition
from jackfield.db import Database
from jackfield.errors import JackfieldError, MissingError
from jackfield.lifecycle.configuration import check_schema
from jackfield.lifecycle.errors import (
    AlreadyInstalledError,
    DevelopmentOverPublishedError,
    KeptDataOlderError,
    NoWayBackError,
    UpdateNeededError,
    UpdateNeedsPluginError,
    UpdateNotNewerError,
    UpdateTooLargeError,
)
from jackfield.lifecycle.history import ways_back
from jackfield.lifecycle.interfaces import Catalogue
from jackfield.lifecycle.migrations import between, lacks_down, moves_data
from jackfield.lifecycle.models import InstallationRow, PastRelease
from jackfield.lifecycle.repository import every, owned_by, require
from jackfield.lifecycle.snapshots import Snapshots
from jackfield.lifecycle.states import State
from jackfield.lifecycle.surface_check import check_surface, foreign_event_owners
from jackfield.quotas import PlanFullError, Policy
from jackfield.registry import Release, ReleaseMissingError
from jackfield.resolution import Candidate, Install, Uninstall, candidate_of, plan
from jackfield.resolution.ranges import parse_version
from jackfield.surface import Surface
from jackfield_sdk.manifest import Migration

__all__ = ["MOVE_LIMIT", "InstallPlan", "Planned", "Planner", "RollbackPlan", "UninstallPlan", "UpdatePlan", "Way"]

Way = Literal["auto", "transform", "restore"]
"""What is to become of the data; `auto` transforms it where every migration can be undone, else restores it."""

MOVE_LIMIT = 250_000
_PLUGINS_LIMIT = 500
"""Plugins that one resolution looks at; a publisher's manifest could otherwise name the whole marketplace."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One plugin that will be installed.

    Attributes:
        because: Why, in a sentence.
        kept: The row of an earlier installation whose data was kept.
    """

    release: Release
    because: str
    kept: InstallationRow | None = None


@dataclass(frozen=True, slots=True)
class InstallPlan:
    """What installing would do.

    Attributes:
        release: What was asked for; also when there are conflicts.
        steps: In order, what is needed first; the last one is what was asked for. Empty when there are conflicts.
        conflicts: Why it cannot be done now; the first one is what `install` raises.
        policy: What the tenant's plan allows, when somebody knows.
    """

    slug: str
    instance: str
    release: Release
    steps: tuple[Planned, ...]
    conflicts: tuple[JackfieldError, ...]
    policy: Policy | None = None

    @property
    def locks(self) -> frozenset[str]:
        """Plugins that must not change meanwhile: those that are installed, and all that they rely on."""
        slugs = {self.slug}
        for step in self.steps:
            slugs |= {step.release.slug, *needs(step.release)}
        return frozenset(slugs)


@dataclass(frozen=True, slots=True)
class UpdatePlan:
    """What updating would do.

    Attributes:
        old: The release that is installed.
        conflicts: Why it cannot be done now; the first one is what `update` raises.
        amount: What there is of data; empty when it does not have to be moved.
    """

    row: InstallationRow
    old: Release
    release: Release
    conflicts: tuple[JackfieldError, ...]
    amount: Amount = field(default_factory=Amount)

    @property
    def migrations(self) -> list[Migration]:
        """What the data goes through, in order."""
        return between(self.old.manifest, self.release.manifest)

    @property
    def moves_data(self) -> bool:
        """Whether it is done on a copy of the data, which then takes its place."""
        return moves_data(self.old.manifest, self.release.manifest)

    @property
    def locks(self) -> frozenset[str]:
        """Plugins that must not change meanwhile."""
        return frozenset({self.row.slug, *needs(self.release)})


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What going back would do.

    Attributes:
        old: The release that is installed, and would be left.
        past: What is kept of the release that is gone back to; None when there is a conflict because of that.
        spent: All ways back that end with this one, that one included.
        way: What becomes of the data: it stays as it is (`keep`), is transformed by `downs`, or restored.
        downs: Migrations to be undone, in that order.
        can_restore: The data of then was kept.
        amount: What there is of data now.
        conflicts: Why it cannot be done now; the first one is what `rollback` raises.
    """

    row: InstallationRow
    old: Release
    release: Release
    past: PastRelease | None
    spent: tuple[str, ...]
    way: Literal["keep", "transform", "restore"]
    downs: tuple[Migration, ...]
    can_restore: bool
    amount: Amount
    conflicts: tuple[JackfieldError, ...]

    @property
    def locks(self) -> frozenset[str]:
        """Plugins that must not change meanwhile."""
        return frozenset({self.row.slug, *needs(self.release)})


@dataclass(frozen=True, slots=True)
class UninstallPlan:
    """What uninstalling would do.

    Attributes:
        owned: Counts of what would be removed.
        conflicts: Why it cannot be done now.
    """

    row: InstallationRow
    release: Release
    owned: Mapping[str, int]
    conflicts: tuple[JackfieldError, ...]


def needs(release: Release) -> list[str]:
    """Slugs of plugins that must be active before this one can be."""
    return sorted(need.slug for need in release.manifest.requires if not need.optional)


class Planner:
    """Makes plans.

    Args:
        platform: Version of this platform, which releases name a range of.
        policy_of: What a tenant's plan allows. Without it there are no plans.
        move_limit: Rows and keys of storage that an update may move.
    """

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        snapshots: Snapshots,
        surface: Surface,
        platform: str | None = None,
        policy_of: Callable[[str], Awaitable[Policy]] | None = None,
        move_limit: int = MOVE_LIMIT,
    ) -> None:
        self._move_limit = move_limit
        self._database = database
        self._catalogue = catalogue
        self._snapshots = snapshots
        self._surface = surface
        self._platform = platform or distribution_version("jackfield")
        self._policy_of = policy_of

    async def install(self, tenant_id: str, slug: str, version: str | None, instance: str) -> InstallPlan:
        """Plan an installation.

        Raises:
            MissingError: No such plugin or release.
            SurfaceMismatchError, ConfigSchemaError: The release can never be installed here.
        """
        release = await self._release(tenant_id, slug, version)
        await self._check(release)
        async with self._database.read(tenant_id) as session:
            rows = await every(session)
        mine = next((row for row in rows if (row.slug, row.instance) == (slug, instance)), None)
        if mine is not None and State(mine.state).is_listed:
            return InstallPlan(slug, instance, release, (), (AlreadyInstalledError(slug, instance, mine.version),))
        try:
            steps = await self._steps(release, version, [row for row in rows if State(row.state).is_listed])
        except JackfieldError as error:
            return InstallPlan(slug, instance, release, (), (error,))
        kept = {(row.slug, row.instance): row for row in rows if State(row.state) is State.UNINSTALLED}
        planned: list[Planned] = []
        for found, because in steps:
            if found.digest != release.digest:
                await self._check(found)
            where = instance if found.slug == slug else "default"
            before = kept.get((found.slug, where))
            if before is not None and (added := await self._missed(before, found)):
                older = KeptDataOlderError(found.slug, found.version, before.version, added)
                return InstallPlan(slug, instance, release, (), (older,))
            planned.append(Planned(found, because, before))
        policy = None if self._policy_of is None else await self._policy_of(tenant_id)
        if policy is not None and policy.plugins is not None:
            used = sum(State(row.state).is_listed for row in rows)
            if used + len(planned) > policy.plugins:
                full = PlanFullError(policy.plan, policy.plugins, used, len(planned))
                return InstallPlan(slug, instance, release, (), (full,))
        return InstallPlan(slug, instance, planned[-1].release, tuple(planned), (), policy)

    async def update(self, tenant_id: str, slug: str, version: str | None, instance: str) -> UpdatePlan:
        """Plan an update.

        Args:
            version: The newest that is no pre-release when None.

        Raises:
            NotInstalledError: The tenant does not have it.
            MissingError: No such release.
            SurfaceMismatchError, ConfigSchemaError: The release can never be installed here.
        """
        async with self._database.read(tenant_id) as session:
            row = await require(session, slug, instance)
            rows = await every(session)
        old = await self._snapshots.release(row.slug, row.version)
        release = await self._release(tenant_id, slug, version)
        await self._check(release)
        amount = Amount()
        if moves_data(old.manifest, release.manifest):
            async with self._database.read(tenant_id) as session:
                amount = await measure(session, tenant_id, row.id)
        try:
            _check_order(old, release)
            others = [other for other in rows if other.slug != slug and State(other.state).is_listed]
            await self._check_fits(release, [row, *others])
            self._check_amount(release, amount)
        except JackfieldError as error:
            return UpdatePlan(row, old, release, (error,), amount)
        return UpdatePlan(row, old, release, (), amount)

    async def rollback(
        self, tenant_id: str, slug: str, version: str | None, instance: str, way: Way = "auto"
    ) -> RollbackPlan:
        """Plan going back.

        Args:
            version: The release before the present one when None.

        Raises:
            NotInstalledError: The tenant does not have it.
            MissingError: The registry does not have the release any more.
            SurfaceMismatchError, ConfigSchemaError: The host does not offer any more what it was made for.
        """
        async with self._database.read(tenant_id) as session:
            row = await require(session, slug, instance)
            rows = await every(session)
            backs = await ways_back(session, row.id)
            amount = await measure(session, tenant_id, row.id)
        old = await self._snapshots.release(row.slug, row.version)
        place = next((number for number, one in enumerate(backs) if version in (None, one.version)), None)
        if place is None:
            why = "there is no release to go back to" if version is None else f"there is no way back to {version[:64]}"
            error = NoWayBackError(slug, why, versions=[one.version for one in backs])
            return RollbackPlan(row, old, old, None, (), "keep", (), False, amount, (error,))
        past, gone = backs[place], backs[: place + 1]
        release = await self._snapshots.release(slug, past.version)
        await self._check(release)
        applied = [name for one in gone for name in one.migrations]
        lacking = lacks_down(old.manifest, release.manifest, applied)
        downs = tuple(reversed(between(release.manifest, old.manifest)))
        is_moved = bool(applied or downs) or layout_of(old.manifest) != layout_of(release.manifest)
        chosen: Literal["keep", "transform", "restore"] = "transform" if is_moved else "keep"
        if way == "restore" or (way == "auto" and lacking):
            chosen = "restore"
        conflicts: tuple[JackfieldError, ...] = ()
        try:
            if chosen == "restore" and not past.has_data:
                raise NoWayBackError(slug, "of the data of then nothing was kept", lacking=lacking)
            if chosen != "restore" and lacking:
                why = f"these migrations cannot be undone: {', '.join(lacking)}"
                raise NoWayBackError(slug, why, lacking=lacking, hint="Restore the data instead.")
            others = [other for other in rows if other.slug != slug and State(other.state).is_listed]
            # That it was yanked since keeps nobody from what they had.
            await self._check_fits(replace(release, state="published"), [row, *others])
            self._check_amount(release, amount)
        except JackfieldError as error:
            conflicts = (error,)
        return RollbackPlan(
            row, old, release, past, tuple(one.id for one in gone), chosen, () if chosen == "restore" else downs,
            past.has_data, amount, conflicts,
        )  # fmt: skip

    async def uninstall(self, tenant_id: str, slug: str, instance: str) -> UninstallPlan:
        """Plan an uninstallation.

        Raises:
            NotInstalledError: The tenant does not have it.
        """
        async with self._database.read(tenant_id) as session:
            row = await require(session, slug, instance)
            rows = await every(session)
            owned = await owned_by(session, row.id)
        release = await self._snapshots.release(row.slug, row.version)
        others = [other for other in rows if other.id != row.id and State(other.state).is_listed]
        conflicts: tuple[JackfieldError, ...] = ()
        if not any(other.slug == slug for other in others):
            try:
                plan([Uninstall(slug)], await self._have([row, *others]), {}, platform=self._platform)
            except JackfieldError as error:
                conflicts = (error,)
        return UninstallPlan(row, release, owned, conflicts)

    async def active_dependants(self, row: InstallationRow) -> list[str]:
        """Active plugins that need this one and would be left without it."""
        async with self._database.read(row.tenant_id) as session:
            rows = await every(session)
        active = [other for other in rows if State(other.state) is State.ACTIVE and other.id != row.id]
        if any(other.slug == row.slug for other in active):
            return []
        found = [await self._snapshots.release(other.slug, other.version) for other in active]
        return sorted({release.slug for release in found if row.slug in needs(release)})

    async def _release(self, tenant_id: str, slug: str, version: str | None) -> Release:
        """A release that this tenant may have."""
        release = await self._catalogue.release(slug, version)
        if release.tenant_id is not None and release.tenant_id != tenant_id:
            # As if it were not there: that somebody else works on something is nobody's business.
            raise ReleaseMissingError(f"{slug} has no release {version}.", slug=slug, version=version)
        return release

    async def _check_fits(self, release: Release, rows: Iterable[InstallationRow]) -> None:
        """Refuse an update that would break a plugin, or that others would have to come along with."""
        slug, have = release.slug, await self._have(rows)
        found = await self._reachable(release)
        catalogue = {name: list(map(_candidate, many)) for name, many in found.items()}
        catalogue[slug] = [_candidate(release)]
        for step in plan([Install(slug, f"=={release.version}")], have, catalogue, platform=self._platform).steps:
            if step.slug == slug:
                continue
            error = UpdateNeededError if step.action == "update" else UpdateNeedsPluginError
            raise error(slug, step.slug, step.version, step.because)

    async def _check(self, release: Release) -> None:
        """Refuse what can never be installed here."""
        known = [slug for slug in foreign_event_owners(release.manifest, self._surface) if await self._exists(slug)]
        check_surface(release.manifest, self._surface, lambda slug: slug in known)
        check_schema(release.manifest)
        manifest = release.manifest
        for part in (*manifest.filters, *manifest.events, *manifest.widgets):
            if part.when is not None:
                check_condition(part.when)

    def _check_amount(self, release: Release, amount: Amount) -> None:
        count = amount.get("rows", 0) + amount.get("storage_keys", 0)
        if count > self._move_limit:
            raise UpdateTooLargeError(release.slug, release.version, count, self._move_limit)

    async def _missed(self, kept: InstallationRow, release: Release) -> list[str]:
        """Migrations of a release that data which was kept has not been through, as far as anybody knows."""
        try:
            old = await self._snapshots.release(kept.slug, kept.version)
        except MissingError:
            return []
        return [migration.name for migration in between(old.manifest, release.manifest)]

    async def _exists(self, slug: str) -> bool:
        try:
            await self._catalogue.releases(slug)
        except MissingError:
            return False
        return True

    async def _steps(
        self, release: Release, version: str | None, rows: Iterable[InstallationRow]
    ) -> list[tuple[Release, str]]:
        """Releases to install, what is needed first, each with the reason."""
        slug = release.slug
        # A second instance of a plugin is resolved like a first one, held to what others need of it.
        have = await self._have(row for row in rows if row.slug != slug)
        found = await self._reachable(release)
        # What was named is taken as it is, a pre-release too; otherwise the newest that fits.
        want = Install(slug, f"=={release.version}" if version is not None else "*")
        resolved = plan(
            [want], have, {name: list(map(_candidate, many)) for name, many in found.items()}, platform=self._platform
        )
        steps: list[tuple[Release, str]] = []
        for step in resolved.steps:
            if step.action != "install":
                raise UpdateNeededError(slug, step.slug, step.version, step.because)
            steps.append((next(one for one in found[step.slug] if one.version == step.version), step.because))
        # What was asked for goes last: only optional needs of others could have put it earlier.
        return [*(step for step in steps if step[0].slug != slug), *(step for step in steps if step[0].slug == slug)]

    async def _have(self, rows: Iterable[InstallationRow]) -> list[Candidate]:
        return [candidate_of((await self._snapshots.release(row.slug, row.version)).manifest) for row in rows]

    async def _reachable(self, release: Release) -> dict[str, list[Release]]:
        """Releases of every plugin that could come into the plan."""
        found: dict[str, list[Release]] = {}
        waiting = [release.slug]
        if release.tenant_id is not None:
            # It is in no catalogue, and stands for all releases of its plugin.
            found[release.slug] = [release]
            waiting = [need.slug for need in release.manifest.requires]
        while waiting and len(found) < _PLUGINS_LIMIT:
            slug = waiting.pop()
            if slug in found:
                continue
            try:
                found[slug] = list(await self._catalogue.releases(slug))
            except MissingError:
                found[slug] = []  # the resolver says so, naming who needs it
            waiting += [need.slug for one in found[slug] for need in one.manifest.requires]
        return found


def _check_order(old: Release, new: Release) -> None:
    """Refuse a way back: it takes a rollback."""
    if new.digest == old.digest and new.version == old.version:
        raise UpdateNotNewerError(new.slug, old.version, new.version)
    if new.tenant_id is not None and old.tenant_id is None:
        raise DevelopmentOverPublishedError(new.slug, old.version)
    if new.tenant_id is None and parse_version(new.version) <= parse_version(old.version):
        raise UpdateNotNewerError(new.slug, old.version, new.version)


def _candidate(release: Release) -> Candidate:
    return candidate_of(release.manifest, is_yanked=release.state == "yanked")

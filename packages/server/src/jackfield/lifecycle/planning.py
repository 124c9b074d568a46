"""What installing, updating or uninstalling would do: read everything, change nothing.

The same plan answers `POST /api/plugins/plan` and starts the operation, so what a tenant is shown is what is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as distribution_version

from jackfield.conditions import check_condition
from jackfield.db import Database
from jackfield.errors import JackfieldError, MissingError
from jackfield.lifecycle.configuration import check_schema
from jackfield.lifecycle.errors import (
    AlreadyInstalledError,
    DevelopmentOverPublishedError,
    UpdateNeededError,
    UpdateNeedsMigrationError,
    UpdateNeedsPluginError,
    UpdateNotNewerError,
)
from jackfield.lifecycle.interfaces import Catalogue
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.repository import every, owned_by, require
from jackfield.lifecycle.snapshots import Snapshots
from jackfield.lifecycle.states import State
from jackfield.lifecycle.surface_check import check_surface, foreign_event_owners
from jackfield.quotas import PlanFullError, Policy
from jackfield.registry import Release, ReleaseMissingError
from jackfield.resolution import Candidate, Install, Uninstall, candidate_of, plan
from jackfield.resolution.ranges import parse_version
from jackfield.surface import Surface

__all__ = ["InstallPlan", "Planned", "Planner", "UninstallPlan", "UpdatePlan"]

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
    """

    row: InstallationRow
    old: Release
    release: Release
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
    """

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        snapshots: Snapshots,
        surface: Surface,
        platform: str | None = None,
        policy_of: Callable[[str], Awaitable[Policy]] | None = None,
    ) -> None:
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
            planned.append(Planned(found, because, kept.get((found.slug, where))))
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
        try:
            _check_order(old, release)
            others = [other for other in rows if other.slug != slug and State(other.state).is_listed]
            await self._check_fits(release, [row, *others])
        except JackfieldError as error:
            return UpdatePlan(row, old, release, (error,))
        return UpdatePlan(row, old, release, ())

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
    """Refuse a way back, and what would need more than the switch of a release."""
    if new.digest == old.digest and new.version == old.version:
        raise UpdateNotNewerError(new.slug, old.version, new.version)
    if new.tenant_id is not None and old.tenant_id is None:
        raise DevelopmentOverPublishedError(new.slug, old.version)
    if new.tenant_id is None and parse_version(new.version) <= parse_version(old.version):
        raise UpdateNotNewerError(new.slug, old.version, new.version)
    known = {migration.name for migration in old.manifest.migrations}
    if added := [migration.name for migration in new.manifest.migrations if migration.name not in known]:
        raise UpdateNeedsMigrationError(new.slug, new.version, added)


def _candidate(release: Release) -> Candidate:
    return candidate_of(release.manifest, is_yanked=release.state == "yanked")

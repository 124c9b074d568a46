"""`Lifecycle`: every verb on a tenant's plugins. Each one checks, plans, and hands a list of steps to the journal."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from jackfield.clock import Clock
from jackfield.db import Database
from jackfield.ids import new_id
from jackfield.lifecycle import consent
from jackfield.lifecycle.active import ActiveInstallations
from jackfield.lifecycle.configuration import Candidate, accept, known_fields
from jackfield.lifecycle.errors import (
    DependantsActiveError,
    GrantsWithdrawnError,
    InstanceInvalidError,
    NeedsConfigurationError,
    OperationInProgressError,
)
from jackfield.lifecycle.execution import Execution
from jackfield.lifecycle.exports import Exports
from jackfield.lifecycle.hooks import declared
from jackfield.lifecycle.interfaces import Catalogue, Runner
from jackfield.lifecycle.journal import Journal
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.operations import Actor, Order, Run
from jackfield.lifecycle.packages import packages_of
from jackfield.lifecycle.planning import InstallPlan, Planner, UninstallPlan, UpdatePlan, needs
from jackfield.lifecycle.reading import Installations
from jackfield.lifecycle.snapshots import Snapshots
from jackfield.lifecycle.states import State
from jackfield.lifecycle.steps import Tools
from jackfield.lifecycle.views import ConfigTest, Installed, Removed, view
from jackfield.quotas import Policy
from jackfield.registry import Release
from jackfield.surface import Surface

__all__ = ["DataChoice", "Lifecycle"]

DataChoice = Literal["keep", "export", "delete"]

_INSTANCE = re.compile(r"[a-z][a-z0-9-]{0,39}")


class Lifecycle(Installations):
    """What tenants do with plugins.

    Args:
        active: The cache that is told of every change.
        flush_records: `Recorder.flush`: what was recorded up to now is in the tables afterwards, so that it can be
            removed.
        node_id: Names this process in the journal; made when absent.
        policy_of: What a tenant's plan allows. Without it there are no plans.
    """

    def __init__(
        self,
        *,
        database: Database,
        catalogue: Catalogue,
        runner: Runner,
        surface: Surface,
        snapshots: Snapshots,
        active: ActiveInstallations,
        clock: Clock,
        data_dir: Path,
        flush_records: Callable[[], Awaitable[None]],
        node_id: str | None = None,
        policy_of: Callable[[str], Awaitable[Policy]] | None = None,
    ) -> None:
        super().__init__(database, snapshots, runner)
        self._planner = Planner(database, catalogue, snapshots, surface, policy_of=policy_of)
        self.exports = Exports(database, clock, data_dir)
        journal = Journal(database, clock, node_id or new_id("node"), active.invalidate)
        tools = Tools(database, snapshots, runner, clock, self.exports, flush_records)
        self.execution = Execution(journal, tools)

    # -- planning ------------------------------------------------------------------------------------------------------

    async def plan_install(
        self, tenant_id: str, slug: str, version: str | None = None, *, instance: str = "default"
    ) -> InstallPlan:
        """What installing would do; nothing is changed.

        Raises:
            MissingError: No such plugin or release.
            SurfaceMismatchError: The host does not offer what the release was made for.
        """
        _check_instance(instance)
        return await self._planner.install(tenant_id, slug, version, instance)

    async def plan_update(
        self, tenant_id: str, slug: str, version: str | None = None, *, instance: str = "default"
    ) -> UpdatePlan:
        """What updating would do.

        Raises:
            NotInstalledError: The tenant does not have it.
            MissingError: No such release.
            SurfaceMismatchError: The host does not offer what the release was made for.
        """
        return await self._planner.update(tenant_id, slug, version, instance)

    async def plan_uninstall(self, tenant_id: str, slug: str, *, instance: str = "default") -> UninstallPlan:
        """What uninstalling would remove, and who stands in the way."""
        return await self._planner.uninstall(tenant_id, slug, instance)

    # -- changing ------------------------------------------------------------------------------------------------------

    async def install(
        self,
        tenant_id: str,
        slug: str,
        *,
        version: str | None = None,
        grants: Iterable[str] = (),
        config: Mapping[str, Any] | None = None,
        instance: str = "default",
        grants_for: Mapping[str, Iterable[str]] | None = None,
        actor: Actor | None = None,
    ) -> Installed:
        """Install a plugin and those that it needs, and activate them.

        With required configuration missing it ends up inactive; `Installed.missing_config` says what is missing.

        Args:
            grants: Every required permission and whatever optional ones the tenant gives.
            grants_for: Slug → grants of plugins that are installed along with it.

        Raises:
            AlreadyInstalledError, GrantsMissingError, GrantsUnknownError, ConfigInvalidError,
            DependencyConsentMissingError, a `resolution` error, SurfaceMismatchError: Nothing was begun.
            InstallFailedError: `on_install` failed; nothing is left of it.
        """
        plan = await self.plan_install(tenant_id, slug, version, instance=instance)
        while True:
            async with self.execution.turn(tenant_id, *plan.locks):
                seen, plan = plan, await self.plan_install(tenant_id, slug, version, instance=instance)
                if plan.locks <= seen.locks:
                    return await self._install(tenant_id, plan, frozenset(grants), config, grants_for or {}, actor)
                # While we waited for our turn it came to need others: wait for those too.

    async def _install(
        self,
        tenant_id: str,
        plan: InstallPlan,
        grants: frozenset[str],
        config: Mapping[str, Any] | None,
        grants_for: Mapping[str, Iterable[str]],
        actor: Actor | None,
    ) -> Installed:
        if plan.conflicts:
            raise plan.conflicts[0]
        packages, secrets = packages_of(plan, grants, config, grants_for)
        main = packages[-1]
        data: dict[str, Any] = {"packages": msgspec.to_builtins(packages)}
        if plan.policy is not None:
            data |= {"plan": plan.policy.plan, "plugins_allowed": plan.policy.plugins}
        order = Order("install", tenant_id, main.slug, main.instance, main.installation_id, data, plan.locks, actor)
        try:
            await self.execution.run(order, {main.installation_id: secrets})
        except Exception:
            for package in packages:
                await self._runner.retire(package.installation_id)
            raise
        return await self.get(tenant_id, main.slug, instance=main.instance)

    async def configure(
        self,
        tenant_id: str,
        slug: str,
        config: Mapping[str, Any],
        *,
        instance: str = "default",
        actor: Actor | None = None,
    ) -> Installed:
        """Replace the configuration. A secret that is left out stays as it is; null removes it.

        Raises:
            ConfigInvalidError: It does not fit the schema.
            NeedsConfigurationError: Something required is missing.
            ConfigureFailedError: `on_configure` refused it; the old one stays.
        """
        async with self.execution.turn(tenant_id, slug):
            row, release, candidate = await self._candidate(tenant_id, slug, instance, config)
            data = {
                "config": candidate.config, "secret_names": sorted(candidate.secrets), "missing": [],
                "hooks": declared(release.manifest),
            }  # fmt: skip
            await self.execution.change("configure", row, data, actor, candidate.secrets)
            await self._runner.retire(row.id)
        return await self.get(tenant_id, slug, instance=instance)

    async def test_config(
        self,
        tenant_id: str,
        slug: str,
        config: Mapping[str, Any],
        *,
        instance: str = "default",
        actor: Actor | None = None,
    ) -> ConfigTest:
        """Run the plugin's own check of a configuration; nothing is saved.

        Raises:
            ConfigInvalidError: It does not fit the schema.
            NeedsConfigurationError: Something required is missing.
        """
        row, release, candidate = await self._candidate(tenant_id, slug, instance, config)
        if release.manifest.config is None or release.manifest.config.validate is None:
            return ConfigTest(is_ok=True, is_checked=False)
        trial_id = new_id("trial")
        data = {"trial_id": trial_id, "config": candidate.config}
        run = await self.execution.change("config-test", row, data, actor, candidate.secrets, locks=frozenset())
        await self._runner.retire(trial_id)
        if failure := run.failures.get("check"):
            return ConfigTest(is_ok=False, is_checked=False, code=failure.code, message=failure.message)
        outcome = run.results["check"]
        return ConfigTest(
            is_ok=outcome["status"] == "ok", is_checked=True, code=outcome["code"], message=outcome["message"],
            hint=outcome["hint"],
        )  # fmt: skip

    async def set_grants(
        self,
        tenant_id: str,
        slug: str,
        grants: Iterable[str],
        *,
        instance: str = "default",
        actor: Actor | None = None,
    ) -> Installed:
        """Replace the grants; those left out are withdrawn, implied ones too. In force for the next call.

        Raises:
            GrantsUnknownError: Something is granted that the plugin does not ask for.
            GrantsMissingError: Something required is withdrawn while it is active.
        """
        async with self.execution.turn(tenant_id, slug):
            row, release = await self._found(tenant_id, slug, instance)
            agreed = consent.replaced(release.manifest, grants, at_rest=State(row.state).is_at_rest)
            await self.execution.change("set-grants", row, {"grants": sorted(agreed), "state": row.state}, actor)
            await self._runner.retire(row.id)
        return await self.get(tenant_id, slug, instance=instance)

    async def activate(
        self, tenant_id: str, slug: str, *, instance: str = "default", actor: Actor | None = None
    ) -> Installed:
        """Put it to work. An active one stays as it is.

        Raises:
            NeedsConfigurationError, GrantsWithdrawnError, DependenciesInactiveError: What it lacks.
            ActivationFailedError: `on_activate` failed; it stays inactive.
        """
        row, release = await self._found(tenant_id, slug, instance)
        others = needs(release)
        async with self.execution.turn(tenant_id, slug, *others):
            row, release = await self._found(tenant_id, slug, instance)
            if State(row.state) is not State.ACTIVE:
                await self._check_ready(row, release)
                data = {"hooks": declared(release.manifest), "needs": others}
                await self.execution.change("activate", row, data, actor, locks=frozenset({slug, *others}))
        return await self.get(tenant_id, slug, instance=instance)

    async def deactivate(
        self, tenant_id: str, slug: str, *, instance: str = "default", actor: Actor | None = None
    ) -> Installed:
        """Take it from work, data and configuration kept. An inactive one stays as it is.

        Raises:
            DependantsActiveError: Active plugins need it.
        """
        async with self.execution.turn(tenant_id, slug):
            row, release = await self._found(tenant_id, slug, instance)
            if State(row.state) is not State.INACTIVE:
                if dependants := await self._planner.active_dependants(row):
                    raise DependantsActiveError(slug, dependants)
                await self.execution.change("deactivate", row, {"hooks": declared(release.manifest)}, actor)
                await self._runner.retire(row.id)
        return await self.get(tenant_id, slug, instance=instance)

    async def quarantine(self, tenant_id: str, installation_id: str, reason: tuple[str, str], *, revision: int) -> bool:
        """Take an active plugin from work because it does nothing but die. Events wait for it until it is activated.

        Args:
            reason: Code and message, for the tenant.
            revision: Of the installation that was judged; nothing is done when it has changed since.

        Returns:
            Whether it was done.
        """
        row = await self._row(tenant_id, installation_id)
        if row is None:
            return False
        async with self.execution.turn(tenant_id, row.slug):
            row = await self._row(tenant_id, installation_id)
            if row is None or State(row.state) is not State.ACTIVE or row.revision != revision:
                return False
            await self.execution.change("quarantine", row, {"reason": list(reason), "revision": revision}, None)
            await self._runner.retire(row.id)
        return True

    async def update(
        self,
        tenant_id: str,
        slug: str,
        *,
        version: str | None = None,
        grants: Iterable[str] = (),
        config: Mapping[str, Any] | None = None,
        instance: str = "default",
        actor: Actor | None = None,
    ) -> Installed:
        """Replace the release by a newer one, without a pause: calls that have begun end on the old one.

        Configuration and grants are kept. Fields that the new release does not know are left out.

        Args:
            version: The newest that is no pre-release when None.
            grants: Permissions that are given in addition to those held.
            config: Another configuration instead of the one there is, as in `configure`.

        Raises:
            UpdateNotNewerError, UpdateNeedsPluginError, UpdateNeedsMigrationError, a `resolution` error, MissingError:
                There is nothing to update to, or no way there.
            GrantsMissingError: The new release requires more than is held; nothing was changed.
            ConfigInvalidError, NeedsConfigurationError: The configuration does not fit the new release.
            UpdateFailedError: `on_update` failed; the old release works on.
        """
        plan = await self.plan_update(tenant_id, slug, version, instance=instance)
        async with self.execution.turn(tenant_id, *plan.locks):
            seen, plan = plan, await self.plan_update(tenant_id, slug, version, instance=instance)
            if not plan.locks <= seen.locks:
                raise OperationInProgressError(slug, "publish", None)
            if plan.conflicts:
                raise plan.conflicts[0]
            await self._update(plan, grants, config, actor)
        return await self.get(tenant_id, slug, instance=instance)

    async def _update(
        self, plan: UpdatePlan, grants: Iterable[str], config: Mapping[str, Any] | None, actor: Actor | None
    ) -> None:
        row, old, new = plan.row, plan.old.manifest, plan.release.manifest
        stored = await self._snapshots.secrets(row, plan.old)
        kept = [] if new.config is None else [name for name in stored if name in new.config.secrets]
        candidate = accept(new, known_fields(new, row.config) if config is None else config, kept)
        if candidate.missing:
            raise NeedsConfigurationError(row.slug, candidate.missing)
        data = {
            "from_version": row.version, "version": plan.release.version, "state": row.state,
            "config": candidate.config, "grants": sorted(consent.carried(old, new, row.grants, grants)),
            "dropped_secrets": [name for name in stored if name not in kept], "needs": needs(plan.release),
            "hooks": declared(new),
        }  # fmt: skip
        try:
            await self.execution.change("update", row, data, actor, candidate.secrets, plan.locks)
        finally:
            await self._runner.retire(row.id)

    async def uninstall(
        self,
        tenant_id: str,
        slug: str,
        *,
        data: DataChoice = "delete",
        instance: str = "default",
        actor: Actor | None = None,
    ) -> Removed:
        """Remove it. `export` writes its data to a file first; `keep` leaves the data for the next installation.

        Raises:
            HasDependantsError: Installed plugins need it.
            ExportFailedError: Nothing was removed.
        """
        async with self.execution.turn(tenant_id, slug):
            plan = await self.plan_uninstall(tenant_id, slug, instance=instance)
            if plan.conflicts:
                raise plan.conflicts[0]
            row, release = plan.row, plan.release
            export_id = new_id("exp") if data == "export" else None
            order = {"mode": data, "export_id": export_id, "state": row.state, "hooks": declared(release.manifest)}
            await self.execution.change("uninstall", row, order, actor)
        return Removed(slug, instance, row.version, data, dict(plan.owned), export_id)

    async def recover(self) -> list[Run]:
        """End what a dead node left behind; see `Execution.recover`. Called once when a node starts."""
        return await self.execution.recover()

    async def close(self) -> None:
        """Wait for operations that are on their way."""
        await self.execution.close()

    # -- how it is done ------------------------------------------------------------------------------------------------

    async def _row(self, tenant_id: str, installation_id: str) -> InstallationRow | None:
        async with self._database.read(tenant_id) as session:
            return await session.get(InstallationRow, installation_id)

    async def _candidate(
        self, tenant_id: str, slug: str, instance: str, config: Mapping[str, Any]
    ) -> tuple[InstallationRow, Release, Candidate]:
        row, release = await self._found(tenant_id, slug, instance)
        candidate = accept(release.manifest, config, await self._snapshots.secrets(row, release))
        if candidate.missing:
            raise NeedsConfigurationError(slug, candidate.missing)
        return row, release, candidate

    async def _check_ready(self, row: InstallationRow, release: Release) -> None:
        seen = view(row, release, await self._snapshots.secrets(row, release))
        if seen.missing_config:
            raise NeedsConfigurationError(row.slug, seen.missing_config)
        if seen.missing_grants:
            raise GrantsWithdrawnError(row.slug, seen.missing_grants)


def _check_instance(instance: str) -> None:
    if not _INSTANCE.fullmatch(instance):
        raise InstanceInvalidError(instance)

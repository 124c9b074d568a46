"""`Lifecycle`: every verb on a tenant's plugins. Each one checks, plans, and hands a list of steps to the journal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from jackfield.capabilities import AccessBook, asked
from jackfield.clock import Clock
from jackfield.db import Database
from jackfield.errors import JackfieldError
from jackfield.ids import new_id
from jackfield.lifecycle import consent, history
from jackfield.lifecycle.active import ActiveInstallations
from jackfield.lifecycle.configuration import Candidate, accept, known_fields
from jackfield.lifecycle.consent import Given, Wanted
from jackfield.lifecycle.errors import (
    DependantsActiveError,
    GrantsMissingError,
    GrantsWithdrawnError,
    InstanceInvalidError,
    NeedsConfigurationError,
    NothingPendingError,
    NoWayBackError,
    OperationInProgressError,
    SecretUnknownError,
)
from jackfield.lifecycle.execution import Execution
from jackfield.lifecycle.exports import Exports
from jackfield.lifecycle.history import Kept
from jackfield.lifecycle.hooks import declared
from jackfield.lifecycle.interfaces import Catalogue, Runner
from jackfield.lifecycle.journal import Journal
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.operations import Actor, Order, Run
from jackfield.lifecycle.packages import packages_of
from jackfield.lifecycle.pending import Failed, Pending, pending_of
from jackfield.lifecycle.planning import (
    MOVE_LIMIT,
    InstallPlan,
    Planner,
    RollbackPlan,
    UninstallPlan,
    UpdatePlan,
    Way,
    needs,
)
from jackfield.lifecycle.reading import Installations
from jackfield.lifecycle.receiving import Receiving, in_turn
from jackfield.lifecycle.scheduling import Scheduling
from jackfield.lifecycle.snapshots import Snapshots
from jackfield.lifecycle.states import State
from jackfield.lifecycle.steps import Tools
from jackfield.lifecycle.steps.rollback import RollbackSteps
from jackfield.lifecycle.views import ConfigTest, Installed, Removed, RolledBack, view
from jackfield.quotas import Policy
from jackfield.records import audit
from jackfield.registry import Release
from jackfield.surface import Surface
from jackfield_sdk.manifest import Manifest

__all__ = ["DataChoice", "Lifecycle"]

DataChoice = Literal["keep", "export", "delete"]
_V = TypeVar("_V")

_HOUSE_S = 3600.0
_BECAME: Mapping[str, Literal["kept", "transformed", "restored"]] = {
    "keep": "kept", "transform": "transformed", "restore": "restored",
}  # fmt: skip
_INSTANCE = re.compile(r"[a-z][a-z0-9-]{0,39}")


class Lifecycle(Installations):
    """What tenants do with plugins.

    Args:
        active: The cache that is told of every change.
        flush_records: `Recorder.flush`: what was recorded up to now is in the tables afterwards, so that it can be
            removed.
        node_id: Names this process in the journal; made when absent.
        is_gone: Whether a node of that name is known to have ended.
        policy_of: What a tenant's plan allows. Without it there are no plans.
        kept: How much is kept for going back.
        move_limit: Rows and keys of storage that an update may move.
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
        is_gone: Callable[[str], bool] = lambda _node: False,
        policy_of: Callable[[str], Awaitable[Policy]] | None = None,
        kept: Kept | None = None,
        move_limit: int = MOVE_LIMIT,
    ) -> None:
        super().__init__(database, snapshots, runner)
        self._kept = kept or Kept()
        self._surface, self._clock, self._access = surface, clock, AccessBook(surface)
        self._planner = Planner(database, catalogue, snapshots, surface, policy_of=policy_of, move_limit=move_limit)
        self.exports = Exports(database, clock, data_dir)
        journal = Journal(
            database, clock, node_id or new_id("node"), active.invalidate,
            in_turn(Scheduling(snapshots, clock).follow, Receiving(snapshots, clock).follow), is_gone,
        )  # fmt: skip
        tools = Tools(database, snapshots, runner, clock, self.exports, flush_records, self._kept)
        self.execution = Execution(journal, tools)

    async def note(self, tenant_id: str, actor: str, action: str, target: str, *, plugin: str) -> None:
        """Add to the audit trail what a part of the platform that has none did to an installation, once it is done."""
        async with self._database.write(tenant_id) as session:
            audit(session, tenant_id, actor, action, target, plugin=plugin or None)

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

    async def plan_rollback(
        self,
        tenant_id: str,
        slug: str,
        version: str | None = None,
        *,
        way: Way = "auto",
        instance: str = "default",
    ) -> RollbackPlan:
        """What going back would do.

        Raises:
            NotInstalledError: The tenant does not have it.
            MissingError: The registry does not have the release any more.
        """
        return await self._planner.rollback(tenant_id, slug, version, instance, way)

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
        grants: Iterable[Given] = (),
        config: Mapping[str, Any] | None = None,
        instance: str = "default",
        grants_for: Mapping[str, Iterable[Given]] | None = None,
        actor: Actor | None = None,
    ) -> Installed:
        """Install a plugin and those that it needs, and activate them.

        With required configuration missing it ends up inactive; `Installed.missing_config` says what is missing.

        Args:
            grants: Every required permission and whatever optional ones the tenant gives.
            grants_for: Slug → grants of plugins that are installed along with it.

        Raises:
            AlreadyInstalledError, GrantsMissingError, GrantsUnknownError, GrantNotHeldError, RowFilterInvalidError,
            ConfigInvalidError, DependencyConsentMissingError, a `resolution` error, SurfaceMismatchError: Nothing was
                begun.
            InstallFailedError: `on_install` failed; nothing is left of it.
        """
        given = consent.wanted(grants, self._surface)
        given_for = {other: consent.wanted(some, self._surface) for other, some in (grants_for or {}).items()}
        plan = await self.plan_install(tenant_id, slug, version, instance=instance)
        while True:
            async with self.execution.turn(tenant_id, *plan.locks):
                seen, plan = plan, await self.plan_install(tenant_id, slug, version, instance=instance)
                if plan.locks <= seen.locks:
                    return await self._install(tenant_id, plan, given, config, given_for, actor)
                # While we waited for our turn it came to need others: wait for those too.

    async def _install(
        self,
        tenant_id: str,
        plan: InstallPlan,
        grants: Wanted,
        config: Mapping[str, Any] | None,
        grants_for: Mapping[str, Wanted],
        actor: Actor | None,
    ) -> Installed:
        if plan.conflicts:
            raise plan.conflicts[0]
        packages, secrets = packages_of(plan, grants, config, grants_for)
        main = packages[-1]
        for package, planned in zip(packages, plan.steps, strict=True):
            rows = consent.rows_of(planned.release.manifest, package.grants, package.grant_filters)
            self._check_holder(tenant_id, actor, {}, rows)
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
            await self._configure(tenant_id, slug, instance, config, actor)
        return await self.get(tenant_id, slug, instance=instance)

    async def set_secret(
        self,
        tenant_id: str,
        slug: str,
        name: str,
        value: str | None,
        *,
        instance: str = "default",
        actor: Actor | None = None,
    ) -> None:
        """Set one secret, or remove it; everything else of the configuration stays as it is.

        Raises:
            SecretUnknownError: The plugin's configuration has no such secret.
            ConfigInvalidError, NeedsConfigurationError, ConfigureFailedError: As `configure`.
        """
        async with self.execution.turn(tenant_id, slug):
            row, release = await self._found(tenant_id, slug, instance)
            section = release.manifest.config
            if section is None or name not in section.secrets:
                raise SecretUnknownError(slug, name)
            config = {**known_fields(release.manifest, row.config), name: value}
            await self._configure(tenant_id, slug, instance, config, actor)

    async def _configure(
        self, tenant_id: str, slug: str, instance: str, config: Mapping[str, Any], actor: Actor | None
    ) -> None:
        row, release, candidate = await self._candidate(tenant_id, slug, instance, config)
        data = {
            "config": candidate.config, "secret_names": sorted(candidate.secrets), "missing": [],
            "hooks": declared(release.manifest),
        }  # fmt: skip
        await self.execution.change("configure", row, data, actor, candidate.secrets)
        await self._runner.retire(row.id)

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
        grants: Iterable[Given],
        *,
        instance: str = "default",
        actor: Actor | None = None,
    ) -> Installed:
        """Replace the grants; those left out are withdrawn, implied ones too. In force for the next capability call.

        A grant that says nothing of rows keeps those that it is narrowed to. What an update waits for may be among
        them: once it has everything, it is continued.

        Raises:
            GrantsUnknownError: Something is granted that the plugin does not ask for.
            GrantsMissingError: Something required is withdrawn while it is active.
            GrantNotHeldError: Something is granted, or widened, that the actor's own role does not have.
            RowFilterInvalidError: A grant cannot be narrowed like this.
        """
        given = consent.wanted(grants, self._surface)
        async with self.execution.turn(tenant_id, slug):
            row, release = await self._found(tenant_id, slug, instance)
            manifest, pending = release.manifest, pending_of(row)
            data: dict[str, Any] = {"state": row.state}
            if pending is not None:
                new = (await self._snapshots.release(slug, pending.version)).manifest
                anew = given.only(_all_asked(new) - _all_asked(manifest))
                given = given.only(given.permissions - anew.permissions)
                self._check_new(tenant_id, actor, row, manifest, new, pending.given.with_(anew))
                both = pending.given.with_(anew)
                pending = msgspec.structs.replace(
                    pending,
                    grants=sorted(both.permissions),
                    grant_filters=consent.filters_of(both.permissions, both),
                    missing=consent.lacking(manifest, new, given.permissions, both.permissions),
                    failed=None,
                )
                data["pending"] = pending.plain()
            agreed = consent.replaced(manifest, given.permissions, at_rest=State(row.state).is_at_rest)
            filters = consent.filters_of(agreed, given, row.grant_filters)
            before = consent.rows_of(manifest, row.grants, row.grant_filters)
            self._check_holder(tenant_id, actor, before, consent.rows_of(manifest, agreed, filters))
            data |= {"grants": sorted(agreed), "grant_filters": filters}
            await self.execution.change("set-grants", row, data, actor)
            await self._runner.retire(row.id)
        if pending is not None and not pending.missing:
            await self._continue(tenant_id, slug, pending, instance, actor)
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
        grants: Iterable[Given] = (),
        config: Mapping[str, Any] | None = None,
        instance: str = "default",
        actor: Actor | None = None,
    ) -> Installed:
        """Replace the release by a newer one, without a pause: calls that have begun end on the old one.

        When it asks for more than is held and given, nothing changes but `Installed.pending`: the update waits, and is
        continued as soon as the rest is granted.

        Configuration and grants are kept. Fields that the new release does not know are left out.

        Args:
            version: The newest that is no pre-release when None.
            grants: Permissions that are given in addition to those held.
            config: Another configuration instead of the one there is, as in `configure`.

        Raises:
            UpdateNotNewerError, UpdateNeedsPluginError, UpdateTooLargeError, a `resolution` error, MissingError:
                There is nothing to update to, or no way there.
            GrantsMissingError: The new release requires more than is held, and a configuration was given, which cannot
                wait: it may have secrets in it. Nothing was changed.
            GrantsUnknownError, GrantNotHeldError, RowFilterInvalidError: As for `set_grants`.
            ConfigInvalidError, NeedsConfigurationError: The configuration does not fit the new release.
            MigrationFailedError, UpdateFailedError: A migration or `on_update` failed; the old release works on, with
                its data as it was.
            UniquenessLackingError, ReferencesDanglingError: The data is not as the new release demands; likewise.
        """
        given = consent.wanted(grants, self._surface)
        plan = await self.plan_update(tenant_id, slug, version, instance=instance)
        async with self.execution.turn(tenant_id, *plan.locks):
            seen, plan = plan, await self.plan_update(tenant_id, slug, version, instance=instance)
            if not plan.locks <= seen.locks:
                raise OperationInProgressError(slug, "publish", None)
            if plan.conflicts:
                raise plan.conflicts[0]
            if (pending := pending_of(plan.row)) is not None and pending.version == plan.release.version:
                given = pending.given.with_(given)
            row, old, new = plan.row, plan.old.manifest, plan.release.manifest
            missing = consent.lacking(old, new, row.grants, given.permissions)
            if missing and config is not None:
                raise GrantsMissingError(slug, missing)
            self._check_new(tenant_id, actor, row, old, new, given)
            if missing:
                await self._await_consent(plan, given, missing, actor)
            else:
                await self._update(plan, given, config, actor)
        return await self.get(tenant_id, slug, instance=instance)

    async def _update(
        self, plan: UpdatePlan, given: Wanted, config: Mapping[str, Any] | None, actor: Actor | None
    ) -> None:
        row, old, new = plan.row, plan.old.manifest, plan.release.manifest
        stored = await self._snapshots.secrets(row, plan.old)
        kept = [] if new.config is None else [name for name in stored if name in new.config.secrets]
        candidate = accept(new, known_fields(new, row.config) if config is None else config, kept)
        if candidate.missing:
            raise NeedsConfigurationError(row.slug, candidate.missing)
        agreed = consent.carried(old, new, row.grants, given.permissions)
        data: dict[str, Any] = {
            "from_version": row.version, "version": plan.release.version, "state": row.state,
            "config": candidate.config, "grants": sorted(agreed),
            "grant_filters": consent.filters_of(agreed, given, row.grant_filters),
            "dropped_secrets": [name for name in stored if name not in kept], "needs": needs(plan.release),
            "hooks": declared(new),
        }  # fmt: skip
        if plan.moves_data:
            data["copy_id"] = new_id("copy")
            data["migrations"] = [[migration.name, migration.up] for migration in plan.migrations]
        try:
            await self.execution.change("update", row, data, actor, candidate.secrets, plan.locks)
        finally:
            await self._runner.retire(row.id)

    async def give_up_update(
        self, tenant_id: str, slug: str, *, instance: str = "default", actor: Actor | None = None
    ) -> Installed:
        """Let an update that waits for consent wait no longer.

        Raises:
            NothingPendingError: None does.
        """
        async with self.execution.turn(tenant_id, slug):
            row, _ = await self._found(tenant_id, slug, instance)
            if row.pending_update is None:
                raise NothingPendingError(slug)
            await self.execution.change("await-consent", row, {"pending": None, "from_version": row.version}, actor)
        return await self.get(tenant_id, slug, instance=instance)

    async def rollback(
        self,
        tenant_id: str,
        slug: str,
        *,
        version: str | None = None,
        way: Way = "auto",
        grants: Iterable[Given] = (),
        instance: str = "default",
        actor: Actor | None = None,
    ) -> tuple[Installed, RolledBack]:
        """Go back to a release that was there before, with the configuration, secrets, grants and data of then.

        A grant that was withdrawn since stays withdrawn, and rows that a grant was narrowed to since stay as they are.

        Args:
            version: The release before the present one when None.
            way: What becomes of the data.
            grants: Permissions that are given in addition.

        Raises:
            NoWayBackError: There is no such release any more, or its data cannot be had in this way.
            GrantsMissingError: It requires what was withdrawn since.
            MigrationFailedError: A migration could not be undone, and the data of then was not kept; nothing changed.
        """
        given = consent.wanted(grants, self._surface)
        plan = await self.plan_rollback(tenant_id, slug, version, way=way, instance=instance)
        async with self.execution.turn(tenant_id, *plan.locks):
            seen, plan = plan, await self.plan_rollback(tenant_id, slug, version, way=way, instance=instance)
            if not plan.locks <= seen.locks:
                raise OperationInProgressError(slug, "update", None)
            if plan.conflicts:
                raise plan.conflicts[0]
            done = await self._rollback(plan, given, actor)
        return await self.get(tenant_id, slug, instance=instance), done

    async def _rollback(self, plan: RollbackPlan, given: Wanted, actor: Actor | None) -> RolledBack:
        row, past, leaving, manifest = plan.row, plan.past, plan.old.manifest, plan.release.manifest
        if past is None:
            raise NoWayBackError(row.slug, "there is no release to go back to")
        held = frozenset(past.held["grants"])
        withdrawn = (held & _all_asked(leaving)) - frozenset(row.grants)
        agreed = consent.replaced(manifest, (held - withdrawn) | given.permissions, at_rest=False)
        filters = consent.filters_of(agreed, given, {**past.held["grant_filters"], **row.grant_filters})
        self._check_holder(
            row.tenant_id, actor, consent.rows_of(leaving, row.grants, row.grant_filters),
            consent.rows_of(manifest, agreed, filters),
        )  # fmt: skip
        data: dict[str, Any] = {
            "from_version": row.version, "version": plan.release.version, "past_id": past.id,
            "spent": list(plan.spent), "state": row.state, "needs": needs(plan.release),
            "config": past.held["config"], "grants": sorted(agreed), "grant_filters": filters,
        }  # fmt: skip
        if plan.way != "keep":
            data |= {
                "copy_id": new_id("copy"), "way": plan.way, "has_data": plan.can_restore, "export_id": new_id("exp"),
                "downs": [[migration.name, migration.down] for migration in plan.downs],
            }  # fmt: skip
        try:
            run = await self.execution.change("rollback", row, data, actor, locks=plan.locks)
        finally:
            await self._runner.retire(row.id)
        is_restored = RollbackSteps.is_restored(run)
        return RolledBack(
            row.version, plan.release.version, "restored" if is_restored else _BECAME[plan.way],
            data["export_id"] if is_restored else None,
            tuple(failure.message for failure in run.failures.values()),
        )  # fmt: skip

    async def keep_house(self) -> None:
        """Give up ways back that have been kept for long enough."""
        now, kept = self._clock.now(), self._kept
        async with self._database.read(None) as session:
            due = await history.overdue(session, kept, now)
        for tenant_id, installation_id in due:
            async with self._database.write(tenant_id) as session:
                await history.prune(session, installation_id, kept, now)

    async def run(self) -> None:
        """Keep house once an hour, until it is cancelled."""
        while True:
            await self.keep_house()
            await asyncio.sleep(_HOUSE_S)

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

    async def take_over(self) -> list[Run]:
        """End what nodes left behind that are known to be gone."""
        return await self.execution.take_over()

    async def close(self) -> None:
        """Wait for operations that are on their way."""
        await self.execution.close()

    # -- consent -------------------------------------------------------------------------------------------------------

    def _check_holder(
        self, tenant_id: str, actor: Actor | None, before: Mapping[str, list[Any]], after: Mapping[str, list[Any]]
    ) -> None:
        # Without an actor it is the host itself that asks.
        if actor is not None:
            consent.check_holder(self._access, actor, tenant_id, before, after)

    def _check_new(
        self, tenant_id: str, actor: Actor | None, row: InstallationRow, old: Manifest, new: Manifest, given: Wanted
    ) -> None:
        """The same for what is given to a new release; what was given for it before, somebody else had."""
        pending = pending_of(row)
        earlier = Wanted() if pending is None else pending.given
        held = consent.still_held(old, new, row.grants)
        before = {
            **consent.rows_of(old, row.grants, row.grant_filters),
            **consent.rows_of(new, earlier.permissions, earlier.filters or {}),
        }
        filters = consent.filters_of(held | given.permissions, given, row.grant_filters)
        self._check_holder(tenant_id, actor, before, consent.rows_of(new, held | given.permissions, filters))

    async def _await_consent(self, plan: UpdatePlan, given: Wanted, missing: list[str], actor: Actor | None) -> None:
        """Remember an update until the rest is granted."""
        new = plan.release.manifest
        pending = Pending(
            version=plan.release.version, missing=missing, grants=sorted(given.permissions),
            grant_filters=consent.filters_of(given.permissions, given), rows=_of(missing, new.permission_filters),
            reasons=_of(missing, new.permission_reasons), asked_by=actor.subject if actor else None,
            since=self._clock.now(),
        )  # fmt: skip
        data = {"pending": pending.plain(), "from_version": plan.row.version}
        await self.execution.change("await-consent", plan.row, data, actor)

    async def _continue(self, tenant_id: str, slug: str, pending: Pending, instance: str, actor: Actor | None) -> None:
        """Go on with an update that has everything now. The grants stand whatever becomes of it."""
        try:
            await self.update(tenant_id, slug, version=pending.version, instance=instance, actor=actor)
        except JackfieldError as error:
            async with self.execution.turn(tenant_id, slug):
                row, _ = await self._found(tenant_id, slug, instance)
                if (still := pending_of(row)) is None:
                    return
                failed = msgspec.structs.replace(still, failed=Failed(error.code, str(error)))
                data = {"pending": failed.plain(), "from_version": row.version}
                await self.execution.change("await-consent", row, data, actor)

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


def _of(names: Iterable[str], values: Mapping[str, _V]) -> dict[str, _V]:
    return {name: values[name] for name in names if name in values}


def _all_asked(manifest: Manifest) -> frozenset[str]:
    known = asked(manifest)
    return frozenset({*known.required, *known.optional, *known.implied})


def _check_instance(instance: str) -> None:
    if not _INSTANCE.fullmatch(instance):
        raise InstanceInvalidError(instance)

"""Installing one plugin and those that it needs, as one operation: all of them, or none.

Rows are reserved for all at once. Then each plugin, those that are needed first: its `on_install`, at rest, its
`on_activate`, at work. A failing `on_install` of any takes back all of them; a failing `on_activate` leaves that
plugin inactive, and those that need it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import capabilities
from jackfield.capabilities import staging
from jackfield.lifecycle.errors import (
    ActivationFailedError,
    AlreadyInstalledError,
    DependenciesInactiveError,
    InstallFailedError,
    NeedsConfigurationError,
)
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.operations import Change, Effect, Run, Step
from jackfield.lifecycle.repository import by_id, change_state, count_listed, find, inactive_among, reason_of
from jackfield.lifecycle.states import Event, State
from jackfield.lifecycle.steps.base import Tools, summary
from jackfield.lifecycle.steps.secret_tokens import drop_tokens
from jackfield.lifecycle.steps.telling import tell
from jackfield.quotas import PlanFullError
from jackfield.registry import count_install

__all__ = ["InstallSteps", "Package"]


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin of the operation, as journalled.

    Attributes:
        missing: Required configuration without a value.
        needs: Slugs of plugins that must be active before it can be.
        hooks: Life-cycle handlers that it has.
        takes_up: An installation whose data was kept is taken up again.
        grant_filters: Grant → the rows that it is narrowed to.
    """

    installation_id: str
    slug: str
    instance: str
    version: str
    grants: list[str]
    config: dict[str, Any]
    missing: list[str] = []
    needs: list[str] = []
    hooks: list[str] = []
    takes_up: bool = False
    grant_filters: dict[str, list[Any]] = {}


class InstallSteps:
    """Makes the steps.

    Args:
        secrets: Installation → secret values to store. Only the first step needs them, and it is applied together
            with the
            opening of the operation, so they never have to be found again after a crash.
    """

    def __init__(self, tools: Tools, data: Mapping[str, Any], secrets: Mapping[str, Mapping[str, str | None]]) -> None:
        self._tools = tools
        self._packages = msgspec.convert(data["packages"], list[Package])
        self._secrets = secrets
        self._plan, self._allowed = data.get("plan", ""), data.get("plugins_allowed")

    def steps(self) -> list[Step]:
        """All of them, in order."""
        found: list[Step] = [Change("reserve", self._reserve, self._release, self._give_up)]
        for package in self._packages:
            found += self._steps_of(package)
        return found

    def _steps_of(self, package: Package) -> list[Step]:
        label, found = f"{package.slug}@{package.instance}", list[Step]()
        main = package is self._packages[-1]

        if "on_install" in package.hooks:

            async def on_install(run: Run) -> None:
                await self._tools.hook(run, package.installation_id, "on_install", InstallFailedError)

            async def on_uninstall(run: Run) -> None:
                await self._tools.hook(run, package.installation_id, "on_uninstall")

            found.append(Effect(f"on_install:{label}", on_install, on_uninstall))

        has_activation = "on_activate" in package.hooks

        async def settle(session: AsyncSession, run: Run) -> None:
            await self._settle(session, run, package, label)
            if main and not has_activation:
                await self._finished(session, run)

        async def unsettle(session: AsyncSession, _run: Run) -> None:
            await self._unsettle(session, package)

        found.append(Change(f"settle:{label}", settle, unsettle))
        if has_activation:
            found += self._activation(package, label, main=main)
        return found

    def _activation(self, package: Package, label: str, *, main: bool) -> list[Step]:
        async def on_activate(run: Run) -> None:
            if run.results[f"settle:{label}"].get("activates"):
                await self._tools.hook(run, package.installation_id, "on_activate", ActivationFailedError)

        async def on_deactivate(run: Run) -> None:
            if run.results[f"settle:{label}"].get("activates"):
                await self._tools.hook(run, package.installation_id, "on_deactivate")

        async def finish(session: AsyncSession, run: Run) -> None:
            row = await by_id(session, package.installation_id)
            if State(row.state) is State.ACTIVATING:
                failure = run.failures.get(f"on_activate:{label}")
                if failure is None:
                    change_state(row, Event.ACTIVATED, now=self._tools.clock.now())
                else:
                    reason = (failure.code, failure.message)
                    change_state(row, Event.ACTIVATION_FAILED, now=self._tools.clock.now(), reason=reason)
            if main:
                await self._finished(session, run)

        async def unfinish(session: AsyncSession, _run: Run) -> None:
            row = await by_id(session, package.installation_id)
            if State(row.state) is State.ACTIVE:
                change_state(row, Event.DEACTIVATION_BEGUN, Event.DEACTIVATED, now=self._tools.clock.now())

        return [
            Effect(f"on_activate:{label}", on_activate, on_deactivate, is_tolerated=True),
            Change(f"finish:{label}", finish, unfinish),
        ]

    # -- the rows of all packages ------------------------------------------------------------------------------------

    async def _reserve(self, session: AsyncSession, run: Run) -> None:
        now = self._tools.clock.now()
        if self._allowed is not None:
            # Once more, where installations that are planned at the same time take turns.
            used = await count_listed(session, run.tenant_id)
            if used + len(self._packages) > self._allowed:
                raise PlanFullError(self._plan, self._allowed, used, len(self._packages))
        for package in self._packages:
            row = await find(session, package.slug, package.instance)
            if row is None:
                row = InstallationRow(
                    id=package.installation_id, tenant_id=run.tenant_id, slug=package.slug, instance=package.instance,
                    state=State.GONE.value, revision=0, installed_at=now, activated_at=None,
                )  # fmt: skip
                session.add(row)
            elif State(row.state) is not State.UNINSTALLED or row.id != package.installation_id:
                raise AlreadyInstalledError(package.slug, package.instance, row.version)
            else:
                if row.version != package.version:
                    # Whatever tables it was written for: the new release takes it as it is, and looks at each row.
                    await staging.forget_layout(session, run.tenant_id, row.id)
                run.results["reserve"][package.slug] = {"version": row.version, "config": dict(row.config)}
            change_state(row, Event.INSTALL_BEGUN, now=now)
            row.version, row.grants, row.config = package.version, sorted(package.grants), dict(package.config)
            row.grant_filters, row.pending_update = package.grant_filters, None
            row.revision += 1
            row.installed_by = run.order.actor.subject if run.order.actor else None
            row.installed_at = now
            try:
                await session.flush()
            except IntegrityError as error:
                raise AlreadyInstalledError(package.slug, package.instance, package.version) from error
            await self._store_secrets(session, run, package)

    async def _store_secrets(self, session: AsyncSession, run: Run, package: Package) -> None:
        values = self._secrets.get(package.installation_id)
        if values:
            await capabilities.set_secrets(
                session, run.tenant_id, package.installation_id, package.slug, dict(values), by=run.by
            )

    async def _release(self, session: AsyncSession, run: Run) -> None:
        """Nothing stays, except what was there before: data that an earlier installation had left on purpose."""
        now, before = self._tools.clock.now(), run.results["reserve"]
        for package in reversed(self._packages):
            row = await by_id(session, package.installation_id)
            if package.takes_up:
                change_state(row, Event.INSTALL_UNDONE_KEEPING, now=now)
                row.version, row.config = before[package.slug]["version"], before[package.slug]["config"]
                row.grants, row.grant_filters = [], {}
                await drop_tokens(session, row.id)
            else:
                change_state(row, Event.INSTALL_UNDONE, now=now)
                await self._tools.purge(session, row.id)
                await session.delete(row)

    async def _give_up(self, session: AsyncSession, _run: Run, error: Exception) -> None:
        for package in self._packages:
            row = await find(session, package.slug, package.instance)
            if row is not None and State(row.state) is State.INSTALLING:
                change_state(
                    row, Event.INSTALL_UNDO_FAILED, now=self._tools.clock.now(), reason=("install-failed", str(error))
                )

    # -- one package ---------------------------------------------------------------------------------------------------

    async def _settle(self, session: AsyncSession, run: Run, package: Package, label: str) -> None:
        """Installed. It goes on to be activated, unless something is missing that it cannot work without."""
        now = self._tools.clock.now()
        row = await by_id(session, package.installation_id)
        asleep = await inactive_among(session, package.needs)
        if package.missing:
            change_state(
                row, Event.SETTLED, now=now, reason=reason_of(NeedsConfigurationError(package.slug, package.missing))
            )
        elif asleep:
            change_state(row, Event.SETTLED, now=now, reason=reason_of(DependenciesInactiveError(package.slug, asleep)))
        else:
            change_state(row, Event.SETTLED, Event.ACTIVATION_BEGUN, now=now)
            if "on_activate" not in package.hooks:
                change_state(row, Event.ACTIVATED, now=now)
        run.results[f"settle:{label}"]["activates"] = State(row.state) is State.ACTIVATING

    async def _unsettle(self, session: AsyncSession, package: Package) -> None:
        row = await by_id(session, package.installation_id)
        way_back: Mapping[State, tuple[Event, ...]] = {
            State.ACTIVE: (Event.DEACTIVATION_BEGUN, Event.DEACTIVATED),
            State.ACTIVATING: (Event.ACTIVATION_FAILED,),
        }
        change_state(row, *way_back.get(State(row.state), ()), Event.INSTALL_REOPENED, now=self._tools.clock.now())

    async def _finished(self, session: AsyncSession, run: Run) -> None:
        for package in self._packages:
            row = await by_id(session, package.installation_id)
            await count_install(session, row.slug)
            self._tools.audit(session, run, "plugin.install", row.slug, None, summary(row))
            tell(session, run, "installed", row)
            if State(row.state) is State.ACTIVE:
                tell(session, run, "activated", row)

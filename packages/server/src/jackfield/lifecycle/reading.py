"""`Installations`: questions about what a tenant has installed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

from jackfield.db import Database
from jackfield.invocation import Invocation, Outcome
from jackfield.lifecycle.interfaces import Runner
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.operations import Actor
from jackfield.lifecycle.repository import listed, owned_by, require
from jackfield.lifecycle.snapshots import Snapshots
from jackfield.lifecycle.states import State
from jackfield.lifecycle.views import Installed, view
from jackfield.registry import Release
from jackfield_sdk.wire import Caller

__all__ = ["HealthReport", "Installations"]


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Whether a plugin can do its work. `unchecked`: it has no health check; `inactive`: it was not asked."""

    status: Literal["ok", "failing", "unchecked", "inactive"]
    message: str = ""
    code: str | None = None
    duration_ms: float | None = None


class Installations:
    """Reads; changes nothing."""

    def __init__(self, database: Database, snapshots: Snapshots, runner: Runner) -> None:
        self._database = database
        self._snapshots = snapshots
        self._runner = runner

    async def get(self, tenant_id: str, slug: str, *, instance: str = "default") -> Installed:
        """One installation.

        Raises:
            NotInstalledError: The tenant does not have it.
        """
        return await self._view(*await self._found(tenant_id, slug, instance))

    async def list(
        self,
        tenant_id: str,
        *,
        states: Iterable[State] = (),
        text: str | None = None,
        after: tuple[str, str] = ("", ""),
        limit: int | None = None,
    ) -> list[Installed]:
        """Installations of a tenant, by slug and instance.

        Args:
            states: Only those in one of these states.
            text: Only those whose name or slug holds this.
            after: Slug and instance of the last one seen.
        """
        async with self._database.read(tenant_id) as session:
            rows = await listed(session, states)
        found: list[Installed] = []
        for row in rows:
            if (row.slug, row.instance) <= after:
                continue
            if limit is not None and len(found) == limit:
                break
            release = await self._snapshots.release(row.slug, row.version)
            if text is None or text.casefold() in f"{row.slug}\n{release.manifest.name}".casefold():
                found.append(await self._view(row, release))
        return found

    async def inventory(self, tenant_id: str, slug: str, *, instance: str = "default") -> dict[str, int]:
        """What it owns: counts by kind."""
        async with self._database.read(tenant_id) as session:
            row = await require(session, slug, instance)
            return await owned_by(session, row.id)

    async def health(
        self, tenant_id: str, slug: str, *, instance: str = "default", actor: Actor | None = None
    ) -> HealthReport:
        """Run its health check now."""
        row, release = await self._found(tenant_id, slug, instance)
        check = release.manifest.health
        if State(row.state) is not State.ACTIVE:
            return HealthReport("inactive")
        if check is None:
            return HealthReport("unchecked")
        caller = Caller(actor.id, actor.role) if actor else None
        installation = await self._snapshots.of(row)
        return _report(
            await self._runner.run(
                Invocation(installation, "health", "health", check.handler, None, check.timeout_ms, caller)
            )
        )

    async def _found(self, tenant_id: str, slug: str, instance: str) -> tuple[InstallationRow, Release]:
        async with self._database.read(tenant_id) as session:
            row = await require(session, slug, instance)
        return row, await self._snapshots.release(row.slug, row.version)

    async def _view(self, row: InstallationRow, release: Release) -> Installed:
        return view(row, release, await self._snapshots.secrets(row, release))


def _report(outcome: Outcome) -> HealthReport:
    if not outcome.is_ok:
        failure = outcome.failure
        return HealthReport(
            "failing",
            failure.message if failure else outcome.status,
            failure.code if failure else None,
            outcome.duration_ms,
        )
    # A plugin may return anything; whatever is no `Health` says at least that the check ran.
    value: Any = outcome.value
    told = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    is_ok, message = told.get("ok", True) is not False, told.get("message", "")
    return HealthReport(
        "ok" if is_ok else "failing", message[:1000] if isinstance(message, str) else "", None, outcome.duration_ms
    )
